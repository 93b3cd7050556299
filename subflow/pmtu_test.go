package subflow

import (
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow/cc"
)

// pass plays a peer behind a network that loses, without a word, what has more
// than most octets of payload; the rest is acknowledged after 10 ms, by SACK
// beyond holes. It ends when nothing is in flight any more, or after d.
func (b *bench) pass(d time.Duration, most int) {
	b.t.Helper()
	have := make([]bool, int(b.next-dataStart)+2)
	next := int(b.sf.snd.una)
	for end := b.now.Add(d); b.now < end && !b.sf.Idle(); {
		sent := b.out
		b.out, b.segs = nil, nil
		at := b.now.Add(10 * ms)
		arrived := false
		for _, p := range sent {
			if p.n == 0 || p.n > most {
				continue
			}
			arrived = true
			b.now = at
			for i := p.seq; i < p.seq+p.n; i++ {
				have[i] = true
			}
			for have[next] {
				next++
			}
			reply := pkt{f: fA, seq: 1, ack: next}
			if p.seq > next {
				reply.sack = [][2]int{{p.seq, p.seq + p.n}}
			}
			b.send(reply)
		}
		if arrived {
			continue
		}
		due := b.sf.PollTimeout()
		if due == mono.Never {
			b.t.Fatalf("stuck\n%s", b.sf.dump())
		}
		b.now = due
		b.events |= b.sf.HandleTimeout(b.now)
		b.poll()
	}
	if !b.sf.Idle() {
		b.t.Fatalf("not through after %v\n%s", d, b.sf.dump())
	}
}

// T78: full segments that vanish from the start are sent in base size after
// the second timeout, and larger ones tried until the size that passes is
// known.
func TestT78_BlackHoleFromTheStart(t *testing.T) {
	const most = 1360 // packets of 1400
	b := large(t, 10)
	b.out = nil
	b.pass(2*time.Second, most)
	info := b.sf.Info()
	if info.BlackHoles != 1 || info.RTOs != 2 {
		t.Fatalf("%d black holes, %d timeouts", info.BlackHoles, info.RTOs)
	}
	for range 40 {
		b.write(20_000)
		b.pass(5*time.Second, most)
	}
	if got := b.sf.PathMTU(); got > 1400 || got <= 1400-searchStep {
		t.Errorf("path MTU %d, the path takes 1400", got)
	}
	if got := b.sf.Info().RTOs; got != 2 {
		t.Errorf("%d timeouts, want none after the first two", got)
	}
	probes := b.sf.Info().SizeProbes
	b.write(60_000)
	b.pass(5*time.Second, most)
	if got := b.sf.Info().SizeProbes; got != probes {
		t.Errorf("%d more probes once the size was known", got-probes)
	}
}

// T78: the loss of a probe alone is no congestion, and its data is sent again
// in smaller pieces, with the mapping that it had.
func TestT78_T79_ProbeLost(t *testing.T) {
	b := large(t, 10)
	b.out = nil
	b.pass(2*time.Second, 1360)
	b.causes()
	cwnd, outs := b.sf.Cwnd(), len(b.host.outs)
	at := int(b.sf.SndNxt())
	b.write(10_000)
	base := baseMTU4 - 40
	b.expectData(at, 1460, base, base, base, base, base, base, base, base, 10_000-1460-8*base)
	b.now = b.now.Add(10 * ms)
	b.send(pkt{f: fA, seq: 1, ack: at, sack: [][2]int{{at + 1460, at + 10_000}}})
	b.advance(10 * ms)
	b.expectData(at, base, 1460-base)
	b.expectNothing()
	b.expectCauses()
	if b.sf.Cwnd() != cwnd {
		t.Errorf("the window went from %d to %d", cwnd, b.sf.Cwnd())
	}
	for _, o := range b.host.outs[outs:] {
		if o.Kind == KindData && (int(o.Map.Off) != at || o.Map.Len != 10_000) {
			t.Errorf("mapped %+v", o.Map)
		}
	}
}

// T78: a probe that is lost among others is a loss like theirs.
func TestT78_ProbeLostWithOthers(t *testing.T) {
	b := large(t, 10)
	b.out = nil
	b.pass(2*time.Second, 1360)
	b.causes()
	at := int(b.sf.SndNxt())
	b.write(10_000)
	b.out = nil
	b.now = b.now.Add(10 * ms)
	b.send(pkt{f: fA, seq: 1, ack: at, sack: [][2]int{{at + 1460 + 1024, at + 10_000}}})
	b.advance(10 * ms)
	b.expectCauses(cc.LossDetected)
}

// T78: after an outage that looked like a black hole, the first probe is of
// full size, and sets all right.
func TestT78_OutageIsNoBlackHole(t *testing.T) {
	b := large(t, 10)
	b.advance(3 * time.Second)
	b.out = nil
	if b.sf.PathMTU() != baseMTU4 {
		t.Fatal("no black hole was suspected")
	}
	b.advance(20 * time.Second)
	b.pass(5*time.Second, 1460)
	at := int(b.sf.SndNxt())
	b.write(5000)
	b.expectData(at, 1460, 1024, 1024, 1024, 468)
	b.send(pkt{f: fA, seq: 1, ack: at + 5000})
	if got := b.sf.PathMTU(); got != 1500 {
		t.Errorf("path MTU %d", got)
	}
}

// T78: full segments vanish and small ones, sent later, arrive again and
// again: RACK sends without timeouts, and must not do so for ever.
func TestT78_SmallOnesPass(t *testing.T) {
	b := large(t, 1)
	at := 1461
	for i := 0; b.sf.PathMTU() == 1500; i++ {
		if i == 10 {
			t.Fatal("no black hole was found")
		}
		b.write(100)
		b.out = nil
		b.now = b.now.Add(20 * ms)
		b.sf.rec.delivered += 2000 // others arrive, so that something may leave
		b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1461, at + 100}}})
		at += 100
	}
	if got := b.sf.Info().RTOs; got != 0 {
		t.Fatalf("%d timeouts: this shows nothing", got)
	}
}

// T78: while full segments arrive, losses make no black hole.
func TestT78_LossIsNoBlackHole(t *testing.T) {
	b := large(t, 10)
	for i := range 50 {
		una := int(b.sf.snd.una)
		end := una + 10*1460
		b.out = nil
		b.now = b.now.Add(10 * ms)
		// The first one is lost, three times over.
		b.send(pkt{f: fA, seq: 1, ack: una, sack: [][2]int{{una + 1460, end}}})
		for range 2 {
			b.write(1460)
			end += 1460
			b.now = b.now.Add(20 * ms)
			b.send(pkt{f: fA, seq: 1, ack: una, sack: [][2]int{{una + 1460, end}}})
		}
		b.advance(10 * ms)
		b.send(pkt{f: fA, seq: 1, ack: end})
		if b.sf.PathMTU() != 1500 {
			t.Fatalf("round %d: a black hole, though full segments arrived", i)
		}
		b.write(10 * 1460)
	}
}

// T78: a router that does answer a probe ends the search at once.
func TestT78_ProbeTooBig(t *testing.T) {
	b := large(t, 10)
	b.out = nil
	b.pass(2*time.Second, 1360)
	at := int(b.sf.SndNxt())
	b.write(10_000)
	if b.out[0].n != 1460 {
		t.Fatalf("no probe: %v", b.out[0])
	}
	b.icmp(at, wire.ICMPError{Kind: wire.ICMPTooBig, MTU: 1400})
	b.pass(time.Second, 1360)
	b.write(20_000)
	b.pass(time.Second, 1360)
	if got := b.sf.PathMTU(); got != 1400 {
		t.Errorf("path MTU %d, the router said 1400", got)
	}
	if got := b.sf.Info().SizeProbes; got != 2 {
		t.Errorf("%d probes, want two", got)
	}
}

// T78: with less data than a probe needs, none is sent, and nothing waits for
// it.
func TestT78_NoProbeOfLittle(t *testing.T) {
	b := large(t, 10)
	b.out = nil
	b.pass(2*time.Second, 1360)
	for range 20 {
		at := int(b.sf.SndNxt())
		b.write(1500)
		b.expectData(at, 1024, 476)
		b.send(pkt{f: fA, seq: 1, ack: at + 1500})
	}
}
