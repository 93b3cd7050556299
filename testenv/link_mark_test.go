package testenv

import (
	"net/netip"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
)

// What is queued beyond the threshold gets a mark if it can bear one, and
// stays a valid packet.
func TestLinkMark(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, ecn := range []uint8{0, 1, 2, 3} {
			tuple := wire.Tuple{
				Local:  netip.AddrPortFrom(simAddr(0, 1, v6), 1000),
				Remote: netip.AddrPortFrom(simAddr(0, 2, v6), 2000),
			}
			b := wire.NewBatch(1 << 12)
			wire.AppendSegment(b, &wire.Segment{Tuple: tuple, Flags: wire.ACK, ECN: ecn, Payload: make([]byte, 900)}, 0)
			// Five packets of about 1 ms each wait; the first two stay below.
			l := NewLink(LinkConfig{Rate: 8e6, Mark: 2000, Delay: time.Millisecond})
			for range 5 {
				l.Push(0, b.Bytes(0))
			}
			marked := 0
			for i := range 5 {
				pkt, ok := l.Pop(l.Next(), nil)
				var s wire.Segment
				if why := wire.Parse(pkt, &s, wire.CsumFull); !ok || why != wire.None {
					t.Fatalf("IPv6 %v, codepoint %d: packet %d: %v", v6, ecn, i, why)
				}
				switch {
				case s.ECN == 3 && (ecn == 3 || i >= 2):
					marked++
				case s.ECN != ecn:
					t.Errorf("IPv6 %v, codepoint %d: packet %d has %d", v6, ecn, i, s.ECN)
				}
			}
			want := map[uint8]int{0: 0, 1: 3, 2: 3, 3: 5}[ecn]
			if marked != want {
				t.Errorf("IPv6 %v, codepoint %d: %d marked, want %d", v6, ecn, marked, want)
			}
			if n := l.Stats().Marked; ecn != 0 && n != 3 || ecn == 0 && n != 0 {
				t.Errorf("IPv6 %v, codepoint %d: Stats.Marked %d", v6, ecn, n)
			}
		}
	}
}
