package subflow

import (
	"fmt"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
)

// T1: RFC 9293, Section 3.10.7.4, Table 6. RCV.NXT is 101 and the window 100,
// so that the right edge is 201.
func TestT1_Acceptability(t *testing.T) {
	for _, c := range []struct {
		seq, n int
		ok     bool
	}{
		// No text, window open: RCV.NXT =< SEG.SEQ < RCV.NXT+RCV.WND, and the
		// edge itself (a sender that has filled the window acknowledges there).
		{100, 0, false}, {101, 0, true}, {200, 0, true}, {201, 0, true}, {202, 0, false},
		// Text, window open: either end of it lies inside.
		{91, 10, false}, {92, 10, true}, {101, 10, true}, {200, 10, true}, {201, 10, false},
		{51, 300, true}, // covers the window and more
	} {
		t.Run(fmt.Sprintf("%d+%d", c.seq, c.n), func(t *testing.T) {
			b := window100(t, 100)
			b.send(pkt{f: fA, seq: c.seq, ack: 1, n: c.n})
			if b.acc.OK != c.ok {
				t.Fatalf("OK %t", b.acc.OK)
			}
			if !c.ok {
				b.expectDropped()
				b.expect(b.dupAck(c.seq, c.n))
			} else if c.n > 0 {
				from, to := max(c.seq, 101), min(c.seq+c.n, 201)
				b.expectPayload(from, to-from)
			}
		})
	}
}

// T1, window zero: nothing is acceptable, "but special allowance should be made
// to accept valid ACKs, URGs, and RSTs" (MUST-66).
func TestT1_ZeroWindow(t *testing.T) {
	b := window100(t, 0)
	for _, c := range []struct {
		seq, n int
		ok     bool
	}{{100, 0, false}, {101, 0, true}, {102, 0, false}, {100, 1, false}, {102, 1, false}} {
		b.send(pkt{f: fA, seq: c.seq, ack: 1, n: c.n})
		if b.acc.OK != c.ok {
			t.Fatalf("%d+%d: OK %t", c.seq, c.n, b.acc.OK)
		}
		b.out = nil
	}
	b.write(10)
	b.expect(pkt{f: fA, seq: 1, ack: 101, n: 10})
	// A window probe with an octet of text: not taken, answered, its ACK used.
	b.send(pkt{f: fA, seq: 101, ack: 11, n: 1})
	if b.acc.Payload != nil || len(b.acc.Retired) != 1 {
		t.Fatalf("%+v", b.acc)
	}
	b.expect(pkt{f: fA, seq: 11, ack: 101})
	b.send(pkt{f: fR, seq: 101})
	b.expectEvents(ResetByPeer)
}

// window100 has received 100 octets and advertised a window of wnd.
func window100(t *testing.T, wnd int) *bench {
	b := established(t, Config{})
	b.send(pkt{f: fA, seq: 1, ack: 1, n: 100})
	b.host.wnd = wnd
	b.sf.rcv.edge = 0 // forget the window of the handshake
	b.sf.SendAck()
	b.poll()
	b.out = nil
	b.events = 0
	return b
}

// dupAck is the answer to the unacceptable segment [seq, seq+n): with D-SACK if
// it lies before RCV.NXT.
func (b *bench) dupAck(seq, n int) pkt {
	p := pkt{f: fA, seq: 1, ack: 101}
	if n > 0 && seq+n <= 101 {
		p.sack = [][2]int{{seq, seq + n}}
	}
	return p
}

// A5: with MPTCP data is judged by the connection's window only: what lies
// beyond the one shown here, and within Config.Accept, is taken.
func TestA5_AcceptBeyondWindow(t *testing.T) {
	b := window100(t, 100)
	b.send(pkt{f: fA, seq: 5101, ack: 1, n: 10})
	b.expectDropped()
	b.sf.SetAccept(10000)
	b.send(pkt{f: fA, seq: 5101, ack: 1, n: 10})
	b.expectPayload(5101, 10)
}

// T41: what was allowed stays allowed, RFC 7323, Section 2.4.
func TestT41_OldEdgeIsHonoured(t *testing.T) {
	b := window100(t, 100)
	b.host.wnd = 10
	b.sf.SendAck()
	b.poll()
	b.send(pkt{f: fA, seq: 191, ack: 1, n: 10})
	b.expectPayload(191, 10)
}

// T9: RFC 5961, Section 3.2.
func TestT9_RSTExact(t *testing.T) {
	b := established(t, Config{})
	b.send(pkt{f: fR, seq: 1})
	b.expectEvents(ResetByPeer)
	b.expectState(StateClosed)
	b.expectNothing()
}

func TestT9_RSTInWindowNotExact(t *testing.T) {
	b := established(t, Config{})
	b.send(pkt{f: fR, seq: 2})
	b.expectDropped()
	b.expect(pkt{f: fA, seq: 1, ack: 1})
	b.expectState(StateEstablished)
}

func TestT9_RSTOutsideWindow(t *testing.T) {
	b := established(t, Config{})
	for _, seq := range []int{0, -1, 60002, 1 << 30} {
		b.send(pkt{f: fR, seq: seq})
		b.expectDropped()
		b.expectNothing()
	}
	b.expectState(StateEstablished)
}

// T10: RFC 5961, Section 4.2: a SYN at any place is challenged.
func TestT10_SYNInSynchronizedState(t *testing.T) {
	for _, seq := range []int{-1000, 0, 1, 2, 100000, -1 << 31} {
		b := established(t, Config{})
		b.send(pkt{f: fS, seq: seq})
		b.expectDropped()
		b.expect(pkt{f: fA, seq: 1, ack: 1})
		b.expectState(StateEstablished)
	}
}

// T11: RFC 5961, Section 5.2.
func TestT11_ACKRange(t *testing.T) {
	b := established(t, Config{})
	b.write(3000)
	b.expectData(1, 1000, 1000, 1000)
	b.send(pkt{f: fA, seq: 1, ack: 3001, win: 1000})
	wnd := 65535 // MAX.SND.WND
	for _, c := range []struct {
		ack int
		ok  bool
	}{{3002, false}, {3001, true}, {1, true}, {3001 - wnd, true}, {3001 - wnd - 1, false}} {
		b.advance(time.Second)
		b.send(pkt{f: fA, seq: 1, ack: c.ack, n: 1})
		if b.acc.OK != c.ok {
			t.Fatalf("ack %d: OK %t", c.ack, b.acc.OK)
		}
		if !c.ok {
			b.expectDropped()
			b.expect(pkt{f: fA, seq: 3001, ack: int(b.sf.RcvNxt())})
		}
		b.sf.rcv.nxt, b.out = 1, nil
	}
}

// "If the ACK bit is off, drop the segment and return": RFC 9293, Section
// 3.10.7.4.
func TestNoACKBit(t *testing.T) {
	b := established(t, Config{})
	b.send(pkt{f: wire.PSH, seq: 1, n: 10})
	b.expectDropped()
	b.expectNothing()
}

// T12: challenge ACKs are few (RFC 5961, Section 7), each second anew.
func TestT12_ChallengeBudget(t *testing.T) {
	b := established(t, Config{})
	b.advance(2 * time.Second)
	for range 3 {
		for range 1000 {
			b.send(pkt{f: fR, seq: 5})
		}
		if len(b.out) != challengeBudget {
			t.Fatalf("%d challenge ACKs", len(b.out))
		}
		b.out = nil
		b.advance(time.Second)
	}
}

// A keepalive, or a window probe, is answered at once: RFC 9293, Section 3.8.4.
func TestKeepaliveIsAnswered(t *testing.T) {
	b := established(t, Config{})
	b.send(pkt{f: fA, seq: 0, ack: 1})
	b.expectDropped()
	b.expect(pkt{f: fA, seq: 1, ack: 1})
}

// T14: "The check here prevents using old segments to update the window".
func TestT14_WindowUpdateOrder(t *testing.T) {
	b := established(t, Config{})
	wnd := func(want int) {
		t.Helper()
		if got := b.sf.Info().SndWnd; got != want {
			t.Fatalf("window %d, expected %d", got, want)
		}
	}
	b.write(1000)
	b.send(pkt{f: fA, seq: 1, ack: 1001, win: 5000})
	wnd(5000)
	b.send(pkt{f: fA, seq: 1, ack: 1, win: 9000}) // older: WL2
	wnd(5000)
	b.send(pkt{f: fA, seq: 11, ack: 1001, win: 4000, n: 10})
	wnd(4000)
	b.send(pkt{f: fA, seq: 1, ack: 1001, win: 9000, n: 10}) // older: WL1
	wnd(4000)
	b.send(pkt{f: fA, seq: 21, ack: 1001, zeroWin: true})
	wnd(0)
}

// T15: a peer that takes its window back is survived: what was sent is
// retransmitted all the same, and ACKs leave from a place it accepts.
func TestT15_ShrunkWindow(t *testing.T) {
	b := established(t, Config{})
	b.write(4000)
	b.expectData(1, 1000, 1000, 1000, 1000)
	b.send(pkt{f: fA, seq: 1, ack: 1001, win: 500})
	if room, _ := b.sf.Room(b.now); room != 0 {
		t.Fatalf("room %d", room)
	}
	b.sf.SendAck()
	b.poll()
	b.expect(pkt{f: fA, seq: 1501, ack: 1})
	b.advance(2 * time.Second)
	got := b.out[0]
	if got.n != 1000 {
		t.Fatalf("no retransmission: %v", got)
	}
}

// T44: PAWS, RFC 7323, Section 5.3.
func TestT44_PAWS(t *testing.T) {
	b := withTimestamps(t, Config{})
	b.advance(time.Second)
	b.send(pkt{f: fA, seq: 1, ack: 1, n: 10})
	b.expectPayload(1, 10)
	recent := b.clock()
	b.advance(100 * ms)
	b.out = nil
	b.send(pkt{f: fA, seq: 11, ack: 1, n: 10, val: recent - 1})
	b.expectDropped()
	b.expect(pkt{f: fA, seq: 1, ack: 11, ecr: recent})
	b.send(pkt{f: fA, seq: 11, ack: 1, n: 10, val: recent})
	b.expectPayload(11, 10)
	// "RST segments ... are exempt".
	b.send(pkt{f: fR, seq: 21, val: recent - 1})
	b.expectEvents(ResetByPeer)
}

// T44: "if the connection has been idle more than 24 days, ... TS.Recent is
// invalidated": RFC 7323, Section 5.5.
func TestT44_PAWSIdle(t *testing.T) {
	b := withTimestamps(t, Config{})
	old := b.clock() - 1
	b.advance(24*24*time.Hour - time.Second)
	b.send(pkt{f: fA, seq: 1, ack: 1, n: 10, val: old})
	b.expectDropped()
	b.advance(2 * time.Second)
	b.send(pkt{f: fA, seq: 1, ack: 1, n: 10, val: old})
	b.expectPayload(1, 10)
}
