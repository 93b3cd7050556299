package ladder

import (
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow"
)

// maxFlows bounds the subflows that are told apart; the oldest are forgotten.
const maxFlows = 1024

// flows are the subflows seen, in the order of their first segments.
type flows struct {
	all    []*flow
	byHash map[uint64]*flow // the latest of a tuple, by its hash
	conns  int              // connections seen
}

// get returns the latest flow of a tuple, nil if there is none.
func (fs *flows) get(t wire.Tuple) *flow { return fs.byHash[t.Hash()] }

// ofPath returns the flow that the tracer calls so; of a connection as a whole,
// its latest.
func (fs *flows) ofPath(conn uint32, path int16) *flow {
	for i := len(fs.all) - 1; i >= 0; i-- {
		if f := fs.all[i]; f.traced && f.conn == conn && (f.path == path || path < 0) {
			return f
		}
	}
	return nil
}

// add makes the flow of a segment. A join belongs to the connection whose token
// it has.
func (fs *flows) add(s *wire.Segment, link string) *flow {
	f := &flow{tuple: s.Tuple, hash: s.Tuple.Hash(), link: link}
	f.near.us = true
	if s.MP.Has&wire.MPJoin != 0 && s.MP.Join.Form == wire.JoinSYN {
		for _, o := range fs.all {
			if o.stream.hasToken(s.MP.Join.Token) {
				f.stream, f.number = o.stream, o.stream.subflows
			}
		}
	}
	if f.stream == nil {
		fs.conns++
		f.stream = &stream{number: fs.conns}
	}
	f.stream.subflows++
	if len(fs.all) == maxFlows {
		if oldest := fs.all[0]; fs.byHash[oldest.hash] == oldest {
			delete(fs.byHash, oldest.hash)
		}
		fs.all = append(fs.all[:0], fs.all[1:]...)
	}
	fs.all = append(fs.all, f)
	fs.byHash[f.hash] = f
	return f
}

// flow is a subflow as its segments show it.
type flow struct {
	tuple  wire.Tuple
	hash   uint64
	link   string
	stream *stream
	number int // of the subflow in its connection
	shown  bool

	traced bool   // the tracer told of it:
	conn   uint32 // what it is called there
	path   int16

	near, far side // we, and the peer
}

// side is one end of a flow.
type side struct {
	us    bool
	state subflow.State
	spoke bool    // something was sent,
	known bool    // and it told:
	iss   seq.Num // its first number
	next  seq.Offset

	answered bool // a SYN/ACK was sent

	sent  seq.Set[seq.Offset]
	fin   seq.Offset // of the FIN, if any was sent; 0: none
	acked seq.Offset // what the other side acknowledged
}

// told takes in what the tracer says.
func (f *flow) told(t told) {
	f.traced, f.conn, f.path = true, t.conn, t.path
	f.near.state = t.state
}

// over reports whether a segment begins a new connection between the same ends.
func (f *flow) over(s *wire.Segment) bool {
	return s.Flags.Has(wire.SYN) && !s.Flags.Has(wire.ACK) &&
		(f.near.state == subflow.StateClosed || f.near.state == subflow.StateTimeWait) &&
		f.near.known && f.far.known
}

// maxPieces bounds what is remembered of the order of arrival.
const maxPieces = 64

// kind is what a segment is to those before it.
type kind uint8

const (
	fresh     kind = iota
	again          // all of it was sent before
	early          // there is a hole before it
	late           // it fills a hole
	keepAlive      // it asks for an answer
)

// offset returns where a segment of the side's begins; as it is, if that is
// relative to nothing.
func (x *side) offset(s *wire.Segment) seq.Offset {
	if !x.known {
		return seq.Offset(s.Seq)
	}
	return seq.Unwrap(s.Seq, x.iss, x.next)
}

// sends notes the numbers of a segment that the side sent.
func (x *side) sends(s *wire.Segment) (at seq.Offset, k kind) {
	if !x.known && s.Flags.Has(wire.RST) {
		return x.offset(s), fresh
	}
	if !x.known {
		x.known, x.iss = true, s.Seq
		if !s.Flags.Has(wire.SYN) {
			x.iss-- // its beginning was missed
			x.next = 1
		}
	}
	at = x.offset(s)
	if s.Flags.Has(wire.RST) {
		return at, fresh
	}
	end := at + seq.Offset(s.Len())
	switch {
	case s.Len() == 0 && int64(at-x.next) < 0 && at+1 == x.next:
		return at, keepAlive
	case s.Len() == 0:
		return at, fresh
	case int64(at-x.next) > 0:
		k = early
	case int64(at-x.next) < 0:
		k = late
	}
	if n := x.sent.Add(seq.Span[seq.Offset]{From: at, To: end}); n == 0 {
		k = again
	}
	if both := s.Flags.Has(wire.SYN | wire.ACK); both && !x.answered {
		x.answered, k = true, fresh // a SYN/ACK, though a SYN that crossed another was sent
	}
	for spans := x.sent.Spans(); len(spans) > maxPieces; spans = x.sent.Spans() {
		x.sent.Add(seq.Span[seq.Offset]{From: spans[0].From, To: spans[1].From})
	}
	if s.Flags.Has(wire.FIN) {
		x.fin = end - 1
	}
	if int64(end-x.next) > 0 {
		x.next = end
	}
	return at, k
}

// observe takes in a segment and returns its row.
func (f *flow) observe(at mono.Time, out, damaged bool, s *wire.Segment) *row {
	from, to := &f.far, &f.near
	if out {
		from, to = to, from
	}
	r := &row{flow: f, at: at, out: out}
	from.spoke = true
	if damaged {
		r.text = segmentText(f, s, from.offset(s), from, to)
		r.remark("damaged")
		return r
	}
	off, k := from.sends(s)
	r.text = segmentText(f, s, off, from, to)
	r.remark(k.text(out))
	f.stream.observe(out, s)
	if f.stream.repeats(out, s, k) {
		r.remark("reinjected")
	}
	infer(from, to, s, f.traced)
	r.states(f)
	return r
}

func (k kind) text(out bool) string {
	switch {
	case k == again:
		return "retransmission"
	case k == late && out:
		return "retransmission" // in part: other segments than at first
	case k == late:
		return "fills a gap"
	case k == early && !out:
		return "out of order"
	case k == keepAlive:
		return "are you there?"
	}
	return ""
}
