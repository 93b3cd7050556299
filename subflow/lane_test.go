package subflow

import (
	"testing"

	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// onLane is an established subflow on a device with fast lanes, that has one and
// has not used it yet. Segments are of 1,000 octets.
func onLane(t *testing.T) *bench { return established(t, Config{}).giveLane() }

func (b *bench) giveLane() *bench {
	b.batch.Lane, b.batch.MaxTrain = true, 65535
	b.sf.SetLane(Lane{Limit: 30_000, Via: 1, Tracked: true})
	return b
}

// laneOpened is onLane once its first train, octets 1 to 3,000, was acknowledged.
func laneOpened(t *testing.T) *bench { return onLane(t).openLane() }

func (b *bench) openLane() *bench {
	b.t.Helper()
	b.write(3000)
	b.expectTrain(1, 3000)
	b.advance(10 * ms)
	b.ack(3001)
	b.expectLane(laneOpen)
	return b
}

func (b *bench) expectTrain(seq, n int) {
	b.t.Helper()
	b.expect(pkt{f: fA, seq: seq, ack: int(b.sf.RcvNxt()), n: n, train: b.sf.MSS()})
}

func (b *bench) ack(n int) {
	b.t.Helper()
	b.send(pkt{f: fA, seq: int(b.sf.RcvNxt()), ack: n})
}

// probed has a train of 5,000 octets leave, of which the first is at, and the tail loss
// probe behind it, its last segment. It returns what comes next.
func (b *bench) probed(at int) (next int) {
	b.t.Helper()
	b.write(5000)
	b.expectTrain(at, 5000)
	b.advance(2 * b.sf.SRTT())
	b.expectData(at+4000, 1000)
	return at + 5000
}

// ackProbe acknowledges everything up to n, the last segment of which came twice.
func (b *bench) ackProbe(n int) {
	b.t.Helper()
	b.advance(10 * ms)
	b.send(pkt{f: fA, seq: int(b.sf.RcvNxt()), ack: n, sack: [][2]int{{n - 1000, n}}})
}

func (b *bench) expectLane(want laneState) {
	b.t.Helper()
	if got := b.sf.lane.state; got != want {
		b.t.Fatalf("lane %d, expected %d: %+v", got, want, b.sf.lane)
	}
	if b.sf.Info().Lane != (want == laneOpen) {
		b.t.Fatalf("Info.Lane is %t", b.sf.Info().Lane)
	}
}

// Without an answer to WantLane, packets are segments.
func TestLaneIsNotThereUnasked(t *testing.T) {
	b := established(t, Config{})
	b.batch.Lane, b.batch.MaxTrain = true, 65535
	b.write(3000)
	b.expectData(1, 1000, 1000, 1000)
	b.expectNothing()
}

// One train leaves, and nothing new until it is acknowledged, though both windows
// are open; then all leaves in trains.
func TestLaneProbation(t *testing.T) {
	b := onLane(t)
	b.write(50_000)
	b.expectTrain(1, 30_000)
	b.expectNothing()
	if n, _ := b.sf.Room(b.now); n != 0 {
		t.Fatalf("room for %d on probation", n)
	}
	b.advance(10 * ms)
	b.ack(15_001) // part of it
	b.expectNothing()
	b.expectLane(laneTried)
	b.ack(30_001)
	b.expectLane(laneOpen)
	b.expectData(30_001, 1000) // after so long a train for such a window: see TestLaneShowsItself
	b.expectTrain(31_001, 19_000)
	if n, _ := b.sf.Room(b.now); n == 0 {
		t.Fatal("no room on the lane")
	}
	if i := b.sf.Info(); i.Trains != 2 {
		t.Fatalf("%d trains counted", i.Trains)
	}
}

// What is one segment leaves the ordinary way, before, on and after probation,
// and so do ACK and FIN; it says nothing of the lane.
func TestLaneSingleSegments(t *testing.T) {
	b := onLane(t)
	b.write(900)
	b.expectData(1, 900)
	b.advance(10 * ms)
	b.ack(901)
	b.expectLane(laneShut)
	b.write(5000)
	b.expectTrain(901, 5000)
	b.sf.CloseWrite()
	b.advance(10 * ms)
	b.poll()
	b.expect(pkt{f: fFA, seq: 5901, ack: 1})
	b.expectNothing()
	b.expectLane(laneTried)
	b.ack(5902)
	b.expectLane(laneOpen)
}

// A RST without a reason ends the lane and not the subflow while the first train
// is out, and so do those that come with it, one for each of its segments: what it
// carried goes again, in segments.
func TestLaneResetOnProbation(t *testing.T) {
	b := onLane(t)
	b.write(5000)
	b.expectTrain(1, 5000)
	b.advance(10 * ms)
	for range 5 {
		b.send(pkt{f: fR, seq: 1})
		b.expectDropped()
		b.expectState(StateEstablished)
		b.expectLane(laneLost)
		b.advance(ms)
	}
	b.advance(b.sf.RTO())
	for len(b.out) > 0 {
		if p := b.out[0]; p.train != 0 || p.n > 1000 {
			t.Fatalf("%v is a train of %d", p, p.train)
		}
		b.out, b.segs = b.out[1:], b.segs[1:]
	}
	b.ack(5001)
	b.write(5000)
	b.expectData(5001, 1000, 1000, 1000, 1000, 1000)
	b.send(pkt{f: fR, seq: 1}) // now it means what it says
	b.expectState(StateClosed)
}

// One elsewhere in the window is challenged as ever (RFC 5961, Section 3) and
// tells nothing of the lane: anybody could have sent it.
func TestT9_LaneResetElsewhere(t *testing.T) {
	b := onLane(t)
	b.write(5000)
	b.expectTrain(1, 5000)
	b.send(pkt{f: fR, seq: 100})
	b.expectDropped()
	b.expect(pkt{f: fA, seq: 5001, ack: 1})
	b.expectLane(laneTried)
}

// With a reason, or before or after probation, it ends the subflow.
func TestLaneResetForGood(t *testing.T) {
	for name, play := range map[string]func(*bench) pkt{
		"with a reason": func(b *bench) pkt {
			b.write(5000)
			b.expectTrain(1, 5000)
			return pkt{f: fR, seq: 1, mp: wire.TCPReset}
		},
		"fast close": func(b *bench) pkt {
			b.write(5000)
			return pkt{f: fR, seq: 1, mp: wire.FastClose}
		},
		"before": func(b *bench) pkt {
			b.write(500)
			return pkt{f: fR, seq: 1}
		},
		"after": func(b *bench) pkt {
			b.write(5000)
			b.advance(10 * ms)
			b.ack(5001)
			b.expectLane(laneOpen)
			b.write(5000)
			return pkt{f: fR, seq: 1}
		},
		"again": func(b *bench) pkt {
			b.write(5000)
			b.send(pkt{f: fR, seq: 1})
			b.expectState(StateEstablished)
			b.advance(b.sf.RTO())
			return pkt{f: fR, seq: 1}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := onLane(t)
			rst := play(b)
			b.send(rst)
			b.expectState(StateClosed)
		})
	}
}

// The tail loss probe is the highest segment, alone, by the ordinary way.
func TestT54_LaneProbeIsOneSegment(t *testing.T) {
	b := laneOpened(t)
	b.probed(3001)
	b.expectNothing()
	if b.sf.Info().TLPs != 1 {
		t.Fatalf("%d probes", b.sf.Info().TLPs)
	}
}

// So it is when options have taken room since the segments were planned: it is
// shorter then, not two segments in a train.
func TestT54_LaneProbeWithLongOptions(t *testing.T) {
	b := withTimestamps(t, Config{}).giveLane().openLane()
	b.send(pkt{f: fA, seq: 101, ack: 3001, n: 100}) // a hole: SACK blocks from now on
	b.expect(pkt{f: fA, seq: 3001, ack: 1, sack: [][2]int{{101, 201}}})
	b.write(5000)
	if p := b.out[0]; p.train == 0 || p.train == 1000 {
		t.Fatalf("%v: SACK blocks take room of segments", p)
	}
	b.out, b.segs = nil, nil
	b.advance(2 * b.sf.SRTT())
	if len(b.out) != 1 || b.out[0].train != 0 || b.out[0].n < 900 || b.out[0].seq+b.out[0].n != 8001 {
		t.Fatalf("the probe: %v, train of %d", b.out, b.out[0].train)
	}
}

// So is a probe that is new data, on probation, too.
func TestT54_LaneProbeOfNewData(t *testing.T) {
	b := onLane(t)
	b.write(40_000)
	b.expectTrain(1, 30_000)
	b.advance(2 * b.sf.SRTT())
	b.expectData(30_001, 1000)
	b.expectNothing()
}

// After 64 trains one segment leaves the ordinary way.
func TestLaneShowsItself(t *testing.T) {
	b := connect(t, Config{NoTimestamps: true}, pkt{mss: 1000, sackOK: true, ws: 1 + 10}).giveLane().openLane()
	b.write(500) // this tells a firewall of the window behind that of the SYN
	b.expectData(3001, 500)
	b.advance(ms)
	b.ack(3501)
	at, trains := 3501, 0
	for trains < 3*laneTrains {
		b.write(2000)
		if b.out[0].train == 0 {
			if trains == 0 || trains%laneTrains != 0 {
				t.Fatalf("a segment after %d trains", trains)
			}
			b.expectData(at, 1000)
			b.expectData(at+1000, 1000) // what is left of it is not two segments any more
		} else {
			b.expectTrain(at, 2000)
			trains++
		}
		b.expectNothing()
		at += 2000
		b.advance(ms)
		b.ack(at)
	}
}

// So it does after a quarter of the peer's window: there has to be one that a
// firewall takes for within the window it knows of.
func TestLaneShowsItselfByWindow(t *testing.T) {
	b := laneOpened(t)
	shown, at := 0, 3001
	for range 100 {
		b.write(3000)
		for _, p := range b.takeOut() {
			if at = p.seq + p.n; p.train == 0 {
				shown = at
			}
			b.advance(ms)
			b.ack(at)
		}
		if at-shown > 65_535/4+3000 {
			t.Fatalf("%d octets, and not one seen", at-shown)
		}
	}
	if at != 303_001 {
		t.Fatalf("something waits: %d", at)
	}
}

// On a host that tracks no connections nobody has a view to keep: one segment in 64
// trains is all that leaves the ordinary way, and nothing waits.
func TestLaneUntracked(t *testing.T) {
	b := laneOpened(t)
	b.sf.SetLane(Lane{Limit: 30_000, Via: 1})
	b.expectLane(laneOpen)
	singles, at := 0, 3001
	for range 3 * laneTrains {
		b.write(3000)
		for _, p := range b.takeOut() {
			if at = p.seq + p.n; p.train == 0 {
				singles++
			}
		}
		b.advance(ms)
		b.ack(at) // of all at once
	}
	if want := 3001 + 3*laneTrains*3000; at != want || singles > 3+1 {
		t.Fatalf("sent up to %d of %d, %d segments by themselves", at, want, singles)
	}
	// Tracked later, it is from what is seen then.
	b.sf.SetLane(Lane{Limit: 30_000, Via: 1, Tracked: true})
	b.expectLane(laneOpen)
	b.write(3000)
	b.expectTrain(at, 3000)
	if l := &b.sf.lane; int(l.plain) != at || l.edge != b.sf.snd.edge {
		t.Fatalf("seen up to %d, window up to %d: %+v", at, b.sf.snd.edge, l)
	}
}

// takeOut takes what was sent.
func (b *bench) takeOut() (out []pkt) {
	out, b.out, b.segs = b.out, nil, nil
	return out
}

// Where no acknowledgment came of what a firewall has seen alone, new data waits
// before the end of the window that it knows of, behind a segment that it sees,
// until one comes.
func TestLaneWaitsToBeSeen(t *testing.T) {
	b := laneOpened(t)
	known, at := int(b.sf.lane.edge), 3001
	for round := 0; ; round++ {
		b.write(3000)
		out := b.takeOut()
		last := out[len(out)-1]
		sent := last.seq + last.n - at
		if at += sent; sent < 3000 {
			if last.train != 0 || at > known || at < known-2000 {
				t.Fatalf("the last, %v, is not seen: %d is the end", last, known)
			}
			break
		}
		if round == 30 {
			t.Fatal("nothing waits")
		}
		b.advance(ms)
		b.ack(at) // of all at once
	}
	if n, _ := b.sf.Room(b.now); n != 0 || int(b.sf.snd.edge)-at < 10_000 {
		t.Fatalf("room for %d, window until %d", n, b.sf.snd.edge)
	}
	b.advance(ms)
	b.ack(at)
	if out := b.takeOut(); len(out) == 0 || out[0].seq != at {
		t.Fatalf("then left %v", out)
	}
}

// The last that there is to send leaves the ordinary way: what comes when nothing
// is under way any more, the peer's data or its news of a window, acknowledges it.
func TestLaneLastSegment(t *testing.T) {
	b := onLane(t)
	b.buffer(10_500)
	b.write(10_500)
	b.expectTrain(1, 10_000)
	b.advance(10 * ms)
	b.ack(10_001)
	b.expectData(10_001, 500)
	b.expectNothing()
	b.ack(10_501)
	if l := &b.sf.lane; l.plain != 10_501 {
		t.Fatalf("%+v", l)
	}
}

// When only the probe is answered, three times in a row, the lane is shut for a
// time: what it carries is answered only if this host has seen what is at least
// as high leave the ordinary way.
func TestLaneOnlyProbesAnswered(t *testing.T) {
	b := withTimestamps(t, Config{}).giveLane().openLane()
	at := 3001
	for i := range laneProbes {
		b.expectLane(laneOpen)
		at = b.probed(at)
		b.ackProbe(at)
		if i == laneProbes-2 {
			b.write(400) // what is answered at once, but left the ordinary way, is no excuse
			b.expectData(at, 400)
			at += 400
			b.ack(at)
		}
	}
	b.expectLane(laneShut)
	b.sf.SetLane(Lane{Limit: 30_000, Via: 2, Tracked: true})
	b.write(3000)
	b.expectData(at, 1000, 1000, 1000)
	at += 3000
	b.ack(at)
	b.advance(laneRetry)
	b.write(3000)
	b.expectTrain(at, 3000)
	b.expectLane(laneTried)
}

// Trains that are answered without a probe excuse those that were not.
func TestLaneProbesExcused(t *testing.T) {
	b := withTimestamps(t, Config{}).giveLane().openLane()
	at := 3001
	for range 3 * laneProbes {
		at = b.probed(at)
		b.ackProbe(at)
		b.expectLane(laneOpen)
		b.write(5000)
		b.expectTrain(at, 5000)
		at += 5000
		b.advance(ms)
		b.ack(at)
	}
}

// A probe that was too hasty says nothing of the lane: the acknowledgment that it
// was sent for comes after all, and before its own.
func TestLaneHastyProbes(t *testing.T) {
	b := connect(t, Config{}, pkt{mss: 1012, sackOK: true, ts: true, ws: 1 + 10})
	b.write(500) // this tells a firewall of the window behind that of the SYN
	b.expectData(1, 500)
	b.advance(ms)
	b.ack(501)
	b.giveLane()
	at := 501
	for range 3 * laneProbes {
		at = b.probed(at)
		b.ack(at)
		b.expectLane(laneOpen)
		b.ackProbe(at)
		b.expectLane(laneOpen)
	}
}

// A train on probation that only a probe was answered to has failed; the lane is
// tried again after a time that doubles with each failure, up to a bound, and lost
// after some.
func TestLaneProbationFails(t *testing.T) {
	b := withTimestamps(t, Config{}).giveLane()
	at := 1
	for i := range laneTries {
		b.expectLane(laneShut)
		at = b.probed(at)
		b.ackProbe(at)
		shut := min(laneRetry<<i, mostLaneRetry)
		b.advance(shut - ms)
		b.write(2000)
		b.expectData(at, 1000, 1000)
		at += 2000
		b.ack(at)
		b.advance(ms)
	}
	b.expectLane(laneLost)
}

// Trains that are answered for a while make up for failures.
func TestLaneForgets(t *testing.T) {
	b := withTimestamps(t, Config{}).giveLane()
	b.write(5000)
	b.expectTrain(1, 5000)
	b.advance(2 * b.sf.SRTT())
	b.takeOut()
	b.ackProbe(5001)
	b.expectLane(laneShut)
	b.advance(laneRetry)
	at := 5001
	for range 2 * laneGood { // now and then a segment goes the ordinary way
		b.write(2000)
		for _, p := range b.takeOut() {
			at = p.seq + p.n
		}
		b.advance(ms)
		b.ack(at)
	}
	b.expectLane(laneOpen)
	if l := &b.sf.lane; l.retry != 0 {
		t.Errorf("a next failure shuts it for %v", 2*l.retry)
	}
}

// So has one that nothing was answered to before the retransmission timer fired.
// What is sent again then are segments, the first and the highest: behind a
// firewall of this host that has not seen the trains, nothing but the
// acknowledgment of the highest gets in.
func TestLaneTimeouts(t *testing.T) {
	b := onLane(t)
	at := 1
	for i := range 3 {
		b.write(5000)
		b.expectTrain(at, 5000)
		b.sf.tlp.sampled = false // no tail loss probe
		b.ctrl().wnd = 1000
		b.advance(b.sf.RTO())
		b.expectData(at, 1000)
		b.expectData(at+4000, 1000)
		b.expectNothing()
		b.ctrl().wnd = 1 << 30
		at += 5000
		b.ack(at)
		b.expectLane(laneShut)
		b.advance(laneRetry << i)
	}
}

// So it is in mid-transfer.
func TestLaneTimeoutWhileOpen(t *testing.T) {
	b := laneOpened(t)
	b.write(5000)
	b.expectTrain(3001, 5000)
	b.sf.tlp.sampled = false
	b.ctrl().wnd = 1000
	b.advance(b.sf.RTO())
	b.expectLane(laneShut)
	b.expectData(3001, 1000)
	b.expectData(7001, 1000)
	b.advance(b.sf.RTO()) // and again: they may have been lost
	b.expectData(3001, 1000)
	b.expectData(7001, 1000)
	b.ctrl().wnd = 1 << 30
	b.ack(8001)
	b.advance(laneRetry)
	b.write(2000)
	b.expectTrain(8001, 2000)
	b.expectLane(laneTried)
}

// Where trains are not what is missing, a timeout says nothing of the lane.
func TestLaneTimeoutOfSegment(t *testing.T) {
	b := laneOpened(t)
	b.write(500)
	b.expectData(3001, 500)
	b.sf.tlp.sampled = false
	b.advance(b.sf.RTO())
	b.expectData(3001, 500)
	b.expectNothing()
	b.expectLane(laneOpen)
}

// The answer to a first train may be later than the probe that follows it.
func TestLaneResetAfterProbe(t *testing.T) {
	b := onLane(t)
	b.probed(1)
	b.ackProbe(5001)
	b.expectLane(laneShut)
	b.send(pkt{f: fR, seq: 1})
	b.expectState(StateEstablished)
	b.expectLane(laneLost)
}

// A lane that goes goes at once, and another one is earned anew; the same, told
// of again, stays what it is.
func TestLaneChanges(t *testing.T) {
	b := laneOpened(t)
	b.sf.SetLane(Lane{Limit: 30_000, Via: 1, Tracked: true})
	b.expectLane(laneOpen)
	b.sf.SetLane(Lane{})
	b.expectLane(laneShut)
	b.write(2000)
	b.expectData(3001, 1000, 1000)
	b.ack(5001)
	b.sf.SetLane(Lane{Limit: 30_000, Via: 2, Tracked: true})
	b.write(5000)
	b.expectTrain(5001, 5000)
	b.expectLane(laneTried)

	b.sf.SetLane(Lane{Limit: 20_000, Via: 3, Tracked: true}) // on probation: its answer would say nothing of this one
	b.expectLane(laneShut)
	b.write(2000)
	b.expectData(10_001, 1000, 1000) // nothing is tried while that is unanswered
	b.ack(12_001)
	b.write(25_000)
	b.expectTrain(12_001, 20_000)
	b.expectLane(laneTried)
	b.expectNothing()
}

// A lane that goes while its first train is out sets free what waited.
func TestLaneGoesOnProbation(t *testing.T) {
	b := onLane(t)
	b.write(32_000)
	b.expectTrain(1, 30_000)
	b.expectNothing()
	b.sf.SetLane(Lane{})
	b.poll()
	b.expectData(30_001, 1000, 1000)
}

// A train is one mapping, whatever the device makes of it.
func TestLaneMapping(t *testing.T) {
	b := laneOpened(t)
	b.host.outs = nil
	b.write(5000)
	b.expectTrain(3001, 5000)
	want := Mapping{Data: dataStart + 3000, Off: 3001, Len: 5000}
	if o := b.host.outs; len(o) != 1 || o[0].Map != want || o[0].Off != seq.Offset(3001) {
		t.Fatalf("%+v", o)
	}
}

// A train that the batch has no room left for waits for the next one: cut in two it
// would be two packets, the second one perhaps of a segment.
func TestLaneWholeTrains(t *testing.T) {
	b := laneOpened(t)
	b.assign(5000)
	b.assign(5000)
	b.batch.Reset()
	b.batch.Limit = 8000
	if n := b.sf.PollTransmit(b.now, b.snd, &b.host, b.batch); n != 1 {
		t.Fatalf("%d packets, expected one", n)
	}
	b.collect()
	b.expectTrain(3001, 5000)
	b.batch.Limit = 0
	b.poll()
	b.expectTrain(8001, 5000)
}

// What the congestion window leaves over is kept until it is worth a train, and it is
// the window that limits then, not the application.
func TestLaneFillsWindow(t *testing.T) {
	b := established(t, Config{Controller: newFixed(50_500)}).giveLane().openLane()
	b.sf.SetLane(Lane{Limit: 30_000, Via: 1})
	if room, _ := b.sf.Room(b.now); room != 48_000 || b.sf.TrainWorth() != 16_000 {
		t.Fatalf("room for %d, a train is worth %d", room, b.sf.TrainWorth())
	}
	b.assign(30_000)
	b.write(18_000)
	b.expectTrain(3001, 30_000)
	b.expectTrain(33_001, 18_000)
	if b.sf.limited {
		t.Error("limited by the application")
	}
	if room, _ := b.sf.Room(b.now); room != 0 {
		t.Errorf("room for %d", room)
	}
	b.ack(33_001)
	b.write(16_000)
	b.expectTrain(51_001, 16_000)
	if !b.sf.limited {
		t.Error("not limited by the application")
	}
}

// On a slow link nothing is held back for a train: what is worth one elsewhere would
// fill the queue at once there.
func TestLaneSlowLink(t *testing.T) {
	b := laneOpened(t)
	if worth := b.sf.TrainWorth(); worth != 30_000 {
		t.Fatalf("a train is worth %d", worth)
	}
	b.ctrl().rate = 5e6
	if worth := b.sf.TrainWorth(); worth != 5000 {
		t.Errorf("at 5 kB a millisecond, a train is worth %d", worth)
	}
	b.ctrl().rate = 1.9e6
	if worth := b.sf.TrainWorth(); worth != 0 {
		t.Errorf("at 2 kB a millisecond, a train is worth %d", worth)
	}
	if _, burst := b.sf.pacing(); burst > timeFor(paceSegments*b.sf.MSS(), 1.9e6) {
		t.Errorf("credit for %v piles up", burst)
	}
}
