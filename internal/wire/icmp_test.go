package wire

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// icmpAbout returns an ICMP error from router about the packet quoted.
func icmpAbout(router string, typ, code byte, rest uint32, quoted []byte) []byte {
	msg := binary.BigEndian.AppendUint32([]byte{typ, code, 0, 0}, rest)
	msg = append(msg, quoted...)
	src := netip.MustParseAddr(router)
	if src.Is4() {
		binary.BigEndian.PutUint16(msg[2:], ^Fold(Sum(msg, 0)))
		pkt := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, protoICMP, 0, 0}
		pkt = append(pkt, src.AsSlice()...)
		pkt = append(append(pkt, quoted[ip4Src:ip4Dst]...), msg...)
		binary.BigEndian.PutUint16(pkt[ip4TotalLen:], uint16(len(pkt)))
		putIPv4Checksum(pkt)
		return pkt
	}
	pkt := []byte{0x60, 0, 0, 0, 0, 0, protoICMP6, 64}
	pkt = append(pkt, src.AsSlice()...)
	pkt = append(pkt, quoted[ip6Src:ip6Dst]...)
	pseudo := Sum(pkt[ip6Src:], 0) + protoICMP6 + uint64(len(msg))
	binary.BigEndian.PutUint16(msg[2:], ^Fold(Sum(msg, pseudo)))
	pkt = append(pkt, msg...)
	binary.BigEndian.PutUint16(pkt[ip6PayloadLen:], uint16(len(msg)))
	return pkt
}

const (
	router4 = "192.0.2.1"
	router6 = "2001:db8:ff::1"
)

// RFC 9293, Section 3.9.2.2 (MUST-54 to MUST-56, SHLD-26); RFC 1191; RFC 4443.
func TestT21_T77_ICMPKinds(t *testing.T) {
	for _, v := range []struct {
		v6        bool
		typ, code byte
		rest      uint32
		kind      ICMPKind
		hard      bool
		mtu       int
	}{
		{false, 3, 0, 0, ICMPNetwork, false, 0},
		{false, 3, 1, 0, ICMPHost, false, 0},
		{false, 3, 2, 0, ICMPProtocol, true, 0},
		{false, 3, 3, 0, ICMPPort, true, 0},
		{false, 3, 4, 1400, ICMPTooBig, false, 1400},
		{false, 3, 4, 0, ICMPTooBig, false, 0},
		{false, 3, 4, 0xabcd0000 | 576, ICMPTooBig, false, 576},
		{false, 3, 5, 0, ICMPNetwork, false, 0},
		{false, 3, 9, 0, ICMPProhibited, false, 0},
		{false, 3, 13, 0, ICMPProhibited, false, 0},
		{false, 3, 99, 0, ICMPOther, false, 0},
		{false, 11, 0, 0, ICMPTimeExceeded, false, 0},
		{true, 1, 0, 0, ICMPNetwork, false, 0},
		{true, 1, 1, 0, ICMPProhibited, false, 0},
		{true, 1, 3, 0, ICMPHost, false, 0},
		{true, 1, 4, 0, ICMPPort, true, 0},
		{true, 1, 99, 0, ICMPOther, false, 0},
		{true, 2, 0, 1280, ICMPTooBig, false, 1280},
		{true, 2, 0, 0xffffffff, ICMPTooBig, false, MaxPacket},
		{true, 3, 0, 0, ICMPTimeExceeded, false, 0},
	} {
		tuple, router := tuple4, router4
		if v.v6 {
			tuple, router = tuple6, router6
		}
		quoted := packet(tuple, "payload")
		if !v.v6 {
			quoted[ip4TTL]-- // as a router does, here without mending the checksum
		}
		var e ICMPError
		// At the least, eight octets of the TCP header are quoted.
		for _, n := range []int{len(quoted), ipLen(tuple.Local.Addr()) + 8} {
			if !ParseICMP(icmpAbout(router, v.typ, v.code, v.rest, quoted[:n]), &e) {
				t.Errorf("%d/%d, %d octets quoted: not taken", v.typ, v.code, n)
				continue
			}
			want := ICMPError{Tuple: tuple, Seq: 100, Kind: v.kind, Hard: v.hard, MTU: v.mtu, Type: v.typ, Code: v.code}
			if e != want {
				t.Errorf("%d/%d: %+v, want %+v", v.typ, v.code, e, want)
			}
		}
		if v.v6 && !ParseICMP6(icmpAbout(router, v.typ, v.code, v.rest, quoted)[ipv6Len:], &e) {
			t.Errorf("%d/%d without IP header: not taken", v.typ, v.code)
		}
	}
}

func TestT21_ICMPIgnored(t *testing.T) {
	quote4, quote6 := packet(tuple4, "payload"), packet(tuple6, "payload")
	udp := fixedProto(packet(tuple4, "payload"), 17)
	fragment := packet(tuple4, "payload")
	fragment[ip4Frag+1] = 1
	foreign := icmpAbout(router4, 3, 3, 0, quote4)
	foreign[ip4Dst+3] = 99
	putIPv4Checksum(foreign)
	corrupt4 := icmpAbout(router4, 3, 3, 0, quote4)
	corrupt4[len(corrupt4)-1] ^= 1
	corrupt6 := icmpAbout(router6, 1, 4, 0, quote6)
	corrupt6[len(corrupt6)-1] ^= 1
	port0 := packet(ends("10.0.0.1:0", "10.0.0.2:2"), "")
	for name, pkt := range map[string][]byte{
		"source quench":                   icmpAbout(router4, 4, 0, 0, quote4),
		"echo reply":                      icmpAbout(router4, 0, 0, 0, quote4),
		"ICMPv6 echo request":             icmpAbout(router6, 128, 0, 0, quote6),
		"about UDP":                       icmpAbout(router4, 3, 3, 0, udp),
		"about a later fragment":          icmpAbout(router4, 3, 3, 0, fragment),
		"too little quoted":               icmpAbout(router4, 3, 3, 0, quote4[:27]),
		"half an IPv6 header quoted":      icmpAbout(router6, 1, 4, 0, quote6)[:ipv6Len+icmpLen+30],
		"IPv6 quoted in ICMPv4":           icmpAbout(router4, 3, 3, 0, quote6),
		"not for the sender of the quote": foreign,
		"ICMPv4 checksum":                 corrupt4,
		"ICMPv6 checksum":                 corrupt6,
		"port 0 quoted":                   icmpAbout(router4, 3, 3, 0, port0),
		"TCP":                             quote4,
		"empty":                           nil,
	} {
		var e ICMPError
		if ParseICMP(pkt, &e) {
			t.Errorf("%s: taken for %v", name, e)
		}
	}
	var e ICMPError
	msg := icmpAbout(router6, 1, 4, 0, quote6)[ipv6Len:]
	if mixed := append(msg[:icmpLen:icmpLen], quote4...); ParseICMP6(mixed, &e) {
		t.Errorf("IPv4 quoted in ICMPv6: taken for %v", e)
	}
	for n := range ipv6Len + icmpLen {
		if ParseICMP6(icmpAbout(router6, 1, 4, 0, quote6)[ipv6Len:][:n], &e) {
			t.Errorf("%d octets taken", n)
		}
	}
}
