package wire

import (
	"bytes"
	"encoding/binary"
)

// frame is where the parts of a TCP packet lie, for those who take trains
// apart and put them together without caring what they carry.
type frame struct {
	pkt     []byte
	ip, hdr int // octets of the IP headers, and of all headers
}

// openFrame finds the parts of a packet that holds one TCP segment. Packets of
// another sort, and those that Parse would find malformed, have none.
func openFrame(pkt []byte) (frame, bool) {
	var ip ipHeader
	if parseIP(pkt, &ip, len(pkt)) != None || ip.proto != protoTCP || ip.end-ip.len < tcpLen {
		return frame{}, false
	}
	off := int(pkt[ip.len+tcpOff]>>4) * 4
	if off < tcpLen || ip.len+off > ip.end {
		return frame{}, false
	}
	return frame{pkt: pkt[:ip.end], ip: ip.len, hdr: ip.len + off}, true
}

func (f frame) tcp() []byte     { return f.pkt[f.ip:] }
func (f frame) payload() []byte { return f.pkt[f.hdr:] }
func (f frame) flags() Flags    { return Flags(f.pkt[f.ip+tcpFlags]) }
func (f frame) seq() uint32     { return binary.BigEndian.Uint32(f.pkt[f.ip+tcpSeq:]) }
func (f frame) is4() bool       { return f.pkt[0]>>4 == 4 }

// setLength writes the packet's own length into its IP header.
func (f frame) setLength() {
	if f.is4() {
		binary.BigEndian.PutUint16(f.pkt[ip4TotalLen:], uint16(len(f.pkt)))
		putIPv4Checksum(f.pkt)
	} else {
		binary.BigEndian.PutUint16(f.pkt[ip6PayloadLen:], uint16(len(f.pkt)-ipv6Len))
	}
}

// csumError is by how much a full checksum is wrong, 0 if it is right: so that
// a packet corrupted on the way does not become valid by being cut.
func (f frame) csumError(csum Csum) uint16 {
	if csum == CsumPartial {
		return 0
	}
	pseudo := f.pseudoSum()
	if csum == CsumEither && binary.BigEndian.Uint16(f.tcp()[tcpCsum:]) == Fold(pseudo) {
		return 0
	}
	return ^Fold(Sum(f.tcp(), pseudo))
}

// pseudoSum is the sum of the packet's pseudo-header.
func (f frame) pseudoSum() uint64 {
	return pseudoSumOf(f.pkt, len(f.tcp()))
}

// AppendPacket appends a copy of the packet pkt as p describes it; p's Off and
// Len do not matter. It returns false and changes nothing if there is no room.
func (b *Batch) AppendPacket(pkt []byte, p Packet) bool {
	if len(pkt) > b.Room() {
		return false
	}
	p.Off, p.Len = uint32(len(b.Slab)), uint32(len(pkt))
	b.Slab = append(b.Slab, pkt...)
	b.Pkts = append(b.Pkts, p)
	return true
}

// AppendCut appends the packets that the train pkt, described by p, is cut
// into: p.Seg octets of payload each, the last what is left. Options, an MPTCP
// mapping included, are the same in all of them. A packet that is no train is
// copied. It returns false and changes nothing if there is no room for all.
func (b *Batch) AppendCut(pkt []byte, p Packet) bool {
	f, ok := openFrame(pkt)
	if !ok || p.Seg == 0 || len(f.payload()) <= int(p.Seg) {
		p.Seg = 0
		return b.AppendPacket(pkt, p)
	}
	pieces := (len(f.payload()) + int(p.Seg) - 1) / int(p.Seg)
	if pieces*f.hdr+len(f.payload()) > b.Room() {
		return false
	}
	wrong := f.csumError(p.Csum)
	for i := range pieces {
		from := i * int(p.Seg)
		b.appendPiece(f, i, from, min(from+int(p.Seg), len(f.payload())), p)
		if wrong != 0 {
			b.spoil(wrong)
		}
	}
	return true
}

// appendPiece appends piece i of train f, payload octets from to to.
func (b *Batch) appendPiece(f frame, i, from, to int, p Packet) {
	off := len(b.Slab)
	b.Slab = append(b.Slab, f.pkt[:f.hdr]...)
	b.Slab = append(b.Slab, f.payload()[from:to]...)
	g := frame{pkt: b.Slab[off:], ip: f.ip, hdr: f.hdr}
	if g.is4() {
		id := binary.BigEndian.Uint16(f.pkt[ip4ID:]) + uint16(i)
		binary.BigEndian.PutUint16(g.pkt[ip4ID:], id)
	}
	g.setLength()
	tcp := g.tcp()
	binary.BigEndian.PutUint32(tcp[tcpSeq:], f.seq()+uint32(from))
	if to < len(f.payload()) {
		tcp[tcpFlags] &^= byte(PSH | FIN)
	}
	if i > 0 {
		tcp[tcpFlags] &^= byte(CWR) // RFC 3168, Section 6.1.2: CWR is for the first
	}
	p.Off, p.Len, p.Seg = uint32(off), uint32(len(g.pkt)), 0
	p.Csum = putChecksum(g.pkt, g.ip, b.Offload)
	b.Pkts = append(b.Pkts, p)
}

// spoil makes the checksum of the last packet, right as it is, wrong by n.
func (b *Batch) spoil(n uint16) {
	p := &b.Pkts[len(b.Pkts)-1]
	f, _ := openFrame(b.Bytes(len(b.Pkts) - 1))
	if p.Csum == CsumPartial {
		p.Csum = putChecksum(f.pkt, f.ip, false)
	}
	field := f.tcp()[tcpCsum:]
	binary.BigEndian.PutUint16(field, Fold(uint64(binary.BigEndian.Uint16(field))+uint64(n)))
}

// Merge puts pkt, described by p, behind the payload of the last packet of b
// if the two are consecutive segments that a receiver may see as one train:
// equal in all their headers but for PSH and FIN, which end a train, and
// neither with a wrong checksum. It returns false and changes nothing if they
// are not, or if there is no room. This is what the receive offload of an
// interface does; as there, the checksum of a train counts as verified
// (CsumPartial). The last packet must be the end of the slab.
func (b *Batch) Merge(pkt []byte, p Packet) bool {
	if len(b.Pkts) == 0 {
		return false
	}
	last := &b.Pkts[len(b.Pkts)-1]
	head, ok := openFrame(b.Bytes(len(b.Pkts) - 1))
	if !ok || len(head.pkt) != int(last.Len) || int(last.Off+last.Len) != len(b.Slab) {
		return false
	}
	next, ok := openFrame(pkt)
	if !ok || !follows(head, next) {
		return false
	}
	seg, ok := trainSeg(len(head.payload()), last.Seg, len(next.payload()), p.Seg)
	room := min(b.Room(), MaxPacket-len(head.pkt))
	if !ok || len(next.payload()) > room || last.Link != p.Link {
		return false
	}
	if head.csumError(last.Csum) != 0 || next.csumError(p.Csum) != 0 {
		return false
	}
	b.Slab = append(b.Slab, next.payload()...)
	last.Len += uint32(len(next.payload()))
	last.Seg = seg
	whole := frame{pkt: b.Slab[last.Off:], ip: head.ip, hdr: head.hdr}
	whole.tcp()[tcpFlags] |= byte(next.flags() & (PSH | FIN))
	whole.setLength()
	last.Csum = putChecksum(whole.pkt, whole.ip, true)
	return true
}

// trainSeg returns the segment size of a train made of two payloads, each
// perhaps a train already. All segments but the last have to be of one size.
func trainSeg(n int, seg uint16, more int, moreSeg uint16) (uint16, bool) {
	if n == 0 || more == 0 {
		return 0, false
	}
	size := int(seg)
	if seg == 0 {
		size = n
	}
	if moreSeg != 0 && int(moreSeg) != size {
		return 0, false
	}
	fits := n%size == 0 && (moreSeg != 0 || more <= size)
	return uint16(size), fits
}

// follows reports whether the segment in next continues that in head, and has
// the same headers in everything that a receiver looks at.
func follows(head, next frame) bool {
	const solo = SYN | RST | URG | CWR
	if head.ip != next.ip || head.hdr != next.hdr {
		return false
	}
	if (head.flags()|next.flags())&solo != 0 || head.flags()&(PSH|FIN) != 0 {
		return false
	}
	if (head.flags()^next.flags())&^(PSH|FIN) != 0 {
		return false
	}
	if next.seq() != head.seq()+uint32(len(head.payload())) {
		return false
	}
	return sameIP(head, next) && sameTCP(head.pkt[head.ip:head.hdr], next.pkt[next.ip:next.hdr])
}

// sameIP compares the IP headers but for length, identification and checksum.
func sameIP(f, g frame) bool {
	a, b := f.pkt[:f.ip], g.pkt[:g.ip]
	if f.is4() != g.is4() {
		return false
	}
	if f.is4() {
		return f.ip == ipv4Len && bytes.Equal(a[:ip4TotalLen], b[:ip4TotalLen]) &&
			bytes.Equal(a[ip4Frag:ip4Csum], b[ip4Frag:ip4Csum]) && bytes.Equal(a[ip4Src:], b[ip4Src:])
	}
	return bytes.Equal(a[:ip6PayloadLen], b[:ip6PayloadLen]) && bytes.Equal(a[ip6Next:], b[ip6Next:])
}

// sameTCP compares ports, acknowledgment, window and options.
func sameTCP(a, b []byte) bool {
	return bytes.Equal(a[:tcpSeq], b[:tcpSeq]) &&
		bytes.Equal(a[tcpAck:tcpFlags], b[tcpAck:tcpFlags]) &&
		bytes.Equal(a[tcpWin:tcpCsum], b[tcpWin:tcpCsum]) &&
		bytes.Equal(a[tcpLen:], b[tcpLen:])
}
