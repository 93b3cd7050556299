package subflow

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/buf"
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow/cc"
)

// buffer replaces what the application has written.
func (b *bench) buffer(n int) {
	b.snd = buf.NewSend(dataStart, len(someData))
	b.snd.Write(someData[:n])
}

// T24, MUST-60: PSH on the last segment of what is buffered, and only there: not on
// the last one that the window let go.
func TestT24_PSH(t *testing.T) {
	b := established(t, Config{})
	b.buffer(4500)
	b.write(2000)
	for _, p := range b.out {
		if p.f.Has(wire.PSH) {
			t.Fatalf("%v, with 2500 octets more to send", p)
		}
	}
	b.out = nil
	b.write(2500)
	b.expectData(2001, 1000, 1000)
	b.expect(pkt{f: fPA, seq: 4001, ack: 1, n: 500})
	if b.out = nil; b.sf.Idle() {
		t.Fatal("idle with data in flight")
	}
}

// While the window is a few segments the last one that it lets go has PSH, though
// more is buffered: nothing follows before the acknowledgment.
func TestPushWhenTheWindowIsSmall(t *testing.T) {
	for _, wnd := range []int{3000, 10000, 11000} {
		b := established(t, Config{Controller: newFixed(wnd)})
		b.write(3000)
		b.expectData(1, 1000, 1000)
		if p := b.expect(pkt{f: fA, seq: 2001, ack: 1, n: 1000}); p.f.Has(wire.PSH) != (wnd <= 10000) {
			t.Errorf("window %d: %v", wnd, p)
		}
	}
}

// D5: a mapping never changes once sent. However the data is cut when it is
// sent again, it carries the mapping that it was assigned with
// (RFC 8684, Section 3.3.1), and the same octets.
func TestD5_MappingSurvivesOtherCuts(t *testing.T) {
	b := established(t, Config{NoSACK: true})
	want := Mapping{Data: dataStart, Off: 1, Len: 3000}
	second := Mapping{Data: dataStart + 3000, Off: 3001, Len: 700}
	check := func(outs []Outgoing) {
		t.Helper()
		for _, o := range outs {
			m := want
			if o.Off >= 3001 {
				m = second
			}
			if o.Kind == KindData && (o.Map != m || o.Off < m.Off || o.Off >= m.Off+seq.Offset(m.Len)) {
				t.Fatalf("at %d: mapping %+v", o.Off, o.Map)
			}
		}
	}
	b.assign(3000)
	b.assign(700)
	b.poll()
	b.expectData(1, 1000, 1000, 1000, 700) // never across the mappings
	check(b.host.outs)
	b.host.outs = nil

	b.sf.SetOptionSpace(28) // other segments from now on
	b.send(pkt{f: fA, seq: 1, ack: 501})
	b.advance(b.sf.RTO())
	b.expectData(501, 972, 972, 556, 700)
	check(b.host.outs)
	b.host.outs = nil

	b.batch.MaxTrain = 65535 // and as trains
	b.advance(b.sf.RTO())
	b.expectData(501, 2500, 700)
	check(b.host.outs)
}

// Law 3: the same octets leave, and the state after is the same, whether the
// device takes trains or not.
func TestTrainEqualsSegments(t *testing.T) {
	sent := func(train int) (octets [20000]int, packets int, s *Subflow) {
		b := established(t, Config{})
		b.batch.MaxTrain = train
		b.buffer(19500)
		b.write(19500)
		for i, p := range b.out {
			for j := range p.n {
				octets[p.seq+j]++
			}
			if last := i == len(b.out)-1; p.f.Has(wire.PSH) != last {
				t.Fatalf("packet %d: PSH %t", i, !last)
			}
		}
		packets = len(b.out)
		b.advance(10 * ms)
		b.send(pkt{f: fA, seq: 1, ack: 4001, sack: [][2]int{{5001, 19501}}})
		return octets, packets, b.sf
	}
	one, n1, s1 := sent(0)
	for _, train := range []int{1500, 4321, 10000, 65535} {
		many, n2, s2 := sent(train)
		if one != many {
			t.Fatalf("train %d: other octets", train)
		}
		if n2 >= n1 && train >= 2000 {
			t.Fatalf("train %d: %d packets, %d without", train, n2, n1)
		}
		i1, i2 := s1.Info(), s2.Info()
		if i2.Trains == 0 && train >= 2000 {
			t.Fatalf("train %d: none were counted", train)
		}
		if i2.Trains = 0; i1 != i2 {
			t.Fatalf("train %d:\n%+v\n%+v", train, i1, i2)
		}
	}
}

// A burst of segments of one mapping is one record.
func TestRecordsAreRanges(t *testing.T) {
	b := established(t, Config{})
	b.win = 65535
	b.write(50000)
	if n := b.sf.snd.recs.len(); n != 1 {
		t.Fatalf("%d records for one burst", n)
	}
	b.advance(10 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 2001, sack: [][2]int{{4001, 6001}, {8001, 9001}}})
	if n := b.sf.snd.recs.len(); n != 5 {
		t.Fatalf("%d records", n)
	}
}

// W6, T48: MPTCP's options take the room first, SACK what is left; a data
// segment never exceeds the MTU.
func TestW6_OptionRoom(t *testing.T) {
	b := withTimestamps(t, Config{OptionSpace: 28})
	b.host.options = func(o *Outgoing, mp *wire.MPOptions) {
		if o.Room != 28 {
			t.Fatalf("room %d", o.Room)
		}
		mp.Has = wire.DSS
		mp.DSS.HasAck, mp.DSS.Ack64 = true, true
		if o.Kind == KindData {
			mp.DSS.HasMap, mp.DSS.Seq64 = true, true
			mp.DSS.SSN, mp.DSS.Length = uint32(o.Map.Off), uint16(o.Map.Len)
		}
	}
	b.send(pkt{f: fA, seq: 101, ack: 1, n: 10})
	b.send(pkt{f: fA, seq: 201, ack: 1, n: 10})
	b.out = nil
	b.sf.SendAck()
	b.poll()
	b.expect(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{201, 211}}})
	b.write(2000)
	b.expectData(1, 972, 972, 56)

	// Plain TCP: SACK blocks make the segment shorter, not longer.
	b = established(t, Config{})
	b.send(pkt{f: fA, seq: 101, ack: 1, n: 10})
	b.out = nil
	b.write(1500)
	b.expect(pkt{f: fA, seq: 1, ack: 1, n: 988, sack: [][2]int{{101, 111}}})
	b.expect(pkt{f: fA, seq: 989, ack: 1, n: 512, sack: [][2]int{{101, 111}}})
}

// A batch without room gets nothing, the Host is not asked, and nothing is
// forgotten.
func TestNoRoomInBatch(t *testing.T) {
	b := established(t, Config{})
	b.assign(2500)
	small := wire.NewBatch(1150)
	asked := len(b.host.outs)
	for _, want := range []int{1000, 1000, 500} {
		small.Reset()
		if n := b.sf.PollTransmit(b.now, b.snd, &b.host, small); n != 1 {
			t.Fatalf("%d packets", n)
		}
		if asked++; len(b.host.outs) != asked {
			t.Fatalf("the Host was asked %d times, %d packets left", len(b.host.outs), asked)
		}
		var seg wire.Segment
		wire.Parse(small.Bytes(0), &seg, small.Pkts[0].Csum)
		if len(seg.Payload) != want {
			t.Fatalf("%d octets", len(seg.Payload))
		}
	}
	none := wire.NewBatch(50)
	b.sf.SendAck()
	b.sf.SendProbe()
	if b.sf.PollTransmit(b.now, b.snd, &b.host, none) != 0 || len(b.host.outs) != asked {
		t.Fatal("something left without room")
	}
}

// T72: a closed window is probed after RTO, then less and less often, for ever.
func TestT72_PersistProbes(t *testing.T) {
	b := established(t, Config{MaxRTO: time.Second})
	b.write(1000)
	b.expectData(1, 1000)
	b.send(pkt{f: fA, seq: 1, ack: 1001, zeroWin: true})
	if room, wake := b.sf.Room(b.now); room != 0 || wake != mono.Never {
		t.Fatalf("room %d, wake %v", room, wake)
	}
	b.write(500) // beyond what Room allows
	b.expectNothing()
	for _, gap := range []time.Duration{200 * ms, 400 * ms, 800 * ms, time.Second, time.Second} {
		b.advance(gap - 1)
		b.expectNothing()
		b.advance(1)
		b.expect(pkt{f: fA, seq: 1000, ack: 1})
		b.send(pkt{f: fA, seq: 1, ack: 1001, zeroWin: true})
	}
	b.expectEvents(0)
	b.send(pkt{f: fA, seq: 1, ack: 1001})
	b.expectData(1001, 500)
}

// The FIN takes an octet of the window too.
func TestFINWaitsForWindow(t *testing.T) {
	b := established(t, Config{})
	b.send(pkt{f: fA, seq: 1, ack: 1, zeroWin: true})
	b.sf.CloseWrite()
	b.poll()
	b.expectNothing()
	b.advance(time.Second)
	b.expect(pkt{f: fA, seq: 0, ack: 1})
	b.send(pkt{f: fA, seq: 1, ack: 1, win: 1})
	b.out = b.out[len(b.out)-1:]
	b.expect(pkt{f: fFA, seq: 1, ack: 1})
}

// SendProbe asks for an answer even while data is in flight: from below what
// the peer has.
func TestSendProbe(t *testing.T) {
	b := established(t, Config{})
	b.sf.SendProbe()
	b.poll()
	b.expect(pkt{f: fA, seq: 0, ack: 1})
	b.write(1000)
	b.expectData(1, 1000)
	b.sf.SendProbe()
	b.poll()
	b.expect(pkt{f: fA, seq: 0, ack: 1})
}

// T71: RFC 9293, Section 3.8.6.2.1: no small segments because of a small window.
func TestT71_SenderSWS(t *testing.T) {
	b := established(t, Config{})
	b.send(pkt{f: fA, seq: 1, ack: 1, win: 2500})
	if room, _ := b.sf.Room(b.now); room != 2000 {
		t.Fatalf("room %d", room)
	}
	b.assign(5000)
	b.poll()
	b.expectData(1, 1000, 1000)
	b.expectNothing()
	// Nothing is in flight, and the window is smaller than a segment: use it.
	b.send(pkt{f: fA, seq: 1, ack: 2001, win: 300})
	b.expectData(2001, 300)
	b.send(pkt{f: fA, seq: 1, ack: 2301, win: 10000})
	b.expectData(2301, 1000, 1000, 700)

	b = established(t, Config{})
	b.send(pkt{f: fA, seq: 1, ack: 1, win: 300})
	if room, _ := b.sf.Room(b.now); room != 300 {
		t.Fatalf("room %d", room)
	}
	b.write(300)
	if room, _ := b.sf.Room(b.now); room != 0 {
		t.Fatalf("room %d", room)
	}
}

// Room counts the congestion window in whole segments, less what is assigned.
func TestRoomByCwnd(t *testing.T) {
	b := established(t, Config{Controller: newFixed(3999)})
	for i, want := range []int{3000, 2000, 1000, 0} {
		if room, _ := b.sf.Room(b.now); room != want {
			t.Fatalf("%d assigned: room %d", i, room)
		}
		b.assign(1000)
	}
	b.poll()
	b.expectData(1, 1000, 1000, 1000)
	b.expectNothing()
	for _, st := range []func(){b.sf.CloseWrite, b.sf.Kill} {
		st()
		if room, _ := b.sf.Room(b.now); room != 0 {
			t.Fatalf("room %d when closed", room)
		}
	}
}

func paced(rate uint64) cc.Factory {
	return func(*cc.Group, int) cc.Controller { return &fixed{wnd: 1 << 30, rate: rate} }
}

// Pacing: a burst of credit, then the rate; Room says when to ask again.
func TestPacing(t *testing.T) {
	const rate = 5_000_000 // a segment in 200 us; 10 segments pile up in 2 ms
	b := established(t, Config{Controller: paced(rate)})
	room, wake := b.sf.Room(b.now)
	if room != 10000 || wake != mono.Never {
		t.Fatalf("room %d, wake %v", room, wake)
	}
	b.write(room)
	b.out = nil
	room, wake = b.sf.Room(b.now)
	if room != 0 || wake <= b.now || wake > b.now.Add(2*ms) {
		t.Fatalf("room %d, wake in %v", room, wake.Sub(b.now))
	}
	b.advance(wake.Sub(b.now))
	if room, _ = b.sf.Room(b.now); room < 1000 {
		t.Fatalf("room %d at the wake time", room)
	}
	// What is assigned beyond the credit leaves at the rate by itself.
	start, sent := b.now, 0
	b.write(50000)
	for b.sf.snd.unsent() > 0 {
		b.advance(b.sf.PollTimeout().Sub(b.now))
	}
	for _, p := range b.out {
		sent += p.n
	}
	took := b.now.Sub(start)
	if want := timeFor(50000-room, rate); sent != 50000 || took < want-ms || took > want+2*ms {
		t.Fatalf("%d octets in %v, expected %v", sent, took, want)
	}
}

// Unpaced before the first sample of the round trip.
func TestUnpacedBeforeRTT(t *testing.T) {
	b := synSent(t, Config{NoTimestamps: true, Controller: cc.NewReno})
	b.advance(time.Second)
	b.send(pkt{f: fSA, ack: 1, mss: 1000})
	b.out = nil
	if room, _ := b.sf.Room(b.now); room != 10000 {
		t.Fatalf("room %d, expected the initial window", room)
	}
}

// RFC 5681, Section 4.1: after an idle time longer than RTO, the restart window.
func TestT58_IdleRestart(t *testing.T) {
	b := established(t, Config{Controller: newFixed(40000)})
	b.write(1000)
	b.send(pkt{f: fA, seq: 1, ack: 1001})
	if room, _ := b.sf.Room(b.now); room != 40000 {
		t.Fatalf("room %d", room)
	}
	b.advance(time.Second)
	if room, _ := b.sf.Room(b.now); room != 10000 {
		t.Fatalf("room %d after an idle time", room)
	}
	b.out = nil
	b.write(60000)
	b.expectData(1001, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000)
	b.expectNothing()
	b.advance(10 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 11001}) // it grows back as in slow start
	if b.sf.Cwnd() != 20000 || len(b.out) != 20 {
		t.Fatalf("cwnd %d, %d segments", b.sf.Cwnd(), len(b.out))
	}
}

// The controller is told when the application was the limit, not the window.
func TestAppLimited(t *testing.T) {
	b := established(t, Config{Controller: newFixed(5000)})
	b.write(1000)
	b.send(pkt{f: fA, seq: 1, ack: 1001})
	b.write(6000)
	b.send(pkt{f: fA, seq: 1, ack: 2001})
	a := b.ctrl().acks
	if len(a) != 2 || !a[0].AppLimited || a[1].AppLimited || a[1].Bytes != 1000 || a[1].InFlight != 5000 {
		t.Fatalf("%+v", a)
	}
}

// The delivery rate is that of the slower of sending and acknowledging.
func TestDeliveryRate(t *testing.T) {
	b := established(t, Config{Controller: newFixed(20000)})
	for i := range 40 {
		b.assign(1000)
		b.poll()
		b.advance(ms)
		if i >= 10 {
			b.send(pkt{f: fA, seq: 1, ack: 1 + 1000*(i-9)})
		}
	}
	if r := b.sf.Rate(); r < 950_000 || r > 1_050_000 {
		t.Fatalf("rate %d, expected a segment a millisecond", r)
	}
}

// Muted: nothing leaves and nothing is due. Resumed: all that is unacknowledged
// is sent again at once, without back-off.
func TestMute(t *testing.T) {
	b := established(t, Config{Controller: newFixed(1000)})
	b.ctrl().wnd = 5000
	b.write(5000)
	b.advance(time.Second)
	b.expectEvents(Suspect)
	b.out = nil
	b.ctrl().wnd = 1000
	b.ctrl().losses = nil

	b.sf.Mute(b.now, true)
	b.sf.SendAck()
	b.poll()
	if b.sf.PollTimeout() != mono.Never {
		t.Fatal("a deadline runs")
	}
	if room, wake := b.sf.Room(b.now); room != 0 || wake != mono.Never {
		t.Fatalf("room %d", room)
	}
	b.advance(time.Hour)
	b.expectNothing()
	b.send(pkt{f: fA, seq: 1, ack: 1001}) // input is still taken
	b.expectEvents(Trusted)
	b.expectNothing()

	b.sf.Mute(b.now, false)
	b.poll()
	b.expectData(1001, 1000, 1000, 1000, 1000)
	b.expectCauses()
	if b.sf.RTO() != 200*ms {
		t.Fatalf("RTO %v", b.sf.RTO())
	}
	b.send(pkt{f: fA, seq: 1, ack: 5001})
	b.expectNothing()
}

func TestMuteHandshake(t *testing.T) {
	b := synSent(t, Config{})
	b.sf.Mute(b.now, true)
	b.advance(time.Hour)
	b.expectNothing()
	b.sf.Mute(b.now, false)
	b.poll()
	b.expect(pkt{f: fS})
	b.advance(time.Second)
	b.expect(pkt{f: fS})
}

// D15: what is assigned stays outstanding until this subflow acknowledges it,
// closed or not; what was retired is not.
func TestOutstanding(t *testing.T) {
	b := established(t, Config{Controller: newFixed(2500)})
	b.assign(1500)
	b.next += 1000 // octets that another subflow carries
	b.assign(1500)
	b.poll()
	list := func() (out string) {
		b.sf.Outstanding(func(r seq.Range) { out += fmt.Sprintf("%d-%d ", r.From-dataStart, r.To-dataStart) })
		return out
	}
	if got := list(); got != "0-1500 2500-4000 " {
		t.Fatalf("outstanding %s", got)
	}
	acc := b.send(pkt{f: fA, seq: 1, ack: 1701})
	if got := fmt.Sprint(acc.Retired); got != fmt.Sprintf("[{%d %d} {%d %d}]", dataStart, dataStart+1500, dataStart+2500, dataStart+2700) {
		t.Fatalf("retired %s", got)
	}
	b.send(pkt{f: fR, seq: 1})
	if got := list(); got != "2700-4000 " {
		t.Fatalf("outstanding %s after a reset", got)
	}
}

// IPv6 has longer headers and another default.
func TestIPv6(t *testing.T) {
	b, c := newBench(t, Config{NoTimestamps: true})
	seg := b.segment(pkt{f: fS})
	seg.Tuple = tuple6
	b.sf = Accept(b.now, seg, c)
	b.poll()
	b.expect(pkt{f: fSA, ack: 1, mss: 1440})
	if b.sf.MSS() != 1220 {
		t.Fatalf("MSS %d", b.sf.MSS())
	}
}

var tuple6 = wire.Tuple{
	Local:  netip.MustParseAddrPort("[2001:db8::1]:1000"),
	Remote: netip.MustParseAddrPort("[2001:db8::2]:2000"),
}
