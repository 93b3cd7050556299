package mptcp

import "sync"

const (
	strayRate  = 200 // answers to strays a second
	strayBurst = 50
)

// limiter is a token bucket.
type limiter struct {
	mu   sync.Mutex // leaf
	used float64    // tokens taken and not yet back, at most strayBurst
	last Time
}

// allow takes one token, if there is one.
func (l *limiter) allow(now Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used = max(0, l.used-now.Sub(l.last).Seconds()*strayRate)
	l.last = now
	if l.used > strayBurst-1 {
		return false
	}
	l.used++
	return true
}
