package main

import (
	"time"

	"github.com/sirupsen/logrus"
)

// watchPeriod is how often a connection's paths are looked at.
const watchPeriod = 100 * time.Millisecond

// watch tells of each path of a connection as it opens and closes, and of a
// fallback to plain TCP.
type watch struct {
	c    conn
	log  *logrus.Logger
	quit chan struct{}
	done chan struct{}

	fellBack bool
	seen     map[int]path
	opened   map[int]time.Time // paths that are not up yet
	warned   map[string]bool   // interfaces whose filter was told of
}

// newWatch begins to watch c.
func newWatch(c conn, log *logrus.Logger) *watch {
	w := &watch{
		c: c, log: log, quit: make(chan struct{}), done: make(chan struct{}),
		seen: map[int]path{}, opened: map[int]time.Time{}, warned: map[string]bool{},
	}
	go w.run()
	return w
}

// stop returns when the last news is told.
func (w *watch) stop() {
	close(w.quit)
	<-w.done
}

func (w *watch) run() {
	defer close(w.done)
	tick := time.NewTicker(watchPeriod)
	defer tick.Stop()
	for {
		w.look(w.c.status())
		select {
		case <-tick.C:
		case <-w.quit:
			w.look(w.c.status())
			return
		}
	}
}

// look tells what is new.
func (w *watch) look(s status) {
	if s.Fallback != "" && !w.fellBack {
		w.fellBack = true
		w.log.Infof("fell back to plain TCP: %s", s.Fallback)
	}
	for _, p := range s.Paths {
		old := w.seen[p.ID]
		if p.Up && !old.Up || p.Ended && !old.Ended && !old.Up && p.wasUp() {
			w.log.Infof("path %d up: %v", p.ID, &p)
		}
		switch {
		case p.Ended && !old.Ended && (old.Up || p.wasUp()):
			w.log.Infof("path %d closed: %v%s", p.ID, &p, because(p.Reason))
		case p.Ended && !old.Ended:
			w.log.Infof("path %d could not be had: %v%s", p.ID, &p, because(p.Reason))
		}
		switch {
		case p.Lane && !old.Lane:
			w.log.Infof("path %d sends trains, past this host's rules for output (--offload off if it must not)", p.ID)
		case !p.Lane && old.Lane && !p.Ended:
			w.log.Infof("path %d sends packets one by one again", p.ID)
		}
		w.checkFilter(&p)
		w.seen[p.ID] = p
	}
}

// slowOpening is how long a path may take to open before something is wrong.
const slowOpening = time.Second

// checkFilter tells why a path does not come up, if this host itself drops the
// answers.
func (w *watch) checkFilter(p *path) {
	if p.Up || p.wasUp() || !p.Local.Addr().Is4() {
		delete(w.opened, p.ID)
		return
	}
	since, known := w.opened[p.ID]
	if !known {
		since = time.Now()
		w.opened[p.ID] = since
	}
	if (p.Ended || time.Since(since) > slowOpening) && !w.warned[p.Interface] && strictFilter(confIPv4, p.Interface) {
		w.warned[p.Interface] = true
		w.log.Warnf("no answers come in by %[1]s: this host drops them, with its strict reverse-path filter (try: sudo sysctl -w net.ipv4.conf.%[1]s.rp_filter=2)", p.Interface)
	}
}

// wasUp reports whether a path that ended before anybody looked was of use.
func (p *path) wasUp() bool { return p.Sent+p.Received > 0 }

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}
