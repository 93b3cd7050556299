package netcat

import "time"

// idleTimer fires every period; the session is idle if nothing moved between
// two firings and the period has passed since.
type idleTimer struct {
	period time.Duration
	timer  *time.Timer
	c      <-chan time.Time
	seen   uint64
	since  time.Time
}

// polls is how often within its period an idleTimer looks: the time-out comes
// late by at most that part of it.
const polls = 8

// newIdleTimer returns a timer that runs now, or after start.
func newIdleTimer(period time.Duration, now bool) *idleTimer {
	t := &idleTimer{period: period}
	if now {
		t.start()
	}
	return t
}

// start lets the time run, if there is any and it does not.
func (t *idleTimer) start() {
	if t.period <= 0 || t.timer != nil {
		return
	}
	t.timer = time.NewTimer(t.period / polls)
	t.c, t.since = t.timer.C, time.Now()
}

// expired is called after each firing with the count of what has moved.
func (t *idleTimer) expired(moved uint64) bool {
	now := time.Now()
	if moved != t.seen {
		t.seen, t.since = moved, now
	}
	left := t.period - now.Sub(t.since)
	t.timer.Reset(min(t.period/polls, max(left, time.Millisecond)))
	return left <= 0
}

func (t *idleTimer) stop() {
	if t.timer != nil {
		t.timer.Stop()
	}
}
