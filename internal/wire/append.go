package wire

import (
	"cmp"
	"encoding/binary"
	"net/netip"

	"github.com/mpnc/mpnc/internal/buf"
	"github.com/mpnc/mpnc/internal/seq"
)

// HeaderLen returns how many octets the headers of s take as written, options
// included.
func HeaderLen(s *Segment) int {
	_, _, opt := s.layout()
	return ipLen(s.Remote.Addr()) + tcpLen + opt
}

func ipLen(a netip.Addr) int {
	if a.Is4() {
		return ipv4Len
	}
	return ipv6Len
}

// layout divides the 40 octets of options: which of MPTCP's are written, how
// many SACK blocks, and how many octets there are in all.
func (s *Segment) layout() (which MPKind, blocks, size int) {
	if s.tight() {
		return AddAddr, 0, tsLen + s.MP.rawLen(AddAddr)
	}
	size = s.Opt.Len()
	which, n := s.MP.fit(maxOpt - size)
	size += n
	if s.Opt.NSACK > 0 {
		blocks = min(s.Opt.NSACK, SACKRoom(size))
		if blocks > 0 {
			size += 4 + 8*blocks
		}
	}
	return which, blocks, size
}

// AppendSegment appends the packet of s, from s.Local to s.Remote, both of one
// family, with a copy of s.Payload. If seg is not 0 and the payload is longer, the packet is a
// train of segments of seg octets. It returns false and changes nothing if
// the batch has no room, or if the packet would be longer than MaxPacket.
//
// MPTCP options beyond the 40 octets that TCP has for options are left out,
// and as many SACK blocks are written as the others leave room for
// (SACKRoom). At, Link and MTU are not looked at; the packet's Link is s.Link.
func AppendSegment(b *Batch, s *Segment, seg int) bool {
	payload := AppendHeader(b, s, len(s.Payload), seg)
	if payload == nil {
		return false
	}
	copy(payload, s.Payload)
	b.Finish()
	return true
}

// AppendHeader is AppendSegment for a payload that is yet to be written: it
// appends the headers and returns the place, payloadLen octets of the slab,
// for the caller to fill before it calls b.Finish. s.Payload is not used. If
// there is no room it returns nil and changes nothing; a place of no octets is
// not nil.
func AppendHeader(b *Batch, s *Segment, payloadLen, seg int) (payload []byte) {
	pkt, hdr := appendHeader(b, s, payloadLen, payloadLen, seg)
	return pkt[hdr:]
}

// AppendLent is AppendSegment for a train whose payload stays where it is, r of
// src, until the batch is reset. It is only for batches that Lend.
func AppendLent(b *Batch, s *Segment, src *buf.Send, r seq.Range, seg int) bool {
	pkt, _ := appendHeader(b, s, r.Len(), 0, seg)
	if pkt == nil {
		return false
	}
	p := &b.Pkts[len(b.Pkts)-1]
	p.Lent, p.piece = uint32(r.Len()), uint32(len(b.lent))
	b.lent = src.Lend(b.lent, r)
	p.pieces = uint8(len(b.lent) - int(p.piece))
	b.octets += r.Len()
	ip := ipLen(s.Remote.Addr())
	tcp := pkt[ip:]
	binary.BigEndian.PutUint16(tcp[tcpCsum:], Fold(pseudoSumOf(pkt, len(tcp)+r.Len())))
	p.Csum = CsumPartial
	return true
}

// appendHeader appends the headers of a packet with payloadLen octets of payload,
// of which the last, inSlab, have a place in the slab. It returns the packet as far
// as that goes, and how long its headers are.
func appendHeader(b *Batch, s *Segment, payloadLen, inSlab, seg int) (pkt []byte, headers int) {
	which, blocks, opt := s.layout()
	local, remote := s.Local.Addr(), s.Remote.Addr()
	ip := ipLen(remote)
	headers = ip + tcpLen + opt
	total := headers + payloadLen
	if total > b.Room() || total > MaxPacket {
		return nil, 0
	}
	off, size := len(b.Slab), headers+inSlab
	p := Packet{Off: uint32(off), Len: uint32(size), Link: s.Link}
	if seg != 0 && payloadLen > seg {
		p.Seg = uint16(seg)
	}
	b.Pkts = append(b.Pkts, p)
	b.Slab = b.Slab[:off+size]
	pkt = b.Slab[off : off+size : off+size]

	if ip == ipv4Len {
		putIPv4(pkt, b, s, local, remote, total)
	} else {
		putIPv6(pkt, b, s, local, remote, total)
	}
	tcp := pkt[ip:]
	binary.BigEndian.PutUint16(tcp, s.Local.Port())
	binary.BigEndian.PutUint16(tcp[2:], s.Remote.Port())
	binary.BigEndian.PutUint32(tcp[tcpSeq:], uint32(s.Seq))
	binary.BigEndian.PutUint32(tcp[tcpAck:], uint32(s.Ack))
	tcp[tcpOff] = byte((tcpLen + opt) / 4 << 4)
	tcp[tcpFlags] = byte(s.Flags)
	binary.BigEndian.PutUint16(tcp[tcpWin:], s.Window)
	binary.BigEndian.PutUint16(tcp[tcpCsum:], 0)
	binary.BigEndian.PutUint16(tcp[tcpUrg:], s.Urgent)
	s.putOptions(tcp[tcpLen:tcpLen+opt:tcpLen+opt], which, blocks)
	return pkt, headers
}

// putOptions fills the option block as layout planned it.
func (s *Segment) putOptions(block []byte, which MPKind, blocks int) {
	dst := s.Opt.append(block[:0])
	if s.tight() {
		dst = append(dst[:0], dst[tsPad:]...)
		s.MP.appendKind(dst, AddAddr)
		return
	}
	dst = s.MP.append(dst, which)
	s.Opt.appendSACK(dst, blocks)
}

// ttl is the TTL or hop limit of s.
func (b *Batch) ttl(s *Segment) byte { return cmp.Or(s.TTL, b.TTL, defaultTTL) }

// class is the traffic class of s: a DSCP (RFC 2474, Section 3), and the ECN
// field beside it (RFC 3168, Section 5).
func (b *Batch) class(s *Segment) byte { return b.Class&^3 | s.ECN&3 }

// putIPv4 writes the IPv4 header of a packet that is never fragmented, so that
// its identification means nothing (RFC 6864, Section 4.1).
func putIPv4(pkt []byte, b *Batch, s *Segment, src, dst netip.Addr, total int) {
	pkt[0] = 4<<4 | ipv4Len/4
	pkt[1] = b.class(s)
	binary.BigEndian.PutUint16(pkt[ip4TotalLen:], uint16(total))
	binary.BigEndian.PutUint16(pkt[ip4ID:], 0)
	binary.BigEndian.PutUint16(pkt[ip4Frag:], ip4DF)
	pkt[ip4TTL] = b.ttl(s)
	pkt[9] = protoTCP
	from, to := src.As4(), dst.As4()
	copy(pkt[ip4Src:], from[:])
	copy(pkt[ip4Dst:], to[:])
	putIPv4Checksum(pkt)
}

// putIPv4Checksum fills in the header checksum of an IPv4 packet.
func putIPv4Checksum(pkt []byte) {
	binary.BigEndian.PutUint16(pkt[ip4Csum:], 0)
	n := int(pkt[0]&0x0f) * 4
	binary.BigEndian.PutUint16(pkt[ip4Csum:], ^Fold(Sum(pkt[:n], 0)))
}

func putIPv6(pkt []byte, b *Batch, s *Segment, src, dst netip.Addr, total int) {
	binary.BigEndian.PutUint32(pkt, 6<<28|uint32(b.class(s))<<20)
	binary.BigEndian.PutUint16(pkt[ip6PayloadLen:], uint16(total-ipv6Len))
	pkt[ip6Next] = protoTCP
	pkt[ip6HopLimit] = b.ttl(s)
	from, to := src.As16(), dst.As16()
	copy(pkt[ip6Src:], from[:])
	copy(pkt[ip6Dst:], to[:])
}

// Finish computes the TCP checksum of the last packet, whose payload is now in
// place: all of it, or the sum of the pseudo-header if the device completes it
// (Offload, Lane).
func (b *Batch) Finish() {
	p := &b.Pkts[len(b.Pkts)-1]
	pkt := b.Bytes(len(b.Pkts) - 1)
	ip := ipv6Len
	if pkt[0]>>4 == 4 {
		ip = ipv4Len
	}
	p.Csum = putChecksum(pkt, ip, b.Offload || b.Lane && p.Seg != 0)
}

// putChecksum writes the TCP checksum of a packet whose IP headers take ip
// octets, and returns its state.
func putChecksum(pkt []byte, ip int, partial bool) Csum {
	tcp := pkt[ip:]
	pseudo := pseudoSumOf(pkt, len(tcp))
	if partial {
		binary.BigEndian.PutUint16(tcp[tcpCsum:], Fold(pseudo))
		return CsumPartial
	}
	binary.BigEndian.PutUint16(tcp[tcpCsum:], 0)
	binary.BigEndian.PutUint16(tcp[tcpCsum:], ^Fold(Sum(tcp, pseudo))) //spec:T19 off:
	return CsumFull
}

// pseudoSumOf is PseudoSum with the addresses of a packet.
func pseudoSumOf(pkt []byte, length int) uint64 {
	sum := protoTCP + uint64(length)
	if pkt[0]>>4 == 4 {
		return Sum(pkt[ip4Src:ip4Dst+4], sum)
	}
	return Sum(pkt[ip6Src:ip6Dst+16], sum)
}
