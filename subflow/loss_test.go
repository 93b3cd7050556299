package subflow

import (
	"slices"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow/cc"
)

// flying is established with n segments of 1000 octets in flight, all sent at
// once, and 10 ms gone by: the round trip of the handshake.
func flying(t *testing.T, n int, c Config) *bench {
	b := established(t, c)
	b.write(1000 * n)
	for i := range n {
		b.expectData(1+1000*i, 1000)
	}
	b.advance(10 * ms)
	return b
}

func (b *bench) expectCauses(want ...cc.Cause) {
	b.t.Helper()
	if got := b.causes(); !slices.Equal(got, want) {
		b.t.Fatalf("the controller was told %v, expected %v", got, want)
	}
}

// T52: DupThresh segments beyond a hole, no reordering seen: lost at once.
func TestT52_DupThresh(t *testing.T) {
	b := flying(t, 5, Config{})
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 4001}}})
	b.expectData(1, 1000)
	b.expectCauses(cc.LossDetected)
	// Once a round: another hole of it is repaired without another reduction.
	b.send(pkt{f: fA, seq: 1, ack: 1001, sack: [][2]int{{1001, 4001}}})
	b.advance(10 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 4001})
	b.expectCauses()
}

// T52: with one SACK only, the reordering window (min_RTT/4) is waited for.
func TestT52_ReorderingTimer(t *testing.T) {
	b := flying(t, 5, Config{})
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 2001}}})
	b.expectNothing()
	b.advance(10*ms/4 + 2*ms - 1)
	b.expectNothing()
	b.advance(1)
	b.expectData(1, 1000)
	b.expectCauses(cc.LossDetected)
}

// T52: an acknowledgment after the reordering window, and before the timer, tells
// of the loss: the timer leaves it a little time.
func TestT52_AcknowledgmentBeforeTimer(t *testing.T) {
	b := flying(t, 5, Config{})
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 2001}}})
	b.advance(10*ms/4 + ms)
	b.expectNothing()
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 4001}}})
	b.expectData(1, 1000)
	b.expectCauses(cc.LossDetected)
}

// T52: what arrives within the reordering window was not lost; and once
// reordering was seen, DupThresh no longer cuts the window short.
func TestT52_ReorderingTolerated(t *testing.T) {
	b := flying(t, 5, Config{})
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 2001}}})
	b.advance(2 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 5001})
	b.advance(time.Second)
	b.expectNothing()
	b.expectCauses()

	b.write(5000)
	b.out = nil
	b.advance(12 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 5001, sack: [][2]int{{6001, 10001}}})
	b.expectNothing()
	b.advance(2 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 10001})
	b.advance(time.Second)
	b.expectNothing()
	b.expectCauses()
}

// T52: RACK finds lost retransmissions: something sent after it was delivered.
func TestT52_LostRetransmission(t *testing.T) {
	b := flying(t, 5, Config{})
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 5001}}})
	b.expectData(1, 1000)
	b.advance(1 * ms)
	b.write(1000)
	b.expectData(5001, 1000)
	b.advance(10 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 6001}}})
	b.expectData(1, 1000)
	b.expectCauses(cc.LossDetected)
}

// T52: a D-SACK says that a retransmission was for nothing: the reordering
// window grows, once a round trip.
func TestT52_DSACKWidensWindow(t *testing.T) {
	b := flying(t, 5, Config{})
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 4001}}})
	b.expectData(1, 1000)
	b.send(pkt{f: fA, seq: 1, ack: 5001, sack: [][2]int{{1, 1001}}})
	if b.sf.rack.mult != 2 || b.sf.Info().DSACKs != 1 {
		t.Fatalf("mult %d", b.sf.rack.mult)
	}
	// And all that was sent again is known to be needless: undone (RFC 3708).
	b.expectCauses(cc.LossDetected, cc.Spurious)
	if b.sf.Info().Spurious != 1 {
		t.Fatal("not counted")
	}
}

// T53: RFC 8985, Section 6.3: on a timeout the first segment is lost, and those
// that are older than a round trip and the reordering window.
func TestT53_RTOMarks(t *testing.T) {
	b := established(t, Config{})
	b.write(2000)
	b.advance(10 * ms)
	b.write(1000)
	b.sf.tlp.sampled = false // no tail loss probe in this script
	b.advance(185 * ms)
	b.write(1000)
	b.sf.newDataAt = b.now
	b.out = nil
	b.advance(5*ms - 1)
	b.expectNothing()
	b.advance(1)
	b.expectData(1, 1000, 1000, 1000)
	b.expectNothing() // not the fourth
	b.expectCauses(cc.Timeout)
	b.expectEvents(Suspect)
}

// T46: "After a retransmit timeout the data sender SHOULD turn off all of the
// SACKed bits": RFC 2018, Section 8. A peer that reneged gets its data.
func TestT46_Reneging(t *testing.T) {
	b := flying(t, 3, Config{})
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 2001}}})
	b.advance(5 * ms) // reordering window: 1 and 3 are lost
	b.expectData(1, 1000)
	b.out = nil
	b.send(pkt{f: fA, seq: 1, ack: 1001})
	b.out = nil
	b.advance(time.Second)
	b.expectData(1001, 1000)
	if n := b.outstanding(); n != 2000 {
		t.Fatalf("outstanding %d", n)
	}
}

// T54: RFC 8985, Section 7: a probe after 2*SRTT repeats the last segment, once;
// then the timer.
func TestT54_TLPRepeatsLast(t *testing.T) {
	b := established(t, Config{})
	b.write(2500)
	b.expectData(1, 1000, 1000, 500)
	b.advance(20*ms - 1)
	b.expectNothing()
	b.advance(1)
	b.expectData(1501, 1000)
	if b.sf.Info().TLPs != 1 {
		t.Fatal("not counted")
	}
	b.expectEvents(0)
	b.advance(200*ms - 1)
	b.expectNothing()
	b.advance(1)
	b.expectData(1, 1000)
	b.expectEvents(Suspect)
}

// T54: new data, if there is some, beyond the congestion window.
func TestT54_TLPSendsNewData(t *testing.T) {
	b := established(t, Config{Controller: newFixed(2000)})
	b.write(3000)
	b.expectData(1, 1000, 1000)
	b.expectNothing()
	b.advance(20 * ms)
	b.expectData(2001, 1000)
	b.expectNothing()
}

// T54: not while something is beyond a hole, and with one segment in flight not
// before a delayed ACK could have come; never after the timer would fire.
func TestT54_TLPConditions(t *testing.T) {
	b := established(t, Config{})
	b.write(1000)
	b.out = nil
	b.advance(200*ms - 1)
	b.expectNothing()
	b.advance(1)
	b.expectData(1, 1000)
	if i := b.sf.Info(); i.TLPs != 1 || i.RTOs != 0 {
		t.Fatalf("TLPs %d, RTOs %d", i.TLPs, i.RTOs)
	}

	b = flying(t, 2, Config{NoSACK: true})
	b.advance(190*ms - 1)
	b.expectNothing()
}

// The probe ends in a recovery by RACK: everything but the last segment lost.
func TestT54_TLPStartsRecovery(t *testing.T) {
	b := established(t, Config{})
	b.write(5000)
	b.out = nil
	b.advance(20 * ms)
	b.expectData(4001, 1000)
	b.advance(10 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{4001, 5001}}})
	b.expectData(1, 1000) // RFC 9937: as much as arrived, while losses show,
	b.advance(10 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 1001, sack: [][2]int{{4001, 5001}}})
	b.expectData(1001, 1000, 1000) // then as in slow start
	b.advance(10 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 3001, sack: [][2]int{{4001, 5001}}})
	b.expectData(3001, 1000)
	b.expectCauses(cc.LossDetected)
	b.expectEvents(0)
}

// T55: RFC 8985, Section 7.4.2.
func TestT55_TLPRepair(t *testing.T) {
	probed := func() *bench {
		b := established(t, Config{})
		b.write(2000)
		b.out = nil
		b.advance(20 * ms)
		b.expectData(1001, 1000)
		b.advance(10 * ms)
		return b
	}
	t.Run("it repaired a loss", func(t *testing.T) {
		b := probed()
		b.send(pkt{f: fA, seq: 1, ack: 2001})
		b.expectCauses()
		b.write(1000)
		b.send(pkt{f: fA, seq: 1, ack: 3001})
		b.expectCauses(cc.LossDetected)
		b.write(1000)
		b.send(pkt{f: fA, seq: 1, ack: 4001})
		b.expectCauses()
	})
	t.Run("D-SACK: both arrived", func(t *testing.T) {
		b := probed()
		b.send(pkt{f: fA, seq: 1, ack: 2001, sack: [][2]int{{1001, 2001}}})
		b.write(1000)
		b.send(pkt{f: fA, seq: 1, ack: 3001})
		b.expectCauses()
	})
	t.Run("duplicate ACK: both arrived", func(t *testing.T) {
		b := probed()
		b.send(pkt{f: fA, seq: 1, ack: 2001})
		b.write(1000)
		b.send(pkt{f: fA, seq: 1, ack: 2001})
		b.send(pkt{f: fA, seq: 1, ack: 3001})
		b.expectCauses()
	})
}

// T57: NewReno for peers without SACK (RFC 6582): the third duplicate, then one
// segment for each partial acknowledgment.
func TestT57_NewReno(t *testing.T) {
	b := flying(t, 6, Config{NoSACK: true})
	for range 2 {
		b.send(pkt{f: fA, seq: 1, ack: 1})
		b.expectNothing()
	}
	b.send(pkt{f: fA, seq: 1, ack: 1})
	b.expectData(1, 1000)
	b.expectCauses(cc.LossDetected)
	b.send(pkt{f: fA, seq: 1, ack: 1})
	b.expectNothing()
	b.advance(10 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 3001})
	b.expectData(3001, 1000)
	b.expectNothing()
	b.advance(10 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 6001})
	b.expectNothing()
	b.expectCauses()
	if b.sf.rec.mode != open || b.sf.InFlight() != 0 {
		t.Fatal("still recovering")
	}
}

// W2, T61: a duplicate ACK that carries an MPTCP option other than DSS is no
// loss signal (RFC 8684, Section 3).
func TestW2_T61_OptionOnlyACKs(t *testing.T) {
	for _, c := range []struct {
		mp   wire.MPKind
		lost bool
	}{{wire.AddAddr, false}, {wire.DSS | wire.MPPrio, false}, {wire.DSS, true}, {0, true}} {
		b := flying(t, 6, Config{NoSACK: true})
		for range 3 {
			b.send(pkt{f: fA, seq: 1, ack: 1, mp: c.mp})
		}
		if got := len(b.causes()) > 0; got != c.lost {
			t.Fatalf("options %b: loss %t", c.mp, got)
		}
	}
}

// Neither window updates nor data are duplicate ACKs: RFC 5681, Section 2.
func TestDuplicateACKDefinition(t *testing.T) {
	b := flying(t, 6, Config{NoSACK: true})
	for i := range 5 {
		b.send(pkt{f: fA, seq: 1, ack: 1, win: 40000 + i})
	}
	for i := range 5 {
		b.send(pkt{f: fA, seq: 1 + 10*i, ack: 1, n: 10})
	}
	b.expectCauses()
}

// T59: Eifel: the first acknowledgment after the timeout echoes the original,
// so the timeout was spurious, and nothing else is sent again.
func TestT59_SpuriousTimeout(t *testing.T) {
	b := withTimestamps(t, Config{NoSACK: true})
	b.write(4000)
	original := b.lastVal
	b.out = nil
	b.ctrl().wnd = 1000 // after the timeout
	b.advance(200 * ms)
	b.expectData(1, 1000)
	b.expectCauses(cc.Timeout)
	b.advance(5 * ms)
	b.ctrl().wnd = 100000
	b.send(pkt{f: fA, seq: 1, ack: 1001, ecr: original})
	b.expectCauses(cc.Spurious)
	b.expectNothing()
	b.send(pkt{f: fA, seq: 1, ack: 4001, ecr: original})
	b.expectNothing()
}

// T60: RFC 9937: a window halved from 20 segments is reached by one segment for
// every two acknowledged, not by a pause.
func TestT60_PRR(t *testing.T) {
	var r recovery
	r.begin(fast, 20001, 20000)
	pipe, sent := 19000, 0
	for range 18 { // 18 segments are SACKed, one by one
		pipe -= 1000
		r.proportion(1000, pipe, 10000, 1000, true)
		for pipe+1000 <= r.cwnd {
			pipe += 1000
			sent++
			r.out += 1000
		}
	}
	if sent != 9 || pipe != 10000 {
		t.Fatalf("%d segments sent, %d octets in flight", sent, pipe)
	}
	// Much lost: the reduction bound keeps it from stopping.
	r.begin(fast, 20001, 20000)
	pipe = 2000
	r.proportion(1000, pipe, 10000, 1000, true)
	if r.cwnd != pipe+2000 {
		t.Fatalf("window %d with %d in flight", r.cwnd, pipe)
	}
}

// T60: while acknowledgments show more losses, or do not advance SND.UNA, no more
// leaves than arrives; what was held before the recovery is no part of it.
func TestT60_ConservativeUntilSafe(t *testing.T) {
	b := flying(t, 20, Config{Controller: newFixed(1 << 20)})
	b.ctrl().wnd = 18000
	b.assign(20000)
	b.out = nil
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{12001, 20001}}}) // twelve are lost
	if len(b.out) != 8 {
		t.Fatalf("%d left for 8 that arrived", len(b.out))
	}
	b.out = nil
	b.advance(10 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 1001, sack: [][2]int{{12001, 20001}}})
	if len(b.out) != 2 {
		t.Fatalf("%d left for one that arrived and advanced", len(b.out))
	}
}

// T60: RecoverFS leaves out what was held before the recovery began.
func TestT60_RecoverFS(t *testing.T) {
	b := flying(t, 10, Config{})
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{7001, 8001}}})
	b.expectNothing() // it may be reordering
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{7001, 10001}}})
	if f := b.sf.rec.flight; f != 9000 {
		t.Fatalf("RecoverFS %d, expected what was out but the one held before", f)
	}
}

// While a hole may be reordering the window holds still; what was held beyond it
// counts once it is filled (RFC 5681, Section 3.1).
func TestNoGrowthBeyondAHole(t *testing.T) {
	b := flying(t, 10, Config{Controller: cc.NewReno})
	b.sf.rack.reordering = true // RACK waits
	w := b.sf.Cwnd()
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 6001}}})
	if b.sf.Cwnd() != w {
		t.Fatalf("window %d with a hole, %d before", b.sf.Cwnd(), w)
	}
	b.advance(ms)
	b.send(pkt{f: fA, seq: 1, ack: 6001})
	if b.sf.Cwnd() != w+6000 {
		t.Fatalf("window %d after six segments, %d before", b.sf.Cwnd(), w)
	}
}

// With a real controller: a loss in 20 segments is repaired within a round trip
// and the window is what the controller says.
func TestT60_RecoveryWithReno(t *testing.T) {
	b := established(t, Config{Controller: cc.NewReno})
	b.sf.pace.lossy = true
	b.write(10000)
	b.advance(10 * ms)
	b.out = nil
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 10001}}})
	b.expectData(1, 1000)
	if w := b.sf.ctrl.Window(); w != 5000 {
		t.Fatalf("window %d", w)
	}
	b.advance(10 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 10001})
	if b.sf.Cwnd() != 5000 || b.sf.InFlight() != 0 {
		t.Fatalf("cwnd %d, in flight %d", b.sf.Cwnd(), b.sf.InFlight())
	}
}

// SACK blocks that no honest receiver sends are of no use and no harm.
func TestSACKNonsense(t *testing.T) {
	b := flying(t, 5, Config{})
	for _, blk := range [][2]int{{5001, 6001}, {4001, 5002}, {3001, 2001}, {-5, 0}, {0, 1}, {-100, 3000}, {2001, 2001}} {
		b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{blk}})
		if b.sf.snd.sacked != 0 {
			t.Fatalf("block %v was believed", blk)
		}
	}
	b.expectNothing()
	// One octet here and there does not make records without bound.
	for i := 0; i < 2400; i++ {
		b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1002 + 2*i%4000, 1003 + 2*i%4000}}})
	}
	if n := b.sf.snd.recs.len(); n > 64+2*5+2 {
		t.Fatalf("%d records for 5 segments", n)
	}
}

// "An ACK that waits to be processed does not make overdue what it
// acknowledges": loss is judged at the arrival time.
func TestRACKUsesArrivalTime(t *testing.T) {
	b := flying(t, 3, Config{})
	first := b.segment(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 2001}}})
	second := b.segment(pkt{f: fA, seq: 1, ack: 3001})
	b.now = b.now.Add(100 * ms)
	b.sf.HandleSegment(b.now, first)
	b.sf.HandleSegment(b.now, second)
	b.poll()
	b.expectNothing()
	b.expectCauses()
}

// Losses among what was sent during a recovery, not repaired when it ends, belong
// to the next round: a recovery of their own, with a reduction of its own
// (RFC 5681, Section 4.3).
func TestLossOfNextRound(t *testing.T) {
	b := flying(t, 10, Config{Controller: newFixed(20000)})
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 4001}}})
	b.expectData(1, 1000)
	b.expectCauses(cc.LossDetected)
	b.write(2000)
	b.expectData(10001, 1000, 1000)
	b.advance(10 * ms)
	b.ctrl().wnd = 1000 // too small to repair more in this episode
	// Of the new data only the last arrives, then the retransmission.
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{11001, 12001}, {1001, 10001}}})
	b.expectCauses()
	b.out = nil
	b.send(pkt{f: fA, seq: 1, ack: 10001, sack: [][2]int{{11001, 12001}}})
	b.expectCauses(cc.LossDetected)
	if b.sf.rec.mode != fast || b.sf.rec.point != 12001 {
		t.Fatalf("%+v", b.sf.rec)
	}
}

// SACK blocks come newest first; that is no reordering.
func TestT52_BlockOrderIsNoReordering(t *testing.T) {
	b := flying(t, 10, Config{})
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{6001, 7001}, {3001, 4001}}})
	if b.sf.rack.reordering {
		t.Fatal("reordering seen")
	}
	b.expectNothing()
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{3001, 5001}, {6001, 7001}}})
	if !b.sf.rack.reordering {
		t.Fatal("reordering not seen")
	}
}
