package testenv

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// boxBench is a box with a connection through it: client port 1000 to server
// port 2000.
type boxBench struct {
	t   *testing.T
	box Box
	v6  bool
}

// send builds a segment that enters in direction d and returns what leaves, in
// order, as text: ">" to the server, "<" to the client, flags, numbers, length.
func (b *boxBench) send(d Direction, flags byte, seq, ack uint32, options []byte, payload string) []string {
	b.t.Helper()
	var out []string
	for _, s := range b.pass(d, b.segment(d, flags, seq, ack, options, payload)) {
		out = append(out, s.text)
	}
	return out
}

// leaving is a packet that a box has emitted.
type leaving struct {
	boxSegment
	d    Direction
	text string
}

func (b *boxBench) segment(d Direction, flags byte, seq, ack uint32, options []byte, payload string) []byte {
	pkt := buildTCP(b.v6, flags, seq, ack, options, []byte(payload))
	s, ok := takeApart(pkt)
	if !ok {
		b.t.Fatal("no segment")
	}
	s.window = 1000
	if d == ToClient {
		s.src, s.dst = s.dst, s.src
	}
	return s.packet()
}

func (b *boxBench) pass(d Direction, pkt []byte) (all []leaving) {
	b.t.Helper()
	b.box.Pass(d, pkt, func(d Direction, pkt []byte) {
		if tcpSum(pkt) != 0xffff {
			b.t.Errorf("a packet leaves with a wrong checksum")
		}
		if pkt[0]>>4 == 4 && fold(addWords(0, pkt[:20])) != 0xffff && binary.BigEndian.Uint16(pkt[10:]) != 0 {
			b.t.Errorf("a packet leaves with a wrong checksum of its header")
		}
		s, ok := takeApart(pkt)
		if !ok {
			b.t.Fatal("what leaves is no segment")
		}
		mark := ">"
		if d == ToClient {
			mark = "<"
		}
		for _, f := range []struct {
			bit  byte
			name string
		}{{tcpSYN, "S"}, {tcpFIN, "F"}, {tcpRST, "R"}, {tcpPSH, "P"}, {tcpACK, "."}} {
			if s.has(f.bit) {
				mark += f.name
			}
		}
		text := fmt.Sprintf("%s %d:%d %d %q", mark, s.seq, len(s.payload), s.ack, s.payload)
		if hasMPTCP(pkt) {
			text += " mp"
		}
		all = append(all, leaving{s, d, text})
	})
	return all
}

func (b *boxBench) want(what string, got []string, want ...string) {
	b.t.Helper()
	if !slices.Equal(got, want) {
		b.t.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, "; "), strings.Join(want, "; "))
	}
}

// benches runs a test over both families.
func benches(t *testing.T, f func(*boxBench)) {
	for _, v6 := range []bool{false, true} {
		f(&boxBench{t: t, v6: v6})
	}
}

func TestBoxRenumber(t *testing.T) {
	benches(t, func(b *boxBench) {
		b.box = Renumber()
		const up, down = 0x5a5a1234, 0xfff00001
		out := b.pass(ToServer, b.segment(ToServer, tcpSYN, 100, 0, nil, ""))
		if len(out) != 1 || out[0].seq != 100+up {
			t.Fatalf("SYN leaves as %v", out)
		}
		out = b.pass(ToClient, b.segment(ToClient, tcpSYN|tcpACK, 200, 101+up, nil, ""))
		if shifted := uint64(200 + down); len(out) != 1 || out[0].seq != uint32(shifted) || out[0].ack != 101 {
			t.Fatalf("SYN/ACK leaves as %v", out)
		}
		shifted := uint64(201 + down)
		out = b.pass(ToServer, b.segment(ToServer, tcpACK, 101, uint32(shifted), nil, "x"))
		if len(out) != 1 || out[0].seq != 101+up || out[0].ack != 201 {
			t.Fatalf("data leaves as %v", out)
		}
	})
}

func TestBoxNAT(t *testing.T) {
	for _, ports := range []bool{false, true} {
		benches(t, func(b *boxBench) {
			b.box = NAT(ports)
			in := b.segment(ToServer, tcpSYN, 1, 0, nil, "")
			before, _ := takeApart(in)
			out := b.pass(ToServer, in)
			addr := out[0].src.Addr().AsSlice()
			if addr[len(addr)-1] != NATHost || (out[0].src.Port() == 1000) == ports || out[0].dst != before.dst {
				t.Errorf("leaves from %v to %v", out[0].src, out[0].dst)
			}
			again := b.pass(ToServer, b.segment(ToServer, tcpACK, 2, 9, nil, "x"))
			if again[0].src != out[0].src {
				t.Errorf("another packet leaves from %v", again[0].src)
			}
			answer := out[0].boxSegment
			answer.src, answer.dst = answer.dst, answer.src
			back := b.pass(ToClient, answer.packet())
			if back[0].dst != before.src || back[0].src != before.dst {
				t.Errorf("the answer goes from %v to %v", back[0].src, back[0].dst)
			}
		})
	}
}

func TestBoxSplit(t *testing.T) {
	benches(t, func(b *boxBench) {
		b.box = Split(3, true)
		b.want("short", b.send(ToServer, tcpACK, 10, 5, mpOption(8), "abc"), `>. 10:3 5 "abc" mp`)
		b.want("copied", b.send(ToServer, tcpACK|tcpPSH|tcpFIN, 10, 5, mpOption(8), "abcdefg"),
			`>. 10:3 5 "abc" mp`, `>. 13:3 5 "def" mp`, `>FP. 16:1 5 "g" mp`)
		b.box = Split(3, false)
		b.want("with the first only", b.send(ToClient, tcpACK, 10, 5, mpOption(8), "abcdefg"),
			`<. 10:3 5 "abc" mp`, `<. 13:3 5 "def"`, `<. 16:1 5 "g"`)
	})
}

func TestBoxMerge(t *testing.T) {
	body := strings.Repeat("x", mergedMSS)
	benches(t, func(b *boxBench) {
		for _, any := range []bool{false, true} {
			b.box = Merge(any)
			syn := b.pass(ToServer, b.segment(ToServer, tcpSYN, 9, 0, []byte{2, 4, 5, 180}, ""))
			if mss := syn[0].option(optMSS); binary.BigEndian.Uint16(mss[2:]) != mergedMSS {
				t.Errorf("MSS %v", mss)
			}
			b.want("held", b.send(ToServer, tcpACK, 10, 5, mpOption(8), body))
			joined := b.pass(ToServer, b.segment(ToServer, tcpACK|tcpPSH, 10+mergedMSS, 6, mpOption(8), body))
			if len(joined) != 1 || len(joined[0].payload) != 2*mergedMSS || joined[0].ack != 6 || !joined[0].has(tcpPSH) || !bytes.Equal(joined[0].option(optMPTCP), mpOption(8)[1:]) {
				t.Errorf("equal options: %v", joined)
			}
			b.want("held again", b.send(ToServer, tcpACK, 20, 5, mpOption(8), body))
			other := b.pass(ToServer, b.segment(ToServer, tcpACK|tcpPSH, 20+mergedMSS, 5, mpOption(12), body))
			if any != (len(other) == 1) || len(other[0].option(optMPTCP)) != 8 {
				t.Errorf("other options, any %v: %d packets", any, len(other))
			}
			b.want("held once more", b.send(ToServer, tcpACK, 30, 5, nil, body))
			if out := b.send(ToServer, tcpACK|tcpPSH, 40+mergedMSS, 5, nil, body); len(out) != 2 {
				t.Errorf("after a gap: %d packets", len(out))
			}
			b.want("held for the last time", b.send(ToServer, tcpACK, 50, 5, nil, body))
			if out := b.send(ToClient, tcpACK, 5, 50, nil, ""); len(out) != 2 || out[0][0] != '>' || out[1][0] != '<' {
				t.Errorf("a packet of the other way: %v", out)
			}
		}
	})
}

// The edits of a stream, and the numbers that come back: as the sender would
// see them without the box.
func TestBoxEdit(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change int
		sends  []string // what is sent, each after the other, from number 1 on
		leaves []string
		acks   [][2]uint32 // that come back, and as what
	}{
		{"inserts", 2, []string{"abc", "def", "ghi"},
			[]string{`>. 1:3 0 "abc"`, `>. 4:5 0 "d\x00\x00ef"`, `>. 9:3 0 "ghi"`},
			[][2]uint32{{1, 1}, {4, 4}, {5, 5}, {6, 5}, {7, 5}, {8, 6}, {9, 7}, {12, 10}}},
		{"inserts between segments", 2, []string{"abcd", "efg"},
			[]string{`>. 1:4 0 "abcd"`, `>. 5:5 0 "\x00\x00efg"`},
			[][2]uint32{{5, 5}, {7, 5}, {10, 8}}},
		{"takes away", -2, []string{"abcdefg", "hi"},
			[]string{`>. 1:5 0 "abcdg"`, `>. 6:2 0 "hi"`},
			[][2]uint32{{4, 4}, {6, 8}, {8, 10}}},
		{"takes away over a border", -2, []string{"abcde", "fgh", "ij"},
			[]string{`>. 1:4 0 "abcd"`, `>. 5:2 0 "gh"`, `>. 7:2 0 "ij"`},
			[][2]uint32{{4, 4}, {7, 9}, {9, 11}}},
	} {
		benches(t, func(b *boxBench) {
			b.box = Edit(4, tt.change)
			b.send(ToServer, tcpSYN, 0, 0, nil, "")
			b.send(ToClient, tcpSYN|tcpACK, 700, 1, nil, "")
			for range 2 { // and again, as retransmissions
				seq := uint32(1)
				for i, text := range tt.sends {
					b.want(tt.name, b.send(ToServer, tcpACK, seq, 0, nil, text), tt.leaves[i])
					seq += uint32(len(text))
				}
			}
			for _, a := range tt.acks {
				sack := binary.BigEndian.AppendUint32([]byte{optSACK, 10}, a[0])
				sack = binary.BigEndian.AppendUint32(sack, a[0])
				out := b.pass(ToClient, b.segment(ToClient, tcpACK, 701, a[0], sack, ""))
				got := binary.BigEndian.Uint32(out[0].option(optSACK)[2:])
				if out[0].ack != a[1] || got != a[1] {
					t.Errorf("%s: ACK %d comes back as %d, SACK as %d, want %d", tt.name, a[0], out[0].ack, got, a[1])
				}
			}
		})
	}
}

func TestBoxEditGrowsBeyondMTU(t *testing.T) {
	benches(t, func(b *boxBench) {
		b.box = Edit(4, 3)
		b.send(ToServer, tcpSYN, 0, 0, nil, "")
		full := 1460
		if b.v6 {
			full = 1440
		}
		out := b.pass(ToServer, b.segment(ToServer, tcpACK, 1, 0, nil, strings.Repeat("x", full)))
		if len(out) != 2 || len(out[0].payload) != full || len(out[1].payload) != 3 || out[1].seq != 1+uint32(full) {
			t.Errorf("leaves as %d packets", len(out))
		}
	})
}

func TestBoxAckEarly(t *testing.T) {
	benches(t, func(b *boxBench) {
		b.box = AckEarly(ToServer, 2, 3)
		ts := []byte{optTimestamps, 10, 0, 0, 0, 7, 0, 0, 0, 9}
		b.want("SYN", b.send(ToServer, tcpSYN, 0, 0, nil, ""), `>S 0:0 0 ""`)
		b.want("SYN/ACK", b.send(ToClient, tcpSYN|tcpACK, 50, 1, ts, ""), `<S. 50:0 1 ""`)
		b.want("the first data passes", b.send(ToServer, tcpACK, 1, 51, ts, "ab"), `>. 1:2 51 "ab"`)
		out := b.pass(ToServer, b.segment(ToServer, tcpACK, 3, 51, ts, "cd"))
		if len(out) != 2 || out[0].text != `<. 51:0 5 ""` || out[1].text != `>. 3:2 51 "cd"` {
			t.Errorf("the second: %v", out)
		} else if echo := out[0].option(optTimestamps); binary.BigEndian.Uint32(echo[2:]) != 7 || binary.BigEndian.Uint32(echo[6:]) != 7 || out[0].window != 1000 {
			t.Errorf("its ACK has timestamps %v and window %d", echo, out[0].window)
		}
		b.want("the third is lost", b.send(ToServer, tcpACK, 5, 51, nil, "ef"), `<. 51:0 7 ""`)
		b.want("beyond a gap", b.send(ToServer, tcpACK, 9, 51, nil, "ij"), `<. 51:0 7 ""`, `>. 9:2 51 "ij"`)
		b.want("an ACK from behind", b.send(ToClient, tcpACK, 51, 3, []byte{optSACK, 10, 0, 0, 0, 9, 0, 0, 0, 11}, ""), `<. 51:0 7 ""`)
		b.want("data from behind", b.send(ToClient, tcpACK, 51, 5, nil, "z"), `<. 51:1 7 "z"`)
	})
}

func TestBoxShrinkWindow(t *testing.T) {
	benches(t, func(b *boxBench) {
		b.box = ShrinkWindow(400)
		b.send(ToServer, tcpSYN, 0, 0, []byte{3, 3, 2}, "") // a shift of 2
		var windows []int
		for range 10 {
			out := b.pass(ToServer, b.segment(ToServer, tcpACK, 1, 1, nil, ""))
			windows = append(windows, int(out[0].window)<<2)
		}
		if want := []int{400, 400, 200, 200, 200, 200, 400, 400, 400, 400}; !slices.Equal(windows, want) {
			t.Errorf("windows %v, want %v", windows, want)
		}
		if out := b.pass(ToClient, b.segment(ToClient, tcpACK, 1, 1, nil, "")); out[0].window != 400 {
			t.Errorf("the other way, without a shift: %d", out[0].window)
		}
	})
}

func TestBoxInjectReset(t *testing.T) {
	for _, tt := range []struct {
		d    Direction
		want []string
	}{
		{BothWays, []string{`>. 3:2 51 "cd"`, `>R. 5:0 51 ""`, `<R. 51:0 5 ""`}},
		{ToServer, []string{`>. 3:2 51 "cd"`, `>R. 5:0 51 ""`}},
		{ToClient, []string{`>. 3:2 51 "cd"`, `<R. 51:0 5 ""`}},
	} {
		benches(t, func(b *boxBench) {
			b.box = InjectReset(2, 1, tt.d)
			b.want("SYN", b.send(ToServer, tcpSYN, 0, 0, nil, ""), `>S 0:0 0 ""`)
			b.want("first", b.send(ToServer, tcpACK, 1, 51, nil, "ab"), `>. 1:2 51 "ab"`)
			b.want("second", b.send(ToServer, tcpACK, 3, 51, nil, "cd"), tt.want...)
			b.want("third", b.send(ToServer, tcpACK, 5, 51, nil, "ef"), `>. 5:2 51 "ef"`)
			for i := range 4 { // another connection
				s, _ := takeApart(b.segment(ToServer, tcpACK, uint32(i), 51, nil, "g"))
				s.src = netip.AddrPortFrom(s.src.Addr(), 1001)
				if out := b.pass(ToServer, s.packet()); len(out) != 1 {
					t.Errorf("the second connection: %v", out)
				}
			}
		})
	}
}

func TestBoxDropPair(t *testing.T) {
	benches(t, func(b *boxBench) {
		s, _ := takeApart(b.segment(ToServer, tcpSYN, 0, 0, nil, ""))
		b.box = DropPair(s.src.Addr(), s.dst.Addr())
		b.want("there", b.send(ToServer, tcpSYN, 0, 0, nil, ""))
		b.want("back", b.send(ToClient, tcpSYN, 0, 0, nil, ""))
		s.src = netip.AddrPortFrom(s.src.Addr().Next().Next().Next(), 1000)
		if out := b.pass(ToServer, s.packet()); len(out) != 1 {
			t.Error("another pair does not pass")
		}
	})
}

// Each and Series: what goes to the server passes the boxes in order, what comes
// back in the other, also what a box in the middle sends back.
func TestBoxSeries(t *testing.T) {
	benches(t, func(b *boxBench) {
		add := func(d Direction, text string) Box {
			return Each(d, func(pkt []byte) []byte {
				s, _ := takeApart(pkt)
				s.payload = append(s.payload, text...)
				return s.packet()
			})
		}
		drop := Each(ToClient, func(pkt []byte) []byte {
			if s, _ := takeApart(pkt); bytes.HasPrefix(s.payload, []byte("drop")) {
				return nil
			}
			return pkt
		})
		b.box = Series(add(BothWays, "1"), add(ToServer, "2"), InjectReset(1, 1, ToClient), add(BothWays, "3"), drop)
		b.want("there", b.send(ToServer, tcpACK, 5, 9, nil, "x"), `>. 5:4 9 "x123"`, `<R. 9:1 8 "1"`)
		b.want("back", b.send(ToClient, tcpACK, 9, 5, nil, "y"), `<. 9:3 5 "y31"`)
		b.want("dropped", b.send(ToClient, tcpACK, 9, 5, nil, "drop"))
	})
}

// A box leaves what is no TCP alone.
func TestBoxesLeaveOthersAlone(t *testing.T) {
	udp := buildTCP(false, tcpACK, 1, 2, mpOption(4), []byte("payload"))
	udp[9] = 17
	boxes := Series(Renumber(), NAT(true), Split(3, false), Merge(true), Edit(0, 3), AckEarly(BothWays, 0, 1),
		ShrinkWindow(1), InjectReset(0, 9, BothWays), DropPair(simAddr(0, 1, false), simAddr(0, 2, false)))
	for _, pkt := range [][]byte{udp, udp[:19], {}} {
		n := 0
		boxes.Pass(ToServer, bytes.Clone(pkt), func(d Direction, out []byte) {
			if n++; d != ToServer || !bytes.Equal(out, pkt) {
				t.Errorf("%x leaves as %x", pkt, out)
			}
		})
		if n != 1 {
			t.Errorf("%d packets leave", n)
		}
	}
}

// Interpose: what a box sends back comes out of the other link, with the Ethernet
// addresses turned round, and counters tell what the box kept.
func TestBoxOnLinks(t *testing.T) {
	there := NewLink(LinkConfig{Header: etherHeader, Delay: time.Second})
	back := NewLink(LinkConfig{Header: etherHeader, Delay: time.Second})
	drops := Each(ToClient, func([]byte) []byte { return nil })
	Interpose(Series(InjectReset(1, 1, ToClient), drops), there, back)
	frame := append([]byte("serverclient\x08\x00"), buildTCP(false, tcpACK, 1, 2, nil, []byte("x"))...)
	if !there.Push(0, frame) {
		t.Error("the segment does not pass")
	}
	if got, ok := there.Pop(1<<40, nil); !ok || !bytes.Equal(got, frame) {
		t.Errorf("%q arrives", got)
	}
	got, ok := back.Pop(1<<40, nil)
	if s, isSegment := takeApart(got[min(etherHeader, len(got)):]); !ok || !isSegment || !s.has(tcpRST) || string(got[:12]) != "clientserver" {
		t.Errorf("%q comes back", got)
	}
	if back.Push(5, frame) {
		t.Error("what the box drops passes")
	}
	if s := back.Stats(); s.Pushed != 2 || s.Delivered != 1 || s.DropMiddlebox != 1 {
		t.Errorf("%+v", s)
	}
	if there.Push(9, []byte("short")) != true {
		t.Error("a short frame does not pass")
	}
}
