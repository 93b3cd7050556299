package cc

// Reno is the congestion control of RFC 5681 with appropriate byte counting
// (RFC 3465). The zero value is not usable: see NewReno.
type Reno struct {
	mss  int
	now  renoState
	undo renoState // before the last reduction
	episode
}

// renoState is what a reduction changes and an undo restores.
type renoState struct {
	cwnd     int
	ssthresh int
	acked    int // octets acknowledged in congestion avoidance and not yet used
}

// NewReno returns a Reno controller for a subflow with segments of mss octets.
// It is a Factory; the group is not used, Reno is not coupled.
func NewReno(_ *Group, mss int) Controller {
	mss = clampMSS(mss)
	return &Reno{mss: mss, now: renoState{cwnd: initialSegments * mss, ssthresh: maxWindow}}
}

// OnAck grows the window.
func (r *Reno) OnAck(a Ack) {
	n := r.acked(a, r.now.cwnd)
	if n == 0 {
		return
	}
	if r.now.cwnd < r.now.ssthresh {
		n = r.slowStart(n)
	}
	r.avoid(n)
}

// slowStart takes n acknowledged octets and returns those left once the
// threshold is reached. The limit L of RFC 3465, Section 2.2, is not applied:
// one acknowledgment covers a whole train, and the subflow paces what leaves.
func (r *Reno) slowStart(n int) (left int) {
	grow := min(n, r.now.ssthresh-r.now.cwnd)
	r.now.cwnd += grow
	return n - grow
}

// avoid grows the window by one segment for each window acknowledged
// (RFC 5681, Section 3.1, and RFC 3465, Section 2.1).
func (r *Reno) avoid(n int) {
	r.now.acked += n
	for r.now.acked >= r.now.cwnd {
		r.now.acked -= r.now.cwnd
		r.now.cwnd = min(r.now.cwnd+r.mss, maxWindow)
	}
}

// OnLoss shrinks the window, or undoes the last time it did.
func (r *Reno) OnLoss(l Loss) {
	switch l.Cause {
	case Spurious:
		r.restore()
	case Timeout:
		// A timer that fires again for the same data says nothing new:
		// ssthresh is held (RFC 5681, Section 3.1).
		if !r.timedOut { //spec:T58 off: if true {
			r.reduce(l)
		}
		r.now.cwnd = r.mss //spec:T58 off:
		r.timedOut, r.repair = true, true
	default:
		r.reduce(l)
		r.now.cwnd = r.now.ssthresh
		r.repair = false
	}
}

// reduce sets the threshold to half of the flight, at least two segments
// (RFC 5681, Section 3.1, equation 4).
func (r *Reno) reduce(l Loss) {
	r.undo = r.now
	r.now.ssthresh = max(flight(l, r.now.cwnd)/2, 2*r.mss) //spec:T58 off: r.now.ssthresh = max(r.now.cwnd/2, 2*r.mss)
	r.now.acked = 0
}

// restore undoes the last reduction, unless there was none or the window has
// outgrown it.
func (r *Reno) restore() {
	if r.now.cwnd >= r.undo.cwnd {
		return
	}
	r.timedOut, r.repair = false, false
	r.now = r.undo
}

// Window is the congestion window in octets.
func (r *Reno) Window() int { return r.now.cwnd }

// SlowStart implements SlowStarter.
func (r *Reno) SlowStart() bool { return r.now.cwnd < r.now.ssthresh }

// PacingRate is 0: the subflow paces by its window and round-trip time.
func (r *Reno) PacingRate() uint64 { return 0 }
