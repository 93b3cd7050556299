package subflow

import (
	"testing"
	"time"

	"github.com/mpnc/mpnc/subflow/cc"
)

// RFC 9293, Section 3.6, Figure 12: a normal close.
func TestCloseActive(t *testing.T) {
	b := established(t, Config{TimeWait: 60 * time.Second})
	b.sf.CloseWrite()
	b.poll()
	b.expectState(StateFinWait1)
	b.expect(pkt{f: fFA, seq: 1, ack: 1})
	b.send(pkt{f: fA, seq: 1, ack: 2})
	b.expectEvents(FinAcked)
	b.expectState(StateFinWait2)
	b.expectNothing()
	b.send(pkt{f: fFA, seq: 1, ack: 2})
	b.expectEvents(FinReceived)
	b.expectState(StateTimeWait)
	b.expect(pkt{f: fA, seq: 2, ack: 2})
	b.advance(60*time.Second - 1)
	b.expectState(StateTimeWait)
	b.advance(1)
	b.expectEvents(Closed)
	b.expectState(StateClosed)
}

func TestClosePassive(t *testing.T) {
	b := established(t, Config{})
	b.send(pkt{f: fFA, seq: 1, ack: 1})
	b.expectEvents(FinReceived)
	b.expectState(StateCloseWait)
	b.expect(pkt{f: fA, seq: 1, ack: 2})
	b.sf.CloseWrite()
	b.poll()
	b.expectState(StateLastAck)
	b.expect(pkt{f: fFA, seq: 1, ack: 2})
	b.send(pkt{f: fA, seq: 2, ack: 2})
	b.expectEvents(FinAcked | Closed)
	b.expectState(StateClosed)
	b.expectNothing()
}

// T5: FIN-WAIT-1 and a FIN that does not acknowledge ours: CLOSING
// (RFC 9293, Section 3.6, Figure 13).
func TestT5_SimultaneousClose(t *testing.T) {
	b := established(t, Config{})
	b.sf.CloseWrite()
	b.poll()
	b.expect(pkt{f: fFA, seq: 1, ack: 1})
	b.send(pkt{f: fFA, seq: 1, ack: 1})
	b.expectEvents(FinReceived)
	b.expectState(StateClosing)
	b.expect(pkt{f: fA, seq: 2, ack: 2})
	b.send(pkt{f: fA, seq: 2, ack: 2})
	b.expectEvents(FinAcked)
	b.expectState(StateTimeWait)
}

// FIN and the acknowledgment of ours in one segment.
func TestCloseFinWithAck(t *testing.T) {
	b := established(t, Config{})
	b.sf.CloseWrite()
	b.poll()
	b.expect(pkt{f: fFA, seq: 1, ack: 1})
	b.send(pkt{f: fFA, seq: 1, ack: 2, n: 5})
	b.expectPayload(1, 5)
	b.expectEvents(FinAcked | FinReceived)
	b.expectState(StateTimeWait)
	b.expect(pkt{f: fA, seq: 2, ack: 7})
}

// T6: CLOSE-WAIT may send without limit, FIN-WAIT-2 may receive.
func TestT6_HalfClose(t *testing.T) {
	b := established(t, Config{})
	b.send(pkt{f: fFA, seq: 1, ack: 1})
	b.expect(pkt{f: fA, seq: 1, ack: 2})
	for i := range 100 {
		at := 1 + 1000*i
		if room, _ := b.sf.Room(b.now); room < 1000 {
			t.Fatalf("room %d in CLOSE-WAIT", room)
		}
		b.write(1000)
		b.expect(pkt{f: fA, seq: at, ack: 2, n: 1000})
		b.send(pkt{f: fA, seq: 2, ack: at + 1000})
	}
	b.expectState(StateCloseWait)

	b = established(t, Config{})
	b.sf.CloseWrite()
	b.poll()
	b.expect(pkt{f: fFA, seq: 1, ack: 1})
	b.send(pkt{f: fA, seq: 1, ack: 2})
	for i := range 100 {
		at := 1 + 1000*i
		b.send(pkt{f: fA, seq: at, ack: 2, n: 1000})
		b.expectPayload(at, 1000)
	}
	b.expectState(StateFinWait2)
}

// T7: "The only thing that can arrive in this state is a retransmission of the
// remote FIN. Acknowledge it, and restart the 2 MSL timeout": RFC 9293,
// Section 3.10.7.4. A RST there is ignored (RFC 1337).
func TestT7_TimeWait(t *testing.T) {
	b := timeWait(t)
	b.advance(59 * time.Second)
	b.send(pkt{f: fFA, seq: 1, ack: 2})
	b.expect(pkt{f: fA, seq: 2, ack: 2})
	b.advance(59 * time.Second)
	b.expectState(StateTimeWait)
	b.send(pkt{f: fRA, seq: 2, ack: 2})
	b.expectDropped()
	b.expectState(StateTimeWait)
	// T8: a SYN is answered with an ACK; a new connection is for others to allow.
	b.send(pkt{f: fS, seq: 100000})
	b.expect(pkt{f: fA, seq: 2, ack: 2})
	b.advance(time.Second)
	b.expectEvents(Closed)
}

func timeWait(t *testing.T) *bench {
	b := established(t, Config{TimeWait: time.Minute})
	b.sf.CloseWrite()
	b.poll()
	b.send(pkt{f: fFA, seq: 1, ack: 2})
	b.expect(pkt{f: fFA, seq: 1, ack: 1})
	b.expect(pkt{f: fA, seq: 2, ack: 2})
	b.expectState(StateTimeWait)
	b.events = 0
	return b
}

// The FIN goes behind what was assigned, and is sent again until acknowledged.
func TestFINRetransmission(t *testing.T) {
	b := established(t, Config{})
	b.assign(1500)
	b.sf.CloseWrite()
	b.poll()
	b.expectData(1, 1000, 500)
	b.expect(pkt{f: fFA, seq: 1501, ack: 1})
	b.send(pkt{f: fA, seq: 1, ack: 1501})
	b.expectEvents(0)
	b.advance(time.Second) // a tail loss probe, then the timer
	b.expect(pkt{f: fFA, seq: 1501, ack: 1})
	b.send(pkt{f: fA, seq: 1, ack: 1502})
	if !b.events.Has(FinAcked) {
		t.Fatalf("events %b", b.events)
	}
	b.expectState(StateFinWait2)
	if !b.sf.Idle() {
		t.Fatal("not idle")
	}
}

// "Any further RECEIVEs ... FIN": in order only. A FIN beyond a hole waits.
func TestFINOutOfOrder(t *testing.T) {
	b := established(t, Config{})
	b.send(pkt{f: fFA, seq: 11, ack: 1, n: 5})
	b.expectPayload(11, 5)
	b.expectEvents(0)
	b.expectState(StateEstablished)
	b.expect(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{11, 16}}})
	b.send(pkt{f: fA, seq: 1, ack: 1, n: 10})
	b.expectEvents(FinReceived)
	b.expectState(StateCloseWait)
	b.expect(pkt{f: fA, seq: 1, ack: 17})
	// Text behind a FIN is ignored.
	b.send(pkt{f: fA, seq: 17, ack: 1, n: 10})
	if b.acc.Payload != nil {
		t.Fatal("text after the FIN was taken")
	}
}

// A FIN that would lie before data already received is nonsense.
func TestFINBeforeData(t *testing.T) {
	b := established(t, Config{})
	b.send(pkt{f: fA, seq: 100, ack: 1, n: 10})
	b.send(pkt{f: fFA, seq: 50, ack: 1})
	b.send(pkt{f: fA, seq: 1, ack: 1, n: 99})
	b.expectState(StateEstablished)
	if b.sf.RcvNxt() != 110 {
		t.Fatalf("RCV.NXT %d", b.sf.RcvNxt())
	}
}

// RFC 9293, Section 3.10.5: ABORT.
func TestAbort(t *testing.T) {
	for _, c := range []struct {
		name string
		b    *bench
		rst  *pkt
	}{
		{"SYN-SENT", synSent(t, Config{}), nil},
		{"SYN-RECEIVED", synReceived(t, Config{}, pkt{}), &pkt{f: fRA, seq: 1, ack: 1}},
		{"ESTABLISHED", established(t, Config{}), &pkt{f: fRA, seq: 1, ack: 1}},
		{"TIME-WAIT", timeWait(t), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.b.sf.Abort()
			c.b.poll()
			c.b.expectState(StateClosed)
			if c.rst != nil {
				c.b.expect(*c.rst)
				if o := c.b.host.outs[len(c.b.host.outs)-1]; o.Kind != KindRST {
					t.Fatalf("the Host saw %+v", o)
				}
			}
			c.b.expectNothing()
			c.b.advance(time.Hour)
			c.b.expectNothing()
		})
	}
	t.Run("with data in flight", func(t *testing.T) {
		b := established(t, Config{})
		b.write(500)
		b.expectData(1, 500)
		b.sf.Abort()
		b.poll()
		b.expect(pkt{f: fRA, seq: 501, ack: 1})
		if n := b.outstanding(); n != 500 {
			t.Fatalf("outstanding %d", n)
		}
	})
	t.Run("before the SYN/ACK", func(t *testing.T) {
		b, c := newBench(t, Config{})
		b.sf = Accept(b.now, b.segment(pkt{f: fS}), c)
		b.sf.Abort()
		b.poll()
		b.expect(pkt{f: fRA, seq: 0, ack: 1})
	})
}

func TestKill(t *testing.T) {
	b := established(t, Config{})
	b.write(500)
	b.out = nil
	b.sf.Kill()
	b.poll()
	b.expectNothing()
	b.expectState(StateClosed)
	b.send(pkt{f: fA, seq: 1, ack: 1, n: 5})
	b.expectDropped()
	b.expectNothing()
}

// A closed subflow leaves its group of coupled controllers.
func TestClosedLeavesGroup(t *testing.T) {
	var g cc.Group
	join := func(g *cc.Group, _ int) cc.Controller {
		f := &fixed{wnd: 10000}
		g.Join(f)
		return f
	}
	b := established(t, Config{Group: &g, Controller: join})
	if len(g.Members()) != 1 {
		t.Fatal("not in the group")
	}
	b.sf.Abort()
	if len(g.Members()) != 0 {
		t.Fatal("still in the group")
	}
}
