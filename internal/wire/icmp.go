package wire

import (
	"encoding/binary"
	"net/netip"

	"github.com/mpnc/mpnc/internal/seq"
)

// ICMPKind is what an ICMP error reports, whichever version of IP it is of.
type ICMPKind uint8

// Kinds of ICMP error.
const (
	ICMPOther        ICMPKind = iota // unreachable for a reason not below
	ICMPNetwork                      // no route to the network, or source route failed
	ICMPHost                         // host or address unreachable
	ICMPProtocol                     // the destination does not speak TCP
	ICMPPort                         // nothing there
	ICMPProhibited                   // by a firewall, or by policy
	ICMPTooBig                       // packet too big; see MTU
	ICMPTimeExceeded                 // hop limit or reassembly
)

// ICMPError is an error about a segment that this host sent. Nothing vouches
// for it but what it quotes: whoever acts on it first checks that Seq is in
// flight (RFC 5927, Section 4).
type ICMPError struct {
	Tuple // Local is the source of the quoted segment
	Seq   seq.Num
	Kind  ICMPKind
	// Hard: RFC 9293, Section 3.9.2.2, says SHOULD abort; otherwise the error
	// MUST NOT abort a connection. Too big is not an error of that sort.
	Hard bool
	// MTU is the size that the next hop takes, of ICMPTooBig; 0 if a router
	// older than RFC 1191 did not say.
	MTU        int
	Type, Code uint8 // as on the wire
}

// Types of ICMP message (RFC 792, RFC 4443).
const (
	icmp4Unreachable  = 3
	icmp4TimeExceeded = 11
	icmp6Unreachable  = 1
	icmp6TooBig       = 2
	icmp6TimeExceeded = 3

	icmpLen = 8 // octets before what is quoted
)

// ParseICMP reads the packet pkt, which starts at the IP header, into e. It
// reports false if that is not an intact ICMP error about a TCP segment that
// the receiver of pkt had sent. It does not allocate.
func ParseICMP(pkt []byte, e *ICMPError) bool {
	var ip ipHeader
	if parseIP(pkt, &ip, len(pkt)) != None {
		return false
	}
	msg := pkt[ip.len:ip.end]
	switch {
	case ip.src.Is4() && ip.proto == protoICMP:
		if Fold(Sum(msg, 0)) != 0xffff || !e.parse4(msg) {
			return false
		}
	case !ip.src.Is4() && ip.proto == protoICMP6:
		pseudo := PseudoSum(ip.src, ip.dst, len(msg)) - protoTCP + protoICMP6
		if Fold(Sum(msg, pseudo)) != 0xffff || !ParseICMP6(msg, e) {
			return false
		}
	default:
		return false
	}
	return e.Local.Addr() == ip.dst //spec:T21 off: return true
}

// ParseICMP6 is ParseICMP for an ICMPv6 message without its IP header, as a
// raw socket delivers it: the kernel has verified its checksum.
func ParseICMP6(msg []byte, e *ICMPError) bool {
	if len(msg) < icmpLen {
		return false
	}
	*e = ICMPError{Type: msg[0], Code: msg[1]}
	switch e.Type {
	case icmp6Unreachable:
		e.unreachable6()
	case icmp6TooBig:
		e.Kind = ICMPTooBig
		e.MTU = int(min(binary.BigEndian.Uint32(msg[4:]), MaxPacket))
	case icmp6TimeExceeded:
		e.Kind = ICMPTimeExceeded
	default:
		return false
	}
	return e.quoted(msg[icmpLen:], 6)
}

// parse4 reads an ICMPv4 message.
func (e *ICMPError) parse4(msg []byte) bool {
	if len(msg) < icmpLen {
		return false
	}
	*e = ICMPError{Type: msg[0], Code: msg[1]}
	switch e.Type {
	case icmp4Unreachable:
		e.unreachable4(binary.BigEndian.Uint16(msg[6:]))
	case icmp4TimeExceeded:
		e.Kind = ICMPTimeExceeded
	default:
		return false // RFC 9293, Section 3.9.2.2: source quench too is discarded
	}
	return e.quoted(msg[icmpLen:], 4)
}

// unreachable4 sorts the codes of RFC 792 and RFC 1122, Section 3.2.2.1. RFC
// 9293, Section 3.9.2.2: codes 2 to 4 are hard, of which 4 asks for smaller
// packets only (RFC 1191).
func (e *ICMPError) unreachable4(mtu uint16) {
	switch e.Code {
	case 0, 5, 6, 11:
		e.Kind = ICMPNetwork
	case 1, 7, 8, 12:
		e.Kind = ICMPHost //spec:T21 off: e.Kind, e.Hard = ICMPHost, true
	case 2:
		e.Kind, e.Hard = ICMPProtocol, true
	case 3:
		e.Kind, e.Hard = ICMPPort, true
	case 4:
		e.Kind, e.MTU = ICMPTooBig, int(mtu) //spec:T77 off: e.Kind = ICMPTooBig
	case 9, 10, 13:
		e.Kind = ICMPProhibited
	}
}

// unreachable6 sorts the codes of RFC 4443, Section 3.1. RFC 9293 names no
// hard error of ICMPv6; code 4 is what code 3 is in ICMPv4, which is one.
func (e *ICMPError) unreachable6() {
	switch e.Code {
	case 0:
		e.Kind = ICMPNetwork
	case 1, 5, 6:
		e.Kind = ICMPProhibited
	case 2, 3:
		e.Kind = ICMPHost
	case 4:
		e.Kind, e.Hard = ICMPPort, true
	}
}

// quoted reads the start of the packet that the error is about: its IP header
// and at least eight octets of TCP's (RFC 792).
func (e *ICMPError) quoted(pkt []byte, version byte) bool {
	var ip ipHeader
	if len(pkt) == 0 || pkt[0]>>4 != version || parseIP(pkt, &ip, quoted) != None {
		return false
	}
	if ip.proto != protoTCP || len(pkt) < ip.len+8 || !usable(ip.src) || !usable(ip.dst) {
		return false
	}
	tcp := pkt[ip.len:]
	e.Local = netip.AddrPortFrom(ip.src, binary.BigEndian.Uint16(tcp))
	e.Remote = netip.AddrPortFrom(ip.dst, binary.BigEndian.Uint16(tcp[2:]))
	e.Seq = seq.Num(binary.BigEndian.Uint32(tcp[tcpSeq:]))
	return e.Local.Port() != 0 && e.Remote.Port() != 0
}
