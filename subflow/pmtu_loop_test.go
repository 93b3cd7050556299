package subflow

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// TestT78_Loop is TestLoop on paths that swallow what is larger than some size,
// from the start or later, some with routers that tell, all with errors forged
// at random: the streams arrive, and the laws hold at every step.
func TestT78_Loop(t *testing.T) {
	var sum Info
	for seed := range uint64(150) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { loopWithHole(t, seed, &sum) })
	}
	if sum.BlackHoles < 30 || sum.SizeProbes < 100 || sum.ICMPNoted < 1000 {
		t.Errorf("%d black holes, %d probes, %d errors believed: this shows little", sum.BlackHoles, sum.SizeProbes, sum.ICMPNoted)
	}
}

func loopWithHole(t *testing.T, seed uint64, sum *Info) {
	r := rand.New(rand.NewPCG(seed, 5))
	n := newNetwork(t, seed+10_000, 50_000+r.IntN(250_000), r.IntN(100_000))
	n.delay = time.Duration(1+r.IntN(50_000)) * time.Microsecond
	if r.IntN(2) == 0 {
		n.loss = r.Float64() * 0.05
	}
	most := 1100 + r.IntN(500)
	from := n.now.Add(time.Duration(r.IntN(2)) * time.Duration(r.IntN(1000)) * time.Millisecond)
	tells := r.IntN(3) == 0
	n.drop = func(seg *wire.Segment, toB bool) bool {
		sender := n.a
		if !toB {
			sender = n.b
		}
		if r.IntN(20) == 0 && sender.sf != nil {
			sender.forge(n.now, r)
		}
		if n.now < from || wire.HeaderLen(seg)+len(seg.Payload) <= most {
			return false
		}
		if tells {
			sender.sf.HandleICMP(n.now, &wire.ICMPError{Seq: seg.Seq, Kind: wire.ICMPTooBig, MTU: most})
		}
		return true
	}
	n.run(3 * time.Hour)
	for _, p := range []*peer{n.a, n.b} {
		if p.got != p.want {
			p.fail("got %d of %d", p.got, p.want)
		}
		i := p.sf.Info()
		sum.BlackHoles += i.BlackHoles
		sum.SizeProbes += i.SizeProbes
		sum.ICMPNoted += i.ICMPNoted
	}
}

// forge hands the peer's subflow an error that nobody's router sent: of any
// kind, some of it about what is in flight. (In SYN-SENT one that quotes the
// SYN would be believed.)
func (p *peer) forge(now mono.Time, r *rand.Rand) {
	if p.sf.State() == StateSynSent {
		return
	}
	at := p.sf.snd.una + seq.Offset(r.IntN(3000)-1000)
	mtu := 1200 + r.IntN(9000)
	if r.IntN(4) == 0 {
		mtu = 0
	}
	p.sf.HandleICMP(now, &wire.ICMPError{
		Seq: at.Num(p.sf.snd.iss), Kind: wire.ICMPKind(r.IntN(int(wire.ICMPTimeExceeded) + 1)),
		Hard: r.IntN(2) == 0, MTU: mtu,
	})
}
