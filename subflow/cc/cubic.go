package cc

import "math"

// Constants of RFC 9438, Sections 4.6, 4.3 and 5.1.
const (
	cubicBeta  = 0.7
	cubicAlpha = 3 * (1 - cubicBeta) / (1 + cubicBeta)
	cubicC     = 0.4 // segments per second cubed
)

// CUBIC is the congestion control of RFC 9438 with HyStart++ (RFC 9406) in the
// first slow start. The zero value is not usable: see NewCUBIC.
//
// The new threshold comes from the window, not from the octets in flight: a
// connection that writes little keeps the window it had earned. That needs a
// window that grows only while it is filled (RFC 9438, Section 4.6), which
// episode.acked sees to.
type CUBIC struct {
	mss  int
	now  cubicState
	undo cubicState // before the last reduction
	at   Time       // when that was
	episode
}

// cubicState is what a reduction changes and an undo restores. Windows are in
// segments and times in seconds, as in the RFC, unless they say otherwise.
type cubicState struct {
	cwnd     int // octets
	ssthresh int // octets
	part     float64
	wMax     float64
	prior    float64 // cwnd_prior
	wEst     float64
	k        float64
	running  bool // a congestion avoidance stage has begun
	flat     bool // the next one has K = 0 and W_max = cwnd: no loss has set W_max
	epoch    Time // t_epoch, moved on while the window is not filled
	last     Time // the last acknowledgment of the stage
	hystart  hystart
}

// NewCUBIC returns a CUBIC controller for a subflow with segments of mss
// octets. It is a Factory; the group is not used, CUBIC is not coupled.
func NewCUBIC(_ *Group, mss int) Controller {
	mss = clampMSS(mss)
	return &CUBIC{mss: mss, now: cubicState{
		cwnd:     initialSegments * mss,
		ssthresh: maxWindow,
		flat:     true,
	}}
}

// OnAck grows the window.
func (c *CUBIC) OnAck(a Ack) {
	n := c.acked(a, c.now.cwnd)
	if c.now.cwnd < c.now.ssthresh {
		n = c.slowStart(a, n)
	}
	if c.now.cwnd < c.now.ssthresh || a.Bytes <= 0 {
		return
	}
	c.tick(a)
	if n > 0 {
		c.avoid(a, float64(n)/float64(c.mss))
	}
}

// slowStart takes n acknowledged octets and returns those left once slow
// start is over.
func (c *CUBIC) slowStart(a Ack, n int) (left int) {
	s := &c.now
	// HyStart++ is for the first slow start, whose threshold is arbitrary
	// (RFC 9406, Section 4.3); later ones have one that a loss has set.
	first := s.ssthresh == maxWindow
	if first && a.Bytes > 0 && s.hystart.sample(a) {
		s.ssthresh = s.cwnd
		return n
	}
	if first {
		s.cwnd = min(s.cwnd+s.hystart.growth(n), maxWindow)
		return 0
	}
	grow := min(n, s.ssthresh-s.cwnd)
	s.cwnd += grow
	return n - grow
}

// tick begins a congestion avoidance stage, or keeps its clock.
//
// The elapsed time must not include periods in which the window was not
// updated because the application had nothing to send (RFC 9438, Section 4.2):
// a gap longer than a round trip between two acknowledgments, or the time that
// an acknowledgment of an unfilled window stands for, moves the epoch on.
func (c *CUBIC) tick(a Ack) {
	s := &c.now
	if !s.running {
		c.beginStage(a.Now)
		return
	}
	gap := max(a.Now.Sub(s.last), 0)
	s.last = s.last.Latest(a.Now)
	switch {
	case a.AppLimited || 2*max(a.InFlight, 0) < s.cwnd:
		s.epoch = s.epoch.Add(gap)
	case a.SRTT > 0 && gap > a.SRTT:
		s.epoch = s.epoch.Add(gap - a.SRTT)
	}
}

// beginStage starts congestion avoidance at the present window (RFC 9438,
// Sections 4.2, 4.8 and 4.10).
func (c *CUBIC) beginStage(now Time) {
	s := &c.now
	w := c.window()
	if s.flat {
		s.wMax, s.flat = w, false
	}
	s.k = 0
	if s.wMax > w {
		s.k = math.Cbrt((s.wMax - w) / cubicC) //spec:T80 off: s.k = 1
	}
	s.wEst = w
	s.running, s.epoch, s.last = true, now, now
}

// avoid grows the window for acked segments (RFC 9438, Sections 4.2 to 4.5).
func (c *CUBIC) avoid(a Ack, acked float64) {
	s := &c.now
	cwnd := c.window()
	t := a.Now.Sub(s.epoch).Seconds()
	c.estimate(acked / cwnd)
	if c.curve(t) < s.wEst { //spec:T80 off: if false {
		// Reno-friendly region. W_est may be behind a window that grew on the
		// curve; a window never shrinks on an acknowledgment.
		c.setWindow(max(cwnd, s.wEst))
		return
	}
	rtt := max(a.SRTT, 0)
	target := min(max(c.curve(t+rtt.Seconds()), cwnd), 1.5*cwnd) //spec:T80 off: target := max(c.curve(t+rtt.Seconds()), cwnd)
	c.setWindow(cwnd + (target-cwnd)*acked/cwnd)
}

// estimate advances W_est by a fraction of a window (RFC 9438, Section 4.3).
func (c *CUBIC) estimate(windows float64) {
	s := &c.now
	alpha := cubicAlpha
	if s.wEst >= s.prior { //spec:T80 off: if false {
		alpha = 1
	}
	s.wEst = min(s.wEst+alpha*windows, float64(maxWindow)/float64(c.mss))
}

// curve is W_cubic(t) of RFC 9438, Section 4.2.
func (c *CUBIC) curve(t float64) float64 {
	d := t - c.now.k
	return cubicC*d*d*d + c.now.wMax
}

// window is the window in segments; part keeps the fraction of an octet that
// the window in octets cannot hold.
func (c *CUBIC) window() float64 { return (float64(c.now.cwnd) + c.now.part) / float64(c.mss) }

func (c *CUBIC) setWindow(segments float64) {
	octets := min(segments*float64(c.mss), maxWindow)
	whole := math.Floor(octets)
	c.now.cwnd, c.now.part = int(whole), octets-whole
}

// OnLoss shrinks the window, or undoes the last time it did.
func (c *CUBIC) OnLoss(l Loss) {
	switch l.Cause {
	case Spurious:
		c.restore(l.Now)
	case Timeout:
		// A timer that fires again for the same data says nothing new:
		// ssthresh is held (RFC 5681, Section 3.1).
		if !c.timedOut {
			c.reduce(l.Now)
		}
		c.now.cwnd = c.mss
		c.now.flat = true // RFC 9438, Section 4.8
		c.timedOut, c.repair = true, true
	case ECN:
		// At least one segment; ssthresh at least two (RFC 9438, Section 4.6).
		c.now.cwnd = max(c.reduce(l.Now), c.mss)
		c.repair = false
	default:
		c.now.cwnd = max(c.reduce(l.Now), 2*c.mss)
		c.repair = false
	}
}

// reduce remembers the state, sets W_max and the threshold (RFC 9438, Sections
// 4.6 and 4.7), and returns the reduced window before its lower bound.
func (c *CUBIC) reduce(now Time) (octets int) {
	c.undo, c.at = c.now, now
	s := &c.now
	w := c.window()
	s.prior = w
	if w < s.wMax {
		// Fast convergence: the saturation point went down, leave room for
		// whoever took the rest.
		s.wMax = w * (1 + cubicBeta) / 2 //spec:T80 off: s.wMax = w
	} else {
		s.wMax = w
	}
	octets = int(float64(s.cwnd) * cubicBeta) //spec:T80 off: octets = int(float64(s.cwnd) * 0.5)
	s.ssthresh = max(octets, 2*c.mss)
	s.part, s.running, s.flat = 0, false, false
	return octets
}

// restore undoes the last reduction, unless there was none or the window has
// outgrown it (RFC 9438, Section 4.9.2). The time spent reduced is no part of
// the stage.
func (c *CUBIC) restore(now Time) {
	if c.now.cwnd >= c.undo.cwnd {
		return
	}
	c.timedOut, c.repair = false, false
	c.now = c.undo
	if away := now.Sub(c.at); away > 0 && c.now.running {
		c.now.epoch = c.now.epoch.Add(away)
		c.now.last = c.now.last.Add(away)
	}
}

// Window is the congestion window in octets.
func (c *CUBIC) Window() int { return c.now.cwnd }

// SlowStart implements SlowStarter.
func (c *CUBIC) SlowStart() bool { return c.now.cwnd < c.now.ssthresh }

// PacingRate is 0: the subflow paces by its window and round-trip time.
func (c *CUBIC) PacingRate() uint64 { return 0 }
