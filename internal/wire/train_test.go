package wire

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/mpnc/mpnc/internal/seq"
)

// aTrain returns a batch with one train of n octets in segments of seg.
func aTrain(tuple Tuple, flags Flags, n, seg int, offload bool) (*Batch, Segment) {
	s := Segment{Tuple: tuple, Seq: 0xfffffff0, Ack: 5, Flags: flags, Window: 6, Payload: make([]byte, n)}
	for i := range s.Payload {
		s.Payload[i] = byte(i * 7)
	}
	s.Opt.HasTS, s.Opt.TSVal = true, 8
	s.MP.Has = DSS
	d := &s.MP.DSS
	d.HasAck, d.Ack64, d.Ack = true, true, 9
	d.HasMap, d.Seq64, d.Seq, d.SSN, d.Length = true, true, 10, 11, uint16(n)
	b := NewBatch(1 << 17)
	b.Offload = offload
	AppendSegment(b, &s, seg)
	b.Pkts[0].At, b.Pkts[0].Link = 77, 3
	return b, s
}

func TestCut(t *testing.T) {
	for _, tuple := range []Tuple{tuple4, tuple6} {
		b, s := aTrain(tuple, ACK|PSH|FIN|CWR, 2500, 1000, true)
		out := NewBatch(1 << 16)
		if !out.AppendCut(b.Bytes(0), b.Pkts[0]) {
			t.Fatal("no room")
		}
		if len(out.Pkts) != 3 {
			t.Fatalf("%d packets, want 3", len(out.Pkts))
		}
		flags := []Flags{ACK | CWR, ACK, ACK | PSH | FIN}
		for i, p := range out.Pkts {
			from, to := i*1000, min(i*1000+1000, 2500)
			want := mirror(s)
			want.Seq, want.Flags = s.Seq.Add(from), flags[i]
			var got Segment
			if d := Parse(out.Bytes(i), &got, p.Csum); d != None || p.Csum != CsumFull {
				t.Fatalf("packet %d: %v", i, d)
			}
			if !bytes.Equal(got.Payload, s.Payload[from:to]) || got.Seq != want.Seq || got.Flags != want.Flags ||
				got.MP != want.MP || got.Opt != want.Opt || got.Ack != want.Ack || got.Window != want.Window {
				t.Errorf("packet %d: %v\nwant %v", i, got, want)
			}
			if p.At != 77 || p.Link != 3 || p.Seg != 0 {
				t.Errorf("packet %d: %+v", i, p)
			}
			if id := binary.BigEndian.Uint16(out.Bytes(i)[ip4ID:]); tuple == tuple4 && int(id) != i {
				t.Errorf("packet %d: identification %d", i, id)
			}
		}
	}
}

func TestCutLeavesOthersAlone(t *testing.T) {
	udp := fixedProto(packet(tuple4, "hello"), 17)
	for name, pkt := range map[string][]byte{
		"short":  packet(tuple4, "hello"),
		"exact":  packet(tuple4, "12345678"),
		"UDP":    udp,
		"broken": {0x45, 0, 0},
	} {
		out := NewBatch(200)
		if !out.AppendCut(pkt, Packet{Seg: 8}) || len(out.Pkts) != 1 || !bytes.Equal(out.Bytes(0), pkt) ||
			out.Pkts[0].Seg != 0 {
			t.Errorf("%s: %+v", name, out.Pkts)
		}
	}
}

func fixedProto(pkt []byte, proto byte) []byte {
	pkt[9] = proto
	putIPv4Checksum(pkt)
	return pkt
}

func TestCutRoom(t *testing.T) {
	b, _ := aTrain(tuple4, ACK, 2500, 1000, false)
	out := NewBatch(3*80 + 2500 - 1)
	if out.AppendCut(b.Bytes(0), b.Pkts[0]) || len(out.Pkts) != 0 || len(out.Slab) != 0 {
		t.Error("fits into one octet less than it takes")
	}
	out = NewBatch(3*80 + 2500)
	if !out.AppendCut(b.Bytes(0), b.Pkts[0]) || out.Room() != 0 {
		t.Error("does not fit into what it takes")
	}
}

// A train that was corrupted after its checksum was made must not become valid
// by being cut.
func TestCutKeepsCorruption(t *testing.T) {
	for _, offload := range []bool{false, true} {
		b, _ := aTrain(tuple6, ACK, 2500, 1000, false)
		pkt := b.Bytes(0)
		pkt[len(pkt)-1] ^= 4
		out := NewBatch(1 << 16)
		out.Offload = offload
		out.AppendCut(pkt, b.Pkts[0])
		for i, p := range out.Pkts {
			var s Segment
			if d := Parse(out.Bytes(i), &s, p.Csum); d != BadChecksum {
				t.Errorf("packet %d: %v", i, d)
			}
		}
	}
}

// Cutting and merging are inverse: whatever the sizes, what is merged from the
// pieces of a train is that train, octet by octet.
func TestCutMergeInverse(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 600 {
		n, seg := 1+r.IntN(20000), 1+r.IntN(3000)
		if n/seg > 200 {
			continue
		}
		tuple := []Tuple{tuple4, tuple6}[r.IntN(2)]
		flags := []Flags{ACK, ACK | PSH, ACK | FIN, ACK | PSH | FIN, ACK | ECE}[r.IntN(5)]
		b, _ := aTrain(tuple, flags, n, seg, true)
		cut, merged := NewBatch(1<<17), NewBatch(1<<17)
		if !cut.AppendCut(b.Bytes(0), b.Pkts[0]) {
			t.Fatal("no room to cut")
		}
		for i, p := range cut.Pkts {
			if ok := merged.Merge(cut.Bytes(i), p); ok != (i > 0) {
				t.Fatalf("piece %d of %d octets by %d: merged %v", i, n, seg, ok)
			}
			if i == 0 {
				merged.AppendPacket(cut.Bytes(0), p)
			}
		}
		if len(cut.Pkts) == 1 {
			continue // never was a train; its checksum was completed
		}
		if !bytes.Equal(merged.Bytes(0), b.Bytes(0)) {
			t.Fatalf("%d octets by %d:\n%x\n%x", n, seg, merged.Bytes(0)[:80], b.Bytes(0)[:80])
		}
		if got, want := merged.Pkts[0], b.Pkts[0]; got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
	}
}

// A train in two halves, each a train.
func TestMergeTrains(t *testing.T) {
	b, s := aTrain(tuple4, ACK, 2000, 1000, false)
	rest := s
	rest.Seq = s.Seq.Add(2000)
	rest.Payload = s.Payload[:1500]
	b2 := NewBatch(4000)
	AppendSegment(b2, &rest, 1000)
	b2.Pkts[0].Link = 3
	if !b.Merge(b2.Bytes(0), b2.Pkts[0]) {
		t.Fatal("not merged")
	}
	var got Segment
	if d := Parse(b.Bytes(0), &got, CsumEither); d != None || len(got.Payload) != 3500 || b.Pkts[0].Seg != 1000 {
		t.Errorf("%v %+v", d, b.Pkts[0])
	}
	if b.Merge(b2.Bytes(0), b2.Pkts[0]) {
		t.Error("merged the same again, out of sequence and behind a short segment")
	}
}

func TestMergeRefuses(t *testing.T) {
	first := Segment{Tuple: tuple4, Seq: 100, Ack: 5, Flags: ACK, Window: 6, TTL: 64, Payload: make([]byte, 10)}
	first.Opt.HasTS, first.Opt.TSVal = true, 7
	next := first
	next.Seq = 110
	for _, v := range []struct {
		name   string
		change func(first, next *Segment)
		want   bool
	}{
		{"as it should be", func(*Segment, *Segment) {}, true},
		{"shorter", func(f, n *Segment) { n.Payload = n.Payload[:3] }, true},
		{"PSH on the second", func(f, n *Segment) { n.Flags |= PSH }, true},
		{"FIN on the second", func(f, n *Segment) { n.Flags |= FIN }, true},
		{"ECE on both", func(f, n *Segment) { f.Flags |= ECE; n.Flags |= ECE }, true},
		{"PSH on the first", func(f, n *Segment) { f.Flags |= PSH; n.Flags |= PSH }, false},
		{"FIN on the first", func(f, n *Segment) { f.Flags |= FIN }, false},
		{"ECE on one", func(f, n *Segment) { n.Flags |= ECE }, false},
		{"SYN", func(f, n *Segment) { f.Flags |= SYN; n.Flags |= SYN }, false},
		{"RST", func(f, n *Segment) { f.Flags |= RST; n.Flags |= RST }, false},
		{"URG", func(f, n *Segment) { f.Flags |= URG; n.Flags |= URG }, false},
		{"CWR", func(f, n *Segment) { n.Flags |= CWR; f.Flags |= CWR }, false},
		{"longer", func(f, n *Segment) { n.Payload = make([]byte, 11) }, false},
		{"empty", func(f, n *Segment) { n.Payload = nil }, false},
		{"behind an empty one", func(f, n *Segment) { f.Payload, n.Seq = nil, 100 }, false},
		{"a gap", func(f, n *Segment) { n.Seq++ }, false},
		{"other acknowledgment", func(f, n *Segment) { n.Ack++ }, false},
		{"other window", func(f, n *Segment) { n.Window++ }, false},
		{"other timestamp", func(f, n *Segment) { n.Opt.TSVal++ }, false},
		{"other port", func(f, n *Segment) { n.Tuple = ends("10.0.0.1:1001", "10.0.0.2:2000") }, false},
		{"other address", func(f, n *Segment) { n.Tuple = ends("10.0.0.3:1000", "10.0.0.2:2000") }, false},
		{"other family", func(f, n *Segment) { n.Tuple = tuple6 }, false},
		{"other ECN", func(f, n *Segment) { n.ECN = 3 }, false},
		{"other TTL", func(f, n *Segment) { n.TTL = 63 }, false},
		{"other mapping", func(f, n *Segment) { n.MP.Has = DSS; f.MP.Has = DSS; n.MP.DSS.HasAck = true; f.MP.Has = 0 }, false},
	} {
		f, n := first, next
		v.change(&f, &n)
		one, two := NewBatch(200), NewBatch(200)
		AppendSegment(one, &f, 0)
		AppendSegment(two, &n, 0)
		before := append([]byte(nil), one.Bytes(0)...)
		if got := one.Merge(two.Bytes(0), two.Pkts[0]); got != v.want {
			t.Errorf("%s: merged %v", v.name, got)
		} else if !got && !bytes.Equal(before, one.Bytes(0)) {
			t.Errorf("%s: changed", v.name)
		}
	}
}

func TestMergeRefusesBadChecksumAndOtherLink(t *testing.T) {
	make2 := func() (*Batch, *Batch) {
		b, s := aTrain(tuple4, ACK, 1000, 0, false)
		s.Seq = s.Seq.Add(1000)
		next := NewBatch(2000)
		AppendSegment(next, &s, 0)
		next.Pkts[0].Link = 3
		return b, next
	}
	if b, next := make2(); !b.Merge(next.Bytes(0), next.Pkts[0]) {
		t.Fatal("not merged though fine")
	}
	b, next := make2()
	next.Bytes(0)[500] ^= 1
	if b.Merge(next.Bytes(0), next.Pkts[0]) {
		t.Error("the second is corrupt")
	}
	b, next = make2()
	b.Bytes(0)[500] ^= 1
	if b.Merge(next.Bytes(0), next.Pkts[0]) {
		t.Error("the first is corrupt")
	}
	b, next = make2()
	next.Pkts[0].Link = 4
	if b.Merge(next.Bytes(0), next.Pkts[0]) {
		t.Error("of another link")
	}
	b, next = make2()
	b.Limit = len(b.Slab) + 999
	if b.Merge(next.Bytes(0), next.Pkts[0]) {
		t.Error("no room")
	}
}

// Behind a train whose last segment is short nothing can follow.
func TestMergeBehindShortTail(t *testing.T) {
	b, s := aTrain(tuple4, ACK, 2500, 1000, false)
	s.Seq, s.Payload = s.Seq.Add(2500), s.Payload[:1000]
	next := NewBatch(2000)
	AppendSegment(next, &s, 0)
	next.Pkts[0].Link = 3
	if b.Merge(next.Bytes(0), next.Pkts[0]) {
		t.Errorf("merged: %+v", b.Pkts[0])
	}
}

// The longest train is what an IP header can say.
func TestMergeUpToMaxPacket(t *testing.T) {
	b, s := aTrain(tuple4, ACK, 1400, 0, false)
	for {
		s.Seq += seq.Num(1400)
		next := NewBatch(2000)
		AppendSegment(next, &s, 0)
		next.Pkts[0].Link = 3
		if !b.Merge(next.Bytes(0), next.Pkts[0]) {
			break
		}
	}
	n := int(b.Pkts[0].Len)
	if n > MaxPacket || n < MaxPacket-1400 {
		t.Errorf("%d octets", n)
	}
	var got Segment
	if d := Parse(b.Bytes(0), &got, b.Pkts[0].Csum); d != None || len(got.Payload)%1400 != 0 {
		t.Errorf("%v, %d octets", d, len(got.Payload))
	}
}
