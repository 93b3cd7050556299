package testenv

import (
	"fmt"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/mptcp/engine"
)

// Two links together move 16 MiB at 95 % at least of the sum of what each does
// alone, in the conditions of the kernel's own test. testenv/aggregate measures the
// same between hosts, and beside the kernel.
func TestSimAggregation(t *testing.T) {
	const ms = time.Millisecond
	const size = 16 << 20
	for i, c := range []struct {
		mbps [2]float64
		rtt  [2]time.Duration
	}{
		{[2]float64{10, 10}, [2]time.Duration{1 * ms, 1 * ms}},
		{[2]float64{10, 10}, [2]time.Duration{1 * ms, 50 * ms}},
		{[2]float64{30, 10}, [2]time.Duration{1 * ms, 1 * ms}},
		{[2]float64{30, 10}, [2]time.Duration{1 * ms, 50 * ms}},
		{[2]float64{30, 10}, [2]time.Duration{50 * ms, 1 * ms}},
	} {
		down := i%2 == 1
		t.Run(fmt.Sprintf("%v Mb/s, %v, down %v", c.mbps, c.rtt, down), func(t *testing.T) {
			t.Parallel()
			var links []SimLink
			for i := range c.mbps {
				links = append(links, jittered(c.mbps[i]*1e6, c.rtt[i]))
			}
			var gains []float64
			for seed := range uint64(3) {
				both := goodputOver(t, seed, links, down, size)
				sum := goodputOver(t, seed, links[:1], down, size) + goodputOver(t, seed, links[1:], down, size)
				gains = append(gains, both/sum)
			}
			if m := middle(gains); m < 0.95 {
				t.Errorf("both links carry %.3f of what they carry alone: %.3f", m, gains)
			}
		})
	}
}

// goodputOver moves octets over the links, with plain TCP if it is one, and
// returns Mb/s from the first SYN to the last octet.
func goodputOver(t *testing.T, seed uint64, links []SimLink, down bool, octets int) float64 {
	t.Helper()
	s := NewSim(SimConfig{Seed: seed, Links: links, MaxTrain: 65000, Merge: true, Engine: func(_ string, c *engine.Config) { c.TCPOnly = len(links) == 1 }})
	from, to := &SimStream{Seed: 1, PeerSeed: 2, Size: octets}, &SimStream{Seed: 2, PeerSeed: 1, PeerSize: octets}
	a, b := from, to
	if down {
		a, b = to, from
	}
	s.B.Listen(9000)
	s.B.Accepted = func(c *SimConn) { c.App = b.App }
	s.A.Dial(0, 0, 9000, a.App)
	if !s.Run(mono.Time(time.Minute), func() bool { return to.Received == octets }) {
		t.Fatalf("%d octets of %d arrived: %v", to.Received, octets, to.Err)
	}
	lawful(t, s)
	return float64(octets) * 8 / 1e6 / time.Duration(s.Now()).Seconds()
}
