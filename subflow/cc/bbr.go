package cc

import (
	"math"
	"time"
)

// Constants of the draft, Section 2.
const (
	bbrPacingMargin  = 0.99 // 1 - PacingMarginPercent
	bbrLossThresh    = 0.02
	bbrBeta          = 0.7
	bbrHeadroom      = 0.15
	bbrMinPipe       = 4 // segments: MinPipeCwnd
	bbrFullBwGrowth  = 1.25
	bbrFullBwRounds  = 3
	bbrFullLossCount = 6 // StartupFullLossCnt
	bbrDrainRounds   = 3
	bbrRenoRounds    = 63 // T_reno_bound

	bbrMinRTTFilter     = 10 * time.Second
	bbrProbeRTTInterval = 5 * time.Second
	bbrProbeRTTDuration = 200 * time.Millisecond
	bbrProbeWait        = 2 * time.Second // and up to as much again as:
	bbrProbeWaitRandom  = time.Second

	bbrMaxQuantum = 64 << 10
	bbrOffload    = 3 // quanta
)

const (
	// maxRate bounds rates, so that no product of them overflows: more than
	// eight terabits a second.
	maxRate = 1 << 40
	// noBound is the Infinity of a volume in the draft.
	noBound = math.MaxInt
	// noRate is the Infinity of a rate.
	noRate = math.MaxUint64
)

// bbrState is a state of the draft, Section 5.1.
type bbrState uint8

const (
	bbrStartup bbrState = iota
	bbrDrain
	bbrDown
	bbrCruise
	bbrRefill
	bbrUp
	bbrProbeRTT
)

// bbrGains is the table of the draft, Section 5.6.1.
var bbrGains = [...]struct{ pacing, cwnd float64 }{
	bbrStartup:  {4 * math.Ln2, 2},
	bbrDrain:    {0.5, 2},
	bbrDown:     {0.9, 2},
	bbrCruise:   {1, 2},
	bbrRefill:   {1, 2},
	bbrUp:       {1.25, 2.25},
	bbrProbeRTT: {1, 0.5},
}

// probeBW reports whether s is one of the ProbeBW states.
func (s bbrState) probeBW() bool { return s >= bbrDown && s <= bbrUp }

// accelerates reports whether s probes for bandwidth (IsProbingBW).
func (s bbrState) accelerates() bool { return s == bbrStartup || s == bbrRefill || s == bbrUp }

// BBR is version 3 of BBR, as in draft-ietf-ccwg-bbr, the text of August 2026,
// called "the draft" throughout. It paces at the bandwidth that the path has
// shown and keeps in flight about what fits the path without a queue, both of
// which it probes in turn. The zero value is not usable: see NewBBR.
//
// The draft leaves open what a congestion mark does: here it ends a probe and
// takes the window down by Beta until the next one.
type BBR struct {
	mss     int
	state   bbrState
	started bool
	rng     uint64

	cwnd      int
	priorCwnd int
	pacing    uint64 // octets a second; 0 before the first acknowledgment
	quantum   int    // send_quantum

	now       Time
	delivered uint64
	pipe      int
	flight    int // what pipe was before the acknowledgment
	noSACK    bool
	limit     bbrLimit
	rs        bbrSample

	bbrModel
	bbrCycle
	undo bbrUndo

	recovering  bool // an episode of loss recovery runs
	idleRestart bool
	drainRound  uint64

	probeRTTDone  Time // when it may end; 0 before the flight is small enough
	probeRTTRound bool // a round trip has passed in it
	// What left in the last ProbeRTT was held back, and what is delivered of it
	// says nothing about the path (Section 5.3.4.3): the range of the counts of
	// delivered octets at which it left.
	heldFrom, heldTo uint64
}

// bbrSample is the rate sample of the present acknowledgment (RS).
type bbrSample struct {
	acked     int
	delivered int // since the transmission that it is of left
	inFlight  int // when that left
	lost      int // since that left
	prior     uint64
	rate      uint64
	rtt       time.Duration // 0: none
	limited   bool
}

// bbrLimit answers whether the window was filled in the last round trip
// (C.is_cwnd_limited).
type bbrLimit struct{ before, now bool }

// NewBBR returns a BBR controller for a subflow with segments of mss octets. It
// is a Factory; the group is not used, BBR is not coupled. The controller is a
// Model.
func NewBBR(_ *Group, mss int) Controller {
	mss = clampMSS(mss)
	b := &BBR{mss: mss, cwnd: initialSegments * mss, quantum: 2 * mss}
	b.bbrModel.init()
	b.bbrCycle.init()
	return b
}

// OnAck updates the model, the state and what follows from them (Section
// 5.2.3).
func (b *BBR) OnAck(a Ack) {
	if a.Bytes <= 0 {
		return
	}
	b.take(a)

	b.updateLatest()
	b.updateCongestion()
	b.updateAggregation()
	b.checkFullBandwidth()
	b.checkStartupDone()
	b.checkDrainDone()
	b.updateCycle()
	b.updateMinRTT()
	b.checkProbeRTT()
	b.advanceLatest()
	b.bw = min(b.maxBw(), b.bwShort)

	b.setPacing(bbrGains[b.state].pacing)
	b.setQuantum()
	b.setCwnd()
}

// take makes a rate sample of an acknowledgment, whatever its numbers.
func (b *BBR) take(a Ack) {
	b.now, b.delivered = a.Now, max(a.Delivered, b.delivered)
	b.pipe, b.noSACK = clampOctets(a.Pipe), a.NoSACK
	b.flight = clampOctets(a.InFlight)
	b.limit.now = b.limit.now || b.flight+b.mss > b.cwnd
	n := &a.Newest
	prior := min(n.Delivered, b.delivered)
	b.rs = bbrSample{
		acked:     clampOctets(a.Bytes),
		delivered: int(min(b.delivered-prior, maxWindow)),
		inFlight:  clampOctets(n.InFlight),
		lost:      clampOctets(n.Lost),
		prior:     prior,
		rate:      min(a.Rate, maxRate),
		rtt:       max(a.RTT, 0),
		limited:   n.AppLimited || b.held(prior),
	}
	if !b.started {
		b.start(a)
	}
	if b.recovering && !a.Recovery {
		b.recovering, b.undo.saved = false, false
		b.restoreCwnd()
	}
}

// start is what the draft does at initialization and needs a time for.
func (b *BBR) start(a Ack) {
	b.started = true
	b.rng = uint64(a.Now)
	b.minRTTAt, b.probeRTTAt, b.aggregation.since = a.Now, a.Now, a.Now
	srtt := a.SRTT
	if srtt <= 0 {
		srtt = time.Millisecond
	}
	b.pacing = rateOf(bbrGains[bbrStartup].pacing * float64(b.initialWindow()) / srtt.Seconds())
}

func (b *BBR) initialWindow() int { return initialSegments * b.mss }

// minPipe is MinPipeCwnd: less would not keep a path busy whose receiver
// acknowledges every other segment.
func (b *BBR) minPipe() int { return bbrMinPipe * b.mss }

// held reports whether ProbeRTT held back what left when prior octets were
// delivered.
func (b *BBR) held(prior uint64) bool {
	return b.heldTo > 0 && b.heldFrom <= prior && prior <= b.heldTo
}

// setPacing is SetPacingRateWithGain (Section 5.6.2): before the pipe was
// filled the rate only rises, for what was measured may have been the
// application's.
func (b *BBR) setPacing(gain float64) {
	rate := rateOf(gain * float64(b.bw) * bbrPacingMargin)
	if b.fullReached || rate > b.pacing {
		b.pacing = rate
	}
}

// setQuantum is SetSendQuantum (Section 5.6.3). The subflow sends trains of a
// millisecond as well; here it counts for the window only.
func (b *BBR) setQuantum() {
	b.quantum = max(min(int(b.pacing/1000), bbrMaxQuantum), 2*b.mss)
}

// setCwnd is SetCwnd (Section 5.6.4.6).
func (b *BBR) setCwnd() {
	most := b.maxInflight()
	if b.fullReached {
		b.cwnd = min(b.cwnd+b.rs.acked, most)
	} else if b.cwnd < most || b.delivered < uint64(b.initialWindow()) {
		b.cwnd += b.rs.acked
	}
	if b.state == bbrProbeRTT {
		b.cwnd = min(b.cwnd, b.probeRTTCwnd())
	}
	b.cwnd = min(b.cwnd, b.volumeCap(), maxWindow)
	b.cwnd = max(b.cwnd, b.minPipe())
}

// volumeCap is the bound of BoundCwndForModel (Section 5.6.4.7).
func (b *BBR) volumeCap() int {
	bound := noBound
	switch {
	case b.state == bbrCruise || b.state == bbrProbeRTT:
		bound = b.withHeadroom()
	case b.state.probeBW():
		bound = b.inflightLong
	}
	return min(bound, b.inflightShort)
}

// maxInflight is UpdateMaxInflight (Section 5.6.4.2).
func (b *BBR) maxInflight() int {
	return b.quantized(b.bdp(b.bw, bbrGains[b.state].cwnd) + b.aggregation.max())
}

// inflight is Inflight: what is in flight on a path without a queue, times
// gain.
func (b *BBR) inflight(bw uint64, gain float64) int { return b.quantized(b.bdp(bw, gain)) }

// quantized is QuantizationBudget. Its other bound, MinPipeCwnd, is less than
// three quanta.
func (b *BBR) quantized(n int) int {
	n = max(n, bbrOffload*b.quantum)
	if b.state == bbrUp {
		n += 2 * b.mss
	}
	return min(n, maxWindow)
}

// bdp is BDPMultiple.
func (b *BBR) bdp(bw uint64, gain float64) int {
	if b.minRTT == unknownRTT {
		return b.initialWindow()
	}
	return int(min(gain*float64(bw)*b.minRTT.Seconds(), maxWindow))
}

// saveCwnd and restoreCwnd remember the last window that neither recovery nor
// ProbeRTT has modulated (Section 5.6.4.4).
func (b *BBR) saveCwnd() {
	if b.recovering || b.state == bbrProbeRTT {
		b.priorCwnd = max(b.priorCwnd, b.cwnd)
	} else {
		b.priorCwnd = b.cwnd
	}
}

func (b *BBR) restoreCwnd() { b.cwnd = max(b.cwnd, b.priorCwnd) }

// Window is the congestion window in octets: four segments at least, but after
// a timeout and until something is acknowledged one beyond what is in flight.
func (b *BBR) Window() int { return b.cwnd }

// PacingRate is in octets a second; 0 before the first acknowledgment, until
// which the subflow paces by its window and round-trip time.
func (b *BBR) PacingRate() uint64 { return b.pacing }

// random returns a number in [0, n): splitmix64 from the time of the first
// acknowledgment, so that flows do not probe in step.
func (b *BBR) random(n uint64) uint64 {
	b.rng += 0x9e3779b97f4a7c15
	x := b.rng
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return (x ^ x>>31) % n
}

func clampOctets(n int) int { return min(max(n, 0), maxWindow) }

// rateOf makes a rate of octets a second.
func rateOf(r float64) uint64 { return uint64(min(max(r, 1), maxRate)) }
