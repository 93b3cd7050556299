// Package alarm wakes one goroutine at a time that other goroutines move
// forward. On Linux it waits on a timerfd through the runtime's poller, some
// tens of microseconds late; the runtime's own timers, which an idle process
// waits for in whole milliseconds, serve elsewhere and in synctest bubbles.
package alarm

import (
	"net"
	"sync"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
)

// Alarm is armed for one time at most. It is made for a waiter that keeps all
// deadlines itself: whoever adds one makes it known to the waiter and then
// calls Reset; the waiter, each time it wakes, serves what is due and calls
// Reset with what remains. It may wake for nothing.
type Alarm struct {
	now   func() mono.Time
	timer timer

	mu     sync.Mutex
	armed  mono.Time // Never: not armed
	closed bool
}

// timer is what an Alarm waits on. set and close are called under its lock,
// wait by the waiter only.
type timer interface {
	// set makes wait return after d, whatever was set before.
	set(d time.Duration)
	// wait returns when the time has come, or at any time without a cause; at
	// once after close.
	wait()
	close()
}

// New returns an alarm that is not armed, on the best timer the system has.
// It must not be used in a synctest bubble. now tells the time that Reset is
// meant in; it has to advance with the system's monotonic clock.
func New(now func() mono.Time) *Alarm {
	if t := newSystemTimer(); t != nil {
		return newAlarm(now, t)
	}
	return Portable(now)
}

// Portable returns an alarm that is not armed, on a timer of the Go runtime.
// In a synctest bubble it keeps the bubble's time.
func Portable(now func() mono.Time) *Alarm { return newAlarm(now, newRuntimeTimer()) }

func newAlarm(now func() mono.Time, t timer) *Alarm {
	return &Alarm{now: now, timer: t, armed: mono.Never}
}

// Reset arms the alarm for at, or does nothing if it is armed for an earlier
// time or closed: a deadline that moves on costs a comparison. A time that has
// passed is due at once. Any goroutine may call it.
func (a *Alarm) Reset(at mono.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at >= a.armed || a.closed {
		return
	}
	a.armed = at
	a.timer.set(at.Sub(a.now()))
}

// Wait blocks until the time that the alarm is armed for has come, disarms it
// and returns nil; after Close it returns net.ErrClosed. One goroutine at a
// time may wait.
func (a *Alarm) Wait() error {
	for woken := false; ; woken = true {
		if done, err := a.check(woken); done {
			return err
		}
		a.timer.wait()
	}
}

// check reports whether Wait is over. If not, and the timer has just run out,
// it starts it again: now may lag behind the timer's clock.
func (a *Alarm) check(woken bool) (done bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return true, net.ErrClosed
	}
	if a.armed == mono.Never {
		return false, nil
	}
	left := a.armed.Sub(a.now())
	if left <= 0 {
		a.armed = mono.Never
		return true, nil
	}
	if woken {
		a.timer.set(left)
	}
	return false, nil
}

// Close makes Wait return net.ErrClosed, now and ever after. It may be called
// more than once.
func (a *Alarm) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.closed = true
		a.timer.close()
	}
}
