package testenv

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// boxSegment is a TCP segment taken apart, for boxes that change more than a
// field of it. The packet that it makes has right checksums.
type boxSegment struct {
	ip               []byte // header
	src, dst         netip.AddrPort
	seq, ack         uint32
	flags            byte
	window           uint16
	options, payload []byte
}

const (
	tcpFIN = 0x01
	tcpRST = 0x04
	tcpPSH = 0x08
)

// takeApart returns what an IP packet with a TCP segment has, in memory of its
// own.
func takeApart(pkt []byte) (s boxSegment, ok bool) {
	t, ok := viewTCP(pkt)
	if !ok {
		return s, false
	}
	header := 40
	if pkt[0]>>4 == 4 {
		header = int(pkt[0]&15) * 4
		s.src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(pkt[12:])), binary.BigEndian.Uint16(t.seg))
		s.dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(pkt[16:])), binary.BigEndian.Uint16(t.seg[2:]))
	} else {
		s.src = netip.AddrPortFrom(netip.AddrFrom16([16]byte(pkt[8:])), binary.BigEndian.Uint16(t.seg))
		s.dst = netip.AddrPortFrom(netip.AddrFrom16([16]byte(pkt[24:])), binary.BigEndian.Uint16(t.seg[2:]))
	}
	s.ip = slices.Clone(pkt[:header])
	s.seq = binary.BigEndian.Uint32(t.seg[tcpSeqAt:])
	s.ack = binary.BigEndian.Uint32(t.seg[tcpAckAt:])
	s.flags = t.flags()
	s.window = binary.BigEndian.Uint16(t.seg[14:])
	s.options = slices.Clone(t.seg[tcpHeader:t.dataOff])
	s.payload = slices.Clone(t.payload())
	return s, true
}

// packet puts the segment together.
func (s *boxSegment) packet() []byte {
	seg := make([]byte, tcpHeader, tcpHeader+len(s.options)+len(s.payload))
	binary.BigEndian.PutUint16(seg, s.src.Port())
	binary.BigEndian.PutUint16(seg[2:], s.dst.Port())
	binary.BigEndian.PutUint32(seg[tcpSeqAt:], s.seq)
	binary.BigEndian.PutUint32(seg[tcpAckAt:], s.ack)
	seg[12] = byte(tcpHeader+len(s.options)) / 4 << 4
	seg[tcpFlagsAt] = s.flags
	binary.BigEndian.PutUint16(seg[14:], s.window)
	seg = append(append(seg, s.options...), s.payload...)

	pkt := append(slices.Clone(s.ip), seg...)
	ip, seg := pkt[:len(s.ip)], pkt[len(s.ip):]
	sum := uint32(protoTCP) + uint32(len(seg))
	if ip[0]>>4 == 4 {
		copy(ip[12:], s.src.Addr().AsSlice())
		copy(ip[16:], s.dst.Addr().AsSlice())
		binary.BigEndian.PutUint16(ip[2:], uint16(len(pkt)))
		ip[10], ip[11] = 0, 0
		binary.BigEndian.PutUint16(ip[10:], ^fold(addWords(0, ip)))
		sum = addWords(sum, ip[12:20])
	} else {
		copy(ip[8:], s.src.Addr().AsSlice())
		copy(ip[24:], s.dst.Addr().AsSlice())
		binary.BigEndian.PutUint16(ip[4:], uint16(len(seg)))
		sum = addWords(sum, ip[8:40])
	}
	binary.BigEndian.PutUint16(seg[tcpSumAt:], ^fold(addWords(sum, seg)))
	return pkt
}

// addWords adds 16-bit words, the last one padded with a zero octet.
func addWords(sum uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// has reports whether all of the flags are set.
func (s *boxSegment) has(flags byte) bool { return s.flags&flags == flags }

// span is what the segment takes of the sequence space.
func (s *boxSegment) span() uint32 {
	n := uint32(len(s.payload))
	if s.has(tcpSYN) {
		n++
	}
	if s.has(tcpFIN) {
		n++
	}
	return n
}

// each calls f with each option of two octets or more, to be changed in place.
func (s *boxSegment) each(f func(opt []byte)) {
	for at := 0; at < len(s.options); {
		kind := s.options[at]
		if kind == optEnd {
			return
		}
		if kind == optNOP {
			at++
			continue
		}
		if at+2 > len(s.options) {
			return
		}
		n := int(s.options[at+1])
		if n < 2 || at+n > len(s.options) {
			return
		}
		f(s.options[at : at+n])
		at += n
	}
}

// option returns the first option of a kind, nil if there is none.
func (s *boxSegment) option(kind byte) (found []byte) {
	s.each(func(opt []byte) {
		if opt[0] == kind && found == nil {
			found = opt
		}
	})
	return found
}

// withoutMPTCP returns the options with those of Multipath TCP taken for NOPs.
func (s *boxSegment) withoutMPTCP() []byte {
	bare := boxSegment{options: slices.Clone(s.options)}
	bare.each(func(opt []byte) {
		if opt[0] == optMPTCP {
			for i := range opt {
				opt[i] = optNOP
			}
		}
	})
	return bare.options
}

// flowKey names a TCP connection, whichever way a segment of it goes.
type flowKey struct{ client, server netip.AddrPort }

func (s *boxSegment) flow(d Direction) flowKey {
	if d == ToServer {
		return flowKey{s.src, s.dst}
	}
	return flowKey{s.dst, s.src}
}

// flowTable has what a box knows of each connection.
type flowTable[T any] map[flowKey]*T

// of returns the state of a segment's connection.
func (t flowTable[T]) of(s *boxSegment, d Direction) *T {
	k := s.flow(d)
	x := t[k]
	if x == nil {
		x = new(T)
		t[k] = x
	}
	return x
}

// way numbers the directions.
func (d Direction) way() int {
	if d == ToServer {
		return 0
	}
	return 1
}
