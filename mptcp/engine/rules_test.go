package engine

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/scheduler"
	"github.com/mpnc/mpnc/subflow"
)

// Rules of RFC 8684 that no other file's tests show.

// W8: the application sees the addresses of the first subflow, when that has
// long gone.
func TestW8_AddressesOfTheFirstSubflow(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 1)
	s.send(0, "R 1")
	s.expectState(0, subflow.StateClosed)
	s.send(n, ". 1+10 ack 1 A1 M1:1:10")
	s.expectRead(10)
	if s.c.LocalAddr() != netip.AddrPortFrom(ours[0], 1000) || s.c.RemoteAddr() != netip.AddrPortFrom(theirs[0], 80) {
		t.Errorf("from %v to %v", s.c.LocalAddr(), s.c.RemoteAddr())
	}
}

// D6: a mapping covers a part of its segment, however it is cut and resent.
func TestD6_MappingTouchesItsSegment(t *testing.T) {
	s := accept(t, func(c *Config) { c.Scheduler = func() scheduler.Scheduler { return whole{} } })
	s.write(14000)
	s.send(0, ". 1 ack 2001 A2001")
	s.advance(3 * time.Second)
	s.closeWrite()
	data := 0
	for _, g := range s.legs[0].segs {
		if len(g.Payload) == 0 {
			continue
		}
		data++
		d, at := &g.MP.DSS, g.Seq.Sub(s.legs[0].ourISS)
		if from := int(d.SSN); !d.HasMap || from >= at+len(g.Payload) || from+int(d.Length) <= at {
			t.Errorf("octets %d to %d with a mapping of %d from %d on", at, at+len(g.Payload), d.Length, from)
		}
	}
	if data < 12 {
		t.Fatalf("only %d segments", data)
	}
}

// A8: unless it is set, the send buffer takes as much as the receive buffer.
func TestA8_SendBuffer(t *testing.T) {
	for _, recv := range []int{0, 60000, 9 << 20} {
		s := dialing(t, func(c *Config) { c.SendBuffer, c.RecvBuffer = 0, recv })
		if sb, rb := s.e.cfg.SendBuffer, s.e.cfg.RecvBuffer; sb < rb || s.c.snd.Free() != sb {
			t.Errorf("send buffer %d (%d), receive buffer %d", sb, s.c.snd.Free(), rb)
		}
	}
}

// E1: keys go on MP_CAPABLE only, and on MP_FASTCLOSE once the connection is at
// its end; and no two connections have one.
func TestE1_KeysAreShownOnlyAtTheEnds(t *testing.T) {
	s := dial(t)
	var heard []wire.Segment
	note := func() {
		for _, lg := range s.legs {
			heard = append(heard, lg.segs...)
			lg.out, lg.segs = nil, nil
		}
	}
	s.localUp(1)
	n := s.open(1, 0)
	note()
	s.send(n, "S. 0 ack 1 mpj16")
	s.send(n, ". 1 ack 1 A1")
	s.write(3000)
	s.command(pathmgr.Advertise{Local: s.local(2)}, pathmgr.SetBackup{ID: 1, Backup: true})
	m := s.addLeg(legTuple(0, 2, 1000, 4000))
	s.send(m, "S 0 mpj12 id=2")
	s.send(m, ". 1 ack 1") // no HMAC: it is reset
	s.command(pathmgr.Close{ID: 1}, pathmgr.Withdraw{Addr: ours[1]})
	note()
	if len(heard) < 8 {
		t.Fatalf("%d segments", len(heard))
	}
	for _, g := range heard {
		if g.MP.Has&(wire.MPCapable|wire.FastClose) != 0 {
			t.Errorf("keys on %v", g)
		}
		b := wire.NewBatch(70000)
		g.Payload = nil
		wire.AppendSegment(b, &g, 0)
		for _, key := range []uint64{s.key, s.peerKey} {
			if bytes.Contains(b.Bytes(0), binary.BigEndian.AppendUint64(nil, key)) {
				t.Errorf("a key in %v", g)
			}
		}
	}
	s.abort()
	s.expectOne(0, "R. 3001 ack 1 fast")
}

// O2, O3: what a SYN carries without a good cookie is not taken: not in the
// stream, and not in the numbers of the subflow. It comes again, mapped.
func TestO2_O3_DataOnASYN(t *testing.T) {
	s := listening(t)
	s.send(0, "S 0+20 mpc4")
	s.expect(0, "S. 0 ack 1 mpc12")
	s.send(0, ". 1+20 ack 1 mpc22=20")
	s.expectMultipath()
	s.expectAck(0, "21 A21")
	s.expectRead(20)
}

// O4: data before the third packet arrived has a mapping, and no DATA_ACK: its
// sender does not know our key yet.
func TestO4_DataWithoutDataAck(t *testing.T) {
	s := dialing(t)
	s.send(0, "S. 0 ack 1 mpc12")
	s.ignore(0)
	s.send(0, ". 1+10 ack 1 M1:1:10")
	s.expectMultipath()
	s.expectRead(10)
	s.write(10)
	s.ignore(0)
	s.send(0, ". 11 ack 11 A11")
	s.expectMultipath()
}

// P9: addresses that are of no use here are echoed, and that is all: of a family
// that we have no address of, and those that lead nowhere.
func TestP9_AddressesOfNoUse(t *testing.T) {
	s := dial(t, func(c *Config) { c.Manager = pathmgr.NewFullMesh })
	s.localUp(0)
	for i, a := range []string{"2001:db8::2", "[2001:db8::2]:81", "127.0.0.1", "169.254.1.1", "ff02::1", "0.0.0.0", "224.0.0.1"} {
		s.send(0, ". 1 ack 1 add"+itoa(3+i)+"="+a)
		s.expectOne(0, ". 1 ack 1 echo"+itoa(3+i)+"="+a)
		s.ignore(0)
		if len(s.wants) > 0 {
			t.Errorf("%s: a join to %v", a, s.wants[0].Remote)
			s.wants = nil
		}
	}
	s.expectMultipath()
}

// D17: a path that does not get its data across for the user timeout is reset,
// as bad, and the data goes on the other.
func TestD17_HopelessSubflow(t *testing.T) {
	s := dial(t, func(c *Config) { c.UserTimeout = 20 * time.Second })
	s.localUp(1)
	n := s.join(1, 0)
	s.steer.to = 1
	s.write(100)
	s.expectOne(n, ". 1+100")
	s.steer.to = 0
	s.advance(time.Second)
	if !contains(s.legs[0].out, ". 1+100 ack 1 A1 M1:1:100") {
		t.Fatalf("on the other path %q", s.legs[0].out)
	}
	s.send(0, ". 1 ack 101 A101")
	for range 30 {
		s.advance(time.Second)
		s.send(0, ". 1 ack 101 A101")
	}
	out := s.legs[n].out
	if got := out[len(out)-1]; got != "R. 101 ack 1 rst=5" {
		t.Errorf("at last %q", got)
	}
	s.expectMultipath()
}

// J15: joins of one pair of addresses and ports cross: the one of the side that
// opened the connection holds, and one subflow comes of it.
func TestJ15_CrossingJoins(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.open(1, 1)
	s.expectOne(n, "S 0 mpj12")
	s.send(n, "S 0 mpj12 id=1")
	s.expectNothing()
	s.send(n, "S. 0 ack 1 mpj16 id=1")
	s.expectOne(n, ". 1 ack 1 mpj24")
	s.send(n, ". 1 ack 1 A1")
	s.expectState(n, subflow.StateEstablished)
	s.expectMultipath()

	s = accept(t)
	s.send(0, ". 1 ack 1 A1")
	s.localUp(1)
	n = s.open(1, 1)
	s.expectOne(n, "S 0 mpj12")
	s.send(n, "S 0 mpj12 id=1")
	s.expectOne(n, "S. 0 ack 1 mpj16")
	s.send(n, ". 1 ack 1 mpj24")
	s.expectOne(n, ". 1 ack 1 A1")
	s.expectState(n, subflow.StateEstablished)
	if sf := s.c.Stats().Subflows; len(sf) != 2 || sf[1].Active {
		t.Errorf("subflows %+v", sf)
	}
	s.expectMultipath()

	// With other ports both come up.
	s = dial(t)
	s.localUp(1)
	n = s.open(1, 1)
	m := s.addLeg(legTuple(1, 1, 80, 7000))
	s.e.Hold(netip.AddrPortFrom(ours[1], 80))
	s.send(m, "S 0 mpj12 id=1")
	s.ignore(m)
	s.send(m, ". 1 ack 1 mpj24")
	s.send(n, "S. 0 ack 1 mpj16 id=1")
	s.send(n, ". 1 ack 1 A1")
	for _, i := range []int{n, m} {
		if p := s.c.pathOf(s.legs[i].tuple); p == nil || !p.up {
			t.Errorf("leg %d is not up", i)
		}
	}
}

// eager is a manager that opens a path as soon as it is asked anything.
type eager struct{ done bool }

func (e *eager) Handle(_ pathmgr.Time, _ pathmgr.Event, v *pathmgr.View, do []pathmgr.Command) []pathmgr.Command {
	if !e.done {
		e.done = true
		do = append(do, pathmgr.Open{Local: pathmgr.Local{Addr: v.Local.Addr(), Link: 1}, Remote: netip.AddrPortFrom(theirs[1], 80)})
	}
	return do
}

// H22: a server's manager too opens nothing before a DSS was heard; what it
// asked for is not forgotten.
func TestH22_ServersManagerWaits(t *testing.T) {
	s := accept(t, func(c *Config) { c.Manager = func() pathmgr.Manager { return &eager{} } })
	if len(s.wants) != 0 {
		t.Fatal("a path is wanted before any DSS")
	}
	s.send(0, ". 1 ack 1 A1")
	if len(s.wants) != 1 || s.wants[0].Remote != netip.AddrPortFrom(theirs[1], 80) {
		t.Errorf("wanted %v", s.wants)
	}
}

// P2, P10: an address with all that belongs to it, beside timestamps: none of
// the four forms is too long, and each has its HMAC.
func TestP2_P10_FormsBesideTimestamps(t *testing.T) {
	for _, v := range []struct {
		addr string
		port uint16
	}{{"10.0.2.1", 0}, {"10.0.2.1", 10100}, {"2001:db8::2", 0}, {"2001:db8::2", 10100}} {
		s := dial(t, func(c *Config) { c.NoTimestamps = false })
		a := netip.MustParseAddr(v.addr)
		s.command(pathmgr.Advertise{Local: pathmgr.Local{Addr: a, Link: 1}, Port: v.port})
		want := "add1=" + v.addr
		if v.port != 0 {
			want = "add1=" + netip.AddrPortFrom(a, v.port).String()
		}
		s.expect(0, ". 1 ack 1 "+want)
		s.expect(0, ". 1 ack 1 A1")
		s.send(0, ". 1 ack 1 echo"+want[3:])
		s.advance(time.Minute)
		s.expectNothing()
	}
}
