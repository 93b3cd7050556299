package netio

import (
	"bytes"
	"testing"

	"github.com/mpnc/mpnc/internal/wire"
)

// Payload of trains goes straight to the memory that there is for it, and wherever the
// guess what comes next is wrong the packet is whole: the octets are the same.
func TestApart(t *testing.T) {
	needs(t, "ip")
	p := newPair(t)
	a, b := open(t, p.a), openDeaf(t, p.b)
	b.bind("[::]:80", true)
	var into []byte
	lent, unused := 0, 0
	b.PlaceInto(func() []byte { lent++; return into }, func() { unused++ })
	for _, w := range []way{
		{a, b, "a1", "10.0.1.1:1", "10.0.1.2:80"},
		{a, b, "a1", "[fd00:1::1]:1", "[fd00:1::2]:80"},
	} {
		in := wire.NewBatch(0)
		a.send(w.link, segment(w.from, w.to, wire.ACK|wire.PSH, big(1)))
		if err := b.Read(in); err != nil {
			t.Fatal(err)
		}
		w.await(true, "a neighbour is known")

		parted := 0
		for _, options := range []bool{false, true} { // so that headers change, too
			for round, sizes := range [][]int{
				{50_000},                         // nothing is known yet
				{50_000, 50_000, 50_000, 50_000}, // as before
				{60_000, 50_000, 60_000},         // longer
				{30_000, 60_000, 100, 59_999},    // shorter
				{60_000, 60_000, 0, 60_000},      // nothing at all
				{1000, 1000}, {60_000}, {60_000},
			} {
				into = bytes.Repeat([]byte{0xee}, 200_000)
				if round == 7 {
					into = into[:59_000] // too little
				}
				var want []byte
				for i, n := range sizes {
					data := bytes.Repeat([]byte{byte(round), byte(i), byte(n)}, n/3+1)[:n]
					want = append(want, data...)
					out := wire.NewBatch(70_000)
					out.Lane, out.MaxTrain = true, wire.MaxPacket
					s := segment(w.from, w.to, wire.ACK|wire.PSH, data)
					s.Opt.HasTS = options
					seg := 0
					if n > 1400 {
						seg = 1400
					}
					if !wire.AppendSegment(out, s, seg) {
						t.Fatal("no room")
					}
					if err := a.Write(a.ns.Link(w.link), out); err != nil {
						t.Fatal(err)
					}
				}
				var got []byte
				for packets := 0; packets < len(sizes); packets += len(in.Pkts) {
					if err := b.Read(in); err != nil {
						t.Fatal(err)
					}
					for i := range in.Pkts {
						var s wire.Segment
						if d := wire.ParseApart(in.Bytes(i), in.Rest(i), &s, in.Pkts[i].Csum); d != wire.None {
							t.Fatalf("%s, round %d: %v", w.to, round, d)
						}
						if in.Rest(i) != nil {
							parted++
						}
						got = append(got, s.Payload...)
					}
				}
				if !bytes.Equal(got, want) {
					t.Fatalf("%s, round %d, options %t: other octets arrived", w.to, round, options)
				}
			}
		}
		if parted < 8 {
			t.Errorf("%s: %d packets were read apart", w.to, parted)
		}
	}
	if unused == 0 || unused >= lent {
		t.Errorf("memory was lent %d times, and not used %d times", lent, unused)
	}
}

// Memory is lent for what one Read returns: whatever else arrives, nothing that is
// handed on later lies in it.
func TestApartOneAtATime(t *testing.T) {
	needs(t, "ip")
	p := newPair(t)
	a, b := open(t, p.a), openDeaf(t, p.b)
	b.bind("[::]:80", true)
	into := make([]byte, 200_000)
	lent, parted := false, 0
	b.PlaceInto(func() []byte {
		if lent {
			return nil
		}
		lent = true
		return into
	}, func() { lent = false })
	ways := []way{
		{a, b, "a1", "10.0.1.1:1", "10.0.1.2:80"},
		{a, b, "a1", "[fd00:1::1]:1", "[fd00:1::2]:80"},
	}
	in := wire.NewBatch(0)
	for _, w := range ways {
		a.send(w.link, segment(w.from, w.to, wire.ACK|wire.PSH, big(1)))
		if err := b.Read(in); err != nil {
			t.Fatal(err)
		}
		w.await(true, "a neighbour is known")
	}
	for round := range 60 {
		var want [2]int
		for k := range ways {
			i := (k + round/5) % 2
			w := ways[i]
			n := []int{50_000, 50_000, 50_000, 50_000, 1000}[(round+2*i)%5]
			for range 1 + (round+i)%3 {
				out := wire.NewBatch(70_000)
				out.Lane, out.MaxTrain = true, wire.MaxPacket
				s := segment(w.from, w.to, wire.ACK|wire.PSH, bytes.Repeat([]byte{byte(1 + i)}, n))
				if seg := 1400 * min(1, n/1401); !wire.AppendSegment(out, s, seg) {
					t.Fatal("no room")
				}
				if err := a.Write(a.ns.Link(w.link), out); err != nil {
					t.Fatal(err)
				}
				want[i] += n
			}
		}
		if round%4 > 0 { // all sockets are looked at
			b.hotReads = maxHotReads
		}
		for got := [2]int{}; got != want; {
			if err := b.Read(in); err != nil {
				t.Fatal(err)
			}
			for i := range in.Pkts {
				var s wire.Segment
				if d := wire.ParseApart(in.Bytes(i), in.Rest(i), &s, in.Pkts[i].Csum); d != wire.None {
					t.Fatal(d)
				}
				if in.Rest(i) != nil {
					if parted++; !lent {
						t.Fatalf("round %d: payload in memory that was given back", round)
					}
				}
				family := 0
				if s.Is6() {
					family = 1
				}
				if n := bytes.Count(s.Payload, []byte{byte(1 + family)}); n != len(s.Payload) {
					t.Fatalf("round %d: %d octets of %d are what was sent", round, n, len(s.Payload))
				}
				got[family] += len(s.Payload)
			}
			lent = false
			clear(into) // somebody else has it
		}
	}
	if parted == 0 {
		t.Error("nothing was read apart")
	}
}
