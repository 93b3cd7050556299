package subflow

import (
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// FastOpen is what one handshake has to do with TCP Fast Open (RFC 7413). The
// zero value is none.
type FastOpen struct {
	// Offer puts the option with Cookie on the first SYN, or SYN/ACK; without a
	// cookie it asks for one. If it is not answered in time, what is sent again
	// has neither option nor data (RFC 7413, Sections 4.2.1 and 4.2.2).
	Offer  bool
	Cookie wire.Cookie
	// Data is what a Dial puts on a SYN with a cookie, as far as it fits, and MSS
	// what the peer said last time (0: not known). It is borrowed until the first
	// SYN has left.
	Data []byte
	MSS  int
	// Take has an Accept take the payload of the SYN: its cookie is good.
	Take bool
}

// typicalMSS bounds what goes on a SYN: "the client MAY limit the cached MSS to
// 1460 bytes for IPv4 or 1440 for IPv6" (RFC 7413, Section 4.1.3).
func (s *Subflow) typicalMSS() int { return defaultMTU - s.ipTCP() }

// offerFastOpen puts the Fast Open option, and with a cookie the data, on the
// first SYN or SYN/ACK, whose other options are all there. "If the SYN packet
// does not have enough option space for the Fast Open option, abort TFO and fall
// back to the regular 3WHS" (RFC 7413, Section 4.2.2).
func (s *Subflow) offerFastOpen(x *output) {
	f, seg := &s.cfg.FastOpen, &x.seg
	if !f.Offer || s.syn.sent > 0 || seg.Opt.Len()+seg.MP.Len()+wire.FastOpenLen(f.Cookie) > maxOptions { //spec:T35 off: if !f.Offer || seg.Opt.Len()+seg.MP.Len()+wire.FastOpenLen(f.Cookie) > maxOptions {
		return
	}
	seg.Opt.HasFastOpen, seg.Opt.FastOpen = true, f.Cookie
	if has(seg, wire.ACK) || f.Cookie.Len() == 0 {
		return
	}
	mss := f.MSS
	if mss == 0 {
		mss = defaultMSS(s.tuple)
	}
	room := min(mss, s.typicalMSS(), s.segLimit()) - (wire.HeaderLen(seg) - s.ipTCP())
	if n := min(len(f.Data), room); n > 0 && x.fits(n) {
		seg.Payload = f.Data[:n]
		s.syn.data = n
		s.info.BytesOut += uint64(n)
	}
	f.Data = nil
}

// takeSYNData takes the payload of a SYN whose cookie is good. From here on it is
// as if the peer had begun that much later: offset 1 is the first octet after it,
// as RFC 8684, Appendix B.2, wants it for MPTCP's numbering.
func (s *Subflow) takeSYNData(syn *wire.Segment) {
	if !s.cfg.FastOpen.Take {
		return
	}
	n := len(syn.Payload)
	s.syn.taken = n
	s.syn.open = true
	s.rcv.irs = s.rcv.irs.Add(n) //spec:O2 off: s.rcv.nxt += seq.Offset(n)
	s.info.BytesIn += uint64(n)
}

// synAcked moves SND.UNA past our SYN and what of its payload the peer took, which
// has no offsets: 1 is the first octet after it. The rest is the engine's to
// assign again: "the client SHOULD retransmit any unacknowledged data in the first
// ACK packet" (RFC 7413, Section 4.2.2).
func (s *Subflow) synAcked(ack seq.Offset) {
	d := &s.snd
	d.una = 1
	if s.syn.data == 0 {
		return
	}
	s.syn.taken = dist(earlier(ack, 1+seq.Offset(s.syn.data)), 1)
	s.info.BytesAcked += uint64(s.syn.taken)
	d.iss = d.iss.Add(s.syn.taken) //spec:O2 off: d.una += seq.Offset(s.syn.taken)
	d.nxt, d.end = d.una, d.una
}

// answersEarly reports whether data may leave before the handshake is done: a SYN
// with data was taken, and our SYN/ACK has left (RFC 7413, Section 4.2.2).
func (s *Subflow) answersEarly() bool {
	return s.syn.open && s.state == StateSynReceived && s.syn.sent > 0
}

// SYNData returns how many octets our SYN carried and, once the handshake is done,
// how many of them the peer took; or, of a passive open, how many of the peer's
// were taken.
func (s *Subflow) SYNData() (sent, taken int) { return s.syn.data, s.syn.taken }

// SYNsSent returns how many times our SYN or SYN/ACK has left.
func (s *Subflow) SYNsSent() int { return s.syn.sent }
