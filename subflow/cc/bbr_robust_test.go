package cc

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// Losses that were none are undone: the bounds, and the state that they ended
// (Section 5.5.11).
func TestBBRSpurious(t *testing.T) {
	reorder := func(l *link, s *flow, b *BBR, lost int) {
		for range lost {
			b.OnLost(Lost{Now: l.now, Bytes: mss, Delivered: s.delivered, Sent: Sent{InFlight: 100 * mss, Lost: lost * mss}})
		}
		b.OnLoss(Loss{Now: l.now, Cause: LossDetected, Bytes: lost * mss, Delivered: s.delivered, Pipe: s.pipe})
	}
	spurious := func(l *link, s *flow, b *BBR) {
		b.OnLoss(Loss{Now: l.now, Cause: Spurious, Delivered: s.delivered, Pipe: s.pipe})
	}
	t.Run("nothing to undo", func(t *testing.T) {
		l, s, b := bbrOn(50, 40*ms, 2)
		until(t, l, b, bbrCruise)
		before := *b
		spurious(l, s, b)
		before.now = b.now
		if *b != before {
			t.Errorf("changed from\n%+v to\n%+v", before, *b)
		}
	})
	t.Run("probe", func(t *testing.T) {
		l, s, b := bbrOn(50, 40*ms, 2)
		until(t, l, b, bbrUp)
		wnd := b.Window()
		reorder(l, s, b, 5)
		if b.state != bbrDown || b.inflightLong == noBound {
			t.Fatalf("state %d, bound %d", b.state, b.inflightLong)
		}
		spurious(l, s, b)
		if b.state != bbrRefill || b.inflightLong != noBound || b.Window() != wnd || b.recovering {
			t.Errorf("state %d, bound %d, window %d of %d", b.state, b.inflightLong, b.Window(), wnd)
		}
	})
	t.Run("startup", func(t *testing.T) {
		l, s, b := bbrOn(50, 40*ms, 2)
		l.run(Time(250*ms), nil)
		reorder(l, s, b, 1)
		b.startupTooHigh()
		b.checkStartupDone()
		if b.state != bbrDrain {
			t.Fatalf("state %d", b.state)
		}
		spurious(l, s, b)
		if b.state != bbrStartup || b.fullReached || b.inflightLong != noBound {
			t.Errorf("state %d, full %v, bound %d", b.state, b.fullReached, b.inflightLong)
		}
		until(t, l, b, bbrCruise)
		if !near(float64(b.maxBw()), l.rate, 0.02) {
			t.Errorf("bandwidth %d", b.maxBw())
		}
	})
	t.Run("short term", func(t *testing.T) {
		l, s, b := bbrOn(50, 40*ms, 2)
		until(t, l, b, bbrCruise)
		reorder(l, s, b, 1)
		s.point = s.ids
		l.run(l.now.Add(100*ms), nil)
		if b.bwShort == noRate {
			t.Fatal("no reaction: this shows nothing")
		}
		spurious(l, s, b)
		if b.bwShort != noRate || b.inflightShort != noBound {
			t.Errorf("bounds %d, %d", b.bwShort, b.inflightShort)
		}
	})
}

// After a timeout there is room for one segment beyond what is in flight, then
// the window grows by what is acknowledged, and comes back when the recovery is
// over (Section 5.6.4.4).
func TestBBRTimeout(t *testing.T) {
	l, s, b := bbrOn(50, 40*ms, 2)
	until(t, l, b, bbrCruise)
	wnd := b.Window()
	b.OnLoss(Loss{Now: l.now, Cause: Timeout, Bytes: s.pipe, Delivered: s.delivered, Pipe: 0})
	if b.Window() != mss {
		t.Fatalf("window %d", b.Window())
	}
	ack := func(recovery bool) {
		b.OnAck(Ack{Now: l.now, Bytes: mss, Delivered: s.delivered, RTT: 40 * ms, Recovery: recovery})
	}
	ack(true)
	if b.Window() != 4*mss {
		t.Errorf("window %d after the first acknowledgment", b.Window())
	}
	ack(true)
	if b.Window() != 5*mss {
		t.Errorf("window %d after the second", b.Window())
	}
	ack(false)
	if !near(float64(b.Window()), float64(wnd), 0.01) {
		t.Errorf("window %d afterwards, %d before", b.Window(), wnd)
	}
}

// A blackout of two seconds leaves the model alone: the link is full again soon
// after.
func TestBBRBlackout(t *testing.T) {
	l, s, b := bbrOn(20, 40*ms, 2)
	until(t, l, b, bbrCruise)
	l.loss = 1
	l.run(l.now.Add(2*sec), nil)
	l.loss = 0
	l.run(l.now.Add(2*sec), nil)
	if g := throughput(l, s, 4*sec); g < 0.85 {
		t.Errorf("%.0f %% of the link", 100*g)
	}
}

// A congestion mark is congestion (Section 3.7): it ends Startup and a probe,
// and takes the window down by Beta until the next probe.
func TestBBRMark(t *testing.T) {
	mark := func(l *link, s *flow, b *BBR) {
		b.OnLoss(Loss{Now: l.now, Cause: ECN, Delivered: s.delivered, Pipe: s.pipe})
	}
	l, s, b := bbrOn(50, 40*ms, 2)
	l.run(Time(300*ms), nil)
	mark(l, s, b)
	l.run(l.now.Add(60*ms), nil)
	if b.state == bbrStartup {
		t.Error("Startup goes on")
	}
	l, s, b = bbrOn(50, 40*ms, 2)
	until(t, l, b, bbrUp)
	mark(l, s, b)
	if b.state != bbrDown || b.inflightLong == noBound {
		t.Errorf("probe: state %d, bound %d", b.state, b.inflightLong)
	}
	l, s, b = bbrOn(50, 40*ms, 2)
	until(t, l, b, bbrCruise)
	wnd := b.Window()
	mark(l, s, b)
	l.run(l.now.Add(60*ms), nil)
	if got := b.Window(); got > wnd*7/10+mss {
		t.Errorf("window %d of %d", got, wnd)
	}
	for range 50 {
		mark(l, s, b)
	}
	if b.inflightShort != 4*mss {
		t.Errorf("bound %d after many marks", b.inflightShort)
	}
}

// A peer that does not acknowledge selectively shows one loss in a round trip:
// each counts.
func TestBBRNoSACK(t *testing.T) {
	l, s, b := bbrOn(50, 40*ms, 2)
	until(t, l, b, bbrUp)
	b.noSACK = true
	b.OnLost(Lost{Now: l.now, Bytes: mss, Delivered: s.delivered, Sent: Sent{InFlight: 200 * mss, Lost: mss}})
	if b.state != bbrDown {
		t.Errorf("state %d", b.state)
	}
}

// Whatever it is told, the window is at least four segments but after a
// timeout, nothing overflows, and the rate is one.
func TestBBRBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	odd := func() int {
		switch rng.IntN(8) {
		case 0:
			return 0
		case 1:
			return -rng.Int()
		case 2:
			return math.MaxInt
		case 3:
			return rng.Int()
		}
		return 1 + rng.IntN(1<<rng.IntN(26))
	}
	sent := func() Sent {
		return Sent{Delivered: uint64(odd()), InFlight: odd(), Lost: odd(), AppLimited: rng.IntN(5) == 0}
	}
	states := map[bbrState]bool{}
	for run := range 50 {
		b := NewBBR(nil, []int{mss, 1, -5, math.MaxInt, 1460}[run%5]).(*BBR)
		delivered, timedOut := uint64(0), false
		for i := range 4000 {
			now := Time(i) * Time(10*ms)
			if rng.IntN(4) == 0 {
				now = Time(odd())
			}
			n := odd()
			delivered += uint64(max(n, 0) % (1 << 40))
			switch rng.IntN(12) {
			case 0:
				why := Cause(rng.IntN(4))
				timedOut = timedOut || why == Timeout
				b.OnLoss(Loss{Now: now, Cause: why, Bytes: odd(), InFlight: odd(), Pipe: odd(), Delivered: delivered})
			case 1:
				b.OnLost(Lost{Now: now, Bytes: odd(), Sent: sent(), Delivered: uint64(odd())})
			case 2:
				b.OnRestart(now)
			default:
				a := Ack{
					Now: now, Bytes: n, InFlight: odd(), Pipe: odd(), Delivered: delivered, Newest: sent(),
					RTT: time.Duration(odd()), SRTT: time.Duration(odd()), MinRTT: time.Duration(odd()), Rate: uint64(odd()),
					Recovery: rng.IntN(5) == 0, NoSACK: rng.IntN(9) == 0,
				}
				b.OnAck(a)
				timedOut = timedOut && n <= 0
			}
			states[b.state] = true
			least := 4 * b.mss
			if timedOut {
				least = b.mss
			}
			if w := b.Window(); w < least || w > maxWindow {
				t.Fatalf("window %d, at least %d", w, least)
			}
			if r := b.PacingRate(); r > maxRate || b.started && r == 0 {
				t.Fatalf("rate %d", r)
			}
			if b.inflightLong < 0 || b.inflightShort < 0 || b.upStep <= 0 || b.aggregation.max() < 0 {
				t.Fatalf("%+v", b)
			}
		}
	}
	if len(states) < 6 {
		t.Errorf("states %v", states)
	}
}

// A link of 400 Gb/s and half a second, and one of a kilobit: no overflow.
func TestBBRExtremeRates(t *testing.T) {
	for _, rate := range []uint64{1, 100, 50e9, math.MaxUint64} {
		b := NewBBR(nil, 9000).(*BBR)
		var delivered uint64
		for i := range 2000 {
			delivered += 9000
			b.OnAck(Ack{
				Now: Time(i) * Time(ms), Bytes: 9000, InFlight: b.Window(), Pipe: b.Window(), RTT: 500 * ms, SRTT: 500 * ms,
				Rate: rate, Delivered: delivered, Newest: Sent{Delivered: delivered - min(delivered, 90000), InFlight: b.Window()},
			})
			if w := b.Window(); w < 36000 || w > maxWindow {
				t.Fatalf("rate %d: window %d", rate, w)
			}
			if r := b.PacingRate(); r == 0 || r > maxRate {
				t.Fatalf("rate %d: paces at %d", rate, r)
			}
		}
	}
}

func TestBBRNoAllocation(t *testing.T) {
	b := NewBBR(nil, mss).(*BBR)
	var a Ack
	i := 0
	if n := testing.AllocsPerRun(5000, func() {
		i++
		a = Ack{
			Now: Time(i) * Time(ms), Bytes: mss, InFlight: b.Window(), Pipe: 50 * mss, RTT: 20 * ms, SRTT: 20 * ms, Rate: 5e6,
			Delivered: uint64(i * mss), Newest: Sent{Delivered: uint64(max(i-20, 0) * mss), InFlight: 60 * mss},
		}
		b.OnAck(a)
		if i%100 == 0 {
			b.OnLost(Lost{Now: a.Now, Bytes: mss, Sent: a.Newest, Delivered: a.Delivered})
			b.OnLoss(Loss{Now: a.Now, Cause: Cause(i / 100 % 4), Pipe: a.Pipe, Delivered: a.Delivered})
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
