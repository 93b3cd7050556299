package testenv

import "encoding/binary"

// acker is a proxy that acknowledges before the receiver does.
type acker struct {
	d           Direction
	from, loses int
	flows       flowTable[ackerState]
}

type ackerState struct {
	began bool
	data  int    // segments with payload so far
	next  uint32 // what we have acknowledged of the data that goes in direction d
	// Of the latest segment that went the other way: what an ACK of ours looks
	// like.
	seq    uint32
	window uint16
	tsval  uint32
	ready  bool
}

// AckEarly acknowledges the data that goes in direction d as soon as it comes by
// in order, in the receiver's name, from the from-th segment of a connection on.
// If loses is not zero, it then loses every loses-th of them, and does not send
// it again: nor will the sender, on this subflow. It is what data-level
// acknowledgments are for (RFC 8684, Section 3.3.2). Links behind it have to have
// room, for what their queues lose is lost in the same way.
func AckEarly(d Direction, from, loses int) Box {
	return &acker{d: d, from: from, loses: loses, flows: make(flowTable[ackerState])}
}

// Pass implements Box.
func (b *acker) Pass(d Direction, pkt []byte, emit func(Direction, []byte)) {
	s, ok := takeApart(pkt)
	if !ok {
		emit(d, pkt)
		return
	}
	f := b.flows.of(&s, d)
	if d != b.d {
		b.learn(f, &s)
		// An ACK of less than we have acknowledged would be a step back.
		if f.began && f.data >= b.from && s.has(tcpACK) && int32(s.ack-f.next) < 0 {
			s.ack = f.next
			dropOption(&s, optSACK)
			pkt = s.packet()
		}
		emit(d, pkt)
		return
	}
	if s.has(tcpSYN) {
		f.began, f.next = true, s.seq+1
	}
	if s.seq == f.next && !s.has(tcpSYN) {
		f.next += s.span()
	}
	if f.began && f.ready && len(s.payload) > 0 {
		if f.data++; f.data >= b.from {
			emit(d.opposite(), f.ack(&s))
			if b.loses > 0 && f.data%b.loses == 0 && !s.has(tcpFIN) {
				return
			}
		}
	}
	emit(d, pkt)
}

// learn notes what the receiver says.
func (b *acker) learn(f *ackerState, s *boxSegment) {
	f.seq, f.window = s.seq+s.span(), s.window
	f.ready = !s.has(tcpSYN) || s.has(tcpACK)
	if ts := s.option(optTimestamps); len(ts) == 10 {
		f.tsval = binary.BigEndian.Uint32(ts[2:])
	}
}

// ack answers data in the receiver's name.
func (f *ackerState) ack(s *boxSegment) []byte {
	a := boxSegment{ip: s.ip, src: s.dst, dst: s.src, seq: f.seq, ack: f.next, flags: tcpACK, window: f.window}
	if ts := s.option(optTimestamps); len(ts) == 10 {
		a.options = []byte{optNOP, optNOP, optTimestamps, 10}
		a.options = binary.BigEndian.AppendUint32(a.options, f.tsval)
		a.options = append(a.options, ts[2:6]...)
	}
	return a.packet()
}

// dropOption takes the options of a kind for NOPs.
func dropOption(s *boxSegment, kind byte) {
	s.each(func(opt []byte) {
		if opt[0] == kind {
			for i := range opt {
				opt[i] = optNOP
			}
		}
	})
}

// editor is an application-level gateway.
type editor struct {
	at, change int
	flows      flowTable[[2]editState]
}

// editState is what is known of one direction's stream.
type editState struct {
	known bool
	at    uint32 // sequence number of the octet before which something changes
}

// Edit is an application-level gateway that rewrites a text in the stream of
// each connection, each way: before octet at of it, it inserts so many octets of
// its own, or takes so many away if change is negative. It corrects sequence
// numbers, acknowledgments and SACK blocks from there on, and knows nothing of
// Multipath TCP.
func Edit(at, change int) Box {
	return &editor{at: at, change: change, flows: make(flowTable[[2]editState])}
}

// Pass implements Box.
func (b *editor) Pass(d Direction, pkt []byte, emit func(Direction, []byte)) {
	s, ok := takeApart(pkt)
	if !ok {
		emit(d, pkt)
		return
	}
	f := b.flows.of(&s, d)
	if s.has(tcpSYN) {
		f[d.way()] = editState{true, s.seq + 1 + uint32(b.at)}
	}
	if other := &f[d.opposite().way()]; other.known && s.has(tcpACK) {
		s.ack = b.unedited(other, s.ack)
		s.each(func(opt []byte) {
			for i := 2; opt[0] == optSACK && i+4 <= len(opt); i += 4 {
				binary.BigEndian.PutUint32(opt[i:], b.unedited(other, binary.BigEndian.Uint32(opt[i:])))
			}
		})
	}
	if own := &f[d.way()]; own.known {
		b.rewrite(own, &s)
	}
	// What has grown beyond the MTU leaves as two.
	const mtu = 1500
	if room := mtu - len(s.ip) - tcpHeader - len(s.options); len(s.payload) > room {
		Split(room, true).Pass(d, s.packet(), emit)
		return
	}
	emit(d, s.packet())
}

// rewrite edits a segment that has the place in it, and moves those behind it.
func (b *editor) rewrite(e *editState, s *boxSegment) {
	from := int(int32(e.at - s.seq)) // where in the payload
	switch {
	case from > len(s.payload) || from == len(s.payload) && b.change > 0:
		// before it
	case from < 0 && b.change > 0, b.change < 0 && from <= b.change:
		s.seq += uint32(b.change)
	case b.change > 0:
		s.payload = append(append(append([]byte(nil), s.payload[:from]...), make([]byte, b.change)...), s.payload[from:]...)
	default: // a part of what is taken away may be in other segments
		keep := max(from, 0)
		end := min(from-b.change, len(s.payload))
		if from < 0 {
			s.seq = e.at // what is left follows what came before
		}
		s.payload = append(s.payload[:keep:keep], s.payload[end:]...)
	}
}

// unedited is what a number of the edited stream was at its sender.
func (b *editor) unedited(e *editState, n uint32) uint32 {
	switch past := int32(n - e.at); {
	case past > int32(max(b.change, 0)):
		return n - uint32(b.change)
	case past > 0 && b.change > 0:
		return e.at // in the middle of what we have inserted: not all of it is there
	}
	return n
}
