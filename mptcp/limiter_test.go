package mptcp

import (
	"testing"
	"time"
)

func TestLimiter(t *testing.T) {
	var l limiter
	now := Time(time.Hour)
	count := func(tries int) (n int) {
		for range tries {
			if l.allow(now) {
				n++
			}
		}
		return n
	}
	if n := count(1000); n != strayBurst {
		t.Errorf("at once: %d, want the burst of %d", n, strayBurst)
	}
	now = now.Add(100 * time.Millisecond)
	if n := count(1000); n != strayRate/10 {
		t.Errorf("a tenth of a second later: %d, want %d", n, strayRate/10)
	}
	now = now.Add(time.Hour)
	if n := count(1000); n != strayBurst {
		t.Errorf("an hour later: %d, want the burst of %d", n, strayBurst)
	}
}
