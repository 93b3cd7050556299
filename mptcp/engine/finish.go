package engine

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/trace"
	"github.com/mpnc/mpnc/pathmgr"
)

// finish moves the end of the stream on: called at every poll.
func (c *Conn) finish(now mono.Time) {
	if c.phase != open {
		return
	}
	c.watchDataAck(now)
	c.watchSilence(now)
	if c.tx.fin && !c.tx.finSent && c.snd.End() == c.tx.next {
		c.startFin(now)
	}
	c.giveBack()
	if c.mode == multipath && c.settled() { //spec:X5 off: if c.mode == multipath && c.tx.finSent {
		c.closePaths(now)
	}
}

// startFin sends our end of stream: a FIN, or a DATA_FIN on every subflow.
func (c *Conn) startFin(now mono.Time) {
	if c.mode == plain {
		for _, p := range c.paths {
			c.tx.finSent = true
			p.sf.CloseWrite()
		}
		return
	}
	c.tx.finSent = true
	c.tx.finSecond = c.peerFinished()
	c.sendDataFin(now)
}

// sendDataFin puts the DATA_FIN on a pure ACK of every usable subflow, and
// arms its repetition: it is retransmitted until it is acknowledged
// (RFC 8684, Section 3.3.3).
func (c *Conn) sendDataFin(now mono.Time) {
	for _, p := range c.paths {
		if p.up && !p.gone {
			p.sendFin = true
			p.sf.SendAck()
		}
	}
	c.press(now)
	c.timers.Set(tDataFin, now.Add(min(c.RTO()<<min(c.tx.finTries, 8), time.Minute)))
	c.trace(now, trace.DataFinSent, -1, uint64(c.tx.finTries), 0)
}

// closePaths sends FIN on every subflow: both directions are finished
// (RFC 8684, Section 3.3.3). Both, for Linux answers a FIN before its own
// DATA_FIN is acknowledged by closing the subflow. Nothing is lost if a dead
// path never answers, but a live peer is to hear the last DATA_ACK: a path
// whose address is gone waits a while for it.
func (c *Conn) closePaths(now mono.Time) {
	for _, p := range c.paths {
		if !p.up {
			p.end(pathmgr.Closed)
			continue
		}
		if !p.closing {
			p.close(now) //spec:X6 off:
		}
		if p.patience == mono.Never || p.leaving {
			p.leaving, p.doubt = false, mono.Never
			p.patience = p.finPatience(now)
		}
	}
}

// close queues a FIN on the subflow. A peer that does not answer with its own
// must not keep the subflow for ever.
func (p *path) close(now mono.Time) {
	p.closing = true
	p.downReason = pathmgr.Closed
	p.sf.CloseWrite()
	if p.patience == mono.Never {
		p.patience = p.finPatience(now)
	}
}

// finPatience is the time by which FINs have to be exchanged.
func (p *path) finPatience(now mono.Time) mono.Time {
	if p.silent() {
		return now.Add(minFinPatience)
	}
	return now.Add(max(8*p.sf.RTO(), minFinPatience))
}

// minFinPatience bounds how long a subflow may take to exchange FINs.
const minFinPatience = 10 * time.Second

// finishTimeouts acts on the timers of closing.
func (c *Conn) finishTimeouts(now mono.Time) {
	if c.timers.Expired(tDataFin, now) && c.mode == multipath && c.tx.finSent && !c.tx.finAcked {
		c.tx.finTries++
		c.stats.DataFinRetrans++
		c.sendDataFin(now) //spec:X7 off:
	}
	if c.timers.Expired(tLinger, now) && c.appClosed {
		// The application is gone and the peer never finished.
		if c.asked != mono.Never {
			// It was unplugged: of our end of the stream nothing was heard.
			c.timeOut(now, c.unheard(now, now.Sub(c.asked)))
			return
		}
		c.abort(now)
	}
}
