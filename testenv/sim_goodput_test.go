package testenv

import (
	"fmt"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/mptcp/engine"
)

// goodputCase is a pair of paths whose goodput is known exactly, for time is
// virtual.
type goodputCase struct {
	name  string
	links []SimLink
	rate  float64 // sum, bits a second
	lanes SimLanes
}

func goodputCases() []goodputCase {
	ms := time.Millisecond
	pair := func(r1 float64, d1 time.Duration, r2 float64, d2 time.Duration) goodputCase {
		return goodputCase{
			name:  fmt.Sprintf("%g/%v+%g/%v", r1, d1, r2, d2),
			links: []SimLink{Symmetric(r1*1e6, d1, 0, 0), Symmetric(r2*1e6, d2, 0, 0)},
			rate:  (r1 + r2) * 1e6,
		}
	}
	one := pair(50, 20*ms, 20, 80*ms)
	one.name, one.links, one.rate = "50/20ms alone", one.links[:1], 50e6
	return []goodputCase{
		one,
		pair(50, 20*ms, 20, 80*ms),
		pair(10, 2*ms, 10, 100*ms),
		pair(10, 2*ms, 10, 2*ms),
		pair(30, 2*ms, 10, 2*ms),
		pair(30, 2*ms, 10, 100*ms),
		pair(30, 100*ms, 10, 2*ms),
	}
}

// run sends size octets from A to B and returns how long it took.
func (g goodputCase) run(t testing.TB, size int, verbose bool) time.Duration {
	s := NewSim(SimConfig{Seed: 1, Links: g.links, Lanes: g.lanes, LaneWorth: 64 << 10, Engine: func(_ string, c *engine.Config) {}})
	a := &SimStream{Seed: 1, PeerSeed: 2, Size: size}
	b := &SimStream{Seed: 2, PeerSeed: 1, PeerSize: size}
	s.B.Listen(9000)
	s.B.Accepted = func(c *SimConn) { c.App = b.App }
	conn := s.A.Dial(0, 0, 9000, a.App)
	var last int
	if verbose {
		var tick func()
		tick = func() {
			line := fmt.Sprintf("%6.1f s  %5.1f Mb/s ", time.Duration(s.Now()).Seconds(), float64(b.Received-last)*8/0.1/1e6)
			last = b.Received
			for _, f := range conn.Core.Stats().Subflows {
				line += fmt.Sprintf(" | %d cwnd %d fl %d srtt %v rexmit %d rto %d", f.ID, f.Cwnd/f.MSS, f.InFlight/f.MSS,
					f.SRTT.Round(time.Millisecond), f.Retransmits, f.RTOs)
			}
			t.Log(line)
			if !b.Ended {
				s.At(s.Now().Add(100*time.Millisecond), tick)
			}
		}
		s.At(0, tick)
	}
	if !s.Run(mono.Time(10*time.Minute), func() bool { return b.Ended || a.Err != nil || b.Err != nil }) || b.Err != nil {
		t.Fatalf("%s: %v %v %v", g.name, a.Err, b.Err, s.Violations())
	}
	return time.Duration(b.LastRead)
}

// TestGoodput: over loss-free links with queues of a bandwidth-delay product
// the paths are filled. Time is virtual, so the figures are exact.
func TestGoodput(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	for _, g := range goodputCases() {
		took := g.run(t, size, false)
		rate := float64(size) * 8 / took.Seconds()
		share := rate / g.rate
		t.Logf("%-24s %7.2f s %6.2f Mb/s, %5.1f %% of the links", g.name, took.Seconds(), rate/1e6, 100*share)
		if share < 0.70 {
			t.Errorf("%s: %.1f %% of the links, want 70", g.name, 100*share)
		}
	}
}

// TestGoodputByLane: trains do not make a slow link slower, though its queue holds but
// a few segments.
func TestGoodputByLane(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	for _, rtt := range []time.Duration{10 * time.Millisecond, 50 * time.Millisecond} {
		for _, mbps := range []float64{10, 100} {
			queue := max(6000, int(mbps*1e6/8*rtt.Seconds()/2))
			g := goodputCase{name: fmt.Sprintf("%g Mb/s, %v", mbps, rtt), links: []SimLink{Symmetric(mbps*1e6, rtt, queue, 0)}}
			plain := g.run(t, size, false)
			g.lanes = LanesWork
			trains := g.run(t, size, false)
			t.Logf("%s: %v, by lane %v", g.name, plain, trains)
			if trains > plain*101/100 {
				t.Errorf("%s: %v by lane, %v without", g.name, trains, plain)
			}
		}
	}
}

// TestGoodputTrace shows one transfer in time: -v.
func TestGoodputTrace(t *testing.T) {
	t.Parallel()
	if !testing.Verbose() {
		return
	}
	goodputCases()[1].run(t, 16<<20, true)
}
