package engine

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/subflow"
)

func wrongMAC(s *wire.Segment) { s.MP.Join.MAC[3] ^= 1 }

// The vectors of a join between two kernels, A having opened: nonces e82e6df7
// and 0a3ad9bd.
func TestJ1_J4_J7_Vectors(t *testing.T) {
	s := dial(t)
	s.rand.next = []uint64{0xe82e6df7 << 32}
	s.localUp(1)
	n := s.open(1, 0)
	s.legs[n].peerNonce = 0x0a3ad9bd
	if got := raw(s.expect(n, "S 0 mpj12 id=1")); got != "1e0c1001"+"df73ec59"+"e82e6df7" {
		t.Errorf("SYN: %s", got)
	}
	syn := s.segment(n, "S. 0 ack 1 mpj16 id=5")
	if got := hex.EncodeToString(syn.MP.Join.MAC[:8]); got != "9e7720a3f9867027" {
		t.Errorf("SYN/ACK of the peer: %s", got)
	}
	s.deliver(syn)
	s.poll()
	if got := raw(s.expect(n, ". 1 ack 1 mpj24")); got != "1e181000"+"2472ddfc99adb6dd6dfcfe19a3e50c114679be2f" {
		t.Errorf("third packet: %s", got)
	}

	// The other side of the same exchange: we are B.
	b := listening(t)
	b.rand.next = []uint64{peerKey}
	b.peerKey, b.key = ourKey, peerKey
	b.send(0, "S 0 mpc4")
	b.expect(0, "S. 0 ack 1 mpc12")
	b.send(0, ". 1 ack 1 mpc20")
	b.expect(0, ". 1 ack 1 A1")
	n = b.addLeg(legTuple(1, 1, 80, 1000))
	b.legs[n].peerNonce = 0xe82e6df7
	b.rand.next = []uint64{0x0a3ad9bd << 32}
	b.send(n, "S 0 mpj12 id=1")
	if got := raw(b.expectOne(n, "S. 0 ack 1 mpj16")); got != "1e101001"+"9e7720a3f9867027"+"0a3ad9bd" {
		t.Errorf("SYN/ACK: %s", got)
	}
	b.send(n, ". 1 ack 1 mpj24")
	b.expect(n, ". 1 ack 1 A1")
}

// Two attempts never have one nonce.
func TestJ1_FreshNonce(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.open(1, 0)
	s.expect(n, "S 0 mpj12 id=1")
	first := s.legs[n].ourNonce
	s.send(n, "R. 0 ack 1")
	m := s.open(1, 0)
	s.expect(m, "S 0 mpj12 id=1")
	if s.legs[m].ourNonce == first {
		t.Error("the nonce came again")
	}
	// … but a SYN sent again is the same attempt.
	again := s.legs[m].ourNonce
	s.advance(time.Second)
	s.expect(m, "S 0 mpj12 id=1")
	if s.legs[m].ourNonce != again {
		t.Error("another nonce within one attempt")
	}
}

// Identifier 0 is the first subflow's address; others have one each for good.
func TestJ2_AddressIdentifiers(t *testing.T) {
	s := dial(t)
	s.localUp(0)
	s.localUp(1)
	s.localUp(2)
	a := s.open(1, 0)
	s.expect(a, "S 0 mpj12 id=1")
	b := s.open(2, 0)
	s.expect(b, "S 0 mpj12 id=2")
	s.command(pathmgr.Open{Local: s.local(0), Remote: netip.AddrPortFrom(theirs[1], 80)})
	c := s.bind()
	s.expect(c, "S 0 mpj12 id=0")
	s.send(a, "R. 0 ack 1")
	d := s.open(1, 0)
	s.expect(d, "S 0 mpj12 id=1")
}

// The peer's identifier in its SYN/ACK is kept: its REMOVE_ADDR means this
// subflow.
func TestJ2_PeerIdentifierIsKept(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.open(1, 0)
	s.ignore(n)
	s.send(n, "S. 0 ack 1 mpj16 id=7")
	s.ignore(n)
	s.send(n, ". 1 ack 1 A1")
	s.send(0, ". 1 ack 1 A1 rm=7")
	s.advance(time.Second)
	s.expectOne(n, ". 0 ack 1") // the keepalive of Section 3.4.2
	s.expectOne(n, "R. 1 ack 1")
	s.expectNothing()
}

// Joins are for a connection, whatever port they come to, if it is one of ours.
func TestJ3_JoinOnAnyPort(t *testing.T) {
	s := accept(t)
	n := s.addLeg(legTuple(1, 1, 1000, 5555))
	s.send(n, "S 0 mpj12 id=1")
	s.expectOne(n, "S. 0 ack 1 mpj16")
	// Not one that we hold: no answer at all.
	m := s.addLeg(legTuple(1, 1, 81, 5555))
	s.send(m, "S 0 mpj12 id=1")
	s.expectNothing()
	if s.verdict != Ignore {
		t.Errorf("verdict %v", s.verdict)
	}
}

func TestJ5_UnknownToken(t *testing.T) {
	s := accept(t)
	n := s.addLeg(legTuple(0, 1, 80, 1000))
	s.send(n, "S 0 mpj12 id=1", func(g *wire.Segment) { g.MP.Join.Token++ })
	if got := raw(s.expect(n, "R. 0 ack 1 rst=1")); got != "1e048001" {
		t.Errorf("option %s", got)
	}
	s.expectMultipath()
}

// A listener bound to one address takes no join on another.
func TestJ5_JoinOutsideBoundAddress(t *testing.T) {
	s := newScript(t)
	if _, err := s.e.Listen(netip.AddrPortFrom(ours[0], 80), 16); err != nil {
		t.Fatal(err)
	}
	s.addLeg(legTuple(0, 0, 80, 1000))
	s.send(0, "S 0 mpc4")
	s.expect(0, "S. 0 ack 1 mpc12")
	s.send(0, ". 1 ack 1 mpc20")
	s.ignore(0)
	n := s.addLeg(legTuple(1, 1, 80, 1000))
	s.send(n, "S 0 mpj12 id=1")
	s.expect(n, "R. 0 ack 1 rst=1")
}

// A SYN/ACK without MP_JOIN, or a wrong one: RST(1), and the connection lives.
func TestJ6_WrongHMACResetsJoinOnly(t *testing.T) {
	for _, v := range []struct {
		name, answer string
		mangle       mangler
	}{
		{"plain", "S. 0 ack 1", func(*wire.Segment) {}},
		{"MP_CAPABLE", "S. 0 ack 1 mpc12", func(*wire.Segment) {}},
		{"wrong HMAC", "S. 0 ack 1 mpj16", wrongMAC},
	} {
		t.Run(v.name, func(t *testing.T) {
			s := dial(t)
			s.localUp(1)
			n := s.open(1, 0)
			s.ignore(n)
			s.send(n, v.answer, v.mangle)
			s.expect(n, "R. 1 ack 1 rst=1")
			s.expectState(n, subflow.StateClosed)
			s.expectMultipath()
			s.write(10)
			s.expectOne(0, ". 1+10 ack 1")
		})
	}
}

// The third packet is sent again until it is acknowledged; data goes elsewhere
// meanwhile.
func TestJ8_ThirdPacketIsRepeated(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.open(1, 0)
	s.ignore(n)
	s.advance(10 * ms)
	s.send(n, "S. 0 ack 1 mpj16")
	s.expect(n, ". 1 ack 1 mpj24")
	s.steer.to = 1
	s.write(10)
	s.expectOne(0, ". 1+10 ack 1")
	s.send(0, ". 1 ack 11 A11")
	s.advance(time.Second)
	s.expect(n, ". 1 ack 1 mpj24")
	s.expect(n, ". 1 ack 1 mpj24")
	s.expectNothing()
	s.send(n, "S. 0 ack 1 mpj16") // our third packet was lost
	s.expect(n, ". 1 ack 1 mpj24")
	s.send(n, ". 1 ack 1 A11")
	s.write(10)
	s.expect(n, ". 1+10 ack 1 A1 M11:1:10")

	// It ends at some time.
	m := s.open(1, 1)
	s.ignore(m)
	s.send(m, "S. 0 ack 1 mpj16")
	s.send(n, ". 1 ack 11 A21")
	s.advance(2 * time.Minute)
	out := s.ignore(m)
	if len(out) < 4 || len(out) > 12 || out[len(out)-1] != "R. 1 ack 1 rst=1" {
		t.Errorf("sent %q", out)
	}
}

// A good third packet is acknowledged at once, and its copies too; before any
// data, and twice, for Linux resets a joined subflow on which data beyond a hole
// arrives before that.
func TestJ9_FourthPacket(t *testing.T) {
	s := accept(t)
	n := s.addLeg(legTuple(0, 1, 80, 1000))
	s.send(n, "S 0 mpj12 id=1")
	s.expect(n, "S. 0 ack 1 mpj16 id=0")
	s.c.Write(s.now, pattern(1, 20000, true)) // more than the first path takes
	s.poll()
	s.ignore(0)
	s.steer.to = 1
	s.send(n, ". 1 ack 1 mpj24")
	s.expect(n, ". 1 ack 1 A1")
	s.expect(n, ". 1 ack 1 A1")
	s.expectOne(n, ". 1+")
	s.ignore(n)
	s.send(n, ". 1 ack 1 mpj24")
	s.expectOne(n, ". ")
	s.expectNothing()
}

func TestJ10_BadThirdPacket(t *testing.T) {
	for _, v := range []struct {
		name, third string
		mangle      mangler
	}{
		{"plain", ". 1 ack 1", func(*wire.Segment) {}},
		{"DSS", ". 1 ack 1 A1", func(*wire.Segment) {}},
		{"data", ". 1+10 ack 1 A1 M1:1:10", func(*wire.Segment) {}},
		{"wrong HMAC", ". 1 ack 1 mpj24", wrongMAC},
		{"wrong HMAC, last octet", ". 1 ack 1 mpj24", func(g *wire.Segment) { g.MP.Join.MAC[19] ^= 1 }},
	} {
		t.Run(v.name, func(t *testing.T) {
			s := accept(t)
			n := s.addLeg(legTuple(0, 1, 80, 1000))
			s.send(n, "S 0 mpj12 id=1")
			s.ignore(n)
			s.send(n, v.third, v.mangle)
			if out := s.ignore(n); len(out) != 1 || !strings.HasPrefix(out[0], "R. 1 ack ") || !strings.HasSuffix(out[0], " rst=1") {
				t.Errorf("sent %q", out)
			}
			s.expectMultipath()
			s.expectRead(0)
			s.write(4)
			s.expectOne(0, ". 1+4")
		})
	}
}

// There is no plain TCP on a joined subflow.
func TestJ11_PlainDataBeforeFourthPacket(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.open(1, 0)
	s.ignore(n)
	s.send(n, "S. 0 ack 1 mpj16")
	s.ignore(n)
	s.send(n, ". 1+10 ack 1")
	s.expect(n, "R. 1 ack 11 rst=1")
	s.expectMultipath()
	s.expectRead(0)
}

// An old third packet does not fit a new SYN.
func TestJ12_ReplayedThirdPacket(t *testing.T) {
	s := accept(t)
	n := s.joined(0, 1)
	old := s.segment(n, ". 1 ack 1 mpj24").MP
	m := s.addLeg(legTuple(0, 1, 80, 1001))
	s.legs[m].peerNonce = s.legs[n].peerNonce
	s.send(m, "S 0 mpj12 id=1")
	s.ignore(m)
	s.send(m, ". 1 ack 1 mpj24", func(g *wire.Segment) { g.MP = old })
	s.expect(m, "R. 1 ack 1 rst=1")
}

// The initial destination port, and the same local port if it is to be had.
func TestJ14_Ports(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	s.command(pathmgr.Open{Local: s.local(1), Remote: netip.AddrPortFrom(theirs[0], 80)})
	if w := s.wants[0]; w.Port != 1000 || w.Remote.Port() != 80 || w.Local != ours[1] || w.Link != 2 {
		t.Errorf("wanted %+v", w)
	}
	s.c.PathRefused(s.now, s.wants[0].Req)
	s.wants = nil
	s.poll()
	// Once only: the peer may know that pair still.
	s.command(pathmgr.Open{Local: s.local(1), Remote: netip.AddrPortFrom(theirs[0], 80)})
	if w := s.wants[0]; w.Port != 0 {
		t.Errorf("wanted %+v", w)
	}
}

// A refused join is not tried again until the address is advertised afresh.
func TestJ16_RefusedJoinIsNotRepeated(t *testing.T) {
	for _, tt := range []struct{ name, answer, reset string }{
		{"at the SYN", "", "R. 0 ack 1 rst=3"},
		{"at the third packet, as Linux does", "S. 0 ack 1 mpj16 id=3", "R. 1 ack 1 rst=3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := dial(t, func(c *Config) { c.Manager = pathmgr.NewFullMesh })
			s.localUp(0)
			s.send(0, ". 1 ack 1 add3=10.0.1.2")
			s.expect(0, ". 1 ack 1 echo3=10.0.1.2")
			s.expect(0, ". 1 ack 1 A1")
			n := s.bind()
			s.expectOne(n, "S 0 mpj12")
			if tt.answer != "" {
				s.send(n, tt.answer)
				s.expectOne(n, ". 1 ack 1 mpj24")
			}
			s.send(n, tt.reset)
			s.advance(time.Hour)
			s.expectNothing()
			if len(s.wants) > 0 {
				t.Errorf("wanted again: %+v", s.wants)
			}
			s.send(0, ". 1 ack 1 A1 rm=3")
			s.send(0, ". 1 ack 1 add3=10.0.1.2")
			if len(s.wants) != 1 {
				t.Errorf("after a new ADD_ADDR: %+v", s.wants)
			}
		})
	}
}

// Subflows are limited; one more is refused with RST(3). Those on their way
// out do not count.
func TestJ17_LimitOfSubflows(t *testing.T) {
	s := accept(t, func(c *Config) { c.MaxSubflows = 2 })
	n := s.joined(0, 1)
	m := s.addLeg(legTuple(0, 2, 80, 1000))
	s.send(m, "S 0 mpj12 id=2")
	s.expect(m, "R. 0 ack 1 rst=3")
	s.expectMultipath()
	if st := s.c.Stats(); st.MPJoinRejected != 1 || st.MPJoinSynRx != 2 {
		t.Errorf("counted %+v", st)
	}
	s.send(n, "F. 1 ack 1 A1")
	s.expectOne(n, "F. 1 ack 2")
	k := s.addLeg(legTuple(0, 2, 80, 1001))
	s.send(k, "S 0 mpj12 id=2")
	s.expectOne(k, "S. 0 ack 1 mpj16")

	// The same for what we open.
	d := dial(t, func(c *Config) { c.MaxSubflows = 2 })
	d.localUp(1)
	d.localUp(2)
	d.join(1, 0)
	d.command(pathmgr.Open{Local: d.local(2), Remote: netip.AddrPortFrom(theirs[0], 80)})
	if len(d.wants) != 0 {
		t.Errorf("wanted %+v", d.wants)
	}
}

// Another connection of the peer's has the same token: the HMAC tells.
func TestJ18_TokenClash(t *testing.T) {
	s := accept(t)
	n := s.addLeg(legTuple(0, 1, 80, 1000))
	s.send(n, "S 0 mpj12 id=1")
	s.ignore(n)
	s.send(n, ". 1 ack 1 mpj24", func(g *wire.Segment) {
		mac := wire.JoinMAC(s.peerKey+1, s.key+1, s.legs[n].peerNonce, s.legs[n].ourNonce)
		copy(g.MP.Join.MAC[:], mac[:20])
	})
	s.expect(n, "R. 1 ack 1 rst=1")
	s.expectMultipath()
}

// E2: a token alone buys little: half-open joins are as bounded as joins.
func TestE2_JoinFlood(t *testing.T) {
	s := accept(t)
	for port := uint16(2000); port < 2200; port++ {
		n := s.addLeg(legTuple(0, 1, 80, port))
		s.send(n, "S 0 mpj12 id=1")
		s.ignore(n)
	}
	if len(s.c.paths) > 8 {
		t.Errorf("%d paths", len(s.c.paths))
	}
	s.advance(time.Minute)
	if len(s.c.paths) != 1 {
		t.Errorf("%d paths after a minute", len(s.c.paths))
	}
	s.ignore(0)
	s.joined(0, 2)
}

// … and do not keep out who can prove to be the peer.
func TestE2_SpoofedJoinsKeepNobodyOut(t *testing.T) {
	s := accept(t, func(c *Config) { c.MaxSubflows = 3 })
	for port := uint16(2000); port < 2020; port++ {
		n := s.addLeg(legTuple(0, 1, 80, port))
		s.send(n, "S 0 mpj12 id=1")
		s.expectOne(n, "S. 0 ack 1 mpj16")
	}
	if len(s.c.paths) > 3 {
		t.Errorf("%d paths", len(s.c.paths))
	}
	s.joined(0, 2)
	// What is proved is not pushed out.
	for port := uint16(3000); port < 3020; port++ {
		n := s.addLeg(legTuple(0, 1, 80, port))
		s.send(n, "S 0 mpj12 id=1")
		s.ignore(n)
	}
	if got := s.c.livePaths(); got != 3 || s.c.Stats().MPJoinAckRx != 1 || !s.c.paths[1].up {
		t.Errorf("%d live paths, %+v", got, s.c.paths[1].info())
	}
}

// Backup: the peer's wish in SYN and MP_PRIO, and ours (P14 has MP_PRIO).
func TestJ13_BackupInJoin(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	s.command(pathmgr.Open{Local: s.local(1), Remote: netip.AddrPortFrom(theirs[0], 80), Backup: true})
	n := s.bind()
	s.expect(n, "S 0 mpj12 b id=1")
	s.send(n, "S. 0 ack 1 mpj16 b")
	s.expect(n, ". 1 ack 1 mpj24")
	s.send(n, ". 1 ack 1 A1")
	if info := s.c.Stats().Subflows[1]; !info.Backup || !info.Up {
		t.Errorf("%+v", info)
	}

	p := accept(t)
	n = p.addLeg(legTuple(0, 1, 80, 1000))
	p.send(n, "S 0 mpj12 b id=1")
	p.expect(n, "S. 0 ack 1 mpj16 id=0")
	p.send(n, ". 1 ack 1 mpj24")
	if info := p.c.Stats().Subflows[1]; !info.Backup {
		t.Errorf("%+v", info)
	}
}
