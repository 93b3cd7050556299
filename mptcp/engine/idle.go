package engine

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
)

// idleAfter is how long nothing was written, read or received before a
// connection gives back the memory that it keeps for what comes next, up to
// some hundred kilobytes; within twice that time. Most of many connections are
// idle.
const idleAfter = time.Second

// used notes that the stores of the stream are in use. The timer runs on by
// itself, so that this costs nothing.
func (c *Conn) used(now mono.Time) {
	c.busy = true
	if c.phase != over && !c.timers.Armed(tIdle) {
		c.timers.Set(tIdle, now.Add(idleAfter))
	}
}

// idleTimeout trims the stores if they were not used since it last came.
func (c *Conn) idleTimeout(now mono.Time) {
	if !c.timers.Expired(tIdle, now) {
		return
	}
	if c.busy {
		c.busy = false
		c.timers.Set(tIdle, now.Add(idleAfter))
		return
	}
	c.snd.Trim()
	if c.rcv != nil {
		c.rcv.Trim()
	}
}
