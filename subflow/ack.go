package subflow

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
)

const (
	// quickSegments are acknowledged one by one at the start of a connection,
	// so that delayed ACKs do not slow down the peer's slow start.
	quickSegments = 16
	// leastRcvMSS is the size of a full segment before one has been seen.
	leastRcvMSS = 536
	// challengeBudget is how many answers to segments that fail the checks may
	// leave in a second (RFC 5961, Section 7); each connection has its own, so
	// that nobody learns from one about another.
	challengeBudget = 10
)

// acks decides when to acknowledge (RFC 5681, Section 4.2; RFC 1122,
// Section 4.2.3.2).
type acks struct {
	ackNow   bool       // an ACK leaves with the next poll
	ackSoon  bool       // likewise, but for nothing that could not wait for a moment
	deferred bool       // it does, for whoever is about to read
	first    int        // pure ACKs that leave before any data
	unacked  int        // octets received in order since the last ACK
	lastAck  seq.Offset // Last.ACK.sent
	rcvMSS   int        // the peer's full segment, as far as seen
	quick    int        // segments still to be acknowledged at once
	budgetAt mono.Time  // start of the running second
	spent    int        // of challengeBudget in it
}

// ackInOrder notes n octets that arrived in order. holes says that there were
// holes, so that this one filled (part of) one.
func (s *Subflow) ackInOrder(now mono.Time, n int, holes bool) {
	a := &s.rcv.acks
	if n <= s.advertisedMSS() {
		a.rcvMSS = max(a.rcvMSS, n)
	}
	a.unacked += n
	segs := (n + a.rcvMSS - 1) / a.rcvMSS
	quick := a.quick > 0
	a.quick = max(0, a.quick-segs)
	// "A TCP receiver SHOULD send an immediate ACK when the incoming segment
	// fills in all or part of a gap"; and an ACK for at least every second
	// full-sized segment: RFC 5681, Section 4.2. A train counts as many.
	if holes || quick {
		a.ackNow = true
		return
	}
	if a.unacked >= 2*a.rcvMSS { //spec:T70 off: if false {
		a.ackSoon = true
		return
	}
	if !s.timers.Armed(timerDelack) {
		s.timers.Set(timerDelack, now.Add(s.cfg.AckDelay)) //spec:T70 off: s.timers.Set(timerDelack, now.Add(time.Second))
	}
}

// ackSent notes that a segment with ACK leaves.
func (s *Subflow) ackSent() {
	a := &s.rcv.acks
	a.ackNow, a.ackSoon, a.deferred = false, false, false
	a.unacked, a.lastAck = 0, s.rcv.nxt
	s.timers.Stop(timerDelack)
}

// deferBound is how long an ACK waits for a reader: as little as can be waited for.
const deferBound = time.Millisecond

// DeferAck has an ACK that is due only for data that arrived in order wait for
// SendDeferred, a millisecond at most: it then tells of the room that a reader has
// made, too, which would be another ACK soon after.
func (s *Subflow) DeferAck(now mono.Time) {
	a := &s.rcv.acks
	if !a.ackSoon || a.ackNow {
		return
	}
	a.ackSoon = false
	if !a.deferred {
		a.deferred = true
		s.timers.Set(timerDelack, now.Add(deferBound))
	}
}

// SendDeferred has an ACK leave that DeferAck holds back, and reports whether there
// is one.
func (s *Subflow) SendDeferred() bool {
	a := &s.rcv.acks
	a.ackSoon = a.ackSoon || a.deferred
	return a.deferred && !s.muted && s.state.synchronized()
}

// challenge asks for an ACK in answer to a segment that failed a check, within
// the budget.
func (s *Subflow) challenge(now mono.Time) {
	a := &s.rcv.acks
	if now.Sub(a.budgetAt) >= time.Second {
		a.budgetAt, a.spent = now, 0
	}
	if a.spent < challengeBudget { //spec:T12 off: if true {
		a.spent++
		a.ackNow = true
		s.info.DupAcksSent++
	}
}

// SendAcksFirst makes the next PollTransmit emit at least n pure ACKs before any
// data, for a peer that must not see data without having seen one of them.
func (s *Subflow) SendAcksFirst(n int) { s.rcv.first = max(s.rcv.first, n) }

// SendAck makes the next PollTransmit emit a pure ACK at least, if no data
// goes out first.
func (s *Subflow) SendAck() {
	if s.state.synchronized() {
		s.rcv.ackNow = true
	}
}
