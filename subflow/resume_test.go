package subflow

import (
	"testing"

	"github.com/mpnc/mpnc/internal/wire"
)

// resumed returns a subflow that was made of the ACK of an Answer to syn, and
// the Answer. The SYN has options as the pkt says; ack changes the ACK.
func resumed(t *testing.T, c Config, syn pkt, ack func(*wire.Segment)) (*bench, wire.Segment) {
	t.Helper()
	b, c := newBench(t, c)
	b.ts = syn.ts
	in := b.segment(syn)
	answer := Answer(b.now, in, b.host.wnd, c)
	b.now = b.now.Add(10 * ms)
	seg := b.segment(pkt{f: fA, seq: 1, ack: 1})
	if answer.Opt.HasTS {
		seg.Opt.TSVal, seg.Opt.TSEcr = in.Opt.TSVal+10, answer.Opt.TSVal
	}
	if ack != nil {
		ack(seg)
	}
	known := Recall(seg, int(in.Opt.MSS))
	b.sf = Resume(b.now, &known, b.host.wnd, c)
	b.acc = b.sf.HandleSegment(b.now, seg)
	b.poll()
	return b, answer
}

// The options of a SYN survive in 6 bits of a timestamp.
func TestT33_TimestampCarriesOptions(t *testing.T) {
	b, c := newBench(t, Config{WScale: 9})
	b.ts = true
	for shift := -1; shift <= 15; shift++ {
		for bits := range 4 {
			syn := b.segment(pkt{f: fS, ws: shift + 1, sackOK: bits&1 != 0, ts: true, mss: 1000})
			if bits&2 != 0 {
				syn.Flags |= wire.ECE | wire.CWR
			}
			seg := Answer(b.now, syn, 1<<20, c)
			if o := seg.Opt; o.HasWScale != syn.Opt.HasWScale || o.HasWScale && o.WScale != 9 ||
				o.SACKPermitted != syn.Opt.SACKPermitted || seg.Flags.Has(wire.ECE) != (bits&2 != 0) ||
				o.TSEcr != syn.Opt.TSVal || seg.Window != 65535 || o.MSS != 1460 {
				t.Fatalf("shift %d, bits %d: answered %v", shift, bits, seg)
			}
			ack := b.segment(pkt{f: fA, seq: 1, ack: 1})
			ack.Opt.HasTS, ack.Opt.TSVal, ack.Opt.TSEcr = true, syn.Opt.TSVal+7, seg.Opt.TSVal
			known := Recall(ack, 1000)
			if o := known.Opt; o.HasWScale != syn.Opt.HasWScale || o.WScale != min(syn.Opt.WScale, 14) ||
				o.SACKPermitted != syn.Opt.SACKPermitted || known.Flags != syn.Flags || known.Seq != syn.Seq ||
				o.MSS != 1000 || o.TSVal != ack.Opt.TSVal {
				t.Fatalf("shift %d, bits %d: recalled %v", shift, bits, known)
			}
		}
	}
}

// The marked timestamps of a host never lie ahead of its clock, nor more than
// 64 ms behind: those of the connection that follows do not go back.
func TestT33_MarkedTimestampsDoNotGoBack(t *testing.T) {
	for _, val := range []uint32{0, 1, 31, 32, 63, 64, 65, 1 << 31, 1<<31 + 17, 1<<32 - 64, 1<<32 - 1} {
		for bits := range uint32(recallBits + 1) {
			got := marked(val, bits)
			if behind := val - got; got&recallBits != bits || behind > recallBits {
				t.Fatalf("marked(%d, %d) = %d", val, bits, got)
			}
		}
	}
}

// Without timestamps there is nothing to write the options in: the peer gets a
// SYN/ACK without them, so that both ends know.
func TestT33_NoTimestampsNoOptions(t *testing.T) {
	for _, none := range []bool{true, false} {
		c := Config{WScale: 7, NoTimestamps: none}
		b, answer := resumed(t, c, pkt{f: fS, mss: 1000, ws: 4, sackOK: true, ts: none}, func(s *wire.Segment) { s.Opt = wire.TCPOptions{} })
		if o := answer.Opt; o.HasWScale || o.SACKPermitted || o.HasTS || o.MSS != 1460 {
			t.Errorf("answered %v", answer)
		}
		if s := b.sf; s.State() != StateEstablished || s.rcv.sackOK || s.ts.on || s.snd.shift != 0 || s.rcv.shift != 0 {
			t.Errorf("%v, SACK %t, timestamps %t, shifts %d and %d", s.State(), s.rcv.sackOK, s.ts.on, s.snd.shift, s.rcv.shift)
		}
	}
}

// What was recalled works: the connection is established by the ACK, with all
// options, and data flows both ways.
func TestT33_ResumedByACK(t *testing.T) {
	b, answer := resumed(t, Config{WScale: 2}, pkt{f: fS, mss: 1000, ws: 4, sackOK: true, ts: true},
		func(s *wire.Segment) { s.Window = 5000 })
	s := b.sf
	if s.State() != StateEstablished || !b.acc.OK || !b.acc.Events.Has(Established) {
		t.Fatalf("%v, accepted %+v", s.State(), b.acc)
	}
	if !s.rcv.sackOK || !s.ts.on || s.snd.shift != 3 || s.rcv.shift != 2 || s.snd.wnd != 5000<<3 || s.MSS() != 988 {
		t.Errorf("SACK %t, timestamps %t, shifts %d and %d, window %d, MSS %d",
			s.rcv.sackOK, s.ts.on, s.snd.shift, s.rcv.shift, s.snd.wnd, s.MSS())
	}
	if s.SRTT() != 0 {
		t.Errorf("a round trip of %v was taken from a SYN/ACK whose time nobody knows", s.SRTT())
	}
	b.ts = true
	b.write(2000)
	first := b.expect(pkt{f: fA, seq: 1, ack: 1, n: 988})
	if int32(first.val-answer.Opt.TSVal) < 0 {
		t.Errorf("timestamp %d after %d", first.val, answer.Opt.TSVal)
	}
}

// An ACK that does not establish it leaves a subflow that repeats its SYN/ACK,
// and gives up.
func TestT33_ResumedInVain(t *testing.T) {
	b, answer := resumed(t, Config{SynRetries: 2, NoTimestamps: true}, pkt{f: fS, mss: 1000}, func(s *wire.Segment) { s.Ack-- })
	if b.sf.State() != StateSynReceived {
		t.Fatal(b.sf.State())
	}
	b.expect(pkt{f: fR})
	b.advance(1000 * ms)
	if again := b.expect(pkt{f: fSA, ack: 1}); again.win != int(answer.Window) {
		t.Errorf("window %d, then %d", answer.Window, again.win)
	}
	b.advance(60000 * ms)
	if b.sf.State() != StateClosed || !b.events.Has(Failed) {
		t.Errorf("%v, events %b", b.sf.State(), b.events)
	}
}
