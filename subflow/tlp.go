package subflow

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/subflow/cc"
)

// maxAckDelay is TLP.max_ack_delay (RFC 8985, Section 7.2): how long the peer
// may keep the acknowledgment of a lone segment.
const maxAckDelay = 200 * time.Millisecond

// tlp is the state of the tail loss probe (RFC 8985, Section 7).
type tlp struct {
	pending bool       // the probe is to leave
	out     bool       // TLP.end_seq is not None
	resent  bool       // TLP.is_retrans
	end     seq.Offset // TLP.end_seq
	at      mono.Time  // when the timer last fired
	sampled bool       // an RTT was measured since the last probe
}

// reset is TLP_init: at the start of each recovery.
func (p *tlp) reset() { p.pending, p.out, p.resent = false, false, false }

// tlpDeadline returns when a probe is due: TLP_calc_PTO, counted from the last
// new data or the last progress, but not after the retransmission timeout.
//
// There is none while anything is known to be lost or held beyond a hole: the
// reordering timer and the retransmissions see to that.
func (s *Subflow) tlpDeadline() mono.Time {
	p := &s.tlp
	if !s.rcv.sackOK || !s.state.sends() || p.pending || p.out || !p.sampled || //spec:T54 off: if !s.rcv.sackOK || !s.state.sends() || p.pending || p.out ||
		s.rec.mode != open || s.snd.sacked > 0 || s.snd.pipe == 0 {
		return mono.Never
	}
	pto := time.Second
	if s.rtt.srtt > 0 {
		pto = 2 * s.rtt.srtt //spec:T54 off: pto = s.rtt.srtt
		if s.snd.pipe <= s.MSS() {
			pto += maxAckDelay //spec:T54 off:
		}
	}
	return s.progressAt.Latest(s.newDataAt).Add(pto).Earliest(s.rtoDeadline())
}

// tlpSent notes that the probe has left; again says that it repeats data.
func (s *Subflow) tlpSent(again bool) {
	s.tlp = tlp{out: true, resent: again, end: s.snd.nxt, at: s.tlp.at}
	s.info.TLPs++
	s.lane.probed(s.snd.nxt, again)
}

// tlpOnAck is TLP_process_ack (RFC 8985, Section 7.4.2).
func (s *Subflow) tlpOnAck(now mono.Time, st *ackState, duplicate bool) {
	p := &s.tlp
	if st.advanced {
		p.pending = false
	}
	if !p.out || before(st.ack, p.end) {
		return
	}
	switch {
	case !p.resent:
		// The probe was new data, and it arrived.
	case st.hasDSACK && st.dsack.To == p.end: //spec:T55 off: case false:
		// Case 1: the original arrived as well.
	case after(st.ack, p.end):
		// The probe repaired the loss of the segment that it repeated: that
		// loss counts as any other.
		s.tellLoss(now, cc.LossDetected, s.MSS(), st.flight) //spec:T55 off: _ = cc.LossDetected
	case duplicate && !st.sacks: //spec:T55 off: case false:
		// Case 2: two acknowledgments of the same, so both arrived.
	default:
		return
	}
	p.reset()
}
