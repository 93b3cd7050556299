package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow"
)

// F2, F4, F9: data of the first flight is acknowledged without a DSS: TCP from
// here on, one infinite mapping, then no options; the subflow's acknowledgments
// free the send buffer.
func TestF2_F4_F9_FirstFlightAckedWithoutDSS(t *testing.T) {
	s := accept(t, noDelay)
	s.write(100)
	s.expect(0, ". 1+100 ack 1 A1 M1:1:100")
	s.send(0, ". 1 ack 101")
	s.expectPlain(DataPlain)
	if s.c.snd.Una() != s.c.snd.End() {
		t.Error("the acknowledgment does not count")
	}
	s.write(50)
	s.expect(0, ". 101+50 ack 1 A1 M101:101:0")
	s.write(50)
	s.expect(0, ". 151+50 ack 1")
	s.send(0, ". 1+10 ack 201")
	s.expect(0, ". 201 ack 11")
	s.expectRead(10)
	if st := s.c.Stats(); st.SendQueued != 0 || st.Multipath {
		t.Errorf("%+v", st)
	}
	// F12: the end is a FIN.
	s.close()
	s.expect(0, "F. 201 ack 11")
	s.send(0, "F. 11 ack 202")
	s.expect(0, ". 202 ack 12")
	if !s.c.Done() || s.c.Err() != nil {
		t.Errorf("done %t, error %v", s.c.Done(), s.c.Err())
	}
}

// The same for the side that dialed, whose first data has the keys.
func TestF2_ClientsFirstFlight(t *testing.T) {
	s := dialing(t)
	s.expect(0, "S 0 mpc4")
	s.send(0, "S. 0 ack 1 mpc12")
	s.expect(0, ". 1 ack 1 mpc20")
	s.write(100)
	s.expect(0, ". 1+100 ack 1 mpc22=100")
	s.send(0, ". 1 ack 101")
	s.expectPlain(DataPlain)
}

// Data without an option, before any DSS was heard: TCP, and it is delivered.
func TestF2_PlainData(t *testing.T) {
	s := accept(t)
	s.send(0, ". 1+10 ack 1")
	s.expectPlain(DataPlain)
	s.expectRead(10)
	s.expect(0, ". 1 ack 11")
}

// F2 on a joined subflow: RST(6), and the connection goes on.
func TestF2_JoinedSubflowAckedWithoutDSS(t *testing.T) {
	s := accept(t)
	s.send(0, ". 1+10 ack 1 A1 M1:1:10")
	s.ignore(0)
	n := s.joined(0, 1)
	s.steer.to = 1
	s.write(100)
	s.expect(n, ". 1+100 ack 1 A11 M1:1:100")
	s.send(n, ". 1 ack 101")
	s.expect(n, "R. 101 ack 1 rst=6")
	s.expectMultipath()
	s.advance(2 * time.Second) // nobody holds the data now but the connection
	s.expect(0, ". 1+100 ack 11 A11 M1:1:100")
	s.send(0, ". 11 ack 101 A101")
	s.ignore(0)

	// An acknowledgment with a DSS before it: the subflow has shown that it
	// speaks MPTCP.
	m := s.joined(0, 2)
	s.steer.to = 2
	s.write(100)
	s.expectOne(m, ". 1+100")
	s.send(m, ". 1 ack 101 A201")
	s.write(100)
	s.expectOne(m, ". 101+100")
	s.send(m, ". 1 ack 201")
	s.expectState(m, subflow.StateEstablished)
}

// F3 on a lone subflow, as Linux does it: options vanish later on, TCP.
func TestF3_OptionsVanishOnLoneSubflow(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1+10 ack 1 A1 M1:1:10")
	s.send(0, ". 11+10 ack 1")
	s.expectPlain(DataPlain)
	s.expectRead(20)
}

// F10, F11: no way back, and no other subflow.
func TestF10_NoJoinAfterFallback(t *testing.T) {
	s := accept(t)
	s.send(0, ". 1+10 ack 1")
	s.expectPlain(DataPlain)
	s.ignore(0)
	n := s.addLeg(legTuple(0, 1, 80, 1000))
	s.send(n, "S 0 mpj12 id=1")
	s.expectOne(n, "R. 0 ack 1")
	s.send(0, ". 11+10 ack 1 A1 M11:11:10")
	s.expectPlain(DataPlain)
	s.expectRead(20)
}

// F11: with a second subflow, now or ever, there is no fallback.
func TestF11_NoFallbackWithTwoSubflows(t *testing.T) {
	for _, bad := range []string{". 1+10 ack 1 @1", ". 1+10 ack 1 A1 M1:1:10 csum", ". 1+10 ack 1 A1 M1:1:0"} {
		s := dial(t)
		s.localUp(1)
		n := s.join(1, 0)
		s.send(n, "F. 1 ack 1 A1")
		s.send(n, ". 2 ack 2 A1")
		s.ignore(0)
		s.send(0, bad)
		s.expectMultipath()
		s.expectRead(0)
	}
}

// F9, the other way: an infinite mapping ends DATA_ACKs and options.
func TestD12_F9_InfiniteMappingReceived(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1+10 ack 1 A1 M1:1:10")
	s.expect(0, ". 1 ack 11 A11")
	s.send(0, ". 11+10 ack 1 A1 M11:11:0")
	s.expectPlain(InfiniteMapping)
	s.expectAck(0, "21")
	s.send(0, ". 21+10 ack 1")
	s.expectRead(30)
	s.write(10)
	s.ignore(0)
	s.advance(time.Second)
	for _, l := range s.ignore(0) {
		if !strings.HasPrefix(l, ". 1+10 ack 31") || strings.Contains(l, " A") {
			t.Errorf("sent %q", l)
		}
	}
}

// F7: MP_FAIL on a lone subflow: it is answered, the next data has an infinite
// mapping, then TCP in both directions.
func TestF7_FailReceived(t *testing.T) {
	s := dial(t, noDelay, takeAltered)
	s.send(0, ". 1+10 ack 1 A1 M1:1:10")
	s.ignore(0)
	s.write(20)
	s.expect(0, ". 1+20 ack 11 A11 M1:1:20")
	s.send(0, ". 11 ack 21 A21 fail=1")
	if out := s.ignore(0); len(out) != 1 || !strings.HasPrefix(out[0], ". 21 ack 11") || !strings.Contains(out[0], " fail=11") {
		t.Errorf("answered %q", out)
	}
	s.expectPlain(MPFailReceived)
	s.write(20)
	s.expect(0, ". 21+20 ack 11 A11 M21:21:0")
	s.write(20)
	s.expect(0, ". 41+20 ack 11")
	s.send(0, ". 11+10 ack 61")
	s.expectRead(20)
}

// … and with a second subflow it means that one mapping was dropped; that comes
// again by itself (with the RST beside it, as F5 has it).
func TestF7_FailReceivedOnReset(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.steer.to = 1
	s.write(20)
	s.expect(n, ". 1+20 ack 1 A1 M1:1:20")
	s.send(n, "R. 1 ack 1 fail=1 rst=6")
	s.expectMultipath()
	s.expect(0, ". 1+20 ack 1 A1 M1:1:20")
	s.expectMultipath()
}

// F12: a DATA_FIN that was pending turns into a FIN.
func TestF12_PendingDataFinTurnsIntoFIN(t *testing.T) {
	s := accept(t)
	s.write(10)
	s.closeWrite()
	s.expect(0, ". 1+10 ack 1 A1 M1:1:10")
	s.expect(0, ". 11 ack 1 A1 M11:0:1 F")
	s.send(0, ". 1 ack 11")
	s.expectPlain(DataPlain)
	s.expect(0, "F. 11 ack 1")
	s.send(0, ". 1 ack 12")
	s.send(0, ". 1+10 ack 12")
	s.expectRead(10)
}

// F13: with timestamps too, and a fallback in the middle of a flight.
func TestF4_FallbackWithTimestamps(t *testing.T) {
	s := accept(t, func(c *Config) { c.NoTimestamps = false })
	s.write(5000)
	if out := s.ignore(0); len(out) != 4 {
		t.Fatalf("sent %q", out)
	}
	s.send(0, ". 1 ack 1421")
	s.expectPlain(DataPlain)
	s.send(0, ". 1 ack 5001")
	s.write(5000)
	out := s.ignore(0)
	if !strings.Contains(out[0], ":0") {
		t.Errorf("no infinite mapping: %q", out[0])
	}
	for _, l := range out[1:] {
		if strings.Contains(l, "M") {
			t.Errorf("an option after it: %q", l)
		}
	}
	if s.c.tx.next != s.c.snd.End() {
		t.Error("not all was granted")
	}
}

// A RST of a connection that fell back is its end.
func TestF9_ResetAfterFallback(t *testing.T) {
	s := accept(t)
	s.send(0, ". 1+10 ack 1")
	s.expectPlain(DataPlain)
	s.send(0, "R 11", func(g *wire.Segment) {})
	if s.c.Err() == nil || !s.gone() {
		t.Errorf("error %v, gone %t", s.c.Err(), s.gone())
	}
}

// F2: the network begins to remove options, of what comes back only: data is
// acknowledged on the subflow and never by a DATA_ACK. The connection goes on as
// TCP, and says so with an infinite mapping.
func TestF2_OptionsVanishFromACKs(t *testing.T) {
	s := dial(t)
	s.write(100)
	s.ignore(0)
	s.send(0, ". 1 ack 101 A101")
	s.write(100)
	s.expectOne(0, ". 101+100 ack 1 A1 M101:101:100")
	s.send(0, ". 1 ack 201") // from here on without
	s.advance(5 * time.Second)
	s.expectPlain(DataPlain)
	s.expectNothing() // nothing was sent twice
	s.write(100)
	s.expect(0, ". 201+100 ack 1 A1 M201:201:0")
	s.write(100)
	s.expectNothing() // Nagle
	s.send(0, ". 1 ack 301")
	s.expect(0, ". 301+100 ack 1")
	s.send(0, ". 1+10 ack 401")
	s.expectRead(10)

	// With the end of the stream on its way: it becomes a FIN.
	s = dial(t)
	s.write(100)
	s.ignore(0)
	s.send(0, ". 1 ack 101 A101")
	s.write(100)
	s.closeWrite()
	s.ignore(0)
	s.send(0, ". 1 ack 201")
	s.advance(5 * time.Second)
	s.expectPlain(DataPlain)
	if out := s.ignore(0); len(out) == 0 || out[len(out)-1] != "F. 201 ack 1" {
		t.Errorf("sent %q", out)
	}
}

// F2: where plain TCP is no way out, for there was another subflow, it ends in
// bounded time.
func TestF2_OptionsVanishAfterJoin(t *testing.T) {
	s := dial(t, userTimeout(30*time.Second))
	n := s.join(1, 1)
	s.send(n, "R. 1 ack 1 rst=0")
	s.ignore(0)
	s.write(100)
	s.ignore(0)
	for range 120 {
		if s.c.Err() != nil {
			break
		}
		s.advance(time.Second)
		if out := s.legs[0]; len(out.segs) > 0 {
			last := out.segs[len(out.segs)-1]
			s.send(0, fmt.Sprint(". 1 ack ", last.Seq.Sub(out.ourISS)+len(last.Payload)))
			out.out, out.segs = nil, nil
		}
	}
	var e *UnansweredError
	if !errors.As(s.c.Err(), &e) || e.After < 30*time.Second {
		t.Fatalf("error %v", s.c.Err())
	}
}

// A box that joins segments and keeps the options of the first leaves octets
// without a mapping among segments that have one: options pass, so there is no
// fallback, and the peer's data-level retransmission fills the gap (RFC 8684,
// Section 3.3.1).
func TestE5_JoinedSegmentsLoseMappings(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1+20 ack 1 A1 M1:1:10")
	s.expectMultipath()
	s.expectRead(10)
	s.send(0, ". 21+10 ack 1 A1 M11:21:10")
	s.expectMultipath()
	s.expectRead(10)
}

// The first octets of all have no mapping although options pass: so Linux sends
// what a server refused to take with the SYN, and takes it for plain TCP from
// there on.
func TestF2_FirstOctetsUnmapped(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1+5 ack 1 A1")
	s.expectPlain(DataPlain)
	s.expectRead(5)
}
