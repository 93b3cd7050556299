package engine

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
)

// raw returns the bytes of the MPTCP options that a segment of ours had.
func raw(seg wire.Segment) string {
	var b wire.Batch
	b.Slab = make([]byte, 0, 2000)
	seg.Opt, seg.Payload = wire.TCPOptions{}, nil
	wire.AppendSegment(&b, &seg, 0)
	return hex.EncodeToString(b.Bytes(0)[40:])
}

func flags(f uint8) mangler { return func(s *wire.Segment) { s.MP.Capable.Flags = f } }
func version(v uint8) mangler {
	return func(s *wire.Segment) { s.MP.Capable.Version = v }
}

// RFC 8684, Section 3.1: the SYN carries no key.
func TestH1_SYNCarriesNoKey(t *testing.T) {
	s := dialing(t)
	if got := raw(s.expect(0, "S 0 mpc4")); got != "1e040101" {
		t.Errorf("option %s", got)
	}
	// … nor does the one sent again.
	s.advance(time.Second)
	s.expect(0, "S 0 mpc4")
}

// The SYN/ACK has B's key, the third packet A's and then B's.
func TestH2_Keys(t *testing.T) {
	s := dialing(t)
	s.expect(0, "S 0 mpc4")
	s.send(0, "S. 0 ack 1 mpc12")
	if got := raw(s.expect(0, ". 1 ack 1 mpc20")); got != "1e140101"+"95f6c2d160266420"+"25243dfc4d59d3e9" {
		t.Errorf("option %s", got)
	}
	s.expectNothing()
	s.expectMultipath()

	p := listening(t)
	p.send(0, "S 0 mpc4")
	if got := raw(p.expect(0, "S. 0 ack 1 mpc12")); got != "1e0c0101"+"95f6c2d160266420" {
		t.Errorf("option %s", got)
	}
}

// The form of MP_CAPABLE belongs to the flags: another length is as if the
// option were not there.
func TestH3_LengthDoesNotFitFlags(t *testing.T) {
	s := listening(t)
	s.send(0, "S 0 mpc12")
	s.expect(0, "S. 0 ack 1")
	s.send(0, ". 1 ack 1")
	s.expectPlain(PeerPlain)

	for _, form := range []string{"mpc4", "mpc20"} {
		s := dialing(t)
		s.expect(0, "S 0 mpc4")
		s.send(0, "S. 0 ack 1 "+form)
		s.expect(0, ". 1 ack 1")
		s.expectPlain(PeerPlain)
	}
}

// The answer's version is at most what was offered.
func TestH4_Version(t *testing.T) {
	s := listening(t)
	s.send(0, "S 0 mpc4", version(2))
	s.expect(0, "S. 0 ack 1 mpc12")

	d := dialing(t)
	d.expect(0, "S 0 mpc4")
	d.send(0, "S. 0 ack 1 mpc12", version(2))
	d.expect(0, ". 1 ack 1")
	d.expectPlain(PeerPlain)
}

// A peer without MPTCP: nothing of kind 30 after its SYN/ACK.
func TestH5_F1_PlainAnswer(t *testing.T) {
	s := dialing(t)
	s.expect(0, "S 0 mpc4")
	s.send(0, "S. 0 ack 1")
	s.expect(0, ". 1 ack 1")
	s.expectPlain(PeerPlain)
	s.write(10)
	s.expect(0, ". 1+10 ack 1")
	s.send(0, ". 1+20 ack 11")
	s.expectRead(20)
	if s.c.snd.Una() != s.c.snd.End() {
		t.Error("the subflow's acknowledgment is the connection's with plain TCP")
	}
	s.advance(time.Second)
	s.expect(0, ". 11 ack 21")
	s.closeWrite()
	s.expect(0, "F. 11 ack 21")
	s.send(0, "F. 21 ack 12")
	s.expect(0, ". 12 ack 22")
	s.expectNothing()
	if !s.c.Done() || s.c.Err() != nil {
		t.Errorf("done %t, error %v", s.c.Done(), s.c.Err())
	}
}

// A SYN of version 0 has a key and twelve octets.
func TestH6_VersionZero(t *testing.T) {
	s := listening(t)
	s.send(0, "S 0 mpc12", version(0))
	s.expect(0, "S. 0 ack 1")
	s.send(0, ". 1 ack 1")
	s.expectPlain(PeerPlain)
}

// B set, or no algorithm of ours: silently plain TCP, whichever of the three
// packets it is in. And more algorithms than ours: only ours is answered.
func TestH7_H8_H9_H11_Flags(t *testing.T) {
	for _, v := range []struct {
		flags  uint8
		ok     bool
		reason FallbackReason
	}{
		{0x01, true, NoFallback},
		{0x41, false, PeerPlain},       // H7: B
		{0x00, false, PeerPlain},       // H8: no algorithm
		{0x02, false, PeerPlain},       // H9: none in common
		{0x1f, true, NoFallback},       // H9: ours among others
		{0x21, true, NoFallback},       // H12: C is no obstacle
		{0x81, false, ChecksumsWanted}, // H11: we refuse checksums
		{0xc1, false, ChecksumsWanted},
	} {
		t.Run(fmt.Sprintf("%#02x", v.flags), func(t *testing.T) {
			refuse := func(c *Config) { c.Checksum = ChecksumRefuse }
			s := listening(t, refuse)
			s.send(0, "S 0 mpc4", flags(v.flags))
			if v.ok {
				s.expect(0, "S. 0 ack 1 mpc12")
			} else {
				s.expect(0, "S. 0 ack 1")
				s.send(0, ". 1 ack 1")
				s.expectPlain(v.reason)
			}

			d := dialing(t, refuse)
			d.expect(0, "S 0 mpc4")
			d.send(0, "S. 0 ack 1 mpc12", flags(v.flags))
			if v.ok {
				d.expect(0, ". 1 ack 1 mpc20")
			} else {
				d.expect(0, ". 1 ack 1")
				d.expectPlain(v.reason)
			}

			third := listening(t, refuse)
			third.send(0, "S 0 mpc4")
			third.expect(0, "S. 0 ack 1 mpc12")
			third.send(0, ". 1 ack 1 mpc20", flags(v.flags))
			if v.ok {
				third.expectMultipath()
			} else {
				third.expectPlain(ThirdAckPlain)
			}
		})
	}
}

// Our own C flag: the peer's joins to our first address are refused, those to
// others are not.
func TestH12_FlagOfOurs(t *testing.T) {
	deny := func(c *Config) { c.NoJoinFirst = true }
	d := dialing(t, deny)
	if f := d.expect(0, "S 0 mpc4").MP.Capable.Flags; f != 0x21 {
		t.Errorf("SYN with %#x", f)
	}
	s := listening(t, deny)
	s.send(0, "S 0 mpc4")
	if f := s.expect(0, "S. 0 ack 1 mpc12").MP.Capable.Flags; f != 0x21 {
		t.Errorf("SYN/ACK with %#x", f)
	}
	s.send(0, ". 1 ack 1 mpc20")
	s.ignore(0)
	n := s.addLeg(legTuple(0, 1, 80, 1000))
	s.send(n, "S 0 mpj12 id=1")
	s.expect(n, "R. 0 ack 1 rst=3")
	s.joined(1, 2)
}

// C: no join to the peer's first address, but to advertised ones.
func TestH12_NoJoinToFirstAddress(t *testing.T) {
	for _, c := range []bool{false, true} {
		s := dialing(t, func(c *Config) { c.Manager = pathmgr.NewFullMesh })
		s.expect(0, "S 0 mpc4")
		f := uint8(0x01)
		if c {
			f = 0x21
		}
		s.send(0, "S. 0 ack 1 mpc12", flags(f))
		s.expect(0, ". 1 ack 1 mpc20")
		s.localUp(0)
		s.localUp(1)
		s.send(0, ". 1 ack 1 A1")
		if got := len(s.wants); (got == 0) != c {
			t.Errorf("C %t: %d joins to the first address", c, got)
		}
		s.wants = nil
		s.send(0, ". 1 ack 1 add3=10.0.1.2")
		if len(s.wants) == 0 {
			t.Errorf("C %t: no join to the advertised address", c)
		}
		for _, w := range s.wants {
			if w.Remote != netip.AddrPortFrom(theirs[1], 80) {
				t.Errorf("C %t: join to %v", c, w.Remote)
			}
		}
	}
}

// Keys whose tokens clash with a live connection's are drawn again.
func TestH13_H14_TokenIsUnique(t *testing.T) {
	s := newScript(t)
	s.rand.next = []uint64{ourKey, ourKey, ourKey, 77}
	c1, _ := s.e.Dial(s.now, legTuple(0, 0, 1000, 80), 1, 1500, false)
	c2, _ := s.e.Dial(s.now, legTuple(0, 0, 1001, 80), 1, 1500, false)
	if c1.key != ourKey || c2.key != 77 {
		t.Errorf("keys %#x and %#x", c1.key, c2.key)
	}
	if c1.token != 0xc85d8fd9 || c1.idsn != 0x9451ff1d94df12f0 {
		t.Errorf("token %#x, IDSN %#x", c1.token, c1.idsn)
	}
	// The key of a connection that is gone may come again.
	s.c = c1
	s.addLeg(legTuple(0, 0, 1000, 80))
	s.abort()
	s.rand.next = []uint64{ourKey}
	if c3, _ := s.e.Dial(s.now, legTuple(0, 0, 1002, 80), 1, 1500, false); c3.key != ourKey {
		t.Errorf("key %#x", c3.key)
	}
}

func TestH15_F1_PlainSYN(t *testing.T) {
	s := listening(t)
	s.send(0, "S 0")
	s.expect(0, "S. 0 ack 1")
	s.send(0, ". 1+5 ack 1")
	s.expectPlain(PeerPlain)
	s.expect(0, ". 1 ack 6")
	s.expectRead(5)
	s.write(7)
	s.expect(0, ". 1+7 ack 6")
}

// Third packet without MP_CAPABLE: TCP for good.
func TestH16_PlainThirdPacket(t *testing.T) {
	s := listening(t)
	s.send(0, "S 0 mpc4")
	s.expect(0, "S. 0 ack 1 mpc12")
	s.send(0, ". 1 ack 1")
	s.expectPlain(ThirdAckPlain)
	s.expectNothing()
	s.write(10)
	s.expect(0, ". 1+10 ack 1")
	s.send(0, ". 1 ack 11")
	s.send(0, ". 1+3 ack 11 A11 M1:1:3") // too late
	s.expectPlain(ThirdAckPlain)
	s.expectRead(3)
	s.expect(0, ". 11 ack 4")
	s.write(10)
	s.expect(0, ". 11+10 ack 4")
}

// A third packet with the right keys but of a version, or with only one key, that
// was not agreed on, is one without.
func TestH16_OtherThirdPacket(t *testing.T) {
	for name, other := range map[string]mangler{
		"version":   func(g *wire.Segment) { g.MP.Capable.Version = 2 },
		"no HMAC":   func(g *wire.Segment) { g.MP.Capable.Flags &^= wire.CapSHA256 },
		"one key":   func(g *wire.Segment) { g.MP.Capable.Keys = 1 },
		"no option": func(g *wire.Segment) { g.MP.Has &^= wire.MPCapable },
	} {
		t.Run(name, func(t *testing.T) {
			s := listening(t)
			s.send(0, "S 0 mpc4")
			s.expect(0, "S. 0 ack 1 mpc12")
			s.send(0, ". 1 ack 1 mpc20", other)
			s.expectPlain(ThirdAckPlain)
		})
	}
}

// MP_CAPABLE on the third packet, and again with the first data.
func TestH17_H20_KeysUntilDSSIsHeard(t *testing.T) {
	s := dialing(t)
	s.expect(0, "S 0 mpc4")
	s.advance(10 * ms)
	s.send(0, "S. 0 ack 1 mpc12")
	s.expect(0, ". 1 ack 1 mpc20")
	s.advance(50 * ms)
	s.expectNothing()
	s.write(10)
	seg := s.expect(0, ". 1+10 ack 1 mpc22=10")
	if got := raw(seg); !strings.HasPrefix(got, "1e160101"+"95f6c2d160266420"+"25243dfc4d59d3e9"+"000a") {
		t.Errorf("option %s", got)
	}
	// Lost: every copy carries the keys.
	s.advance(time.Second)
	for _, l := range s.ignore(0) {
		if l != ". 1+10 ack 1 mpc22=10" && l != ". 0 ack 1 A1" {
			t.Errorf("copy %q", l)
		}
	}
	// What follows has an ordinary mapping.
	s.write(5)
	s.send(0, ". 1 ack 11 A11")
	s.expect(0, ". 11+5 ack 1 A1 M11:11:5")
}

// Data at once: the third packet has it.
func TestH18_DataOnThirdPacket(t *testing.T) {
	s := dialing(t)
	s.expect(0, "S 0 mpc4")
	s.write(10)
	s.expectNothing()
	s.send(0, "S. 0 ack 1 mpc12")
	s.expect(0, ". 1+10 ack 1 mpc22=10")
	s.expectNothing()
}

// MP_CAPABLE with a length is a mapping like any other.
func TestH19_CapableWithData(t *testing.T) {
	s := listening(t)
	s.send(0, "S 0 mpc4")
	s.expect(0, "S. 0 ack 1 mpc12")
	s.send(0, ". 1+10 ack 1 mpc22=10")
	s.expect(0, ". 1 ack 11 A11")
	s.expectRead(10)
	s.expectMultipath()
}

// A mapping longer than its segment, the same option on every piece, as an
// offload leaves it; then a duplicate.
func TestH20_CapableOnEveryPiece(t *testing.T) {
	s := listening(t)
	s.send(0, "S 0 mpc4")
	s.expect(0, "S. 0 ack 1 mpc12")
	s.send(0, ". 1+4 ack 1 mpc22=8")
	s.send(0, ". 5+4 ack 1 mpc22=8")
	s.advance(time.Second)
	out := s.ignore(0)
	if len(out) == 0 || out[len(out)-1] != ". 1 ack 9 A9" {
		t.Errorf("acknowledged %q", out)
	}
	s.send(0, ". 1+4 ack 1 mpc22=8")
	s.send(0, ". 5+4 ack 1 mpc22=8")
	s.expectRead(8)
	s.expectMultipath()
}

// The server speaks first, the client's MP_CAPABLE with data comes later.
func TestH21_BothSpeakAtOnce(t *testing.T) {
	s := accept(t)
	s.write(5)
	s.expect(0, ". 1+5 ack 1 A1 M1:1:5")
	s.send(0, ". 1+10 ack 1 mpc22=10")
	s.expect(0, ". 6 ack 11 A11")
	s.send(0, ". 11 ack 6 A6")
	s.expectRead(10)
	s.expectMultipath()
	if s.c.snd.Una() != s.c.snd.End() {
		t.Error("not acknowledged")
	}
}

// No subflow before a DSS was heard on the first.
func TestH22_NoJoinBeforeDSS(t *testing.T) {
	s := dialing(t)
	s.expect(0, "S 0 mpc4")
	s.send(0, "S. 0 ack 1 mpc12")
	s.expect(0, ". 1 ack 1 mpc20")
	s.localUp(1)
	if len(s.mgr.told) != 0 {
		t.Fatalf("the manager was told %v", s.mgr.told)
	}
	s.send(0, ". 1 ack 1 A1")
	if len(s.mgr.told) == 0 || s.mgr.told[0] != "Established" {
		t.Errorf("the manager was told %v", s.mgr.told)
	}

	// A silent peer is asked for one.
	s = dialing(t)
	s.expect(0, "S 0 mpc4")
	s.advance(10 * ms)
	s.send(0, "S. 0 ack 1 mpc12")
	s.expect(0, ". 1 ack 1 mpc20")
	s.advance(200 * ms)
	s.expectOne(0, ". 0 ack 1")
}

// MP_CAPABLE and MP_JOIN in one SYN: no MPTCP.
func TestH23_CapableAndJoin(t *testing.T) {
	s := listening(t)
	s.send(0, "S 0 mpc4 mpj12")
	s.expect(0, "S. 0 ack 1")
	s.send(0, ". 1 ack 1")
	s.expectPlain(PeerPlain)
}

// The SYN goes plain after three, and that is the last word, though the answer
// may be to an earlier one.
func TestH24_PlainSYNAtLast(t *testing.T) {
	s := dialing(t)
	s.expect(0, "S 0 mpc4")
	s.advance(time.Second)
	s.expect(0, "S 0 mpc4")
	s.advance(2 * time.Second)
	s.expect(0, "S 0 mpc4")
	s.advance(4 * time.Second)
	s.expect(0, "S 0")
	s.send(0, "S. 0 ack 1 mpc12")
	s.expect(0, ". 1 ack 1")
	s.expectPlain(SynUnanswered)
	s.write(5)
	s.expect(0, ". 1+5 ack 1")
}

// The SYN takes one data sequence number: the first DATA_ACK is IDSN+1.
func TestH25_FirstDataAck(t *testing.T) {
	s := accept(t) // expects A1
	s.send(0, ". 1+10 ack 1 A1 M1:1:10")
	s.expect(0, ". 1 ack 11 A11")
}

// A third packet that echoes another key than ours: not what was agreed.
func TestH27_WrongKeyEchoed(t *testing.T) {
	s := listening(t)
	s.send(0, "S 0 mpc4")
	s.expect(0, "S. 0 ack 1 mpc12")
	s.send(0, ". 1 ack 1 mpc20", func(g *wire.Segment) { g.MP.Capable.Receiver++ })
	s.expectPlain(ThirdAckPlain)
}

// A segment with a DSS that overtook the keys counts as lost: the keys come
// again with the first data.
func TestH20_DSSOvertakesKeys(t *testing.T) {
	s := listening(t)
	s.send(0, "S 0 mpc4")
	s.expect(0, "S. 0 ack 1 mpc12")
	s.send(0, ". 11+5 ack 1 A1 M11:11:5")
	s.expectNothing()
	s.send(0, ". 1+10 ack 1 mpc22=10")
	s.expect(0, ". 1 ack 11 A11")
	s.send(0, ". 11+5 ack 1 A1 M11:11:5")
	s.expectRead(15)
	s.expectMultipath()
}

// L17: crossing SYNs leave no room for the keys.
func TestL17_SimultaneousOpenIsPlain(t *testing.T) {
	s := dialing(t)
	s.expect(0, "S 0 mpc4")
	s.send(0, "S 0 mpc4")
	s.expect(0, "S. 0 ack 1")
	s.send(0, "S. 0 ack 1")
	s.ignore(0)
	s.expectPlain(PeerPlain)
	s.write(3)
	s.expect(0, ". 1+3 ack 1")
}

// A refused or unanswered SYN never was a connection.
func TestDialFails(t *testing.T) {
	for _, v := range []struct {
		name string
		do   func(*script)
		want error
	}{
		{"refused", func(s *script) { s.send(0, "R. 0 ack 1") }, syscall.ECONNREFUSED},
		{"no answer", func(s *script) { s.advance(5 * time.Minute) }, syscall.ETIMEDOUT},
		{"closed", func(s *script) { s.close() }, syscall.ECONNABORTED},
	} {
		for _, tcp := range []bool{false, true} {
			s := dialing(t, func(c *Config) { c.TCPOnly = tcp })
			v.do(s)
			if !errors.Is(s.c.Err(), v.want) || !s.gone() || s.e.Conns() != 0 {
				t.Errorf("%s: error %v, gone %t, %d connections", v.name, s.c.Err(), s.gone(), s.e.Conns())
			}
			if s.c.Established() {
				t.Errorf("%s, TCPOnly %t: it says that it was established", v.name, tcp)
			}
		}
	}
}
