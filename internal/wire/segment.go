// Package wire reads and writes what crosses the network: IPv4 and IPv6
// packets with TCP segments, their options including those of Multipath TCP
// (RFC 8684), the ICMP errors that quote them, and trains: one set of headers
// with more payload than one packet may carry, to be cut on the way.
//
// Nothing here panics on what a peer sent: a packet that cannot be used has a
// Drop reason.
package wire

import (
	"net/netip"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
)

// Tuple names one subflow by its two ends. Local is this host's, whether the
// packet arrives or leaves. IPv4 addresses are plain, never 4-in-6.
type Tuple struct{ Local, Remote netip.AddrPort }

// Is6 reports whether the tuple is of IPv6.
func (t Tuple) Is6() bool { return t.Remote.Addr().Is6() }

// Hash returns a number that stands for the tuple where there is no room for
// it, in traces.
func (t Tuple) Hash() uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for _, end := range [...]netip.AddrPort{t.Local, t.Remote} {
		for _, b := range end.Addr().As16() {
			h = (h ^ uint64(b)) * 1099511628211
		}
		h = (h ^ uint64(end.Port())) * 1099511628211
	}
	return h
}

// Flags are the control bits of the TCP header, low octet.
type Flags uint8

// The control bits of RFC 9293, Section 3.1.
const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// Has reports whether all of g are set in f.
func (f Flags) Has(g Flags) bool { return f&g == g }

// Segment is a TCP segment by its values. Of a parsed segment, Payload borrows
// from the packet: nobody may keep it past the call it was handed to.
type Segment struct {
	Tuple
	Seq, Ack seq.Num
	Flags    Flags
	Window   uint16 // as on the wire, unscaled
	Urgent   uint16
	ECN      uint8 // the IP header's ECN field, two bits
	TTL      uint8 // hop limit; 0 when sending means that of the batch
	Opt      TCPOptions
	MP       MPOptions
	Payload  []byte

	// At is when the packet arrived, stamped when its batch was read. RTT,
	// RACK and window evidence uses At, never the time of processing.
	At mono.Time
	// Link is the interface the packet arrived by, as the device numbers them,
	// and MTU the largest packet it takes (0: not known, 1500 is assumed).
	Link, MTU int
}

// Len returns the sequence space the segment takes: payload, SYN and FIN.
func (s *Segment) Len() int {
	n := len(s.Payload)
	if s.Flags.Has(SYN) {
		n++
	}
	if s.Flags.Has(FIN) {
		n++
	}
	return n
}

// SACKBlock is one block of a SACK option (RFC 2018): [From, To).
type SACKBlock struct{ From, To seq.Num }

// TCPOptions are the options of TCP proper. The zero value is none.
type TCPOptions struct {
	MSS           uint16 // 0: absent
	WScale        uint8  // valid if HasWScale
	HasWScale     bool
	SACKPermitted bool
	HasTS         bool
	TSVal, TSEcr  uint32
	NSACK         int // blocks in SACK that count
	SACK          [4]SACKBlock

	UserTimeout uint16 // as UserTimeout of RFC 5482, Section 3.3, writes it; 0: absent
	HasFastOpen bool   // on SYNs only (RFC 7413, Section 4.1.1)
	FastOpen    Cookie // valid if HasFastOpen; empty asks for one
}

// Cookie is a Fast Open cookie: up to 16 octets that only their maker
// understands (RFC 7413, Section 4.1.1). Cookies can be compared; the zero value
// is empty.
type Cookie struct {
	n uint8
	b [MaxCookie]byte
}

// Bounds of a Fast Open cookie, in octets; its length is even.
const (
	MinCookie = 4
	MaxCookie = 16
)

// MakeCookie returns the cookie that is made of b; ok is false, and the cookie
// empty, if that cannot be one.
func MakeCookie(b []byte) (c Cookie, ok bool) {
	if len(b) < MinCookie || len(b) > MaxCookie || len(b)%2 != 0 {
		return Cookie{}, false
	}
	c.n = uint8(copy(c.b[:], b))
	return c, true
}

// Len returns how many octets the cookie has.
func (c Cookie) Len() int { return int(c.n) }

// Bytes returns the octets of the cookie.
func (c *Cookie) Bytes() []byte { return c.b[:c.n] }

// Drop says why a packet was not used; None means it is fine.
type Drop uint8

// Reasons for dropping a packet before TCP sees it.
const (
	None        Drop = iota
	TooShort         // shorter than its headers say
	NotIP            // neither IPv4 nor IPv6
	BadIPHeader      // IPv4 header checksum or length
	Fragment         // an IP fragment
	NotTCP           // another protocol
	BadOffset        // TCP data offset below 5 or past the end
	BadChecksum      // TCP checksum
	BadAddress       // broadcast, multicast or unspecified source or destination
	BadPort          // port zero
	LowTTL           // it came from farther than it may (RFC 5082)
)
