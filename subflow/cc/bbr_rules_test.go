package cc

import "testing"

// What one rule says, where a link would hardly show it.

// lostOf is a loss of one segment since whose sending lost of a hundred segments
// were lost.
func lostOf(l *link, s *flow, lost int) Lost {
	return Lost{Now: l.now, Bytes: mss, Delivered: s.delivered, Sent: Sent{InFlight: 100 * mss, Lost: lost * mss}}
}

// A window that was filled once counts as the limit for the rest of the round
// trip and for the next (Section 2.2: C.is_cwnd_limited).
func TestBBRWindowLimited(t *testing.T) {
	b := NewBBR(nil, mss).(*BBR)
	delivered := uint64(0)
	ack := func(inFlight int, newRound bool) bool {
		prior := delivered - min(delivered, mss)
		delivered += mss
		if !newRound {
			prior = 0
		}
		b.OnAck(Ack{Now: Time(delivered), Bytes: mss, InFlight: inFlight, Pipe: inFlight, Delivered: delivered, Newest: Sent{Delivered: prior}})
		return b.limit.filled()
	}
	for i, step := range []struct {
		full, newRound, want bool
	}{
		{false, true, false}, {true, false, true}, {false, false, true}, {false, true, true}, {false, false, true}, {false, true, false},
	} {
		n := mss
		if step.full {
			n = b.Window()
		}
		b.roundEnd = min(b.roundEnd, delivered-min(delivered, mss))
		if !step.newRound {
			b.roundEnd = 1 << 40
		}
		if got := ack(n, step.newRound); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
}

// Before the pipe was filled the pacing rate only rises (Section 5.6.2).
func TestBBRStartupPacingKeepsUp(t *testing.T) {
	l, s, b := bbrOn(50, 20*ms, 1)
	s.app = 20e3
	l.run(Time(sec), nil)
	if want := uint64(27 * mss * sec / (21 * ms)); b.state != bbrStartup || b.PacingRate() < want {
		t.Errorf("state %d, paces at %d, want %d", b.state, b.PacingRate(), want)
	}
}

// A probe has two segments more (Section 5.6.4.2: QuantizationBudget), and the
// greatest gain.
func TestBBRProbeWindow(t *testing.T) {
	l, _, b := bbrOn(50, 40*ms, 2)
	until(t, l, b, bbrCruise)
	bdp := b.inflight(b.bw, 1)
	b.state = bbrUp
	if got := b.inflight(b.bw, 1); got != bdp+2*mss {
		t.Errorf("%d in flight, %d when cruising", got, bdp)
	}
}

// A cycle without a sample does not make the bandwidth be forgotten.
func TestBBRBandwidthFilter(t *testing.T) {
	var m bbrModel
	for i, step := range []struct{ sample, want uint64 }{{100, 100}, {80, 100}, {90, 90}, {0, 90}, {0, 90}, {70, 90}, {60, 70}} {
		m.advanceMaxBw()
		m.maxBws[0] = max(m.maxBws[0], step.sample)
		if got := m.maxBw(); got != step.want {
			t.Errorf("cycle %d: %d, want %d", i, got, step.want)
		}
	}
}

// A round trip in which nothing to speak of was delivered takes the short-term
// model to 0.7, no further (Section 5.5.10.3); what the round before delivered
// is not taken for it.
func TestBBRShortTermBeta(t *testing.T) {
	l, s, b := bbrOn(50, 40*ms, 2)
	until(t, l, b, bbrCruise)
	bw, wnd := b.maxBw(), b.Window()
	b.OnLost(lostOf(l, s, 50))
	if b.lossRoundEnd != s.delivered {
		t.Errorf("the loss round ends at %d of %d", b.lossRoundEnd, s.delivered)
	}
	b.bwLatest, b.inflightLatest = 10, 10
	b.rs = bbrSample{prior: s.delivered, rate: 10, delivered: 10}
	b.updateLatest()
	b.updateCongestion()
	if b.bwShort != uint64(0.7*float64(bw)) || b.inflightShort != int(0.7*float64(wnd)) {
		t.Errorf("bounds %d of %d, %d of %d", b.bwShort, bw, b.inflightShort, wnd)
	}
	b.updateCongestion()
	if b.inflightShort != int(0.7*float64(wnd)) {
		t.Error("twice for one loss")
	}
}

// One burst of losses, however long, does not end Startup; six apart do
// (Section 5.3.1.3).
func TestBBRStartupBurst(t *testing.T) {
	for _, adjoins := range []bool{true, false} {
		l, s, b := bbrOn(50, 40*ms, 2)
		l.run(Time(120*ms), nil)
		lost := lostOf(l, s, 10)
		for i := range 6 {
			lost.Adjoins = adjoins && i > 0
			b.OnLost(lost)
		}
		b.OnLoss(Loss{Now: l.now, Cause: LossDetected, Delivered: s.delivered, Pipe: s.pipe})
		b.OnAck(Ack{
			Now: l.now, Bytes: mss, Delivered: s.delivered + mss, RTT: 40 * ms, Recovery: true,
			Newest: Sent{Delivered: s.delivered, InFlight: 100 * mss, Lost: 10 * mss},
		})
		if stays := b.state == bbrStartup; stays != adjoins {
			t.Errorf("in one burst %v: state %d", adjoins, b.state)
		}
	}
}

// After a probe that lost too much the next one turns back at the bound, and,
// if that was harmless, is followed at once by a real one (Section 5.3.3.6,
// precautionary probing).
func TestBBRPrecaution(t *testing.T) {
	l, s, b := bbrOn(50, 40*ms, 4)
	until(t, l, b, bbrUp)
	b.OnLost(lostOf(l, s, 5))
	if !b.tooHigh || b.state != bbrDown {
		t.Fatalf("state %d", b.state)
	}
	until(t, l, b, bbrUp)
	if !l.run(l.now.Add(sec), func() bool { return b.state != bbrUp }) {
		t.Fatal("the probe goes on")
	}
	if !b.precaution || b.tooHigh || b.state != bbrDown {
		t.Fatalf("turned back: %v, state %d", b.precaution, b.state)
	}
	since := l.now
	until(t, l, b, bbrRefill)
	if d := l.now.Sub(since); d > 4*l.delay {
		t.Errorf("the real probe came %v later", d)
	}
	bound := b.inflightLong
	until(t, l, b, bbrUp)
	during(l, s, 150*ms, func() {})
	if b.inflightLong <= bound {
		t.Errorf("bound %d, was %d", b.inflightLong, bound)
	}
}

// One reaction to a probe, and none if the application was the limit when what
// was lost left (Section 5.5.10.2).
func TestBBRProbeReactsOnce(t *testing.T) {
	l, s, b := bbrOn(50, 40*ms, 4)
	until(t, l, b, bbrUp)
	b.OnLost(lostOf(l, s, 5))
	b.inflightLong = 12345
	b.OnLost(lostOf(l, s, 50))
	if b.inflightLong != 12345 {
		t.Error("two reactions")
	}
	l, s, b = bbrOn(50, 40*ms, 4)
	until(t, l, b, bbrUp)
	lost := lostOf(l, s, 5)
	lost.Sent.AppLimited = true
	b.OnLost(lost)
	if b.inflightLong != noBound || b.state != bbrDown {
		t.Errorf("application limited: bound %d, state %d", b.inflightLong, b.state)
	}
}

// After an idle time the rate is the bandwidth, whatever the state's gain is
// (Section 5.4.1).
func TestBBRRestartPacing(t *testing.T) {
	l, _, b := bbrOn(50, 100*ms, 2)
	until(t, l, b, bbrUp)
	until(t, l, b, bbrDown)
	l.run(l.now.Add(ms), nil)
	if float64(b.PacingRate()) > 0.9*float64(b.bw) {
		t.Fatalf("paces at %d of %d", b.PacingRate(), b.bw)
	}
	b.OnRestart(l.now)
	if !near(float64(b.PacingRate()), 0.99*float64(b.bw), 1e-6) {
		t.Errorf("paces at %d of %d", b.PacingRate(), b.bw)
	}
}

// A timeout for nothing gives the window back at once.
func TestBBRSpuriousTimeout(t *testing.T) {
	l, s, b := bbrOn(50, 40*ms, 2)
	until(t, l, b, bbrCruise)
	wnd := b.Window()
	b.OnLoss(Loss{Now: l.now, Cause: Timeout, Bytes: s.pipe, Delivered: s.delivered})
	b.OnLoss(Loss{Now: l.now, Cause: Spurious, Delivered: s.delivered})
	if b.Window() != wnd {
		t.Errorf("window %d of %d", b.Window(), wnd)
	}
}

// A probe that only the long-term bound holds back has not found the path full:
// the search starts anew (Section 5.3.3.7).
func TestBBRProbeHeldByBound(t *testing.T) {
	l, _, b := bbrOn(50, 40*ms, 4)
	until(t, l, b, bbrUp)
	b.tooHigh = false
	b.limit.now = true
	for _, bounded := range []bool{true, false} {
		b.inflightLong = noBound
		if bounded {
			b.inflightLong = b.cwnd
		}
		b.fullNow, b.fullRounds = true, 3
		if b.timeToGoDown() == bounded || b.fullNow == bounded {
			t.Errorf("bounded %v: full now %v", bounded, b.fullNow)
		}
	}
}
