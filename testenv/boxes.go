package testenv

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// Kinds of TCP options (RFC 9293, Section 3.2; RFC 7323).
const (
	optMSS         = 2
	optWindowScale = 3
	optTimestamps  = 8
)

// Renumber is a firewall that hides initial sequence numbers: it adds an offset
// of its own to those of each direction.
func Renumber() Box {
	upSeq, upAck := ShiftSequence(0x5a5a1234)
	downSeq, downAck := ShiftSequence(0xfff00001) // beyond the end of the numbers, mostly
	return Series(Each(ToServer, Chain(upSeq, downAck)), Each(ToClient, Chain(downSeq, upAck)))
}

// nat is an address translator in front of the client.
type nat struct {
	ports bool
	there map[netip.AddrPort]netip.AddrPort
	back  map[netip.AddrPort]netip.AddrPort
}

// NATHost is the last octet of the addresses behind which a NAT hides clients.
const NATHost = 77

// NAT translates the client's addresses to one of the same network that ends in
// NATHost, and its ports, too, if ports is set. What options say of addresses
// stays as it is.
func NAT(ports bool) Box {
	return &nat{ports: ports, there: make(map[netip.AddrPort]netip.AddrPort), back: make(map[netip.AddrPort]netip.AddrPort)}
}

// Pass implements Box.
func (n *nat) Pass(d Direction, pkt []byte, emit func(Direction, []byte)) {
	s, ok := takeApart(pkt)
	if !ok {
		emit(d, pkt)
		return
	}
	if d == ToServer {
		s.src = n.outside(s.src)
	} else if inside, ok := n.back[s.dst]; ok {
		s.dst = inside
	}
	emit(d, s.packet())
}

func (n *nat) outside(a netip.AddrPort) netip.AddrPort {
	if o, ok := n.there[a]; ok {
		return o
	}
	b := a.Addr().AsSlice()
	b[len(b)-1] = NATHost
	addr, _ := netip.AddrFromSlice(b)
	port := a.Port()
	if n.ports {
		port = uint16(20000 + len(n.there))
	}
	o := netip.AddrPortFrom(addr, port)
	n.there[a], n.back[o] = o, a
	return o
}

// splitter cuts segments.
type splitter struct {
	size   int
	copies bool
}

// Split cuts payloads into pieces of at most size octets. Every piece has the
// segment's options if copies is set; otherwise those of Multipath TCP stay with
// the first one alone.
func Split(size int, copies bool) Box { return splitter{size, copies} }

// Pass implements Box.
func (b splitter) Pass(d Direction, pkt []byte, emit func(Direction, []byte)) {
	s, ok := takeApart(pkt)
	if !ok || len(s.payload) <= b.size {
		emit(d, pkt)
		return
	}
	flags, rest := s.flags, s.payload
	for first := true; len(rest) > 0; first = false {
		n := min(b.size, len(rest))
		s.payload, rest = rest[:n], rest[n:]
		s.flags = flags
		if len(rest) > 0 {
			s.flags &^= tcpFIN | tcpPSH
		}
		if !first && !b.copies {
			s.options = s.withoutMPTCP()
		}
		emit(d, s.packet())
		s.seq += uint32(n)
	}
}

// merger joins segments.
type merger struct {
	any   bool
	flows flowTable[[2]*boxSegment] // what waits for its successor, each way
}

// mergedMSS is what a Merge makes of the MSS in SYNs, so that two segments have
// room in one packet.
const mergedMSS = 640

// Merge joins two segments that follow each other into one. If any is set, it
// joins all and keeps the options of the first; otherwise only such as have the
// same Multipath TCP options. It takes the size of segments down for that. What
// waits for its successor leaves with the next packet of the connection, either
// way.
func Merge(any bool) Box { return &merger{any: any, flows: make(flowTable[[2]*boxSegment])} }

// Pass implements Box.
func (b *merger) Pass(d Direction, pkt []byte, emit func(Direction, []byte)) {
	s, ok := takeApart(pkt)
	if !ok {
		emit(d, pkt)
		return
	}
	if s.has(tcpSYN) {
		if mss := s.option(optMSS); len(mss) == 4 && binary.BigEndian.Uint16(mss[2:]) > mergedMSS {
			binary.BigEndian.PutUint16(mss[2:], mergedMSS)
		}
	}
	waits := b.flows.of(&s, d)
	if w := waits[d.opposite().way()]; w != nil {
		waits[d.opposite().way()] = nil
		emit(d.opposite(), w.packet())
	}
	w := waits[d.way()]
	waits[d.way()] = nil
	switch {
	case w != nil && b.fits(w, &s):
		w.payload = append(w.payload, s.payload...)
		w.flags |= s.flags & (tcpFIN | tcpPSH)
		w.ack, w.window = s.ack, s.window
		emit(d, w.packet())
		return
	case w != nil:
		emit(d, w.packet())
	}
	if len(s.payload) >= mergedMSS/2 && s.flags&(tcpSYN|tcpFIN|tcpRST|tcpPSH) == 0 {
		waits[d.way()] = &s
		return
	}
	emit(d, s.packet())
}

// fits reports whether next may be joined to w.
func (b *merger) fits(w, next *boxSegment) bool {
	if len(next.payload) == 0 || next.seq != w.seq+uint32(len(w.payload)) || next.flags&(tcpSYN|tcpRST) != 0 {
		return false
	}
	if len(w.ip)+tcpHeader+len(w.options)+len(w.payload)+len(next.payload) > 1500 {
		return false
	}
	return b.any || bytes.Equal(w.option(optMPTCP), next.option(optMPTCP))
}

// DropPair is a hole in the network: nothing passes between the two addresses.
func DropPair(a, b netip.Addr) Box {
	return Each(BothWays, func(pkt []byte) []byte {
		s, ok := takeApart(pkt)
		if ok && (s.src.Addr() == a && s.dst.Addr() == b || s.src.Addr() == b && s.dst.Addr() == a) {
			return nil
		}
		return pkt
	})
}

// forger forges resets.
type forger struct {
	after, flows int
	d            Direction
	seen         flowTable[resetState]
}

type resetState struct {
	data int
	done bool
}

// InjectReset forges a reset to the ends that packets of directions d go to,
// behind the after-th segment with payload of a connection, either way; of the
// first so many TCP connections that it sees.
func InjectReset(after, flows int, d Direction) Box {
	return &forger{after: after, flows: flows, d: d, seen: make(flowTable[resetState])}
}

// Pass implements Box.
func (b *forger) Pass(d Direction, pkt []byte, emit func(Direction, []byte)) {
	emit(d, pkt)
	s, ok := takeApart(pkt)
	if !ok {
		return
	}
	if _, known := b.seen[s.flow(d)]; !known && len(b.seen) >= b.flows {
		return
	}
	f := b.seen.of(&s, d)
	if len(s.payload) > 0 {
		f.data++
	}
	if f.done || f.data < b.after || !s.has(tcpACK) {
		return
	}
	f.done = true
	forward := boxSegment{ip: s.ip, src: s.src, dst: s.dst, seq: s.seq + s.span(), ack: s.ack, flags: tcpRST | tcpACK}
	back := boxSegment{ip: s.ip, src: s.dst, dst: s.src, seq: s.ack, ack: s.seq + s.span(), flags: tcpRST | tcpACK}
	if b.d&d != 0 {
		emit(d, forward.packet())
	}
	if b.d&d.opposite() != 0 {
		emit(d.opposite(), back.packet())
	}
}

// shrinker meddles with windows.
type shrinker struct {
	most  int
	flows flowTable[shrinkState]
}

type shrinkState struct {
	shift [2]uint8 // window scale of who sends that way
	count [2]int
}

// ShrinkWindow lets no end advertise more than most octets, and of every eight
// advertisements in a row the last four half of that only: a window that was
// given is taken back (RFC 9293, Section 3.8.6, advises against it).
func ShrinkWindow(most int) Box { return &shrinker{most: most, flows: make(flowTable[shrinkState])} }

// Pass implements Box.
func (b *shrinker) Pass(d Direction, pkt []byte, emit func(Direction, []byte)) {
	s, ok := takeApart(pkt)
	if !ok {
		emit(d, pkt)
		return
	}
	f := b.flows.of(&s, d)
	shift := f.shift[d.way()]
	if s.has(tcpSYN) {
		if ws := s.option(optWindowScale); len(ws) == 3 {
			f.shift[d.way()] = min(ws[2], 14)
		}
		shift = 0
	}
	most := b.most
	if f.count[d.way()]++; f.count[d.way()]%8 >= 4 {
		most /= 2
	}
	s.window = uint16(min(int(s.window), most>>shift))
	emit(d, s.packet())
}
