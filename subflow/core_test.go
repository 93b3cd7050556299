package subflow

import (
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow/cc"
)

// T13: data out of order is kept (SHLD-31); "if the TCP endpoint is processing a
// series of queued segments, it MUST process them all before sending any ACK
// segments" (RFC 9293, Section 3.10.7.4, MUST-59).
func TestT13_QueueIsProcessedBeforeACK(t *testing.T) {
	b := established(t, Config{})
	for i := 9; i >= 1; i-- { // ten segments, the first one last
		b.send(pkt{f: fA, seq: 1 + 1000*i, ack: 1, n: 1000})
		b.expectPayload(1+1000*i, 1000)
	}
	b.out = nil
	b.send(pkt{f: fA, seq: 1, ack: 1, n: 1000})
	b.expectPayload(1, 1000)
	b.expect(pkt{f: fA, seq: 1, ack: 10001})
	b.expectNothing()
}

// urgent is a segment with URG and an urgent pointer.
func (b *bench) sendUrgent(p pkt, pointer uint16) {
	b.t.Helper()
	p.f |= wire.URG
	seg := b.segment(p)
	seg.Urgent = pointer
	b.acc = b.sf.HandleSegment(b.now, seg)
	b.events |= b.acc.Events
	b.poll()
}

// T23: urgent data of any length is delivered in line, where it stands in the
// stream; the pointer, wherever it points, changes nothing (RFC 6093, Section
// 4). "A TCP implementation MUST support a sequence of urgent data of any
// length" (RFC 9293, Section 3.8.5, MUST-31).
func TestT23_UrgentDataInLine(t *testing.T) {
	b := established(t, Config{})
	at := 1
	for _, c := range []struct {
		n       int
		pointer uint16
	}{{1, 1}, {3, 3}, {3, 2}, {1000, 1000}, {1000, 1}, {10, 0}, {10, 65535}} {
		b.sendUrgent(pkt{f: fA, seq: at, ack: 1, n: c.n}, c.pointer)
		b.expectPayload(at, c.n)
		at += c.n
	}
	b.sendUrgent(pkt{f: fA, seq: at, ack: 1}, 100) // of data to come
	b.expectPayload(0, 0)
	b.sendUrgent(pkt{f: fFA, seq: at, ack: 1, n: 5}, 5)
	b.expectPayload(at, 5)
	b.expectEvents(FinReceived)
	if int(b.sf.RcvNxt()) != at+6 {
		t.Fatalf("RCV.NXT %d, expected %d", b.sf.RcvNxt(), at+6)
	}
	b.advance(time.Second)
	for _, p := range b.out {
		if p.f.Has(wire.URG) {
			t.Fatal("we sent URG")
		}
	}
}

// T1, T23: "A TCP receiver MUST process the RST and URG fields of all incoming
// segments, even when the receive window is zero" (MUST-66): its ACK counts.
func TestT1_T23_UrgentAtZeroWindow(t *testing.T) {
	b := established(t, Config{})
	b.host.wnd = 0
	b.send(pkt{f: fA, seq: 1, ack: 1, n: 60000})
	b.sf.SendAck()
	b.poll()
	b.write(500)
	b.out = nil
	b.sendUrgent(pkt{f: fA, seq: 60001, ack: 501}, 10)
	if !b.acc.OK || b.sf.InFlight() != 0 {
		t.Fatalf("OK %t, %d in flight", b.acc.OK, b.sf.InFlight())
	}
}

// T9, T10, T11, T12: somebody who knows the addresses and ports and sees nothing
// tries each kind of segment at every sixteenth of the sequence space: no reset,
// no data, no acknowledgment, and few answers (RFC 5961).
func TestT9_T10_T11_T12_BlindAttacker(t *testing.T) {
	b := established(t, Config{})
	b.write(5000)
	b.out = nil
	base := int(b.sf.RcvNxt())
	for i := 1; i < 16; i++ {
		off := i << 28
		for _, p := range []pkt{
			{f: fR, seq: base + off},
			{f: fRA, seq: base + off, ack: off},
			{f: fS, seq: base + off},
			{f: fSA, seq: base + off, ack: off},
			{f: fA, seq: base + off, ack: 1, n: 100},
			{f: fFA, seq: base + off, ack: off, n: 10},
			// The sequence number is guessed, but not that of the ACK:
			{f: fA, seq: base, ack: 5001 + off, n: 100},
			{f: fFA, seq: base + 1, ack: 1 - 65536 - off},
		} {
			b.send(p)
			b.expectDropped()
		}
	}
	// In the window, but not at its edge.
	for range 1000 {
		b.send(pkt{f: fR, seq: base + 100})
		b.expectDropped()
		b.send(pkt{f: fS, seq: base + 100})
		b.expectDropped()
	}
	b.expectState(StateEstablished)
	challenges := 0
	for _, p := range b.out {
		if p.f != fA || p.seq != 5001 || p.ack != base || p.n != 0 {
			t.Fatalf("sent %v", p)
		}
		challenges++
	}
	// Data out of the window is answered each time (it may be honest); the rest
	// shares the budget.
	if most := challengeBudget + 2*15; challenges > most {
		t.Fatalf("%d answers, expected %d at most", challenges, most)
	}
	if int(b.sf.RcvNxt()) != base || b.sf.snd.una != 1 || b.events != 0 {
		t.Fatalf("RCV.NXT %d, SND.UNA %d, events %b", b.sf.RcvNxt(), b.sf.snd.una, b.events)
	}
	// The peer itself still can.
	b.out = nil
	b.send(pkt{f: fA, seq: base, ack: 5001, n: 10})
	b.expectPayload(base, 10)
	b.send(pkt{f: fR, seq: base + 10})
	b.expectEvents(ResetByPeer)
}

// T45: the clock ticks in milliseconds, from a random offset, and a RST of ours
// carries it (RFC 7323, Sections 3.2, 5.2 and 5.4).
func TestT45_TimestampClock(t *testing.T) {
	b := withTimestamps(t, Config{})
	first := b.lastVal
	b.advance(1234 * ms)
	b.sf.SendAck()
	b.poll()
	if d := b.lastVal - first; d != 1234 {
		t.Fatalf("%d ticks in 1234 ms", d)
	}
	b.out = nil
	recent := b.sf.ts.recent
	b.sf.Abort()
	b.poll()
	got := b.expect(pkt{f: fRA, seq: 1, ack: 1})
	if !got.ts || got.val != first+1234 || got.ecr != recent {
		t.Fatalf("timestamps of the RST: %t %d %d", got.ts, got.val-first, got.ecr)
	}
}

// T45: a RST is taken whatever its timestamp, or with none (RFC 7323, Section
// 5.2).
func TestT45_TimestampOfReceivedRST(t *testing.T) {
	for _, p := range []pkt{{f: fR, seq: 1, noTS: true}, {f: fRA, seq: 1, ack: 1, val: 1}} {
		b := withTimestamps(t, Config{})
		b.send(p)
		b.expectState(StateClosed)
	}
}

// T56: what is in the pipe limits sending, what is lost goes before what is new,
// in order, and the window is reduced once for all the losses of one flight
// (RFC 6675, Section 5).
func TestT56_Holes(t *testing.T) {
	b := established(t, Config{Controller: newFixed(12000)})
	b.write(30000)
	b.expectData(1, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000)
	b.expectNothing()
	b.advance(10 * ms)
	b.ctrl().wnd = 6000 // what the reduction makes of it
	// Of twelve, the first, the third and the fifth are missing.
	sent := func() (segs []int) {
		for _, p := range b.out {
			segs = append(segs, (p.seq-1)/1000)
		}
		b.out = nil
		return segs
	}
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 2001}}})
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{3001, 4001}, {1001, 2001}}})
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{5001, 6001}, {3001, 4001}, {1001, 2001}}})
	for i := 7; i <= 12; i++ {
		b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{5001, 1 + 1000*i}, {3001, 4001}, {1001, 2001}}})
		if n := b.sf.InFlight(); n > 12000 {
			t.Fatalf("%d octets in the pipe", n)
		}
	}
	b.expectCauses(cc.LossDetected)
	segs := sent()
	var again []int
	for _, s := range segs {
		if s < 12 {
			again = append(again, s)
		}
	}
	if len(again) != 3 || again[0] != 0 || again[1] != 2 || again[2] != 4 {
		t.Fatalf("sent %v", segs)
	}
	// The last one sent again is lost again: still the same episode.
	b.advance(10 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 12001})
	b.expectCauses()
	if b.sf.rec.mode != open {
		t.Fatal("the recovery goes on")
	}
}

// T58: the first two duplicate ACKs each let a new segment out, beyond the
// window (limited transmit: RFC 3042; RFC 5681, Section 3.2, step 1), so that a
// third can come of four in flight.
func TestT58_LimitedTransmit(t *testing.T) {
	for _, noSACK := range []bool{false, true} {
		b := established(t, Config{NoSACK: noSACK, Controller: newFixed(4000)})
		b.write(8000)
		b.expectData(1, 1000, 1000, 1000, 1000)
		b.expectNothing()
		b.advance(10 * ms)
		for i := 1; i <= 2; i++ {
			p := pkt{f: fA, seq: 1, ack: 1}
			if !noSACK {
				p.sack = [][2]int{{1001, 1001 + 1000*i}}
			}
			b.send(p)
			b.expectData(3001+1000*i, 1000)
			b.expectNothing()
			b.expectCauses()
		}
	}
}

// T58: IW10 (RFC 6928, Section 2), and one segment after a timeout (RFC 5681,
// Section 3.1), with the controllers that are in use.
func TestT58_InitialAndLossWindow(t *testing.T) {
	for _, ctrl := range []cc.Factory{cc.NewReno, cc.NewCUBIC} {
		b := established(t, Config{Controller: ctrl})
		b.write(30000)
		b.advance(time.Millisecond)
		if n := b.sf.InFlight(); n > 10000 {
			t.Errorf("%d octets left at first", n)
		}
		b.advance(9 * ms) // pacing
		if n := b.sf.InFlight(); n != 10000 {
			t.Errorf("%d octets left in the first round trip", n)
		}
		b.out = nil
		for b.sf.Info().RTOs == 0 {
			b.advance(ms)
		}
		if w := b.sf.Cwnd(); w != 1000 {
			t.Errorf("a window of %d after a timeout", w)
		}
	}
}
