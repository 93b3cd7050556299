package wire

import (
	"fmt"
	"testing"
)

// One packet in, one out: nothing may be allocated.
func TestNoAllocation(t *testing.T) {
	train, s := aTrain(tuple6, ACK|PSH, 20000, 1400, true)
	b, cut := NewBatch(1<<16), NewBatch(1<<16)
	b.Pkts, cut.Pkts = make([]Packet, 0, 64), make([]Packet, 0, 64)
	cut.AppendCut(train.Bytes(0), train.Pkts[0]) // Merge is tried on its pieces
	icmp := icmpAbout(router4, 3, 4, 1400, packet(tuple4, "payload"))
	var got Segment
	var e ICMPError
	for name, f := range map[string]func(){
		"Parse":         func() { Parse(train.Bytes(0), &got, CsumEither) },
		"AppendSegment": func() { b.Reset(); AppendSegment(b, &s, 1400) },
		"AppendCut":     func() { cut.Reset(); cut.AppendCut(train.Bytes(0), train.Pkts[0]) },
		"Merge": func() {
			b.Reset()
			b.AppendPacket(cut.Bytes(0), cut.Pkts[0])
			b.Merge(cut.Bytes(1), cut.Pkts[1])
		},
		"ParseICMP": func() { ParseICMP(icmp, &e) },
		"Token":     func() { Token(keyA) },
	} {
		if n := testing.AllocsPerRun(50, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkSum(b *testing.B) {
	for _, n := range []int{20, 1400, 65536} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			buf := make([]byte, n)
			b.SetBytes(int64(n))
			for b.Loop() {
				Sum(buf, 0)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, n := range []int{0, 1400, 60000} {
		for name, offload := range map[string]bool{"full": false, "partial": true} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				batch, _ := aTrain(tuple4, ACK, n, 1400, offload)
				pkt, csum := batch.Bytes(0), batch.Pkts[0].Csum
				var s Segment
				b.ReportAllocs()
				for b.Loop() {
					if Parse(pkt, &s, csum) != None {
						b.Fatal("dropped")
					}
				}
			})
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{0, 1400, 60000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			batch, s := aTrain(tuple4, ACK, n, 1400, true)
			b.ReportAllocs()
			for b.Loop() {
				batch.Reset()
				AppendSegment(batch, &s, 1400)
			}
		})
	}
}

func BenchmarkJoinMAC(b *testing.B) {
	for b.Loop() {
		JoinMAC(keyA, keyB, 1, 2)
	}
}
