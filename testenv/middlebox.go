package testenv

import (
	"encoding/binary"
	"math/rand/v2"
)

// A Middlebox is what LinkConfig.Middlebox wants: it rewrites one packet, an
// IPv4 or IPv6 packet without extension headers, in place if it can.
type Middlebox = func(pkt []byte) []byte

// Chain is the middleboxes one after the other. Once one drops a packet, those
// after it do not see it.
func Chain(boxes ...Middlebox) Middlebox {
	return func(pkt []byte) []byte {
		for _, box := range boxes {
			if pkt = box(pkt); pkt == nil {
				return nil
			}
		}
		return pkt
	}
}

// Where is a set of the segments that a middlebox meddles with.
type Where uint8

// Segments by their place in a connection.
const (
	InSYN      Where = 1 << iota // SYN without ACK
	InSYNACK                     // SYN and ACK
	InRest                       // everything without SYN: after the handshake's first two
	Everywhere = InSYN | InSYNACK | InRest
)

// whereOf classifies a segment by its flags.
func whereOf(t tcpView) Where {
	switch t.flags() & (tcpSYN | tcpACK) {
	case tcpSYN:
		return InSYN
	case tcpSYN | tcpACK:
		return InSYNACK
	default:
		return InRest
	}
}

const optMPTCP = 30 // RFC 8684, Section 3

// StripMPTCP overwrites Multipath TCP options with NOPs in the segments of
// where, as firewalls do that do not know them, and corrects the checksum.
func StripMPTCP(where Where) Middlebox {
	return func(pkt []byte) []byte {
		t, ok := viewTCP(pkt)
		if !ok || whereOf(t)&where == 0 {
			return pkt
		}
		t.options(func(at, n int) {
			if t.seg[at] == optMPTCP {
				for i := at; i < at+n; i++ {
					t.set(i, optNOP)
				}
			}
		})
		return pkt
	}
}

// StripAfterHandshake strips what follows the third packet. That one has keys, as
// has the client's first data, which therefore gets through as well.
func StripAfterHandshake(pkt []byte) []byte {
	if t, ok := viewTCP(pkt); ok && whereOf(t) == InRest {
		keys := false
		t.options(func(at, n int) {
			keys = keys || t.seg[at] == optMPTCP && n > 2 && t.seg[at+2]>>4 == 0
		})
		if keys {
			return pkt
		}
	}
	return StripMPTCP(InRest)(pkt)
}

// DropMPTCP drops the segments of where that carry a Multipath TCP option.
func DropMPTCP(where Where) Middlebox {
	return func(pkt []byte) []byte {
		t, ok := viewTCP(pkt)
		if !ok || whereOf(t)&where == 0 {
			return pkt
		}
		found := false
		t.options(func(at, n int) { found = found || t.seg[at] == optMPTCP })
		if found {
			return nil
		}
		return pkt
	}
}

// CorruptPayload inverts one octet in the payload of every nth segment that
// has any, and makes the TCP checksum fit: what an application-level gateway
// does to the bytes of a stream, and only a DSS checksum notices (RFC 8684,
// Section 3.3).
func CorruptPayload(nth int) Middlebox {
	count := 0
	return func(pkt []byte) []byte {
		t, ok := viewTCP(pkt)
		if !ok || len(t.payload()) == 0 {
			return pkt
		}
		if count++; count%nth == 0 {
			at := len(t.seg) - len(t.payload())/2 - 1
			t.set(at, ^t.seg[at])
		}
		return pkt
	}
}

// FlipBits is a line that damages packets: each, with probability p, has one bit
// inverted, anywhere. The checksums find that (all but the fields of IPv6 that
// none covers). The same seed damages the same bits.
func FlipBits(p float64, seed uint64) Middlebox {
	r := rand.New(rand.NewPCG(seed, 0xb17f11b5))
	return func(pkt []byte) []byte {
		if r.Float64() < p {
			bit := r.IntN(8 * len(pkt))
			pkt[bit/8] ^= 1 << (bit % 8)
		}
		return pkt
	}
}

// ShiftSequence is a firewall that hides initial sequence numbers: it adds
// offset to the sequence numbers of one direction. It returns the box of that
// direction and the one of the other, which takes offset off acknowledgement
// numbers and SACK blocks.
func ShiftSequence(offset uint32) (forward, back Middlebox) {
	forward = func(pkt []byte) []byte {
		if t, ok := viewTCP(pkt); ok {
			t.add32(tcpSeqAt, offset)
		}
		return pkt
	}
	back = func(pkt []byte) []byte {
		t, ok := viewTCP(pkt)
		if !ok || t.flags()&tcpACK == 0 {
			return pkt
		}
		t.add32(tcpAckAt, -offset)
		t.options(func(at, n int) {
			if t.seg[at] != optSACK {
				return
			}
			for i := at + 2; i+4 <= at+n; i += 4 {
				t.add32(i, -offset)
			}
		})
		return pkt
	}
	return forward, back
}

// Fields and bits of the TCP header (RFC 9293, Section 3.1).
const (
	tcpSeqAt   = 4
	tcpAckAt   = 8
	tcpFlagsAt = 13
	tcpSumAt   = 16
	tcpHeader  = 20

	tcpSYN = 0x02
	tcpACK = 0x10

	optEnd  = 0
	optNOP  = 1
	optSACK = 5

	protoTCP = 6
)

// tcpView is a TCP segment inside a packet, to be changed in place. Changes
// update the checksum by their difference (RFC 1624), so one that was wrong
// stays wrong.
type tcpView struct {
	seg     []byte
	dataOff int
}

// viewTCP finds the TCP segment of an IP packet that is no later fragment.
func viewTCP(pkt []byte) (tcpView, bool) {
	seg := tcpOf(pkt)
	if len(seg) < tcpHeader {
		return tcpView{}, false
	}
	off := int(seg[12]>>4) * 4
	if off < tcpHeader || off > len(seg) {
		return tcpView{}, false
	}
	return tcpView{seg, off}, true
}

// tcpOf returns the payload of an IP packet that carries TCP, nil otherwise.
func tcpOf(pkt []byte) []byte {
	if len(pkt) < 20 {
		return nil
	}
	switch pkt[0] >> 4 {
	case 4:
		header, total := int(pkt[0]&15)*4, int(binary.BigEndian.Uint16(pkt[2:]))
		offset := binary.BigEndian.Uint16(pkt[6:]) & 0x1fff
		if pkt[9] != protoTCP || offset != 0 || header < 20 || header > total || total > len(pkt) {
			return nil
		}
		return pkt[header:total]
	case 6:
		if len(pkt) < 40 || pkt[6] != protoTCP {
			return nil
		}
		total := 40 + int(binary.BigEndian.Uint16(pkt[4:]))
		if total > len(pkt) {
			return nil
		}
		return pkt[40:total]
	}
	return nil
}

func (t tcpView) flags() byte     { return t.seg[tcpFlagsAt] }
func (t tcpView) payload() []byte { return t.seg[t.dataOff:] }

// options calls f with the offset in seg and the length of each option of two
// octets or more, up to the first that is malformed.
func (t tcpView) options(f func(at, n int)) {
	for at := tcpHeader; at < t.dataOff; {
		switch {
		case t.seg[at] == optEnd:
			return
		case t.seg[at] == optNOP:
			at++
			continue
		case at+2 > t.dataOff:
			return
		}
		n := int(t.seg[at+1])
		if n < 2 || at+n > t.dataOff {
			return
		}
		f(at, n)
		at += n
	}
}

// set changes one octet of the segment and the checksum with it.
func (t tcpView) set(at int, v byte) {
	old, new := uint16(t.seg[at]), uint16(v)
	if at%2 == 0 {
		old, new = old<<8, new<<8
	}
	t.seg[at] = v
	adjustSum(t.seg[tcpSumAt:], old, new)
}

// set16 changes a field that stands at an even offset.
func (t tcpView) set16(at int, v uint16) {
	t.set(at, byte(v>>8))
	t.set(at+1, byte(v))
}

// adjustSum corrects a checksum for 16 bits that change: HC' = ~(~HC + ~m + m'),
// RFC 1624, equation 3.
func adjustSum(sum []byte, old, new uint16) {
	s := uint32(^binary.BigEndian.Uint16(sum)) + uint32(^old) + uint32(new)
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	binary.BigEndian.PutUint16(sum, ^uint16(s))
}

// add32 adds to a 32-bit field, which may stand at any offset.
func (t tcpView) add32(at int, delta uint32) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(t.seg[at:])+delta)
	for i, v := range b {
		t.set(at+i, v)
	}
}
