package subflow

import (
	"testing"

	"github.com/mpnc/mpnc/subflow/cc"
)

// What other tests of these rules did not see when a line of them was switched
// off.

// T18: 1220 octets by IPv6, where the peer's SYN did not say: MUST-15.
func TestT18_DefaultMSSOfIPv6(t *testing.T) {
	b, c := newBench(t, Config{NoTimestamps: true})
	seg := b.segment(pkt{f: fS})
	seg.Tuple = tuple6
	b.sf = Accept(b.now, seg, c)
	if b.sf.MSS() != 1220 {
		t.Fatalf("MSS %d", b.sf.MSS())
	}
}

// T18: the options of each segment count, those too that come and go: MUST-16.
func TestT18_SACKBlocksTakeFromTheSegment(t *testing.T) {
	b := established(t, Config{})
	b.send(pkt{f: fA, seq: 1001, ack: 1, n: 100})
	b.out = nil
	b.write(1000)
	b.expect(pkt{f: fA, seq: 1, ack: 1, n: 988, sack: [][2]int{{1001, 1101}}})
	b.expect(pkt{f: fA, seq: 989, ack: 1, n: 12, sack: [][2]int{{1001, 1101}}})
}

// T42: no timestamps after a SYN/ACK without.
func TestT42_PeerHasNone(t *testing.T) {
	b := connect(t, Config{}, pkt{mss: 1000})
	b.write(100)
	if got := b.expect(pkt{f: fA, seq: 1, ack: 1, n: 100}); got.ts {
		t.Fatal("a segment has timestamps")
	}
	b.send(pkt{f: fA, seq: 1, ack: 101, n: 10})
	b.expectPayload(1, 10)
}

// T46: no SACK after a SYN/ACK that did not permit it: RFC 2018, Section 3.
func TestT46_PeerPermitsNone(t *testing.T) {
	b := connect(t, Config{NoTimestamps: true}, pkt{mss: 1000})
	b.send(pkt{f: fA, seq: 101, ack: 1, n: 10})
	b.expect(pkt{f: fA, seq: 1, ack: 1})
}

// T46: a timeout forgets every report, also of what is too young to be lost:
// RFC 2018, Section 8.
func TestT46_TimeoutForgetsReports(t *testing.T) {
	b := flying(t, 3, Config{})
	b.sf.rack.reordering = true // a window of 2.5 ms: nothing is overdue yet
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 2001}}})
	if b.sf.snd.sacked != 1000 {
		t.Fatalf("%d octets reported", b.sf.snd.sacked)
	}
	if lost := b.sf.markTimedOut(b.now); lost != 1000 {
		t.Fatalf("%d octets lost", lost)
	}
	if b.sf.snd.sacked != 0 || b.sf.snd.pipe != 2000 {
		t.Fatalf("%d octets still reported, %d in flight", b.sf.snd.sacked, b.sf.snd.pipe)
	}
}

// T50: the variance counts for the clock's granularity at least: RFC 6298,
// Section 2.3.
func TestT50_Granularity(t *testing.T) {
	r := newRTT(0, maxDuration)
	for range 300 {
		r.sample(400*ms, 0)
	}
	if r.rttvar >= granularity/4 {
		t.Fatalf("RTTVAR %v", r.rttvar)
	}
	if r.timeout() != 400*ms+granularity {
		t.Fatalf("RTO %v", r.timeout())
	}
}

const maxDuration = 1 << 62

// T52: sixteen recoveries without a D-SACK take the wider window back:
// RFC 8985, Section 6.2, step 4.
func TestT52_WideWindowIsTakenBack(t *testing.T) {
	k := newRACK()
	k.adapt(&ackState{hasDSACK: true}, 1, 1001, false)
	for i := range 16 {
		if k.mult != 2 {
			t.Fatalf("multiplier %d after %d recoveries", k.mult, i)
		}
		k.adapt(&ackState{}, 2001, 3001, true)
	}
	if k.mult != 1 {
		t.Fatalf("multiplier %d", k.mult)
	}
}

// T54: no second probe before the round trip was measured anew: RFC 8985,
// Section 7.3.
func TestT54_ProbeWantsANewSample(t *testing.T) {
	b := established(t, Config{})
	b.write(2000)
	b.out = nil
	b.advance(20 * ms)
	b.expectData(1001, 1000)
	b.advance(10 * ms)
	// Both copies arrived: what is acknowledged left twice, and measures nothing.
	b.send(pkt{f: fA, seq: 1, ack: 2001, sack: [][2]int{{1001, 2001}}})
	b.write(2000)
	b.expectData(2001, 1000, 1000)
	b.advance(150 * ms)
	b.expectNothing()
}

// T59: D-SACKs of all that was sent again undo the recovery (RFC 3708).
func TestT59_NeedlessRetransmission(t *testing.T) {
	b := flying(t, 5, Config{})
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 4001}}})
	b.expectData(1, 1000)
	b.expectCauses(cc.LossDetected)
	b.send(pkt{f: fA, seq: 1, ack: 5001, sack: [][2]int{{1, 1001}}})
	b.expectCauses(cc.Spurious)
}

// T60: on the way from 20 segments in flight to 10, one leaves for every two that
// arrive, all the way: RFC 9937, Section 1.
func TestT60_NoPause(t *testing.T) {
	var r recovery
	r.begin(fast, 20001, 20000)
	pipe, sent := 19000, 0
	for i := 1; i <= 18; i++ {
		pipe -= 1000
		r.proportion(1000, pipe, 10000, 1000, true)
		for pipe+1000 <= r.cwnd {
			pipe += 1000
			sent++
			r.out += 1000
		}
		if lag := i - 2*sent; lag < 0 || lag > 2 {
			t.Fatalf("%d sent after %d arrived", sent, i)
		}
	}
}
