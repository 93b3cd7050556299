package cc

import "time"

// ackPhase is what the acknowledgments that arrive tell about a bandwidth
// probe (the draft, Section 2.14: BBR.ack_phase).
type ackPhase uint8

const (
	acksInit ackPhase = iota
	acksRefilling
	acksStarting
	acksFeedback
	acksStopping
)

// bbrCycle is the state of the ProbeBW cycle (Section 5.3.3).
type bbrCycle struct {
	acks          ackPhase
	probeSample   bool // is_bw_probe_sample
	since         Time // cycle_stamp
	wait          time.Duration
	upRounds      uint
	upAcked       int
	upStep        int // probe_up_acked_per_inc
	tooHigh       bool
	precaution    bool
	roundsSinceUp uint64
}

func (c *bbrCycle) init() { c.upStep = noBound }

// checkStartupDone ends Startup when the pipe is full, or loses too much.
func (b *BBR) checkStartupDone() {
	b.checkStartupLoss()
	if b.state == bbrStartup && b.fullReached {
		b.state = bbrDrain
		b.drainRound = b.round
	}
}

// checkStartupLoss is CheckStartupHighLoss (Section 5.3.1.3).
func (b *BBR) checkStartupLoss() {
	if b.fullReached || b.state != bbrStartup {
		return
	}
	high := b.lossRoundStart && b.lostRanges >= bbrFullLossCount && b.tooMuchLost(b.rs.lost, b.rs.inFlight)
	if b.recovering && (high || b.noSACK) {
		b.startupTooHigh()
	}
	if b.lossRoundStart {
		b.lostRanges = 0
	}
}

// startupTooHigh takes what was delivered as what the path holds.
func (b *BBR) startupTooHigh() {
	b.undo.state = undoStartup
	b.fullNow, b.fullReached = true, true
	b.inflightLong = max(b.bdp(b.bw, 1), b.inflightLatest, b.minPipe())
}

// checkDrainDone is CheckDrainDone (Section 5.3.2).
func (b *BBR) checkDrainDone() {
	if b.state != bbrDrain {
		return
	}
	if b.pipe <= b.inflight(b.bw, 1) || b.round > b.drainRound+bbrDrainRounds {
		b.startDown()
	}
}

// startDown, startRefill and startUp enter the states of the cycle (Section
// 5.3.3). Cruising needs no preparation.
func (b *BBR) startDown() {
	b.resetSignals()
	b.upStep = noBound
	b.roundsSinceUp = b.random(2)
	b.wait = bbrProbeWait + time.Duration(b.random(uint64(bbrProbeWaitRandom)))
	b.since = b.now
	b.acks = acksStopping
	b.startRound()
	b.state = bbrDown
}

func (b *BBR) startRefill() {
	b.resetShort()
	b.upRounds, b.upAcked = 0, 0
	b.precaution = false
	b.acks = acksRefilling
	b.startRound()
	b.state = bbrRefill
}

func (b *BBR) startUp() {
	b.probeSample = true
	b.acks = acksStarting
	b.startRound()
	b.resetFull(b.rs.rate)
	b.state = bbrUp
	b.raiseSlope()
}

// updateCycle is UpdateProbeBWCyclePhase.
func (b *BBR) updateCycle() {
	if !b.fullReached || b.adaptLong() {
		return
	}
	switch b.state {
	case bbrDown:
		if !b.timeToProbe() && b.timeToCruise() {
			b.state = bbrCruise
		}
	case bbrCruise:
		b.timeToProbe()
	case bbrRefill:
		if b.roundStart {
			b.startUp()
		}
	case bbrUp:
		if b.timeToGoDown() {
			b.tooHigh = false
			b.startDown()
		}
	}
}

// timeToProbe is IsTimeToProbeBW: after two to three seconds, or after as many
// round trips as Reno needs between two losses on a path of this size.
func (b *BBR) timeToProbe() bool {
	segments := uint64(b.targetInflight() / b.mss)
	if b.now.Sub(b.since) <= b.wait && b.roundsSinceUp < min(segments, bbrRenoRounds) {
		return false
	}
	b.startRefill()
	return true
}

// targetInflight is TargetInflight.
func (b *BBR) targetInflight() int { return min(b.bdp(b.bw, 1), b.cwnd) }

// timeToCruise is IsTimeToCruise.
func (b *BBR) timeToCruise() bool {
	return b.pipe <= min(b.withHeadroom(), b.inflight(b.maxBw(), 1))
}

// withHeadroom is InflightWithHeadroom: it leaves others some room.
func (b *BBR) withHeadroom() int {
	if b.inflightLong == noBound {
		return noBound
	}
	headroom := max(b.mss, int(bbrHeadroom*float64(b.inflightLong)))
	return max(b.inflightLong-headroom, b.minPipe())
}

// timeToGoDown is IsTimeToGoDown.
func (b *BBR) timeToGoDown() bool {
	if b.tooHigh && b.flight+b.mss > b.inflightLong {
		// The last probe lost too much from here on: do not stay. What is in
		// flight is at its most before an acknowledgment, and no part of a
		// segment fills the window.
		b.precaution = true
		return true
	}
	if b.limit.filled() && b.cwnd >= b.inflightLong {
		b.resetFull(b.rs.rate) // the bound is the limit, not the path
		return false
	}
	return b.fullNow
}

// raiseSlope is RaiseInflightLongtermSlope: the bound rises by 1, 2, 4, …
// segments in each round trip.
func (b *BBR) raiseSlope() {
	growth := 1 << b.upRounds
	b.upRounds = min(b.upRounds+1, 30)
	b.upStep = max(b.cwnd/growth, b.mss)
}

// probeLongUpward is ProbeInflightLongtermUpward.
func (b *BBR) probeLongUpward() {
	if !b.limit.filled() || b.cwnd < b.inflightLong {
		return
	}
	b.upAcked = clampOctets(b.upAcked + b.rs.acked)
	if n := b.upAcked / b.upStep; n > 0 {
		b.upAcked -= n * b.upStep
		b.inflightLong = min(b.inflightLong+n*b.mss, maxWindow)
	}
	if b.roundStart {
		b.raiseSlope()
	}
}

// adaptLong is AdaptLongTermModel. It reports whether it decided the state.
func (b *BBR) adaptLong() bool {
	if b.roundStart {
		switch b.acks {
		case acksStarting:
			b.acks = acksFeedback
		case acksStopping:
			if b.probeOver() {
				return true
			}
		}
	}
	if b.inflightLong == noBound || b.tooMuchLost(b.rs.lost, b.rs.inFlight) {
		return false
	}
	b.inflightLong = max(b.inflightLong, b.rs.inFlight)
	if b.state == bbrUp {
		b.probeLongUpward()
	}
	return false
}

// probeOver is the end of what the last probe has to tell. A probe that was cut
// short by precaution and lost little is followed by a real one.
func (b *BBR) probeOver() (again bool) {
	b.probeSample = false
	b.acks = acksInit
	if !b.state.probeBW() {
		return false
	}
	if !b.rs.limited {
		b.advanceMaxBw()
	}
	if again = b.precaution && !b.tooHigh; again {
		b.startRefill()
	}
	return again
}

// checkProbeRTT is CheckProbeRTT (Section 5.3.4.3).
func (b *BBR) checkProbeRTT() {
	if b.state != bbrProbeRTT && b.expired && !b.idleRestart {
		b.saveCwnd()
		b.state = bbrProbeRTT
		b.probeRTTDone = 0
		b.acks = acksStopping
		b.heldFrom = b.delivered
		b.startRound()
	}
	if b.state == bbrProbeRTT {
		b.handleProbeRTT()
	}
	if b.rs.delivered > 0 {
		b.idleRestart = false
	}
}

func (b *BBR) handleProbeRTT() {
	b.heldTo = max(b.delivered+uint64(b.pipe), 1)
	switch {
	case b.probeRTTDone == 0:
		if b.pipe <= b.probeRTTCwnd() {
			b.probeRTTDone = b.now.Add(bbrProbeRTTDuration)
			b.probeRTTRound = false
			b.startRound()
		}
	case b.roundStart || b.probeRTTRound:
		b.probeRTTRound = true
		b.checkProbeRTTDone()
	}
}

// probeRTTCwnd is ProbeRTTCwnd (Section 5.6.4.5).
func (b *BBR) probeRTTCwnd() int {
	return max(b.bdp(b.bw, bbrGains[bbrProbeRTT].cwnd), b.minPipe())
}

// checkProbeRTTDone is CheckProbeRTTDone and ExitProbeRTT (Section 5.3.4.4).
func (b *BBR) checkProbeRTTDone() {
	if b.probeRTTDone == 0 || b.now <= b.probeRTTDone {
		return
	}
	b.probeRTTAt = b.now
	b.restoreCwnd()
	b.resetShort()
	if !b.fullReached {
		b.state = bbrStartup
		return
	}
	b.startDown()
	b.state = bbrCruise // the flight is small already
}

// OnRestart is HandleRestartFromIdle (Section 5.4.1).
func (b *BBR) OnRestart(now Time) {
	if !b.started {
		return
	}
	b.now = now
	b.idleRestart = true
	b.aggregation.since = now
	switch {
	case b.state.probeBW():
		b.setPacing(1)
	case b.state == bbrProbeRTT:
		b.checkProbeRTTDone()
	}
}
