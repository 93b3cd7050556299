package subflow

import (
	"testing"
	"time"
)

// A path that was away is used again as soon as the peer is heard, not when
// the back-off is over: whatever the peer sent, data, an acknowledgment or a
// keepalive.
func TestHeardAfterSilenceEndsBackoff(t *testing.T) {
	tests := []struct {
		name string
		peer pkt
		ack  int // what we have of the peer's then
	}{
		{"data", pkt{f: fA, seq: 1, ack: 1, n: 100}, 101},
		{"old acknowledgment", pkt{f: fA, seq: 1, ack: 1}, 1},
		{"keepalive", pkt{f: fA, seq: 0, ack: 1}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := established(t, Config{})
			b.write(1000)
			b.advance(20 * time.Second)
			b.expectEvents(Suspect)
			b.out, b.segs = nil, nil
			b.send(tt.peer)
			found := false
			for _, p := range b.out {
				found = found || p.n == 1000 && p.seq == 1 && p.ack == tt.ack
			}
			if !found {
				t.Fatalf("no retransmission at once: %v", b.out)
			}
			b.out, b.segs = nil, nil
			b.advance(399 * ms) // and then it backs off as ever
			for _, p := range b.out {
				if p.n > 0 {
					t.Errorf("%v", p)
				}
			}
		})
	}
}

// A peer that is heard all the time shows that only our direction suffers:
// that may be congestion, and the back-off stands.
func TestHeardAllTheTimeKeepsBackoff(t *testing.T) {
	b := established(t, Config{})
	b.write(1000)
	for i := range 200 {
		b.advance(100 * ms)
		b.send(pkt{f: fA, seq: 1 + i, ack: 1, n: 1})
	}
	if n := b.sf.Info().RTOs; n > 7 { // 0.2 + 0.4 + ... + 12.8 s
		t.Errorf("%d expiries in 20 s", n)
	}
}
