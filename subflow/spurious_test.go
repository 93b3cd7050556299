package subflow

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow/cc"
)

// T59: a link of 50 Mb/s and 40 ms holds everything back for 300 ms in every
// second, and loses nothing. Each time the retransmission timer fires. The
// window must not stay collapsed, which with Reno would cost seconds, nor may a
// window be sent twice: Eifel tells by the first ACK. Without timestamps the
// D-SACKs of the first segments sent again tell, a round trip later.
func TestT59_DelaySpike(t *testing.T) {
	const (
		size   = 12 << 20
		period = mono.Time(time.Second)
		length = mono.Time(300 * time.Millisecond)
	)
	run := func(t *testing.T, c Config, spike func(mono.Time) mono.Time) (time.Duration, Info) {
		net := &network{
			rng: rand.New(rand.NewPCG(7, 7)), now: mono.Time(time.Second), cut: wire.NewBatch(256 << 10),
			gbps: 0.0125 / 2, delay: 20 * time.Millisecond, spike: spike,
		}
		net.a, net.b = newPeer(t, "A", size, 0), newPeer(t, "B", 0, size)
		c.WScale, c.TimeWait, c.Controller = 8, time.Second, cc.NewReno
		net.a.sf = Dial(net.now, wire.Tuple{Local: addrA, Remote: addrB}, c)
		net.fixed = &c
		start := net.now
		net.run(time.Hour)
		i := net.a.sf.Info()
		return i.LastProgress.Sub(start), i
	}
	for _, c := range []struct {
		name   string
		cfg    Config
		resent uint64 // segments for each spike, at most
	}{
		{"timestamps", Config{}, 3},
		{"timestamps, no SACK", Config{NoSACK: true}, 3},
		{"no timestamps", Config{NoTimestamps: true}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			calm, _ := run(t, c.cfg, nil)
			var spikes uint64
			last := mono.Time(-1)
			took, i := run(t, c.cfg, func(now mono.Time) mono.Time {
				if begin := now - now%period; now >= begin+period/2 && now < begin+period/2+length {
					if begin != last {
						last = begin
						spikes++
					}
					return begin + period/2 + length
				}
				return 0
			})
			lost := time.Duration(spikes) * time.Duration(length)
			t.Logf("%v without spikes, %v with %d, %d retransmissions, %d RTOs, %d probes, %d spurious",
				calm, took, spikes, i.Retransmits, i.RTOs, i.TLPs, i.Spurious)
			if spikes < 3 || i.RTOs < spikes-1 || i.Spurious < spikes-1 {
				t.Errorf("%d spikes, %d timeouts, %d found spurious", spikes, i.RTOs, i.Spurious)
			}
			if took > (calm+lost)*11/10+100*time.Millisecond {
				t.Errorf("took %v; %v without spikes, which were %v", took, calm, lost)
			}
			if i.Retransmits > c.resent*spikes {
				t.Errorf("%d segments were sent again for %d spikes", i.Retransmits, spikes)
			}
		})
	}
}

// T59: an acknowledgment of what was never sent again, before anything that was,
// shows that the timeout was for nothing (RFC 5682, Section 3.1, step 3b).
func TestT59_FRTO(t *testing.T) {
	b := flying(t, 6, Config{})
	b.ctrl().wnd = 1000 // after the timeout
	b.advance(time.Second)
	b.out = nil
	b.causes()
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 3001}}})
	b.expectCauses(cc.Spurious)
	b.expectNothing()
	if n := b.sf.InFlight(); n != 4000 {
		t.Fatalf("%d octets in flight", n)
	}
}

// T59: that what was sent again is acknowledged together with what was not says
// nothing, with SACK either: the segment sent again may have filled a hole before
// originals of which no SACK ever came. A Linux receiver leaves most of them out
// while much is missing, and beside timestamps and a DSS there is room for one
// block. The rest is sent again now, and not an expiry of the timer later.
func TestT59_HeldButNeverTold(t *testing.T) {
	for _, timestamps := range []bool{true, false} {
		b := established(t, Config{})
		if timestamps {
			b = withTimestamps(t, Config{})
		}
		b.write(8000)
		b.advance(10 * ms)
		b.out = nil
		b.send(pkt{f: fA, seq: 1, ack: 1}) // all that is ever heard: one and five to eight are lost
		b.causes()
		b.ctrl().wnd = 2000 // after the timeout
		b.advance(time.Second)
		b.expectCauses(cc.Timeout)
		b.out = nil
		b.send(pkt{f: fA, seq: 1, ack: 4001})
		b.expectCauses()
		b.expectData(4001, 1000)
		b.expectData(5001, 1000)
		b.send(pkt{f: fA, seq: 1, ack: 6001})
		b.expectData(6001, 1000)
		b.expectData(7001, 1000)
		b.send(pkt{f: fA, seq: 1, ack: 8001})
		if i := b.sf.Info(); i.RTOs > 2 || i.Spurious != 0 || b.sf.InFlight() != 0 {
			t.Errorf("timestamps %v: %d timeouts, %d found spurious", timestamps, i.RTOs, i.Spurious)
		}
	}
}

// T59: what the peer held before the timeout is no evidence, nor is the
// acknowledgment of what was sent again, nor is that of new data.
func TestT59_FRTOGenuine(t *testing.T) {
	b := flying(t, 2, Config{})
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 2001}}})
	b.out = nil
	b.advance(2 * time.Second)
	if b.sf.Info().RTOs == 0 {
		t.Fatal("no timeout")
	}
	b.out = nil
	b.causes()
	b.send(pkt{f: fA, seq: 1, ack: 2001})
	b.expectCauses()

	b = flying(t, 4, Config{NoSACK: true})
	b.advance(time.Second)
	b.out = nil
	b.causes()
	b.send(pkt{f: fA, seq: 1, ack: 3001}) // it may have filled a hole
	b.expectCauses()
}

// T59: in fast recovery, too, the acknowledgment that fills the hole tells by its
// timestamp whether the original came late or was lost (RFC 3522, Section 3.2,
// "upon a timeout or a fast retransmit").
func TestT59_EifelInFastRecovery(t *testing.T) {
	for _, late := range []bool{true, false} {
		b := withTimestamps(t, Config{})
		b.write(6000)
		original := b.lastVal
		b.advance(10 * ms)
		b.out = nil
		b.causes()
		b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 4001}}, ecr: original})
		b.expectData(1, 1000)
		b.advance(2 * ms)
		if late {
			b.send(pkt{f: fA, seq: 1, ack: 4001, ecr: original})
			b.expectCauses(cc.LossDetected, cc.Spurious)
		} else {
			b.send(pkt{f: fA, seq: 1, ack: 4001})
			b.expectCauses(cc.LossDetected)
		}
		if b.sf.rack.reordering != late {
			t.Fatalf("late %v: reordering seen is %v", late, b.sf.rack.reordering)
		}
		b.expectNothing()
	}
}

// T59: of two holes one was late and one is real: what is undone for the first is
// reduced for the second, once, and only that one is sent again.
func TestT59_EifelBesideALoss(t *testing.T) {
	b := withTimestamps(t, Config{})
	b.write(8000)
	original := b.lastVal
	b.advance(10 * ms)
	b.out = nil
	b.ctrl().wnd = 1000 // for one of them
	b.causes()
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 2001}, {3001, 8001}}, ecr: original})
	b.expectData(1, 1000)
	b.expectNothing()
	b.ctrl().wnd = 8000
	b.advance(1 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 2001, sack: [][2]int{{3001, 8001}}, ecr: original})
	b.expectNothing()
	b.advance(5 * ms) // the reordering window
	b.expectData(2001, 1000)
	b.send(pkt{f: fA, seq: 1, ack: 8001})
	b.expectCauses(cc.LossDetected, cc.Spurious, cc.LossDetected)
	b.expectNothing()
}

// T59: both were sent again, and only the first one was late: nothing is undone,
// also when the D-SACK comes, which speaks of the same.
func TestT59_EifelDoesNotUndoALoss(t *testing.T) {
	b := withTimestamps(t, Config{})
	b.write(8000)
	original := b.lastVal
	b.advance(10 * ms)
	b.out = nil
	b.causes()
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 2001}, {3001, 8001}}, ecr: original})
	b.expectData(1, 1000)
	b.expectData(2001, 1000)
	b.advance(1 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 2001, sack: [][2]int{{3001, 8001}}, ecr: original})
	b.advance(9 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 2001, sack: [][2]int{{1, 1001}, {3001, 8001}}, ecr: original})
	b.send(pkt{f: fA, seq: 1, ack: 8001})
	b.expectCauses(cc.LossDetected)
	b.expectNothing()
}

// T59: a segment that is taken for lost by one acknowledgment and arrives with
// the next, before anything was sent again, costs nothing: acknowledgments are
// handled in batches.
func TestT59_NothingSentAgain(t *testing.T) {
	b := flying(t, 6, Config{})
	b.causes()
	b.sf.HandleSegment(b.now, b.segment(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 4001}}}))
	b.sf.HandleSegment(b.now, b.segment(pkt{f: fA, seq: 1, ack: 4001}))
	b.poll()
	b.expectCauses(cc.LossDetected, cc.Spurious)
	b.expectNothing()
}

// What was spent at the rate of a window of one segment, after a timeout, must not
// hold back the window that returns when the timeout was for nothing.
func TestPacingDebtIsPaidAtTheNewRate(t *testing.T) {
	b := flying(t, 2, Config{})
	b.ctrl().rate = 125000 // a segment in 8 ms
	b.sf.spend(b.now, b.sf.credit(b.now)+3000)
	if wait := b.sf.creditAt(1000).Sub(b.now); wait < 32*ms || wait > 33*ms {
		t.Fatalf("the next segment in %v, expected 32 ms", wait)
	}
	b.ctrl().rate = 12500000
	if wait := b.sf.creditAt(1000).Sub(b.now); wait < 320*time.Microsecond || wait > 330*time.Microsecond {
		t.Fatalf("the next segment in %v at the new rate, expected 320 us", wait)
	}
}

// Pacing is at twice the window a round trip in slow start, the one after a
// timeout included, and a quarter above it otherwise; in fast recovery by the
// window that is aimed at, however little is in flight.
func TestPacingFollowsTheController(t *testing.T) {
	expect := func(b *bench, gain float64, wnd int) {
		t.Helper()
		rate, _ := b.sf.pacing()
		if want := gain * float64(wnd) / b.sf.SRTT().Seconds(); float64(rate) < 0.99*want || float64(rate) > 1.01*want {
			t.Fatalf("rate %d, expected %.0f: %g times %d in %v", rate, want, gain, wnd, b.sf.SRTT())
		}
	}
	b := flying(t, 10, Config{Controller: cc.NewReno})
	expect(b, 2, 10000)
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{7001, 10001}}})
	if b.sf.Cwnd() >= 5000 {
		t.Fatalf("window %d with nothing in flight", b.sf.Cwnd())
	}
	expect(b, 1.25, 5000)
	b.advance(10 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 10001})
	expect(b, 1.25, 6000)
	b.write(5000)
	b.advance(3 * b.sf.RTO() / 2)
	if b.sf.Info().RTOs == 0 {
		t.Fatal("no timeout")
	}
	expect(b, 2, 1000)
}

// In congestion avoidance, too, a window that opens at once does not leave at once:
// ten segments do, and what is left within the round trip.
func TestPacingBoundsLumps(t *testing.T) {
	b := flying(t, 10, Config{Controller: cc.NewReno})
	for sent := 10; sent < 70; sent = 2*sent + 10 {
		b.send(pkt{f: fA, seq: 1, ack: sent*1000 + 1})
		b.write((sent + 10) * 1000)
		b.advance(10 * ms)
	}
	b.send(pkt{f: fA, seq: 1, ack: 30001, sack: [][2]int{{31001, 70001}}})
	b.advance(10 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 70001})
	b.out = nil
	b.advance(50 * ms)
	b.write(18000)
	if len(b.out) != 10 {
		t.Fatalf("%d segments at once", len(b.out))
	}
	b.advance(10 * ms)
	if len(b.out) != 18 {
		t.Fatalf("%d segments within a round trip", len(b.out))
	}
}
