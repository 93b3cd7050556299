package subflow

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
)

// reoPersist is for how many recoveries a widened reordering window is kept.
const reoPersist = 16

// reorderSlack is what the reordering timer leaves to the next acknowledgment. One
// that comes just then has made room in the queue that was full, where a timer's
// retransmission would be lost once more.
const reorderSlack = 2 * time.Millisecond

// rack is the state of RACK (RFC 8985, Section 6): of all segments that were
// delivered, the one that was sent last tells which others are overdue.
type rack struct {
	sent mono.Time     // RACK.xmit_ts
	end  seq.Offset    // RACK.end_seq; 0 before anything was delivered
	rtt  time.Duration // RACK.rtt
	fack seq.Offset    // highest octet delivered

	reordering bool // RACK.reordering_seen
	mult       int  // RACK.reo_wnd_mult
	persist    int  // RACK.reo_wnd_persist
	round      seq.Offset
	inRound    bool // RACK.dsack_round is not None

	// deadline is when the last segment that is suspected now is overdue; it
	// is derived from the records whenever an ACK or timeout changes them.
	deadline mono.Time
}

func newRACK() rack { return rack{mult: 1, deadline: mono.Never} }

// sentAfter is RACK_sent_after.
func sentAfter(t1 mono.Time, end1 seq.Offset, t2 mono.Time, end2 seq.Offset) bool {
	return t1 > t2 || t1 == t2 && after(end1, end2)
}

// deliver is steps 2 and 3 for the part of r before end (RFC 8985, Section 6.2).
func (k *rack) deliver(r *record, end seq.Offset, st *ackState, ts *timestamps, minRTT time.Duration) {
	// RACK_detect_reordering: a segment that was sent once, below the highest
	// one delivered before this acknowledgment, was overtaken. (SACK blocks come
	// newest first, so order within one acknowledgment means nothing.)
	k.fack = later(k.fack, end)
	if before(end, st.fack) && r.tries == 0 { //spec:T52 off: if false {
		k.reordering = true
	}
	rtt := st.at.Sub(r.sent)
	if r.tries > 0 {
		// The acknowledgment is of an earlier transmission.
		if st.hasECR && int32(st.ecr-ts.clock(r.sent)) < 0 || rtt < minRTT {
			return
		}
	}
	if k.end == 0 || sentAfter(r.sent, end, k.sent, k.end) {
		k.sent, k.end, k.rtt = r.sent, end, rtt
	}
}

// adapt widens the reordering window in a round trip that had a D-SACK, and
// takes that back after some recoveries without (RACK_update_reo_wnd).
func (k *rack) adapt(st *ackState, una, nxt seq.Offset, exit bool) {
	if k.inRound && !before(una, k.round) {
		k.inRound = false
	}
	switch {
	case !k.inRound && st.hasDSACK:
		k.inRound, k.round = true, nxt
		k.mult++ //spec:T52 off:
		k.persist = reoPersist
	case exit:
		if k.persist--; k.persist <= 0 { //spec:T52 off: if false {
			k.persist, k.mult = 0, 1
		}
	}
}

// window is the rest of RACK_update_reo_wnd: how much later than expected a
// segment may come without being taken for lost.
func (k *rack) window(r *rtt, recovering bool, sackedSegs int) time.Duration {
	if !k.reordering && (recovering || sackedSegs >= dupThresh) { //spec:T52 off: if false {
		return 0
	}
	return min(time.Duration(k.mult)*r.minimum()/4, r.srtt) //spec:T52 off: return 0
}

// detect is RACK_detect_loss at t: it marks what is overdue and computes when
// the rest of the suspects will be. It returns how many octets it marked.
//
// t is the arrival time of the acknowledgment: those that wait to be processed
// must not make segments overdue that they acknowledge.
func (s *Subflow) detect(t mono.Time) (lost int) {
	k := &s.rack
	k.deadline = mono.Never
	if k.end == 0 {
		return 0
	}
	grace := k.rtt + k.window(&s.rtt, s.rec.mode != open, s.snd.sackedSegs)
	var last mono.Time
	waits := false
	recs := s.snd.recs.live()
	for i := range recs {
		r := &recs[i]
		if !sentAfter(k.sent, k.end, r.sent, r.end()) {
			if r.tries == 0 {
				break // what follows left later still
			}
			continue
		}
		if r.has(recSacked | recLost) {
			continue
		}
		if due := r.sent.Add(grace); due <= t { //spec:T52 off: if due := r.sent.Add(grace); true {
			lost += s.foundLost(t, r)
		} else {
			last, waits = last.Latest(due), true
		}
	}
	if waits {
		k.deadline = last
	}
	return lost
}

// reorderDeadline is when RACK's reordering timer fires: a little after the time
// that is up, when it finds nothing that an acknowledgment has not told before.
func (s *Subflow) reorderDeadline() mono.Time {
	if s.snd.pipe == 0 {
		return mono.Never
	}
	return s.rack.deadline.Add(reorderSlack)
}

func (s *Subflow) onReorderTimeout(now mono.Time) {
	n := s.detect(now)
	s.lossFound(now, n, 0)
	if s.rec.mode == fast {
		s.rec.proportion(0, s.inFlight(), s.ctrl.Window(), s.MSS(), false)
	}
}
