package cc

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

const (
	mss = 1000
	ms  = time.Millisecond
	sec = time.Second
)

// path drives a controller with the acknowledgments of a path that keeps the
// window full: what a long download looks like from the sender.
type path struct {
	c   Controller
	now Time
	rtt time.Duration
	seg int // octets a single acknowledgment covers; if zero, one segment
}

func newPath(f Factory) *path { return &path{c: f(new(Group), mss), rtt: 100 * ms} }

// ack acknowledges n octets of a full window.
func (p *path) ack(n int, change ...func(*Ack)) {
	a := Ack{Now: p.now, Bytes: n, InFlight: p.c.Window(), RTT: p.rtt, SRTT: p.rtt, MinRTT: p.rtt}
	for _, f := range change {
		f(&a)
	}
	p.c.OnAck(a)
}

// round acknowledges one window in one round-trip time.
func (p *path) round(change ...func(*Ack)) {
	left, seg := p.c.Window(), p.seg
	if seg == 0 {
		seg = mss
	}
	acks := (left + seg - 1) / seg
	for range acks {
		p.now = p.now.Add(p.rtt / time.Duration(acks))
		p.ack(min(left, seg), change...)
		left -= seg
	}
}

func (p *path) lose(why Cause) {
	p.c.OnLoss(Loss{Now: p.now, Cause: why, Bytes: mss, InFlight: p.c.Window()})
}

func appLimited(a *Ack) { a.AppLimited = true }
func recovery(a *Ack)   { a.Recovery = true }
func empty(a *Ack)      { a.InFlight = a.Bytes }

func (p *path) want(t *testing.T, what string, octets int) {
	t.Helper()
	if got := p.c.Window(); got != octets {
		t.Errorf("%s: window %d, want %d", what, got, octets)
	}
}

// near is want with a tolerance in octets.
func (p *path) near(t *testing.T, what string, octets, slack int) {
	t.Helper()
	if got := p.c.Window(); got < octets-slack || got > octets+slack {
		t.Errorf("%s: window %d, want %d ± %d", what, got, octets, slack)
	}
}

// factories are the loss-based controllers; BBR has tests of its own.
var factories = []struct {
	name string
	make Factory
	beta float64
}{
	{"cubic", NewCUBIC, 0.7},
	{"reno", NewReno, 0.5},
	{"lia", NewLIA, 0.5},
	{"olia", NewOLIA, 0.5},
	{"balia", NewBALIA, 0.5},
}

// each runs a test with every controller.
func each(t *testing.T, f func(t *testing.T, p *path, beta float64)) {
	for _, x := range factories {
		t.Run(x.name, func(t *testing.T) { f(t, newPath(x.make), x.beta) })
	}
}

func TestT58_InitialWindow(t *testing.T) {
	each(t, func(t *testing.T, p *path, _ float64) {
		p.want(t, "RFC 6928, Section 2", 10*mss)
		if p.c.PacingRate() != 0 {
			t.Error("paces by itself")
		}
	})
}

func TestT58_SlowStartDoubles(t *testing.T) {
	for _, seg := range []int{mss, 2 * mss, 100, 64 * mss} { // one ACK a train, too
		each(t, func(t *testing.T, p *path, _ float64) {
			p.seg = seg
			for want := 20 * mss; want <= 320*mss; want *= 2 {
				p.round()
				p.want(t, "a round later", want)
			}
		})
	}
}

func TestNoGrowthUnlessFilled(t *testing.T) {
	for what, f := range map[string]func(*Ack){"app limited": appLimited, "recovery": recovery, "window not used": empty} {
		t.Run(what, func(t *testing.T) {
			each(t, func(t *testing.T, p *path, _ float64) {
				for range 20 {
					p.round(f)
				}
				p.want(t, "slow start", 10*mss)
				p.round()
				p.lose(LossDetected)
				w := p.c.Window()
				for range 50 {
					p.round(f)
				}
				p.want(t, "congestion avoidance", w)
				for range 50 {
					p.round()
				}
				if p.c.Window() <= w {
					t.Error("no growth afterwards")
				}
			})
		})
	}
}

func TestT58_Reduction(t *testing.T) {
	each(t, func(t *testing.T, p *path, beta float64) {
		for range 3 {
			p.round()
		}
		for _, why := range []Cause{LossDetected, ECN} {
			w := p.c.Window()
			p.lose(why)
			p.near(t, "after a loss", int(float64(w)*beta), 1)
		}
		for range 20 {
			p.lose(LossDetected)
		}
		p.want(t, "many losses", 2*mss)
	})
}

// A flow that had less in flight than it might is judged by that in Reno
// (RFC 5681, Section 3.1); whether the lost octets are counted as in flight
// makes little difference.
func TestT58_RenoFlightSize(t *testing.T) {
	for _, tt := range []struct{ inFlight, lost, want int }{
		{40000, 0, 20000},
		{39000, 1000, 20000},
		{10000, 2000, 6000},
		{0, 3000, 2000},
		{1 << 40, 1 << 40, 40000},
		{-5, -5, 2000},
	} {
		p := newPath(NewReno)
		p.round()
		p.round()
		p.round()
		p.c.OnLoss(Loss{Cause: LossDetected, Bytes: tt.lost, InFlight: tt.inFlight})
		p.want(t, "window", tt.want)
	}
}

func TestT58_Timeout(t *testing.T) {
	each(t, func(t *testing.T, p *path, beta float64) {
		for range 3 {
			p.round()
		}
		thresh := int(80 * mss * beta)
		p.lose(Timeout)
		p.want(t, "one segment", mss)
		p.lose(Timeout) // again, and nothing new was acknowledged
		p.want(t, "one segment", mss)
		// Slow start up to the threshold, although the repair still runs.
		for w := 2 * mss; w < thresh; w *= 2 {
			p.round(recovery)
			p.want(t, "slow start", w)
		}
		p.round(recovery)
		p.near(t, "threshold", thresh, mss)
		w := p.c.Window()
		p.round()
		if got := p.c.Window(); got > w+2*mss {
			t.Errorf("congestion avoidance: from %d to %d in a round", w, got)
		}
	})
}

// What arrived before the timeout and is acknowledged when the hole is filled
// opens the window no further than what was sent since (RFC 3465, Section 2.3).
func TestTimeoutThenBigAck(t *testing.T) {
	each(t, func(t *testing.T, p *path, _ float64) {
		for range 3 {
			p.round()
		}
		p.lose(Timeout)
		p.ack(70*mss, recovery, func(a *Ack) { a.InFlight = mss })
		p.want(t, "one segment sent since", 2*mss)
		p.ack(2*mss, recovery)
		p.ack(70*mss, recovery, func(a *Ack) { a.InFlight = 2 * mss })
		p.want(t, "two segments in flight", 6*mss)
		p.ack(mss) // the repair is over
		w := p.c.Window()
		p.ack(mss, recovery)
		p.want(t, "an episode of another kind", w)
	})
}

func TestSpurious(t *testing.T) {
	each(t, func(t *testing.T, p *path, beta float64) {
		for range 3 {
			p.round()
		}
		p.lose(Spurious)
		p.want(t, "nothing to undo", 80*mss)
		for _, why := range []Cause{LossDetected, Timeout, ECN} {
			w := p.c.Window()
			p.lose(why)
			p.round(recovery)
			p.lose(Spurious)
			p.want(t, "undone", w)
			p.round()
			p.want(t, "threshold undone: slow start goes on", 2*w)
			p.lose(Spurious)
			p.want(t, "once only", 2*w)
		}
	})
}

// A timeout after an undone one counts, also when nothing was acknowledged in
// between.
func TestTimeoutAfterSpuriousTimeout(t *testing.T) {
	each(t, func(t *testing.T, p *path, beta float64) {
		p.round()
		p.round()
		p.lose(Timeout)
		p.lose(Spurious)
		p.lose(Timeout)
		for range 6 {
			p.round(recovery)
		}
		p.near(t, "the threshold holds", int(40*mss*beta), 3*mss)
		p.lose(LossDetected)
		p.lose(Spurious)
		p.ack(mss, recovery)
		p.near(t, "no slow start in fast recovery", int(40*mss*beta), 3*mss)
	})
}

// A window that has outgrown what the undo would restore stays.
func TestSpuriousTooLate(t *testing.T) {
	each(t, func(t *testing.T, p *path, _ float64) {
		p.lose(LossDetected)
		for range 40 {
			p.round()
		}
		w := p.c.Window()
		if w <= 10*mss {
			t.Fatalf("window %d", w)
		}
		p.lose(Spurious)
		p.want(t, "kept", w)
		p.round()
		if got := p.c.Window(); got > w+w/2 {
			t.Errorf("slow start again: from %d to %d in a round", w, got)
		}
	})
}

// Reno's sawtooth: one segment a round, half at a loss (RFC 5681, Section 3.1).
func TestRenoSawtooth(t *testing.T) {
	for _, seg := range []int{mss, 100, 7 * mss, 64 * mss} {
		p := newPath(NewReno)
		p.seg = seg
		p.round()
		p.round()
		for range 3 {
			p.lose(LossDetected)
			w := p.c.Window()
			if w != 20*mss {
				t.Fatalf("window %d", w)
			}
			for i := range 20 {
				p.round()
				// A window acknowledged adds one segment; acknowledgments do
				// not end where windows do.
				p.near(t, "avoidance", w+(i+1)*mss, mss)
			}
			for p.c.Window() < 40*mss {
				p.ack(mss)
			}
		}
	}
}

// Whatever happens, the window stays within its bounds.
func TestBounds(t *testing.T) {
	each(t, func(t *testing.T, p *path, _ float64) {
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
		most, least := 0, math.MaxInt
		for i := range 100000 {
			p.now = Time(odd())
			if rng.IntN(2) == 0 {
				p.now = Time(i) * Time(ms)
			}
			if rng.IntN(30) != 0 {
				a := Ack{
					Now: p.now, Bytes: odd(), InFlight: odd(),
					RTT: time.Duration(odd()), SRTT: time.Duration(odd()), MinRTT: time.Duration(odd()),
					AppLimited: rng.IntN(5) == 0, Recovery: rng.IntN(5) == 0,
				}
				if rng.IntN(2) == 0 {
					a.InFlight = p.c.Window()
				}
				before := p.c.Window()
				p.c.OnAck(a)
				if w := p.c.Window(); w < before {
					t.Fatalf("window fell from %d to %d on %+v", before, w, a)
				} else if w > 2*before {
					t.Fatalf("window rose from %d to %d on %+v", before, w, a)
				}
			} else {
				why := Cause(rng.IntN(4))
				p.c.OnLoss(Loss{Now: p.now, Cause: why, Bytes: odd(), InFlight: odd()})
				if w := p.c.Window(); why == LossDetected && w < 2*mss {
					t.Fatalf("window %d after a loss", w)
				}
			}
			w := p.c.Window()
			most, least = max(most, w), min(least, w)
			if w < mss || w > maxWindow {
				t.Fatalf("window %d", w)
			}
			if rng.IntN(2000) == 0 {
				for range 40 { // a chance to become large
					p.round(func(a *Ack) { a.RTT = 0 })
					if p.c.Window() > 1<<24 {
						break
					}
				}
			}
		}
		if least != mss || most < 1<<20 {
			t.Errorf("windows from %d to %d: the test does not reach the bounds", least, most)
		}
	})
}

func TestLargestWindow(t *testing.T) {
	each(t, func(t *testing.T, p *path, _ float64) {
		p.seg = math.MaxInt / 2
		for range 60 {
			p.ack(math.MaxInt, func(a *Ack) { a.InFlight = math.MaxInt })
		}
		p.want(t, "the largest", maxWindow)
	})
}

func TestOddMSS(t *testing.T) {
	for _, x := range factories {
		for _, m := range []int{math.MinInt, -1, 0, 1, 65535, math.MaxInt} {
			p := newPath(x.make)
			p.c = x.make(nil, m)
			if w := p.c.Window(); w < 10*minMSS || w > 10*maxMSS {
				t.Errorf("%s: window %d for an MSS of %d", x.name, w, m)
			}
			p.round()
			p.lose(Timeout)
			p.round()
			if p.c.Window() < minMSS {
				t.Errorf("%s: window %d", x.name, p.c.Window())
			}
		}
	}
}

func TestNoAllocation(t *testing.T) {
	each(t, func(t *testing.T, p *path, _ float64) {
		n := testing.AllocsPerRun(100, func() {
			p.now = p.now.Add(ms)
			p.c.OnAck(Ack{Now: p.now, Bytes: mss, InFlight: p.c.Window(), RTT: ms, SRTT: ms})
			p.lose(LossDetected)
			p.lose(Spurious)
		})
		if n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

func TestGroup(t *testing.T) {
	var g Group
	a, b := NewReno(&g, mss), NewCUBIC(&g, mss)
	if len(g.Members()) != 0 {
		t.Error("uncoupled controllers joined the group")
	}
	g.Join(a)
	g.Join(b)
	g.Leave(a)
	g.Leave(a)
	if m := g.Members(); len(m) != 1 || m[0] != b {
		t.Errorf("members %v", m)
	}
}

func TestNames(t *testing.T) {
	if len(Names()) != len(factories)+1 {
		t.Errorf("Names() = %q", Names())
	}
	for _, name := range append(Names(), "") {
		f, err := New(name)
		if err != nil || f(nil, mss).Window() != 10*mss {
			t.Errorf("New(%q): %v", name, err)
		}
	}
	if _, err := New("vegas"); err == nil || err.Error() != `unknown congestion control "vegas": choose one of cubic, reno, bbr, lia, olia, balia` {
		t.Errorf("error %v", err)
	}
}

func BenchmarkOnAck(b *testing.B) {
	for _, x := range factories {
		b.Run(x.name, func(b *testing.B) {
			p := newPath(x.make)
			p.lose(LossDetected)
			b.ReportAllocs()
			for b.Loop() {
				p.now = p.now.Add(ms)
				p.c.OnAck(Ack{Now: p.now, Bytes: mss, InFlight: p.c.Window(), RTT: p.rtt, SRTT: p.rtt})
			}
		})
	}
}
