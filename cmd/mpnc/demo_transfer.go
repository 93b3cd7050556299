package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mpnc/mpnc/internal/report"
	"github.com/mpnc/mpnc/mptcp"
)

const (
	demoPort     = 4000
	samplePeriod = 50 * time.Millisecond
	// givenUp is how long a transfer may say nothing before the demo ends it.
	givenUp = 10 * time.Second
)

// transfer is one file's way across a world.
type transfer struct {
	title string
	w     world
	size  uint64
	links []demoLink // that it may use: one means plain TCP
	// dies decides when the first link falls silent.
	dies     func(at time.Duration, arrived uint64) bool
	patience time.Duration // how long it may say nothing

	began time.Time
	died  time.Duration // when the first link did; 0: not yet
	ended time.Duration // when the last octet, or patience, had come to an end
	paths []report.Path // what came over each of links

	mu       sync.Mutex
	arrived  report.Timeline // what the receiving application got
	received hash.Hash
	sent     hash.Hash
	allSent  atomic.Bool
	stalled  bool
	err      error
}

// progress is told how a transfer goes.
type progress func(t *transfer, at time.Duration, arrived uint64)

// run takes the file across. It returns an error only if the transfer could
// not be tried; how it went is in t.
func (t *transfer) run(ctx context.Context, file io.Reader, tell progress) error {
	cfg := mptcp.Config{TCPOnly: len(t.links) == 1}
	server, err := t.w.server(cfg)
	if err != nil {
		return err
	}
	defer server.Close()
	client, err := t.w.client(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	l, err := server.Listen("tcp4", fmt.Sprintf(":%d", demoPort))
	if err != nil {
		return err
	}
	for _, link := range t.links {
		t.paths = append(t.paths, report.Path{Name: link.name})
	}
	t.sent, t.received = sha256.New(), sha256.New()
	t.began = time.Now()

	attempt, stop := context.WithCancel(ctx)
	defer stop()
	sending := make(chan error, 1)
	go func() {
		err := t.send(attempt, client, file)
		sending <- err
		if err != nil {
			stop() // there may be nothing to accept
		}
	}()
	c, err := l.AcceptContext(attempt)
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case attempt.Err() != nil:
		return <-sending
	case err != nil:
		return err
	}
	receiving := make(chan error, 1)
	go func() { receiving <- t.receive(c) }()

	t.err = t.watch(ctx, c, sending, receiving, tell)
	stop()
	client.Close()
	server.Close() // whoever still reads or writes returns
	return nil
}

func (t *transfer) send(ctx context.Context, s *mptcp.Stack, file io.Reader) error {
	to := netip.AddrPortFrom(t.w.serverAddr(0), demoPort)
	c, err := s.Dial(ctx, "tcp4", to.String())
	if err != nil {
		return err
	}
	if _, err := io.Copy(c, io.TeeReader(file, t.sent)); err != nil {
		return err
	}
	t.allSent.Store(true)
	return c.CloseWrite()
}

func (t *transfer) receive(c io.Reader) error {
	p := make([]byte, 64<<10)
	for {
		n, err := c.Read(p)
		t.mu.Lock()
		t.received.Write(p[:n])
		if n > 0 {
			t.arrived.Add(time.Since(t.began), t.arrived.Total()+uint64(n))
		}
		t.mu.Unlock()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// watch samples the paths until the transfer is over, and kills one.
func (t *transfer) watch(ctx context.Context, c *mptcp.Conn, sending, receiving <-chan error, tell progress) error {
	tick := time.NewTicker(samplePeriod)
	defer tick.Stop()
	for {
		var over bool
		var err error
		select {
		case <-tick.C:
		case err = <-sending:
			over, sending = err != nil, nil
		case err = <-receiving:
			over = true
		case <-ctx.Done():
			t.ended = time.Since(t.began)
			return errInterrupted
		}
		at := time.Since(t.began)
		arrived, silent := t.sample(at, c)
		tell(t, at, arrived)
		if t.died == 0 && t.dies(at, arrived) {
			t.died = at
			err = errors.Join(err, t.w.silence(0))
		}
		if over || err != nil {
			t.ended = at
			return err
		}
		if silent > t.patience {
			t.ended, t.stalled = at, true
			return nil
		}
	}
}

// sample reads the counters of the receiving side. A path belongs to the link
// of the client's address.
func (t *transfer) sample(at time.Duration, c *mptcp.Conn) (arrived uint64, silent time.Duration) {
	carried := make([]uint64, len(t.paths))
	for _, f := range c.Subflows() {
		for i := range t.paths {
			if f.Tuple.Remote.Addr() == t.w.clientAddr(i) {
				carried[i] += f.BytesIn
			}
		}
	}
	for i := range t.paths {
		t.paths[i].Add(at, carried[i])
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.arrived.Total(), at - t.arrived.End()
}

// whole reports whether every octet arrived as it was sent.
func (t *transfer) whole() bool {
	return t.err == nil && !t.stalled && t.allSent.Load() && t.arrived.Total() == t.size &&
		string(t.sent.Sum(nil)) == string(t.received.Sum(nil))
}

// longestSilence is the longest time without an octet for the application.
func (t *transfer) longestSilence() time.Duration {
	all := t.arrived // what came, and that nothing came since
	all.Add(t.ended, all.Total())
	d, _ := all.LongestSilence()
	return d
}

// recent is the goodput of a path of late, in Mb/s.
func (t *transfer) recent(i int) float64 {
	p := &t.paths[i]
	from := max(p.End()-rateWindow, 0)
	return p.Mean(from, p.End()) * 8 / 1e6
}
