package ladder

import (
	"slices"

	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// stream is what the subflows of a connection share: data sequence numbers.
type stream struct {
	number    int // of the connection
	subflows  int
	near, far direction
	tokens    []uint32 // that joins name it by
}

// direction is one direction of the stream.
type direction struct {
	known bool
	idsn  seq.Data
	next  seq.Data // the highest number seen, for numbers of 32 bits
	sent  seq.Set[seq.Data]
}

func (st *stream) hasToken(token uint32) bool { return slices.Contains(st.tokens, token) }

func (st *stream) sender(out bool) *direction {
	if out {
		return &st.near
	}
	return &st.far
}

// observe learns from the keys where the numbers begin.
func (st *stream) observe(out bool, s *wire.Segment) {
	if s.MP.Has&wire.MPCapable == 0 {
		return
	}
	c := &s.MP.Capable
	if c.Keys >= 1 {
		st.learn(st.sender(out), c.Sender)
	}
	if c.Keys == 2 {
		st.learn(st.sender(!out), c.Receiver)
	}
}

func (st *stream) learn(d *direction, key uint64) {
	if d.known {
		return
	}
	d.known, d.idsn = true, wire.IDSN(key)
	d.next = d.idsn
	st.tokens = append(st.tokens, wire.Token(key))
}

// relative returns a data sequence number as the distance from its beginning.
func (d *direction) relative(n seq.Data, wide bool) int {
	if !wide {
		n = seq.Widen(uint32(n), d.next)
	}
	if d.next.Less(n) {
		d.next = n
	}
	return n.Sub(d.idsn)
}

// repeats notes the data of a segment and reports whether all of it was sent
// before, though not by the same subflow.
func (st *stream) repeats(out bool, s *wire.Segment, k kind) bool {
	m, d := &s.MP.DSS, st.sender(out)
	if s.MP.Has&wire.DSS == 0 || !m.HasMap || !d.known || len(s.Payload) == 0 || m.SSN == 0 {
		return false
	}
	from := m.Seq
	if !m.Seq64 {
		from = seq.Widen(uint32(from), d.next)
	}
	n := d.sent.Add(seq.Range{From: from, To: from.Add(len(s.Payload))})
	for spans := d.sent.Spans(); len(spans) > maxPieces; spans = d.sent.Spans() {
		d.sent.Add(seq.Range{From: spans[0].From, To: spans[1].From})
	}
	return n == 0 && k == fresh
}
