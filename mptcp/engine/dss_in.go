package engine

import (
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow"
)

// Bounds on what one subflow may make us keep besides placed data.
const (
	maxMaps  = 256       // mappings that reach beyond the segment they came with
	maxStage = 256 << 10 // octets that arrived without a mapping
)

// inMap is a received mapping: len octets from subflow offset off on have data
// sequence numbers from data on.
type inMap struct {
	data seq.Data
	off  seq.Offset
	len  int

	csum   uint16 // with checksums: what it says,
	length uint16 // and the data-level length, DATA_FIN included, that it covers
}

func (m inMap) end() seq.Offset { return m.off + seq.Offset(m.len) }

// at returns the data sequence number of offset o.
func (m inMap) at(o seq.Offset) seq.Data { return m.data.Add(int(int64(o - m.off))) }

// stagedPiece is payload whose mapping has not arrived.
type stagedPiece struct {
	off   seq.Offset
	bytes []byte
}

// inbound is what a subflow keeps of the mappings it received. Mappings that
// lie within their own segment, which is nearly all of them, leave no trace.
type inbound struct {
	maps   []inMap
	parts  []*partial // with checksums, in the place of maps
	staged []stagedPiece
	size   int // octets staged
}

// remember keeps a mapping whose payload is still to come.
func (in *inbound) remember(m inMap) {
	for _, old := range in.maps {
		if old == m {
			return
		}
	}
	if len(in.maps) < maxMaps {
		in.maps = append(in.maps, m)
	}
}

// find returns the mapping that covers offset o.
func (in *inbound) find(o seq.Offset) (inMap, bool) {
	for i := len(in.maps) - 1; i >= 0; i-- {
		if m := in.maps[i]; o >= m.off && o < m.end() {
			return m, true
		}
	}
	return inMap{}, false
}

// covers reports whether a mapping for offset o is known.
func (p *path) covers(o seq.Offset) bool {
	n := 1
	_, found := p.in.find(o)
	return found || p.partAt(o, &n) != nil
}

// forget drops the mappings that lie wholly before offset next.
func (in *inbound) forget(next seq.Offset) {
	kept := in.maps[:0]
	for _, m := range in.maps {
		if m.end() > next {
			kept = append(kept, m)
		}
	}
	in.maps = kept
}

// onOptions acts on the MPTCP options of a segment that TCP accepted. False:
// nothing of the segment is to be used any more.
func (p *path) onOptions(now mono.Time, s *wire.Segment, acc *subflow.Accepted) bool {
	c, mp := p.c, &s.MP
	p.noteBare(now, s, acc)
	if !p.first && !p.onJoinProgress(now, s) {
		return false
	}
	if mp.Has&wire.FastClose != 0 && mp.Fast.Key == c.key { //spec:R4 off: if mp.Has&wire.FastClose != 0 {
		c.stats.MPFastcloseRx++
		if p == c.closer {
			c.endClose(false) // both at once
			return false
		}
		c.fail(now, &ResetError{Peer: true, Local: c.local, Remote: c.remote})
		return false
	}
	if c.unsummed(mp) {
		return p.onMismatch(now, acc)
	}
	if mp.Has&wire.DSS != 0 {
		if mp.DSS.HasAck {
			p.dssSeen = true
			c.onDataAck(now, p, s)
		}
		if c.mode == multipath && !c.rx.dssSeen && mp.DSS.HasAck {
			c.rx.dssSeen = true
			c.timers.Stop(tConfirm)
			c.established(now)
			c.openEarly()
		}
	}
	if mp.Has != 0 {
		c.rx.bare = false
	} else if len(acc.Retired) > 0 {
		c.rx.bare = true
		next := p.sf.RcvNxt()
		if len(acc.Payload) > 0 {
			next = min(next, acc.Off)
		}
		if !c.tx.lost.Empty() && c.mayFallBack(p, next) { //spec:F2 off: if false {
			// What is lost would come again, as new octets to this peer.
			c.fallBack(now, p, DataPlain)
			return true
		}
	}
	if !p.first && !p.dssSeen && mp.Has == 0 && len(acc.Retired) > 0 {
		// Data acknowledged, and no DSS ever: on an additional subflow that is
		// its end (RFC 8684, Section 3.7).
		p.reset(wire.ResetMiddlebox)
		return false
	}
	if c.silentFallback(p, s, acc) {
		c.fallBack(now, p, DataPlain)
		return true
	}
	if mp.Has&wire.DSS != 0 && mp.DSS.HasMap {
		p.onMapping(now, s, acc)
	}
	if mp.Has&wire.MPFail != 0 {
		return p.onFail(now, mp.Fail.Seq)
	}
	p.onSignals(now, s)
	return c.phase != over
}

// onMapping takes in DATA_FIN and the infinite mapping; ordinary mappings wait
// for their payload (onPayload).
func (p *path) onMapping(now mono.Time, s *wire.Segment, acc *subflow.Accepted) {
	c, d := p.c, &s.MP.DSS
	if d.Length == 0 {
		if !c.alone(p) {
			p.reset(wire.ResetMPTCPError) // the peer is TCP, and nobody knows where we are
			return
		}
		c.stats.InfiniteMapRx++
		c.fallBack(now, p, InfiniteMapping) //spec:D12 off:
		return
	}
	at := c.widenSeq(d.Seq, d.Seq64)
	if d.Fin && d.Length == 1 && c.csum && !(&inMap{data: at, off: seq.Offset(d.SSN), csum: d.Csum, length: 1}).intact(0) {
		c.stats.DataCsumErr++
		return // it comes again
	}
	if d.Fin {
		c.onDataFin(p, at.Add(int(d.Length)-1)) //spec:X2 off: c.onDataFin(p, at.Add(int(d.Length)))
	}
}

// widenSeq returns the 64-bit form of a received data sequence number.
func (c *Conn) widenSeq(n seq.Data, is64 bool) seq.Data {
	if is64 {
		return n
	}
	return seq.Widen(uint32(n), c.rcv.Next()) //spec:D3 off: return c.rcv.Next()&^0xffffffff | n
}

// mapping returns the mapping that a segment carries, if it has one for bytes.
func (p *path) mapping(s *wire.Segment, acc *subflow.Accepted) (inMap, bool) {
	c := p.c
	if s.MP.Has&wire.DSS != 0 && s.MP.DSS.HasMap {
		d := &s.MP.DSS
		n := int(d.Length)
		if d.Fin {
			n-- // the DATA_FIN takes one number and no octet (RFC 8684, Section 3.3.3)
		}
		if n <= 0 {
			return inMap{}, false
		}
		off := acc.Off + seq.Offset(int64(int32(d.SSN-uint32(acc.Off))))
		if int64(off) < 1 {
			return inMap{}, false // before the first octet of the subflow
		}
		return inMap{data: c.widenSeq(d.Seq, d.Seq64), off: off, len: n, csum: d.Csum, length: d.Length}, true
	}
	if p.first && s.MP.Has&wire.MPCapable != 0 && s.MP.Capable.HasLength { //spec:H19,H20 off: if false {
		// RFC 8684, Section 3.1: equal to a mapping of the first octets.
		mc := &s.MP.Capable
		return inMap{data: c.peerIDSN + 1, off: 1, len: int(mc.Length), csum: mc.Csum, length: mc.Length}, mc.Length > 0
	}
	return inMap{}, false
}

// onPayload puts payload where it belongs in the stream, however disordered
// the subflow is.
func (p *path) onPayload(now mono.Time, s *wire.Segment, acc *subflow.Accepted) {
	c := p.c
	if c.mode == plain {
		if m, ok := p.mapping(s, acc); ok && c.reason == DataPlain && m.data != c.peerIDSN.Add(int(m.off)) { //spec:F3 off: if false {
			// The peer did not fall back, and these octets are others than those
			// that would follow: rather no stream than a wrong one.
			p.reset(wire.ResetMiddlebox)
			c.fail(now, &ResetError{Local: c.local, Remote: c.remote})
			return
		}
		c.place(now, c.peerIDSN.Add(int(acc.Off)), acc.Payload)
		return
	}
	m, ok := p.mapping(s, acc)
	if ok && m.data != c.peerIDSN.Add(int(m.off)) {
		c.rx.shifted = true
	}
	if c.csum {
		p.takeSummed(now, m, ok, s, acc)
		return
	}
	if ok {
		end := acc.Off + seq.Offset(len(acc.Payload))
		if acc.Off >= m.off && end <= m.end() && len(p.in.staged) == 0 {
			// The usual case: a mapping covers its segment. What of it lies in
			// other segments carries it again, or finds it here.
			if acc.Off > m.off || end < m.end() {
				p.in.remember(m) //spec:D7 off:
			}
			c.place(now, m.at(acc.Off), acc.Payload)
			p.in.forget(p.sf.RcvNxt())
			return
		}
		p.in.remember(m)
		p.unstage(now)
	}
	p.placeMapped(now, acc.Off, acc.Payload)
	p.in.forget(p.sf.RcvNxt())
	p.checkStage(now, s)
}

// placeMapped places the parts of payload that a known mapping covers, and
// stages the rest.
func (p *path) placeMapped(now mono.Time, off seq.Offset, payload []byte) {
	for len(payload) > 0 {
		n := 1
		if m, ok := p.in.find(off); ok {
			n = min(len(payload), int(m.end()-off))
			p.c.place(now, m.at(off), payload[:n])
		} else {
			n = p.unmappedRun(off, len(payload))
			p.stage(off, payload[:n]) //spec:D8 off:
		}
		off += seq.Offset(n)
		payload = payload[n:]
	}
}

// unmappedRun returns how many of the n octets from off on no mapping covers.
func (p *path) unmappedRun(off seq.Offset, n int) int {
	for _, m := range p.in.maps {
		if m.off > off && int(m.off-off) < n {
			n = int(m.off - off)
		}
	}
	return n
}

// stage keeps payload until its mapping arrives. What is too much counts, but
// is not kept: checkStage resets the subflow, and only that gives the peer the
// chance to send elsewhere what this subflow has acknowledged.
func (p *path) stage(off seq.Offset, b []byte) {
	p.in.size += len(b)
	if p.in.size > maxStage {
		return
	}
	p.in.staged = append(p.in.staged, stagedPiece{off, append([]byte(nil), b...)})
}

// unstage places what a mapping has come for.
func (p *path) unstage(now mono.Time) {
	if len(p.in.staged) == 0 {
		return
	}
	staged := p.in.staged
	p.in.staged, p.in.size = nil, 0
	for _, piece := range staged {
		p.placeMapped(now, piece.off, piece.bytes)
	}
}

// checkStage decides on payload that stays without a mapping; s is the segment
// that came last.
func (p *path) checkStage(now mono.Time, s *wire.Segment) {
	if len(p.in.staged) == 0 {
		return
	}
	c := p.c
	inOrder, atFirst := false, false
	for _, piece := range p.in.staged {
		inOrder = inOrder || piece.off < p.sf.RcvNxt()
		atFirst = atFirst || piece.off == 1
	}
	joined := s.MP.Has&wire.DSS != 0 && !atFirst //spec:E5 off: joined := false
	switch {
	case inOrder && c.csum && c.rx.dssSeen && !c.cfg.TakeAltered && !c.otherAlive(p):
		// Octets that nobody vouches for among others that were.
		p.forgetMappings()
		c.fail(now, &AlteredError{Local: c.local, Remote: c.remote})
	case inOrder && !joined && c.mayFallBack(p, p.sf.RcvNxt()):
		// Options vanished on the only subflow there ever was, or the peer never
		// sent a mapping: Linux goes on as TCP too (RFC 8684, Section 3.7). Where
		// they pass and do not cover the payload, segments were joined, and the
		// peer, which speaks Multipath TCP, sends again what has no mapping.
		c.fallBack(now, p, DataPlain)
	case p.in.size > maxStage || len(p.in.staged) > maxMaps: //spec:D8,F3 off: case false:
		// A window of data without a mapping (RFC 8684, Section 3.3.1).
		p.forgetMappings()
		p.reset(wire.ResetMiddlebox)
	}
}

// place copies payload to its place in the stream.
func (c *Conn) place(now mono.Time, at seq.Data, b []byte) {
	if c.rx.finSeen && c.rx.fin.Less(at.Add(len(b))) { //spec:X11 off: if false {
		n := c.rx.fin.Sub(at)
		if n <= 0 {
			return // data after the DATA_FIN is invalid (RFC 8684, Section 3.3.3)
		}
		b = b[:n]
	}
	c.used(now)
	c.takeBeyond(at.Add(len(b)))
	fresh := c.rcv.Place(at, b)
	c.tune(now, fresh, 0)
	if fresh < len(b) {
		if c.rcv.Edge().Less(at.Add(len(b))) {
			c.stats.NoDSSInWindow++
		} else {
			c.stats.DuplicateData += uint64(len(b) - fresh)
		}
	}
	if fresh > 0 {
		c.news.at = now
	}
	if fresh > 0 && c.appClosed { //spec:R1 off: if false {
		// Nobody will read it: RFC 9293, Section 3.10.4 (RFC 2525, Section 2.17).
		c.abort(now)
	}
}

// onDataFin notes the peer's end of stream.
func (c *Conn) onDataFin(p *path, at seq.Data) {
	if c.rx.finSeen {
		if at == c.rx.fin && c.peerFinished() {
			p.sf.SendAck() // repeated: our DATA_ACK was lost
		}
		return
	}
	if at.Less(c.rcv.End()) || c.rcv.Edge().Less(at) { //spec:X4 off: if false {
		return // before what has arrived, or beyond the window: not valid
	}
	c.rx.finSeen, c.rx.fin = true, at
	p.sf.SendAck()
}

// peerFinished reports whether everything up to the peer's DATA_FIN (or FIN)
// has arrived and was read from the network; octets may wait to be read.
func (c *Conn) peerFinished() bool {
	return c.rcv != nil && c.rx.finSeen && c.rcv.Next() == c.rx.fin //spec:X4 off: return c.rcv != nil && c.rx.finSeen
}

// dataAck is the next data sequence number we expect: the DATA_ACK.
func (c *Conn) dataAck() seq.Data {
	if c.peerFinished() {
		return c.rx.fin + 1
	}
	return c.rcv.Next()
}

// onFIN acts on a subflow's FIN that arrived in order.
func (p *path) onFIN(now mono.Time, s *wire.Segment) {
	c := p.c
	if c.mode == plain {
		if c.endsSubflow(s) { //spec:F3 off: if false {
			c.fail(now, &ResetError{Peer: true, Local: c.local, Remote: c.remote})
			return
		}
		if !c.rx.finSeen {
			c.rx.finSeen, c.rx.fin = true, c.rcv.Next()
		}
		return
	}
	if c.mode != multipath {
		return
	}
	if p.bareFIN(now, s) { //spec:F3 off: if false {
		return
	}
	// A FIN closes its subflow only (RFC 8684, Section 3.3.3).
	if !p.closing {
		p.close(now) //spec:X1 off: c.rx.finSeen, c.rx.fin = true, c.rcv.Next()
		if !c.settled() {
			c.suspected(now)
		}
	}
}
