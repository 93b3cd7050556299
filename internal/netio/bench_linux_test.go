package netio

import (
	"testing"

	"github.com/mpnc/mpnc/internal/wire"
)

// BenchmarkRaw sends packets of 1448 octets over a pair of interfaces and
// reads them.
func BenchmarkRaw(b *testing.B) {
	for _, c := range []struct{ name, from, to string }{
		{"IPv4", "10.0.1.1:1", "10.0.1.2:80"},
		{"IPv6", "[fd00:1::1]:1", "[fd00:1::2]:80"},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := newPair(b)
			tx, rx := openDeaf(b, p.a), openDeaf(b, p.b)
			rx.bind("[::]:80", true)
			out, in := wire.NewBatch(128<<10), wire.NewBatch(128<<10)
			for range 64 {
				wire.AppendSegment(out, segment(c.from, c.to, wire.ACK, big(1428)), 0)
			}
			link := p.a.Link("a1")
			b.SetBytes(1428)
			b.ResetTimer()
			for sent, got := 0, 0; got < b.N; {
				if sent-got < 64 {
					if err := tx.Write(link, out); err != nil {
						b.Fatal(err)
					}
					sent += len(out.Pkts)
				}
				if err := rx.Read(in); err != nil {
					b.Fatal(err)
				}
				got += len(in.Pkts)
			}
		})
	}
}
