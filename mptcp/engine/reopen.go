package engine

import (
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// Reopen: a subflow in TIME-WAIT made way for a new connection between the same
// ends, whose numbers have to be larger than Last (RFC 9293, Section 3.6.1,
// MAY-2). It is for the Endpoint.
type Reopen struct {
	Tuple wire.Tuple
	Last  seq.Num
}

func (Reopen) isEndpointEvent() {}

// makesWay ends a subflow in TIME-WAIT for the new connection that a SYN asks
// for. Only where this side was the one that listened: on the other there is
// nobody to take the connection. A join has no need of the same ports.
func (p *path) makesWay(now mono.Time, s *wire.Segment) bool {
	if p.active || s.MP.Has&wire.MPJoin != 0 { //spec:T8 off: if false {
		return false
	}
	last, ok := p.sf.Reopens(now, s)
	if !ok {
		return false
	}
	p.c.emit(Reopen{p.tuple, last})
	p.sf.Kill()
	return true
}

// firstAfter is the initial sequence number of a connection whose ends were
// those of another one, which used numbers up to last: n if it is larger, else
// one that is out of reach of what may still be under way.
func firstAfter(last, n seq.Num) seq.Num {
	if last.Less(n) {
		return n
	}
	return last.Add(1 << 16)
}
