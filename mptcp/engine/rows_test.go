package engine

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/scheduler"
)

// What other tests of these rules did not see when a line of them was switched
// off.

// D3: 32-bit numbers beyond the wrap are not taken for old ones while the
// octets before it are still missing.
func TestD3_WrapBeyondAHole(t *testing.T) {
	s := dialing(t)
	key := uint64(1)
	for uint32(wire.IDSN(key)) < 0xffffffff-20000 {
		key++
	}
	s.peerKey = key
	s.send(0, "S. 0 ack 1 mpc12")
	left := int(-uint32(wire.IDSN(key))) // octets up to the wrap, the SYN's number included
	at := 1
	for ; at+1000 < left; at += 1000 {
		s.send(0, ". "+itoa(at)+"+1000 ack 1 a1 m"+itoa(at)+":"+itoa(at)+":1000")
		s.expectRead(1000)
	}
	beyond := at + 1000
	s.send(0, ". "+itoa(beyond)+"+1000 ack 1 a1 m"+itoa(beyond)+":"+itoa(beyond)+":1000")
	s.expectRead(0)
	s.send(0, ". "+itoa(at)+"+1000 ack 1 a1 m"+itoa(at)+":"+itoa(at)+":1000")
	s.expectRead(2000)
}

// whole grants all there is in one mapping.
type whole struct{}

func (whole) Schedule(_ mono.Time, q *scheduler.Queue, paths []scheduler.Path, g []scheduler.Grant) ([]scheduler.Grant, mono.Time) {
	if n := min(q.End.Min(q.Limit).Sub(q.Next), paths[0].Room); n > 0 {
		g = append(g, scheduler.Grant{Path: paths[0].ID, Data: seq.Range{From: q.Next, To: q.Next.Add(n)}})
	}
	return g, mono.Never
}

// D13: every segment of a mapping that takes many has it.
func TestD13_EverySegmentOfAMapping(t *testing.T) {
	s := accept(t, func(c *Config) { c.Scheduler = func() scheduler.Scheduler { return whole{} } })
	s.write(5000)
	out := s.ignore(0)
	if len(out) < 4 {
		t.Fatalf("sent %q", out)
	}
	for _, l := range out {
		if !strings.HasSuffix(l, " A1 M1:1:5000") {
			t.Errorf("%q", l)
		}
	}
}

// A4: data beyond a hole does not take from the window: the right edge stays.
func TestA4_EdgeStaysBesideHoles(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1001+1000 ack 1 A1 M1001:1001:1000")
	segs := s.legs[0].segs
	if len(segs) != 1 || segs[0].MP.DSS.Ack != wire.IDSN(s.peerKey)+1 || segs[0].Window != 60000 {
		t.Fatalf("%v", segs)
	}
}

// A5: a segment beyond the window that its subflow showed last, with data
// within the connection's, which has grown since without a word on that subflow.
func TestA5_BeyondTheWindowShown(t *testing.T) {
	s := dial(t)
	for at := 1; at < 50000; at += 1000 {
		s.send(0, ". "+itoa(at)+"+1000 ack 1 A1 M"+itoa(at)+":"+itoa(at)+":1000")
	}
	s.ignore(0)
	s.localUp(1)
	n := s.join(1, 0) // it shows 10000 octets
	var p [5000]byte
	if s.c.Read(s.now, p[:]) != len(p) {
		t.Fatal("nothing to read")
	}
	s.poll()
	s.expectNothing()
	s.send(n, ". 12001+1000 ack 1 A1 M62001:12001:1000")
	if got := s.c.rcv.OutOfOrder(); got != 1000 {
		t.Errorf("%d octets beyond the hole", got)
	}
}

// J13: a backup path carries data only when there is no other, though it be the
// faster one.
func TestJ13_BackupIsForNeed(t *testing.T) {
	s := dial(t, noDelay, func(c *Config) { c.Scheduler = scheduler.NewMinRTT })
	s.localUp(1)
	n := s.open(1, 0)
	s.expectOne(n, "S 0 mpj12")
	s.advance(ms)
	s.send(n, "S. 0 ack 1 mpj16 b")
	s.expectOne(n, ". 1 ack 1 mpj24")
	s.send(n, ". 1 ack 1 A1")
	s.write(100)
	s.expectOne(0, ". 1+100")
	s.expectNothing()
	s.send(0, "R 1")
	s.expectOne(n, ". 1+100")
}

// P6: another address under an identifier in use is not taken.
func TestP6_OtherAddressIsIgnored(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1 ack 1 add5=10.0.1.2")
	s.send(0, ". 1 ack 1 add5=10.0.2.2")
	s.command() // so that the manager is shown what there is
	if got := s.mgr.view.Peers; len(got) != 1 || got[0].Addr != netip.AddrPortFrom(theirs[1], 80) {
		t.Errorf("peers %v", got)
	}
}

// downs is a manager that remembers how subflows ended.
type downs struct{ transient []bool }

func (d *downs) Handle(_ mono.Time, ev pathmgr.Event, _ *pathmgr.View, do []pathmgr.Command) []pathmgr.Command {
	if down, ok := ev.(pathmgr.SubflowDown); ok {
		d.transient = append(d.transient, down.Transient)
	}
	return do
}

// R8: the manager is told whether the peer holds the reason for transient.
func TestR8_TransientReason(t *testing.T) {
	for _, transient := range []bool{true, false} {
		var mgr downs
		s := dial(t, func(c *Config) { c.Manager = func() pathmgr.Manager { return &mgr } })
		n := s.joined(0, 1)
		s.send(n, "R 1 rst=5", func(g *wire.Segment) { g.MP.Rst.Transient = transient })
		if len(mgr.transient) != 1 || mgr.transient[0] != transient {
			t.Errorf("told %v, want %t", mgr.transient, transient)
		}
	}
}

// J2: the identifier in a join that we accept is the one a REMOVE_ADDR will name.
func TestJ2_IdentifierOfAnAcceptedJoin(t *testing.T) {
	s := accept(t)
	s.joined(0, 2)
	if got := s.c.Stats().Subflows[1].AddrID; got != 2 {
		t.Errorf("identifier %d", got)
	}
}
