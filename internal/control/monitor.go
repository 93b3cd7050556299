package control

import (
	"context"
	"sync"
	"time"
)

// lookAgain is how often MonitorAll looks for processes that are new. They tell
// of their past, so that nothing is missed of those that live as long.
const lookAgain = 100 * time.Millisecond

// MonitorAll calls f with each event of all processes that Processes would find,
// now and later; or of the one process given, until it ends. It returns the
// error of f, or when ctx is done. Calls of f do not overlap.
func MonitorAll(ctx context.Context, pid int, f func(Event) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	m := &monitor{f: f, fail: cancel, known: map[string]bool{}}
	defer m.wg.Wait()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for first := true; ; first = false {
		all, err := candidates()
		if err != nil {
			return err
		}
		if m.look(ctx, all, pid, !first); pid != 0 && m.idle() {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// monitor is one call of MonitorAll.
type monitor struct {
	wg   sync.WaitGroup
	fail context.CancelCauseFunc

	mu    sync.Mutex
	f     func(Event) error
	known map[string]bool // sockets that are followed, and (false) those that cannot be
}

// look begins to monitor the processes that are new.
func (m *monitor) look(ctx context.Context, all []Process, pid int, backlog bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	there := map[string]bool{}
	for _, p := range all {
		there[p.path] = true
		if _, known := m.known[p.path]; known || pid != 0 && p.PID != pid {
			continue
		}
		m.known[p.path] = true
		m.wg.Go(func() { m.follow(ctx, p, backlog) })
	}
	for path, followed := range m.known {
		if !followed && !there[path] {
			delete(m.known, path)
		}
	}
}

func (m *monitor) idle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, followed := range m.known {
		if followed {
			return false
		}
	}
	return true
}

// follow monitors one process to its end.
func (m *monitor) follow(ctx context.Context, p Process, backlog bool) {
	err := p.Monitor(ctx, backlog, func(e Event) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		err := m.f(e)
		if err != nil {
			m.fail(err)
		}
		return err
	})
	if ended(err) {
		p.listens() // which removes what was left behind
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil || ended(err) {
		delete(m.known, p.path) // its name is free for another
	} else {
		m.known[p.path] = false
	}
}
