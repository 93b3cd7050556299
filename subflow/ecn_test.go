package subflow

import (
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow/cc"
)

// sendECN is send with a codepoint in the IP header.
func (b *bench) sendECN(p pkt, ecn uint8) {
	b.t.Helper()
	seg := b.segment(p)
	seg.ECN = ecn
	b.acc = b.sf.HandleSegment(b.now, seg)
	for _, r := range b.acc.Retired {
		b.snd.Unpin(r)
	}
	b.poll()
}

// expectECN takes the oldest segment and compares flags and codepoint.
func (b *bench) expectECN(flags wire.Flags, ecn uint8, n int) {
	b.t.Helper()
	if len(b.segs) == 0 {
		b.t.Fatalf("expected %v, got nothing\n%s", flags, b.sf.dump())
	}
	got := b.segs[0]
	b.out, b.segs = b.out[1:], b.segs[1:]
	if got.Flags&^wire.PSH != flags || got.ECN != ecn || len(got.Payload) != n {
		b.t.Fatalf("expected %09b, codepoint %d, %d octets; got %v", flags, ecn, n, got)
	}
}

const (
	fE  = wire.ECE
	fW  = wire.CWR
	fEW = wire.ECE | wire.CWR
)

// withECN returns a client that uses ECN.
func withECN(t *testing.T, c Config) *bench {
	c.ECN, c.NoTimestamps = ECNAsk, true
	b, c := newBench(t, c)
	b.sf = Dial(b.now, wire.Tuple{Local: addrA, Remote: addrB}, c)
	b.poll()
	b.expectECN(fS|fEW, 0, 0)
	b.advance(10 * ms)
	b.send(pkt{f: fSA | fE, ack: 1, mss: 1000, sackOK: true})
	b.expectECN(fA, 0, 0)
	b.sf.rcv.quick = 0
	b.events = 0
	return b
}

// T75: who asks, who answers, and with what (RFC 3168, Section 6.1.1). No SYN
// may be marked.
func TestT75_ActiveOpen(t *testing.T) {
	for _, c := range []struct {
		name   string
		mode   ECN
		syn    wire.Flags
		answer wire.Flags
		on     bool
	}{
		{"asks, agreed", ECNAsk, fS | fEW, fSA | fE, true},
		{"asks, refused", ECNAsk, fS | fEW, fSA, false},
		{"asks, reflected", ECNAsk, fS | fEW, fSA | fEW, false},
		{"does not ask", ECNAccept, fS, fSA | fE, false},
		{"off", ECNOff, fS, fSA | fE, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, cfg := newBench(t, Config{ECN: c.mode})
			b.sf = Dial(b.now, wire.Tuple{Local: addrA, Remote: addrB}, cfg)
			b.poll()
			b.expectECN(c.syn, 0, 0)
			b.advance(10 * ms)
			b.send(pkt{f: c.answer, ack: 1, mss: 1000})
			b.expectECN(fA, 0, 0)
			if b.sf.Info().ECN != c.on {
				t.Fatalf("ECN in use: %v", !c.on)
			}
			b.write(100)
			want := uint8(0)
			if c.on {
				want = ect0
			}
			b.expectECN(fA, want, 100)
		})
	}
}

// T75: a passive open answers who asks, unless it is off.
func TestT75_PassiveOpen(t *testing.T) {
	for _, c := range []struct {
		name     string
		mode     ECN
		syn      wire.Flags
		wantECE  wire.Flags
		wantMark uint8
	}{
		{"asked", ECNAccept, fS | fEW, fE, ect0},
		{"would ask, too", ECNAsk, fS | fEW, fE, ect0},
		{"off", ECNOff, fS | fEW, 0, 0},
		{"not asked", ECNAsk, fS, 0, 0},
		{"asked badly", ECNAccept, fS | fE, 0, 0},
		{"asked badly, too", ECNAccept, fS | fW, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, cfg := newBench(t, Config{ECN: c.mode, NoTimestamps: true})
			b.sf = Accept(b.now, b.segment(pkt{f: c.syn, mss: 1000}), cfg)
			b.poll()
			b.expectECN(fSA|c.wantECE, 0, 0)
			b.advance(10 * ms)
			b.send(pkt{f: fA, seq: 1, ack: 1})
			b.write(100)
			b.expectECN(fA, c.wantMark, 100)
		})
	}
}

// T75: the second SYN does not ask, and then nothing is marked even if the
// answer to the first one comes after all (RFC 3168, Section 6.1.1.1).
func TestT75_FallbackOnRetry(t *testing.T) {
	b, cfg := newBench(t, Config{ECN: ECNAsk, NoTimestamps: true})
	b.sf = Dial(b.now, wire.Tuple{Local: addrA, Remote: addrB}, cfg)
	b.poll()
	b.expectECN(fS|fEW, 0, 0)
	b.advance(time.Second)
	b.expectECN(fS, 0, 0)
	b.send(pkt{f: fSA | fE, ack: 1, mss: 1000})
	b.expectECN(fA, 0, 0)
	b.write(100)
	b.expectECN(fA, 0, 100)
}

// T75: a SYN that comes again without asking is answered in kind.
func TestT75_PeerFallsBack(t *testing.T) {
	b, cfg := newBench(t, Config{NoTimestamps: true})
	b.sf = Accept(b.now, b.segment(pkt{f: fS | fEW, mss: 1000}), cfg)
	b.poll()
	b.expectECN(fSA|fE, 0, 0)
	b.send(pkt{f: fS, mss: 1000})
	b.expectECN(fSA, 0, 0)
	b.send(pkt{f: fA, seq: 1, ack: 1})
	b.write(100)
	b.expectECN(fA, 0, 100)
}

// T75: new data alone may be marked: no pure ACK, retransmission, window probe
// or FIN.
func TestT75_OnlyNewDataIsMarked(t *testing.T) {
	b := withECN(t, Config{})
	b.write(3000)
	for range 3 {
		b.expectECN(fA, ect0, 1000)
	}
	b.sendECN(pkt{f: fA, seq: 1, ack: 1, n: 1000}, 0)
	b.sendECN(pkt{f: fA, seq: 1001, ack: 1, n: 1000}, 0)
	b.expectECN(fA, 0, 0) // a pure ACK
	b.advance(20 * ms)
	b.expectECN(fA, 0, 1000) // the tail loss probe
	b.advance(200 * ms)
	b.expectECN(fA, 0, 1000) // after the timeout
	b.out, b.segs = nil, nil
	b.send(pkt{f: fA, seq: 2001, ack: 3001, zeroWin: true})
	b.assign(1000)
	b.advance(time.Second)
	b.expectECN(fA, 0, 0) // a window probe
	b.out, b.segs = nil, nil
	b.send(pkt{f: fA, seq: 2001, ack: 3001})
	b.expectECN(fA|fW, ect0, 1000) // new at last; the timeout had reduced the window
	b.sf.CloseWrite()
	b.poll()
	b.expectECN(fFA, 0, 0)
}

// T75: a mark is echoed on every ACK until CWR comes (RFC 3168, Section 6.1.3).
func TestT75_EchoUntilCWR(t *testing.T) {
	b := withECN(t, Config{})
	b.sendECN(pkt{f: fA, seq: 1, ack: 1, n: 1000}, ect0)
	b.expectNothing() // the delayed ACK waits
	b.sendECN(pkt{f: fA, seq: 1001, ack: 1, n: 100}, ce)
	b.expectECN(fA|fE, 0, 0)
	b.sendECN(pkt{f: fA, seq: 1101, ack: 1, n: 1000}, ect0)
	b.sendECN(pkt{f: fA, seq: 2101, ack: 1, n: 1000}, ect0)
	b.expectECN(fA|fE, 0, 0)
	b.write(100)
	b.expectECN(fA|fE, ect0, 100)
	b.sendECN(pkt{f: fA | fW, seq: 3101, ack: 101, n: 1000}, ect0)
	b.sendECN(pkt{f: fA, seq: 4101, ack: 101, n: 1000}, ect0)
	b.expectECN(fA, 0, 0)
	// CWR and a new mark at once: the mark counts.
	b.sendECN(pkt{f: fA | fW, seq: 5101, ack: 101, n: 1000}, ce)
	b.expectECN(fA|fE, 0, 0)
}

// T76: a mark on data outside the window, or on none, is nobody's
// (RFC 3168, Section 6.1.5).
func TestT76_MarkOutsideWindow(t *testing.T) {
	b := withECN(t, Config{})
	b.sendECN(pkt{f: fA, seq: 1, ack: 1, n: 1000}, ect0)
	b.advance(50 * ms)
	b.expectECN(fA, 0, 0)
	for _, p := range []pkt{
		{f: fA, seq: 1, ack: 1, n: 1000},       // all of it had arrived
		{f: fA, seq: 90_000, ack: 1, n: 1000},  // beyond the window
		{f: fA, seq: -5000, ack: 1, n: 1000},   // long past
		{f: fA, seq: 1001, ack: 70_000, n: 10}, // acknowledges what was never sent
	} {
		b.sendECN(p, ce)
		b.expectECN(fA, 0, 0)
	}
	b.sendECN(pkt{f: fA, seq: 1001, ack: 1}, ce)
	b.expectNothing()
	if b.sf.ecn.echo {
		t.Fatal("a mark is echoed")
	}
}

// T75: the window is reduced once a window of data, and the first new data
// says so with CWR (RFC 3168, Section 6.1.2).
func TestT75_OneReductionPerRoundTrip(t *testing.T) {
	b := withECN(t, Config{})
	b.write(4000)
	for range 4 {
		b.expectECN(fA, ect0, 1000)
	}
	b.advance(10 * ms)
	b.send(pkt{f: fA | fE, seq: 1, ack: 1001})
	b.expectCauses(cc.ECN)
	for ack := 2001; ack <= 4001; ack += 1000 {
		b.send(pkt{f: fA | fE, seq: 1, ack: ack})
	}
	b.expectCauses()
	b.write(2000)
	b.expectECN(fA|fW, ect0, 1000)
	b.expectECN(fA, ect0, 1000)
	b.send(pkt{f: fA, seq: 1, ack: 5001})
	b.expectCauses()
	b.send(pkt{f: fA | fE, seq: 1, ack: 5001, win: 60_000})
	b.expectCauses(cc.ECN) // CWR had arrived, so this is another mark
}

// T75: after a loss in the same window an echo reduces nothing more.
func TestT75_LossAndEchoReduceOnce(t *testing.T) {
	b := withECN(t, Config{})
	b.write(5000)
	b.out, b.segs = nil, nil
	b.advance(10 * ms)
	b.send(pkt{f: fA | fE, seq: 1, ack: 1, sack: [][2]int{{1001, 5001}}})
	b.expectCauses(cc.LossDetected)
	b.expectECN(fA, 0, 1000)
	b.send(pkt{f: fA | fE, seq: 1, ack: 5001})
	b.expectCauses()
	b.write(100)
	b.expectECN(fA|fW, ect0, 100)
}

// T75: without agreement, flags and codepoints mean nothing.
func TestT75_NotAgreed(t *testing.T) {
	b := flying(t, 3, Config{})
	b.sendECN(pkt{f: fA | fE, seq: 1, ack: 1001, n: 2000}, ce)
	b.expectCauses()
	b.expectECN(fA, 0, 0)
	b.write(100)
	b.expectECN(fA, 0, 100)
}

// T75: each controller cuts its window for a mark, and not for the second of a
// round trip, since it is not told.
func TestT75_Controllers(t *testing.T) {
	for _, f := range []struct {
		name string
		make cc.Factory
	}{{"reno", cc.NewReno}, {"cubic", cc.NewCUBIC}} {
		b := withECN(t, Config{Controller: f.make})
		b.write(10_000)
		b.advance(10 * ms)
		before := b.sf.Cwnd()
		b.send(pkt{f: fA | fE, seq: 1, ack: 1001})
		if after := b.sf.Cwnd(); after >= before*9/10 {
			t.Errorf("%s: the window went from %d to %d", f.name, before, after)
		}
	}
}
