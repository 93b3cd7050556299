package engine

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/wire"
)

// flood is a listener under a flood of SYNs whose senders do not exist, and a
// script for those who do.
type flood struct {
	*script
	conns []*Conn // what was kept for spoofed SYNs
	batch *wire.Batch
	syns  int
	most  int // connections at a time
}

func flooded(t *testing.T) *flood {
	t.Helper()
	s := newScript(t, withTS, func(c *Config) { c.RecvBuffer = 1 << 20 })
	l, err := s.e.Listen(netip.AddrPortFrom(netip.IPv4Unspecified(), 80), 4096)
	if err != nil {
		t.Fatal(err)
	}
	s.l = l
	return &flood{script: s, batch: wire.NewBatch(1 << 14)}
}

// spoof is one SYN of the flood, with all the options that cost something.
func (f *flood) spoof() {
	i := f.syns
	f.syns++
	syn := wire.Segment{
		Tuple: wire.Tuple{
			Local:  netip.AddrPortFrom(ours[0], 80),
			Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, 64 + byte(i>>16), byte(i >> 8), byte(i)}), uint16(1024+i%60000)),
		},
		Seq: 77, Flags: wire.SYN, Window: 65535, Link: 1, MTU: 1500,
	}
	syn.Opt = wire.TCPOptions{MSS: 1460, HasWScale: true, WScale: 7, SACKPermitted: true, HasTS: true, TSVal: 5}
	syn.MP.Has = wire.MPCapable
	syn.MP.Capable.Version, syn.MP.Capable.Flags = 1, wire.CapSHA256
	c, v := f.e.HandleSegment(f.now, &syn)
	switch v {
	case Deliver:
		f.conns = append(f.conns, c)
		c.HandleSegment(f.now, &syn)
		f.drain(c)
	case Answer:
		f.batch.Reset()
		a := f.e.Answer(f.now, &syn)
		wire.AppendSegment(f.batch, &a, 0)
	default:
		f.t.Fatalf("SYN %d: verdict %d", i, v)
	}
	f.most = max(f.most, len(f.e.tokens))
}

// drain is the driver's part for a connection of the flood.
func (f *flood) drain(c *Conn) {
	for _, link := range c.PollReady(f.now, nil) {
		f.batch.Reset()
		c.PollTransmit(f.now, link, f.batch)
	}
	for ev, ok := c.PollEndpoint(); ok; ev, ok = c.PollEndpoint() {
		f.e.HandleEvent(c, ev)
	}
}

// tick lets time pass for what was kept.
func (f *flood) tick(d time.Duration) {
	f.now = f.now.Add(d)
	kept := f.conns[:0]
	for _, c := range f.conns {
		if c.PollTimeout() <= f.now {
			c.HandleTimeout(f.now)
			f.drain(c)
		}
		if c.PollTimeout() != mono.Never {
			kept = append(kept, c)
		}
	}
	clear(f.conns[len(kept):])
	f.conns = kept
}

// connects has a real client connect, speak and be heard, without a moment's
// waiting.
func (f *flood) connects(mpc string) {
	f.t.Helper()
	n := f.addLeg(legTuple(0, 0, 80, uint16(2000+len(f.legs))))
	f.c, f.wrote, f.read = nil, 0, 0
	scaled := func(s *wire.Segment) { s.Opt.HasWScale, s.Opt.WScale = true, 4 }
	if mpc != "" {
		f.send(n, "S 0 mpc4", scaled)
		f.expect(n, "S. 0 ack 1 mpc12")
		f.send(n, ". 1 ack 1 mpc20")
		f.expect(n, ". 1 ack 1 A1")
		f.send(n, ". 1+100 ack 1 A1 M1:1:100")
		f.expectMultipath()
	} else {
		f.send(n, "S 0", scaled)
		f.expect(n, "S. 0 ack 1")
		f.send(n, ". 1 ack 1")
		f.send(n, ". 1+100 ack 1 @1")
	}
	f.expectRead(100)
	f.ignore(n)
	f.write(10)
	f.expectOne(n, ". 1+10 ack 101")
	if f.c.paths[0].shift != 4 || f.l.Accept() != f.c {
		f.t.Fatalf("shift %d, or not accepted", f.c.paths[0].shift)
	}
	f.abort()
	f.ignore(n)
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// RFC 4987: 100,000 SYNs of senders that do not exist, 2,000 a second. What is
// kept is bounded, what is kept is given back, and all the while real clients
// connect at once, with all options and MPTCP.
func TestT32_Flood(t *testing.T) {
	f := flooded(t)
	for f.syns < 1000 {
		f.spoof()
	}
	before := heap()
	for f.syns < 100000 {
		f.spoof()
		if f.syns%20 == 0 {
			f.tick(10 * time.Millisecond)
		}
		if f.syns%5000 == 0 {
			f.connects("mpc")
			f.connects("")
		}
	}
	grown := heap() - before
	if f.most > defaultHalfOpen+1 || len(f.e.tuples) != len(f.conns) || f.l.halfway != len(f.conns) {
		t.Errorf("%d connections at a time; at the end %d tuples, %d half open, %d live", f.most, len(f.e.tuples), f.l.halfway, len(f.conns))
	}
	if grown > 256<<10 {
		t.Errorf("the heap grew by %d octets", grown)
	}
	f.tick(time.Hour)
	if len(f.e.tuples)+len(f.e.tokens)+f.l.halfway != 0 {
		t.Errorf("an hour later: %d tuples, %d tokens, %d half open", len(f.e.tuples), len(f.e.tokens), f.l.halfway)
	}
	f.connects("mpc")
}

// The table of half-open connections is used again as they time out.
func TestT32_SlotsAreReused(t *testing.T) {
	f := flooded(t)
	answers := func(n int) (kept int) {
		before := len(f.conns)
		for range n {
			f.spoof()
		}
		return len(f.conns) - before
	}
	if got := answers(300); got != defaultHalfOpen {
		t.Errorf("%d of the first 300 SYNs were kept", got)
	}
	for range 40 {
		f.tick(time.Second)
	}
	if got := answers(300); got != defaultHalfOpen {
		t.Errorf("%d of the next 300 SYNs were kept", got)
	}
}

// An answer with a cookie allocates nothing.
func TestT32_CookiesAllocateNothing(t *testing.T) {
	f := flooded(t)
	for f.syns < 1000 {
		f.spoof()
	}
	if n := testing.AllocsPerRun(1000, f.spoof); n != 0 {
		t.Errorf("%v allocations a SYN", n)
	}
}

// A half-open connection that is kept has no buffers yet.
func TestT32_HalfOpenIsSmall(t *testing.T) {
	const n, limit = 2000, 8 << 10
	f := flooded(t)
	f.e.cfg.HalfOpen = n
	before := heap()
	for f.syns < n {
		f.spoof()
	}
	if each := (heap() - before) / n; each > limit || len(f.conns) != n {
		t.Errorf("%d connections of %d octets each, want %d of at most %d", len(f.conns), each, n, limit)
	} else {
		t.Logf("%d octets a half-open connection", each)
	}
}
