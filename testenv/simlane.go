package testenv

import (
	"time"

	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/mptcp/engine"
	"github.com/mpnc/mpnc/subflow"
)

// laneDelay is how long a host takes to find out about a lane.
const laneDelay = 3 * time.Millisecond

// seenEnds is what a host that tracks connections knows of one: of the packets that
// left the ordinary way, and those that came for them.
type seenEnds struct {
	sent  bool    // something left
	end   seq.Num // of that
	edge  seq.Num // of the peer's window
	shift uint8   // of that
}

// SetLanes changes what becomes of what leaves by the host's lanes; it had some
// before, or never will.
func (h *SimHost) SetLanes(l SimLanes) {
	h.lanes = l
	if h.batch.Lane = l != NoLanes; h.batch.Lane && h.seen == nil {
		h.seen = make(map[wire.Tuple]*seenEnds)
		h.batch.MaxTrain = 65000
	}
}

// findLane is a driver's answer to WantLane, which takes time.
func (h *SimHost) findLane(c *SimConn, w engine.WantLane) {
	h.sim.At(h.sim.now.Add(laneDelay), func() {
		if !c.gone {
			c.Core.SetLane(w.Tuple, subflow.Lane{Limit: 60_000, Via: uint64(w.Link), Tracked: true, Worth: h.sim.laneWorth})
			c.Poke()
		}
	})
}

// leaves reports whether a packet gets out, and notes what the host sees of it.
func (h *SimHost) leaves(p *simPort, pkt []byte, info wire.Packet) bool {
	if h.lanes == NoLanes {
		return true
	}
	var s wire.Segment
	if wire.Parse(pkt, &s, info.Csum) != wire.None {
		return true // put says so
	}
	s.Local, s.Remote = s.Remote, s.Local // Parse is the receiver's view
	if info.Seg != 0 {
		if h.lanes == LanesTranslated {
			h.resetBack(p, &s)
		}
		return h.lanes != LanesTranslated
	}
	end := s.Seq.Add(s.Len())
	switch k := h.known(&s); {
	case !k.sent || s.Flags.Has(wire.SYN):
		k.sent, k.end, k.edge = true, end, end.Add(65535)
	case !k.edge.Less(s.Seq) && k.end.Less(end):
		k.end = end
	}
	return true
}

func (h *SimHost) known(s *wire.Segment) *seenEnds {
	k := h.seen[s.Tuple]
	if k == nil {
		k = new(seenEnds)
		h.seen[s.Tuple] = k
	}
	return k
}

// admits reports whether a segment gets in.
func (h *SimHost) admits(s *wire.Segment) bool {
	if h.lanes == NoLanes {
		return true
	}
	k := h.known(s)
	wnd := int(s.Window)
	if s.Flags.Has(wire.SYN) {
		k.shift = s.Opt.WScale
	} else {
		wnd <<= k.shift
	}
	if !k.sent || !s.Flags.Has(wire.ACK) {
		return true
	}
	valid := !k.end.Less(s.Ack)
	if edge := s.Ack.Add(wnd); valid && k.edge.Less(edge) {
		k.edge = edge
	}
	return valid || h.lanes != LanesUnseen
}

// resetBack answers each segment of a train as a peer does that does not know where
// it came from.
func (h *SimHost) resetBack(p *simPort, s *wire.Segment) {
	rst := wire.Segment{Tuple: wire.Tuple{Local: s.Remote, Remote: s.Local}, Seq: s.Ack, Flags: wire.RST}
	b := wire.NewBatch(100)
	wire.AppendSegment(b, &rst, 0)
	for i := range 3 {
		h.sim.At(h.sim.now.Add(2*p.out.Config().Delay+time.Duration(i)*time.Microsecond), func() {
			if !h.suspended && p.up && h.has(s.Local.Addr()) {
				h.receive(p, b.Bytes(0), b.Pkts[0])
			}
		})
	}
}
