package subflow

import (
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// handleArrival is RFC 9293, Section 3.10.7.4: the checks in their order, then
// the acknowledgment, the window, the text and the FIN.
func (s *Subflow) handleArrival(now, at mono.Time, seg *wire.Segment, acc *Accepted) {
	off := seq.Unwrap(seg.Seq, s.rcv.irs, s.rcv.nxt)
	if !s.checkTimestamp(now, seg) {
		return
	}
	switch {
	case s.state == StateSynReceived && has(seg, wire.SYN) && !has(seg, wire.RST):
		if !s.handleSynAgain(now, seg, off) {
			return
		}
	default:
		if !s.checkSequence(now, seg, off) || !s.checkRST(now, seg, off, acc) || !s.checkSYN(now, seg) {
			return
		}
	}
	if !has(seg, wire.ACK) {
		s.info.Dropped++
		return
	}
	ack := seq.Unwrap(seg.Ack, s.snd.iss, s.snd.una)
	if s.state == StateSynReceived {
		if !s.ackOfSYN(now, at, seg, off, ack, acc) {
			return
		}
		ack = seq.Unwrap(seg.Ack, s.snd.iss, s.snd.una)
	} else if !s.checkACK(now, ack) {
		return
	}
	acc.OK = true
	s.heard(now, acc)
	s.heardAgain()
	s.ts.update(seg, off, s.rcv.lastAck, now)
	s.handleAck(now, at, seg, off, ack, acc)
	if s.state == StateClosed || has(seg, wire.SYN) {
		return
	}
	s.receive(now, seg, off, acc)
	s.ecnArrived(now, seg, ack, acc.Payload != nil)
}

// checkTimestamp is PAWS, which comes before all else (RFC 7323, Section 5.3),
// and the rule that a connection with timestamps has them on every segment:
// "If a non-<RST> segment is received without a TSopt, a TCP SHOULD silently
// drop the segment" (Section 3.2).
func (s *Subflow) checkTimestamp(now mono.Time, seg *wire.Segment) bool {
	if !s.ts.on || has(seg, wire.RST) { //spec:T44 off: if !s.ts.on {
		return true
	}
	if !seg.Opt.HasTS { //spec:T42 off: if false {
		s.info.Dropped++
		return false
	}
	if s.ts.old(seg.Opt.TSVal, now) { //spec:T44 off: if false {
		// "Send an acknowledgment in reply ... and drop the segment".
		s.info.Dropped++
		s.challenge(now)
		return false
	}
	return true
}

// acceptable is the test of RFC 9293, Section 3.10.7.4, Table 6, with the
// exceptions that practice asks for: a segment without text may sit at the
// right edge (its sender has filled the window and acknowledges from there),
// one that covers the whole window and more is used in part (a retransmitted
// train does), and with a zero window a segment at RCV.NXT is looked at for its
// ACK though its text is not taken.
func (r *receiver) acceptable(off seq.Offset, n, accept int) bool {
	right := r.right(accept)
	if n == 0 {
		return !before(off, r.nxt) && !after(off, right) //spec:T1 off: return true
	}
	if right == r.nxt {
		return off == r.nxt //spec:T1 off: return true
	}
	return after(off+seq.Offset(n), r.nxt) && before(off, right) //spec:T1 off: return after(off+seq.Offset(n), r.nxt)
}

// checkSequence drops what lies outside the window. "If an incoming segment is
// not acceptable, an acknowledgment should be sent in reply (unless the RST
// bit is set, if so drop the segment and return)".
func (s *Subflow) checkSequence(now mono.Time, seg *wire.Segment, off seq.Offset) bool {
	n := seg.Len()
	if s.rcv.acceptable(off, n, s.cfg.Accept) {
		return true
	}
	s.info.Dropped++
	switch {
	case has(seg, wire.RST): //spec:T9 off: case false:
	case has(seg, wire.SYN):
		s.challenge(now)
	case n == 0:
		s.heardAgain()
		s.challenge(now)
	default:
		s.heardAgain()
		// Data or a FIN again: our ACK was lost, or the peer was hasty. No
		// loop can come from it, so it needs no budget.
		s.duplicate(now, off, off+seq.Offset(n))
	}
	return false
}

// checkRST is RFC 5961, Section 3: exactly RCV.NXT resets, another place in
// the window is challenged. In TIME-WAIT a RST is ignored (RFC 1337, fix 1).
func (s *Subflow) checkRST(now mono.Time, seg *wire.Segment, off seq.Offset, acc *Accepted) bool {
	switch {
	case !has(seg, wire.RST):
		return true
	case s.state == StateTimeWait: //spec:T7 off: case false:
		s.info.Dropped++
	case off == s.rcv.nxt && s.answersTrain(now, seg):
		s.info.Dropped++
	case off == s.rcv.nxt: //spec:T9 off: case true:
		s.resetBy(acc)
	default:
		s.info.Dropped++
		s.challenge(now)
	}
	return false
}

// checkSYN is RFC 5961, Section 4: "If the SYN bit is set, irrespective of the
// sequence number, TCP MUST send an ACK (also referred to as challenge ACK)".
func (s *Subflow) checkSYN(now mono.Time, seg *wire.Segment) bool {
	if !has(seg, wire.SYN) { //spec:T10 off: if true {
		return true
	}
	s.info.Dropped++
	s.challenge(now)
	return false
}

// checkACK is RFC 5961, Section 5: "The ACK value is considered acceptable only
// if it is in the range of ((SND.UNA - MAX.SND.WND) <= SEG.ACK <= SND.NXT)".
func (s *Subflow) checkACK(now mono.Time, ack seq.Offset) bool {
	if !after(ack, s.snd.nxt) && dist(ack, s.snd.una) >= -s.snd.maxWnd { //spec:T11 off: if !after(ack, s.snd.nxt) {
		return true
	}
	s.info.Dropped++
	s.challenge(now)
	return false
}
