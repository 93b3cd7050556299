package testenv

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"testing"
)

// buildTCP returns an IP packet with a TCP segment and its right checksum.
func buildTCP(v6 bool, flags byte, seq, ack uint32, options, payload []byte) []byte {
	for len(options)%4 != 0 {
		options = append(options, optNOP)
	}
	seg := make([]byte, tcpHeader, tcpHeader+len(options)+len(payload))
	binary.BigEndian.PutUint16(seg, 1000)
	binary.BigEndian.PutUint16(seg[2:], 2000)
	binary.BigEndian.PutUint32(seg[tcpSeqAt:], seq)
	binary.BigEndian.PutUint32(seg[tcpAckAt:], ack)
	seg[12] = byte(tcpHeader+len(options)) / 4 << 4
	seg[tcpFlagsAt] = flags
	seg = append(append(seg, options...), payload...)

	var pkt []byte
	if v6 {
		pkt = make([]byte, 40)
		pkt[0], pkt[6], pkt[7] = 0x60, protoTCP, 64
		binary.BigEndian.PutUint16(pkt[4:], uint16(len(seg)))
		pkt[8], pkt[23], pkt[24], pkt[39] = 0xfd, 1, 0xfd, 2
	} else {
		pkt = make([]byte, 20)
		pkt[0], pkt[8], pkt[9] = 0x45, 64, protoTCP
		binary.BigEndian.PutUint16(pkt[2:], uint16(20+len(seg)))
		copy(pkt[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	}
	pkt = append(pkt, seg...)
	seg = pkt[len(pkt)-len(seg):]
	binary.BigEndian.PutUint16(seg[tcpSumAt:], ^tcpSum(pkt))
	return pkt
}

// tcpSum is the sum over segment and pseudo-header: 0xffff if the checksum is
// right. Written the slow way, as an oracle for the incremental updates.
func tcpSum(pkt []byte) uint16 {
	seg, addrs := pkt[20:], pkt[12:20]
	if pkt[0]>>4 == 6 {
		seg, addrs = pkt[40:], pkt[8:40]
	}
	sum := uint32(protoTCP) + uint32(len(seg))
	for _, part := range [][]byte{addrs, seg} {
		for i, b := range part {
			sum += uint32(b) << (8 * (1 - i%2))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// mpOption is an MPTCP option of n octets, which starts at an odd offset.
func mpOption(n int) []byte {
	o := append([]byte{optNOP}, bytes.Repeat([]byte{0xa5}, n)...)
	o[1], o[2] = optMPTCP, byte(n)
	return o
}

// hasMPTCP looks for an option of kind 30.
func hasMPTCP(pkt []byte) bool {
	t, ok := viewTCP(pkt)
	found := false
	if ok {
		t.options(func(at, n int) { found = found || t.seg[at] == optMPTCP })
	}
	return found
}

func TestStripMPTCP(t *testing.T) {
	kinds := []struct {
		name  string
		flags byte
		where Where
	}{
		{"SYN", tcpSYN, InSYN},
		{"SYN/ACK", tcpSYN | tcpACK, InSYNACK},
		{"data", tcpACK, InRest},
	}
	for _, v6 := range []bool{false, true} {
		for _, where := range []Where{InSYN, InSYNACK, InRest, InSYN | InRest, Everywhere} {
			box := StripMPTCP(where)
			for _, k := range kinds {
				mss := []byte{2, 4, 5, 180}
				before := buildTCP(v6, k.flags, 1, 2, append(mss, mpOption(12)...), []byte("payload"))
				after := box(bytes.Clone(before))
				if tcpSum(after) != 0xffff {
					t.Errorf("%s, where %b: checksum wrong", k.name, where)
				}
				if hasMPTCP(after) != (k.where&where == 0) {
					t.Errorf("%s, where %b: option present is %v", k.name, where, hasMPTCP(after))
				}
				if k.where&where == 0 && !bytes.Equal(before, after) {
					t.Errorf("%s, where %b: changed though not meant", k.name, where)
				}
				if !bytes.Contains(after, mss) || !bytes.HasSuffix(after, []byte("payload")) {
					t.Errorf("%s, where %b: more than the option is gone", k.name, where)
				}
			}
		}
	}
}

func TestStripMPTCPKeepsAWrongChecksumWrong(t *testing.T) {
	pkt := buildTCP(false, tcpSYN, 1, 0, mpOption(12), nil)
	pkt[20+tcpSumAt] ^= 0x40
	if tcpSum(StripMPTCP(Everywhere)(pkt)) == 0xffff {
		t.Error("the middlebox repaired a damaged segment")
	}
}

func TestMiddleboxesLeaveOthersAlone(t *testing.T) {
	shift, unshift := ShiftSequence(1000)
	all := Chain(StripMPTCP(Everywhere), DropMPTCP(Everywhere), CorruptPayload(1), shift, unshift)
	fragment := buildTCP(false, tcpACK, 1, 2, mpOption(4), []byte("x"))
	fragment[7] = 8
	truncated := buildTCP(false, tcpACK, 1, 2, mpOption(4), []byte("x"))
	truncated = truncated[:len(truncated)-1]
	badOffset := buildTCP(false, tcpACK, 1, 2, nil, nil)
	badOffset[20+12] = 0xf0
	udp := buildTCP(true, tcpACK, 1, 2, mpOption(4), []byte("x"))
	udp[6] = 17
	for name, pkt := range map[string][]byte{
		"nothing": {}, "rubbish": bytes.Repeat([]byte{7}, 100),
		"fragment": fragment, "truncated": truncated, "data offset": badOffset, "UDP": udp,
	} {
		if got := all(bytes.Clone(pkt)); !bytes.Equal(got, pkt) {
			t.Errorf("%s was changed", name)
		}
	}
	// An option with a length beyond the header ends the search.
	wild := buildTCP(false, tcpACK, 1, 2, []byte{optMPTCP, 200, 0, 0}, nil)
	if got := StripMPTCP(Everywhere)(bytes.Clone(wild)); !bytes.Equal(got, wild) {
		t.Error("an overlong option was stripped")
	}
}

func TestDropMPTCP(t *testing.T) {
	box := DropMPTCP(InSYN)
	if box(buildTCP(false, tcpSYN, 1, 0, mpOption(12), nil)) != nil {
		t.Error("SYN with the option passed")
	}
	if box(buildTCP(false, tcpSYN, 1, 0, nil, nil)) == nil {
		t.Error("plain SYN dropped")
	}
	if box(buildTCP(false, tcpACK, 1, 0, mpOption(12), nil)) == nil {
		t.Error("data dropped")
	}
}

func TestCorruptPayload(t *testing.T) {
	box := CorruptPayload(2)
	for i := 1; i <= 4; i++ {
		box(buildTCP(false, tcpACK, 1, 2, nil, nil)) // no payload: not counted
		for _, n := range []int{1, 2, 7} {
			payload := bytes.Repeat([]byte{byte(i)}, n)
			pkt := buildTCP(i > 2, tcpACK, 1, 2, nil, payload)
			once := CorruptPayload(1)(bytes.Clone(pkt))
			differ := 0
			for j := range pkt[len(pkt)-n:] {
				if once[len(pkt)-n+j] != payload[j] {
					differ++
				}
			}
			if differ != 1 || tcpSum(once) != 0xffff {
				t.Errorf("%d octets changed, sum %x", differ, tcpSum(once))
			}
		}
		pkt := buildTCP(false, tcpACK, 1, 2, nil, []byte("data"))
		if changed := !bytes.Equal(box(bytes.Clone(pkt)), pkt); changed != (i%2 == 0) {
			t.Errorf("segment %d changed: %v", i, changed)
		}
	}
}

func TestShiftSequence(t *testing.T) {
	forward, back := ShiftSequence(0xfffffff0)
	out := forward(buildTCP(false, tcpSYN, 0x20, 0, nil, nil))
	if got := binary.BigEndian.Uint32(out[20+tcpSeqAt:]); got != 0x10 || tcpSum(out) != 0xffff {
		t.Errorf("sequence number %#x, sum %#x", got, tcpSum(out))
	}
	sack := []byte{optNOP, optSACK, 10, 0, 0, 0, 5, 0, 0, 0, 8}
	in := back(buildTCP(true, tcpACK, 7, 0x10, sack, nil))
	view, _ := viewTCP(in)
	if got := binary.BigEndian.Uint32(view.seg[tcpAckAt:]); got != 0x20 || tcpSum(in) != 0xffff {
		t.Errorf("acknowledgement %#x, sum %#x", got, tcpSum(in))
	}
	if got := binary.BigEndian.Uint32(view.seg[tcpHeader+3:]); got != 0x15 {
		t.Errorf("left edge of SACK %#x, want 0x15", got)
	}
	if got := binary.BigEndian.Uint32(view.seg[tcpHeader+7:]); got != 0x18 {
		t.Errorf("right edge of SACK %#x, want 0x18", got)
	}
	if got := binary.BigEndian.Uint32(view.seg[tcpSeqAt:]); got != 7 {
		t.Errorf("sequence number of the way back changed to %d", got)
	}
}

// A NAT: what leaves has its address and a port of its own, what comes back for
// that finds its way, and nothing does any more once it forgot.
func TestRebindingNAT(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		outside := simAddr(0, 100, v6)
		n := NewRebindingNAT(outside)
		before := buildTCP(v6, tcpACK, 1, 2, mpOption(12), []byte("payload"))
		view, _ := viewTCP(before)
		src, dst := addressesOf(before)
		out := n.Out(bytes.Clone(before))
		seen, to := addressesOf(out)
		if seen != outside || to != dst || tcpSum(out) != 0xffff || len(out) != len(before) {
			t.Fatalf("IPv6 %v: from %v to %v, sum %#x", v6, seen, to, tcpSum(out))
		}
		if again := n.Out(bytes.Clone(before)); !bytes.Equal(again, out) {
			t.Errorf("IPv6 %v: the second packet goes out another way", v6)
		}
		reply := func() []byte { // from where it was sent to, back to where it seemed to come from
			b := bytes.Clone(before)
			v, _ := viewTCP(b)
			v.setAddress(b, sourceAddress, dst)
			v.setAddress(b, destinationAddress, seen)
			o, _ := viewTCP(out)
			v.set16(0, binary.BigEndian.Uint16(o.seg[2:]))
			v.set16(2, binary.BigEndian.Uint16(o.seg))
			return b
		}
		in := n.In(reply())
		if in == nil || tcpSum(in) != 0xffff {
			t.Fatalf("IPv6 %v: the answer is dropped or damaged", v6)
		}
		back, _ := viewTCP(in)
		if _, at := addressesOf(in); at != src || !bytes.Equal(back.seg[2:4], view.seg[:2]) {
			t.Errorf("IPv6 %v: the answer goes to %v, port %x", v6, at, back.seg[2:4])
		}
		n.Rebind(outside)
		if n.In(reply()) != nil {
			t.Errorf("IPv6 %v: what it forgot is let in", v6)
		}
		fresh := n.Out(bytes.Clone(before))
		if bytes.Equal(fresh[:len(fresh)-len(back.seg)+2], out[:len(out)-len(back.seg)+2]) {
			t.Errorf("IPv6 %v: the same port afterwards", v6)
		}
	}
}

// A line that damages packets: one bit each, of as many as it should, and
// checksums tell.
func TestFlipBits(t *testing.T) {
	box := FlipBits(0.5, 1)
	damaged := 0
	for range 1000 {
		before := buildTCP(false, tcpACK, 1, 2, nil, []byte("payload"))
		after := box(bytes.Clone(before))
		flipped := 0
		for i := range before {
			flipped += bits.OnesCount8(before[i] ^ after[i])
		}
		if flipped > 1 {
			t.Fatalf("%d bits differ", flipped)
		}
		damaged += flipped
	}
	if damaged < 450 || damaged > 550 {
		t.Errorf("%d of 1000 packets damaged", damaged)
	}
}
