package engine

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow"
)

// lose puts what a failing path holds into the queue of ranges to be sent on
// another path, but for what a healthy one carries already. The path itself,
// if it lives, still retransmits (RFC 8684, Section 3.3.6).
func (c *Conn) lose(p *path) {
	if c.mode != multipath || c.phase != open {
		return
	}
	var held seq.Set[seq.Data]
	p.sf.Outstanding(func(r seq.Range) { held.Add(r) })
	if m, ok := p.sf.Unfinished(); ok && c.csum {
		// The peer can use nothing of it without the rest.
		held.Add(seq.Range{From: m.Data, To: m.Data.Add(m.Len)})
	}
	c.loseSet(&held, p)
}

// loseSet adds held to the lost ranges, less what is acknowledged and what a
// healthy path other than p has in flight.
func (c *Conn) loseSet(held *seq.Set[seq.Data], p *path) {
	for _, q := range c.paths {
		if q != p && q.usable() && !q.silent() {
			q.sf.Outstanding(func(r seq.Range) { held.Remove(r) })
		}
	}
	una := c.snd.Una()
	for _, r := range held.Spans() {
		if r = r.Intersect(seq.Range{From: una, To: c.tx.next}); !r.Empty() {
			c.tx.lost.Add(r)
		}
	}
}

// dataTimeouts acts on the connection's own retransmission timers.
func (c *Conn) dataTimeouts(now mono.Time) {
	if c.timers.Expired(tDataAck, now) {
		c.dataTimeout(now)
	}
	if c.bareDeadline() <= now {
		c.timeOut(now, c.unheard(now, now.Sub(c.tx.bare)))
	}
	if c.timers.Expired(tPersist, now) {
		c.persist(now)
	}
	if c.timers.Expired(tConfirm, now) {
		c.confirm(now)
	}
}

// minDataRTO is the least time that data acknowledged on its subflow waits for
// its DATA_ACK: Linux may acknowledge on the subflow while its reader holds
// the socket.
const minDataRTO = time.Second

// watchDataAck arms the connection's retransmission timer while data is
// acknowledged on its subflows but not by a DATA_ACK (RFC 8684, Section 3.3.6).
func (c *Conn) watchDataAck(now mono.Time) {
	if c.mode != multipath || c.snd.Una() == c.tx.next || !c.tx.lost.Empty() || c.timers.Armed(tDataAck) {
		return
	}
	for _, p := range c.paths {
		if !p.sf.Idle() && p.alive() {
			return // what a dead path holds is no reason to wait
		}
	}
	c.timers.Set(tDataAck, now.Add(min(max(2*c.RTO(), minDataRTO)<<min(c.tx.resends, 6), time.Minute)))
}

// dataTimeout sends again what no working subflow holds any more. But a peer
// that acknowledges without any option on the only subflow is plain TCP by now:
// what comes again would be new octets to it (RFC 8684, Section 3.7).
func (c *Conn) dataTimeout(now mono.Time) {
	if c.mode != multipath || c.snd.Una() == c.tx.next {
		return
	}
	for _, p := range c.paths {
		if c.rx.bare && c.mayFallBack(p, p.sf.RcvNxt()) { //spec:F2 off: if false {
			c.fallBack(now, p, DataPlain)
			return
		}
	}
	c.tx.resends++
	var held seq.Set[seq.Data]
	held.Add(seq.Range{From: c.snd.Una(), To: c.tx.next})
	for _, p := range c.paths {
		if p.alive() {
			p.sf.Outstanding(func(r seq.Range) { held.Remove(r) })
		}
	}
	c.loseSet(&held, nil) //spec:D16 off:
}

// A network may begin to remove the options of what comes back: the subflow's
// acknowledgments arrive, and never again a DATA_ACK. On the only subflow there
// ever was that ends in TCP (dataTimeout), announced by an infinite mapping (RFC 8684, Section
// 3.7): before anything is sent a second time, for after that the subflow's octets
// are not the stream's any more. Otherwise it ends the connection, when Hold or the
// user timeout is over: sending again would not end by itself.

// noteBare notes since when what acknowledges data has no options.
func (p *path) noteBare(now mono.Time, s *wire.Segment, acc *subflow.Accepted) {
	c := p.c
	switch {
	case s.MP.Has&wire.DSS != 0 && s.MP.DSS.HasAck:
		c.tx.bare = mono.Never
	case s.MP.Has == 0 && len(acc.Retired) > 0:
		c.tx.bare = c.tx.bare.Earliest(now)
	}
}

// bareDeadline is when that is over.
func (c *Conn) bareDeadline() mono.Time {
	if c.tx.bare == mono.Never || c.phase != open || c.mode != multipath {
		return mono.Never
	}
	if c.cfg.UserTimeout > 0 {
		return c.tx.bare.Add(c.cfg.UserTimeout)
	}
	return c.tx.bare.Add(c.hold)
}

// confirmAfter is how long after the handshake a silent peer is asked for a
// DSS, and maxConfirms how often.
const (
	confirmAfter = 100 * time.Millisecond
	maxConfirms  = 3
)

// confirm asks for a segment with a DSS.
func (c *Conn) confirm(now mono.Time) {
	if c.mode != multipath || c.rx.dssSeen || c.phase != open || c.confirms == maxConfirms {
		return
	}
	c.confirms++
	for _, p := range c.paths {
		if p.first && p.sf.Idle() {
			p.keepalive()
		}
	}
	c.timers.Set(tConfirm, now.Add(c.RTO()<<c.confirms))
}
