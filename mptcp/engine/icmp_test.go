package engine

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/scheduler"
	"github.com/mpnc/mpnc/subflow"
)

// icmp hands the connection an error about the segment at an offset of a
// subflow.
func (s *script) icmp(n, off int, e wire.ICMPError) {
	s.t.Helper()
	l := s.legs[n]
	e.Tuple = l.tuple
	e.Seq = l.ourISS.Add(off)
	if s.e.Lookup(e.Tuple) != s.c {
		s.t.Fatal("the endpoint does not find the connection of what is quoted")
	}
	s.c.HandleICMP(s.now, &e)
	s.poll()
}

// T21: what a dial tells when ICMP answers its SYN: a hard error ends it at
// once, a soft one is the reason should nobody answer.
func TestT21_DialErrors(t *testing.T) {
	for _, c := range []struct {
		e    wire.ICMPError
		want syscall.Errno
		text string
		wait bool
	}{
		{wire.ICMPError{Kind: wire.ICMPPort, Hard: true}, syscall.ECONNREFUSED, "refused", false},
		{wire.ICMPError{Kind: wire.ICMPProtocol, Hard: true}, syscall.ECONNREFUSED, "refused", false},
		{wire.ICMPError{Kind: wire.ICMPProhibited}, syscall.EHOSTUNREACH, "firewall", false},
		{wire.ICMPError{Kind: wire.ICMPHost}, syscall.EHOSTUNREACH, "no route to the host", true},
		{wire.ICMPError{Kind: wire.ICMPNetwork}, syscall.ENETUNREACH, "no route to the network", true},
		{wire.ICMPError{Kind: wire.ICMPTimeExceeded}, syscall.EHOSTUNREACH, "circles", true},
		{wire.ICMPError{Kind: wire.ICMPOther}, syscall.EHOSTUNREACH, "no route", true},
	} {
		s := dialing(t)
		s.expect(0, "S 0 mpc4")
		s.icmp(0, 1, c.e) // not in flight
		s.icmp(0, 0, c.e)
		if c.wait {
			if err := s.c.Err(); err != nil {
				t.Fatalf("kind %d ended the dial: %v", c.e.Kind, err)
			}
			s.advance(10 * time.Minute)
		}
		err := s.c.Err()
		var timeout net.Error
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("kind %d: %v", c.e.Kind, err)
		}
		if errors.As(err, &timeout) && timeout.Timeout() != c.wait || errors.Is(err, syscall.ETIMEDOUT) != c.wait {
			t.Errorf("kind %d: a timeout is not %v: %v", c.e.Kind, c.wait, err)
		}
		if errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("kind %d is ECONNRESET", c.e.Kind)
		}
	}
}

// T21: a host that answers after all is connected to, whatever a router said.
func TestT21_SoftErrorThenAnswer(t *testing.T) {
	s := dialing(t)
	s.expect(0, "S 0 mpc4")
	s.icmp(0, 0, wire.ICMPError{Kind: wire.ICMPHost})
	s.advance(time.Second)
	s.expect(0, "S 0 mpc4")
	s.send(0, "S. 0 ack 1 mpc12")
	s.expect(0, ". 1 ack 1 mpc20")
	s.expectMultipath()
}

// T21: a join that a firewall prohibits fails at once; the connection does not
// mind.
func TestT21_JoinFailsAtOnce(t *testing.T) {
	for _, kind := range []wire.ICMPKind{wire.ICMPPort, wire.ICMPProhibited} {
		s := dial(t)
		n := s.open(1, 1)
		s.expectOne(n, "S 0 mpj12")
		s.mgr.told = nil
		s.icmp(n, 0, wire.ICMPError{Kind: kind, Hard: kind == wire.ICMPPort})
		s.expectNothing()
		if len(s.c.paths) != 1 || len(s.mgr.told) != 1 || s.mgr.told[0] != "SubflowDown" {
			t.Fatalf("%d paths, the manager was told %q", len(s.c.paths), s.mgr.told)
		}
		if e := s.c.ended; len(e) != 1 || e[0].Reason != pathmgr.Refused {
			t.Fatalf("ended: %+v", e)
		}
		s.expectState(0, subflow.StateEstablished)
		if s.c.Err() != nil {
			t.Fatal(s.c.Err())
		}
	}
}

// T21: nothing that ICMP says ends a connection that stands.
func TestT21_ConnectionOutlivesErrors(t *testing.T) {
	s := dial(t)
	s.write(100)
	s.ignore(0)
	for kind := wire.ICMPOther; kind <= wire.ICMPTimeExceeded; kind++ {
		s.icmp(0, 1, wire.ICMPError{Kind: kind, Hard: kind == wire.ICMPPort || kind == wire.ICMPProtocol})
	}
	s.expectState(0, subflow.StateEstablished)
	if s.c.Err() != nil {
		t.Fatal(s.c.Err())
	}
}

// T77, T79: of a long mapping whose segments are too big, the pieces that go out
// again carry the mapping that all had.
func TestT77_T79_MappingOutlivesMTU(t *testing.T) {
	s := dial(t, func(c *Config) { c.Scheduler = scheduler.NewMinRTT })
	s.write(32_000)
	first := s.ignore(0)
	if len(first) == 0 || !strings.Contains(first[0], "M1:1:") {
		t.Fatalf("no mapping: %q", first)
	}
	mapping := first[0][strings.Index(first[0], " M"):]
	if !strings.HasSuffix(first[len(first)-1], mapping) {
		t.Fatalf("more than one mapping: %q", first)
	}
	s.icmp(0, 1, wire.ICMPError{Kind: wire.ICMPTooBig, MTU: 1200})
	s.advance(15 * ms) // they are paced
	copies := s.ignore(0)
	if len(copies) == 0 {
		t.Fatal("nothing was sent again")
	}
	for _, l := range copies {
		if !strings.HasSuffix(l, mapping) {
			t.Errorf("copy %q, mapping %q", l, mapping)
		}
	}
	if len(copies) <= len(first) {
		t.Errorf("%d copies of %d segments: they are no smaller", len(copies), len(first))
	}
}
