package subflow

import (
	"testing"

	"github.com/mpnc/mpnc/internal/wire"
)

// T18: an MSS of the user's is told in the SYN, in its answer and in a cookie,
// and nothing that is sent is larger; it never exceeds what the path takes.
func TestT18_MSSOfTheUsers(t *testing.T) {
	for _, c := range []struct {
		name           string
		mss, peer, mtu int
		told, sent     int
	}{
		{"none", 0, 1460, 1500, 1460, 1460},
		{"ours", 700, 1460, 1500, 700, 700},
		{"the peer's is smaller", 700, 600, 1500, 700, 600},
		{"the path's is smaller", 9000, 1460, 1400, 1360, 1360},
		{"too small", 1, 1460, 1500, LeastMSS, LeastMSS},
		{"too large", 1 << 20, 65495, 65535, MostMSS, MostMSS},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := Config{MSS: c.mss, MTU: c.mtu, NoTimestamps: true}
			b, cfg := newBench(t, cfg)
			b.sf = Dial(b.now, wire.Tuple{Local: addrA, Remote: addrB}, cfg)
			b.poll()
			if got := b.expect(pkt{f: fS}).mss; got != c.told {
				t.Errorf("the SYN says %d, want %d", got, c.told)
			}
			b.send(pkt{f: fSA, ack: 1, mss: c.peer})
			b.expect(pkt{f: fA, seq: 1, ack: 1})
			b.write(c.sent + 1)
			b.expect(pkt{f: fA, seq: 1, ack: 1, n: c.sent})

			b, cfg = newBench(t, cfg)
			syn := b.segment(pkt{f: fS, mss: c.peer})
			if got := Answer(b.now, syn, 60000, cfg).Opt.MSS; int(got) != c.told {
				t.Errorf("the cookie says %d, want %d", got, c.told)
			}
			b.sf = Accept(b.now, syn, cfg)
			b.poll()
			if got := b.expect(pkt{f: fSA, ack: 1}).mss; got != c.told {
				t.Errorf("the SYN/ACK says %d, want %d", got, c.told)
			}
		})
	}
}
