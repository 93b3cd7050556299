package subflow

import (
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
)

// "The procedures to establish connections": RFC 9293, Section 3.5, Figure 6.
func TestHandshakeActive(t *testing.T) {
	b, c := newBench(t, Config{WScale: 7})
	b.sf = Dial(b.now, wire.Tuple{Local: addrA, Remote: addrB}, c)
	b.poll()
	b.expectState(StateSynSent)
	got := b.expect(pkt{f: fS, mss: 1460, ws: 8, win: 60000})
	if !got.sackOK || !got.ts {
		t.Fatalf("SYN %+v without SACK-permitted or timestamps", got)
	}
	b.advance(30 * ms)
	b.ts = true
	b.send(pkt{f: fSA, ack: 1, mss: 1400, ws: 3, sackOK: true, ts: true})
	b.expectEvents(Established)
	b.expect(pkt{f: fA, seq: 1, ack: 1, ecr: b.clock(), win: 60000 >> 7})
	if b.sf.SRTT() != 30*ms || b.sf.MSS() != 1400-12 {
		t.Fatalf("SRTT %v, MSS %d", b.sf.SRTT(), b.sf.MSS())
	}
	b.expectNothing()
}

func TestHandshakePassive(t *testing.T) {
	b := synReceived(t, Config{WScale: 7}, pkt{mss: 1200, ts: true, ws: 1})
	b.expectState(StateSynReceived)
	b.advance(20 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 1, n: 100})
	b.expectEvents(Established)
	b.expectState(StateEstablished)
	b.expectPayload(1, 100)
	if b.sf.SRTT() != 20*ms {
		t.Fatalf("SRTT %v", b.sf.SRTT())
	}
}

// A SYN/ACK has what the SYN had and no more: RFC 7323, Section 2.2 and 3.2;
// RFC 2018, Section 2.
func TestHandshakeAnswersOptions(t *testing.T) {
	for _, syn := range []pkt{{}, {ts: true}, {ws: 3}, {sackOK: true}, {ts: true, ws: 1, sackOK: true}} {
		b, c := newBench(t, Config{WScale: 7})
		b.ts = syn.ts
		syn.f = fS
		b.sf = Accept(b.now, b.segment(syn), c)
		b.poll()
		got := b.expect(pkt{f: fSA, ack: 1})
		if got.ts != syn.ts || (got.ws != 0) != (syn.ws != 0) || got.sackOK != syn.sackOK {
			t.Fatalf("answer %+v to %+v", got, syn)
		}
	}
}

// T4: simultaneous open, RFC 9293, Section 3.5, Figure 7.
func TestT4_SimultaneousOpen(t *testing.T) {
	b := synSent(t, Config{})
	b.send(pkt{f: fS, mss: 1000})
	b.expectState(StateSynReceived)
	b.expect(pkt{f: fSA, ack: 1})
	b.send(pkt{f: fSA, ack: 1, mss: 1000})
	b.expectEvents(Established)
	b.expectState(StateEstablished)
	b.send(pkt{f: fA, seq: 1, ack: 1, n: 10})
	b.expectPayload(1, 10)
}

// T4, MUST-11: a RST in SYN-RECEIVED refuses the active opener; the passive one
// was reset.
func TestT4_RSTInSynReceived(t *testing.T) {
	b := synReceived(t, Config{}, pkt{})
	b.send(pkt{f: fR, seq: 1})
	b.expectEvents(ResetByPeer)
	b.expectState(StateClosed)

	b = synSent(t, Config{})
	b.send(pkt{f: fS})
	b.expect(pkt{f: fSA, ack: 1})
	b.send(pkt{f: fR, seq: 1})
	b.expectEvents(Refused)
	b.expectState(StateClosed)
	b.expectNothing()
}

// T3: RFC 9293, Section 3.10.7.3.
func TestT3_SynSent(t *testing.T) {
	t.Run("ACK of nothing is reset", func(t *testing.T) {
		for _, ack := range []int{0, 2, -5} {
			b := synSent(t, Config{})
			b.send(pkt{f: fA, seq: 77, ack: ack})
			b.expectDropped()
			b.expect(pkt{f: fR, seq: ack})
			b.expectState(StateSynSent)
			b.send(pkt{f: fSA, ack: ack})
			b.expect(pkt{f: fR, seq: ack})
			b.expectState(StateSynSent)
			b.send(pkt{f: fRA, ack: ack})
			b.expectDropped()
			b.expectNothing()
		}
	})
	t.Run("RST without ACK is ignored", func(t *testing.T) {
		b := synSent(t, Config{})
		b.send(pkt{f: fR})
		b.expectDropped()
		b.expectState(StateSynSent)
	})
	t.Run("RST with a good ACK refuses", func(t *testing.T) {
		b := synSent(t, Config{})
		b.send(pkt{f: fRA, ack: 1})
		b.expectEvents(Refused)
		b.expectState(StateClosed)
	})
	t.Run("ACK without SYN is dropped", func(t *testing.T) {
		b := synSent(t, Config{})
		b.send(pkt{f: fA, ack: 1})
		b.expectDropped()
		b.expectNothing()
	})
}

// RFC 9293, Section 3.10.7.4, fifth, SYN-RECEIVED: "If the segment
// acknowledgment is not acceptable, form a reset segment <SEQ=SEG.ACK><CTL=RST>".
func TestSynReceivedBadACK(t *testing.T) {
	for _, ack := range []int{0, 2} {
		b := synReceived(t, Config{}, pkt{})
		b.send(pkt{f: fA, seq: 1, ack: ack})
		b.expectDropped()
		b.expect(pkt{f: fR, seq: ack})
		b.expectState(StateSynReceived)
	}
}

// A SYN again means that our SYN/ACK was lost.
func TestSynReceivedSYNAgain(t *testing.T) {
	b := synReceived(t, Config{}, pkt{mss: 1000})
	b.advance(500 * ms)
	b.send(pkt{f: fS, mss: 1000})
	b.expect(pkt{f: fSA, ack: 1})
	// RFC 5961, Section 4: another SYN is challenged.
	b.send(pkt{f: fS, seq: 50})
	b.expect(pkt{f: fA, seq: 1, ack: 1})
	b.expectState(StateSynReceived)
}

// A SYN/ACK again means that our ACK was lost.
func TestSynAckAgain(t *testing.T) {
	b := established(t, Config{})
	b.send(pkt{f: fSA, ack: 1, mss: 1000})
	b.expectDropped()
	b.expect(pkt{f: fA, seq: 1, ack: 1})
}

// T22: the SYN is sent again with doubled intervals, then given up.
func TestT22_SYNRetries(t *testing.T) {
	b := synSent(t, Config{SynRetries: 3})
	for i, gap := range []time.Duration{1, 2, 4} {
		b.advance(gap*time.Second - 1)
		b.expectNothing()
		b.advance(1)
		b.expect(pkt{f: fS})
		if o := b.host.outs[len(b.host.outs)-1]; o.Kind != KindSYN || o.Retry != i+1 {
			t.Fatalf("the Host saw %+v", o)
		}
	}
	b.advance(8*time.Second - 1)
	b.expectEvents(0)
	b.advance(1)
	b.expectEvents(Failed)
	b.expectState(StateClosed)
	b.expectNothing()
}

// T22: "R2 for a SYN segment MUST be set large enough to provide retransmission
// of the segment for at least 3 minutes" (RFC 9293, Section 3.8.3, MUST-23).
func TestT22_SYNThreeMinutes(t *testing.T) {
	b := synSent(t, Config{})
	b.advance(3 * time.Minute)
	b.expectEvents(0)
	b.expectState(StateSynSent)
	b.advance(2 * time.Minute)
	b.expectEvents(Failed)
}

func TestSYNACKRetries(t *testing.T) {
	b := synReceived(t, Config{SynRetries: 1}, pkt{})
	b.advance(time.Second)
	b.expect(pkt{f: fSA, ack: 1})
	if o := b.host.outs[len(b.host.outs)-1]; o.Kind != KindSYNACK || o.Retry != 1 {
		t.Fatalf("the Host saw %+v", o)
	}
	b.advance(2 * time.Second)
	b.expectEvents(Failed)
}

// T18: "If an MSS Option is not received at connection setup, TCP
// implementations MUST assume a default send MSS of 536": MUST-15.
func TestT18_MSS(t *testing.T) {
	for _, c := range []struct {
		name     string
		peer     int
		mtu      int
		ts       bool
		optSpace int
		want     int
	}{
		{"none", 0, 1500, false, 0, 536},
		{"none, MPTCP", 0, 1500, true, 28, 536 - 40},
		{"theirs", 1000, 1500, false, 0, 1000},
		{"theirs, timestamps", 1000, 1500, true, 0, 988},
		{"ours", 9000, 1400, false, 0, 1360},
		{"both options", 1460, 1500, true, 28, 1420},
		{"absurd", 1, 1500, true, 28, 48},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := Config{MTU: c.mtu, OptionSpace: c.optSpace, NoTimestamps: !c.ts}
			b := connect(t, cfg, pkt{mss: c.peer, ts: c.ts})
			if got := b.sf.MSS(); got != c.want {
				t.Fatalf("MSS %d, expected %d", got, c.want)
			}
		})
	}
}

// T40: "If a Window Scale option is received with a shift.cnt value larger than
// 14, ... MUST use 14 instead"; windows of SYNs are not scaled: RFC 7323,
// Sections 2.2 and 2.3.
func TestT40_WindowScale(t *testing.T) {
	b := connect(t, Config{WScale: 20, NoTimestamps: true}, pkt{ws: 15 + 1, win: 1000})
	if b.sf.Info().SndWnd != 1000 {
		t.Fatalf("window of the SYN/ACK: %d", b.sf.Info().SndWnd)
	}
	b.send(pkt{f: fA, seq: 1, ack: 1, win: 3})
	if b.sf.Info().SndWnd != 3<<14 {
		t.Fatalf("window %d", b.sf.Info().SndWnd)
	}
	b.host.wnd = 5 << 14
	b.sf.SendAck()
	b.poll()
	b.expect(pkt{f: fA, seq: 1, ack: 1, win: 5})

	// The peer has none: neither have we.
	b = connect(t, Config{WScale: 7, NoTimestamps: true}, pkt{win: 1000})
	b.send(pkt{f: fA, seq: 1, ack: 1, win: 3})
	b.host.wnd = 1 << 20
	b.sf.SendAck()
	b.poll()
	b.expect(pkt{f: fA, seq: 1, ack: 1, win: 65535})
	if b.sf.Info().SndWnd != 3 {
		t.Fatalf("window %d", b.sf.Info().SndWnd)
	}
}

// T42: timestamps on every segment once both SYNs had them; "if a non-<RST>
// segment is received without a TSopt, SHOULD silently drop": RFC 7323,
// Section 3.2.
func TestT42_TimestampsMissing(t *testing.T) {
	b := withTimestamps(t, Config{})
	b.send(pkt{f: fA, seq: 1, ack: 1, n: 10, noTS: true})
	b.expectDropped()
	b.expectNothing()
	b.send(pkt{f: fR, seq: 1, noTS: true})
	b.expectEvents(ResetByPeer)
}

// Closing before the handshake is done: the FIN waits for it.
func TestCloseWriteWhileOpening(t *testing.T) {
	b := synSent(t, Config{})
	b.sf.CloseWrite()
	b.poll()
	b.expectNothing()
	b.send(pkt{f: fSA, ack: 1})
	b.expectState(StateFinWait1)
	b.expect(pkt{f: fFA, seq: 1, ack: 1})
}
