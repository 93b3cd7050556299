package subflow

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
)

const (
	initialRTO = time.Second // RFC 6298, Section 2.1
	// synLostRTO replaces the initial one if the SYN had to be sent again and
	// gave no sample (RFC 6298, Section 5.7).
	synLostRTO = 3 * time.Second
	// granularity is G of RFC 6298: the timestamp clock, the coarsest in use.
	granularity = time.Millisecond
	// minRTTWindow is how long a minimum is believed, at least.
	minRTTWindow = time.Minute
)

// rtt estimates the round-trip time and the timeout that follows from it
// (RFC 6298).
type rtt struct {
	srtt, rttvar time.Duration // 0 before the first sample
	latest       time.Duration
	rto          time.Duration // before back-off
	floor, ceil  time.Duration
	backoff      int // expiries without a sample since
	samples      uint64

	// The minimum over the last one to two windows.
	min, prevMin time.Duration
	minSince     mono.Time
}

func newRTT(floor, ceil time.Duration) rtt {
	return rtt{rto: initialRTO, floor: floor, ceil: ceil}
}

// sample takes one measurement that arrived at at. A new measurement ends the
// back-off (RFC 6298, Section 5, last paragraph).
func (r *rtt) sample(d time.Duration, at mono.Time) {
	d = max(d, 1)
	r.latest = d
	r.samples++
	r.backoff = 0
	r.noteMin(d, at)
	if r.srtt == 0 {
		// "When the first RTT measurement R is made": Section 2.2.
		r.srtt, r.rttvar = d, d/2 //spec:T50 off: r.srtt, r.rttvar = d, d
	} else {
		// Section 2.3, with alpha = 1/8 and beta = 1/4.
		diff := r.srtt - d
		if diff < 0 {
			diff = -diff
		}
		r.rttvar += (diff - r.rttvar) / 4 //spec:T50 off: r.rttvar += (diff - r.rttvar) / 8
		r.srtt += (d - r.srtt) / 8        //spec:T50 off: r.srtt += (d - r.srtt) / 4
		r.srtt = max(r.srtt, 1)
	}
	// RTTVAR all but vanishes on a path whose queue is steady, which says nothing
	// of the next change: so the timer leaves a round trip beside SRTT, up to the
	// floor. (It is less than the one second of Section 2.4 asks for, and lets the
	// tail loss probe, after two round trips, come first.)
	r.rto = r.srtt + max(granularity, 4*r.rttvar, min(r.floor, r.srtt)) //spec:T50 off: r.rto = r.srtt + 4*r.rttvar
}

func (r *rtt) noteMin(d time.Duration, at mono.Time) {
	if r.min == 0 || at.Sub(r.minSince) > minRTTWindow {
		r.prevMin, r.min, r.minSince = r.min, d, at
		return
	}
	r.min = min(r.min, d)
}

// minimum returns the smallest recent sample, 0 before the first.
func (r *rtt) minimum() time.Duration {
	if r.prevMin == 0 {
		return r.min
	}
	return min(r.min, r.prevMin)
}

// timeout returns the RTO, bounds and back-off included.
func (r *rtt) timeout() time.Duration { return r.backedOff(r.backoff) }

// backedOff returns the RTO doubled n times, up to the ceiling
// (RFC 6298, Sections 2.4, 2.5 and 5.5).
func (r *rtt) backedOff(n int) time.Duration {
	d := max(r.rto, r.floor) //spec:T50 off: d := r.rto
	for ; n > 0 && d < r.ceil; n-- {
		d *= 2 //spec:T51 off: d += r.floor
	}
	return min(d, r.ceil) //spec:T50 off: return d
}
