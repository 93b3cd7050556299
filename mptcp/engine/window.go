package engine

import (
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// onDataAck acts on a DATA_ACK and the window beside it.
func (c *Conn) onDataAck(now mono.Time, p *path, s *wire.Segment) {
	d := &s.MP.DSS
	ack := d.Ack
	if !d.Ack64 {
		ack = seq.Widen(uint32(d.Ack), c.snd.Una()) //spec:A1 off:
	}
	last := c.tx.next
	if c.tx.finSent {
		last = c.snd.End() + 1
	}
	if last.Less(ack) { //spec:A10 off: if false && last.Less(ack) {
		return // beyond what was sent: ignored
	}
	c.acked(ack)
	// RFC 8684, Section 3.3.5: the largest edge seen on any subflow counts.
	edge := ack.Add(int(s.Window) << p.shift)
	c.tx.edge = c.tx.edge.Max(edge) //spec:A6 off: c.tx.edge = edge
}

// acked moves the connection-level SND.UNA to ack.
func (c *Conn) acked(ack seq.Data) {
	if c.tx.finSent && ack == c.snd.End()+1 {
		c.tx.finAcked = true //spec:X9 off:
		c.timers.Stop(tDataFin)
		ack--
	}
	if !c.snd.Una().Less(ack) {
		return
	}
	c.stats.BytesAcked += uint64(ack.Sub(c.snd.Una()))
	c.tx.lost.Remove(seq.Range{From: c.snd.Una(), To: ack})
	c.snd.Ack(ack)
	c.tx.resends = 0
	c.tx.bare = mono.Never
	c.timers.Stop(tDataAck)
}

// firstOutstanding is the first data sequence number that the subflow has not
// acknowledged.
func (p *path) firstOutstanding() seq.Data {
	first, found := p.c.tx.next, false
	p.sf.Outstanding(func(r seq.Range) {
		if !found || r.From.Less(first) {
			first, found = r.From, true
		}
	})
	return first
}

// announceWindow tells the peer that the application made room, if it makes a
// difference: the window at least doubled (RFC 9293, Section 3.8.6.2.2).
func (c *Conn) announceWindow() {
	if c.sendDeferred() {
		return
	}
	grown := c.rcv.Edge().Sub(c.rx.shownEdge)
	if grown < 2*1460 {
		return
	}
	left := c.rx.shownEdge.Sub(c.rcv.Next())
	if c.rcv.Edge().Sub(c.rcv.Next()) < 2*left {
		return
	}
	for _, p := range c.paths {
		if p.usable() {
			p.sf.SendAck()
		}
	}
}

// DeferAcks has acknowledgments that are due only for data that arrived in order
// wait for a moment, because somebody is about to read it.
func (c *Conn) DeferAcks(now mono.Time) {
	if c.readable() == 0 {
		return
	}
	for _, p := range c.paths {
		p.sf.DeferAck(now)
	}
}

// sendDeferred sends what DeferAcks holds back, and reports whether that is
// anything: it tells of the window, too.
func (c *Conn) sendDeferred() (sent bool) {
	for _, p := range c.paths {
		sent = p.sf.SendDeferred() || sent
	}
	return sent
}
