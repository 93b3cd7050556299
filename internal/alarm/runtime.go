package alarm

import "time"

// runtimeTimer is a timer of the Go runtime.
type runtimeTimer struct {
	t    *time.Timer
	done chan struct{}
}

func newRuntimeTimer() *runtimeTimer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &runtimeTimer{t: t, done: make(chan struct{})}
}

func (r *runtimeTimer) set(d time.Duration) { r.t.Reset(d) }

func (r *runtimeTimer) wait() {
	select {
	case <-r.t.C:
	case <-r.done:
	}
}

func (r *runtimeTimer) close() {
	r.t.Stop()
	close(r.done)
}
