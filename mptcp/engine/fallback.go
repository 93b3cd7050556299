package engine

import (
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/trace"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow"
)

// becomePlain makes the connection plain TCP before any data was mapped.
func (c *Conn) becomePlain(r FallbackReason) {
	c.mode = plain
	c.reason = r
	c.stats.Fallback = r
	c.stats.Multipath = false
	if c.rcv == nil {
		c.expect(0)
	}
}

// mayFallBack reports whether p is the only subflow there ever was and the
// stream is what its bytes are, in order (RFC 8684, Section 3.7), what is
// missing as what is there. next is the offset of the first payload at hand that
// was not placed yet, RCV.NXT if there is none.
func (c *Conn) mayFallBack(p *path, next seq.Offset) bool {
	return c.alone(p) && c.stats.Reinjections == 0 && !c.rx.shifted && //spec:F3 off: return c.alone(p) && c.stats.Reinjections == 0 &&
		c.rcv.Next() == c.peerIDSN.Add(int(p.placedTo(next)))
}

// alone reports whether p is the first subflow, and none was ever added. One
// whose handshake runs is not: the peer may not even have heard of it.
func (c *Conn) alone(p *path) bool { return p.first && !c.joined }

// placedTo is the subflow offset up to which payload was placed.
func (p *path) placedTo(next seq.Offset) seq.Offset {
	for _, piece := range p.in.staged {
		next = min(next, piece.off)
	}
	for _, a := range p.in.parts {
		next = min(next, a.m.off)
	}
	return next
}

// silentFallback reports whether a segment shows that the peer, or the network
// between, does not speak MPTCP after all: before any DSS was seen, payload in
// order or an acknowledgment of data without one. Payload within the mapping of
// an earlier MP_CAPABLE needs none (RFC 8684, Section 3.3.1).
func (c *Conn) silentFallback(p *path, s *wire.Segment, acc *subflow.Accepted) bool {
	if c.mode != multipath || !c.alone(p) || c.rx.dssSeen {
		return false
	}
	if s.MP.Has != 0 || s.Flags.Has(wire.SYN) {
		return false
	}
	unmapped := len(acc.Payload) > 0 && acc.Off < p.sf.RcvNxt() && !p.covers(acc.Off)
	return len(acc.Retired) > 0 || unmapped || //spec:F2 off: return unmapped ||
		acc.Events.Has(subflow.FinReceived)
}

// bareFIN decides on a FIN of a peer that speaks MPTCP, on the only subflow,
// behind which there can be no mapping any more. Without an option it is that of
// a peer that fell back: the end of its stream. With octets that were never
// mapped the subflow is reset: a FIN of ours in return would be taken for the
// end of our stream by a peer that fell back. False: it is an ordinary one.
func (p *path) bareFIN(now mono.Time, s *wire.Segment) bool {
	c := p.c
	unmapped := len(p.in.staged)+len(p.in.parts) > 0
	if !c.alone(p) || c.settled() || s.MP.Has != 0 && !unmapped {
		return false
	}
	if !c.mayFallBack(p, p.sf.RcvNxt()-1) {
		p.reset(wire.ResetMiddlebox)
		return true
	}
	c.fallBack(now, p, DataPlain)
	if !c.rx.finSeen {
		c.rx.finSeen, c.rx.fin = true, c.rcv.Next() //spec:F12 off: c.rx.fin = 0
	}
	return true
}

// endsSubflow reports whether the FIN of a segment, once we have fallen back of
// our own accord, is that of a peer that did not: it has options, and none that
// says that the stream ends.
func (c *Conn) endsSubflow(s *wire.Segment) bool {
	d := &s.MP.DSS
	return c.reason == DataPlain && s.MP.Has&wire.DSS != 0 && !d.Fin && !(d.HasMap && d.Length == 0)
}

// fallBack turns a connection with one subflow into plain TCP: from here on
// the mapping is implied and the subflow's acknowledgments are the
// connection's (RFC 8684, Section 3.7).
func (c *Conn) fallBack(now mono.Time, p *path, r FallbackReason) {
	if c.mode != multipath {
		return
	}
	c.mode = plain
	c.reason = r
	c.stats.Fallback = r
	c.stats.Multipath = false
	c.tx.infinite = r == DataPlain || r == MPFailReceived || r == ChecksumFailed //spec:F4 off:
	c.tx.lost.Clear()
	c.timers.Stop(tConfirm)
	c.timers.Stop(tDataAck)
	c.timers.Stop(tDataFin)
	c.timers.Stop(tAddAddr)
	if c.tx.finSent {
		// A pending DATA_FIN turns into a FIN.
		c.tx.finSent, c.tx.finAcked = false, false //spec:F12 off:
		p.sendFin = false
	}
	c.acked(p.firstOutstanding())
	p.sf.SetOptionSpace(0)
	p.sf.SetAccept(0)
	// What the subflow has acknowledged, or will because a window of ours covers
	// it, is lost if it finds no room. A window counts from the DATA_ACK; but a
	// peer that fell back before us counts it from the acknowledgment of the
	// subflow, which is ahead by what waits here for a mapping.
	c.rcv.Extend(c.peerIDSN.Add(int(p.sf.Reach()))) //spec:F3 off:
	if !c.peerFinished() {
		c.rx.finSeen = false // the peer's pending DATA_FIN turns into a FIN too
	}
	c.placeImplied(now, p)
	for _, q := range c.paths {
		if q != p {
			q.reset(wire.ResetMPTCPError) // one subflow only: RFC 8684, Section 3.7
		}
	}
	c.trace(now, trace.Fallback, p.id, uint64(r), 0)
	c.emit(FellBack{r})
}

// placeImplied places what waits for the rest of its mapping, or for one: with
// TCP the subflow's numbers are the stream's.
func (c *Conn) placeImplied(now mono.Time, p *path) {
	staged, parts := p.in.staged, p.in.parts
	p.in.parts = nil
	p.forgetMappings()
	for _, piece := range staged {
		c.place(now, c.peerIDSN.Add(int(piece.off)), piece.bytes)
	}
	for _, a := range parts {
		for _, r := range a.have.Spans() {
			if !a.skip {
				c.place(now, c.peerIDSN.Add(int(r.From)), a.buf[r.From-a.m.off:r.To-a.m.off])
			}
		}
		c.stage.give(a)
	}
}

// onFail: the peer says, on an ACK, that data was changed on the way, and takes
// it all the same. On the only subflow there ever was, what is in flight is
// contiguous: MP_FAIL is answered, and the connection is TCP (RFC 8684, Section
// 3.7). False: the path is finished.
func (p *path) onFail(now mono.Time, from seq.Data) bool {
	c := p.c
	c.stats.MPFailRx++
	if !c.cfg.TakeAltered {
		c.fail(now, &AlteredError{Peer: true, Local: c.local, Remote: c.remote})
		return false
	}
	if !c.alone(p) || c.stats.Reinjections > 0 { //spec:F8 off: if false {
		c.loseFrom(p, from)
		p.failed, p.failSeq = true, c.dataAck()
		p.reset(wire.ResetMiddlebox)
		return false
	}
	p.sendFail = failAnswers
	p.signal()
	c.fallBack(now, p, MPFailReceived)
	return true
}

// failAnswers is how many ACKs answer an MP_FAIL: a lost one is not asked for
// again by Linux, which resets the subflow after two minutes.
const failAnswers = 3

// maxFailures bounds the copies of an MP_FAIL that has no answer.
const maxFailures = 6

// sayFailed tells the peer that a checksum failed on the only subflow, and that
// it is TCP from here on: on each pure ACK, and at least each RTO, until the
// peer answers.
func (p *path) sayFailed(now mono.Time) {
	p.failing = true
	p.signal() // data has no room for it
	p.failAt = now.Add(p.sf.RTO() << min(p.failures, 5))
}

func (p *path) repeatFail(now mono.Time) {
	p.failAt = mono.Never
	if p.failures++; p.failures > maxFailures {
		p.c.fail(now, &AlteredError{Local: p.c.local, Remote: p.c.remote})
		return
	}
	p.sayFailed(now)
}

// onPlain looks at a segment of a connection that has fallen back, for what is
// left of MPTCP: the answer to our MP_FAIL, or the repetition of the peer's.
// False: the connection has failed.
func (p *path) onPlain(now mono.Time, s *wire.Segment, acc *subflow.Accepted) bool {
	c, mp := p.c, &s.MP
	fail := mp.Has&wire.MPFail != 0
	if fail {
		c.stats.MPFailRx++
	}
	if !p.failing {
		if fail && c.reason == MPFailReceived && p.sendFail == 0 {
			p.sendFail = 1
			p.sf.SendAck()
		}
		return true
	}
	m, mapped := p.mapping(s, acc)
	switch {
	case fail, mp.Has == 0 && len(acc.Payload) > 0, mp.Has&wire.DSS != 0 && mp.DSS.HasMap && mp.DSS.Length == 0:
		p.failing, p.failAt = false, mono.Never
		c.stats.InfiniteMapRx += uint64(bit(mp.Has&wire.DSS != 0 && mp.DSS.HasMap && mp.DSS.Length == 0))
	case mapped && m.data != c.peerIDSN.Add(int(m.off)):
		// It was sent again before our word was heard: the subflow is not the
		// stream any more.
		c.fail(now, &AlteredError{Local: c.local, Remote: c.remote})
		return false
	}
	return true
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// onMismatch: a mapping with a checksum that was not negotiated, or without one
// that was, contradicts the handshake (RFC 8684, Section 3.3): on the only
// subflow the connection goes on as TCP, as Linux does; another subflow is
// reset. False: it was reset.
func (p *path) onMismatch(now mono.Time, acc *subflow.Accepted) bool {
	c, next := p.c, p.sf.RcvNxt()
	if len(acc.Payload) > 0 {
		next = min(next, acc.Off)
	}
	if c.mayFallBack(p, next) {
		c.fallBack(now, p, ChecksumsWanted)
		return true
	}
	p.reset(wire.ResetMPTCPError)
	return false
}

// loseFrom sends again what the peer has dropped: all from the number in its
// MP_FAIL on that no other path carries (RFC 8684, Section 3.7).
func (c *Conn) loseFrom(p *path, from seq.Data) {
	var held seq.Set[seq.Data]
	held.Add(seq.Range{From: from.Max(c.snd.Una()), To: c.tx.next})
	c.loseSet(&held, p)
}
