package testenv

import (
	"fmt"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// windowWatch holds every packet against the window laws: the right edge that
// a host advertises never retreats (but for the rounding of its scale,
// RFC 7323, Section 2.4), and no data lies beyond what the peer advertised.
type windowWatch struct {
	hosts  map[*SimHost]*edges
	broken []string
}

type edges struct {
	shift map[wire.Tuple]uint8
	edge  seq.Data // largest advertised
	set   bool
}

func watchWindows(s *Sim) *windowWatch {
	w := &windowWatch{hosts: map[*SimHost]*edges{
		s.A: {shift: make(map[wire.Tuple]uint8)}, s.B: {shift: make(map[wire.Tuple]uint8)},
	}}
	peer := map[*SimHost]*SimHost{s.A: s.B, s.B: s.A}
	s.Trace = func(now mono.Time, from *SimHost, link int, seg *wire.Segment) {
		w.check(now, from, w.hosts[from], w.hosts[peer[from]], seg)
	}
	return w
}

func (w *windowWatch) check(now mono.Time, from *SimHost, own, peer *edges, s *wire.Segment) {
	if s.Flags.Has(wire.SYN) {
		own.shift[s.Tuple] = min(s.Opt.WScale, 14)
		return
	}
	if s.MP.Has&wire.DSS == 0 || !s.MP.DSS.HasAck {
		return
	}
	d := &s.MP.DSS
	shift := own.shift[s.Tuple]
	edge := d.Ack.Add(int(s.Window) << shift)
	if own.set && edge.Sub(own.edge) <= -(1<<shift) {
		w.report(now, from, "the right edge retreats by %d: %v", own.edge.Sub(edge), s)
	}
	if !own.set || own.edge.Less(edge) {
		own.edge, own.set = edge, true
	}
	if d.HasMap && d.Length > 0 && len(s.Payload) > 0 && peer.set {
		end := d.Seq.Add(int(d.Length))
		if d.Fin {
			end--
		}
		if peer.edge.Less(end) {
			w.report(now, from, "data %d beyond the peer's edge: %v", end.Sub(peer.edge), s)
		}
	}
}

func (w *windowWatch) report(now mono.Time, h *SimHost, format string, args ...any) {
	if len(w.broken) < 5 {
		w.broken = append(w.broken, fmt.Sprintf("%v %s: ", time.Duration(now), h.Name)+fmt.Sprintf(format, args...))
	}
}
