package wire

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

// FuzzParse: no input does harm, and what was understood of a packet is what
// is understood of a packet written from it.
func FuzzParse(f *testing.F) {
	r := rand.New(rand.NewPCG(11, 12))
	b := NewBatch(1 << 16)
	for range 40 {
		b.Reset()
		s := randomSegment(r)
		AppendSegment(b, &s, 0)
		f.Add(append([]byte(nil), b.Bytes(0)...), uint8(r.IntN(3)))
	}
	f.Add(withExtension(0, []byte{6, 0, 1, 4, 0, 0, 0, 0}), uint8(0))
	f.Add(withExtension(44, []byte{6, 0, 0, 1, 0, 0, 0, 0}), uint8(0))
	f.Fuzz(func(t *testing.T, pkt []byte, csum uint8) {
		var first, second Segment
		if Parse(pkt, &first, Csum(csum%3)) != None {
			return
		}
		_ = first.String()
		parseApart(t, pkt, &first, Csum(csum%3))
		out := NewBatch(1 << 17)
		back := mirror(first)
		if !AppendSegment(out, &back, 0) {
			t.Fatalf("no room for %v", &first)
		}
		if d := Parse(out.Bytes(0), &second, CsumFull); d != None {
			t.Fatalf("%v: %v", d, &first)
		}
		forget(&first, &second)
		if !reflect.DeepEqual(first, second) {
			t.Fatalf("first  %+v\nsecond %+v", first, second)
		}
		cutAgain(t, out)
	})
}

// forget removes from both what writing does not keep: that an option was
// unusable, a hop limit of zero, and what does not fit once every option has
// padding of its own.
func forget(first, second *Segment) {
	first.MP.Bad = 0
	if first.TTL == 0 {
		first.TTL = defaultTTL
	}
	if first.Opt.Len()+first.MP.Len() > maxOpt {
		first.MP, second.MP = MPOptions{}, MPOptions{}
	}
	if first.Opt.NSACK > second.Opt.NSACK {
		first.Opt.NSACK, first.Opt.SACK = 0, second.Opt.SACK
		second.Opt.NSACK = 0
	}
	if len(first.Payload) == 0 {
		first.Payload, second.Payload = nil, nil
	}
}

// cutAgain cuts the only packet of b into small pieces: every one is a valid
// segment, and their payloads add up.
func cutAgain(t *testing.T, b *Batch) {
	p := b.Pkts[0]
	p.Seg = 40
	out := NewBatch(1 << 18)
	if !out.AppendCut(b.Bytes(0), p) {
		return // headers of 100 octets on pieces of 40
	}
	var whole, piece Segment
	Parse(b.Bytes(0), &whole, CsumFull)
	n := 0
	for i, p := range out.Pkts {
		if d := Parse(out.Bytes(i), &piece, p.Csum); d != None {
			t.Fatalf("piece %d: %v", i, d)
		}
		if piece.Seq != whole.Seq.Add(n) {
			t.Fatalf("piece %d starts at %d, want %d", i, piece.Seq, whole.Seq.Add(n))
		}
		n += len(piece.Payload)
	}
	if n != len(whole.Payload) {
		t.Fatalf("%d octets, want %d", n, len(whole.Payload))
	}
}

// FuzzParseICMP: no input does harm, and what is taken names a usable tuple.
// parseApart parses pkt, which is want, with its payload elsewhere.
func parseApart(t *testing.T, pkt []byte, want *Segment, csum Csum) {
	var ip ipHeader
	var got Segment
	if d := parseIP(pkt, &ip, len(pkt)); d != None {
		t.Fatal(d)
	}
	head := ip.end - len(want.Payload)
	if d := ParseApart(pkt[:head:head], append([]byte(nil), pkt[head:]...), &got, csum); d != None {
		t.Fatalf("apart: %v: %v", d, want)
	}
	if len(got.Payload) == 0 {
		got.Payload = want.Payload // or nil
	}
	if !reflect.DeepEqual(got, *want) {
		t.Fatalf("whole %+v\napart %+v", *want, got)
	}
	for _, rest := range [][]byte{nil, pkt[head:max(head, ip.end-1)]} {
		if len(want.Payload) > 0 && ParseApart(pkt[:head:head], rest, &got, csum) == None {
			t.Fatalf("%d octets of %d are enough", len(rest), len(want.Payload))
		}
	}
}

func FuzzParseICMP(f *testing.F) {
	quote4, quote6 := packet(tuple4, "payload"), packet(tuple6, "payload")
	for _, typ := range []byte{3, 4, 11} {
		f.Add(icmpAbout(router4, typ, 4, 1400, quote4))
	}
	for _, typ := range []byte{1, 2, 3} {
		f.Add(icmpAbout(router6, typ, 0, 1280, quote6))
	}
	f.Add(icmpAbout(router6, 2, 0, 1280, withExtension(0, []byte{6, 0, 1, 4, 0, 0, 0, 0})))
	f.Fuzz(func(t *testing.T, pkt []byte) {
		var e ICMPError
		for _, ok := range []bool{ParseICMP(pkt, &e), ParseICMP6(pkt, &e), e.parse4(pkt)} {
			if !ok {
				continue
			}
			if e.MTU < 0 || e.MTU > MaxPacket {
				t.Fatalf("%v", e)
			}
		}
		if ParseICMP(pkt, &e) {
			l, r := e.Local, e.Remote
			if !usable(l.Addr()) || !usable(r.Addr()) || l.Port() == 0 || r.Port() == 0 || l.Addr().Is4() != r.Addr().Is4() {
				t.Fatalf("%v", e)
			}
		}
	})
}
