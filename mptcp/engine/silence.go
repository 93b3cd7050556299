package engine

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/subflow"
)

// defaultKeepAliveCount is how many keepalives may have no answer.
const defaultKeepAliveCount = 9

// onSilence acts on a path on which nothing was acknowledged for
// Config.UserTimeout, or no keepalive was answered. While another path lives
// that is the end of this one only; what it carried went to the others long
// ago. On the last path the user timeout is the connection's end, as it is with
// plain TCP (RFC 9293, Section 3.8.3; RFC 5482). Keepalives are so with plain TCP
// alone: an MPTCP connection may still find another path, and is held.
func (p *path) onSilence(now mono.Time, ev subflow.Events) {
	c := p.c
	if p.sf.State() == subflow.StateSynSent || p.sf.State() == subflow.StateSynReceived {
		p.end(pathmgr.TimedOut)
		p.onFailed(now)
		return
	}
	if c.mode == multipath && c.otherAlive(p) && !c.unheardFor(now, c.cfg.UserTimeout) {
		p.reset(wire.ResetBadPerformance) //spec:T74 off: _ = wire.ResetBadPerformance
		p.downReason = pathmgr.TimedOut
		return
	}
	if ev.Has(subflow.TimedOut) || c.mode == plain {
		c.timeOut(now, p.unanswered(now, !ev.Has(subflow.TimedOut)))
	}
}

// timeOut fails the connection because nobody answers on any path.
func (c *Conn) timeOut(now mono.Time, err error) {
	for _, p := range c.paths {
		p.downReason = pathmgr.TimedOut
	}
	c.fail(now, err)
}

// unheardFor reports whether an answer is due for the user timeout and the peer
// said nothing on any path: then no other path is any better, though it was not
// found out yet.
func (c *Conn) unheardFor(now mono.Time, d time.Duration) bool {
	return d > 0 && c.asked != mono.Never && now.Sub(c.asked) >= d
}

// otherAlive reports whether another path than p works as far as anyone can
// tell.
func (c *Conn) otherAlive(p *path) bool {
	for _, q := range c.paths {
		if q != p && q.alive() {
			return true
		}
	}
	return false
}

// unanswered is the failure of a connection whose last path was p.
func (p *path) unanswered(now mono.Time, idle bool) *UnansweredError {
	info := p.sf.Info()
	e := &UnansweredError{
		Local: p.tuple.Local, Remote: p.tuple.Remote, Idle: idle,
		After: p.c.cfg.UserTimeout, Retries: info.Retries,
	}
	if idle {
		e.After, e.Retries = now.Sub(info.LastRecv), p.c.cfg.KeepAliveCount
	}
	return e
}

// userDeadline is when Config.UserTimeout is over where no subflow can tell: an
// answer is due and no path is left to ask on, or the peer was asked for a
// window, or told the end of the stream, and was silent since.
func (c *Conn) userDeadline() mono.Time {
	if c.cfg.UserTimeout <= 0 || c.phase != open || c.asked == mono.Never {
		return mono.Never
	}
	since := c.pressed
	if !c.canAsk() {
		since = c.asked
	}
	if since == mono.Never {
		return mono.Never
	}
	return since.Add(c.cfg.UserTimeout)
}

// canAsk reports whether there is a path that can be sent on: one that is not
// joined yet is none.
func (c *Conn) canAsk() bool {
	for _, p := range c.paths {
		if p.up && !p.gone {
			return true
		}
	}
	return false
}

// press notes that something left, at now, that asks for an answer and that no
// subflow repeats.
func (c *Conn) press(now mono.Time) { c.pressed = c.pressed.Earliest(now) }

// userTimeout fails the connection when that is so.
func (c *Conn) userTimeout(now mono.Time) {
	if c.userDeadline() > now {
		return
	}
	c.timeOut(now, c.unheard(now, c.cfg.UserTimeout))
}

// unheard is the failure of a connection whose peer said nothing for so long; it
// names the last path.
func (c *Conn) unheard(now mono.Time, after time.Duration) *UnansweredError {
	e := &UnansweredError{Local: c.local, Remote: c.remote}
	if n := len(c.paths); n > 0 {
		e = c.paths[n-1].unanswered(now, false)
	}
	e.After, e.Retries = after, max(e.Retries, c.tx.finTries, c.tx.probes)
	return e
}
