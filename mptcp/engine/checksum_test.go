package engine

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/scheduler"
	"github.com/mpnc/mpnc/subflow"
)

func takeAltered(c *Config) { c.TakeAltered = true }
func checksums(c *Config)   { c.Checksum = ChecksumAsk }

// changed flips a bit of the payload.
func changed(g *wire.Segment) { g.Payload[len(g.Payload)/2] ^= 0x10 }

func (s *script) expectAltered(peer bool) {
	s.t.Helper()
	var e *AlteredError
	if err := s.c.Err(); !errors.As(err, &e) || e.Peer != peer || !errors.Is(err, syscall.EBADMSG) {
		s.t.Fatalf("error %v", err)
	}
}

// H10: either SYN may ask for checksums, and the initiator repeats the outcome;
// both directions have them then.
func TestH10_EitherSideAsks(t *testing.T) {
	for _, v := range []struct{ ours, theirs bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		t.Run(fmt.Sprintf("%t %t", v.ours, v.theirs), func(t *testing.T) {
			ask, both, csum := "", "", ""
			var change []func(*Config)
			if v.ours {
				change = append(change, checksums)
			}
			if v.theirs {
				ask = " req"
			}
			if v.ours || v.theirs {
				both, csum = " req", " csum"
			}
			d := dialing(t, change...)
			d.expect(0, "S 0 mpc4"+d.req)
			d.send(0, "S. 0 ack 1 mpc12"+ask)
			d.expect(0, ". 1 ack 1 mpc20"+both)
			d.write(10)
			d.expect(0, ". 1+10 ack 1 mpc22=10"+both+csum)
			d.send(0, ". 1+10 ack 11 A11 M1:1:10"+csum)
			d.expectRead(10)
			d.ignore(0)
			d.write(10)
			d.expectOne(0, ". 11+10 ack 11 A11 M11:11:10"+csum)
			d.expectMultipath()

			s := listening(t, change...)
			s.send(0, "S 0 mpc4"+ask)
			s.expect(0, "S. 0 ack 1 mpc12"+both)
			s.send(0, ". 1+10 ack 1 mpc22=10"+both+csum)
			s.expectMultipath()
			s.expectRead(10)
			s.ignore(0)
			s.write(10)
			s.expect(0, ". 1+10 ack 11 A11 M1:1:10"+csum)
			if got := s.c.Stats().Checksums; got != (both != "") {
				t.Errorf("statistics say %t", got)
			}
		})
	}
}

// H10: the third packet says whether there are checksums, for the SYN/ACK of
// Linux need not; and H27: a third packet that takes back what was agreed on.
func TestH10_H27_ThirdPacketDecides(t *testing.T) {
	s := listening(t)
	s.send(0, "S 0 mpc4")
	s.expect(0, "S. 0 ack 1 mpc12")
	s.send(0, ". 1+10 ack 1 mpc22=10 req csum")
	s.expectMultipath()
	s.expectRead(10)
	s.ignore(0)
	s.write(10)
	s.expect(0, ". 1+10 ack 11 A11 M1:1:10 csum")

	s = listening(t)
	s.send(0, "S 0 mpc4 req")
	s.expect(0, "S. 0 ack 1 mpc12 req")
	s.send(0, ". 1+10 ack 1 mpc22=10")
	s.expectPlain(ThirdAckPlain)
	s.expectRead(10)
}

// H10, H26: the answer of a cookie asks as the SYN did; the third packet tells.
func TestH10_H26_ChecksumsOfACookie(t *testing.T) {
	for _, ask := range []string{"", " req"} {
		s := listening(t, func(c *Config) { c.HalfOpen = -1 })
		s.send(0, "S 0 mpc4"+ask)
		s.expect(0, "S. 0 ack 1 mpc12"+ask)
		csum := strings.Replace(ask, "req", "csum", 1)
		s.send(0, ". 1+10 ack 1 mpc22=10"+ask+csum)
		s.expectMultipath()
		s.expectRead(10)
		s.ignore(0)
		s.write(10)
		s.expect(0, ". 1+10 ack 11 A11 M1:1:10"+csum)
	}
}

// The golden vectors of two kernels: keys and length, data, DATA_FIN alone.
func TestX3_ChecksumVectors(t *testing.T) {
	text := func(b byte, n int) uint64 { return wire.Sum([]byte(strings.Repeat(string(b), n)), 0) }
	m := inMap{data: wire.IDSN(0xd98247536e44cab2) + 1, off: 1, len: 10, length: 10, csum: 0x2ad7}
	if !m.intact(text('c', 10)) {
		t.Error("of MP_CAPABLE with data")
	}
	m = inMap{data: 0xe0dfa2adbaf40a25, off: 1, len: 20, length: 20, csum: 0x3ecb}
	if !m.intact(text('r', 20)) {
		t.Error("of data")
	}
	if m = (inMap{data: 0x642494e0dab5107c, length: 1, csum: 0x1bc8}); !m.intact(0) {
		t.Error("of a DATA_FIN")
	}
}

// X3, D2: the DATA_FIN has its checksum, in both directions, alone or with data;
// one that is wrong is none.
func TestX3_D2_DataFinWithChecksum(t *testing.T) {
	s := dial(t, checksums)
	s.write(10)
	s.closeWrite()
	s.expect(0, ". 1+10 ack 1 A1 M1:1:10 csum")
	s.expect(0, ". 11 ack 1 A1 M11:0:1 F csum")
	s.send(0, ". 1 ack 11 A12 M1:0:1 F bad")
	s.expectNothing()
	if s.c.ReadErr() != nil {
		t.Error("a DATA_FIN with a wrong checksum ended the stream")
	}
	s.send(0, ". 1 ack 11 A12 M1:0:1 F csum")
	s.expect(0, "F. 11 ack 1 A2")
	if s.c.ReadErr() != io.EOF {
		t.Errorf("read: %v", s.c.ReadErr())
	}

	s = dial(t, checksums)
	s.send(0, ". 1+10 ack 1 A1 M1:1:11 F csum")
	s.expectRead(10)
	s.expectAck(0, "11 A12")
	if s.c.ReadErr() != io.EOF {
		t.Errorf("read: %v", s.c.ReadErr())
	}
}

// A mapping of several segments is delivered when all of it is there, in
// whatever order that happens, with its option on each piece or on one.
func TestA5_MappingIsWholeFirst(t *testing.T) {
	for _, v := range []struct {
		name   string
		pieces []string
	}{
		{"in order", []string{". 1+10 ack 1 A1 M1:1:30 csum", ". 11+10 ack 1 A1 M1:1:30 csum", ". 21+10 ack 1 A1 M1:1:30 csum"}},
		{"backwards", []string{". 21+10 ack 1 A1 M1:1:30 csum", ". 11+10 ack 1 A1 M1:1:30 csum", ". 1+10 ack 1 A1 M1:1:30 csum"}},
		{"option on the first", []string{". 1+10 ack 1 A1 M1:1:30 csum", ". 11+10 ack 1 @11", ". 21+10 ack 1 @21"}},
		{"option on the last", []string{". 11+10 ack 1 @11", ". 21+10 ack 1 @21", ". 1+10 ack 1 A1 M1:1:30 csum"}},
		{"odd pieces", []string{". 1+7 ack 1 A1 M1:1:30 csum", ". 8+9 ack 1 A1 M1:1:30 csum", ". 17+14 ack 1 A1 M1:1:30 csum"}},
		{"some twice", []string{". 11+10 ack 1 A1 M1:1:30 csum", ". 6+20 ack 1 A1 M1:1:30 csum", ". 1+30 ack 1 A1 M1:1:30 csum"}},
	} {
		t.Run(v.name, func(t *testing.T) {
			s := dial(t, checksums)
			s.localUp(1)
			n := s.join(1, 0)
			for i, piece := range v.pieces {
				s.expectRead(0)
				s.send(n, piece)
				if i < len(v.pieces)-1 && !strings.HasSuffix(s.lastAck(n), " A1") {
					t.Errorf("DATA_ACK after %d pieces", i+1)
				}
			}
			s.expectRead(30)
			s.expectAck(n, "31 A31")
			s.expectMultipath()
			if p := s.c.pathOf(s.legs[n].tuple); len(p.in.parts) > 0 || s.c.stage.size > 0 {
				t.Errorf("%d mappings and %d octets are kept", len(p.in.parts), s.c.stage.size)
			}
		})
	}
}

// The same at the start of the stream, with the mapping of MP_CAPABLE.
func TestD7_H20_CapableMappingWithChecksum(t *testing.T) {
	s := accept(t, checksums)
	s.send(0, ". 1+10 ack 1 mpc22=20 req csum")
	s.expectRead(0)
	s.send(0, ". 11+10 ack 1")
	s.expectMultipath()
	s.expectRead(20)
	s.expectAck(0, "21 A21")
}

// A segment across two mappings, the first of which began before it.
func TestL33_AcrossMappingsWithChecksums(t *testing.T) {
	s := dial(t, checksums)
	s.localUp(1)
	n := s.join(1, 0)
	s.send(n, ". 1+5 ack 1 A1 M1:1:10 csum")
	s.send(n, ". 6+15 ack 1 A1 M11:11:10 csum @6", func(g *wire.Segment) { g.Payload = pattern(6, 15, true) })
	s.expectRead(20)
	s.expectAck(n, "21 A21")
	if st := s.c.Stats(); st.DataCsumErr != 0 {
		t.Errorf("%d checksums failed", st.DataCsumErr)
	}
}

// D2: with checksums a mapping without one contradicts the handshake: TCP on a
// lone first subflow, as Linux does it, a RST on another.
func TestD2_MissingChecksum(t *testing.T) {
	s := dial(t, checksums)
	s.send(0, ". 1+10 ack 1 A1 M1:1:10")
	s.expectPlain(ChecksumsWanted)
	s.expectRead(10)

	s = accept(t, checksums)
	s.send(0, ". 1+10 ack 1 mpc22=10 req")
	s.expectPlain(ChecksumsWanted)
	s.expectRead(10)

	s = dial(t, checksums)
	s.localUp(1)
	n := s.join(1, 0)
	s.send(n, ". 1+10 ack 1 A1 M1:1:10")
	s.expectOne(n, "R. 1 ack 11 rst=1")
	s.expectMultipath()
	s.expectRead(0)
}

// F5, E6: beside another path: RST with MP_FAIL, where the mapping began; the
// data is not acknowledged, and comes on the other.
func TestF5_E6_ChecksumFailsOnOneOfTwo(t *testing.T) {
	s := dial(t, checksums)
	s.localUp(1)
	n := s.join(1, 0)
	s.send(n, ". 1+10 ack 1 A1 M1:1:10 csum")
	s.expectRead(10)
	s.ignore(0)
	s.send(n, ". 11+10 ack 1 A1 M11:11:10 csum", changed)
	s.expect(n, "R. 1 ack 21 fail=11 rst=6")
	s.expectState(n, subflow.StateClosed)
	s.expectMultipath()
	s.expectRead(0)
	s.send(0, ". 1+10 ack 1 A1 M11:1:10 csum")
	s.expectRead(10)
	s.expectAck(0, "11 A21")
	if st := s.c.Stats(); st.DataCsumErr != 1 || st.MPFailTx != 1 {
		t.Errorf("%d checksums failed, %d MP_FAIL sent", st.DataCsumErr, st.MPFailTx)
	}
}

// F5: what of it is beyond a hole, in pieces, or without a mapping yet, goes too.
func TestF5_NothingAfterIsUsed(t *testing.T) {
	s := dial(t, checksums)
	s.localUp(1)
	n := s.join(1, 0)
	s.send(n, ". 31+10 ack 1 A1 M31:31:20 csum")
	s.send(n, ". 21+10 ack 1 @21")
	s.send(n, ". 11+10 ack 1 A1 M1:1:20 csum", changed)
	s.send(n, ". 1+10 ack 1 A1 M1:1:20 csum")
	s.send(n, ". 41+10 ack 1 A1 M31:31:20 csum")
	s.expectState(n, subflow.StateClosed)
	s.expectRead(0)
	if s.c.stage.size != 0 {
		t.Errorf("%d octets are kept", s.c.stage.size)
	}
	s.send(0, ". 1+50 ack 1 A1 M1:1:50 csum")
	s.expectRead(50)
}

// F6: the only path there ever was, as RFC 8684 has it: MP_FAIL on an ACK until
// it is answered, no DATA_ACK for what failed, and TCP with the data as it is.
func TestF6_E6_ChecksumFailsOnTheOnlyPath(t *testing.T) {
	s := dial(t, checksums, takeAltered, noDelay)
	s.send(0, ". 1+10 ack 1 A1 M1:1:10 csum")
	s.expect(0, ". 1 ack 11 A11")
	s.send(0, ". 11+10 ack 1 A1 M11:11:20 csum", changed)
	s.expect(0, ". 1 ack 21 A11")
	s.send(0, ". 21+10 ack 1 A1 M11:11:20 csum")
	s.expect(0, ". 1 ack 31 A11 fail=11")
	s.expectPlain(ChecksumFailed)
	// The peer has not heard it: what it sends is TCP all the same.
	s.send(0, ". 31+10 ack 1 A1 M31:31:10 csum")
	s.advance(50 * ms)
	s.expect(0, ". 1 ack 41 A11 fail=11")
	s.advance(2 * time.Second)
	if out := s.ignore(0); len(out) == 0 || out[0] != ". 1 ack 41 A11 fail=11" {
		t.Errorf("MP_FAIL is not repeated: %q", out)
	}
	s.send(0, ". 41 ack 1 A1 fail=1")
	s.advance(10 * time.Second)
	s.expectNothing()
	s.send(0, ". 41+10 ack 1 A1 M41:41:0 csum")
	s.expectAck(0, "51")
	got := make([]byte, 100)
	want := pattern(1, 50, true)
	want[15] ^= 0x10
	if n := s.c.Read(s.now, got); string(got[:n]) != string(want) {
		t.Errorf("read %x\nwant %x", got[:n], want)
	}
	s.write(10)
	s.expect(0, ". 1+10 ack 51 A11 M1:1:0 csum")
	s.write(10)
	s.ignore(0)
	s.send(0, ". 51 ack 21")
	s.write(10)
	s.expect(0, ". 21+10 ack 51")
}

// … if the peer never answers, that ends.
func TestF6_FailureWithoutAnswer(t *testing.T) {
	s := dial(t, checksums, takeAltered)
	s.send(0, ". 1+10 ack 1 A1 M1:1:10 csum", changed)
	s.ignore(0)
	s.advance(5 * time.Minute)
	s.expectAltered(false)
	// And if it sends again what it believes to be lost, that is not the stream.
	s = dial(t, checksums, takeAltered)
	s.send(0, ". 1+10 ack 1 A1 M1:1:10 csum", changed)
	s.send(0, ". 11+10 ack 1 A1 M1:11:10 csum")
	s.expectAltered(false)
}

// Without TakeAltered the connection fails, and tells the peer why.
func TestF6_AlteredDataIsAnError(t *testing.T) {
	s := dial(t, checksums)
	s.send(0, ". 1+10 ack 1 A1 M1:1:10 csum")
	s.expectRead(10)
	s.ignore(0)
	s.send(0, ". 11+10 ack 1 A1 M11:11:10 csum", changed)
	s.expect(0, "R. 1 ack 21 fail=11 fast rst=0")
	s.expectAltered(false)
	s.expectRead(0)
}

// F8: the only path left, and what is in flight is not contiguous: RST with
// MP_FAIL. A peer that joins again may send it again, a few times.
func TestF8_NotContiguous(t *testing.T) {
	s := accept(t, checksums, takeAltered)
	s.send(0, ". 1+10 ack 1 A1 M1:1:10 csum")
	s.expectRead(10)
	s.ignore(0)
	n := s.joined(0, 1)
	s.send(0, "R 11")
	s.expectState(0, subflow.StateClosed)
	s.send(n, ". 1+10 ack 1 A1 M11:1:10 csum", changed)
	s.expect(n, "R. 1 ack 11 fail=11 rst=6")
	s.expectMultipath()
	for try := 2; try < maxAltered; try++ {
		n = s.joined(try-2, 2)
		s.send(n, ". 1+10 ack 1 A1 M11:1:10 csum", changed)
		s.expect(n, "R. 1 ack 11 fail=11 rst=6")
		s.expectMultipath()
	}
	n = s.joined(1, 1)
	s.send(n, ". 1+10 ack 1 A1 M11:1:10 csum", changed)
	s.expect(n, "R. 1 ack 11 fail=11 fast rst=0")
	s.expectAltered(false)
}

// F11: {one subflow, two} × {no mapping, bad mapping, bad checksum}.
func TestF11_Matrix(t *testing.T) {
	for _, bad := range []string{"no mapping", "bad mapping", "bad checksum"} {
		for _, two := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, two %t", bad, two), func(t *testing.T) {
				s := dial(t, checksums, takeAltered)
				n := 0
				if two {
					s.localUp(1)
					n = s.join(1, 0)
				}
				switch bad {
				case "no mapping":
					for at := 1; at < 1+maxStage+2000 && s.state(n) != subflow.StateClosed && s.c.Multipath(); at += 1000 {
						s.send(n, ". "+itoa(at)+"+1000 ack 1 @"+itoa(at))
						s.expectReadAny()
					}
				case "bad mapping":
					s.send(n, ". 1+10 ack 1 A1 M1:1:10")
				case "bad checksum":
					s.send(n, ". 1+10 ack 1 A1 M1:1:10 bad")
				}
				s.ignore(0)
				if two {
					s.expectMultipath()
					s.expectState(n, subflow.StateClosed)
					s.expectState(0, subflow.StateEstablished)
				} else if s.c.Multipath() || s.c.Err() != nil {
					t.Errorf("multipath %t, error %v", s.c.Multipath(), s.c.Err())
				}
			})
		}
	}
}

func (s *script) expectReadAny() { s.c.Read(s.now, make([]byte, 1<<20)) }

// F7: the peer's checksum failed. Without TakeAltered we fail as well.
func TestF7_FailReceivedIsAnError(t *testing.T) {
	s := dial(t, checksums)
	s.send(0, ". 1 ack 1 A1")
	s.write(20)
	s.ignore(0)
	s.send(0, ". 1 ack 21 A1 fail=1")
	s.expectAltered(true)
	s = dial(t, checksums)
	s.write(20)
	s.ignore(0)
	s.send(0, "R. 1 ack 21 fail=1 fast")
	s.expectAltered(true)
}

// F7: our answer may be lost, and is repeated when the peer's word is.
func TestF7_AnswerIsRepeated(t *testing.T) {
	s := dial(t, checksums, takeAltered)
	s.write(20)
	s.ignore(0)
	s.send(0, ". 1 ack 21 A1 fail=1")
	s.expect(0, ". 21 ack 1 A1 fail=1")
	s.expectPlain(MPFailReceived)
	s.send(0, ". 1+10 ack 21")
	s.advance(50 * ms)
	s.expect(0, ". 21 ack 11 A11 fail=11")
	s.send(0, ". 11+10 ack 21")
	s.advance(50 * ms)
	s.ignore(0)
	s.send(0, ". 21+10 ack 21")
	s.expectAck(0, "31")
	s.send(0, ". 31 ack 21 A1 fail=1")
	s.expect(0, ". 21 ack 31 A31 fail=31")
	s.expectNothing()
}

// F5, the other way: what the peer has dropped is sent again at once, though its
// TCP had acknowledged it.
func TestF5_FailOnResetReceived(t *testing.T) {
	s := dial(t, checksums)
	s.localUp(1)
	n := s.join(1, 0)
	s.steer.to = 1
	s.write(20)
	s.ignore(0)
	s.send(n, ". 1 ack 21 A1")
	s.steer.to = 0
	s.send(n, "R. 1 ack 21 fail=1 rst=6")
	s.expect(0, ". 1+20 ack 1 A1 M1:1:20 csum")
	s.expectMultipath()
}

// D5: a mapping keeps its checksum however it is cut, though the peer has
// acknowledged a part that is sent no more.
func TestD5_ChecksumOfARetransmission(t *testing.T) {
	s := dial(t, checksums, noDelay, func(c *Config) { c.Scheduler = scheduler.NewMinRTT })
	s.batch.MaxTrain = 60000
	s.write(100)
	s.ignore(0)
	s.send(0, ". 1 ack 101 A101")
	s.write(5000)
	if out := s.ignore(0); len(out) == 0 || !strings.Contains(out[0], "M101:101:5000 csum") {
		t.Fatalf("sent %q", out)
	}
	s.send(0, ". 1 ack 1533 A101")
	s.advance(time.Second)
	out := s.ignore(0)
	if len(out) == 0 {
		t.Fatal("nothing was sent again")
	}
	for _, l := range out {
		if !strings.Contains(l, "M101:101:5000 csum") {
			t.Errorf("sent again %q", l)
		}
	}
}

// D16: a path dies when the peer has acknowledged a part of a mapping: all of it
// goes again, for the peer could use nothing.
func TestD16_UnfinishedMappingGoesAgain(t *testing.T) {
	s := dial(t, checksums, noDelay)
	s.localUp(1)
	n := s.join(1, 0)
	s.steer.to = 1
	s.write(1432)
	s.ignore(0)
	p := s.c.pathOf(s.legs[n].tuple)
	m, ok := p.sf.Unfinished()
	if ok {
		t.Fatalf("unfinished %v", m)
	}
	s.send(n, ". 1 ack 1001 A1")
	if m, ok = p.sf.Unfinished(); !ok || m.Len != 1432 {
		t.Fatalf("unfinished %v %t", m, ok)
	}
	s.steer.to = 0
	s.send(n, "R. 1 ack 1001")
	sent := strings.Join(s.ignore(0), "\n")
	if !strings.Contains(sent, ". 1+1432 ack 1 A1 M1:1:1432 csum") {
		t.Errorf("sent %q", sent)
	}
}

// E2: what a peer can have us keep in unfinished mappings is bounded.
func TestE2_UnfinishedMappingsAreBounded(t *testing.T) {
	s := dial(t, checksums)
	s.localUp(1)
	n := s.join(1, 0)
	for i := range 10000 {
		if s.state(n) == subflow.StateClosed {
			break
		}
		at := 1 + 200*i%50000
		s.send(n, fmt.Sprintf(". %d+1 ack 1 A1 M%d:%d:100 bad", at, at, at))
		if s.c.stage.size > 2*60000+1<<16 {
			t.Fatalf("%d octets are kept", s.c.stage.size)
		}
	}
	s.expectMultipath()
	s.ignore(0)
	m := s.join(2, 0)
	for i := range 10000 {
		if s.state(m) == subflow.StateClosed {
			return
		}
		s.send(m, fmt.Sprintf(". %d+1 ack 1 A1 M1:1:50000 csum", 2+2*i))
	}
	t.Error("a mapping in thousands of pieces is kept")
}

// In steady state checksums cost no allocation.
func TestChecksumsDoNotAllocate(t *testing.T) {
	s := dial(t, checksums)
	s.send(0, ". 1+5 ack 1 A1 M1:1:10 csum")
	s.send(0, ". 6+5 ack 1 A1 M1:1:10 csum")
	s.expectRead(10)
	s.ignore(0)
	var segs []*wire.Segment
	for at := 11; at < 50000; at += 2000 {
		m := fmt.Sprintf(" ack 1 A1 M%d:%d:2000 csum", at, at)
		segs = append(segs, s.segment(0, fmt.Sprintf(". %d+1000", at)+m), s.segment(0, fmt.Sprintf(". %d+1000", at+1000)+m))
	}
	p := s.c.paths[0]
	buf := make([]byte, 4000)
	next := 0
	n := testing.AllocsPerRun(len(segs)/2-1, func() {
		for range 2 {
			seg := segs[next]
			next++
			s.c.HandleSegment(s.now, seg)
		}
		s.c.Read(s.now, buf)
	})
	if n > 0 {
		t.Errorf("%v allocations for two segments", n)
	}
	if got := p.sf.RcvNxt(); int(got) < 40000 {
		t.Errorf("only %d octets went", got)
	}
}

// F7, F8: MP_FAIL on an ACK while a join of ours is on its way: the peer knows of
// one subflow. Once there are two it cannot be, and the path is reset.
func TestF7_F8_FailWhileJoining(t *testing.T) {
	s := dial(t, checksums, takeAltered)
	s.localUp(1)
	n := s.open(1, 0)
	s.write(20)
	s.ignore(0)
	s.send(0, ". 1 ack 21 A1 fail=1")
	s.expectPlain(MPFailReceived)
	s.expectState(n, subflow.StateClosed)

	s = dial(t, checksums, takeAltered)
	s.localUp(1)
	n = s.join(1, 0)
	s.write(20)
	s.ignore(0)
	s.send(0, ". 1 ack 21 A1 fail=1")
	s.expect(0, "R. 21 ack 1 fail=1 rst=6")
	s.expectMultipath()
	s.expectOne(n, ". 1+20 ack 1 A1 M1:1:20 csum")
}

// A peer that falls back must be able to send its infinite mapping beside a
// segment that is full without options: with TakeAltered it is told so.
func TestD12_RoomForTheInfiniteMapping(t *testing.T) {
	for take, want := range map[bool]uint16{false: 1460, true: 1432} {
		s := dialing(t, checksums, func(c *Config) { c.TakeAltered = take })
		if got := s.expect(0, "S 0 mpc4 req").Opt.MSS; got != want {
			t.Errorf("TakeAltered %t: MSS %d, expected %d", take, got, want)
		}
	}
}
