package wire

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/mpnc/mpnc/internal/mono"
)

func ends(local, remote string) Tuple {
	return Tuple{netip.MustParseAddrPort(local), netip.MustParseAddrPort(remote)}
}

var (
	tuple4 = ends("10.0.0.1:1000", "10.0.0.2:2000")
	tuple6 = ends("[2001:db8::1]:1000", "[2001:db8::2]:2000")
)

// packet returns a packet with the payload given, as tuple.Local sends it.
func packet(tuple Tuple, payload string) []byte {
	b := NewBatch(4096)
	s := Segment{Tuple: tuple, Seq: 100, Ack: 200, Flags: ACK | PSH, Window: 300, Payload: []byte(payload)}
	s.Opt.HasTS, s.Opt.TSVal, s.Opt.TSEcr = true, 1, 2
	AppendSegment(b, &s, 0)
	return b.Bytes(0)
}

// fixed recomputes all checksums of a packet after a change.
func fixed(pkt []byte) []byte {
	f := frame{pkt: pkt, ip: ipv6Len}
	if f.is4() {
		f.ip = int(pkt[0]&0xf) * 4
		putIPv4Checksum(pkt)
	}
	putChecksum(pkt, f.ip, false)
	return pkt
}

// IPv6 extension headers: next header, length in units of 8 beyond the first.
func withExtension(kind byte, ext []byte) []byte {
	pkt := packet(tuple6, "hello")
	out := append([]byte(nil), pkt[:ipv6Len]...)
	out[ip6Next] = kind
	out = append(out, ext...)
	out = append(out, pkt[ipv6Len:]...)
	binary.BigEndian.PutUint16(out[ip6PayloadLen:], uint16(len(out)-ipv6Len))
	return out
}

func TestParseDrops(t *testing.T) {
	change := func(tuple Tuple, f func(pkt []byte) []byte) []byte { return f(packet(tuple, "hello")) }
	set := func(at int, v byte) func([]byte) []byte {
		return func(pkt []byte) []byte { pkt[at] = v; return fixed(pkt) }
	}
	cut := func(n int) func([]byte) []byte { return func(pkt []byte) []byte { return pkt[:n] } }
	for _, v := range []struct {
		name string
		pkt  []byte
		want Drop
	}{
		{"intact", packet(tuple4, "hello"), None},
		{"intact, IPv6", packet(tuple6, "hello"), None},
		{"padding behind", append(packet(tuple4, "hello"), 0, 0, 0), None},
		{"padding behind, IPv6", append(packet(tuple6, "hello"), 0, 0, 0), None},
		{"empty", nil, TooShort},
		{"one octet", []byte{0x45}, TooShort},
		{"version 5", []byte{0x50}, NotIP},
		{"IPv4 header cut", change(tuple4, cut(19)), TooShort},
		{"IPv6 header cut", change(tuple6, cut(39)), TooShort},
		{"cut behind IP", change(tuple4, cut(20)), TooShort},
		{"last octet missing", change(tuple4, cut(20+32+4)), TooShort},
		{"last octet missing, IPv6", change(tuple6, cut(40+32+4)), TooShort},
		{"IHL of 4", change(tuple4, set(0, 0x44)), BadIPHeader},
		{"total length below the header's", change(tuple4, func(p []byte) []byte {
			binary.BigEndian.PutUint16(p[ip4TotalLen:], 19)
			putIPv4Checksum(p)
			return p
		}), BadIPHeader},
		{"total length without room for TCP", change(tuple4, func(p []byte) []byte {
			binary.BigEndian.PutUint16(p[ip4TotalLen:], 39)
			putIPv4Checksum(p)
			return p
		}), TooShort},
		{"IPv4 checksum", change(tuple4, func(p []byte) []byte { p[ip4Csum]++; return p }), BadIPHeader},
		{"more fragments", change(tuple4, set(ip4Frag, 0x20)), Fragment},
		{"fragment offset", change(tuple4, set(ip4Frag+1, 1)), Fragment},
		{"UDP", change(tuple4, set(9, 17)), NotTCP},
		{"UDP, IPv6", change(tuple6, set(ip6Next, 17)), NotTCP},
		{"data offset 4", change(tuple4, set(20+tcpOff, 4<<4)), BadOffset},
		{"data offset past the end", change(tuple4, set(20+tcpOff, 10<<4)), BadOffset},
		{"flipped payload bit", change(tuple4, func(p []byte) []byte { p[len(p)-1] ^= 1; return p }), BadChecksum},
		{"flipped port bit, IPv6", change(tuple6, func(p []byte) []byte { p[40] ^= 1; return p }), BadChecksum},
		{"source port 0", packet(ends("10.0.0.1:0", "10.0.0.2:2"), ""), BadPort},
		{"destination port 0", packet(ends("10.0.0.1:1", "10.0.0.2:0"), ""), BadPort},
		{"fragment header", withExtension(44, []byte{6, 0, 0, 1, 0, 0, 0, 0}), Fragment},
		{"hop-by-hop", withExtension(0, []byte{6, 0, 1, 4, 0, 0, 0, 0}), None},
		{"destination options of 16 octets", withExtension(60, append([]byte{6, 1}, make([]byte, 14)...)), None},
		{"two of them", withExtension(0, append([]byte{60, 0, 1, 4, 0, 0, 0, 0}, 6, 0, 1, 4, 0, 0, 0, 0)), None},
		{"routing, no segments left", withExtension(43, []byte{6, 0, 0, 0, 0, 0, 0, 0}), None},
		{"routing, segments left", withExtension(43, []byte{6, 0, 0, 1, 0, 0, 0, 0}), NotTCP},
		{"extension past the end", withExtension(60, []byte{6, 255, 0, 0, 0, 0, 0, 0}), TooShort},
		{"authentication header", withExtension(51, []byte{6, 0, 0, 0, 0, 0, 0, 0}), NotTCP},
	} {
		var s Segment
		d := Parse(v.pkt, &s, CsumFull)
		if d != v.want {
			t.Errorf("%s: %v, want %v", v.name, d, v.want)
		}
		if d == None && string(s.Payload) != "hello" {
			t.Errorf("%s: payload %q", v.name, s.Payload)
		}
	}
}

// RFC 9293, Section 3.9.2.3 (MUST-57, MUST-63).
func TestT20_Addresses(t *testing.T) {
	for _, v := range []struct {
		from, to string
		want     Drop
	}{
		{"10.0.0.1:1", "224.0.0.1:2", BadAddress},
		{"224.0.0.1:1", "10.0.0.1:2", BadAddress},
		{"10.0.0.1:1", "255.255.255.255:2", BadAddress},
		{"255.255.255.255:1", "10.0.0.1:2", BadAddress},
		{"0.0.0.0:1", "10.0.0.1:2", BadAddress},
		{"10.0.0.1:1", "0.0.0.0:2", BadAddress},
		{"127.0.0.1:1", "127.0.0.1:2", None},
		{"[::1]:1", "[::1]:2", None},
		{"[fe80::1]:1", "[fe80::2]:2", None},
		{"[::]:1", "[2001:db8::2]:2", BadAddress},
		{"[2001:db8::2]:1", "[::]:2", BadAddress},
		{"[ff02::1]:1", "[2001:db8::2]:2", BadAddress},
		{"[2001:db8::2]:1", "[ff02::1]:2", BadAddress},
		{"[::ffff:10.0.0.1]:1", "[2001:db8::2]:2", BadAddress},
		{"[2001:db8::2]:1", "[::ffff:10.0.0.1]:2", BadAddress},
	} {
		var s Segment
		if d := Parse(packet(ends(v.from, v.to), ""), &s, CsumFull); d != v.want {
			t.Errorf("%s to %s: %v, want %v", v.from, v.to, d, v.want)
		}
	}
}

// RFC 9293, Section 3.1 (MUST-2, MUST-3), and what devices make of it.
func TestT19_ChecksumStates(t *testing.T) {
	for _, tuple := range []Tuple{tuple4, tuple6} {
		full, bare, wrong := packet(tuple, "odd"), packet(tuple, "odd"), packet(tuple, "odd")
		ip := ipLen(tuple.Remote.Addr())
		putChecksum(bare, ip, true)
		wrong[len(wrong)-1] ^= 0x80
		for _, v := range []struct {
			name string
			pkt  []byte
			want [3]Drop // CsumFull, CsumPartial, CsumEither
		}{
			{"full", full, [3]Drop{None, None, None}},
			{"bare pseudo-header sum", bare, [3]Drop{BadChecksum, None, None}},
			{"wrong", wrong, [3]Drop{BadChecksum, None, BadChecksum}},
		} {
			for csum, want := range v.want {
				var s Segment
				if d := Parse(v.pkt, &s, Csum(csum)); d != want {
					t.Errorf("%s, %v, as %d: %v, want %v", v.name, tuple, csum, d, want)
				}
			}
		}
	}
}

// Every octet of a packet is covered by one checksum or by a check.
func TestT19_AnyFlippedBitIsSeen(t *testing.T) {
	var s Segment
	pkt := packet(tuple4, "some payload")
	for i := range len(pkt) * 8 {
		pkt[i/8] ^= 1 << (i % 8)
		if d := Parse(pkt, &s, CsumFull); d == None {
			t.Errorf("bit %d of octet %d", i%8, i/8)
		}
		pkt[i/8] ^= 1 << (i % 8)
	}
}

func TestParseKeepsArrival(t *testing.T) {
	s := Segment{At: mono.Time(7), Link: 8, MTU: 9, Urgent: 10}
	s.Opt.NSACK, s.MP.Has, s.MP.Bad = 3, DSS, MPJoin
	pkt := append(packet(tuple4, "x"), "padding of the link"...)
	if d := Parse(pkt, &s, CsumFull); d != None {
		t.Fatal(d)
	}
	if s.At != 7 || s.Link != 8 || s.MTU != 9 {
		t.Errorf("At %d Link %d MTU %d", s.At, s.Link, s.MTU)
	}
	if s.Urgent != 0 || s.Opt.NSACK != 0 || s.MP != (MPOptions{}) {
		t.Errorf("left over: %v", s)
	}
	if s.Local != tuple4.Remote || s.Remote != tuple4.Local {
		t.Errorf("ends: %v", s.Tuple)
	}
	if cap(s.Payload) != 1 {
		t.Errorf("payload reaches past the packet: cap %d", cap(s.Payload))
	}
}

func TestAppendHeaderFields(t *testing.T) {
	pkt := packet(tuple4, "hello")
	want := octets(t, "4500 0039 0000 4000 4006 26bd 0a000001 0a000002"+
		"03e8 07d0 00000064 000000c8 8018 012c")
	if got := pkt[:len(want)]; !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	if got, want := pkt[40:52], octets(t, "0101 080a 00000001 00000002"); !bytes.Equal(got, want) {
		t.Errorf("options %x, want %x", got, want)
	}
	b := NewBatch(100)
	AppendSegment(b, &Segment{Tuple: tuple6, ECN: 2, TTL: 3}, 0)
	if got, want := b.Bytes(0)[:8], octets(t, "60200000 0014 06 03"); !bytes.Equal(got, want) {
		t.Errorf("IPv6 %x, want %x", got, want)
	}
}

// The two bits of ECN sit beside others in both headers.
func TestParseECNAndTTL(t *testing.T) {
	for _, tuple := range []Tuple{tuple4, tuple6} {
		pkt := packet(tuple, "")
		if tuple == tuple4 {
			pkt[1], pkt[ip4TTL] = 0xfe, 33
		} else {
			pkt[0], pkt[1], pkt[ip6HopLimit] = 0x6f, 0xef, 33 // traffic class 0xfe, flow label
		}
		var s Segment
		if d := Parse(fixed(pkt), &s, CsumFull); d != None || s.ECN != 2 || s.TTL != 33 {
			t.Errorf("%v: %v, ECN %d, TTL %d", tuple, d, s.ECN, s.TTL)
		}
	}
}

func TestAppendRoom(t *testing.T) {
	s := Segment{Tuple: tuple4, Payload: []byte("0123456789")}
	b := NewBatch(100)
	b.Limit = 99
	if !AppendSegment(b, &s, 0) {
		t.Fatal("50 octets do not fit into 99")
	}
	if AppendSegment(b, &s, 0) || len(b.Pkts) != 1 || len(b.Slab) != 50 {
		t.Errorf("50 octets more fit into 49: %d packets, %d octets", len(b.Pkts), len(b.Slab))
	}
	b.Limit = 0
	if !AppendSegment(b, &s, 0) || b.Room() != 0 {
		t.Errorf("50 octets do not fit into 50")
	}
	if p := AppendHeader(NewBatch(100), &s, 0, 0); p == nil || len(p) != 0 {
		t.Errorf("a place of no octets: %v", p)
	}
	big := NewBatch(1 << 17)
	if AppendHeader(big, &s, MaxPacket-40+1, 0) != nil {
		t.Error("longer than MaxPacket")
	}
	if AppendHeader(big, &s, MaxPacket-40, 1000) == nil {
		t.Error("MaxPacket does not fit")
	}
}

func TestAppendHeaderInPlace(t *testing.T) {
	b := NewBatch(1000)
	s := Segment{Tuple: tuple6, Flags: ACK, Payload: []byte("not this")}
	copy(AppendHeader(b, &s, 5, 2), "hello")
	b.Finish()
	var got Segment
	if d := Parse(b.Bytes(0), &got, CsumFull); d != None || string(got.Payload) != "hello" {
		t.Errorf("%v %q", d, got.Payload)
	}
	if p := b.Pkts[0]; p.Seg != 2 || p.Csum != CsumFull {
		t.Errorf("%+v", p)
	}
	for seg, want := range map[int]uint16{0: 0, 7: 7, 8: 0, 9: 0} {
		b.Reset()
		if AppendSegment(b, &s, seg); b.Pkts[0].Seg != want {
			t.Errorf("8 octets by %d: Seg %d, want %d", seg, b.Pkts[0].Seg, want)
		}
	}
}

// Random octets, and packets with random changes, never do harm.
func TestParseRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	b := NewBatch(4096)
	var s Segment
	var e ICMPError
	for range 20000 {
		b.Reset()
		orig := randomSegment(r)
		AppendSegment(b, &orig, 0)
		pkt := b.Bytes(0)
		for range 1 + r.IntN(4) {
			pkt[r.IntN(len(pkt))] = byte(r.Uint32())
		}
		pkt = pkt[:r.IntN(len(pkt)+1)]
		if Parse(pkt, &s, CsumPartial) == None {
			_ = s.String()
		}
		if len(pkt) >= ipv4Len && pkt[0]>>4 == 4 {
			pkt[0] = 4<<4 | ipv4Len/4
			putIPv4Checksum(pkt)
			if Parse(pkt, &s, CsumPartial) == None {
				_ = s.String()
			}
		}
		ParseICMP(pkt, &e)
	}
}

func TestStringDecodes(t *testing.T) {
	s := Segment{Tuple: tuple4, Seq: 10, Ack: 20, Flags: ACK | PSH, Window: 30, Payload: []byte("abc")}
	s.Opt.NSACK, s.Opt.SACK[0] = 1, SACKBlock{40, 50}
	s.MP.Has, s.MP.Bad = DSS|RemoveAddr, MPJoin
	s.MP.DSS.HasMap, s.MP.DSS.Seq64, s.MP.DSS.Seq, s.MP.DSS.SSN, s.MP.DSS.Length = true, true, 7, 1, 3
	s.MP.DSS.HasAck, s.MP.DSS.Ack = true, 9
	s.MP.Remove.N, s.MP.Remove.IDs[0], s.MP.Remove.IDs[1] = 2, 4, 5
	want := "10.0.0.1:1000 ~ 10.0.0.2:2000 [P.] seq 10:13 ack 20 win 30 len 3 sack 40:50" +
		" <dss ack32 9 dsn64 7 ssn 1 len 3> <remove_addr 4 5> <bad mp_join>"
	if got := s.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	r := rand.New(rand.NewPCG(7, 8))
	for range 10000 {
		s := randomSegment(r)
		text := s.String()
		if strings.Contains(text, "%!") || strings.Contains(text, "\n") {
			t.Fatal(text)
		}
	}
}
