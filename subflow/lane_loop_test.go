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

// laneBox is A's host, as its fast lane meets it: the lane passes by what the host
// does to packets that leave the ordinary way.
type laneBox struct {
	kind  laneKind
	next  laneKind // from at on
	at    mono.Time
	harsh bool // bare acknowledgments do not count as seen

	// What its firewall knows, of packets that it found valid.
	known bool
	seen  seq.Num // end of what left
	edge  seq.Num // what the peer's window allows

	retired int // what A had acknowledged when something arrived last, and
	since   mono.Time
	gap     time.Duration // the longest time without more
}

type laneKind int

const (
	laneWorks      laneKind = iota
	laneUnseen              // a firewall lets in no acknowledgment of what it did not see leave
	laneTranslated          // the peer knows A by another address, and resets what comes from A's own
	laneSwallowed           // somebody on the way knows only that address
	laneKinds
)

// out reports whether a packet of A's leaves, and gives A a lane when it has a
// connection.
func (x *laneBox) out(n *network, pkt []byte, p wire.Packet) bool {
	if n.now >= x.at {
		x.kind = x.next
	}
	if n.a.sf.State() == StateEstablished {
		n.a.sf.SetLane(Lane{Limit: 50_000, Via: 1, Tracked: true})
	}
	var seg wire.Segment
	wire.Parse(pkt, &seg, p.Csum)
	if p.Seg == 0 {
		switch end := seg.Seq.Add(seg.Len()); {
		case !x.known:
			x.seen, x.edge, x.known = end, end.Add(1), true
		case x.harsh && seg.Len() == 0 || x.edge.Less(seg.Seq):
		case x.seen.Less(end):
			x.seen = end
		}
		return true
	}
	if x.kind == laneTranslated {
		b := wire.NewBatch(100)
		wire.AppendSegment(b, &wire.Segment{Tuple: seg.Tuple, Seq: seg.Ack, Flags: wire.RST}, 0)
		n.push(n.a, b.Bytes(0), b.Pkts[0].Csum)
	}
	return x.kind < laneTranslated
}

// in reports whether a packet for A gets in.
func (x *laneBox) in(n *network, f flight) bool {
	if x.since == 0 || n.a.retired != x.retired {
		if x.since != 0 {
			x.gap = max(x.gap, n.now.Sub(x.since))
		}
		x.retired, x.since = n.a.retired, n.now
	}
	var seg wire.Segment
	wire.Parse(f.pkt, &seg, f.csum)
	valid := !has(&seg, wire.ACK) || !x.seen.Less(seg.Ack)
	if wnd := int(seg.Window) << n.a.sf.snd.shift; valid && has(&seg, wire.ACK) && x.edge.Less(seg.Ack.Add(wnd)) {
		x.edge = seg.Ack.Add(wnd)
	}
	return x.kind != laneUnseen || valid
}

// TestLaneLoop is TestLoop for a host with a fast lane that does not work, from
// the start or later: streams arrive all the same, and where the network loses
// nothing, without standing still for two seconds.
func TestLaneLoop(t *testing.T) {
	var used, lost int
	seeds := max(*loopSeeds/4, 1)
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			n := newNetwork(t, seed, 100_000+r.IntN(900_000), r.IntN(2)*r.IntN(300_000))
			n.a.batch.Lane, n.a.batch.MaxTrain = true, 65535
			n.delay = time.Duration(r.IntN(50_000)) * time.Microsecond
			clean := r.IntN(2) == 0
			if !clean {
				n.loss, n.dup = r.Float64()*0.1, r.Float64()*0.05
				n.jitter = time.Duration(1 + r.IntN(20_000_000))
			}
			n.box = &laneBox{kind: laneWorks, next: laneKind(r.IntN(int(laneKinds))), harsh: r.IntN(2) == 0}
			if r.IntN(2) == 0 { // a rule that comes later
				n.box.next, n.box.at = laneUnseen, n.now.Add(time.Duration(r.IntN(1000))*time.Millisecond)
			}
			n.run(3 * time.Hour)
			for _, p := range []*peer{n.a, n.b} {
				if p.got != p.want {
					p.fail("got %d of %d", p.got, p.want)
				}
			}
			if clean && n.box.gap > 2*time.Second {
				t.Errorf("A's stream stood still for %v: %+v", n.box.gap, n.box)
			}
			i := n.a.sf.Info()
			used += b2i(i.Trains > 10)
			lost += b2i(n.a.sf.lane.state == laneLost || n.a.sf.lane.retry > 0)
		})
	}
	if n := int(seeds) / 8; used < n || lost < n {
		t.Errorf("the lane was used in %d of %d and lost in %d", used, seeds, lost)
	}
}
