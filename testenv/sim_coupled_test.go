package testenv

import (
	"slices"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/mptcp/engine"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/subflow/cc"
)

// contest is a connection over all its links, and beside it plain connections
// with Reno, one for each interface named.
type contest struct {
	ours     string // congestion control of the connection
	links    []SimLink
	rivals   []int
	from, to time.Duration // what is measured
}

// run returns what the connection and each rival have moved, in Mb/s.
func (r contest) run(t *testing.T, seed uint64) (ours float64, rivals []float64) {
	t.Helper()
	_, all := r.measure(t, seed)
	return all[0], all[1:]
}

// shareOf returns the share of the connection's octets that its path with this
// number carried.
func (r contest) shareOf(t *testing.T, path int) float64 {
	t.Helper()
	c, _ := r.measure(t, 1)
	var sum float64
	for _, f := range c.Core.Stats().Subflows {
		sum += float64(f.BytesAcked)
	}
	return float64(c.Core.Stats().Subflows[path].BytesAcked) / sum
}

func (r contest) measure(t *testing.T, seed uint64) (ours *SimConn, rates []float64) {
	t.Helper()
	factory, err := cc.New(r.ours)
	if err != nil {
		t.Fatal(err)
	}
	var group *cc.Group // of ours, which is the first
	managers := 0
	s := NewSim(SimConfig{Seed: seed, Links: r.links, Engine: func(host string, c *engine.Config) {
		c.CC = func(g *cc.Group, mss int) cc.Controller {
			if host == "A" && group == nil {
				group = g
			}
			if g == group {
				return factory(g, mss)
			}
			return cc.NewReno(g, mss)
		}
		c.Manager = func() pathmgr.Manager {
			if host == "A" {
				managers++
			}
			if host == "B" || managers > 1 {
				return pathmgr.NewNone()
			}
			return pathmgr.NewFullMesh()
		}
	}})
	s.B.Listen(9000)
	var streams []*SimStream
	s.B.Accepted = func(c *SimConn) {
		b := &SimStream{Seed: 2, PeerSeed: 1, PeerSize: 1 << 40, KeepOpen: true}
		streams = append(streams, b)
		c.App = b.App
	}
	dial := func(i int) {
		a := &SimStream{Seed: 1, PeerSeed: 2, Size: 1 << 40}
		s.A.Dial(i, i, 9000, a.App)
		s.Run(s.Now().Add(time.Second), nil) // so that they are told apart by their order
	}
	dial(0)
	for _, i := range r.rivals {
		dial(i)
	}
	s.Run(mono.Time(r.from), nil)
	before := make([]int, len(streams))
	for i, b := range streams {
		before[i] = b.Received
	}
	s.Run(mono.Time(r.to), nil)
	if len(streams) != 1+len(r.rivals) || len(s.Violations()) > 0 {
		t.Fatalf("%d connections: %v", len(streams), s.Violations())
	}
	for i, b := range streams {
		if b.Err != nil {
			t.Fatal(b.Err)
		}
		rates = append(rates, float64(b.Received-before[i])*8/1e6/(r.to-r.from).Seconds())
	}
	return s.A.Conns[0], rates
}

// sharedLink is n interfaces behind one bottleneck.
func sharedLink(n int, one SimLink) []SimLink {
	links := []SimLink{one}
	for range n - 1 {
		links = append(links, SimLink{Shared: true})
	}
	return links
}

// fairRuns is how much is measured: a minute with each of five seeds, of which
// the median counts; or half a minute with each of three, whose median is allowed
// more. Time is virtual: equal seeds give equal figures, until what is sent
// changes in the least.
func fairRuns() (seeds int, took time.Duration) {
	if full() {
		return 5, 60 * time.Second
	}
	return 3, 30 * time.Second
}

// jittered is a path with a delay that varies a little, so that flows do not
// keep step.
func jittered(rate float64, rtt time.Duration) SimLink {
	l := Symmetric(rate, rtt, 0, 0)
	l.There.Jitter = time.Millisecond
	return l
}

func middle(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

// TestE8_T81_SharedBottleneck: two subflows through one bottleneck beside one
// connection of Reno take about what that takes (RFC 6356, Section 2, goal 2);
// without coupling they take two shares.
func TestE8_T81_SharedBottleneck(t *testing.T) {
	seeds, took := fairRuns()
	type share struct {
		name        string
		least, most float64
	}
	for _, tt := range chosen(t, 2, []share{{"lia", 0.8, 1.3}, {"olia", 0.8, 1.3}, {"balia", 0.8, 1.3}, {"reno", 1.6, 2.5}}) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var shares []float64
			for seed := range seeds {
				c := contest{ours: tt.name, links: sharedLink(2, jittered(20e6, 40*time.Millisecond)), rivals: []int{0}}
				c.from, c.to = 10*time.Second, 10*time.Second+took
				ours, rival := c.run(t, uint64(seed+1))
				shares = append(shares, ours/rival[0])
				t.Logf("%.2f Mb/s beside %.2f", ours, rival[0])
			}
			least, most := tt.least, tt.most
			if seeds < 5 {
				least, most = 0.85*least, 1.2*most
			}
			if m := middle(shares); m < least || m > most {
				t.Errorf("takes %.2f of what Reno takes, want %.1f to %.1f: %.2f", m, tt.least, tt.most, shares)
			}
		})
	}
}

// TestT81_DistinctBottlenecks: on paths of their own, with a connection of Reno
// on each, the subflows take together no less than one would on the best of the
// paths (RFC 6356, Section 2, goal 1).
func TestT81_DistinctBottlenecks(t *testing.T) {
	seeds, took := fairRuns()
	least := 0.85 // what half a minute can tell
	if full() {
		least = 0.95
	}
	links := []SimLink{jittered(20e6, 20*time.Millisecond), jittered(8e6, 60*time.Millisecond)}
	for _, x := range chosen(t, 1, []string{"lia", "olia", "balia"}) {
		t.Run(x, func(t *testing.T) {
			t.Parallel()
			var shares []float64
			for seed := range seeds {
				c := contest{ours: x, links: links, rivals: []int{0, 1}, from: 10 * time.Second, to: 10*time.Second + took}
				both, _ := c.run(t, uint64(seed+1))
				c.links, c.rivals = links[:1], []int{0}
				alone, _ := c.run(t, uint64(seed+1))
				shares = append(shares, both/alone)
				t.Logf("%.2f Mb/s over both, %.2f over the best alone", both, alone)
			}
			if m := middle(shares); m < least {
				t.Errorf("over two paths %.2f of what the best alone gives: %.2f", m, shares)
			}
		})
	}
}

// TestT83_LossyPathIsLeft: of two paths of which one loses ten times as much as
// the other, OLIA leaves the worse nearly alone.
func TestT83_LossyPathIsLeft(t *testing.T) {
	good, bad := jittered(50e6, 40*time.Millisecond), jittered(50e6, 40*time.Millisecond)
	good.There.Loss, bad.There.Loss = 0.001, 0.01
	for _, tt := range []struct {
		name        string
		least, most float64 // share of the octets that the worse path carries
	}{{"olia", 0, 0.12}, {"reno", 0.18, 0.35}} {
		c := contest{ours: tt.name, links: []SimLink{good, bad}, from: 5 * time.Second, to: 25 * time.Second}
		if share := c.shareOf(t, 1); share < tt.least || share > tt.most {
			t.Errorf("%s sends %.3f of the octets on the path that loses more, want %.2f to %.2f", tt.name, share, tt.least, tt.most)
		}
	}
}
