package cc

import (
	"math"
	"testing"
	"time"
)

// lossAt brings a CUBIC to a window of w segments and takes a loss there.
func lossAt(t *testing.T, w int) *path {
	t.Helper()
	p := newPath(NewCUBIC)
	for p.c.Window() < w*mss {
		p.ack(min(mss, w*mss-p.c.Window()), func(a *Ack) { a.RTT = 0 })
	}
	p.want(t, "before the loss", w*mss)
	p.lose(LossDetected)
	return p
}

// The window follows W_cubic(t) = C (t-K)^3 + W_max of RFC 9438, Section 4.2,
// through the concave and the convex region.
func TestT80_CUBICCurve(t *testing.T) {
	for _, wMax := range []int{100, 1000, 5000} {
		for _, rtt := range []time.Duration{20 * ms, 100 * ms, 300 * ms} {
			p := lossAt(t, wMax)
			p.rtt, p.seg = rtt, wMax/100*mss // trains on the large windows
			k := math.Cbrt(float64(wMax) * 0.3 / 0.4)
			begin := p.now
			started := false
			reno := 0.7 * float64(wMax)
			for p.now.Sub(begin).Seconds() < 2*k {
				if !started {
					p.ack(1) // begins the stage, at begin
					started = true
				}
				before := float64(p.c.Window()) / mss
				p.round()
				got := float64(p.c.Window()) / mss
				// The slope of Reno's estimate, α until it has reached W_max.
				if reno < float64(wMax) {
					reno += 3 * 0.3 / 1.7
				} else {
					reno++
				}
				s := p.now.Sub(begin).Seconds()
				curve := 0.4*math.Pow(s-k, 3) + float64(wMax)
				next := 0.4*math.Pow(s+rtt.Seconds()-k, 3) + float64(wMax)
				low := min(max(curve, reno), 1.5*before)
				high := max(next, reno)
				// The window is between W_cubic now and one round later, up to
				// the growth within the round.
				if got < low*0.985-1 || got > high*1.015+1 {
					t.Fatalf("W_max %d, RTT %v, t=%.2f (K=%.2f): window %.1f, want %.1f to %.1f", wMax, rtt, s, k, got, low, high)
				}
			}
			if got := p.c.Window(); got < wMax*mss*13/10-wMax {
				t.Errorf("W_max %d, RTT %v: %d octets at 2K", wMax, rtt, got)
			}
		}
	}
}

// On a short path CUBIC is as fast as Reno would be (RFC 9438, Section 4.3):
// α a round up to the window before the loss, then one segment a round.
func TestT80_CUBICRenoFriendly(t *testing.T) {
	p := lossAt(t, 100)
	p.rtt = ms // K is 4.2 s: the curve is flat for hundreds of rounds
	p.ack(1)
	w := float64(p.c.Window())
	for range 50 {
		p.round()
	}
	p.near(t, "50 rounds", int(w+50*mss*cubicAlpha), mss)
	for p.c.Window() < 100*mss {
		p.round()
	}
	if p.now.Sub(0) > sec {
		t.Fatalf("took %v: this is not the region", p.now.Sub(0))
	}
	w = float64(p.c.Window())
	for range 50 {
		p.round()
	}
	p.near(t, "50 rounds above", int(w+50*mss), 2*mss)
}

// The window grows by no more than half in a round (RFC 9438, Section 4.2).
func TestT80_CUBICTargetClamp(t *testing.T) {
	p := lossAt(t, 20)
	p.ack(1)
	c := p.c.(*CUBIC)
	c.now.epoch -= Time(60 * sec) // far out on the curve
	for range 5 {
		w := p.c.Window()
		p.round()
		if got := p.c.Window(); got > w+w*2/3 || got < w+w/3 {
			t.Errorf("from %d to %d in a round", w, got)
		}
	}
}

// A loss below the last W_max gives room to others (RFC 9438, Section 4.7).
func TestT80_CUBICFastConvergence(t *testing.T) {
	p := lossAt(t, 100)
	c := p.c.(*CUBIC)
	if c.now.wMax != 100 {
		t.Errorf("W_max %v, want 100", c.now.wMax)
	}
	p.lose(LossDetected) // at 70 segments
	if want := 70 * 1.7 / 2; math.Abs(c.now.wMax-want) > 0.01 {
		t.Errorf("W_max %v, want %v", c.now.wMax, want)
	}
	p.near(t, "window", 49*mss, 2)
	for c.window() <= c.now.wMax {
		p.round()
	}
	w := c.window()
	p.lose(LossDetected)
	if c.now.wMax != w {
		t.Errorf("W_max %v, want %v", c.now.wMax, w)
	}
}

// After a timeout the stage starts flat at its own window (RFC 9438, Section 4.8).
func TestT80_CUBICAfterTimeout(t *testing.T) {
	p := lossAt(t, 1000)
	p.lose(Timeout)
	for p.c.Window() < 490*mss {
		p.round(recovery)
	}
	p.round()
	c := p.c.(*CUBIC)
	if c.now.k != 0 || math.Abs(c.now.wMax-490) > 1 {
		t.Errorf("K %v, W_max %v", c.now.k, c.now.wMax)
	}
}

// An ECN mark may take the window to one segment, a loss to two
// (RFC 9438, Section 4.6).
func TestT80_CUBICSmallest(t *testing.T) {
	p := newPath(NewCUBIC)
	for range 20 {
		p.lose(ECN)
	}
	p.want(t, "marks", mss)
	p.lose(LossDetected)
	p.want(t, "a loss", 2*mss)
}

// Time in which the application sent nothing is no part of the curve
// (RFC 9438, Section 4.2): the window does not jump after a pause.
func TestT80_CUBICPauses(t *testing.T) {
	quiet := map[string]func(p *path){
		"silence": func(p *path) { p.now = p.now.Add(60 * sec) },
		"little to send": func(p *path) {
			for range 600 {
				p.now = p.now.Add(100 * ms)
				p.ack(mss, appLimited)
			}
		},
		"window not used": func(p *path) {
			for range 600 {
				p.now = p.now.Add(100 * ms)
				p.ack(mss, empty)
			}
		},
	}
	for what, f := range quiet {
		t.Run(what, func(t *testing.T) {
			with, without := lossAt(t, 1000), lossAt(t, 1000)
			for range 50 {
				with.round()
				without.round()
			}
			f(with)
			for range 50 {
				with.round()
				without.round()
			}
			with.near(t, "after the pause", without.c.Window(), without.c.Window()/100)
		})
	}
}

// An undo puts the controller back on its curve (RFC 9438, Section 4.9.2).
func TestT80_CUBICUndoKeepsTheCurve(t *testing.T) {
	with, without := lossAt(t, 1000), lossAt(t, 1000)
	for range 50 {
		with.round()
		without.round()
	}
	with.lose(LossDetected)
	with.now = with.now.Add(8 * sec)
	with.round(recovery)
	with.lose(Spurious)
	for range 50 {
		with.round()
		without.round()
	}
	with.near(t, "after the undo", without.c.Window(), without.c.Window()/100)
}

func TestT80_CUBICNoRTT(t *testing.T) {
	p := lossAt(t, 100)
	p.rtt = 0
	for range 100 {
		p.now = p.now.Add(100 * ms)
		p.round()
	}
	if w := p.c.Window(); w < 100*mss || w > maxWindow {
		t.Errorf("window %d", w)
	}
}
