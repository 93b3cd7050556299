package wire

import (
	"encoding/binary"
	"net/netip"

	"github.com/mpnc/mpnc/internal/seq"
)

// Parse reads the packet pkt, which starts at the IP header, into s. All
// fields of s but At, Link and MTU are overwritten; Local is the destination,
// Remote the source, and Payload borrows from pkt. csum says how the TCP
// checksum of pkt stands. A result other than None is the reason why the
// packet is of no use; s is then only partly filled.
func Parse(pkt []byte, s *Segment, csum Csum) Drop { return ParseApart(pkt, nil, s, csum) }

// ParseApart is Parse of a packet whose payload, rest, lies elsewhere than its
// headers, unless rest is empty.
func ParseApart(pkt, rest []byte, s *Segment, csum Csum) Drop {
	*s = Segment{At: s.At, Link: s.Link, MTU: s.MTU}
	var ip ipHeader
	if d := parseIP(pkt, &ip, len(pkt)+len(rest)); d != None {
		return d
	}
	if ip.proto != protoTCP {
		return NotTCP
	}
	s.ECN, s.TTL = ip.ecn, ip.ttl
	end := min(ip.end, len(pkt))
	tcp := pkt[ip.len:end:end]
	if len(tcp) < tcpLen {
		return TooShort
	}
	rest = rest[:min(ip.end-end, len(rest))]
	s.Local = netip.AddrPortFrom(ip.dst, binary.BigEndian.Uint16(tcp[2:]))
	s.Remote = netip.AddrPortFrom(ip.src, binary.BigEndian.Uint16(tcp))
	off := int(tcp[tcpOff]>>4) * 4
	if off < tcpLen || off > len(tcp) || len(rest) > 0 && off < len(tcp) {
		return BadOffset
	}
	if !checksumOK(tcp, rest, ip.src, ip.dst, csum) { //spec:T19 off: if false {
		return BadChecksum
	}
	if !usable(ip.src) || !usable(ip.dst) { //spec:T20 off: if false {
		return BadAddress
	}
	if s.Local.Port() == 0 || s.Remote.Port() == 0 {
		return BadPort
	}
	s.Seq = seq.Num(binary.BigEndian.Uint32(tcp[tcpSeq:]))
	s.Ack = seq.Num(binary.BigEndian.Uint32(tcp[tcpAck:]))
	s.Flags = Flags(tcp[tcpFlags])
	s.Window = binary.BigEndian.Uint16(tcp[tcpWin:])
	s.Urgent = binary.BigEndian.Uint16(tcp[tcpUrg:])
	s.parseOptions(tcp[tcpLen:off])
	if s.Payload = tcp[off:]; len(rest) > 0 {
		s.Payload = rest
	}
	return None
}

// checksumOK verifies the checksum of a segment as far as csum asks for it. Where
// its payload lies apart, tcp is of an even length, as headers are.
func checksumOK(tcp, rest []byte, src, dst netip.Addr, csum Csum) bool {
	if csum == CsumPartial {
		return true
	}
	pseudo := PseudoSum(src, dst, len(tcp)+len(rest))
	if csum == CsumEither && binary.BigEndian.Uint16(tcp[tcpCsum:]) == Fold(pseudo) {
		return true
	}
	return Fold(Sum(rest, Sum(tcp, pseudo))) == 0xffff
}

// Option kinds (RFC 9293, 7323, 2018, 5482, 7413, 8684).
const (
	optEnd           = 0
	optNOP           = 1
	optMSS           = 2
	optWScale        = 3
	optSACKPermitted = 4
	optSACK          = 5
	optTimestamps    = 8
	optUserTimeout   = 28
	optMPTCP         = 30
	optFastOpen      = 34
)

// maxWScale is the largest shift. RFC 7323, Section 2.3: a larger one received
// MUST be used as 14.
const maxWScale = 14

// parseOptions reads the option block. RFC 9293, Section 3.1: options begin at
// any octet, unknown ones are skipped; one whose length cannot be true ends
// the block, since where the next begins is not known.
func (s *Segment) parseOptions(opt []byte) {
	for len(opt) > 0 {
		switch opt[0] {
		case optEnd:
			return
		case optNOP:
			opt = opt[1:]
			continue
		}
		if len(opt) < 2 || opt[1] < 2 || int(opt[1]) > len(opt) { //spec:T17 off: if len(opt) < 2 || int(opt[1]) > len(opt) {
			return
		}
		this := opt[:opt[1]]
		opt = opt[len(this):]
		if this[0] == optMPTCP {
			s.MP.parse(this, s.Flags)
		} else {
			s.Opt.parse(this, s.Flags)
		}
	}
}

// parse reads one option of TCP proper, all of it. Those of the handshake
// count on SYN segments only; one of a wrong length is skipped.
func (o *TCPOptions) parse(opt []byte, flags Flags) {
	switch syn := flags.Has(SYN); opt[0] {
	case optMSS:
		if syn && len(opt) == 4 { //spec:T18 off: if len(opt) == 4 {
			o.MSS = binary.BigEndian.Uint16(opt[2:])
		}
	case optWScale:
		if syn && len(opt) == 3 {
			o.HasWScale = true
			o.WScale = min(opt[2], maxWScale) //spec:T40 off: o.WScale = opt[2]
		}
	case optSACKPermitted:
		if syn && len(opt) == 2 { //spec:T46 off: if len(opt) == 2 {
			o.SACKPermitted = true
		}
	case optTimestamps:
		if len(opt) == 10 {
			o.HasTS = true
			o.TSVal = binary.BigEndian.Uint32(opt[2:])
			o.TSEcr = binary.BigEndian.Uint32(opt[6:])
		}
	case optUserTimeout:
		if len(opt) == 4 {
			o.UserTimeout = binary.BigEndian.Uint16(opt[2:])
		}
	case optFastOpen:
		// RFC 7413, Section 4.1.1: on SYNs only; one whose length cannot be
		// that of a cookie is ignored.
		if c, ok := MakeCookie(opt[2:]); syn && (ok || len(opt) == 2) {
			o.HasFastOpen, o.FastOpen = true, c
		}
	case optSACK:
		if n := (len(opt) - 2) / 8; n >= 1 && n <= len(o.SACK) && len(opt) == 2+8*n {
			o.NSACK = n
			for i := range n {
				at := opt[2+8*i:]
				o.SACK[i] = SACKBlock{
					From: seq.Num(binary.BigEndian.Uint32(at)),
					To:   seq.Num(binary.BigEndian.Uint32(at[4:])),
				}
			}
		}
	}
}
