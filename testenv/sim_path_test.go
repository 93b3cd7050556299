package testenv

import (
	"fmt"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/mptcp/engine"
)

// These simulations are about what a path does to packets: how large they may
// be, and marks instead of drops.

// holeWithin bounds how long a stream may stand still when a path begins to
// swallow what is large.
const holeWithin = 2500 * time.Millisecond

// A path that swallows what is larger than 1400 octets and says nothing, from
// the start or in mid-transfer, alone or beside another: all octets arrive,
// the stream does not stand still, and the size that passes is found (T78).
func TestSimT78_BlackHole(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, paths := range []int{1, 2} {
			for _, after := range []time.Duration{0, time.Second} {
				for _, plain := range []bool{false, true} {
					if plain && paths > 1 {
						continue
					}
					name := fmt.Sprintf("IPv6 %v/%d paths/after %v/TCP %v", v6, paths, after, plain)
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						blackHole(t, v6, paths, after, plain)
					})
				}
			}
		}
	}
}

func blackHole(t *testing.T, v6 bool, paths int, after time.Duration, plain bool) {
	s := NewSim(SimConfig{
		Seed: 1, Links: simPaths(paths), IPv6: v6, MaxTrain: 30_000,
		Engine: func(_ string, c *engine.Config) { c.TCPOnly = plain },
	})
	defer dumpSim(t, s)
	there, _ := s.Link(0)
	dig := func() { there.Set(s.Now(), func(c *LinkConfig) { c.MTU = 1400 }) }
	if after == 0 {
		dig()
	} else {
		s.At(mono.Time(after), dig)
	}
	const size = 4 << 20
	from, to := &SimStream{Seed: 1, PeerSeed: 2, Size: size}, &SimStream{Seed: 2, PeerSeed: 1, PeerSize: size}
	client, _ := dialSim(t, s, from.App, to.App)
	if !s.Run(mono.Time(time.Minute), func() bool { return from.Done() && to.Done() }) {
		t.Errorf("stalled: %d octets of %d arrived", to.Received, size)
	}
	if from.Err != nil || to.Err != nil {
		t.Errorf("sender: %v, receiver: %v", from.Err, to.Err)
	}
	if gap := time.Duration(to.Gap); gap > holeWithin {
		t.Errorf("the stream stood still for %v", gap)
	}
	if there.Stats().DropTooBig == 0 {
		t.Error("nothing was too big: no test")
	}
	checkPathMTU(t, client, 1400)
	lawful(t, s)
}

// checkPathMTU checks what a connection knows of its first path, with all
// subflows on it, and of the others.
func checkPathMTU(t *testing.T, c *SimConn, mtu int) {
	t.Helper()
	for _, sf := range c.Core.Stats().Subflows {
		if sf.Link != 1 {
			if sf.BlackHoles != 0 {
				t.Errorf("subflow %d: a black hole where there is none", sf.ID)
			}
			continue
		}
		if sf.ID != 0 {
			continue // it may have carried too little to know
		}
		if sf.PathMTU > mtu || sf.PathMTU < mtu-16 {
			t.Errorf("path MTU %d, the path takes %d", sf.PathMTU, mtu)
		}
		if sf.BlackHoles != 1 {
			t.Errorf("%d black holes, want one", sf.BlackHoles)
		}
	}
}

// A router that tells: next to no time is lost (T77), next to nothing is sent
// twice, and no octet is mapped anew (T79), which the receiver would refuse.
func TestSimT77_TooBig(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		gap, resent := tooBigRun(t, v6, 1500, 1500)
		gapBig, resentBig := tooBigRun(t, v6, 1400, 1300)
		if gapBig > gap+50*time.Millisecond || resentBig > resent+20 {
			t.Errorf("the stream stood still for %v, %d segments were sent again; without the errors %v, %d",
				gapBig, resentBig, gap, resent)
		}
	}
}

// tooBigRun is a transfer over a path that becomes narrow after a second, and
// narrower after another. It returns the longest time without progress and how
// many segments were sent again.
func tooBigRun(t *testing.T, v6 bool, first, second int) (gap time.Duration, resent int) {
	s := NewSim(SimConfig{Seed: 1, Links: simPaths(1), IPv6: v6, MaxTrain: 30_000})
	defer dumpSim(t, s)
	const size = 2 << 20
	from, to := &SimStream{Seed: 1, PeerSeed: 2, Size: size}, &SimStream{Seed: 2, PeerSeed: 1, PeerSize: size}
	there, _ := s.Link(0)
	var client *SimConn
	narrow := func(mtu int) {
		there.Set(s.Now(), func(c *LinkConfig) {
			c.MTU = mtu
			c.Filter = func(p []byte) bool {
				if len(p) > mtu {
					s.tellTooBig(client, p, mtu)
				}
				return false
			}
		})
	}
	s.At(mono.Time(time.Second), func() { narrow(first) })
	s.At(mono.Time(2*time.Second), func() { narrow(second) })
	client, _ = dialSim(t, s, from.App, to.App)
	if !s.Run(mono.Time(time.Minute), func() bool { return from.Done() && to.Done() }) || from.Err != nil || to.Err != nil {
		t.Errorf("%d octets of %d arrived; %v, %v", to.Received, size, from.Err, to.Err)
	}
	sf := client.Core.Stats().Subflows[0]
	if sf.RTOs != 0 || sf.BlackHoles != 0 || sf.PathMTU != second {
		t.Errorf("%d timeouts, %d black holes, path MTU %d", sf.RTOs, sf.BlackHoles, sf.PathMTU)
	}
	lawful(t, s)
	return time.Duration(to.Gap), int(sf.Retransmits)
}

// tellTooBig has a router answer a packet of A's, two milliseconds later.
func (s *Sim) tellTooBig(c *SimConn, pkt []byte, mtu int) {
	var seg wire.Segment
	if wire.Parse(pkt, &seg, wire.CsumFull) != wire.None {
		return
	}
	e := wire.ICMPError{Tuple: wire.Tuple{Local: seg.Remote, Remote: seg.Local}, Seq: seg.Seq, Kind: wire.ICMPTooBig, MTU: mtu}
	s.At(s.Now().Add(2*time.Millisecond), func() {
		c.Core.HandleICMP(s.Now(), &e)
		c.Poke()
	})
}

// A bottleneck that marks instead of dropping: with ECN nothing is lost and
// the link is full all the same (T75); without, there are losses.
func TestSimT75_MarksInsteadOfLosses(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		for _, ecn := range []engine.ECN{engine.ECNAsk, engine.ECNOff} {
			t.Run(fmt.Sprintf("TCP %v/mode %d", plain, ecn), func(t *testing.T) {
				link := Symmetric(20e6, 40*time.Millisecond, 400_000, 0)
				link.There.Mark = 50_000
				s := NewSim(SimConfig{Seed: 3, Links: []SimLink{link}, Engine: func(name string, c *engine.Config) {
					c.TCPOnly = plain
					if name == "A" {
						c.ECN = ecn
					}
				}})
				const size = 6 << 20
				from, to := &SimStream{Seed: 1, PeerSeed: 2, Size: size}, &SimStream{Seed: 2, PeerSeed: 1, PeerSize: size}
				client, _ := dialSim(t, s, from.App, to.App)
				if !s.Run(mono.Time(time.Minute), func() bool { return from.Done() && to.Done() }) || from.Err != nil || to.Err != nil {
					t.Fatalf("%d octets of %d arrived; %v, %v", to.Received, size, from.Err, to.Err)
				}
				there, _ := s.Link(0)
				sf := client.Core.Stats().Subflows[0]
				if ecn == engine.ECNOff {
					if there.Stats().Marked != 0 || there.Stats().DropQueue == 0 || sf.ECEIn != 0 {
						t.Errorf("without ECN: %+v", there.Stats())
					}
					return
				}
				if there.Stats().Marked == 0 || sf.ECEIn == 0 || there.Stats().DropQueue != 0 || sf.Retransmits != 0 {
					t.Errorf("%d marked, %d echoes, %d dropped, %d sent again", there.Stats().Marked, sf.ECEIn,
						there.Stats().DropQueue, sf.Retransmits)
				}
				// 6 MiB at 20 Mb/s take 2.5 s, a tenth more with the headers.
				if took := time.Duration(s.Now()); took > 4*time.Second {
					t.Errorf("took %v", took)
				}
				lawful(t, s)
			})
		}
	}
}
