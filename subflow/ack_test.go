package subflow

import (
	"testing"
	"time"
)

// T70: "an ACK SHOULD be generated for at least every second full-sized
// segment, and MUST be generated within 500 ms of the arrival of the first
// unacknowledged packet": RFC 5681, Section 4.2.
func TestT70_EverySecondSegment(t *testing.T) {
	b := established(t, Config{})
	b.send(pkt{f: fA, seq: 1, ack: 1, n: 1000})
	b.expectNothing()
	b.send(pkt{f: fA, seq: 1001, ack: 1, n: 1000})
	b.expect(pkt{f: fA, seq: 1, ack: 2001})
	b.send(pkt{f: fA, seq: 2001, ack: 1, n: 1000})
	b.expectNothing()
}

func TestT70_DelayedACK(t *testing.T) {
	b := established(t, Config{AckDelay: 40 * ms})
	b.send(pkt{f: fA, seq: 1, ack: 1, n: 100})
	b.advance(20 * ms)
	b.send(pkt{f: fA, seq: 101, ack: 1, n: 100}) // does not extend the delay
	b.advance(20*ms - 1)
	b.expectNothing()
	b.advance(1)
	b.expect(pkt{f: fA, seq: 1, ack: 201})
	b.advance(time.Second)
	b.expectNothing()
}

// Data takes the ACK with it.
func TestT70_Piggyback(t *testing.T) {
	b := established(t, Config{})
	b.send(pkt{f: fA, seq: 1, ack: 1, n: 100})
	b.write(50)
	b.expect(pkt{f: fA, seq: 1, ack: 101, n: 50})
	b.send(pkt{f: fA, seq: 101, ack: 51})
	b.advance(time.Second)
	b.expectNothing()
}

// A train counts as the segments it was made of.
func TestT70_Train(t *testing.T) {
	b := established(t, Config{})
	b.send(pkt{f: fA, seq: 1, ack: 1, n: 5000})
	b.expect(pkt{f: fA, seq: 1, ack: 5001})
}

// "A TCP receiver SHOULD send an immediate duplicate ACK when an out-of-order
// segment arrives", and "an immediate ACK when the incoming segment fills in all
// or part of a gap": RFC 5681, Section 4.2.
func TestT70_OutOfOrderAtOnce(t *testing.T) {
	b := established(t, Config{})
	b.send(pkt{f: fA, seq: 101, ack: 1, n: 10})
	b.expect(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{101, 111}}})
	b.send(pkt{f: fA, seq: 201, ack: 1, n: 10})
	b.expect(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{201, 211}, {101, 111}}})
	b.send(pkt{f: fA, seq: 1, ack: 1, n: 10}) // fills a part
	b.expect(pkt{f: fA, seq: 1, ack: 11, sack: [][2]int{{201, 211}, {101, 111}}})
	b.send(pkt{f: fA, seq: 11, ack: 1, n: 90})
	b.expect(pkt{f: fA, seq: 1, ack: 111, sack: [][2]int{{201, 211}}})
	b.send(pkt{f: fA, seq: 111, ack: 1, n: 90})
	b.expectPayload(111, 90)
	b.expect(pkt{f: fA, seq: 1, ack: 211})
}

// The first segments of a connection are acknowledged one by one.
func TestQuickACKs(t *testing.T) {
	b := established(t, Config{})
	b.sf.rcv.quick = quickSegments
	for i := range quickSegments {
		b.send(pkt{f: fA, seq: 1 + 1000*i, ack: 1, n: 1000})
		b.expect(pkt{f: fA, seq: 1, ack: 1 + 1000*(i+1)})
	}
	b.send(pkt{f: fA, seq: 16001, ack: 1, n: 1000})
	b.expectNothing()
}

// T43: "the TSecr of a delayed ACK is that of the earliest unacknowledged
// segment; one that fills a hole is echoed": RFC 7323, Section 4.3.
func TestT43_TSRecent(t *testing.T) {
	b := withTimestamps(t, Config{})
	first := b.clock() + 5
	b.send(pkt{f: fA, seq: 1, ack: 1, n: 1000, val: first})
	b.expectNothing()
	b.send(pkt{f: fA, seq: 1001, ack: 1, n: 1000, val: first + 1})
	b.expect(pkt{f: fA, seq: 1, ack: 2001, ecr: first})

	b.send(pkt{f: fA, seq: 3001, ack: 1, n: 1000, val: first + 3}) // a hole before it
	b.expect(pkt{f: fA, seq: 1, ack: 2001, ecr: first, sack: [][2]int{{3001, 4001}}})
	b.send(pkt{f: fA, seq: 2001, ack: 1, n: 1000, val: first + 2})
	b.expect(pkt{f: fA, seq: 1, ack: 4001, ecr: first + 2})
}

// T46: RFC 2018, Section 4: the first block holds the newest segment, then the
// most recent others; three beside timestamps, four without.
func TestT46_SACKBlocks(t *testing.T) {
	b := established(t, Config{})
	for i := 1; i <= 6; i++ {
		b.out = nil
		b.send(pkt{f: fA, seq: 1 + 100*i, ack: 1, n: 10})
	}
	b.expect(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{601, 611}, {501, 511}, {401, 411}, {301, 311}}})
	// An older run grows and comes first.
	b.send(pkt{f: fA, seq: 411, ack: 1, n: 10})
	b.expect(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{401, 421}, {601, 611}, {501, 511}, {301, 311}}})
	// Two runs become one.
	b.send(pkt{f: fA, seq: 511, ack: 1, n: 90})
	b.expect(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{501, 611}, {401, 421}, {301, 311}}})

	b = withTimestamps(t, Config{})
	for i := 1; i <= 6; i++ {
		b.out = nil
		b.send(pkt{f: fA, seq: 1 + 100*i, ack: 1, n: 10})
	}
	b.expect(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{601, 611}, {501, 511}, {401, 411}}})
}

// "SACK-permitted ... MUST NOT be sent on non-SYN segments", and no SACK
// without it.
func TestT46_NotPermitted(t *testing.T) {
	b := established(t, Config{NoSACK: true})
	b.send(pkt{f: fA, seq: 101, ack: 1, n: 10})
	b.expect(pkt{f: fA, seq: 1, ack: 1})
}

// T47: RFC 2883, Section 4: duplicates are reported once, in the first block.
func TestT47_DSACK(t *testing.T) {
	b := established(t, Config{})
	b.send(pkt{f: fA, seq: 1, ack: 1, n: 1000})
	b.send(pkt{f: fA, seq: 1001, ack: 1, n: 1000})
	b.out = nil
	// The whole segment, below the cumulative ACK.
	b.send(pkt{f: fA, seq: 501, ack: 1, n: 500})
	b.expectDropped()
	b.expect(pkt{f: fA, seq: 1, ack: 2001, sack: [][2]int{{501, 1001}}})
	// A part of it.
	b.send(pkt{f: fA, seq: 1501, ack: 1, n: 1000})
	b.expectPayload(2001, 500)
	b.advance(time.Second)
	b.expect(pkt{f: fA, seq: 1, ack: 2501, sack: [][2]int{{1501, 2001}}})
	// Beyond a hole: the run around it is the second block.
	b.send(pkt{f: fA, seq: 3001, ack: 1, n: 1000})
	b.expect(pkt{f: fA, seq: 1, ack: 2501, sack: [][2]int{{3001, 4001}}})
	b.send(pkt{f: fA, seq: 3501, ack: 1, n: 200})
	if b.acc.Payload != nil {
		t.Fatal("the duplicate was delivered")
	}
	b.expect(pkt{f: fA, seq: 1, ack: 2501, sack: [][2]int{{3501, 3701}, {3001, 4001}}})
	// Only once.
	b.sf.SendAck()
	b.poll()
	b.expect(pkt{f: fA, seq: 1, ack: 2501, sack: [][2]int{{3001, 4001}}})
}

// Nobody makes us remember more than a bounded number of runs.
func TestSpansAreBounded(t *testing.T) {
	b := established(t, Config{Accept: 1 << 20})
	for i := range 1000 {
		b.send(pkt{f: fA, seq: 3 + 2*i, ack: 1, n: 1})
	}
	if n := len(b.sf.rcv.set.Spans()); n != maxSpans {
		t.Fatalf("%d runs", n)
	}
	if b.acc.Payload != nil {
		t.Fatal("payload that was not remembered was delivered")
	}
	// What joins a run, and what is in order, is still taken.
	b.send(pkt{f: fA, seq: 4, ack: 1, n: 1})
	b.expectPayload(4, 1)
	b.send(pkt{f: fA, seq: 1, ack: 1, n: 2})
	b.expectPayload(1, 2)
	if b.sf.RcvNxt() != 6 {
		t.Fatalf("RCV.NXT %d", b.sf.RcvNxt())
	}
}

// An ACK that waits for a reader waits a millisecond and no longer, however much
// arrives meanwhile; what it waits for lets it go at once; and one that is due for
// another reason does not wait.
func TestDeferAck(t *testing.T) {
	b := established(t, Config{})
	at := 1
	arrive := func() {
		b.send(pkt{f: fA, seq: at, ack: 1, n: 2000})
		at += 2000
	}
	for range quickSegments { // those are acknowledged at once
		arrive()
	}
	b.out, b.segs = nil, nil
	deferred := func() {
		b.t.Helper()
		b.sf.HandleSegment(b.now, b.segment(pkt{f: fA, seq: at, ack: 1, n: 2000}))
		at += 2000
		b.sf.DeferAck(b.now)
		b.poll()
		b.expectNothing()
	}
	deferred()
	b.advance(deferBound / 2)
	deferred()
	b.advance(deferBound / 2)
	b.expect(pkt{f: fA, seq: 1, ack: at})
	b.expectNothing()

	deferred()
	if !b.sf.SendDeferred() {
		t.Error("nothing waits")
	}
	b.poll()
	b.expect(pkt{f: fA, seq: 1, ack: at})
	if b.sf.SendDeferred() {
		t.Error("something waits still")
	}

	deferred()
	b.sf.Mute(b.now, true)
	if b.sf.SendDeferred() {
		t.Error("an ACK leaves by a path that is gone")
	}
}
