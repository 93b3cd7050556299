package cc

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// coupledKinds are the coupled controllers.
var coupledKinds = []struct {
	name string
	make Factory
}{
	{"lia", NewLIA},
	{"olia", NewOLIA},
	{"balia", NewBALIA},
}

// member is a subflow of a test's group: what is known of its path.
type member struct {
	cwnd   int // segments
	rtt    time.Duration
	flight int // segments; 0: the window is full
	passed int // octets acknowledged since the last loss
}

// groupOf makes a group in congestion avoidance of which everything was
// measured.
func groupOf(f Factory, members ...member) (all []*coupled) {
	g := new(Group)
	for range members {
		all = append(all, f(g, mss).(*coupled))
	}
	for i, m := range members {
		c := all[i]
		c.now.cwnd, c.now.ssthresh = m.cwnd*mss, mss
		c.rtt, c.flight, c.run.since = m.rtt.Seconds(), m.cwnd*mss, uint64(m.passed)
		if m.flight > 0 {
			c.flight = m.flight * mss
		}
	}
	return all
}

// feed acknowledges one segment of a full window.
func (c *coupled) feed(rtt time.Duration) {
	c.OnAck(Ack{Bytes: mss, InFlight: c.now.cwnd, RTT: rtt, SRTT: rtt, MinRTT: rtt})
}

// grown is by how much of a segment the window of the first member grows for
// one segment acknowledged.
func grown(all []*coupled, rtt time.Duration) float64 {
	c := all[0]
	before := float64(c.now.cwnd) + c.part
	c.feed(rtt)
	return (float64(c.now.cwnd) + c.part - before) / mss
}

func wantGrowth(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9 {
		t.Errorf("%s: the window grows by %.6f segments, want %.6f", what, got, want)
	}
}

// Equations 1 and 2 of RFC 6356, Section 3, with the results worked out by hand.
func TestT81_LinkedIncreases(t *testing.T) {
	for _, tt := range []struct {
		name    string
		members []member
		want    float64 // of the first
	}{
		// alpha = 1/2: 0.5/20.
		{"two equal paths", []member{{cwnd: 10, rtt: 100 * ms}, {cwnd: 10, rtt: 100 * ms}}, 0.025},
		// alpha = 1/4: 0.25/40.
		{"four equal paths", []member{{cwnd: 10, rtt: sec}, {cwnd: 10, rtt: sec}, {cwnd: 10, rtt: sec}, {cwnd: 10, rtt: sec}}, 0.00625},
		// w/rtt²: 1000, 250; w/rtt: 100, 50; alpha = 20·1000/22500 = 8/9.
		{"unequal round trips", []member{{cwnd: 10, rtt: 100 * ms}, {cwnd: 10, rtt: 200 * ms}}, 8.0 / 9 / 20},
		{"the slower of them", []member{{cwnd: 10, rtt: 200 * ms}, {cwnd: 10, rtt: 100 * ms}}, 8.0 / 9 / 20},
		// w/rtt²: 1000, 40; w/rtt: 100, 40; alpha = 50·1000/19600: 2.55/50 = 0.051.
		{"unequal windows", []member{{cwnd: 10, rtt: 100 * ms}, {cwnd: 40, rtt: sec}}, 1000.0 / 19600},
		// w/rtt²: 10, 20000; w/rtt: 10, 200; 20000/44100 is more than TCP's 1/10.
		{"no more than TCP", []member{{cwnd: 10, rtt: sec}, {cwnd: 2, rtt: 10 * ms}}, 0.1},
		// "the minimum between flight_size_i and cwnd_i": as a window of 2.
		// w/rtt²: 1000, 200; w/rtt: 100, 20: 1000/14400.
		{"the other is idle", []member{{cwnd: 10, rtt: 100 * ms}, {cwnd: 100, rtt: 100 * ms, flight: 2}}, 1000.0 / 14400},
	} {
		all := groupOf(NewLIA, tt.members...)
		wantGrowth(t, tt.name, grown(all, tt.members[0].rtt), tt.want)
	}
}

// "When cwnd_total is large the increase may be 0. In this case, the increase
// MUST be set to 1" (RFC 6356, Section 3): a window grows, however large.
func TestT81_GrowthIsNotLost(t *testing.T) {
	const segments = 100000
	for _, x := range coupledKinds {
		all := groupOf(x.make, member{cwnd: segments, rtt: 100 * ms}, member{cwnd: segments, rtt: 100 * ms})
		before := all[0].Window()
		for range segments {
			all[0].feed(100 * ms)
		}
		// A quarter of a segment, as the aggregate grows by half of one.
		if got := all[0].Window() - before; got < mss/4-1 || got > mss/4+1 {
			t.Errorf("%s: after a window of acknowledgments: %d octets more", x.name, got)
		}
	}
}

// Alpha is computed anew when a window has changed by a segment and at a loss,
// and not otherwise (RFC 6356, Section 4.1).
func TestT82_AlphaOncePerWindow(t *testing.T) {
	all := groupOf(NewLIA, member{cwnd: 10, rtt: 100 * ms}, member{cwnd: 10, rtt: 100 * ms})
	a, b := all[0], all[1]
	wantGrowth(t, "at first", grown(all, 100*ms), 0.025)
	b.rtt = 0.4 // unnoticed as yet
	wantGrowth(t, "within the window", grown(all, 100*ms), 0.025*20000/float64(a.now.cwnd-25+10000))
	for before := a.now.cwnd / mss; a.now.cwnd/mss == before; {
		a.feed(100 * ms)
	}
	want := func() float64 {
		wa, wb := float64(a.now.cwnd), float64(b.now.cwnd)
		rate := wa/0.1 + wb/b.rtt
		return min(mss*max(wa/0.01, wb/(b.rtt*b.rtt))/(rate*rate), mss/float64(a.now.cwnd))
	}
	w := want()
	wantGrowth(t, "a segment later", grown(all, 100*ms), w)
	b.rtt = 0.05
	b.OnLoss(Loss{Cause: LossDetected, Bytes: mss, InFlight: b.now.cwnd})
	w = want()
	wantGrowth(t, "after a loss", grown(all, 100*ms), w)
	b.rtt = 0.2
	a.group.Leave(b)
	a.group.Join(b)
	w = want()
	wantGrowth(t, "after a change of the group", grown(all, 100*ms), w)
}

// The increase of OLIA: the draft's two terms.
func TestT83_OpportunisticIncreases(t *testing.T) {
	const kb = 1000
	for _, tt := range []struct {
		name    string
		members []member
		want    float64 // of the first
	}{
		{"both best and largest", []member{{cwnd: 10, rtt: 100 * ms, passed: 50 * kb}, {cwnd: 10, rtt: 100 * ms, passed: 50 * kb}}, 0.025},
		// The best path has the smaller window: +1/2 to it, -1/2 to the other.
		// Σ w/rtt = 300; w/rtt²: 1000 and 2000.
		{"best, not largest", []member{{cwnd: 10, rtt: 100 * ms, passed: 90 * kb}, {cwnd: 20, rtt: 100 * ms, passed: 10 * kb}}, 1.0/90 + 0.05},
		{"largest, not best", []member{{cwnd: 20, rtt: 100 * ms, passed: 10 * kb}, {cwnd: 10, rtt: 100 * ms, passed: 90 * kb}}, 2.0/90 - 0.025},
		{"the best is the largest", []member{{cwnd: 20, rtt: 100 * ms, passed: 90 * kb}, {cwnd: 10, rtt: 100 * ms, passed: 10 * kb}}, 2.0 / 90},
		{"neither, and nothing to shift", []member{{cwnd: 10, rtt: 100 * ms, passed: 10 * kb}, {cwnd: 20, rtt: 100 * ms, passed: 90 * kb}}, 1.0 / 90},
		// l²/rtt: 40²/0.4 = 4000 against 10²/0.1·... = 1000: the slow path is best.
		{"best by octets and round trip", []member{{cwnd: 10, rtt: 400 * ms, passed: 40 * kb}, {cwnd: 20, rtt: 100 * ms, passed: 10 * kb}},
			10/0.16/(225.0*225) + 0.05},
		// Three: one best, two largest: alpha = 1/3 and -1/6.
		{"shared by two", []member{{cwnd: 20, rtt: 100 * ms, passed: 10 * kb}, {cwnd: 20, rtt: 100 * ms, passed: 10 * kb}, {cwnd: 10, rtt: 100 * ms, passed: 90 * kb}},
			2000.0/250000 - 1.0/6/20},
	} {
		all := groupOf(NewOLIA, tt.members...)
		wantGrowth(t, tt.name, grown(all, tt.members[0].rtt), tt.want)
	}
}

// l is the larger of what passed between the last two losses and since the last
// one; an undone loss was none.
func TestT83_OctetsBetweenLosses(t *testing.T) {
	c := groupOf(NewOLIA, member{cwnd: 50, rtt: 100 * ms}, member{cwnd: 50, rtt: 100 * ms})[0]
	pass := func(segments int) {
		for range segments {
			c.feed(100 * ms)
		}
	}
	lose := func(why Cause) { c.OnLoss(Loss{Cause: why, Bytes: mss, InFlight: c.now.cwnd}) }
	want := func(what string, segments float64) {
		t.Helper()
		if got := c.run.longest() / mss; got != segments {
			t.Errorf("%s: l is %v segments, want %v", what, got, segments)
		}
	}
	pass(30)
	want("before any loss", 30)
	lose(LossDetected)
	pass(10)
	want("after one", 30)
	pass(25)
	want("since it", 35)
	lose(Timeout)
	pass(5)
	want("after another", 35)
	lose(Timeout)
	pass(5)
	lose(Spurious)
	want("undone", 35)
	pass(30)
	want("and it goes on where it was", 40)
}

// On the loss of a flight of 40 segments: half, but BALIA takes up to three
// quarters on paths that are slower than the best; the least threshold is one
// segment where there are others to send on.
func TestT83_CoupledReduction(t *testing.T) {
	for _, tt := range []struct {
		kind  string
		make  Factory
		other time.Duration
		cwnd  int
		want  int // octets
	}{
		{"lia", NewLIA, 100 * ms, 40, 20 * mss},
		{"lia", NewLIA, 10 * ms, 40, 20 * mss},
		{"lia", NewLIA, 10 * ms, 2, 2 * mss},
		{"olia", NewOLIA, 10 * ms, 40, 20 * mss},
		{"olia", NewOLIA, 10 * ms, 2, mss},
		{"balia", NewBALIA, 200 * ms, 40, 20 * mss},        // we are the best
		{"balia", NewBALIA, 100 * ms, 40, 20 * mss},        // as good as the other
		{"balia", NewBALIA, 80 * ms, 40, 40 * mss * 3 / 8}, // alpha 1.25
		{"balia", NewBALIA, 10 * ms, 40, 10 * mss},         // alpha 10, taken as 1.5
		{"balia", NewBALIA, 10 * ms, 2, mss},
	} {
		c := groupOf(tt.make, member{cwnd: tt.cwnd, rtt: 100 * ms}, member{cwnd: tt.cwnd, rtt: tt.other})[0]
		c.OnLoss(Loss{Cause: LossDetected, Bytes: mss, InFlight: c.now.cwnd})
		if c.Window() != tt.want {
			t.Errorf("%s, the other path has %v: window %d, want %d", tt.kind, tt.other, c.Window(), tt.want)
		}
		c.OnLoss(Loss{Cause: Timeout, Bytes: mss, InFlight: c.now.cwnd})
		if c.Window() != mss {
			t.Errorf("%s: window %d after a timeout", tt.kind, c.Window())
		}
	}
}

// BALIA's increase, worked out by hand: x/(rtt (Σx)²) (1+a)/2 (4+a)/5.
func TestBALIAIncrease(t *testing.T) {
	for _, tt := range []struct {
		name    string
		members []member
		want    float64
	}{
		{"equal", []member{{cwnd: 10, rtt: 100 * ms}, {cwnd: 10, rtt: 100 * ms}}, 0.025},
		// x = 100 and 50, a = 1: 1000/22500.
		{"the faster", []member{{cwnd: 10, rtt: 100 * ms}, {cwnd: 10, rtt: 200 * ms}}, 1000.0 / 22500},
		// x = 50 and 100, a = 2: 250/22500 · 1.5 · 1.2.
		{"the slower", []member{{cwnd: 10, rtt: 200 * ms}, {cwnd: 10, rtt: 100 * ms}}, 250.0 / 22500 * 1.8},
	} {
		all := groupOf(NewBALIA, tt.members...)
		wantGrowth(t, tt.name, grown(all, tt.members[0].rtt), tt.want)
	}
}

// A subflow that is alone in its group behaves as Reno, whatever happens: if it
// never had company, if nothing is known of the other yet, and once the other
// has gone.
func TestT81_AloneIsReno(t *testing.T) {
	company := map[string]func(*Group, Factory){
		"alone":                  func(*Group, Factory) {},
		"with a beginner":        func(g *Group, f Factory) { f(g, mss) },
		"with another sort":      func(g *Group, _ Factory) { g.Join(NewReno(nil, mss)) },
		"after the other left":   func(g *Group, f Factory) { c := f(g, mss); c.OnAck(Ack{Bytes: 1, SRTT: sec}); g.Leave(c) },
		"without a group at all": nil,
	}
	for _, x := range coupledKinds {
		for name, join := range company {
			var g *Group
			if join != nil {
				g = new(Group)
				join(g, x.make)
			}
			c, r := x.make(g, mss), NewReno(nil, mss)
			rng := rand.New(rand.NewPCG(5, 6))
			var now Time
			for i := range 20000 {
				now = now.Add(ms)
				if rng.IntN(200) == 0 {
					l := Loss{Now: now, Cause: Cause(rng.IntN(4)), Bytes: mss, InFlight: rng.IntN(2 * r.Window())}
					c.OnLoss(l)
					r.OnLoss(l)
				} else {
					a := Ack{Now: now, Bytes: 1 + rng.IntN(5*mss), InFlight: r.Window(), RTT: 50 * ms, SRTT: 50 * ms, Recovery: rng.IntN(9) == 0}
					c.OnAck(a)
					r.OnAck(a)
				}
				if c.Window() != r.Window() {
					t.Fatalf("%s, %s, step %d: window %d, Reno's %d", x.name, name, i, c.Window(), r.Window())
				}
			}
		}
	}
}

// A joined subflow begins as every TCP connection does, and what happens to one
// does not change the window of another (RFC 8684, Section 3.3.7).
func TestT84_StateOfItsOwn(t *testing.T) {
	for _, x := range factories {
		g := new(Group)
		first := &path{c: x.make(g, mss), rtt: 100 * ms}
		for range 3 {
			first.round()
		}
		second := &path{c: x.make(g, mss), rtt: 20 * ms}
		second.want(t, x.name+": joined late", 10*mss) //
		second.round()
		second.want(t, x.name+": slow start of its own", 20*mss)
		first.want(t, x.name+": the first goes on", 80*mss)
		second.lose(LossDetected)
		first.want(t, x.name+": a loss of the second", 80*mss)
		w := second.c.Window()
		first.lose(Timeout)
		second.want(t, x.name+": a timeout of the first", w)
		first.round()
		first.want(t, x.name+": slow start again", 2*mss)
	}
}

// Whatever happens to a group, windows stay within their bounds, and numbers
// stay numbers.
func TestCoupledBounds(t *testing.T) {
	for _, x := range coupledKinds {
		rng := rand.New(rand.NewPCG(7, 8))
		g := new(Group)
		var all []*coupled
		for i := range 100000 {
			if len(all) < 2 || rng.IntN(1000) == 0 && len(all) < 5 {
				all = append(all, x.make(g, 1+rng.IntN(3000)).(*coupled))
			}
			at := rng.IntN(len(all))
			c := all[at]
			switch rng.IntN(30) {
			case 0:
				c.OnLoss(Loss{Cause: Cause(rng.IntN(4)), Bytes: rng.Int() >> rng.IntN(62), InFlight: rng.Int() >> rng.IntN(62)})
			case 1:
				if rng.IntN(100) == 0 {
					g.Leave(c)
					all = append(all[:at], all[at+1:]...)
				}
			default:
				a := Ack{Bytes: rng.Int() >> rng.IntN(62), InFlight: rng.Int() >> rng.IntN(62), SRTT: time.Duration(rng.Int() >> rng.IntN(62)), Recovery: rng.IntN(9) == 0}
				if rng.IntN(2) == 0 {
					a.InFlight = c.Window()
				}
				c.OnAck(a)
			}
			if w := c.Window(); w < c.mss || w > maxWindow || math.IsNaN(c.part) || math.Abs(c.part) >= 1 {
				t.Fatalf("%s, step %d: window %d, and %v", x.name, i, w, c.part)
			}
		}
	}
}

func TestCoupledNoAllocation(t *testing.T) {
	for _, x := range coupledKinds {
		all := groupOf(x.make, member{cwnd: 50, rtt: 100 * ms}, member{cwnd: 50, rtt: 100 * ms})
		n := testing.AllocsPerRun(100, func() {
			all[0].feed(100 * ms)
			all[1].OnLoss(Loss{Cause: LossDetected, Bytes: mss, InFlight: all[1].now.cwnd})
			all[1].OnLoss(Loss{Cause: Spurious})
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", x.name, n)
		}
	}
}

// BenchmarkCoupled is one decision for one of two paths, and of eight.
func BenchmarkCoupled(b *testing.B) {
	for _, x := range coupledKinds {
		for _, n := range []int{2, 8} {
			b.Run(fmt.Sprintf("%s/%d", x.name, n), func(b *testing.B) {
				members := make([]member, n)
				for i := range members {
					members[i] = member{cwnd: 50 + 30*i, rtt: time.Duration(100-10*i) * ms}
				}
				all := groupOf(x.make, members...)
				b.ReportAllocs()
				for b.Loop() {
					all[0].feed(100 * ms)
					if all[0].now.cwnd > 1000*mss {
						all[0].now.cwnd = 50 * mss
					}
				}
			})
		}
	}
}
