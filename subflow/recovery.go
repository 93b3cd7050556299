package subflow

import (
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/subflow/cc"
)

// dupThresh is DupThresh of RFC 5681 and RFC 8985.
const dupThresh = 3

// recMode is what repairs losses now.
type recMode uint8

const (
	open   recMode = iota // nothing is known to be lost
	fast                  // fast recovery (RFC 5681, RFC 9937)
	repair                // after a timeout: slow start over what is lost
)

// recovery is one episode of repair, and what must be known to undo it.
type recovery struct {
	mode     recMode
	point    seq.Offset // the episode ends when all before it is acknowledged
	force    bool       // the first retransmission is due, whatever the window
	timedOut bool       // the controller was told of a timeout, and nothing was acknowledged since

	dupacks int // consecutive duplicate ACKs, of peers without SACK
	renoOut int // octets those say have left the network

	// Proportional rate reduction (RFC 9937): since the episode began.
	delivered, out, flight int
	cwnd                   int

	// For undoing: what was sent again since the episode began and is not
	// known to have been needless; 0 after it was something means all was.
	undoable bool
	resent   int
	resentAt mono.Time // of the first retransmission
	clean    bool      // a timeout began the episode, and no other was under way
	hasFirst bool
	late     bool // resent was reduced for an original that came late: its D-SACK is to come
}

// begin starts an episode. flight is what is outstanding.
func (r *recovery) begin(mode recMode, point seq.Offset, flight int) {
	*r = recovery{
		mode: mode, point: point, force: true, timedOut: r.timedOut,
		flight: max(flight, 1), undoable: true,
	}
}

// leave ends the episode; it can still be found to have been needless.
func (r *recovery) leave() {
	r.mode = open
	r.force = false
	r.dupacks, r.renoOut = 0, 0
}

// proportion sets the window of RFC 9937 after an acknowledgment of n octets.
// Below the threshold as much may leave as arrives (the conservative reduction
// bound), and a segment more if the acknowledgment is safe: SND.UNA advanced, and
// no other loss showed. While losses are still being found, growing would lose
// retransmissions.
func (r *recovery) proportion(n, pipe, ssthresh, mss int, safe bool) {
	r.delivered += n
	var snd int
	if pipe > ssthresh { //spec:T60 off: if false {
		snd = (r.delivered*ssthresh+r.flight-1)/r.flight - r.out
	} else {
		limit := max(r.delivered-r.out, n) //spec:T60 off: limit := ssthresh
		if safe {
			limit += mss
		}
		snd = min(ssthresh-pipe, limit)
	}
	r.cwnd = pipe + max(snd, 0)
}

// sentAgain notes a retransmission of n octets at now.
func (r *recovery) sentAgain(now mono.Time, n int) {
	r.force = false
	r.resent += n
	if !r.hasFirst {
		r.hasFirst, r.resentAt = true, now
	}
}

// lossFound reacts to n octets newly marked lost: once an episode. delivered is how
// many octets the present acknowledgment delivered: what was held beyond the hole
// before it has no part in the reduction (RFC 9937's RecoverFS).
func (s *Subflow) lossFound(now mono.Time, n, delivered int) {
	if n == 0 || s.rec.mode != open {
		return
	}
	s.rec.begin(fast, s.snd.nxt, s.snd.flightSize()-s.snd.sacked+delivered)
	s.tlp.reset()
	s.tellLoss(now, cc.LossDetected, n, s.snd.flightSize())
	s.rec.cwnd = s.inFlight()
}

// tellLoss tells the controller, and forgets the allowances of a new start. The
// reduction is measured by the FlightSize of RFC 5681, which counts what the peer
// holds beyond a hole: one ACK may report a whole window as held.
func (s *Subflow) tellLoss(now mono.Time, cause cc.Cause, n, flight int) {
	s.pace.floor, s.pace.restart, s.pace.lossy = 0, 0, true
	s.ecnReduced()
	s.ctrl.OnLoss(cc.Loss{
		Now: now, Cause: cause, Bytes: n, InFlight: flight,
		Delivered: s.rate.delivered, Pipe: s.inFlight(),
	})
}

// markLost marks a record lost, clearing flags of it, and tells a controller
// that keeps a model of the path.
func (s *Subflow) markLost(now mono.Time, r *record, clear recordFlags) {
	s.snd.flag(r, recLost, clear)
	s.rate.lost += uint64(r.len)
	adjoins := r.off == s.rate.lostEnd
	s.rate.lostEnd = r.end()
	if s.model != nil {
		s.model.OnLost(cc.Lost{
			Now: now, Bytes: int(r.len), Sent: s.rate.sent(r.snap, r.has(recLimited)),
			Delivered: s.rate.delivered, Adjoins: adjoins,
		})
	}
}

// undoOnAck undoes an episode that turns out to have been for nothing.
//
// Nothing that was taken for lost was sent again, and all of it arrived: it was
// only late.
// Eifel (RFC 3522): the first new acknowledgment after a timeout, or the one that
// fills the first hole in fast recovery, echoes a timestamp from before the
// retransmission, so it answers the original.
// D-SACK (RFC 3708): the peer had everything that was sent again. And as F-RTO
// (RFC 5682, Section 3.1, step 3b): what was acknowledged for the first time was
// never sent again, so "the segment acknowledged with this ACK was transmitted
// before the timeout". If something that was sent again is acknowledged with it,
// there is no telling: that may have filled the hole before originals that the
// peer held all along. With SACK, too: its blocks are few, and ACKs get lost, or
// are left out by receivers that compress them.
func (s *Subflow) undoOnAck(now mono.Time, st *ackState) {
	r := &s.rec
	if !r.undoable {
		return
	}
	if r.mode == fast && s.lateNotLost(st) {
		s.undo(now) //spec:T59 off:
		return
	}
	if !r.hasFirst {
		return
	}
	if st.hasDSACK && !r.late && r.resent > 0 {
		if r.resent -= st.dsack.Len(); r.resent <= 0 {
			s.undo(now) //spec:T59 off:
			return
		}
	}
	if r.mode == repair && r.clean && st.original > 0 && !st.resent {
		// What was sent again has not arrived, so it says nothing of the rest.
		s.rack.sent, s.rack.end, s.rack.rtt = st.unresentAt, st.original, st.at.Sub(st.unresentAt)
		s.undo(now) //spec:T59 off:
		return
	}
	if r.mode == repair && st.advanced && st.hasECR {
		if int32(st.ecr-s.ts.clock(r.resentAt)) < 0 {
			s.undo(now) //spec:T59 off:
		}
	}
}

// lateNotLost reports whether, in fast recovery, the originals of all that was sent
// again have arrived. It is proven hole by hole, so a loss among them is not undone.
func (s *Subflow) lateNotLost(st *ackState) bool {
	r := &s.rec
	if !r.hasFirst {
		return s.snd.lost == 0
	}
	if !st.advanced || !st.hasECR || st.head.tries != 1 || st.head.sent < r.resentAt ||
		int32(st.ecr-s.ts.clock(st.head.sent)) >= 0 {
		return false
	}
	s.rack.reordering = true // as RACK_detect_reordering has it: the original came late
	r.late = true
	r.resent -= min(int(st.head.len), dist(st.ack, st.head.off))
	return r.resent <= 0
}

// undo returns to where the episode began.
func (s *Subflow) undo(now mono.Time) {
	s.rec.undoable = false
	s.rec.leave()
	s.info.Spurious++
	for i := range s.snd.recs.live() {
		if r := &s.snd.recs.live()[i]; r.has(recLost) {
			s.snd.flag(r, 0, recLost) // it is still on its way
		}
	}
	s.ctrl.OnLoss(cc.Loss{
		Now: now, Cause: cc.Spurious, InFlight: s.inFlight(),
		Delivered: s.rate.delivered, Pipe: s.inFlight(),
	})
}

// renoOnAck is loss detection for peers without SACK: NewReno (RFC 6582). It
// returns how many octets the acknowledgment says have left the network beyond
// what it acknowledges.
func (s *Subflow) renoOnAck(now mono.Time, st *ackState, duplicate bool) (out int) {
	r := &s.rec
	mss := s.MSS()
	switch {
	case st.advanced:
		r.dupacks = 0
		r.renoOut = max(0, r.renoOut-max(0, st.acked-mss))
		// "If this ACK does not acknowledge all of the data up to and
		// including recover, then this is a partial ACK. In this case,
		// retransmit the first unacknowledged segment": Section 3.2, step 3.
		if r.mode == fast {
			s.loseHead(now, mss) //spec:T57 off:
			r.force = true
		}
	case duplicate && r.mode != repair:
		r.dupacks++
		out = min(mss, max(0, s.snd.pipe-r.renoOut-mss))
		r.renoOut += out
		if r.mode == open && r.dupacks == dupThresh { //spec:T57 off: if r.mode == open && r.dupacks == 1 {
			left := r.renoOut
			s.lossFound(now, s.loseHead(now, mss), 0)
			s.rec.renoOut = min(left, s.snd.pipe)
		}
	}
	return out
}

// loseHead marks the first outstanding segment lost.
func (s *Subflow) loseHead(now mono.Time, mss int) int {
	d := &s.snd
	if d.recs.len() == 0 || d.recs.live()[0].has(recLost) {
		return 0
	}
	if r := d.recs.live()[0]; int(r.len) > mss {
		d.split(0, r.off+seq.Offset(mss))
	}
	r := &d.recs.live()[0]
	s.markLost(now, r, recSacked)
	return int(r.len)
}

// resume is for the end of a silence of our own making: nothing that was in
// flight is believed to be, and the congestion window starts at its initial
// value at least.
func (s *Subflow) resume() {
	d := &s.snd
	if d.recs.len() == 0 {
		return
	}
	for i := range d.recs.live() {
		if r := &d.recs.live()[i]; !r.has(recSacked | recLost) {
			d.flag(r, recLost, 0)
		}
	}
	if d.lost == 0 {
		d.flag(&d.recs.live()[0], recLost, recSacked)
	}
	s.tlp.reset()
	s.rack.deadline = mono.Never
	s.rec.begin(repair, d.nxt, d.pipe)
	s.rec.undoable = false
	s.pace.floor = s.initialWindow()
}

// inFlight returns the octets believed to be in the network.
func (s *Subflow) inFlight() int { return max(0, s.snd.pipe-s.rec.renoOut) }
