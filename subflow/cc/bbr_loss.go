package cc

// undoState is the state that a loss ended.
type undoState uint8

const (
	undoNone undoState = iota
	undoStartup
	undoUp
)

// bbrUndo is what is restored if the losses turn out to have been none (the
// draft, Section 5.5.11).
type bbrUndo struct {
	saved         bool // for the episode that runs or is about to
	armed         bool // something is saved and not restored yet
	state         undoState
	bwShort       uint64
	inflightShort int
	inflightLong  int
}

// tooMuchLost is IsInflightTooHigh, for a transmission that left with inFlight
// octets in flight and since which lost octets were lost.
func (b *BBR) tooMuchLost(lost, inFlight int) bool {
	return float64(lost) > bbrLossThresh*float64(inFlight) || lost > 0 && b.noSACK
}

// noteLoss is NoteLoss (Section 5.5.10.2). The draft saves the state in each
// round trip with a loss; here the first of an episode counts, since that is
// what an undo goes back to.
func (b *BBR) noteLoss() {
	if !b.lossInRound {
		b.lossRoundEnd = b.delivered
	}
	b.lossInRound = true
	if !b.undo.saved {
		b.saveCwnd()
		b.undo = bbrUndo{
			saved: true, armed: true,
			bwShort: b.bwShort, inflightShort: b.inflightShort, inflightLong: b.inflightLong,
		}
	}
}

// OnLost is HandleLostPacket.
func (b *BBR) OnLost(l Lost) {
	if l.Bytes <= 0 {
		return
	}
	b.now, b.delivered = l.Now, max(l.Delivered, b.delivered)
	b.noteLoss()
	if !l.Adjoins {
		b.lostRanges++
	}
	if !b.probeSample {
		return
	}
	size, lost, inFlight := clampOctets(l.Bytes), clampOctets(l.Sent.Lost), clampOctets(l.Sent.InFlight)
	if b.tooMuchLost(lost, inFlight) {
		b.probeTooHigh(inflightAtLoss(size, lost, inFlight), l.Sent.AppLimited || b.held(l.Sent.Delivered))
	}
}

// inflightAtLoss is InflightAtLoss: how much was in flight when the losses
// passed the threshold, somewhere in a burst of size octets.
func inflightAtLoss(size, lost, inFlight int) int {
	before, lostBefore := float64(inFlight-size), float64(lost-size)
	prefix := (bbrLossThresh*before - lostBefore) / (1 - bbrLossThresh)
	return clampOctets(int(before + prefix))
}

// probeTooHigh is HandleInflightTooHigh.
func (b *BBR) probeTooHigh(inFlight int, limited bool) {
	b.tooHigh = true
	b.probeSample = false
	if !limited {
		b.inflightLong = max(inFlight, int(bbrBeta*float64(b.targetInflight())))
	}
	if b.state == bbrUp {
		b.undo.state = undoUp
		b.startDown()
	}
}

// OnLoss begins an episode of loss recovery, or undoes the last one.
func (b *BBR) OnLoss(l Loss) {
	b.now, b.delivered = l.Now, max(l.Delivered, b.delivered)
	switch l.Cause {
	case Spurious:
		b.restore()
	case ECN:
		b.mark()
	default:
		b.noteLoss()
		b.saveCwnd()
		b.recovering = true
		if l.Cause == Timeout {
			// Room for one segment (Section 5.6.4.4).
			b.cwnd = min(clampOctets(l.Pipe)+b.mss, maxWindow)
		}
	}
}

// mark reacts to a congestion mark, told at most once a window. "The congestion
// controller response MUST treat any CE marks as congestion" (Section 3.7): the
// probe that caused it is over, and until the next one the window is smaller.
func (b *BBR) mark() {
	switch {
	case b.state == bbrStartup:
		b.startupTooHigh()
	case b.probeSample:
		b.probeTooHigh(b.targetInflight(), false)
	}
	b.boundShort()
	b.inflightShort = max(int(bbrBeta*float64(min(b.inflightShort, b.cwnd))), b.minPipe())
}

// restore is HandleSpuriousLossDetection (Section 5.5.11.2).
func (b *BBR) restore() {
	u := b.undo
	if !u.armed {
		return
	}
	b.undo = bbrUndo{}
	b.restoreCwnd()
	b.recovering, b.lossInRound = false, false
	b.resetFull(0)
	b.bwShort = max(b.bwShort, u.bwShort)
	b.inflightShort = max(b.inflightShort, u.inflightShort)
	b.inflightLong = max(b.inflightLong, u.inflightLong)
	switch {
	case u.state == undoStartup && b.state != bbrStartup:
		b.fullReached = false
		if b.state != bbrProbeRTT {
			b.state = bbrStartup
		}
	case u.state == undoUp && b.state != bbrUp && b.state != bbrProbeRTT:
		b.startRefill()
	}
}
