package wire

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/mpnc/mpnc/internal/seq"
)

func seqData(n uint64) seq.Data { return seq.Data(n) }

func octets(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// written returns the MPTCP option block of o.
func written(o MPOptions) string {
	which, _ := o.fit(maxOpt)
	return hex.EncodeToString(o.append(nil, which))
}

// optionsOf parses an option block on a segment with the flags given.
func optionsOf(flags Flags, block []byte) *Segment {
	s := &Segment{Flags: flags}
	s.parseOptions(block)
	return s
}

var (
	synackMAC = [20]byte{0x9e, 0x77, 0x20, 0xa3, 0xf9, 0x86, 0x70, 0x27}
	ackMAC    = JoinMAC(keyA, keyB, 0xe82e6df7, 0x0a3ad9bd)
)

// The bytes that the Linux kernel sends, in both directions through this package.
func TestOptionBytesOfTheKernel(t *testing.T) {
	addr := netip.MustParseAddr("10.9.0.2")
	var o [10]MPOptions
	o[0].Has = MPCapable
	o[0].Capable.Version, o[0].Capable.Flags = 1, CapSHA256

	o[1].Has = MPJoin
	o[1].Join.Form, o[1].Join.AddrID = JoinSYNACK, 5
	o[1].Join.MAC, o[1].Join.Nonce = synackMAC, 0x0a3ad9bd

	o[2].Has = AddAddr
	o[2].Add.ID, o[2].Add.Addr, o[2].Add.MAC = 5, addr, 0xf0e356b88da16821

	o[3].Has = AddAddr
	o[3].Add.Echo, o[3].Add.ID, o[3].Add.Addr = true, 5, addr

	o[4].Has = MPCapable
	c := &o[4].Capable
	c.Version, c.Flags, c.Keys = 1, CapSHA256|CapChecksum, 2
	c.Sender, c.Receiver = 0xd98247536e44cab2, 0xb2e216f4f3a3e65b
	c.HasLength, c.Length, c.HasCsum, c.Csum = true, 10, true, 0x2ad7

	o[5].Has = FastClose | TCPReset
	o[5].Fast.Key = 0x659c5b786144a46c

	o[6].Has = TCPReset
	o[6].Rst.Reason = ResetMPTCPError

	o[7].Has = MPJoin
	o[7].Join.Form = JoinACK
	copy(o[7].Join.MAC[:], ackMAC[:])

	o[8].Has = MPPrio
	o[8].Prio.Backup = true

	o[9].Has = DSS // DATA_FIN alone, both numbers 64 bits wide
	d := &o[9].DSS
	d.HasAck, d.Ack64, d.Ack = true, true, 0x0102030405060708
	d.HasMap, d.Seq64, d.Seq, d.Length, d.Fin = true, true, 0x1112131415161718, 1, true

	for i, v := range []struct {
		flags Flags
		want  string
	}{
		{SYN, "1e040101"},
		{SYN | ACK, "1e101005 9e7720a3f9867027 0a3ad9bd"},
		{ACK, "1e103005 0a090002 f0e356b88da16821"},
		{ACK, "1e083105 0a090002"},
		{ACK | PSH, "1e180181 d98247536e44cab2 b2e216f4f3a3e65b 000a 2ad7"},
		{RST | ACK, "1e0c7000 659c5b786144a46c 1e048000"},
		{RST | ACK, "1e048001"},
		{ACK, "1e181000 2472ddfc99adb6dd6dfcfe19a3e50c114679be2f"},
		{ACK, "1e035101"},
		{ACK, "1e1a201f 0102030405060708 1112131415161718 00000000 0001 0101"},
	} {
		want := strings.ReplaceAll(v.want, " ", "")
		got := written(o[i])
		if got != want {
			t.Errorf("%v: wrote %s, want %s", &o[i], got, want)
		}
		if back := optionsOf(v.flags, octets(t, want)).MP; back != o[i] {
			t.Errorf("%s: read %v, want %v", want, back, o[i])
		}
	}
}

// RFC 8684, Section 3.3 and others: reserved bits are ignored.
func TestW4_ReservedBitsIgnored(t *testing.T) {
	for _, v := range []struct {
		flags         Flags
		plain, filled string
	}{
		{SYN, "1e0c1105 00000001 00000002", "1e0c1f05 00000001 00000002"},
		{SYN | ACK, "1e101105 0000000100000002 00000003", "1e101f05 0000000100000002 00000003"},
		{ACK, "1e181000 000102030405060708090a0b0c0d0e0f10111213", "1e181fff 000102030405060708090a0b0c0d0e0f10111213"},
		{ACK, "1e082001 00000005", "1e082fe1 00000005"},
		{ACK, "1e103005 0a090002 f0e356b88da16821", "1e103e05 0a090002 f0e356b88da16821"},
		{ACK, "1e083105 0a090002", "1e083f05 0a090002"},
		{ACK, "1e044007", "1e044f07"},
		{ACK, "1e035101", "1e035f01"},
		{ACK, "1e0c6000 0102030405060708", "1e0c6fff 0102030405060708"},
		{ACK, "1e0c7000 0102030405060708", "1e0c7fff 0102030405060708"},
		{RST, "1e048102", "1e048f02"},
		{RST, "1e048002", "1e048e02"},
		{SYN, "1e0c1005 00000001 00000002", "1e0c1e05 00000001 00000002"},
		{ACK, "1e035001", "1e035e01"},
	} {
		plain, filled := optionsOf(v.flags, octets(t, v.plain)).MP, optionsOf(v.flags, octets(t, v.filled)).MP
		if plain.Has == 0 || plain.Bad != 0 {
			t.Errorf("%s: not read: %v", v.plain, plain)
		}
		if plain != filled {
			t.Errorf("%s: %v\n%s: %v", v.plain, plain, v.filled, filled)
		}
	}
}

// RFC 8684, Section 7.2; RFC 9293, Section 3.1 (MUST-6, MUST-7): what is not
// known or not well formed leaves the other options alone.
func TestW5_T17_UnknownAndMangledOptions(t *testing.T) {
	const dss = "1e082001 00000005"
	for _, v := range []struct {
		name, block string
		read        bool // the DSS
	}{
		{"alone", dss, true},
		{"unaligned", "01" + dss, true},
		{"subtype 9 before", "1e049000" + dss, true},
		{"experimental before", "1e0cf000 1122334455667788" + dss, true},
		{"subtype 15 of 2 octets before", "1e02" + dss, true},
		{"kind 253 before", "fd080000 00000000" + dss, true},
		{"timestamps of a wrong length before", "080400 00" + dss, true},
		{"MP_FAIL of a wrong length before", "1e046000" + dss, true},
		{"end of options before", "00" + dss, false},
		{"length 0 before", "1e00" + dss, false},
		{"length 1 before", "fd01" + dss, false},
		{"length past the end before", "fdff" + dss, false},
		{"length 0 behind", dss + "1e00", true},
		{"length 2 behind", dss + "1e02", true},
		{"length past the end behind", dss + "1e082001", true},
		{"kind without length behind", dss + "1e", true},
	} {
		mp := optionsOf(ACK, octets(t, v.block)).MP
		if read := mp.Has == DSS && mp.DSS.HasAck && mp.DSS.Ack == 5; read != v.read {
			t.Errorf("%s: %v", v.name, mp)
		}
	}
}

// RFC 8684, Section 3.1: the flags of the segment and the length of the option
// go together. Of the option, only length and version are varied here.
func TestH3_H6_CapableForms(t *testing.T) {
	fits := map[Flags][]int{
		SYN:       {4},
		SYN | ACK: {12},
		ACK:       {20, 22, 24},
		ACK | PSH: {20, 22, 24},
		RST:       nil, RST | ACK: nil, 0: nil, FIN: nil, SYN | RST: nil,
	}
	for flags, lengths := range fits {
		for n := 3; n <= 40; n++ {
			opt := make([]byte, n)
			opt[0], opt[1], opt[2] = optMPTCP, byte(n), 1
			if n > 3 {
				opt[3] = CapSHA256
			}
			good := false
			for _, l := range lengths {
				good = good || l == n
			}
			mp := optionsOf(flags, opt).MP
			if good != (mp.Has == MPCapable && mp.Bad == 0) || good == (mp.Bad == MPCapable && mp.Has == 0) {
				t.Errorf("%v length %d: %v", flags, n, mp)
			}
		}
	}
	v0 := optionsOf(SYN, octets(t, "1e0c0001 1122334455667788")).MP
	if v0.Has != 0 || v0.Bad != MPCapable {
		t.Errorf("SYN of version 0: %v", v0)
	}
	v2 := optionsOf(SYN, octets(t, "1e040281")).MP
	if v2.Has != MPCapable || v2.Capable.Version != 2 || v2.Capable.Flags != 0x81 {
		t.Errorf("SYN of version 2: %v", v2)
	}
}

func TestJoinForms(t *testing.T) {
	for _, v := range []struct {
		flags  Flags
		length int
		form   JoinForm
	}{
		{SYN, 12, JoinSYN}, {SYN | ACK, 16, JoinSYNACK}, {ACK, 24, JoinACK},
		{SYN, 16, 0}, {SYN, 24, 0}, {SYN | ACK, 12, 0}, {SYN | ACK, 24, 0}, {ACK, 12, 0}, {ACK, 16, 0},
		{RST, 24, 0}, {RST | ACK, 24, 0}, {ACK, 23, 0}, {ACK, 3, 0}, {SYN, 4, 0},
	} {
		opt := make([]byte, v.length)
		opt[0], opt[1], opt[2] = optMPTCP, byte(v.length), 1<<4
		mp := optionsOf(v.flags, opt).MP
		if v.form != 0 && (mp.Has != MPJoin || mp.Join.Form != v.form) || v.form == 0 && mp.Bad != MPJoin {
			t.Errorf("%v length %d: %v", v.flags, v.length, mp)
		}
	}
}

// RFC 8684, Section 3.3: a and m mean nothing when A and M are clear.
func TestD1_WidthWithoutNumber(t *testing.T) {
	mp := optionsOf(ACK, octets(t, "1e04200a")).MP
	if mp.Has != DSS || mp.Bad != 0 || mp.DSS.HasAck || mp.DSS.HasMap || mp.DSS.Ack64 || mp.DSS.Seq64 {
		t.Errorf("read %v", mp)
	}
	mp = optionsOf(ACK, octets(t, "1e082009 00000007")).MP // A, and m without M
	if mp.Has != DSS || !mp.DSS.HasAck || mp.DSS.Ack64 || mp.DSS.Ack != 7 || mp.DSS.Seq64 {
		t.Errorf("read %v", mp)
	}
}

// RFC 8684, Section 3.3: every combination of flags has one length, or two if
// there is a mapping: with and without checksum.
func TestD2_ChecksumFromLength(t *testing.T) {
	for flags := range 32 {
		want := 4
		if flags&dssAck != 0 {
			want += []int{4, 8}[flags&dssAck64/dssAck64]
		}
		if flags&dssMap != 0 {
			want += []int{10, 14}[flags&dssSeq64/dssSeq64]
		}
		for n := 3; n <= 40; n++ {
			opt := make([]byte, n)
			opt[0], opt[1], opt[2] = optMPTCP, byte(n), 2<<4
			if n > 3 {
				opt[3] = byte(flags)
			}
			csum := flags&dssMap != 0 && n == want+2
			good := n == want || csum
			mp := optionsOf(ACK, opt).MP
			if good != (mp.Has == DSS) || good == (mp.Bad == DSS) || mp.DSS.HasCsum != csum {
				t.Errorf("flags %#x length %d: %v", flags, n, mp)
			}
			if good && mp.DSS.Fin != (flags&dssMap != 0 && flags&dssFin != 0) {
				t.Errorf("flags %#x length %d: %v", flags, n, mp)
			}
		}
	}
}

func TestAddAddrForms(t *testing.T) {
	const v4, v6 = "0a090002", "20010db8000000000000000000000002"
	const mac = "0102030405060708"
	for _, v := range []struct {
		opt  string
		good bool
		port uint16
	}{
		{"1e103005" + v4 + mac, true, 0},
		{"1e123005" + v4 + "2774" + mac, true, 10100},
		{"1e083105" + v4, true, 0},
		{"1e0a3105" + v4 + "2774", true, 10100},
		{"1e1c3005" + v6 + mac, true, 0},
		{"1e1e3005" + v6 + "2774" + mac, true, 10100},
		{"1e143105" + v6, true, 0},
		{"1e163105" + v6 + "2774", true, 10100},
		{"1e083005" + v4, false, 0}, // not an echo, no HMAC: version 0
		{"1e083405" + v4, false, 0}, // the same with its IP version
		{"1e143605" + v6, false, 0}, // and of IPv6
		{"1e103105" + v4 + mac, false, 0},
		{"1e1c3105" + v6 + mac, false, 0},
		{"1e093105" + v4 + "00", false, 0},
		{"1e033005", false, 0},
		{"1e043005", false, 0},
	} {
		opt := octets(t, v.opt)
		opt[1] = byte(len(opt))
		mp := optionsOf(ACK, opt).MP
		if v.good != (mp.Has == AddAddr) || v.good == (mp.Bad == AddAddr) || mp.Add.Port != v.port {
			t.Errorf("%s: %v", v.opt, mp)
		}
	}
}

func TestP12_RemoveAddrList(t *testing.T) {
	for n := 0; n <= 37; n++ {
		opt := make([]byte, 3+n)
		opt[0], opt[1], opt[2] = optMPTCP, byte(3+n), 4<<4
		for i := range n {
			opt[3+i] = byte(100 + i)
		}
		mp := optionsOf(ACK, opt).MP
		if n == 0 {
			if mp.Bad != RemoveAddr {
				t.Errorf("empty list: %v", mp)
			}
			continue
		}
		if mp.Has != RemoveAddr || mp.Remove.N != n || mp.Remove.IDs[n-1] != byte(99+n) {
			t.Errorf("%d identifiers: %v", n, mp)
		}
	}
}

// RFC 8684, Section 3.3.8: the form with an identifier was version 0's.
func TestP15_PrioWithIdentifier(t *testing.T) {
	mp := optionsOf(ACK, octets(t, "1e045105 1e082001 00000005")).MP
	if mp.Has != DSS || mp.Bad != 0 {
		t.Errorf("read %v", mp)
	}
	if mp := optionsOf(ACK, octets(t, "1e055105 00")).MP; mp.Has != 0 || mp.Bad != MPPrio {
		t.Errorf("five octets: %v", mp)
	}
}

// RFC 8684, Section 3.6: MP_TCPRST is for RST segments.
func TestR9_TCPResetOnlyOnRST(t *testing.T) {
	opt := octets(t, "1e048103")
	for _, flags := range []Flags{ACK, ACK | FIN, SYN, SYN | ACK} {
		if mp := optionsOf(flags, opt).MP; mp.Has != 0 || mp.Bad != 0 {
			t.Errorf("%v: %v", flags, mp)
		}
	}
	for _, flags := range []Flags{RST, RST | ACK} {
		mp := optionsOf(flags, opt).MP
		if mp.Has != TCPReset || !mp.Rst.Transient || mp.Rst.Reason != ResetProhibited {
			t.Errorf("%v: %v", flags, mp)
		}
	}
	if mp := optionsOf(RST, octets(t, "1e0380")).MP; mp.Bad != TCPReset {
		t.Errorf("three octets: %v", mp)
	}
}

func TestFirstOfTwoCounts(t *testing.T) {
	mp := optionsOf(ACK, octets(t, "1e082001 00000005 1e082001 00000006")).MP
	if mp.Has != DSS || mp.DSS.Ack != 5 {
		t.Errorf("two good ones: %v", mp)
	}
	mp = optionsOf(ACK, octets(t, "1e062001 0000 1e082001 00000006")).MP
	if mp.Has != 0 || mp.Bad != DSS || mp.DSS.HasAck {
		t.Errorf("the first mangled: %v", mp)
	}
}

// RFC 9293 (MUST-65) and RFC 2018, RFC 7323: options of the handshake count on
// SYN segments only.
func TestT18_T46_HandshakeOptionsOnSYNOnly(t *testing.T) {
	block := octets(t, "020405b4 0402 080a 00000001 00000002 01 030307")
	s := optionsOf(SYN, block)
	want := TCPOptions{MSS: 1460, SACKPermitted: true, HasTS: true, TSVal: 1, TSEcr: 2, HasWScale: true, WScale: 7}
	if s.Opt != want {
		t.Errorf("SYN: %+v", s.Opt)
	}
	if s = optionsOf(ACK, block); s.Opt != (TCPOptions{HasTS: true, TSVal: 1, TSEcr: 2}) {
		t.Errorf("ACK: %+v", s.Opt)
	}
}

// RFC 7323, Section 2.3.
func TestT40_ShiftAbove14(t *testing.T) {
	if s := optionsOf(SYN, octets(t, "03030f")); s.Opt.WScale != 14 {
		t.Errorf("shift 15 read as %d", s.Opt.WScale)
	}
	if s := optionsOf(SYN, octets(t, "0303ff")); s.Opt.WScale != 14 {
		t.Errorf("shift 255 read as %d", s.Opt.WScale)
	}
}

func TestSACKLengths(t *testing.T) {
	for n := 2; n <= 40; n++ {
		opt := make([]byte, n)
		opt[0], opt[1] = optSACK, byte(n)
		want := 0
		if n == 10 || n == 18 || n == 26 || n == 34 {
			want = (n - 2) / 8
		}
		if s := optionsOf(ACK, opt); s.Opt.NSACK != want {
			t.Errorf("length %d: %d blocks", n, s.Opt.NSACK)
		}
	}
}

// RFC 8684, Appendix A: 40 octets for all; MPTCP goes before SACK.
func TestW6_T48_OptionSpace(t *testing.T) {
	var ack, both MPOptions
	ack.Has = DSS
	ack.DSS.HasAck, ack.DSS.Ack64 = true, true
	both = ack
	both.DSS.HasMap, both.DSS.Seq64 = true, true
	csum := both
	csum.DSS.HasCsum = true
	for _, v := range []struct {
		name          string
		ts            bool
		mp            MPOptions
		blocks, total int
	}{
		{"nothing", false, MPOptions{}, 4, 36},
		{"timestamps", true, MPOptions{}, 3, 40},
		{"DATA_ACK", false, ack, 3, 40},
		{"timestamps, DATA_ACK", true, ack, 1, 36},
		{"DATA_ACK, mapping", false, both, 1, 40},
		{"timestamps, DATA_ACK, mapping", true, both, 0, 40},
		{"timestamps, DATA_ACK, mapping, checksum", true, csum, 0, 40},
	} {
		s := Segment{Flags: ACK, MP: v.mp}
		s.Local, s.Remote = netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("10.0.0.2:2")
		s.Opt.HasTS = v.ts
		s.Opt.NSACK = 4
		if n := SACKRoom(s.Opt.Len() + s.MP.Len()); n != v.blocks {
			t.Errorf("%s: room for %d blocks, want %d", v.name, n, v.blocks)
		}
		if n := HeaderLen(&s) - 40; n != v.total {
			t.Errorf("%s: %d octets of options, want %d", v.name, n, v.total)
		}
		b := NewBatch(200)
		AppendSegment(b, &s, 0)
		var got Segment
		if d := Parse(b.Bytes(0), &got, CsumFull); d != None || got.Opt.NSACK != v.blocks || got.MP != v.mp {
			t.Errorf("%s: %v, %v", v.name, d, got)
		}
	}
}

// Options that would not fit are left out whole; the rest stays intact.
func TestW6_TooManyOptions(t *testing.T) {
	s := Segment{Flags: ACK}
	s.Local, s.Remote = netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("10.0.0.2:2")
	s.Opt.HasTS = true
	s.MP.Has = DSS | AddAddr | MPPrio
	s.MP.DSS.HasAck, s.MP.DSS.Ack64, s.MP.DSS.Ack = true, true, 77
	s.MP.Add.Addr, s.MP.Add.Port = netip.MustParseAddr("2001:db8::2"), 80
	b := NewBatch(200)
	AppendSegment(b, &s, 0)
	var got Segment
	if d := Parse(b.Bytes(0), &got, CsumFull); d != None {
		t.Fatal(d)
	}
	if got.MP.Has != DSS|MPPrio || got.MP.DSS.Ack != 77 || !got.Opt.HasTS {
		t.Errorf("got %v", got)
	}
}

// W6: ADD_ADDR with an IPv6 address and a port beside timestamps: 40 octets, if
// nothing is padded.
func TestW6_AddAddrBesideTimestamps(t *testing.T) {
	s := Segment{
		Tuple: Tuple{Local: netip.MustParseAddrPort("[2001:db8::1]:1"), Remote: netip.MustParseAddrPort("[2001:db8::2]:2")},
		Flags: ACK,
	}
	s.Opt.HasTS, s.Opt.TSVal, s.Opt.TSEcr = true, 0x01020304, 0x05060708
	s.MP.Has = AddAddr
	s.MP.Add.ID, s.MP.Add.Addr, s.MP.Add.Port, s.MP.Add.MAC = 5, netip.MustParseAddr("2001:db8::3"), 10100, 0x1122334455667788
	b := NewBatch(1000)
	if !AppendSegment(b, &s, 0) || HeaderLen(&s) != 40+20+40 {
		t.Fatalf("headers of %d octets", HeaderLen(&s))
	}
	var got Segment
	if d := Parse(b.Bytes(0), &got, CsumFull); d != None {
		t.Fatal(d)
	}
	if got.Opt.TSVal != s.Opt.TSVal || got.Opt.TSEcr != s.Opt.TSEcr || got.MP.Has != AddAddr || got.MP.Add != s.MP.Add {
		t.Errorf("read %+v", got)
	}
}
