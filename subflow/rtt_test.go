package subflow

import (
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/subflow/cc"
)

// T50: RFC 6298, Section 2, with alpha = 1/8, beta = 1/4, K = 4.
func TestT50_RTOSamples(t *testing.T) {
	r := newRTT(200*ms, time.Minute)
	if r.timeout() != time.Second {
		t.Fatalf("initial RTO %v", r.timeout())
	}
	for _, c := range []struct{ sample, srtt, rttvar, rto time.Duration }{
		{400 * ms, 400 * ms, 200 * ms, 1200 * ms}, // SRTT = R, RTTVAR = R/2
		{400 * ms, 400 * ms, 150 * ms, 1000 * ms},
		{800 * ms, 450 * ms, 212500 * time.Microsecond, 1300 * ms},
	} {
		r.sample(c.sample, 0)
		if r.srtt != c.srtt || r.rttvar != c.rttvar || r.timeout() != c.rto {
			t.Fatalf("after %v: SRTT %v RTTVAR %v RTO %v, expected %+v", c.sample, r.srtt, r.rttvar, r.timeout(), c)
		}
	}
	for range 100 {
		r.sample(ms, 0)
	}
	if r.timeout() != 200*ms {
		t.Fatalf("floor: RTO %v", r.timeout())
	}
	// RTTVAR is gone, and yet the timer leaves room for a change.
	for _, c := range []struct{ steady, rto time.Duration }{
		{80 * ms, 200 * ms}, {150 * ms, 300 * ms}, {600 * ms, 800 * ms},
	} {
		for range 100 {
			r.sample(c.steady, 0)
		}
		if d := r.timeout() - c.rto; d < -2*ms || d > 2*ms {
			t.Fatalf("RTO %v at a steady %v, expected %v", r.timeout(), c.steady, c.rto)
		}
	}
	r.backoff = 40
	if r.timeout() != time.Minute {
		t.Fatalf("ceiling: RTO %v", r.timeout())
	}
}

// The minimum is that of the last minutes, not of all time.
func TestMinRTTWindow(t *testing.T) {
	r := newRTT(200*ms, time.Minute)
	r.sample(10*ms, 0)
	at := mono.Time(0)
	for range 130 {
		at = at.Add(time.Second)
		r.sample(50*ms, at)
	}
	if r.minimum() != 50*ms {
		t.Fatalf("minimum %v after two minutes", r.minimum())
	}
}

// T51: "When the retransmission timer expires ... The host MUST set RTO <- RTO *
// 2": RFC 6298, Section 5.5, up to the ceiling; and nothing is given up.
func TestT51_Backoff(t *testing.T) {
	b := established(t, Config{NoSACK: true, MaxRTO: 2 * time.Second})
	b.write(1000)
	b.expectData(1, 1000)
	b.expectEvents(0)
	for i, gap := range []time.Duration{200 * ms, 400 * ms, 800 * ms, 1600 * ms, 2 * time.Second, 2 * time.Second, 2 * time.Second} {
		b.advance(gap - 1)
		b.expectNothing()
		b.advance(1)
		b.expectData(1, 1000)
		if i == 0 {
			b.expectEvents(Suspect)
		} else {
			b.expectEvents(0)
		}
		if !b.sf.Stale() {
			t.Fatal("not stale")
		}
	}
	// "once until something new is acknowledged"
	if got := b.causes(); len(got) != 1 || got[0] != cc.Timeout {
		t.Fatalf("the controller was told %v", got)
	}
	b.send(pkt{f: fA, seq: 1, ack: 1001})
	b.expectEvents(Trusted)
	if b.sf.Stale() {
		t.Fatal("still stale")
	}
}

// T51, Karn: what was retransmitted gives no sample without timestamps, and
// "the backed-off RTO" is kept until there is one.
func TestT51_Karn(t *testing.T) {
	b := established(t, Config{NoSACK: true})
	b.write(1000)
	b.advance(200 * ms)
	b.out = nil
	b.advance(5 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 1001})
	if b.sf.SRTT() != 10*ms || b.sf.RTO() != 400*ms {
		t.Fatalf("SRTT %v, RTO %v", b.sf.SRTT(), b.sf.RTO())
	}
	b.write(1000)
	b.advance(10 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 2001})
	if b.sf.RTO() != 200*ms {
		t.Fatalf("RTO %v after a sample", b.sf.RTO())
	}
}

// With timestamps the retransmission itself is measured; an echo from before it
// is not (its ACK may have been lost, and this be a repetition).
func TestT51_TimestampsDisambiguate(t *testing.T) {
	b := withTimestamps(t, Config{NoSACK: true})
	b.write(1000)
	b.expectData(1, 1000)
	b.advance(200 * ms)
	b.expectData(1, 1000)
	b.advance(30 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 1001})
	want := 10*ms + (30*ms-10*ms)/8
	if b.sf.SRTT() != want {
		t.Fatalf("SRTT %v, expected %v", b.sf.SRTT(), want)
	}

	b.write(1000)
	original := b.lastVal
	b.advance(b.sf.RTO())
	b.send(pkt{f: fA, seq: 1, ack: 2001, ecr: original})
	if b.sf.SRTT() != want {
		t.Fatalf("SRTT %v from an old echo", b.sf.SRTT())
	}
}

// T51: "When an ACK is received that acknowledges new data, restart the
// retransmission timer": RFC 6298, Section 5.3.
func TestT51_RestartOnProgress(t *testing.T) {
	b := established(t, Config{NoSACK: true})
	b.write(3000)
	b.out = nil
	for i := 1; i <= 2; i++ {
		b.advance(150 * ms)
		b.send(pkt{f: fA, seq: 1, ack: 1 + 1000*i})
		b.expectNothing()
	}
	rto := b.sf.RTO()
	b.advance(rto - 1)
	b.expectNothing()
	b.advance(1)
	b.expectData(2001, 1000)
}

// "If the timer expires awaiting the ACK of a SYN segment ... the RTO MUST be
// re-initialized to 3 seconds when data transmission begins": RFC 6298,
// Section 5.7.
func TestT51_SYNLost(t *testing.T) {
	b := synSent(t, Config{NoTimestamps: true})
	b.advance(time.Second)
	b.expect(pkt{f: fS})
	b.send(pkt{f: fSA, ack: 1})
	if b.sf.RTO() != 3*time.Second || b.sf.SRTT() != 0 {
		t.Fatalf("RTO %v, SRTT %v", b.sf.RTO(), b.sf.SRTT())
	}
}

// The arrival time counts, not when a segment is processed.
func TestRTTFromArrivalTime(t *testing.T) {
	b := established(t, Config{})
	b.write(1000)
	b.advance(10 * ms)
	seg := b.segment(pkt{f: fA, seq: 1, ack: 1001})
	b.advance(5 * ms) // it waited
	b.sf.HandleSegment(b.now, seg)
	if b.sf.SRTT() != 10*ms {
		t.Fatalf("SRTT %v", b.sf.SRTT())
	}
}
