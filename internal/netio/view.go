package netio

import (
	"encoding/binary"
	"net/netip"
)

const (
	ipv4Len = 20 // without options
	ipv6Len = 40
	tcpLen  = 20 // without options

	protoICMP   = 1
	protoTCP    = 6
	protoICMPv6 = 58
)

// view is what the device itself looks at in a packet: enough to tell whose it
// is. Everything else is for wire.Parse.
type view struct {
	src, dst netip.Addr
	proto    byte
	port     uint16     // of ours: the destination, of what ICMP quotes the source
	quoted   netip.Addr // source of what ICMP quotes
	payload  int        // octets of TCP payload
}

// ours is the pair of this host that the packet is about.
func (v *view) ours() netip.AddrPort {
	if v.quoted.IsValid() {
		return netip.AddrPortFrom(v.quoted, v.port)
	}
	return netip.AddrPortFrom(v.dst, v.port)
}

// viewOf looks at a packet.
func viewOf(pkt []byte) (v view, ok bool) {
	h := v.ip(pkt)
	if h == 0 {
		return v, false
	}
	t := pkt[h:]
	switch v.proto {
	case protoTCP:
		if len(t) < tcpLen {
			return v, false
		}
		v.port = binary.BigEndian.Uint16(t[2:])
		v.payload = len(t) - int(t[12]>>4)*4
		return v, true
	case protoICMP, protoICMPv6:
		if len(t) < 8 {
			return v, false
		}
		var q view
		t = t[8:]
		h := q.ip(t)
		if h == 0 || q.proto != protoTCP || len(t) < h+2 {
			return v, false
		}
		v.quoted, v.port = q.src, binary.BigEndian.Uint16(t[h:])
		return v, true
	}
	return v, false
}

// ip reads the IP header and returns its length, 0 if it is none. Neither
// fragments nor extension headers reach a raw socket, nor do we send any.
func (v *view) ip(pkt []byte) (headerLen int) {
	switch {
	case len(pkt) >= ipv4Len && pkt[0]>>4 == 4:
		headerLen = int(pkt[0]&0xf) * 4
		if headerLen < ipv4Len || headerLen > len(pkt) {
			return 0
		}
		v.proto = pkt[9]
		v.src, v.dst = netip.AddrFrom4([4]byte(pkt[12:])), netip.AddrFrom4([4]byte(pkt[16:]))
	case len(pkt) >= ipv6Len && pkt[0]>>4 == 6:
		headerLen = ipv6Len
		v.proto = pkt[6]
		v.src, v.dst = netip.AddrFrom16([16]byte(pkt[8:])), netip.AddrFrom16([16]byte(pkt[24:]))
	}
	return headerLen
}

// headersOf returns how long the headers of a TCP packet of ours are.
func headersOf(pkt []byte) int {
	ip := ipv6Len
	if pkt[0]>>4 == 4 {
		ip = ipv4Len
	}
	return ip + int(pkt[ip+12]>>4)*4
}
