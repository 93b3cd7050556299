package subflow

import (
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
)

// icmp hands the subflow an error about the segment at an offset.
func (b *bench) icmp(off int, e wire.ICMPError) ICMPVerdict {
	b.t.Helper()
	e.Tuple = b.sf.Tuple()
	e.Seq = ourISS.Add(off)
	v := b.sf.HandleICMP(b.now, &e)
	b.poll()
	return v
}

func (b *bench) expectVerdict(got, want ICMPVerdict) {
	b.t.Helper()
	if got != want {
		b.t.Fatalf("verdict %d, expected %d", got, want)
	}
}

// Errors of every sort that MUST NOT abort, or are hard, by their kinds.
var (
	softErrors = []wire.ICMPError{
		{Kind: wire.ICMPNetwork}, {Kind: wire.ICMPHost}, {Kind: wire.ICMPOther}, {Kind: wire.ICMPTimeExceeded},
	}
	hardErrors = []wire.ICMPError{
		{Kind: wire.ICMPProtocol, Hard: true}, {Kind: wire.ICMPPort, Hard: true}, {Kind: wire.ICMPProhibited},
	}
)

// T21: nothing that ICMP says ends a connection that stands, wherever what it
// quotes lies (RFC 9293, Section 3.9.2.2; RFC 5927, Section 5).
func TestT21_NoErrorAbortsEstablished(t *testing.T) {
	for _, e := range append(softErrors, hardErrors...) {
		b := flying(t, 3, Config{})
		for _, at := range []struct {
			off  int
			want ICMPVerdict
		}{{0, ICMPIgnored}, {1, ICMPNoted}, {3000, ICMPNoted}, {3001, ICMPIgnored}} {
			b.expectVerdict(b.icmp(at.off, e), at.want)
		}
		b.expectState(StateEstablished)
		b.expectNothing()
		b.send(pkt{f: fA, seq: 1, ack: 3001})
		b.expectEvents(0)
	}
}

// T21: a soft error does not end an attempt either; SYNs go on.
func TestT21_SoftErrorsInSynSent(t *testing.T) {
	for _, e := range softErrors {
		b := synSent(t, Config{})
		b.expectVerdict(b.icmp(0, e), ICMPNoted)
		b.expectState(StateSynSent)
		b.advance(time.Second)
		b.expect(pkt{f: fS})
	}
}

// T21: a hard error ends an attempt if it quotes the SYN that is in flight.
func TestT21_HardErrorsInSynSent(t *testing.T) {
	for _, e := range hardErrors {
		b := synSent(t, Config{})
		for _, off := range []int{-1, 1, 1 << 30} {
			b.expectVerdict(b.icmp(off, e), ICMPIgnored)
			b.expectState(StateSynSent)
		}
		b.expectVerdict(b.icmp(0, e), ICMPAborted)
		b.expectState(StateClosed)
		b.expectNothing()
	}
}

// T21: a simultaneous open has a peer: hard errors no longer end it.
func TestT21_HardErrorInSynReceived(t *testing.T) {
	b := synSent(t, Config{})
	b.send(pkt{f: fS})
	b.expect(pkt{f: fSA, ack: 1})
	b.expectVerdict(b.icmp(0, hardErrors[1]), ICMPNoted)
	b.expectState(StateSynReceived)
}

// T21: beyond the budget of a second, errors do nothing.
func TestT21_ErrorsAreBudgeted(t *testing.T) {
	b := flying(t, 3, Config{})
	noted := 0
	for range 1000 {
		if b.icmp(1, softErrors[0]) == ICMPNoted {
			noted++
		}
	}
	if noted != icmpBudget {
		t.Fatalf("%d of 1000 errors were believed in a second, want %d", noted, icmpBudget)
	}
	b.now = b.now.Add(time.Second)
	b.expectVerdict(b.icmp(1, softErrors[0]), ICMPNoted)
}

// large returns a connection whose segments have 1460 octets, n of them in
// flight.
func large(t *testing.T, n int) *bench {
	b := connect(t, Config{NoTimestamps: true}, pkt{mss: 1460, sackOK: true})
	b.write(n * 1460)
	for i := range n {
		b.expectData(1+i*1460, 1460)
	}
	return b
}

// T77: what is in flight is sent again at the size that a router says, at
// once, the window as it was; T79: with the mapping it had.
func TestT77_T79_TooBig(t *testing.T) {
	b := large(t, 4)
	cwnd, outs := b.sf.Cwnd(), len(b.host.outs)
	b.expectVerdict(b.icmp(1461, wire.ICMPError{Kind: wire.ICMPTooBig, MTU: 1040}), ICMPNoted)
	b.expectData(1461, 1000, 1000, 1000, 1000, 380) // the first one had passed
	b.expectNothing()
	b.expectCauses()
	if b.sf.Cwnd() != cwnd {
		t.Errorf("the window went from %d to %d", cwnd, b.sf.Cwnd())
	}
	for _, o := range b.host.outs[outs:] {
		if o.Map.Len != 4*1460 || o.Map.Off != 1 {
			t.Errorf("a copy was mapped %+v", o.Map)
		}
	}
	b.send(pkt{f: fA, seq: 1, ack: 1 + 4*1460})
	b.write(3000)
	b.expectData(1+4*1460, 1000, 1000, 1000)
	b.expectEvents(0)
}

// T77: an error about nothing in flight, one that does not lower the size, and
// one of IPv6 below its minimum change nothing.
func TestT77_TooBigNotBelieved(t *testing.T) {
	for _, c := range []struct{ off, mtu int }{
		{0, 1040}, {1 + 4*1460, 1040}, {-3000, 1040}, {1, 1500}, {1, 9000},
	} {
		b := large(t, 4)
		b.icmp(c.off, wire.ICMPError{Kind: wire.ICMPTooBig, MTU: c.mtu})
		b.expectNothing()
		if got := b.sf.PathMTU(); got != 1500 {
			t.Errorf("error at %d with %d: path MTU %d", c.off, c.mtu, got)
		}
	}
}

// T77: floors and guesses.
func TestT77_Floor(t *testing.T) {
	for _, c := range []struct{ says, want int }{
		{68, floorMTU4}, {1, floorMTU4}, {551, floorMTU4}, {553, 553}, {1499, 1499},
		{0, 1492}, // RFC 1191, Section 7.1
	} {
		b := large(t, 4)
		b.icmp(1, wire.ICMPError{Kind: wire.ICMPTooBig, MTU: c.says})
		if got := b.sf.PathMTU(); got != c.want {
			t.Errorf("an error that says %d: path MTU %d, want %d", c.says, got, c.want)
		}
	}
	if p := plateau(500); p != floorMTU4 {
		t.Errorf("plateau below the lowest: %d", p)
	}
}

// T77: a storm of errors of many sizes costs a bounded number of copies.
func TestT77_StormIsBudgeted(t *testing.T) {
	b := large(t, 4)
	for mtu := 1499; mtu > 600; mtu-- {
		b.icmp(1, wire.ICMPError{Kind: wire.ICMPTooBig, MTU: mtu})
	}
	if got := b.sf.Info().Retransmits; got > 2*4*icmpBudget {
		t.Errorf("%d segments were sent again", got)
	}
}

// T77: ten minutes later a larger size is tried (RFC 1191, Section 6.3).
func TestT77_RaisedAgain(t *testing.T) {
	b := large(t, 4)
	b.icmp(1, wire.ICMPError{Kind: wire.ICMPTooBig, MTU: 1040})
	b.out, b.segs = nil, nil
	b.send(pkt{f: fA, seq: 1, ack: 1 + 4*1460})
	at := 1 + 4*1460
	b.now = b.now.Add(raiseAfter - time.Second)
	b.write(4000)
	b.expectData(at, 1000, 1000, 1000, 1000)
	b.send(pkt{f: fA, seq: 1, ack: at + 4000})
	at += 4000
	b.now = b.now.Add(time.Second)
	b.write(4000)
	b.expectData(at, 1460, 1000, 1000, 540)
	b.send(pkt{f: fA, seq: 1, ack: at + 4000})
	if got := b.sf.PathMTU(); got != 1500 {
		t.Errorf("path MTU %d after the probe arrived", got)
	}
}

// T77: an error never raises the size (RFC 1191, Section 6.4).
func TestT77_NeverRaises(t *testing.T) {
	b := large(t, 4)
	b.icmp(1, wire.ICMPError{Kind: wire.ICMPTooBig, MTU: 1040})
	b.icmp(1, wire.ICMPError{Kind: wire.ICMPTooBig, MTU: 1300})
	if got := b.sf.PathMTU(); got != 1040 {
		t.Errorf("path MTU %d", got)
	}
}
