package engine

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow"
)

// lastAck is the end of the last segment sent on leg n: what it acknowledges.
func (s *script) lastAck(n int) string {
	s.t.Helper()
	out := s.ignore(n)
	if len(out) == 0 {
		s.advance(50 * ms) // a delayed ACK
		out = s.ignore(n)
	}
	if len(out) == 0 {
		s.t.Fatal("nothing was acknowledged")
	}
	_, ack, _ := strings.Cut(out[len(out)-1], " ack ")
	return ack
}

func (s *script) expectAck(n int, want string) {
	s.t.Helper()
	if got := s.lastAck(n); got != want {
		s.t.Fatalf("leg %d: acknowledged %q, expected %q", n, got, want)
	}
}

// Without their bits, a and m mean nothing.
func TestD1_WidthBitsAlone(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1+10 ack 1 A1 M1:1:10")
	s.ignore(0)
	s.send(0, ". 11 ack 1", func(g *wire.Segment) {
		g.MP.Has = wire.DSS
		g.MP.DSS.Ack64, g.MP.DSS.Seq64 = true, true
	})
	s.expectMultipath()
	s.expectNothing()
	s.expectRead(10)
}

// D2, as Linux does it: a checksum nobody asked for makes a lone first subflow
// plain TCP, and ends another.
func TestD2_UnexpectedChecksum(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1+10 ack 1 A1 M1:1:10")
	s.send(0, ". 11+10 ack 1 A1 M11:11:10 csum")
	s.expectPlain(ChecksumsWanted)
	s.expectRead(20)

	// The DATA_FIN of such a segment is none.
	s = dial(t)
	s.send(0, ". 1+10 ack 1 A1 M1:1:11 F csum")
	s.expectPlain(ChecksumsWanted)
	s.expectRead(10)
	if s.c.ReadErr() != nil {
		t.Errorf("read: %v", s.c.ReadErr())
	}

	s = dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.send(n, ". 1+10 ack 1 A1 M1:1:10 csum")
	s.expectOne(n, "R. 1 ack 11 rst=")
	s.expectMultipath()
	s.expectRead(0)
}

// 32-bit numbers are widened around what is expected; old ones do not jump.
func TestD3_ShortSequenceNumbers(t *testing.T) {
	s := dialing(t)
	// A key whose IDSN is just before a 32-bit wrap.
	key := uint64(1)
	for uint32(wire.IDSN(key)) < 0xffffffff-20000 {
		key++
	}
	s.peerKey = key
	s.send(0, "S. 0 ack 1 mpc12")
	s.ignore(0)
	at := 1
	for at < 40000 {
		s.send(0, ". "+itoa(at)+"+1000 ack 1 a1 m"+itoa(at)+":"+itoa(at)+":1000")
		at += 1000
		s.ignore(0)
		s.expectRead(1000)
	}
	s.expectMultipath()
	// A duplicate from before the wrap, on a byte the subflow has not had.
	s.send(0, ". "+itoa(at)+"+10 ack 1 a1 m1:"+itoa(at)+":10")
	s.expectAck(0, itoa(at+10)+" A"+itoa(at))
	s.expectRead(0)
}

func itoa(n int) string { return strconv.Itoa(n) }

// A retransmission carries the mapping of the first copy, however it is cut.
func TestD4_D5_MappingNeverChanges(t *testing.T) {
	s := dial(t)
	s.write(5000)
	first := s.ignore(0)
	var mappings []string
	for _, l := range first {
		_, m, _ := strings.Cut(l, " M")
		mappings = append(mappings, m)
	}
	s.send(0, ". 1 ack 1 A1", func(g *wire.Segment) { g.Window = 60000 })
	s.advance(3 * time.Second)
	for _, copyOf := range s.ignore(0) {
		if strings.HasPrefix(copyOf, ". 0 ") {
			continue // a probe
		}
		// After some timeouts the copies are shorter, in case of a black hole.
		if _, m, _ := strings.Cut(copyOf, " M"); !contains(mappings, m) {
			t.Errorf("copy %q, first %q", copyOf, first)
		}
	}
	for _, l := range first {
		if !strings.Contains(l, " M") {
			t.Errorf("no 64-bit mapping: %q", l)
		}
	}
}

func contains(all []string, s string) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}

// A mapping for more than its segment; the rest comes without an option.
func TestD7_MappingOfManySegments(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1+10 ack 1 A1 M1:1:20")
	s.send(0, ". 11+10 ack 1")
	s.expectAck(0, "21 A21")
	s.expectRead(20)
	s.expectMultipath()

	// The same with the mapping of MP_CAPABLE: a box has merged or split.
	p := accept(t)
	p.send(0, ". 1+10 ack 1 mpc22=20")
	p.send(0, ". 11+10 ack 1")
	p.expectMultipath()
	p.expectAck(0, "21 A21")
	p.expectRead(20)

	// The piece without the option first.
	p = accept(t)
	p.send(0, ". 11+10 ack 1")
	p.ignore(0)
	p.send(0, ". 1+10 ack 1 mpc22=20")
	p.expectMultipath()
	p.expectAck(0, "21 A21")
	p.expectRead(20)
}

// Bytes without a mapping are acknowledged on the subflow only, and wait for
// it; a window full of them ends the subflow.
func TestD8_UnmappedBytes(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.send(n, ". 1+10 ack 1 @1")
	s.expectAck(n, "11 A1")
	s.expectRead(0)
	s.send(n, ". 11+10 ack 1 A1 M1:1:20")
	s.expectAck(n, "21 A21")
	s.expectRead(20)
	s.expectMultipath()
}

func TestD8_F3_WindowWithoutMapping(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	at := 1
	for len(s.legs[n].out) == 0 || !strings.HasPrefix(s.legs[n].out[len(s.legs[n].out)-1], "R") {
		if at > 1<<20 {
			t.Fatal("a window and more without a mapping, and the subflow lives")
		}
		s.send(n, ". "+itoa(at)+"+1400 ack 1")
		at += 1400
	}
	out := s.ignore(n)
	if !strings.HasSuffix(out[len(out)-1], "rst=6") {
		t.Errorf("%q", out[len(out)-1])
	}
	s.expectMultipath()
	s.send(0, ". 1+10 ack 1 A1 M1:1:10")
	s.expectRead(10)
}

// The first copy of an octet counts.
func TestD9_FirstCopyWins(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.send(0, ". 1+10 ack 1 A1 M1:1:10")
	s.send(n, ". 1+15 ack 1 A1 M1:1:15", func(g *wire.Segment) {
		for i := range g.Payload[:10] {
			g.Payload[i] ^= 0xff
		}
	})
	s.expectAck(n, "16 A16")
	s.expectRead(15)
	if st := s.c.Stats(); st.DuplicateData != 10 {
		t.Errorf("%d octets twice", st.DuplicateData)
	}
}

// L32 and D5 on the receiving side: a second mapping of the same bytes.
func TestL32_SecondMappingOfSameBytes(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.send(n, ". 1+10 ack 1 A1 M1:1:20")
	s.send(n, ". 1+10 ack 1 A1 M101:1:20") // bytes 1 to 10 are settled
	s.expectAck(n, "11 A11")
	s.expectRead(10)
}

// L33: a segment across two mappings.
func TestL33_SegmentAcrossMappings(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.send(n, ". 1+5 ack 1 A1 M1:1:10")
	s.send(n, ". 6+15 ack 1 A1 M11:11:10 @6")
	s.expectAck(n, "21 A21")
	s.expectRead(20)
}

// L45: a window probe of Linux is a new byte with an old number.
func TestL45_ProbeWithOldByte(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1+10 ack 1 A1 M1:1:10")
	s.expectRead(10)
	s.ignore(0)
	s.send(0, ". 11+1 ack 1 A1 M10:11:1")
	s.expectAck(0, "12 A11")
	s.send(0, ". 12+5 ack 1 A1 M11:12:5")
	s.expectRead(5)
}

// D11: beyond the window is dropped and not acknowledged.
func TestD11_BeyondWindow(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.send(n, ". 1+10 ack 1 A1 M10000000:1:10")
	s.expectAck(n, "11 A1")
	s.send(n, ". 11+10 ack 1 A1 M1:11:10")
	s.expectAck(n, "21 A11")
	s.expectRead(10)
	if st := s.c.Stats(); st.NoDSSInWindow != 1 {
		t.Errorf("counted %d", st.NoDSSInWindow)
	}
}

// D13: in the first flight, before any DATA_ACK, all data has its mapping.
func TestD13_FirstFlightIsMapped(t *testing.T) {
	s := accept(t)
	s.write(14000)
	out := s.ignore(0)
	if len(out) < 9 {
		t.Fatalf("sent %q", out)
	}
	for _, l := range out {
		if !strings.Contains(l, " A1 M") {
			t.Errorf("%q", l)
		}
	}
}

// D14, D15: what went again on another path is still retransmitted on its own,
// with its own mapping, though it was acknowledged by DATA_ACK.
func TestD14_D15_ReinjectedDataStaysOnItsSubflow(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.write(100)
	s.expect(0, ". 1+100 ack 1 A1 M1:1:100")
	s.steer.to = 1
	s.advance(time.Second)      // the first path times out
	s.expect(n, ". 0 ack 1 A1") // asked whether the peer is there
	if out := s.ignore(n); len(out) == 0 || out[0] != ". 1+100 ack 1 A1 M1:1:100" {
		t.Fatalf("on the second path: %q", out)
	}
	s.send(n, ". 1 ack 101 A101")
	if s.c.snd.Una() != s.c.snd.End() {
		t.Fatal("not acknowledged")
	}
	s.advance(2 * time.Minute)
	out := s.ignore(0)
	if len(out) == 0 {
		t.Fatal("the first path gave up")
	}
	for _, l := range out {
		if l != ". 1+100 ack 1 A1 M1:1:100" && l != ". 0 ack 1 A1" { // the latter a keepalive
			t.Errorf("copy %q", l)
		}
	}
	s.send(0, ". 1 ack 101 A101")
	s.steer.to = 0
	s.write(10)
	s.expectOne(0, ". 101+10 ack 1 A1 M101:101:10")
	if st := s.c.Stats(); st.Reinjections == 0 || st.ReinjectedBytes != 100 {
		t.Errorf("counted %+v", st)
	}
}

// D16: acknowledged on the subflow, but never by DATA_ACK: sent again.
func TestD16_SubflowAckWithoutDataAck(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.write(100)
	s.ignore(0)
	s.steer.to = 1
	s.send(0, ". 1 ack 101 A1")
	s.expectNothing()
	s.advance(5 * time.Second)
	if out := s.ignore(n); len(out) == 0 || out[0] != ". 1+100 ack 1 A1 M1:1:100" {
		t.Errorf("sent %q", out)
	}
	s.send(n, ". 1 ack 101 A101")
	s.advance(time.Minute)
	s.expectNothing()
}

// The same while another path is silent and holds data of its own.
func TestD16_BesideSilentPath(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.write(100)
	s.steer.to = 1
	s.advance(time.Second) // the first path is stale, its data went again
	s.ignore(n)
	s.send(n, ". 1 ack 101 A101")
	s.write(50)
	s.ignore(n)
	s.send(n, ". 1 ack 151 A101") // taken on the subflow, then dropped
	s.advance(10 * time.Second)
	if out := s.ignore(n); len(out) == 0 || out[0] != ". 151+50 ack 1 A1 M101:151:50" {
		t.Errorf("sent %q", out)
	}
}

// A1, L30: 64 bits out always; both widths in.
func TestA1_ShortDataAck(t *testing.T) {
	s := dial(t)
	s.write(10)
	s.ignore(0)
	s.send(0, ". 1 ack 11 a11")
	if s.c.snd.Una() != s.c.snd.End() {
		t.Error("a DATA_ACK of 32 bits does not count")
	}
	s.send(0, ". 1+10 ack 11 a11 m1:1:10")
	s.expectAck(0, "11 A11")
}

// A2: a window without a DATA_ACK says nothing of the connection's.
func TestA2_WindowWithoutDataAck(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1 ack 1 win 100 A1")
	s.c.tx.edge = s.c.idsn + 1 + 100 // as if it had never been wider
	s.write(1000)
	s.expectOne(0, ". 1+100 ack 1")
	s.send(0, ". 1 ack 101 win 50000 add9=10.0.2.2") // counts for the subflow only
	if out := s.ignore(0); len(out) == 0 || strings.Contains(strings.Join(out, ""), "+") {
		t.Errorf("sent %q", out)
	}
	s.send(0, ". 1 ack 101 win 50000 A101")
	s.expectOne(0, ". 101+900 ack 1")
}

// A3: a DSS without a DATA_ACK is fine.
func TestA3_MappingOnly(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1+10 ack 1 M1:1:10")
	s.expectAck(0, "11 A11")
	s.expectRead(10)
	s.expectMultipath()
}

// A4: one window for all subflows, whose right edge never goes back.
func TestA4_OneWindow(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	legs := []int{0, s.join(1, 0)}
	off := []int{1, 1}
	edge := seq.Data(0)
	check := func() {
		for _, n := range legs {
			for i := range s.legs[n].segs {
				g := &s.legs[n].segs[i]
				if g.MP.DSS.HasAck {
					e := g.MP.DSS.Ack.Add(int(g.Window))
					if e.Less(edge) && edge != 0 {
						t.Fatalf("right edge went back by %d", edge.Sub(e))
					}
					edge = e
				}
			}
		}
		s.ignore(0)
	}
	for at := 1; at < 60000; at += 1000 {
		n := at / 1000 % 2
		s.send(n, ". "+itoa(off[n])+"+1000 ack 1 A1 M"+itoa(at)+":"+itoa(off[n])+":1000")
		off[n] += 1000
		check()
		if at == 20001 {
			s.expectRead(21000)
			check()
		}
	}
	s.advance(time.Second)
	check()
	if edge != wire.IDSN(s.peerKey)+1+60000+21000 {
		t.Errorf("edge at %d", edge.Sub(wire.IDSN(s.peerKey)))
	}
}

// A5: data beyond the window that its subflow has shown, within that of the
// connection, is taken.
func TestA5_ConnectionWindowDecides(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	// The connection's window moves on while the joined subflow says nothing.
	for at := 1; at < 50000; at += 1000 {
		s.send(0, ". "+itoa(at)+"+1000 ack 1 A1 M"+itoa(at)+":"+itoa(at)+":1000")
		s.ignore(0)
		s.expectRead(1000)
	}
	s.expectRead(0)
	at := 50001
	for off := 1; off < 100000; off += 1000 {
		s.send(n, ". "+itoa(off)+"+1000 ack 1 A1 M"+itoa(at)+":"+itoa(off)+":1000")
		at += 1000
		s.legs[n].out, s.legs[n].segs = nil, nil
		if s.c.rcv.Readable() > 30000 {
			s.expectRead(s.c.rcv.Readable())
		}
	}
	s.expectRead(s.c.rcv.Readable())
	if s.read != at-1 {
		t.Errorf("read %d of %d", s.read, at-1)
	}
}

// A6: the largest edge of any subflow counts, and only that.
func TestA6_LargestEdgeCounts(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.c.tx.edge = s.c.idsn + 1
	s.send(0, ". 1 ack 1 win 1000 A1")
	s.send(n, ". 1 ack 1 win 3000 A1")
	s.send(0, ". 1 ack 1 win 500 A1")
	s.steer.to = 1
	s.write(10000)
	sent := 0
	for _, g := range s.legs[n].segs {
		sent += len(g.Payload)
	}
	for _, g := range s.legs[0].segs {
		sent += len(g.Payload)
	}
	if sent != 3000 && sent != 2*1432 {
		t.Errorf("sent %d octets, with an edge at 3000", sent)
	}
}

// A7: and each subflow's own window besides.
func TestA7_SubflowWindowToo(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.send(n, ". 1 ack 1 win 1000 A1")
	s.send(0, ". 1 ack 1 win 60000 A1")
	s.steer.to = 1
	s.write(10000)
	s.advance(150 * ms)
	sent := 0
	for _, g := range s.legs[n].segs {
		sent += len(g.Payload)
	}
	if sent > 1000 {
		t.Errorf("%d octets on a subflow whose window is 1000", sent)
	}
}

// A9: an acknowledgment of the subflow is none of the connection.
func TestA9_NoImpliedDataAck(t *testing.T) {
	s := dial(t)
	s.write(100)
	s.ignore(0)
	s.send(0, ". 1 ack 101")
	if s.c.snd.Una() != s.c.idsn+1 || s.c.Stats().BytesAcked != 0 {
		t.Error("acknowledged")
	}
	s.expectMultipath()
	s.send(0, ". 1 ack 101 A101")
	if st := s.c.Stats(); st.BytesAcked != 100 || st.SendQueued != 0 {
		t.Errorf("%+v", st)
	}
}

// A10: a DATA_ACK of what was never sent.
func TestA10_DataAckBeyondSent(t *testing.T) {
	s := dial(t)
	s.write(10)
	s.ignore(0)
	s.send(0, ". 1 ack 11 A1011")
	s.send(0, ". 1 ack 11 A12") // the DATA_FIN was not sent either
	if s.c.snd.Una() != s.c.idsn+1 {
		t.Error("acknowledged")
	}
	s.send(0, ". 1 ack 11 A11")
	if s.c.snd.Una() != s.c.snd.End() {
		t.Error("not acknowledged")
	}
}

// A11: a DATA_ACK is on every segment, for Linux takes one without for TCP.
// F13: from the first segment after the handshake on.
func TestA11_F13_DataAckOnEverySegment(t *testing.T) {
	s := accept(t, func(c *Config) { c.NoTimestamps = false })
	n := s.joined(0, 1)
	check := func(what string) {
		t.Helper()
		for _, lg := range s.legs {
			for i, l := range lg.out {
				if lg.segs[i].Flags.Has(wire.RST) || strings.Contains(l, " A") || strings.Contains(l, "add") || strings.Contains(l, "echo") {
					continue
				}
				t.Errorf("%s: %q", what, l)
			}
		}
		s.ignore(0)
	}
	s.write(3000)
	check("data")
	s.send(0, ". 1+10 ack 1 A1 M1:1:10")
	s.send(n, ". 101+10 ack 1 A1 M101:101:10")
	check("acknowledgments, with SACK")
	s.advance(20 * time.Second)
	check("retransmissions and probes")
	s.send(0, "S 0")
	s.send(0, ". 1 ack 999999 A1")
	s.send(0, "R. 30 ack 1")
	check("challenges")
	s.closeWrite()
	s.advance(20 * time.Second)
	check("closing")
	s.send(n, "F. 111 ack 1 A1")
	check("FIN")
}

// A SYN on an established subflow is a stray or an attack: it changes nothing,
// the window shift least of all.
func TestW1_StraySYNChangesNothing(t *testing.T) {
	s := dialing(t, func(c *Config) { c.RecvBuffer = 1 << 20 })
	s.ignore(0)
	scale := func(n uint8) mangler {
		return func(g *wire.Segment) { g.Opt.HasWScale, g.Opt.WScale = true, n }
	}
	s.send(0, "S. 0 ack 1 win 1000 mpc12", scale(3))
	s.ignore(0)
	s.send(0, ". 1 ack 1 win 1000 A1")
	if got := s.c.tx.edge.Sub(s.c.idsn + 1); got != 8000 {
		t.Fatalf("window %d", got)
	}
	s.send(0, "S 77", scale(14))
	s.send(0, "S. 77 ack 1")
	s.ignore(0)
	s.send(0, ". 1 ack 1 win 1100 A1")
	if got := s.c.tx.edge.Sub(s.c.idsn + 1); got != 8800 {
		t.Errorf("window %d", got)
	}
	s.expectState(0, subflow.StateEstablished)
}

// A mapping that begins before the first octet of its subflow is none, and must
// not be taken for one far beyond it (the fuzzer's: it was a panic).
func TestL33_MappingBeforeFirstOctet(t *testing.T) {
	for _, ssn := range []string{"0", "-7", "-2000000000"} {
		s := dial(t)
		s.localUp(1)
		n := s.join(1, 0)
		s.send(n, ". 1+20 ack 1 A1 M1:"+ssn+":10 @1")
		s.send(n, ". 21+20 ack 1 A1 M1:"+ssn+":2000 @21")
		s.expectRead(0)
		s.expectMultipath()
		s.ignore(n)
		s.send(n, ". 41+1 ack 1 A1 M1:1:41")
		s.expectAck(n, "42 A42")
		s.expectRead(41)
	}
}
