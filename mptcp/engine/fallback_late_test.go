package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A middlebox that begins to strip options in mid-connection, in many random
// networks, showed these. The rule is the same as in the handshake's time: on
// the only subflow there ever was, what is not mapped has an implied mapping
// (RFC 8684, Section 3.7), and an end of the stream must be one.

// The hole that the unmapped octets fill has mapped ones behind it: the stream
// is still what the subflow's octets are.
func TestF3_HoleWithoutMapping(t *testing.T) {
	s := dial(t)
	s.send(0, ". 11+10 ack 1 A1 M11:11:10")
	s.send(0, ". 1+10 ack 1")
	s.expectPlain(DataPlain)
	s.expectRead(20)
}

// A mapping that is not the implied one rules that out for good.
func TestF3_NotWhereMappingsDiffer(t *testing.T) {
	for _, later := range []string{". 11+10 ack 1 A1 M1:11:10", ". 11+10 ack 1 A1 M21:11:10"} {
		s := dial(t)
		s.send(0, later)
		s.send(0, ". 1+10 ack 1")
		s.expectMultipath()
	}
}

// Octets that are acknowledged on the only subflow by segments without any
// option: the peer is plain TCP now, and would take what we send again as new
// octets of the stream.
func TestF2_LateAckWithoutDSS(t *testing.T) {
	s := dial(t)
	s.write(10)
	s.expect(0, ". 1+10 ack 1 A1 M1:1:10")
	s.send(0, ". 1 ack 11 A11")
	s.write(10)
	s.expect(0, ". 11+10 ack 1 A1 M11:11:10")
	s.send(0, ". 1 ack 21")
	s.expectMultipath() // a DATA_ACK may follow
	s.advance(5 * time.Second)
	s.expectPlain(DataPlain)
	s.expectNothing()
	s.write(10)
	s.expect(0, ". 21+10 ack 1 A1 M21:21:0")
}

// … and if the DATA_ACK does follow, all is well.
func TestF2_LateAckWithoutDSSOnce(t *testing.T) {
	s := dial(t)
	s.write(10)
	s.expect(0, ". 1+10 ack 1 A1 M1:1:10")
	s.send(0, ". 1 ack 11")
	s.send(0, ". 1 ack 11 A1")
	s.advance(5 * time.Second)
	s.expectMultipath()
}

// A FIN without an option is the end of the stream of a peer that fell back.
func TestF12_LateFINWithoutDSS(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1+10 ack 1 A1 M1:1:10")
	s.send(0, "F. 11 ack 1")
	s.expectPlain(DataPlain)
	s.expectRead(10)
	if !s.c.peerFinished() {
		t.Error("no end of the stream")
	}
}

// A FIN behind octets that no mapping came for: they will never have a place.
// The subflow is reset, so that a peer that fell back takes no FIN of ours for
// the end of our stream.
func TestF3_FINBehindUnmappedOctets(t *testing.T) {
	for _, fin := range []string{"F. 31 ack 1", "F. 31 ack 1 A1"} {
		s := dial(t)
		s.send(0, ". 1+10 ack 1 A1 M1:1:10")
		s.send(0, ". 11+10 ack 1 A1 M1:11:10")
		s.send(0, ". 21+10 ack 1")
		s.ignore(0)
		s.send(0, fin)
		out := s.ignore(0)
		if len(out) != 1 || !strings.HasPrefix(out[0], "R") || !strings.Contains(out[0], "rst=6") {
			t.Errorf("%s: sent %q", fin, out)
		}
		s.expectRead(10)
	}
}

// Having fallen back alone, we hear a FIN of a peer that still speaks MPTCP: it
// ends its subflow, not its stream, and what is missing is not to be passed over
// in silence.
func TestF3_FINOfAPeerThatDidNotFallBack(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1+10 ack 1 A1 M1:1:10")
	s.send(0, ". 11+10 ack 1")
	s.expectPlain(DataPlain)
	s.send(0, "F. 21 ack 1 A1")
	var reset *ResetError
	if err := s.c.ReadErr(); !errors.As(err, &reset) {
		// What has arrived is read first.
		s.expectRead(20)
		if err = s.c.ReadErr(); !errors.As(err, &reset) {
			t.Errorf("error %v", err)
		}
	}
	for _, end := range []string{"F. 21 ack 1", "F. 21 ack 1 A1 M21:21:0", "F. 21 ack 1 A1 M21:0:1 F"} {
		s := dial(t)
		s.send(0, ". 1+10 ack 1 A1 M1:1:10")
		s.send(0, ". 11+10 ack 1")
		s.send(0, end)
		s.expectRead(20)
		if !s.c.peerFinished() {
			t.Errorf("%s is no end of the stream: %v", end, s.c.ReadErr())
		}
	}
}

// … also of one whose DATA_FIN came before its fallback, while our stream goes
// on: as TCP.
func TestF12_LateFINAfterDataFin(t *testing.T) {
	s := dial(t, noDelay)
	s.send(0, ". 1+10 ack 1 A1 M1:1:10")
	s.send(0, ". 11 ack 1 A1 M11:0:1 F")
	s.expectRead(10)
	s.write(10)
	s.ignore(0)
	s.send(0, "F. 11 ack 11")
	s.expectPlain(DataPlain)
	if !s.c.peerFinished() {
		t.Error("no end of the stream")
	}
	s.ignore(0)
	s.write(10)
	s.expect(0, ". 11+10 ack 12 A12 M11:11:0")
}

// … and neither is what such a peer sends again, as new octets of the subflow,
// to be taken for the next ones of the stream.
func TestF3_RepetitionOfAPeerThatDidNotFallBack(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1+10 ack 1 A1 M1:1:10")
	s.send(0, ". 11+10 ack 1")
	s.expectPlain(DataPlain)
	s.send(0, ". 21+10 ack 1 A1 M21:21:10") // the implied mapping does no harm
	s.expectRead(30)
	s.send(0, ". 31+10 ack 1 A1 M11:31:10")
	s.expectRead(0)
	var reset *ResetError
	if err := s.c.ReadErr(); !errors.As(err, &reset) {
		t.Errorf("error %v", err)
	}
}

// The same at once where the path had been given up, and what it held was to be
// sent again.
func TestF2_LateAckWithoutDSSOfWhatWasLost(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1+10 ack 1 A1 M1:1:10")
	s.ignore(0)
	s.write(20)
	s.advance(5 * time.Second)
	s.ignore(0)
	if s.c.tx.lost.Empty() {
		t.Fatal("nothing was given up")
	}
	s.send(0, ". 11 ack 21")
	s.expectPlain(DataPlain)
	s.expectNothing()
}

// The peer fell back before us, and counts our windows from the acknowledgments
// of the subflow, not from the DATA_ACK: what they let it send so, and we
// acknowledge, is not to be lost.
func TestF3_WindowOfAPeerThatFellBackFirst(t *testing.T) {
	const window, waiting = 20000, 3000
	s := dial(t, func(c *Config) { c.RecvBuffer = window })
	s.send(0, ". 1001+3000 ack 1")           // beyond a hole, without a mapping
	s.send(0, ". 1+1000 ack 1 A1 M1:1:1000") // the last one with an option
	s.expectMultipath()
	s.ignore(0) // … ack 4001 A1001 and a window of 19,000
	for at := 1 + 1000 + waiting; at < window+waiting; at += 1000 {
		s.send(0, fmt.Sprintf(". %d+1000 ack 1", at))
	}
	s.expectPlain(DataPlain)
	got := int(s.c.paths[0].sf.RcvNxt()) - 1
	if got != window+waiting {
		t.Errorf("%d octets acknowledged, the windows allowed %d", got, window+waiting)
	}
	s.expectRead(got)
	// From here on the window is what the buffer has room for.
	s.ignore(0)
	for at := got + 1; at < got+40000; at += 1000 {
		s.send(0, fmt.Sprintf(". %d+1000 ack 1", at))
	}
	if more := int(s.c.paths[0].sf.RcvNxt()) - 1 - got; more > window {
		t.Errorf("%d octets are kept", more)
	} else {
		s.expectRead(more)
	}
}
