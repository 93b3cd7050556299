package subflow

import (
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/buf"
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow/cc"
)

// pair is two established subflows, one of which sends to the other.
type pair struct {
	now      mono.Time
	a, b     *Subflow
	snd      *buf.Send
	next     seq.Data
	ha, hb   plainHost
	out, ack *wire.Batch
	seg      wire.Segment
}

// quiet is a controller that does nothing at all.
type quiet struct{}

func (quiet) OnAck(cc.Ack)       {}
func (quiet) OnLoss(cc.Loss)     {}
func (quiet) Window() int        { return 4 << 20 }
func (quiet) PacingRate() uint64 { return 1 << 50 }

func newQuiet(*cc.Group, int) cc.Controller { return quiet{} }

func newPair(tb testing.TB, train int) *pair {
	p := &pair{now: mono.Time(time.Second), out: wire.NewBatch(1 << 20), ack: wire.NewBatch(1 << 20), next: 1}
	p.snd = buf.NewSend(1, 1<<20)
	p.snd.Write(make([]byte, 1<<20))
	p.ha.rcv, p.hb.rcv = buf.NewRecv(1, 8<<20), buf.NewRecv(1, 8<<20)
	p.out.MaxTrain = train
	c := Config{WScale: 10, Controller: newQuiet}
	p.a = Dial(p.now, wire.Tuple{Local: addrA, Remote: addrB}, c)
	p.a.PollTransmit(p.now, p.snd, &p.ha, p.out)
	wire.Parse(p.out.Bytes(0), &p.seg, p.out.Pkts[0].Csum)
	p.b = Accept(p.now, &p.seg, c)
	for range 3 {
		p.exchange(0)
	}
	if p.a.State() != StateEstablished || p.b.State() != StateEstablished {
		tb.Fatal("not established")
	}
	return p
}

// exchange sends n octets from a to b, and what b answers back.
func (p *pair) exchange(n int) {
	p.now = p.now.Add(50 * time.Microsecond)
	if n > 0 {
		r := seq.Range{From: p.next, To: p.next.Add(n)}
		if r.To > 1<<20 {
			r = seq.Range{From: 1, To: seq.Data(1 + n)} // the octets do not matter here
		}
		p.a.Assign(r)
		p.next = r.To
	}
	p.out.Reset()
	p.a.PollTransmit(p.now, p.snd, &p.ha, p.out)
	p.feed(p.b, p.out)
	p.now = p.now.Add(50 * time.Microsecond)
	p.ack.Reset()
	p.b.PollTransmit(p.now, nil, &p.hb, p.ack)
	p.feed(p.a, p.ack)
}

func (p *pair) feed(s *Subflow, b *wire.Batch) {
	for i := range b.Pkts {
		wire.Parse(b.Bytes(i), &p.seg, b.Pkts[i].Csum)
		p.seg.At = p.now
		s.HandleSegment(p.now, &p.seg)
	}
}

func benchmark(b *testing.B, n, train int) {
	p := newPair(b, train)
	for range 100 {
		p.exchange(n)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		p.exchange(n)
	}
	segs := (n + p.a.MSS() - 1) / p.a.MSS()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*segs), "ns/segment")
	b.SetBytes(int64(n))
}

func BenchmarkSegment(b *testing.B) { benchmark(b, 1448, 0) }
func BenchmarkBurst(b *testing.B)   { benchmark(b, 64000, 0) }
func BenchmarkTrain(b *testing.B)   { benchmark(b, 64000, 65000) }

// Data out, data in, acknowledgment out and in: nothing is allocated.
func TestNoAllocations(t *testing.T) {
	for _, c := range []struct{ n, train int }{{1448, 0}, {64000, 0}, {64000, 65000}} {
		p := newPair(t, c.train)
		for range 100 {
			p.exchange(c.n)
		}
		if n := testing.AllocsPerRun(1000, func() { p.exchange(c.n) }); n != 0 {
			t.Errorf("%d octets, train %d: %v allocations", c.n, c.train, n)
		}
	}
}
