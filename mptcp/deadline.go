package mptcp

import (
	"sync"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
)

// deadline is one deadline of a net.Conn or net.Listener. It belongs to the
// monitor of cond: the lock cond.L guards it, and it wakes cond's waiters when
// it passes. The zero value has passed; init makes it mono.Never.
type deadline struct {
	at    mono.Time
	timer *time.Timer
	now   func() mono.Time
	cond  *sync.Cond
}

func (d *deadline) init(now func() mono.Time, cond *sync.Cond) {
	d.at, d.now, d.cond = mono.Never, now, cond
}

// set moves the deadline; the zero time means none.
func (d *deadline) set(t time.Time) {
	if t.IsZero() {
		d.stop()
		return
	}
	left := time.Until(t)
	d.at = d.now().Add(max(left, 0))
	if left <= 0 {
		d.disarm()
		d.cond.Broadcast()
		return
	}
	if d.timer == nil {
		d.timer = time.AfterFunc(left, d.ring)
	} else {
		d.timer.Reset(left)
	}
}

// ring runs in a goroutine of its own. It may belong to a deadline that was
// moved meanwhile.
func (d *deadline) ring() {
	d.cond.L.Lock()
	defer d.cond.L.Unlock()
	if left := d.at.Sub(d.now()); left <= 0 {
		d.cond.Broadcast()
	} else if d.at != mono.Never {
		d.timer.Reset(left)
	}
}

// passed reports whether the deadline has passed.
func (d *deadline) passed() bool { return d.at != mono.Never && d.now() >= d.at }

// stop takes the deadline away.
func (d *deadline) stop() {
	d.at = mono.Never
	d.disarm()
}

func (d *deadline) disarm() {
	if d.timer != nil {
		d.timer.Stop()
	}
}
