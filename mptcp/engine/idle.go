package engine

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
)

// idleAfter is how often a connection gives back the memory that it keeps for
// what comes next, so far as it was not needed since the last time. One that was
// idle for twice as long keeps none. Most of many connections are idle.
const idleAfter = time.Second

// used notes that the stores of the stream are in use. The timer runs on by
// itself, so that this costs nothing.
func (c *Conn) used(now mono.Time) {
	c.busy = true
	if c.phase != over && !c.timers.Armed(tIdle) {
		c.timers.Set(tIdle, now.Add(idleAfter))
	}
}

// idleTimeout gives back what the stores did not need since it last came.
func (c *Conn) idleTimeout(now mono.Time) {
	if !c.timers.Expired(tIdle, now) {
		return
	}
	c.snd.Age()
	if c.rcv != nil {
		c.rcv.Age()
	}
	if c.busy || c.snd.Memory() > 0 {
		c.busy = false
		c.timers.Set(tIdle, now.Add(idleAfter))
	}
}

// giveBack gives back what the stores can do without, once nothing more will come
// in either direction: a connection may be in TIME-WAIT for long.
func (c *Conn) giveBack() {
	if !c.settled() {
		return
	}
	c.snd.Trim()
	if c.rcv != nil {
		c.rcv.Trim()
	}
}
