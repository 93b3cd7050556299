package subflow

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/wire"
)

// bulk moves n octets from A to B over a link of rate octets a nanosecond and
// returns how long that took.
func bulk(t *testing.T, n int, gbps float64, delay, jitter time.Duration, loss float64, c Config) (time.Duration, *peer) {
	net := &network{
		rng: rand.New(rand.NewPCG(7, 7)), now: mono.Time(time.Second), cut: wire.NewBatch(256 << 10),
		gbps: gbps, delay: delay, jitter: jitter, loss: loss,
	}
	net.a, net.b = newPeer(t, "A", n, 0), newPeer(t, "B", 0, n)
	c.WScale, c.TimeWait = 8, time.Second
	net.a.sf = Dial(net.now, wire.Tuple{Local: addrA, Remote: addrB}, c)
	start := net.now
	net.fixed = &c
	net.run(time.Hour)
	return net.a.sf.Info().LastProgress.Sub(start), net.a
}

// What a lossy, reordering link of 25 Mb/s and 40 ms gives, and at what cost.
// The figures are floors with a margin; the runs are the same every time.
func TestGoodput(t *testing.T) {
	const n = 4 << 20
	for _, c := range []struct {
		loss   float64
		jitter time.Duration
		mbps   float64 // at least
		extra  float64 // retransmissions at most, as a part of the segments
		rtos   uint64  // at most
	}{
		{0, 0, 19, 0, 0},
		{0, 5 * time.Millisecond, 19, 0.002, 0},
		{0.001, 0, 15, 0.003, 0},
		{0.001, 5 * time.Millisecond, 12, 0.009, 0},
		{0.01, 0, 3, 0.015, 0},
		{0.01, 5 * time.Millisecond, 2.5, 0.02, 0},
		{0.05, 0, 1, 0.07, 4},
		{0.05, 5 * time.Millisecond, 0.8, 0.08, 6},
	} {
		t.Run(fmt.Sprintf("loss %v jitter %v", c.loss, c.jitter), func(t *testing.T) {
			took, a := bulk(t, n, 0.0125/4, 20*time.Millisecond, c.jitter, c.loss, Config{})
			i := a.sf.Info()
			mbps := n * 8 / took.Seconds() / 1e6
			extra := float64(i.Retransmits) / (n / 1448)
			t.Logf("%.1f Mb/s, %d retransmissions (%.2f%%), %d RTOs, %d probes, %d spurious",
				mbps, i.Retransmits, 100*extra, i.RTOs, i.TLPs, i.Spurious)
			if mbps < c.mbps || extra > c.extra || i.RTOs > c.rtos {
				t.Errorf("expected %v Mb/s, %v%%, %d RTOs", c.mbps, 100*c.extra, c.rtos)
			}
		})
	}
}

// A link that is silent for a while and returns: the transfer goes on.
func TestOutage(t *testing.T) {
	for _, silent := range []time.Duration{time.Second, 30 * time.Second, 10 * time.Minute} {
		net := newNetwork(t, 3, 300_000, 0)
		net.delay = 20 * time.Millisecond
		net.outageAt = net.now.Add(300 * time.Millisecond)
		net.upAt = net.outageAt.Add(silent)
		net.gbps = 0.00125 / 4
		net.run(time.Hour)
		if back := net.a.sf.Info().LastProgress.Sub(net.upAt); back > silent+70*time.Second {
			t.Errorf("finished %v after an outage of %v", back, silent)
		}
		if !net.a.events.Has(Suspect | Trusted) {
			t.Errorf("events %b", net.a.events)
		}
	}
}
