package cc

import (
	"fmt"
	"testing"
	"time"
)

// bbrOn returns a link with one BBR flow.
func bbrOn(mbps float64, delay time.Duration, queueBDP float64) (*link, *flow, *BBR) {
	l := newLink(mbps, delay, queueBDP)
	s := l.add(NewBBR)
	return l, s, s.c.(*BBR)
}

// until runs the link until b is in a state, half a minute at most.
func until(t *testing.T, l *link, b *BBR, want bbrState) {
	t.Helper()
	if !l.run(l.now.Add(30*sec), func() bool { return b.state == want }) {
		t.Fatalf("at %v: state %d, not %d", time.Duration(l.now), b.state, want)
	}
}

// during calls f after each acknowledgment for a time.
func during(l *link, s *flow, d time.Duration, f func()) {
	s.onAck = f
	l.run(l.now.Add(d), nil)
	s.onAck = nil
}

// throughput is what the flow delivers from now on, as a share of the link.
func throughput(l *link, s *flow, d time.Duration) float64 {
	before := s.delivered
	l.run(l.now.Add(d), nil)
	return float64(s.delivered-before) / d.Seconds() / l.rate
}

// near reports whether a is within a share of b.
func near(a, b, share float64) bool { return a >= b*(1-share) && a <= b*(1+share) }

// Startup doubles what it sends each round trip and ends when that brings no
// more, with the bandwidth known within 2 %; Drain empties the queue it made
// (the draft, Sections 5.3.1 and 5.3.2).
func TestBBRStartup(t *testing.T) {
	for _, mbps := range []float64{1, 10, 100, 1000} {
		for _, delay := range []time.Duration{5 * ms, 50 * ms, 300 * ms} {
			if mbps*delay.Seconds() > 50 {
				continue // large windows show nothing more and take long
			}
			t.Run(fmt.Sprintf("%v Mb/s %v", mbps, delay), func(t *testing.T) {
				l, s, b := bbrOn(mbps, delay, 3)
				l.queue = max(l.queue, 60*mss)
				rounds := 0
				s.onAck = func() {
					if b.roundStart {
						rounds++
					}
				}
				until(t, l, b, bbrDrain)
				if !b.fullReached || !b.fullNow || b.fullRounds != 3 {
					t.Errorf("full pipe %v, now %v, rounds %d", b.fullReached, b.fullNow, b.fullRounds)
				}
				if l.drops > 0 {
					t.Fatalf("%d drops: this shows nothing", l.drops)
				}
				if !near(float64(b.maxBw()), l.rate, 0.02) && l.bdp() > 10*mss {
					t.Errorf("bandwidth %d, the link has %.0f", b.maxBw(), l.rate)
				}
				// log2 of the window to reach over the initial one, at most one
				// more for each doubling, and what it takes to be sure.
				limit := 8
				for w := 10.0 * mss; w < l.bdp(); w *= 2 {
					limit += 2
				}
				if rounds > limit {
					t.Errorf("%d round trips, want at most %d", rounds, limit)
				}
				l.run(l.now.Add(10*sec), func() bool { return b.state != bbrDrain })
				if b.state == bbrProbeRTT {
					return // five seconds have passed
				}
				if q := l.backlog(); float64(q) > 0.1*l.bdp()+4*mss+float64(b.quantum)*3 {
					t.Errorf("%d octets queued after Drain, BDP %.0f", q, l.bdp())
				}
			})
		}
	}
}

// Drain does not last for ever if the estimate was too high (Section 5.3.2).
func TestBBRDrainEndsByTime(t *testing.T) {
	l, _, b := bbrOn(50, 40*ms, 8)
	l.run(Time(sec), func() bool { return b.fullRounds == 1 })
	l.rate *= 0.3
	l.free = l.now.Add(time.Duration(float64(l.free.Sub(l.now)) / 0.3))
	until(t, l, b, bbrDrain)
	round := b.round
	l.run(l.now.Add(10*sec), func() bool { return b.state != bbrDrain })
	if n := b.round - round; n != bbrDrainRounds+1 {
		t.Errorf("%d round trips in Drain", n)
	}
	if b.pipe <= b.inflight(b.bw, 1) {
		t.Error("the flight was small: this shows nothing")
	}
}

// The cycle of ProbeBW: down, cruise, refill for one round trip, up; probes
// come after two to three seconds or after 62 or 63 round trips; in between,
// the queue is empty (Section 5.3.3).
func TestBBRCycle(t *testing.T) {
	for _, tt := range []struct {
		delay    time.Duration
		min, max time.Duration
	}{
		{20 * ms, 61 * 20 * ms, 64 * 23 * ms},
		{100 * ms, 2 * sec, 3100 * ms},
	} {
		l, s, b := bbrOn(50, tt.delay, 3)
		until(t, l, b, bbrDown)
		state, begun := b.state, Time(0)
		probes, queue := 0, 0
		var entered uint64
		next := map[bbrState]bbrState{bbrDown: bbrCruise, bbrCruise: bbrRefill, bbrRefill: bbrUp, bbrUp: bbrDown}
		during(l, s, 20*sec, func() {
			if b.state == bbrCruise {
				queue = max(queue, l.backlog())
			}
			if b.state == state {
				return
			}
			from := state
			state = b.state
			if from == bbrProbeRTT || state == bbrProbeRTT {
				begun = b.since
				return
			}
			if state != next[from] {
				t.Errorf("from state %d to %d", from, state)
			}
			switch state {
			case bbrDown:
				begun = b.since
			case bbrRefill:
				entered = b.round
				if d := l.now.Sub(begun); begun > 0 {
					probes++
					if d < tt.min || d > tt.max {
						t.Errorf("RTT %v: %v until the next probe", tt.delay, d)
					}
				}
			case bbrUp:
				if n := b.round - entered; n != 1 {
					t.Errorf("refill took %d round trips", n)
				}
			}
		})
		if probes < 3 {
			t.Errorf("RTT %v: %d probes", tt.delay, probes)
		}
		if float64(queue) > 0.15*l.bdp() {
			t.Errorf("RTT %v: %d octets queued while cruising, BDP %.0f", tt.delay, queue, l.bdp())
		}
	}
}

// The gains are those of the table of Section 5.6.1: what is paced is the
// bandwidth less 1 %, times the gain.
func TestBBRPacing(t *testing.T) {
	l, s, b := bbrOn(50, 20*ms, 3)
	until(t, l, b, bbrDown)
	gains := map[bbrState]float64{bbrDrain: 0.5, bbrDown: 0.9, bbrCruise: 1, bbrRefill: 1, bbrUp: 1.25, bbrProbeRTT: 1}
	seen := map[bbrState]bool{}
	during(l, s, 8*sec, func() {
		seen[b.state] = true
		if want := gains[b.state] * float64(b.bw) * 0.99; !near(float64(b.PacingRate()), want, 1e-6) {
			t.Fatalf("state %d: paces at %d, want %.0f", b.state, b.PacingRate(), want)
		}
		if most := b.bdp(b.bw, 2.25) + b.aggregation.max() + 2*mss; b.Window() > max(most, bbrOffload*b.quantum+2*mss) {
			t.Fatalf("state %d: window %d, BDP %d", b.state, b.Window(), b.bdp(b.bw, 1))
		}
	})
	if len(seen) != 5 {
		t.Errorf("states %v", seen)
	}
}

// ProbeRTT: if no lower round-trip time was seen for five seconds, half of the
// bandwidth-delay product for 200 ms, then on with the cycle (Section 5.3.4).
func TestBBRProbeRTT(t *testing.T) {
	l, s, b := bbrOn(50, 20*ms, 3)
	until(t, l, b, bbrDown)
	for range 3 {
		until(t, l, b, bbrProbeRTT)
		since, small := l.now, Time(0)
		if d := since.Sub(b.probeRTTAt); d > 100*ms { // it was refreshed on entry
			t.Errorf("stamp is %v old", d)
		}
		before := b.priorCwnd
		during(l, s, 150*ms, func() {
			if small == 0 && s.pipe <= int(l.bdp()/2)+mss {
				small = l.now
			}
			if w := b.Window(); float64(w) > 0.55*l.bdp() {
				t.Fatalf("window %d, BDP %.0f", w, l.bdp())
			}
		})
		if small == 0 {
			t.Error("the flight did not shrink")
		}
		if !l.run(l.now.Add(sec), func() bool { return b.state != bbrProbeRTT }) || b.state != bbrCruise {
			t.Fatalf("left to state %d", b.state)
		}
		if d := l.now.Sub(small); d < 200*ms || d > 260*ms {
			t.Errorf("small for %v", d)
		}
		if b.Window() != min(before, b.volumeCap()) {
			t.Errorf("window %d, before %d", b.Window(), before)
		}
		if !near(float64(b.minRTT), float64(l.delay), 0.03) {
			t.Errorf("minimal round-trip time %v", b.minRTT)
		}
		// The next one is five seconds off.
		during(l, s, 4800*ms, func() {
			if b.state == bbrProbeRTT {
				t.Fatal("again, too early")
			}
		})
	}
	if !near(float64(b.maxBw()), l.rate, 0.03) {
		t.Errorf("bandwidth %d afterwards", b.maxBw())
	}
}

// The round-trip time that got longer is learnt within the filter's ten seconds
// and some.
func TestBBRRouteChange(t *testing.T) {
	l, s, b := bbrOn(20, 20*ms, 4)
	until(t, l, b, bbrCruise)
	l.delay = 60 * ms
	l.run(l.now.Add(13*sec), nil)
	if b.minRTT < 60*ms || b.minRTT > 66*ms {
		t.Errorf("minimal round-trip time %v", b.minRTT)
	}
	if g := throughput(l, s, 5*sec); g < 0.85 {
		t.Errorf("%.0f %% of the link", 100*g)
	}
}

// ProbeRTT before the pipe was ever filled leads back to Startup.
func TestBBRProbeRTTInStartup(t *testing.T) {
	l, s, b := bbrOn(50, 20*ms, 1)
	s.app = 200e3 // never full
	until(t, l, b, bbrProbeRTT)
	if b.fullReached {
		t.Fatal("the pipe was filled: this shows nothing")
	}
	l.run(l.now.Add(sec), func() bool { return b.state != bbrProbeRTT })
	if b.state != bbrStartup {
		t.Errorf("state %d", b.state)
	}
}

// An application that sends little shows nothing about the path: the estimate
// stays, Startup goes on (Sections 5.5.4 and 5.3.1.2).
func TestBBRAppLimited(t *testing.T) {
	l, s, b := bbrOn(50, 20*ms, 2)
	s.app = l.rate / 20
	l.run(Time(4*sec), nil)
	if b.state != bbrStartup || b.fullReached {
		t.Errorf("state %d with little to send", b.state)
	}
	s.app = 0
	until(t, l, b, bbrCruise)
	bw := b.maxBw()
	s.app, s.appAt, s.data = l.rate/20, l.now, 0
	l.run(l.now.Add(30*sec), nil)
	if got := b.maxBw(); !near(float64(got), float64(bw), 0.02) {
		t.Errorf("bandwidth fell from %d to %d", bw, got)
	}
	s.app = 0
	if g := throughput(l, s, sec); g < 0.85 {
		t.Errorf("%.0f %% of the link in the first second after", 100*g)
	}
}

// After an idle time the flow paces at its bandwidth, and needs no ProbeRTT:
// the queue was empty (Section 5.4.1).
func TestBBRIdle(t *testing.T) {
	l, s, b := bbrOn(50, 20*ms, 2)
	until(t, l, b, bbrCruise)
	s.paused, s.appAt = true, l.now
	l.run(l.now.Add(7*sec), nil)
	if s.pipe != 0 {
		t.Fatalf("%d octets in flight", s.pipe)
	}
	s.paused, s.app = false, 0
	restart := l.now
	l.run(l.now.Add(10*ms), nil)
	if !b.idleRestart || !near(float64(b.PacingRate()), 0.99*float64(b.bw), 1e-6) {
		t.Errorf("restart %v, paces at %d of %d", b.idleRestart, b.PacingRate(), b.bw)
	}
	l.peak = 0
	during(l, s, 500*ms, func() {
		if b.state == bbrProbeRTT {
			t.Fatalf("ProbeRTT %v after an idle time", l.now.Sub(restart))
		}
	})
	if g := throughput(l, s, 200*ms); g < 0.9 {
		t.Errorf("%.0f %% of the link", 100*g)
	}
}

// A link that becomes ten times as fast is filled within a few probes; one that
// becomes ten times slower shows in the short-term model at once and in the
// bandwidth after two cycles.
func TestBBRRateChange(t *testing.T) {
	l, s, b := bbrOn(10, 20*ms, 2)
	until(t, l, b, bbrCruise)
	l.rate *= 10
	l.queue *= 10
	if !l.run(l.now.Add(8*sec), func() bool { return float64(b.maxBw()) > 0.9*l.rate }) {
		t.Fatalf("bandwidth %d of %.0f", b.maxBw(), l.rate)
	}
	until(t, l, b, bbrCruise)
	l.rate /= 10
	l.queue /= 10
	if !l.run(l.now.Add(sec), func() bool { return float64(b.bw) < 1.5*l.rate }) {
		t.Errorf("after a second it still sends at %d, the link has %.0f", b.bw, l.rate)
	}
	l.run(l.now.Add(14*sec), nil)
	if !near(float64(b.maxBw()), l.rate, 0.1) {
		t.Errorf("bandwidth %d, the link has %.0f", b.maxBw(), l.rate)
	}
	l.drops = 0
	if g := throughput(l, s, 5*sec); g < 0.85 {
		t.Errorf("%.0f %% of the link", 100*g)
	}
}

// With a shallow queue, a probe that loses more than 2 % bounds the flight
// where the losses began, leaves headroom below that while cruising, and the
// next probe is cautious (Sections 5.5.10.2 and 5.3.3).
func TestBBRLossBoundsFlight(t *testing.T) {
	l, s, b := bbrOn(50, 40*ms, 0.1)
	l.run(Time(20*sec), func() bool { return b.tooHigh })
	if !b.tooHigh || b.inflightLong == noBound {
		t.Fatal("no probe went too high")
	}
	fits := l.bdp() + float64(l.queue)
	sent, dropped := uint64(0), 0
	before := s.delivered
	from := l.drops
	during(l, s, 20*sec, func() {
		if f := float64(b.inflightLong); f > 1.3*fits+4*mss || f < 0.65*l.bdp() {
			t.Fatalf("bound %.0f, %.0f fit", f, fits)
		}
		if b.state == bbrCruise && b.Window() > max(b.withHeadroom(), b.minPipe()) {
			t.Fatalf("cruising with a window of %d, bound %d", b.Window(), b.inflightLong)
		}
	})
	sent, dropped = (s.delivered-before)/mss, l.drops-from
	if rate := float64(dropped) / float64(sent); rate > 0.02 {
		t.Errorf("%.1f %% lost", 100*rate)
	}
	if g := float64(s.delivered-before) / 20 / l.rate; g < 0.75 {
		t.Errorf("%.0f %% of the link", 100*g)
	}
}

// The reaction to a lossy probe, in numbers: the bound is where losses passed
// 2 %, but no less than 0.7 of the target (Section 5.5.10.2).
func TestBBRInflightAtLoss(t *testing.T) {
	for _, tt := range []struct{ size, lost, inFlight, want int }{
		{1000, 1000, 50000, 50000},     // 0 + 1000 of 50000: at its end
		{1000, 3000, 100000, 98979},    // 2000 of 99000 before: already too many
		{10000, 10000, 100000, 91836},  // 2 % of what was there by then
		{1000, 50000, 100000, 51020},   // far too many
		{1 << 30, 1 << 30, 1 << 30, 0}, // nothing before it
		{1000, 1 << 30, 1000, 0},       // nonsense
	} {
		if got := inflightAtLoss(tt.size, tt.lost, tt.inFlight); got != tt.want {
			t.Errorf("%+v: got %d", tt, got)
		}
	}
	l, s, b := bbrOn(50, 40*ms, 3)
	until(t, l, b, bbrUp)
	target := b.targetInflight()
	b.OnLost(Lost{Now: l.now, Bytes: mss, Delivered: s.delivered, Sent: Sent{InFlight: 100 * mss, Lost: 2 * mss}})
	if b.inflightLong != noBound || b.state != bbrUp {
		t.Error("2 % were too much")
	}
	b.OnLost(Lost{Now: l.now, Bytes: mss, Delivered: s.delivered, Sent: Sent{InFlight: 100 * mss, Lost: 3 * mss}})
	if want := max(98979, int(0.7*float64(target))); b.inflightLong != want || b.state != bbrDown {
		t.Errorf("bound %d, want %d; state %d", b.inflightLong, want, b.state)
	}
	long := b.inflightLong
	b.OnLost(Lost{Now: l.now, Bytes: mss, Delivered: s.delivered, Sent: Sent{InFlight: 100 * mss, Lost: 9 * mss}})
	if b.inflightLong != long {
		t.Error("two reactions to one probe")
	}
}

// While it does not probe, a round trip with a loss takes the short-term model
// to what was delivered, by 0.7 at most; refilling forgets it (Section
// 5.5.10.3).
func TestBBRShortTerm(t *testing.T) {
	l, s, b := bbrOn(50, 20*ms, 2)
	until(t, l, b, bbrCruise)
	l.loss = 0.2
	least := 1.0
	bw, wnd := b.bw, b.Window()
	during(l, s, 100*ms, func() {
		if b.bw < bw {
			least = min(least, float64(b.bw)/float64(bw))
			bw = b.bw
		}
	})
	if least < 0.699 || least > 0.95 {
		t.Errorf("bandwidth fell by %.2f in a round trip", least)
	}
	if b.bwShort == noRate || b.inflightShort >= wnd {
		t.Errorf("short-term model %d, %d", b.bwShort, b.inflightShort)
	}
	l.loss = 0
	until(t, l, b, bbrRefill)
	if b.bwShort != noRate || b.inflightShort != noBound || !near(float64(b.bw), l.rate, 0.03) {
		t.Errorf("after refilling %d, %d", b.bwShort, b.inflightShort)
	}
}

// Random loss up to half of what a probe tolerates costs little; the more it
// exceeds that, the more.
func TestBBRRandomLoss(t *testing.T) {
	for _, tt := range []struct{ loss, least float64 }{{0, 0.95}, {0.001, 0.85}, {0.005, 0.8}, {0.01, 0.75}} {
		l, s, _ := bbrOn(50, 20*ms, 1)
		l.loss = tt.loss
		l.run(Time(sec), nil)
		if g := throughput(l, s, 20*sec); g < tt.least {
			t.Errorf("loss %v: %.0f %% of the link", tt.loss, 100*g)
		}
	}
}

// Startup ends on loss, too: six gaps and more than 2 % in a round trip of
// recovery. The bound is then what was delivered (Section 5.3.1.3).
func TestBBRStartupLoss(t *testing.T) {
	l, s, b := bbrOn(50, 40*ms, 0.2)
	s.app = 0.9 * l.rate // below the link, so that there is no plateau to see
	l.loss = 0.1
	until(t, l, b, bbrDrain)
	if b.inflightLong == noBound || b.fullRounds >= bbrFullBwRounds {
		t.Errorf("bound %d, %d rounds without growth", b.inflightLong, b.fullRounds)
	}
	if float64(b.inflightLong) > 1.5*l.bdp() {
		t.Errorf("bound %d, BDP %.0f", b.inflightLong, l.bdp())
	}
	// Losses below the threshold do not.
	l, s, b = bbrOn(50, 40*ms, 2)
	s.app = 0.5 * l.rate
	l.loss = 0.003
	l.run(Time(3*sec), nil)
	if b.state != bbrStartup {
		t.Errorf("state %d after few losses", b.state)
	}
}

// Two flows that start ten seconds apart get about half each.
func TestBBRShares(t *testing.T) {
	for _, queue := range []float64{1, 3} {
		l, first, _ := bbrOn(50, 20*ms, queue)
		l.run(Time(10*sec), nil)
		second := l.add(NewBBR)
		l.run(Time(60*sec), nil)
		a, b := first.delivered, second.delivered
		l.run(Time(120*sec), nil)
		x, y := float64(first.delivered-a)/60, float64(second.delivered-b)/60
		if sum := (x + y) / l.rate; sum < 0.9 {
			t.Errorf("queue %v: together %.0f %%", queue, 100*sum)
		}
		if r := x / y; r < 0.66 || r > 1.5 {
			t.Errorf("queue %v: %.1f and %.1f Mb/s", queue, x*8e-6, y*8e-6)
		}
	}
}

// Behind a policer, which drops what exceeds its rate and queues nothing, BBR
// settles at the rate.
func TestBBRPolicer(t *testing.T) {
	l, s, _ := bbrOn(20, 40*ms, 1)
	l.bucket = 0.5 * l.bdp()
	l.run(Time(10*sec), nil)
	sent, drops := s.ids, l.drops
	g := throughput(l, s, 20*sec)
	if lost := float64(l.drops-drops) / float64(s.ids-sent); lost > 0.05 {
		t.Errorf("%.1f %% lost", 100*lost)
	}
	if g < 0.7 {
		t.Errorf("%.0f %% of the rate", 100*g)
	}
}

// Acknowledgments that come in lumps are allowed for: the window exceeds twice
// the bandwidth-delay product by a lump, and the link stays busy.
func TestBBRAggregation(t *testing.T) {
	l, s, b := bbrOn(50, 20*ms, 4)
	l.slot = 15 * ms
	until(t, l, b, bbrCruise)
	if b.aggregation.max() < int(l.rate*0.007) {
		t.Errorf("extra acknowledged %d", b.aggregation.max())
	}
	if g := throughput(l, s, 4*sec); g < 0.9 {
		t.Errorf("%.0f %% of the link", 100*g)
	}
}

// A path that holds less than a segment is kept busy by four, paced at its
// rate.
func TestBBRTinyPath(t *testing.T) {
	l, s, b := bbrOn(0.064, 20*ms, 1)
	l.run(Time(30*sec), nil)
	if b.Window() < 4*mss {
		t.Errorf("window %d", b.Window())
	}
	if g := throughput(l, s, 20*sec); g < 0.9 {
		t.Errorf("%.0f %% of the link", 100*g)
	}
}
