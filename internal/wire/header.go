package wire

import (
	"encoding/binary"
	"net/netip"
)

// MaxPacket is the length of the longest packet, headers included: what the
// length field of IPv4 can say.
const MaxPacket = 65535

// Sizes and numbers of the headers.
const (
	ipv4Len = 20 // without options
	ipv6Len = 40
	tcpLen  = 20 // without options
	maxOpt  = 40 // octets of options a TCP header can have

	protoTCP   = 6
	protoICMP  = 1
	protoICMP6 = 58

	defaultTTL = 64
)

// Offsets in the IPv4 and TCP headers that more than one place knows.
const (
	ip4TotalLen = 2
	ip4ID       = 4
	ip4Frag     = 6
	ip4TTL      = 8
	ip4Csum     = 10
	ip4Src      = 12
	ip4Dst      = 16
	ip4DF       = 0x4000
	ip4MF       = 0x2000
	ip4Offset   = 0x1fff

	ip6PayloadLen = 4
	ip6Next       = 6
	ip6HopLimit   = 7
	ip6Src        = 8
	ip6Dst        = 24

	tcpSeq   = 4
	tcpAck   = 8
	tcpOff   = 12
	tcpFlags = 13
	tcpWin   = 14
	tcpCsum  = 16
	tcpUrg   = 18
)

// ipHeader is what the IP header says, whichever version it is.
type ipHeader struct {
	src, dst netip.Addr
	proto    uint8
	ecn, ttl uint8
	len      int // octets of the headers before the transport's
	end      int // length of the packet; what follows is padding of the link
}

// quoted says that a packet need not be complete: it is one that ICMP quotes.
const quoted = -1

// parseIP reads the headers in front of the transport header. The packet has so many
// octets, of which pkt are the first, all headers among them, or is quoted: end may
// lie past the end of pkt.
func parseIP(pkt []byte, h *ipHeader, octets int) Drop {
	if len(pkt) == 0 {
		return TooShort
	}
	switch pkt[0] >> 4 {
	case 4:
		return parseIPv4(pkt, h, octets)
	case 6:
		return parseIPv6(pkt, h, octets)
	}
	return NotIP
}

func parseIPv4(pkt []byte, h *ipHeader, octets int) Drop {
	if len(pkt) < ipv4Len {
		return TooShort
	}
	h.len = int(pkt[0]&0x0f) * 4
	h.end = int(binary.BigEndian.Uint16(pkt[ip4TotalLen:]))
	if h.len < ipv4Len || h.end < h.len {
		return BadIPHeader
	}
	if len(pkt) < h.len || octets != quoted && octets < h.end {
		return TooShort
	}
	// Routers change TTL and checksum of what they quote; only a packet for
	// us has to be right.
	if octets != quoted && Fold(Sum(pkt[:h.len], 0)) != 0xffff {
		return BadIPHeader
	}
	if binary.BigEndian.Uint16(pkt[ip4Frag:])&(ip4MF|ip4Offset) != 0 {
		return Fragment
	}
	h.proto = pkt[9]
	h.ecn = pkt[1] & 3
	h.ttl = pkt[ip4TTL]
	h.src = netip.AddrFrom4([4]byte(pkt[ip4Src:]))
	h.dst = netip.AddrFrom4([4]byte(pkt[ip4Dst:]))
	return None
}

func parseIPv6(pkt []byte, h *ipHeader, octets int) Drop {
	if len(pkt) < ipv6Len {
		return TooShort
	}
	h.len = ipv6Len
	h.end = ipv6Len + int(binary.BigEndian.Uint16(pkt[ip6PayloadLen:]))
	if octets != quoted {
		if octets < h.end {
			return TooShort
		}
		pkt = pkt[:min(h.end, len(pkt))]
	}
	h.ecn = pkt[1] >> 4 & 3
	h.ttl = pkt[ip6HopLimit]
	h.src = netip.AddrFrom16([16]byte(pkt[ip6Src:]))
	h.dst = netip.AddrFrom16([16]byte(pkt[ip6Dst:]))
	return h.skipExtensions(pkt)
}

// skipExtensions finds the transport header behind the extension headers that
// a destination may pass over (RFC 8200, Section 4).
func (h *ipHeader) skipExtensions(pkt []byte) Drop {
	const (
		hopByHop    = 0
		routing     = 43
		fragment    = 44
		destination = 60
	)
	for h.proto = pkt[ip6Next]; ; {
		switch h.proto {
		case hopByHop, destination, routing:
		case fragment:
			return Fragment
		default:
			return None
		}
		if len(pkt) < h.len+8 {
			return TooShort
		}
		ext := pkt[h.len:]
		if h.proto == routing && ext[3] != 0 {
			return NotTCP // segments left: not for us
		}
		h.proto = ext[0]
		h.len += 8 + int(ext[1])*8
		if len(pkt) < h.len {
			return TooShort
		}
	}
}

// usable reports whether a may be an end of a connection. RFC 9293, Section
// 3.9.2.3: a SYN for a broadcast or multicast address, and one from an invalid
// source, is discarded. An IPv4-mapped address does not belong into an IPv6
// header, where it would pass for the IPv4 address.
func usable(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && !a.Is4In6() &&
		a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
