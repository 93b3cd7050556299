package cc

import "time"

// bbrModel is what BBR believes of the path (the draft, Section 5.5).
type bbrModel struct {
	round      uint64 // round_count
	roundEnd   uint64 // next_round_delivered
	roundStart bool

	bw      uint64    // what is safe to send at
	maxBws  [2]uint64 // of the probing cycle that runs and of the one before
	bwShort uint64    // bw_shortterm

	inflightLong  int // inflight_longterm
	inflightShort int // inflight_shortterm

	minRTT      time.Duration
	minRTTAt    Time
	probeMinRTT time.Duration // probe_rtt_min_delay
	probeRTTAt  Time          // probe_rtt_min_stamp
	expired     bool          // probe_rtt_expired

	aggregation aggregation

	bwLatest       uint64
	inflightLatest int
	lossRoundEnd   uint64 // loss_round_delivered
	lossRoundStart bool
	lossInRound    bool
	lostRanges     int // discontiguous ones in this loss round

	fullBw      uint64
	fullRounds  int
	fullNow     bool // full_bw_now
	fullReached bool // full_bw_reached
}

func (m *bbrModel) init() {
	m.bwShort, m.inflightShort, m.inflightLong = noRate, noBound, noBound
	m.minRTT, m.probeMinRTT = unknownRTT, unknownRTT
}

// maxBw is the maximum of the delivery rates of two probing cycles.
func (m *bbrModel) maxBw() uint64 { return max(m.maxBws[0], m.maxBws[1]) }

// advanceMaxBw is AdvanceMaxBwFilter: a cycle ends. One without a sample does
// not count, or a connection with little to send would forget the path.
func (m *bbrModel) advanceMaxBw() {
	if m.maxBws[0] > 0 {
		m.maxBws = [2]uint64{0, m.maxBws[0]}
	}
}

func (b *BBR) startRound() { b.roundEnd = b.delivered }

// updateRound is UpdateRound (Section 5.5.1).
func (b *BBR) updateRound() {
	b.roundStart = b.rs.prior >= b.roundEnd
	if !b.roundStart {
		return
	}
	b.startRound()
	b.round++
	b.roundsSinceUp++
	b.limit = bbrLimit{before: b.limit.now}
}

// filled reports whether the window was filled in the last round trip.
func (l bbrLimit) filled() bool { return l.before || l.now }

// updateMaxBw is UpdateMaxBw (Section 5.5.5).
func (b *BBR) updateMaxBw() {
	b.updateRound()
	if r := b.rs.rate; r > 0 && (r >= b.maxBw() || !b.rs.limited) {
		b.maxBws[0] = max(b.maxBws[0], r)
	}
}

// updateLatest is UpdateLatestDeliverySignals, and advanceLatest its end
// (Section 5.5.10.3): maxima of one round trip.
func (b *BBR) updateLatest() {
	b.bwLatest = max(b.bwLatest, b.rs.rate)
	b.inflightLatest = max(b.inflightLatest, b.rs.delivered)
	if b.lossRoundStart = b.rs.prior >= b.lossRoundEnd; b.lossRoundStart {
		b.lossRoundEnd = b.delivered
	}
}

func (b *BBR) advanceLatest() {
	if b.lossRoundStart {
		b.bwLatest, b.inflightLatest = b.rs.rate, b.rs.delivered
	}
}

// resetSignals is ResetCongestionSignals.
func (b *BBR) resetSignals() { b.lossInRound, b.bwLatest, b.inflightLatest = false, 0, 0 }

// resetShort is ResetShortTermModel.
func (b *BBR) resetShort() { b.bwShort, b.inflightShort = noRate, noBound }

// updateCongestion is UpdateCongestionSignals: once a round trip with a loss,
// unless BBR probes, the short-term model follows what was delivered.
func (b *BBR) updateCongestion() {
	b.updateMaxBw()
	if !b.lossRoundStart {
		return
	}
	if b.lossInRound && !b.state.accelerates() {
		b.boundShort()
		b.bwShort = max(b.bwLatest, uint64(bbrBeta*float64(b.bwShort)))
		b.inflightShort = max(b.inflightLatest, int(bbrBeta*float64(b.inflightShort)))
	}
	b.lossInRound = false
}

// boundShort is InitLowerBounds.
func (b *BBR) boundShort() {
	if b.bwShort == noRate {
		b.bwShort = b.maxBw()
	}
	if b.inflightShort == noBound {
		b.inflightShort = b.cwnd
	}
}

// updateMinRTT is UpdateMinRTT (Section 5.3.4.3).
func (b *BBR) updateMinRTT() {
	b.expired = b.now.Sub(b.probeRTTAt) > bbrProbeRTTInterval
	if r := b.rs.rtt; r > 0 && (r < b.probeMinRTT || b.expired) {
		b.probeMinRTT, b.probeRTTAt = r, b.now
	}
	if b.probeMinRTT < b.minRTT || b.now.Sub(b.minRTTAt) > bbrMinRTTFilter {
		b.minRTT, b.minRTTAt = b.probeMinRTT, b.probeRTTAt
	}
}

// aggregation estimates how much more than the bandwidth explains is
// acknowledged at once (extra_acked, Section 5.5.9).
type aggregation struct {
	since     Time // of the present run of acknowledgments
	delivered int
	rounds    [10]int // the most in each of the last round trips, by round_count
	all       bool    // look at all of them, not at the last only
	last      int
}

// max is extra_acked.
func (g *aggregation) max() int {
	if !g.all {
		return g.rounds[g.last]
	}
	most := 0
	for _, n := range g.rounds {
		most = max(most, n)
	}
	return most
}

// updateAggregation is UpdateACKAggregation.
func (b *BBR) updateAggregation() {
	g := &b.aggregation
	if b.roundStart {
		g.last = int(b.round % uint64(len(g.rounds)))
		g.rounds[g.last] = 0
	}
	g.all = b.fullReached
	expected := float64(b.bw) * max(b.now.Sub(g.since), 0).Seconds()
	if float64(g.delivered) <= expected {
		g.delivered, g.since, expected = 0, b.now, 0
	}
	g.delivered = clampOctets(g.delivered + b.rs.acked)
	extra := min(max(g.delivered-int(min(expected, maxWindow)), 0), b.cwnd)
	g.rounds[g.last] = max(g.rounds[g.last], extra)
}

// resetFull is ResetFullBW, with bw as the bandwidth to compare with.
func (b *BBR) resetFull(bw uint64) { b.fullBw, b.fullRounds, b.fullNow = bw, 0, false }

// checkFullBandwidth is CheckFullBWReached (Section 5.3.1.2): the pipe is full
// if sending faster has brought nothing for three round trips.
func (b *BBR) checkFullBandwidth() {
	if b.fullNow || !b.roundStart || b.rs.limited {
		return
	}
	if float64(b.rs.rate) >= float64(b.fullBw)*bbrFullBwGrowth {
		b.resetFull(b.rs.rate)
		return
	}
	if b.fullRounds++; b.fullRounds >= bbrFullBwRounds {
		b.fullNow, b.fullReached = true, true
	}
}
