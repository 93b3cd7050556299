package engine

import (
	"math/bits"
	"net/netip"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/wire"
)

// synAt dials a tuple at a time and returns the SYN.
func synAt(t *testing.T, e *Endpoint, now mono.Time, tuple wire.Tuple) wire.Segment {
	t.Helper()
	c, err := e.Dial(now, tuple, 1, 1500, false)
	if err != nil {
		t.Fatal(err)
	}
	b := wire.NewBatch(1 << 12)
	c.PollTransmit(now, 1, b)
	var syn wire.Segment
	if len(b.Pkts) != 1 || wire.Parse(b.Bytes(0), &syn, wire.CsumFull) != wire.None || !syn.Flags.Has(wire.SYN) {
		t.Fatalf("%d packets, %v", len(b.Pkts), syn)
	}
	c.Abort(now)
	c.PollTransmit(now, 1, b)
	for ev, ok := c.PollEndpoint(); ok; ev, ok = c.PollEndpoint() {
		e.HandleEvent(c, ev)
	}
	if e.Lookup(tuple) != nil {
		t.Fatal("the connection is still there")
	}
	return syn
}

// nthTuple are tuples that differ in one number: ports, then addresses.
func nthTuple(n int) wire.Tuple {
	addr := netip.AddrFrom4([4]byte{10, 0, byte(n >> 13), 2})
	return wire.Tuple{Local: netip.AddrPortFrom(ours[0], uint16(40000+n&0x1fff)), Remote: netip.AddrPortFrom(addr, 80)}
}

// RFC 6528, Section 3: a clock of 4 microseconds and, of the ends, a number
// that stays.
func TestT30_ISNOfOneTupleIsAClock(t *testing.T) {
	for _, passive := range []bool{false, true} {
		s := listening(t)
		at := func(now mono.Time) uint32 {
			if !passive {
				return uint32(synAt(t, s.e, now, nthTuple(0)).Seq)
			}
			l := listening(t) // the same secret, of the same source
			l.now = now
			l.send(0, "S 0 mpc4")
			return uint32(l.expect(0, "S. 0 ack 1 mpc12").Seq)
		}
		first := at(s.now)
		for _, d := range []time.Duration{0, 4 * time.Microsecond, ms, time.Second, time.Hour, 5 * time.Hour} {
			if got, want := at(s.now.Add(d))-first, uint32(d/(4*time.Microsecond)); got != want {
				t.Errorf("passive %t: after %v the ISN grew by %d, want %d", passive, d, got, want)
			}
		}
	}
}

// MUST-9: the ISN of one connection says nothing of another's, nor does that of
// one host's say of another's.
func TestT30_ISNsOfOtherTuplesAreUnrelated(t *testing.T) {
	const n = 1 << 13
	one, other := newScript(t), newScript(t, func(c *Config) { c.Rand = &scriptRand{n: 1000} })
	var diffs, hosts [256]int
	flips := 0
	var before uint32
	for i := range n {
		isn := uint32(synAt(t, one.e, one.now, nthTuple(i)).Seq)
		diffs[(isn-before)>>24]++
		flips += bits.OnesCount32(isn ^ before)
		hosts[(isn-uint32(synAt(t, other.e, one.now, nthTuple(i)).Seq))>>24]++
		before = isn
	}
	checkUniform(t, "differences between neighbours", diffs[:], n)
	checkUniform(t, "differences between hosts", hosts[:], n)
	if avg := float64(flips) / n; avg < 15.5 || avg > 16.5 {
		t.Errorf("neighbours differ in %.2f bits of 32", avg)
	}
}

// checkUniform is a chi-square test with 255 degrees of freedom; 350 is
// exceeded once in ten thousand, and the numbers here are always the same.
func checkUniform(t *testing.T, what string, counts []int, n int) {
	t.Helper()
	want := float64(n) / float64(len(counts))
	chi := 0.0
	for _, c := range counts {
		chi += (float64(c) - want) * (float64(c) - want) / want
	}
	if chi > 350 {
		t.Errorf("%s: chi-square %.0f", what, chi)
	}
}

// The timestamps of a tuple grow from one connection to the next, so that the
// peer's TIME-WAIT may take a new SYN and PAWS drops none (RFC 7323,
// Section 5.4), and say nothing of how long this host is up.
func TestT30_TimestampsOfOneTupleGrow(t *testing.T) {
	s := newScript(t, func(c *Config) { c.NoTimestamps = false })
	first := synAt(t, s.e, s.now, nthTuple(0)).Opt.TSVal
	if got := synAt(t, s.e, s.now.Add(time.Minute), nthTuple(0)).Opt.TSVal - first; got != 60000 {
		t.Errorf("after a minute the timestamp grew by %d, want 60000", got)
	}
	var diffs [256]int
	const n = 1 << 12
	before := first
	for i := range n {
		val := synAt(t, s.e, s.now, nthTuple(1+i)).Opt.TSVal
		diffs[(val-before)>>24]++
		before = val
	}
	checkUniform(t, "timestamps of neighbours", diffs[:], n)
}

// Equal sources make equal numbers: a simulation repeats.
func TestT30_SecretIsOfConfigRand(t *testing.T) {
	a, b := newScript(t), newScript(t)
	if x, y := synAt(t, a.e, a.now, nthTuple(5)).Seq, synAt(t, b.e, b.now, nthTuple(5)).Seq; x != y {
		t.Errorf("ISNs %d and %d of one source", x, y)
	}
}
