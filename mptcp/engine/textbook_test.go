package engine

import (
	"errors"
	"io"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow"
)

// plainAccept is a passive open by a peer that speaks TCP only.
func plainAccept(t *testing.T, changes ...func(*Config)) *script {
	t.Helper()
	s := listening(t, changes...)
	s.send(0, "S 0")
	s.expect(0, "S. 0 ack 1")
	s.advance(10 * ms)
	s.send(0, ". 1 ack 1")
	s.expectNothing()
	if s.l.Accept() != s.c || s.c == nil {
		t.Fatal("not accepted")
	}
	return s
}

// T2: "If the state is CLOSED: ... an incoming segment not containing a RST
// causes a RST to be sent in response"; in LISTEN an ACK does, and a RST is
// ignored (RFC 9293, Section 3.10.7.1 and 3.10.7.2).
func TestT2_ClosedAndListen(t *testing.T) {
	for _, listen := range []bool{false, true} {
		s := newScript(t)
		if listen {
			s = listening(t)
		} else {
			s.addLeg(legTuple(0, 0, 80, 1000))
		}
		lg := s.legs[0]
		lg.ourISS, lg.known = 5000, true
		for _, c := range []struct{ in, out string }{
			{". 1 ack 7", "R 7"},
			{". 1+10 ack 7", "R 7"},
			{"F. 1 ack 7", "R 7"},
			{"S. 0 ack 7", "R 7"},
			{"R 1", ""},
			{"R. 1 ack 7", ""},
		} {
			s.send(0, c.in)
			if c.out != "" {
				s.expect(0, c.out)
			}
			s.expectNothing()
		}
		// Without ACK: sequence number zero, and an ACK of all of it.
		for _, c := range []struct {
			in  string
			ack int
		}{{"F 1", 2}, {"F 1+10", 12}} {
			s.send(0, c.in)
			got := s.drop(0)
			if got.Seq != 0 || !got.Flags.Has(wire.RST|wire.ACK) || got.Ack != lg.peerISS.Add(c.ack) {
				t.Errorf("listen %t: %s is answered with %v", listen, c.in, got)
			}
		}
		if !listen {
			s.send(0, "S 0")
			if got := s.drop(0); got.Seq != 0 || !got.Flags.Has(wire.RST|wire.ACK) || got.Ack != lg.peerISS.Add(1) {
				t.Errorf("a SYN is answered with %v", got)
			}
		}
		if s.c != nil || s.e.Conns() != 0 {
			t.Error("a connection came of it")
		}
	}
}

// T4: the arcs of LISTEN (RFC 9293, Section 3.3.2, Figure 5): from CLOSED by a
// passive OPEN, to SYN-RECEIVED by a SYN, back to it by a RST there (MUST-11),
// and to CLOSED by CLOSE.
func TestT4_TextbookListen(t *testing.T) {
	s := listening(t)
	s.send(0, "S 0")
	s.expectOne(0, "S. 0 ack 1")
	s.expectState(0, subflow.StateSynReceived)
	s.send(0, "R 1")
	s.expectState(0, subflow.StateClosed)
	s.expectNothing()
	if s.l.Accept() != nil || s.e.Conns() != 0 {
		t.Fatal("the refused connection is still there")
	}
	s.c, s.events = nil, nil
	s.legs[0].known = false
	s.send(0, "S 0") // LISTEN goes on
	s.expectOne(0, "S. 0 ack 1")
	s.send(0, ". 1 ack 1")
	s.expectState(0, subflow.StateEstablished)
	if s.l.Accept() == nil {
		t.Fatal("not accepted")
	}
	s.l.Close()
	n := s.addLeg(legTuple(0, 1, 80, 1000))
	s.send(n, "S 0")
	if got := s.drop(n); !got.Flags.Has(wire.RST) {
		t.Fatalf("after CLOSE: %v", got)
	}
}

// T6: "cat file | nc host sort": the end of one direction, and much later all of
// the other one.
func TestT6_TextbookHalfClose(t *testing.T) {
	for name, s := range map[string]*script{"plain": plainDial(t), "MPTCP": dial(t)} {
		s.write(100)
		s.closeWrite()
		s.ignore(0)
		if name == "plain" {
			s.send(0, ". 1 ack 102")
		} else {
			s.send(0, ". 1 ack 101 A102")
		}
		s.advance(10 * time.Minute) // it sorts
		s.expectNothing()
		at := 1
		for range 100 {
			if name == "plain" {
				s.send(0, ". "+itoa(at)+"+500 ack 102")
			} else {
				s.send(0, ". "+itoa(at)+"+500 ack 101 A102 M"+itoa(at)+":"+itoa(at)+":500")
			}
			s.expectRead(500)
			at += 500
			s.advance(time.Second)
		}
		if s.c.ReadErr() != nil || s.c.Err() != nil {
			t.Errorf("%s: %v, %v", name, s.c.ReadErr(), s.c.Err())
		}
	}
}

// T16: CLOSE while data waits to be read, or data that comes after it: RST, so
// that the peer knows that it was lost (RFC 9293, Section 3.6.1, SHLD-3).
func TestT16_CloseWithUnreadData(t *testing.T) {
	s := plainAccept(t)
	s.send(0, ". 1+10 ack 1")
	s.ignore(0)
	s.close()
	s.expect(0, "R. 1 ack 11")
	if !s.gone() || !errors.Is(s.c.Err(), syscall.ECONNABORTED) {
		t.Errorf("gone %t, error %v", s.gone(), s.c.Err())
	}

	s = plainAccept(t)
	s.close()
	s.expect(0, "F. 1 ack 1")
	s.send(0, ". 1 ack 2")
	s.send(0, ". 1+10 ack 2")
	s.expectOne(0, "R. 2 ack ")
	if !s.gone() {
		t.Error("not gone")
	}

	// Everything read: a FIN.
	s = plainAccept(t)
	s.send(0, ". 1+10 ack 1")
	s.expectRead(10)
	s.ignore(0)
	s.close()
	s.expect(0, "F. 1 ack 11")
}

// T2, T25: half-open after a reboot (RFC 9293, Section 3.5.1): the peer's host
// knows nothing of the connection, answers with a RST made of the ACK, and the
// application reads ECONNRESET: in one round trip.
func TestT2_T25_TextbookHalfOpenAfterReboot(t *testing.T) {
	s := plainDial(t)
	s.write(10)
	ours := s.expectOne(0, ". 1+10 ack 1")

	// The other host, after its reboot.
	reborn := NewEndpoint(&s.e.cfg)
	reborn.Hold(netip.AddrPortFrom(theirs[0], 80))
	in := ours
	in.Tuple = wire.Tuple{Local: netip.AddrPortFrom(theirs[0], 80), Remote: s.legs[0].tuple.Local}
	c, verdict := reborn.HandleSegment(s.now, &in)
	if c != nil || verdict != Stray {
		t.Fatalf("verdict %d", verdict)
	}
	b := wire.NewBatch(4096)
	AppendReset(b, &in)
	if len(b.Pkts) != 1 {
		t.Fatal("no RST")
	}
	s.advance(20 * ms)
	s.deliverPacket(append([]byte(nil), b.Bytes(0)...), 1)
	s.poll()
	var e *ResetError
	if !errors.As(s.c.Err(), &e) || !e.Peer || !errors.Is(s.c.Err(), syscall.ECONNRESET) || !s.gone() {
		t.Fatalf("error %v, gone %t", s.c.Err(), s.gone())
	}
	s.expectNothing()
}

// T25: the server dies while lines are typed: its FIN is the end of what is
// read; the next line is answered with a RST, and the one after fails.
func TestT25_TextbookServerKilled(t *testing.T) {
	s := plainDial(t)
	s.write(6)
	s.expectOne(0, ". 1+6 ack 1")
	s.send(0, ". 1 ack 7")
	s.send(0, "F. 1 ack 7") // the kernel closes for the process
	s.expect(0, ". 7 ack 2")
	if s.c.ReadErr() != io.EOF || s.c.WriteErr() != nil {
		t.Fatalf("read %v, write %v", s.c.ReadErr(), s.c.WriteErr())
	}
	s.write(6)
	s.expectOne(0, ". 7+6 ack 2")
	s.send(0, "R 2")
	if !errors.Is(s.c.Err(), syscall.ECONNRESET) || s.c.Write(s.now, []byte("x")) != 0 || !errors.Is(s.c.WriteErr(), syscall.ECONNRESET) {
		t.Fatalf("error %v, write %v", s.c.Err(), s.c.WriteErr())
	}
}

// T51: a laptop that was suspended for ten minutes: its clock has moved on, no
// timer has run. What was under way is sent again at once and the connection
// lives; plain TCP and MPTCP alike.
func TestT51_TextbookSuspended(t *testing.T) {
	for name, s := range map[string]*script{"plain": plainDial(t), "MPTCP": dial(t)} {
		s.write(10)
		s.ignore(0)
		s.now = s.now.Add(10 * time.Minute)
		s.poll()
		if out := s.ignore(0); len(out) == 0 || !strings.HasPrefix(out[0], ". 1+10") {
			t.Fatalf("%s: %q after waking up", name, out)
		}
		s.advance(20 * ms)
		s.send(0, map[string]string{"plain": ". 1 ack 11", "MPTCP": ". 1 ack 11 A11"}[name])
		s.ignore(0)
		if s.c.Err() != nil || s.c.snd.Una() != s.c.snd.End() {
			t.Fatalf("%s: error %v", name, s.c.Err())
		}
		// Idle while suspended: nothing to do at all.
		s.now = s.now.Add(10 * time.Minute)
		s.poll()
		s.ignore(0)
		s.write(10)
		if out := s.ignore(0); len(out) != 1 || !strings.HasPrefix(out[0], ". 11+10") {
			t.Fatalf("%s: %q", name, out)
		}
	}
}

// T22, T73: a client unplugged in ESTABLISHED. A server that has nothing to say
// never learns of it, unless it asks; one that has, gives up.
func TestT22_T73_TextbookUnpluggedEstablished(t *testing.T) {
	s := plainAccept(t)
	s.advance(30 * 24 * time.Hour)
	s.expectState(0, subflow.StateEstablished)

	s = plainAccept(t, func(c *Config) { c.KeepAlive = 2 * time.Hour })
	s.advance(2*time.Hour + 8*75*time.Second)
	s.expectState(0, subflow.StateEstablished)
	s.advance(2 * 75 * time.Second)
	if !errors.Is(s.c.Err(), syscall.ETIMEDOUT) || !s.gone() {
		t.Fatalf("error %v", s.c.Err())
	}

	s = plainAccept(t)
	s.write(100)
	s.advance(16 * time.Minute)
	if !errors.Is(s.c.Err(), syscall.ETIMEDOUT) || !s.gone() {
		t.Fatalf("error %v", s.c.Err())
	}
}

// T22: a client unplugged in FIN-WAIT-1 sends its FIN again and again, and gives
// up; in FIN-WAIT-2, with nobody to read, it does not wait for ever either.
func TestT22_TextbookUnpluggedFinWait(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		limit  time.Duration
		want   error
	}{
		{func(*Config) {}, 16 * time.Minute, syscall.ETIMEDOUT}, // after Hold
		{userTimeout(time.Minute), 61 * time.Second, syscall.ETIMEDOUT},
	} {
		s := plainDial(t, c.change)
		s.close()
		s.expect(0, "F. 1 ack 1")
		s.expectState(0, subflow.StateFinWait1)
		s.advance(c.limit / 2)
		s.expectState(0, subflow.StateFinWait1)
		if out := s.ignore(0); len(out) < 5 || out[len(out)-1] != "F. 1 ack 1" {
			t.Fatalf("sent %q", out)
		}
		s.advance(c.limit / 2)
		if !s.gone() || !errors.Is(s.c.Err(), c.want) {
			t.Fatalf("gone %t, error %v", s.gone(), s.c.Err())
		}
	}
	s := plainDial(t)
	s.close()
	s.expect(0, "F. 1 ack 1")
	s.send(0, ". 1 ack 2")
	s.expectState(0, subflow.StateFinWait2)
	s.advance(16 * time.Minute)
	if !s.gone() {
		t.Fatal("FIN-WAIT-2 without an application lasts")
	}
}

// T7: TIME-WAIT of 30 s, 60 s and 120 s, as it is set.
func TestT7_TextbookTimeWait(t *testing.T) {
	for _, d := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute} {
		s := plainDial(t, func(c *Config) { c.TimeWait = d })
		s.close()
		s.expect(0, "F. 1 ack 1")
		s.send(0, "F. 1 ack 2")
		s.expect(0, ". 2 ack 2")
		s.expectState(0, subflow.StateTimeWait)
		s.advance(d - 1)
		if s.gone() || s.e.Lookup(s.legs[0].tuple) == nil {
			t.Fatalf("%v: gone too early", d)
		}
		s.advance(1)
		if !s.gone() || s.e.Lookup(s.legs[0].tuple) != nil || s.c.Err() != nil {
			t.Fatalf("%v: gone %t, error %v", d, s.gone(), s.c.Err())
		}
	}
}

// W7, T23: the bytes of a segment with URG belong where its mapping says, the
// pointer counts for nothing, and no segment of ours has one (RFC 8684, Section
// 3.3.1).
func TestW7_T23_UrgentDataIsMapped(t *testing.T) {
	s := dial(t)
	for i, pointer := range []uint16{1, 10, 500} {
		at := itoa(1 + 10*i)
		s.send(0, "U. "+at+"+10 ack 1 A1 M"+at+":"+at+":10", func(g *wire.Segment) { g.Urgent = pointer })
		s.expectRead(10)
	}
	if n := s.c.Stats().UrgentRx; n != 3 {
		t.Errorf("the application is told of %d urgent segments", n)
	}
	s.expectMultipath()
	s.write(3000)
	for range s.legs[0].out {
		if g := s.drop(0); g.Flags.Has(wire.URG) || g.Urgent != 0 {
			t.Fatalf("we sent %v", g)
		}
	}

	s = plainDial(t)
	s.send(0, "U. 1+10 ack 1", func(g *wire.Segment) { g.Urgent = 1 })
	s.expectRead(10)
}

// T4: two hosts behind NATs open to each other at once, from and to ports that were
// agreed on. The first SYN of either finds no mapping in the other's NAT, which
// drops it or answers with ICMP (RFC 5382, Section 4.3, REQ-4); the next ones cross.
// The connection is TCP: crossing SYNs have no place for the keys.
func TestT4_T21_TextbookBehindNATs(t *testing.T) {
	for _, refused := range []bool{false, true} {
		a := dialing(t)
		a.expect(0, "S 0 mpc4")
		if refused {
			a.icmp(0, 0, wire.ICMPError{Kind: wire.ICMPHost}) // soft: it may pass
		}
		a.advance(time.Second)
		a.expect(0, "S 0 mpc4") // makes the mapping in our NAT
		a.send(0, "S 0 mpc4")   // theirs, which that lets in
		a.expectOne(0, "S. 0 ack 1")
		a.expectState(0, subflow.StateSynReceived)
		a.send(0, "S. 0 ack 1")
		a.expectState(0, subflow.StateEstablished)
		a.expectPlain(PeerPlain)
		a.ignore(0)
		a.write(10)
		a.expect(0, ". 1+10 ack 1")
		a.send(0, ". 1+10 ack 11")
		a.expectRead(10)
	}
}
