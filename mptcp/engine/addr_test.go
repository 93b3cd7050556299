package engine

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/scheduler"
	"github.com/mpnc/mpnc/subflow"
)

// P1: a wrong HMAC: silence.
func TestP1_WrongHMAC(t *testing.T) {
	s := dial(t)
	told := len(s.mgr.told)
	s.send(0, ". 1 ack 1 add5=10.0.1.2", func(g *wire.Segment) { g.MP.Add.MAC++ })
	s.expectNothing()
	if len(s.mgr.told) != told || s.c.Stats().AddAddrRx != 0 {
		t.Errorf("the manager was told %v", s.mgr.told[told:])
	}
}

// P2: the golden vectors, on the wire: we are B and advertise 10.9.0.2
// under identifier 5.
func TestP2_P10_Vector(t *testing.T) {
	s := listening(t)
	s.rand.next = []uint64{peerKey}
	s.peerKey, s.key = ourKey, peerKey
	s.send(0, "S 0 mpc4")
	s.expect(0, "S. 0 ack 1 mpc12")
	s.send(0, ". 1 ack 1 mpc20")
	s.expect(0, ". 1 ack 1 A1")
	for i := range 4 {
		s.c.localID(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
	}
	s.send(0, ". 1+1 ack 1 mpc22=1")
	s.ignore(0)
	s.command(pathmgr.Advertise{Local: pathmgr.Local{Addr: netip.MustParseAddr("10.9.0.2")}})
	if got := raw(s.expect(0, ". 1 ack 2 add5=10.9.0.2")); got != "1e103005"+"0a090002"+"f0e356b88da16821" {
		t.Errorf("option %s", got)
	}
	s.expect(0, ". 1 ack 2 A2") // P10: alone, the DATA_ACK follows
	s.expectNothing()
}

// P3: an ADD_ADDR is echoed, used or not, with what it had and no HMAC.
func TestP3_Echo(t *testing.T) {
	for _, v := range []struct{ add, raw string }{
		{"10.9.0.2", "1e083105" + "0a090002"},
		{"10.9.0.2:10100", "1e0a3105" + "0a090002" + "2774" + "0101"},
		{"2001:db8::2", "1e143105" + "20010db8000000000000000000000002"},
		{"[2001:db8::2]:10100", "1e163105" + "20010db8000000000000000000000002" + "2774" + "0101"},
	} {
		s := dial(t)
		s.send(0, ". 1 ack 1 add5="+v.add)
		if got := raw(s.expect(0, ". 1 ack 1 echo5="+v.add)); got != v.raw {
			t.Errorf("%s: option %s", v.add, got)
		}
		s.expect(0, ". 1 ack 1 A1")
		s.expectNothing()
	}
}

// Two at once are both echoed.
func TestP3_TwoAtOnce(t *testing.T) {
	s := dial(t)
	s.deliver(s.segment(0, ". 1 ack 1 add5=10.9.0.2"))
	s.deliver(s.segment(0, ". 1 ack 1 add6=10.9.0.3"))
	s.poll()
	out := s.ignore(0)
	if !contains(out, ". 1 ack 1 echo5=10.9.0.2") || !contains(out, ". 1 ack 1 echo6=10.9.0.3") {
		t.Errorf("sent %q", out)
	}
	if out[len(out)-1] != ". 1 ack 1 A1" {
		t.Errorf("no DATA_ACK after them: %q", out)
	}
}

// P4: without an echo ADD_ADDR comes again, three times at most, with back-off.
func TestP4_Repetition(t *testing.T) {
	s := accept(t)
	s.send(0, ". 1+1 ack 1 mpc22=1")
	s.ignore(0)
	s.localUp(1)
	s.command(pathmgr.Advertise{Local: s.local(1)})
	s.expect(0, ". 1 ack 2 add1=10.0.1.1")
	s.expect(0, ". 1 ack 2 A2")
	s.advance(time.Hour)
	n := 0
	for _, l := range s.ignore(0) {
		if strings.Contains(l, "add1=") {
			n++
		}
	}
	if n != 3 {
		t.Errorf("repeated %d times", n)
	}

	// An echo ends it, and lets the next address go.
	s = accept(t)
	s.send(0, ". 1+1 ack 1 mpc22=1")
	s.ignore(0)
	s.command(pathmgr.Advertise{Local: s.local(1)}, pathmgr.Advertise{Local: s.local(2), Port: 8080})
	s.expect(0, ". 1 ack 2 add1=10.0.1.1")
	s.expect(0, ". 1 ack 2 A2")
	s.expectNothing()
	s.send(0, ". 2 ack 1 echo1=10.0.1.1")
	s.expect(0, ". 1 ack 2 add2=10.0.2.1:8080")
	s.expect(0, ". 1 ack 2 A2")
	s.send(0, ". 2 ack 1 echo2=10.0.2.1:8080")
	s.advance(time.Hour)
	s.expectNothing()
}

// W3: four addresses in a queue are not four option-only ACKs back to back.
func TestW3_FewOptionOnlyACKs(t *testing.T) {
	s := accept(t)
	s.send(0, ". 1+1 ack 1 mpc22=1")
	s.ignore(0)
	var do []pathmgr.Command
	for i := range 4 {
		do = append(do, pathmgr.Advertise{Local: pathmgr.Local{Addr: netip.AddrFrom4([4]byte{10, 1, 1, byte(i)})}})
	}
	s.command(do...)
	if out := s.ignore(0); len(out) > 2 {
		t.Errorf("sent %q", out)
	}
}

// Everything that waits for a pure ACK goes out, in as many as it takes, and
// the last has the DATA_ACK.
func TestP10_ManySignalsAtOnce(t *testing.T) {
	s := dial(t, func(c *Config) { c.NoTimestamps = false })
	s.localUp(1)
	s.localUp(2)
	n := s.join(1, 0)
	m := s.join(2, 0)
	s.send(0, "R. 1 ack 1")
	s.ignore(0)
	s.deliver(s.segment(n, ". 1 ack 1 add5=10.9.0.2"))
	s.mgr.do = []pathmgr.Command{
		pathmgr.Advertise{Local: s.local(0)}, pathmgr.SetBackup{ID: 1, Backup: true}, pathmgr.Withdraw{Addr: ours[2]},
	}
	s.c.HandleLocal(s.now, pathmgr.RouteChanged{})
	s.poll()
	_ = m
	all := strings.Join(s.legs[n].out, "\n")
	for _, want := range []string{" echo5=10.9.0.2", " add0=10.0.0.1", " prio+", " rm=2"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if out := s.ignore(n); !strings.Contains(out[len(out)-1], " A1") {
		t.Errorf("no DATA_ACK at last: %q", out)
	}
}

// A keepalive lies outside the peer's window: options on it would be lost.
func TestW1_NoSignalsOnProbes(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	p := s.c.pathOf(s.legs[n].tuple)
	s.mgr.do = []pathmgr.Command{pathmgr.SetBackup{ID: 1, Backup: true}}
	p.keepalive()
	s.c.HandleLocal(s.now, pathmgr.RouteChanged{})
	s.poll()
	out := s.ignore(n)
	if !contains(out, ". 0 ack 1 A1") || !contains(out, ". 1 ack 1 A1 prio+") {
		t.Errorf("sent %q", out)
	}
	// One that finds nothing to keep back leaves nothing behind.
	p.keepalive()
	s.poll()
	s.expect(n, ". 0 ack 1 A1")
	s.command(pathmgr.SetBackup{ID: 1, Backup: false})
	s.expect(n, ". 1 ack 1 A1 prio-")
	s.expectNothing()
}

// P5, L89: without a port, that of the first subflow; else the one given.
func TestP5_Port(t *testing.T) {
	for add, want := range map[string]uint16{"10.0.1.2": 80, "10.0.1.2:81": 81} {
		s := dial(t, func(c *Config) { c.Manager = pathmgr.NewFullMesh })
		s.localUp(0)
		s.send(0, ". 1 ack 1 add5="+add)
		if len(s.wants) != 1 || s.wants[0].Remote != netip.AddrPortFrom(theirs[1], want) {
			t.Errorf("%s: wanted %+v", add, s.wants)
		}
		var heard bool
		for _, ev := range s.events {
			_, ok := ev.(PeerAddress)
			heard = heard || ok
		}
		if !heard {
			t.Error("the driver did not hear of it")
		}
	}
}

// P6: an identifier belongs to one address until it is withdrawn; P7: the same
// again is no other subflow.
func TestP6_P7_IdentifierIsFixed(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1 ack 1 add5=10.0.1.2")
	s.send(0, ". 1 ack 1 add5=10.0.2.2")
	s.send(0, ". 1 ack 1 add5=10.0.1.2")
	s.ignore(0)
	if got := s.mgr.view.Peers; len(got) != 1 || got[0].Addr != netip.AddrPortFrom(theirs[1], 80) {
		t.Errorf("peers %v", got)
	}
	s.send(0, ". 1 ack 1 A1 rm=5")
	if got := s.mgr.view.Peers; len(got) != 0 {
		t.Errorf("peers %v", got)
	}
	s.send(0, ". 1 ack 1 add5=10.0.2.2:81")
	if got := s.mgr.view.Peers; len(got) != 1 || got[0].Addr != netip.AddrPortFrom(theirs[2], 81) {
		t.Errorf("peers %v", got)
	}
	// Another port is another attempt.
	s.send(0, ". 1 ack 1 add5=10.0.2.2:82")
	if got := s.mgr.view.Peers; len(got) != 1 || got[0].Addr.Port() != 82 {
		t.Errorf("peers %v", got)
	}
}

// A REMOVE_ADDR that is late: the identifier was given to another address, and the
// ADD_ADDR of that came first, by a faster path. It is not echoed, so the peer
// repeats it, and then it is taken.
func TestP6_P11_RemovalOvertakenByReuse(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.send(0, ". 1 ack 1 add5=10.0.1.2")
	s.expectOne(0, ". 1 ack 1 echo5=10.0.1.2")
	s.ignore(0)
	s.send(n, ". 1 ack 1 add5=10.0.2.2")
	for _, l := range s.ignore(n) {
		if strings.Contains(l, "echo") {
			t.Errorf("sent %q", l)
		}
	}
	s.send(0, ". 1 ack 1 A1 rm=5")
	if got := s.mgr.view.Peers; len(got) != 0 {
		t.Fatalf("peers %v", got)
	}
	s.send(n, ". 1 ack 1 add5=10.0.2.2")
	s.expectOne(n, ". 1 ack 1 echo5=10.0.2.2")
	if got := s.mgr.view.Peers; len(got) != 1 || got[0].Addr.Addr() != theirs[2] {
		t.Errorf("peers %v", got)
	}
}

// A REMOVE_ADDR that comes when its identifier already has another address, with a
// subflow on it: nothing tells what was meant. The subflow answers the probe and
// stays, and the address counts as advertised again.
func TestP11_RemovalAfterReuse(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	s.send(0, ". 1 ack 1 add5=10.0.1.2")
	s.send(0, ". 1 ack 1 A1 rm=5")
	s.send(0, ". 1 ack 1 add5=10.0.2.2")
	s.ignore(0)
	n := s.join(1, 2)
	s.c.pathOf(s.legs[n].tuple).remoteID = 5
	s.ignore(0)
	s.send(0, ". 1 ack 1 A1 rm=5") // the first one once more
	s.advance(600 * ms)
	if !contains(s.legs[n].out, ". 0 ack 1 A1") {
		t.Errorf("no keepalive in %q", s.legs[n].out)
	}
	s.send(n, ". 1 ack 1 A1")
	s.advance(5 * time.Second)
	s.expectState(n, subflow.StateEstablished)
	if got := s.mgr.view.Peers; len(got) != 1 || got[0].Addr.Addr() != theirs[2] || got[0].ID != 5 {
		t.Errorf("peers %v", got)
	}
}

// P7, P8: one subflow for one pair, however often it is advertised.
func TestP7_P8_OneSubflowForAPair(t *testing.T) {
	s := dial(t, func(c *Config) { c.Manager = pathmgr.NewFullMesh })
	s.localUp(0)
	s.send(0, ". 1 ack 1 add5=10.0.1.2")
	s.send(0, ". 1 ack 1 add5=10.0.1.2")
	if len(s.wants) != 1 {
		t.Fatalf("wanted %+v", s.wants)
	}
	n := s.bind()
	s.send(0, ". 1 ack 1 add5=10.0.1.2")
	s.ignore(0)
	s.send(n, "S. 0 ack 1 mpj16 id=5")
	s.send(n, ". 1 ack 1 A1")
	s.send(0, ". 1 ack 1 add5=10.0.1.2")
	if len(s.wants) != 0 {
		t.Errorf("wanted %+v", s.wants)
	}
}

// P12: unknown identifiers are nothing; a list has many.
func TestP12_RemoveList(t *testing.T) {
	s := dial(t)
	for i := 1; i <= 3; i++ {
		s.send(0, fmt.Sprintf(". 1 ack 1 add%d=10.9.0.%d", i, i))
	}
	s.ignore(0)
	s.send(0, ". 1 ack 1 A1 rm=99")
	s.expectNothing()
	if len(s.mgr.view.Peers) != 3 {
		t.Fatalf("peers %v", s.mgr.view.Peers)
	}
	s.send(0, ". 1 ack 1 A1 rm=1,2,3")
	if len(s.mgr.view.Peers) != 0 {
		t.Errorf("peers %v", s.mgr.view.Peers)
	}
	if got := s.c.Stats().RmAddrRx; got != 4 {
		t.Errorf("%d addresses withdrawn are counted, not 4", got)
	}
	// Identifier 0 on the only subflow does not end it.
	s.send(0, ". 1 ack 1 A1 rm=0")
	s.advance(time.Minute)
	s.expectMultipath()
	s.expectState(0, subflow.StateEstablished)
}

// P11, the stance: a withdrawn address is not used, and its data goes elsewhere
// at once; a keepalive decides whether the subflow ends.
func TestP11_RemoveAddr(t *testing.T) {
	for _, answers := range []bool{true, false} {
		s := dial(t)
		s.localUp(1)
		n := s.join(1, 1)
		s.c.pathOf(s.legs[n].tuple).remoteID = 5
		s.steer.to = 1
		s.write(100)
		s.expectOne(n, ". 1+100")
		s.send(0, ". 1 ack 1 A1 rm=5")
		s.expect(0, ". 1+100 ack 1 A1 M1:1:100")
		s.advance(600 * ms)
		if !contains(s.legs[n].out, ". 0 ack 1 A1") {
			t.Errorf("no keepalive in %q", s.legs[n].out)
		}
		if answers {
			s.send(n, ". 1 ack 101 A101")
		}
		s.send(0, ". 1 ack 101 A101")
		s.advance(5 * time.Second)
		want := subflow.StateClosed
		if got := s.ignore(n); !answers && got[len(got)-1] != "R. 101 ack 1 rst=0" {
			t.Errorf("no RST at the end of %q", got)
		}
		if answers {
			want = subflow.StateEstablished
		}
		s.expectState(n, want)
		s.expectMultipath()
	}
}

// P13: what we withdraw ourselves: FIN on the subflow, REMOVE_ADDR on another.
func TestP13_ManagerClosesAndWithdraws(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.command(pathmgr.Close{ID: 1}, pathmgr.Withdraw{Addr: ours[1]})
	s.expect(n, "F. 1 ack 1 A1")
	s.expect(0, ". 1 ack 1 A1 rm=1")
	s.expectNothing()
	s.send(n, "F. 1 ack 2 A1")
	s.expectOne(n, ". 2 ack 2 A1")
	s.expectMultipath()
}

// P14: MP_PRIO is about its subflow, and the peer's wish is for our data.
func TestP14_Priority(t *testing.T) {
	s := dial(t, func(c *Config) { c.Scheduler = scheduler.NewMinRTT })
	s.localUp(1)
	n := s.join(1, 0)
	s.send(0, ". 1 ack 1 A1 prio+")
	s.write(100)
	s.expectOne(n, ". 1+100")
	s.send(n, ". 1 ack 101 A101")
	s.send(0, ". 1 ack 1 A101 prio-")
	s.send(n, ". 1 ack 101 A101 prio+")
	s.write(100)
	s.expectOne(0, ". 1+100")
	s.send(0, ". 1 ack 101 A201")
	// The ordinary subflow dies: the backup serves.
	s.send(0, "R. 1 ack 101")
	s.write(100)
	s.expectOne(n, ". 101+100")
	// Ours, once, on a pure ACK of that subflow.
	s.send(n, ". 1 ack 201 A301 prio-")
	s.command(pathmgr.SetBackup{ID: 1, Backup: true})
	s.expect(n, ". 201 ack 1 A1 prio+")
	s.expectNothing()
}

// P15: the form of version 0, with an identifier, is nothing.
func TestP15_PriorityWithIdentifier(t *testing.T) {
	s := dial(t)
	var b wire.Batch
	b.Slab = make([]byte, 0, 2000)
	g := s.segment(0, ". 1 ack 1")
	g.Tuple = wire.Tuple{Local: g.Remote, Remote: g.Local}
	g.Opt.MSS = 1
	wire.AppendSegment(&b, g, 0)
	pkt := b.Bytes(0)
	copy(pkt[40:44], []byte{30, 4, 0x51, 0})
	fixChecksum(pkt)
	s.deliverPacket(pkt, 1)
	s.poll()
	if s.c.paths[0].peerBackup || s.c.Stats().MPPrioRx != 0 {
		t.Error("it counts")
	}
	s.expectNothing()
}

// P16: many addresses are not many SYNs.
func TestP16_ManyAddresses(t *testing.T) {
	s := dial(t, func(c *Config) { c.Manager = pathmgr.NewFullMesh })
	s.localUp(0)
	syns := 0
	for i := 1; i < 256; i++ {
		s.send(0, fmt.Sprintf(". 1 ack 1 add%d=10.9.1.%d", i, i))
		s.send(0, fmt.Sprintf(". 1 ack 1 A1 rm=%d", i))
		syns += len(s.wants)
		s.wants = nil
		s.c.mgr.wanted = nil // refused by the driver
		s.ignore(0)
	}
	if syns > 16 {
		t.Errorf("%d joins started", syns)
	}
	for i := 1; i < 256; i++ {
		s.send(0, fmt.Sprintf(". 1 ack 1 add%d=10.9.1.%d", i, i))
	}
	if len(s.c.addrs.peers) > maxPeers {
		t.Errorf("%d addresses kept", len(s.c.addrs.peers))
	}
}
