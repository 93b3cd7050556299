package engine

import (
	"math/bits"

	"github.com/mpnc/mpnc/internal/seq"
)

// Bounds on the mappings of which a part has arrived.
const (
	maxParts     = 256 // of one path
	maxPartSpans = 64  // separate runs of octets of one mapping
	minPartSize  = 4096
	maxSpares    = 4 // kept for the next ones
)

// partial is a mapping with a checksum of which a part has arrived.
type partial struct {
	m    inMap
	have seq.Set[seq.Offset]
	got  int  // octets in have
	skip bool // it lies outside the window: counted through, and dropped
	buf  []byte
}

// put takes a piece that lies within the mapping; false if it is in too many.
func (a *partial) put(off seq.Offset, b []byte) bool {
	if !a.skip {
		copy(a.buf[off-a.m.off:], b)
	}
	a.got += a.have.Add(seq.Span[seq.Offset]{From: off, To: off + seq.Offset(len(b))})
	return len(a.have.Spans()) <= maxPartSpans
}

// stage is the memory of a connection's partial mappings: taken as they come,
// and used again.
type stage struct {
	size  int // octets of all buffers in use
	spare []*partial
}

// take returns a partial mapping without octets.
func (g *stage) take(m inMap, skip bool) *partial {
	var a *partial
	if n := len(g.spare); n > 0 {
		a, g.spare[n-1] = g.spare[n-1], nil
		g.spare = g.spare[:n-1]
	} else {
		a = &partial{}
	}
	a.m, a.skip, a.got = m, skip, 0
	a.have.Clear()
	if !skip && cap(a.buf) < m.len {
		a.buf = make([]byte, max(minPartSize, 1<<bits.Len(uint(m.len-1))))
	}
	g.size += cap(a.buf)
	return a
}

func (g *stage) give(a *partial) {
	g.size -= cap(a.buf)
	if len(g.spare) < maxSpares {
		g.spare = append(g.spare, a)
	}
}

// partAt returns the partial mapping that octet off belongs to, and cuts n to
// what of it does; if there is none, to what belongs to none.
func (p *path) partAt(off seq.Offset, n *int) *partial {
	for _, a := range p.in.parts {
		switch {
		case off >= a.m.off && off < a.m.end():
			*n = min(*n, int(a.m.end()-off))
			return a
		case a.m.off > off:
			*n = min(*n, int(a.m.off-off))
		}
	}
	return nil
}

// expectPart notes a mapping whose payload is not all there. One that overlaps
// another is not taken: a mapping does not change (RFC 8684, Section 3.3.1).
// False: the path has ended.
func (p *path) expectPart(m inMap) bool {
	for _, a := range p.in.parts {
		if m.off < a.m.end() && a.m.off < m.end() {
			return true
		}
	}
	c := p.c
	// What the application has, or what is beyond its window, is of no use.
	skip := m.data.Add(m.len).LessEq(c.rcv.Next()) || c.rcv.Edge().LessEq(m.data)
	if skip && c.rcv.Edge().LessEq(m.data) {
		c.stats.NoDSSInWindow++
	}
	if len(p.in.parts) == maxParts || !skip && c.stage.size > 2*c.cfg.RecvBuffer {
		p.overburdened()
		return false
	}
	p.in.parts = append(p.in.parts, c.stage.take(m, skip))
	return true
}

// forgetParts lets go of the mappings that lie wholly before offset next, or
// are all there.
func (p *path) forgetParts(next seq.Offset) {
	if len(p.in.parts) == 0 {
		return
	}
	kept := p.in.parts[:0]
	for _, a := range p.in.parts {
		if a.m.end() <= next || a.got == a.m.len {
			p.c.stage.give(a)
		} else {
			kept = append(kept, a)
		}
	}
	clear(p.in.parts[len(kept):])
	p.in.parts = kept
}

// forgetMappings lets go of everything that was kept for mappings.
func (p *path) forgetMappings() {
	for _, a := range p.in.parts {
		p.c.stage.give(a)
	}
	p.in = inbound{}
}
