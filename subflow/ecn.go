package subflow

import (
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow/cc"
)

// ECN says when Explicit Congestion Notification (RFC 3168) is used.
type ECN uint8

// The zero value is the one that harms nobody: some middleboxes still drop a
// SYN that asks, none minds an answer to one.
const (
	ECNAccept ECN = iota // if the peer's SYN asks for it
	ECNAsk               // our SYN asks for it, too
	ECNOff               // never
)

// Codepoints of the ECN field of the IP header (RFC 3168, Section 5).
const (
	ect0 = 2 // ECT(0): the sender understands marks
	ce   = 3 // congestion experienced
)

// ecnState is RFC 3168, Section 6.1, for one connection.
type ecnState struct {
	asks  bool       // our SYN asked, and none without was sent since
	on    bool       // both SYNs said so
	echo  bool       // a mark arrived: every ACK says so until CWR comes
	cwr   bool       // the window was reduced: the next new data says so
	point seq.Offset // SND.NXT when the window was last reduced
}

// setup is what the flags of a SYN ask, and of a SYN/ACK answer: ECE and CWR,
// ECE alone. Both in a SYN/ACK are a reflection by somebody who knows neither
// (RFC 3168, Section 6.1.1).
func ecnSetup(syn *wire.Segment) bool {
	if has(syn, wire.ACK) {
		return has(syn, wire.ECE) && !has(syn, wire.CWR) //spec:T75 off: return has(syn, wire.ECE)
	}
	return has(syn, wire.ECE|wire.CWR)
}

// ecnTakeSYN learns from the peer's SYN, with or without ACK.
func (s *Subflow) ecnTakeSYN(syn *wire.Segment) {
	willing := s.ecn.asks || s.passive && s.cfg.ECN != ECNOff
	s.ecn.on = willing && ecnSetup(syn)
}

// ecnSYNAgain: the peer's SYN came again, without asking. "If a host has
// received at least one non-ECN-setup SYN ... packet, then it SHOULD NOT set
// ECT on data packets", and our SYN/ACK answers the SYN that it has seen last
// (RFC 3168, Section 6.1.1).
func (s *Subflow) ecnSYNAgain(syn *wire.Segment) {
	s.ecn.on = s.ecn.on && ecnSetup(syn) //spec:T75 off:
}

// ecnSYNFlags are the flags with which our SYN or SYN/ACK asks or answers.
//
// Only the first SYN asks: "A host that receives no reply to an ECN-setup SYN
// within the normal SYN retransmission timeout interval MAY resend the SYN and
// any subsequent SYN retransmissions with CWR and ECE cleared" (RFC 3168,
// Section 6.1.1.1); "has sent no non-ECN-setup SYN" is then a condition that
// no longer holds.
func (s *Subflow) ecnSYNFlags(answer bool) wire.Flags {
	if answer {
		if s.ecn.on {
			return wire.ECE
		}
		return 0
	}
	s.ecn.asks = s.cfg.ECN == ECNAsk && s.syn.sent == 0 //spec:T75 off: s.ecn.asks = s.cfg.ECN == ECNAsk
	if !s.ecn.asks {
		return 0
	}
	return wire.ECE | wire.CWR
}

// ecnFlags is ECE on whatever acknowledges, from the arrival of a mark until
// that of CWR (RFC 3168, Section 6.1.3).
func (s *Subflow) ecnFlags(flags wire.Flags) wire.Flags {
	if s.ecn.echo && flags.Has(wire.ACK) && flags&(wire.SYN|wire.RST) == 0 {
		return wire.ECE
	}
	return 0
}

// ecnFresh marks a segment of new data as one that routers may mark. Nothing
// else is: not a SYN, a pure ACK, a retransmission, a window probe (RFC 3168,
// Sections 6.1.1, 6.1.4 to 6.1.6). "When an ECN-Capable TCP sender reduces its
// congestion window for any reason ..., the TCP sender sets the CWR flag in
// the TCP header of the first new data packet sent after the window reduction"
// (Section 6.1.2).
func (s *Subflow) ecnFresh(seg *wire.Segment) {
	if !s.ecn.on {
		return
	}
	seg.ECN = ect0
	if s.ecn.cwr {
		seg.Flags |= wire.CWR
		s.ecn.cwr = false //spec:T75 off:
	}
}

// ecnArrived is for a segment that passed all checks; a mark on data outside
// the window never gets here (RFC 3168, Section 6.1.5). fresh says that it
// brought data.
func (s *Subflow) ecnArrived(now mono.Time, seg *wire.Segment, ack seq.Offset, fresh bool) {
	e := &s.ecn
	if !e.on {
		return
	}
	if has(seg, wire.CWR) {
		e.echo = false //spec:T75 off:
	}
	if seg.ECN == ce && fresh { //spec:T76 off: if seg.ECN == ce {
		s.info.CEIn++
		if !e.echo {
			e.echo = true
			s.rcv.ackNow = true // the sender is not to learn of it late
		}
	}
	if has(seg, wire.ECE) {
		s.info.ECEIn++
		s.ecnEchoed(now, ack)
	}
}

// ecnEchoed reduces the window, "at most once per window of data" (RFC 3168,
// Section 6.1.2): until something sent after the last reduction, for whatever
// reason, is acknowledged, the peer may not have seen our CWR.
func (s *Subflow) ecnEchoed(now mono.Time, ack seq.Offset) {
	if !after(ack, s.ecn.point) || s.snd.recs.len() == 0 && s.snd.unsent() == 0 {
		return
	}
	s.tellLoss(now, cc.ECN, 0, s.snd.flightSize())
}

// ecnReduced notes that the window was reduced.
func (s *Subflow) ecnReduced() {
	if s.ecn.on {
		s.ecn.cwr, s.ecn.point = true, s.snd.nxt //spec:T75 off: s.ecn.cwr = true
	}
}
