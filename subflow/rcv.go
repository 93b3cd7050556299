package subflow

import (
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// maxSpans bounds the runs of data that are remembered beyond a hole.
const maxSpans = 256

// receiver is the receive sequence space (RFC 9293, Section 3.3.1), unwrapped:
// the peer's SYN has offset 0, its first octet of data 1.
//
//	 0 1            nxt                      edge
//	─┬─┬─────────────┬──────┬────┬─────┬──────┬──────────
//	 │S│             │      │    │     │      │
//	 │Y│  received   │ hole │ set│hole │      │ not allowed
//	 │N│             │      │    │     │      │ (but see Config.Accept)
//	─┴─┴─────────────┴──────┴────┴─────┴──────┴──────────
//	                 ├───────── rcv.wnd ──────┤
//
// nxt is RCV.NXT; edge is the rightmost edge ever advertised, so that data
// sent into a window that was taken back, or lost by the rounding of window
// scaling, is still taken (RFC 7323, Section 2.4).
type receiver struct {
	irs   seq.Num
	nxt   seq.Offset
	edge  seq.Offset
	wnd   int // octets, as last advertised
	shift uint8
	set   seq.Set[seq.Offset] // received beyond nxt

	fin      seq.Offset // of the peer's FIN, valid if finKnown
	finKnown bool

	acks
	sacker
}

// right returns the right edge of what is accepted.
func (r *receiver) right(accept int) seq.Offset {
	return later(r.edge, r.nxt+seq.Offset(accept)) //spec:A5 off: return r.edge
}

// shown notes the window of a segment that is about to leave.
func (r *receiver) shown(wnd int) {
	r.wnd = wnd
	r.edge = later(r.edge, r.nxt+seq.Offset(wnd)) //spec:T41 off: r.edge = r.nxt + seq.Offset(wnd)
}

// finDone reports whether the peer's FIN was received in order.
func (r *receiver) finDone() bool { return r.finKnown && after(r.nxt, r.fin) }

// receive takes the text and FIN of an acceptable segment whose first octet of
// payload has offset from (RFC 9293, Section 3.10.7.4, seventh and eighth).
func (s *Subflow) receive(now mono.Time, seg *wire.Segment, from seq.Offset, acc *Accepted) {
	r := &s.rcv
	if r.finDone() {
		// "This should not occur since a FIN has been received": ignore the
		// text. A FIN again wants its acknowledgment again.
		if seg.Len() > 0 {
			s.duplicate(now, from, from+seq.Offset(seg.Len()))
		}
		return
	}
	to := from + seq.Offset(len(seg.Payload))
	right := r.right(s.cfg.Accept)
	if r.finKnown {
		right = earlier(right, r.fin)
	}
	if len(seg.Payload) > 0 {
		s.takeText(now, seg.Payload, from, right, acc)
	}
	if has(seg, wire.FIN) {
		s.noteFIN(to, right)
	}
	if r.finKnown && r.nxt == r.fin {
		r.nxt++
		r.ackNow = true
		s.finReceived(now, acc)
	}
}

// takeText reports the part of the payload that is new and in the window.
func (s *Subflow) takeText(now mono.Time, p []byte, from, right seq.Offset, acc *Accepted) {
	r := &s.rcv
	to := from + seq.Offset(len(p))
	part := seq.Span[seq.Offset]{From: later(from, r.nxt), To: earlier(to, right)}
	if part.Empty() {
		// Nothing fits: a probe of a zero window, which wants an answer.
		r.ackNow = true
		return
	}
	if before(from, r.nxt) {
		r.reportDuplicate(from, r.nxt) //spec:T47 off:
	}
	r.reportOverlap(part) //spec:T47 off:
	if r.set.Covers(part) || !r.fits(part) {
		r.ackNow = true
		return
	}
	fresh := part.Len()
	if part.From == r.nxt {
		holes := !r.set.Empty()
		r.nxt = part.To
		fresh -= r.absorb()
		s.ackInOrder(now, len(p), holes)
	} else {
		fresh = r.set.Add(part)
		r.touch(part.From) //spec:T46 off: r.touch(r.set.Spans()[0].From)
		r.ackNow = true    //spec:T70 off:
	}
	s.info.BytesIn += uint64(fresh)
	acc.Payload = p[dist(part.From, from):dist(part.To, from)]
	acc.Off = part.From
}

// fits reports whether part can be remembered within maxSpans.
func (r *receiver) fits(part seq.Span[seq.Offset]) bool {
	if part.From == r.nxt || len(r.set.Spans()) < maxSpans {
		return true
	}
	for _, sp := range r.set.Spans() {
		if !before(part.To, sp.From) && !before(sp.To, part.From) {
			return true // it joins a run that is there
		}
	}
	return false
}

// absorb moves nxt over the runs that now adjoin it, and returns how many
// octets of the set lay before the place where nxt was.
func (r *receiver) absorb() (known int) {
	for spans := r.set.Spans(); len(spans) > 0 && !after(spans[0].From, r.nxt); spans = r.set.Spans() {
		known += dist(earlier(spans[0].To, r.nxt), spans[0].From)
		r.nxt = later(r.nxt, spans[0].To)
		r.set.Remove(spans[0])
	}
	return known
}

// noteFIN remembers a FIN at off, if it can be one: in the window, behind all
// that was received. The first one counts.
func (s *Subflow) noteFIN(off, right seq.Offset) {
	r := &s.rcv
	if r.finKnown || after(off, right) || before(off, r.nxt) {
		return
	}
	if spans := r.set.Spans(); len(spans) > 0 && after(spans[len(spans)-1].To, off) {
		return
	}
	r.fin, r.finKnown = off, true
	r.ackNow = true
}

// duplicate answers a segment that brought nothing new.
func (s *Subflow) duplicate(now mono.Time, from, to seq.Offset) {
	s.rcv.ackNow = true
	s.info.DupAcksSent++
	if s.state == StateTimeWait {
		s.restartTimeWait(now) //spec:T7 off:
		return
	}
	s.rcv.reportDuplicate(from, earlier(to, s.rcv.nxt)) //spec:T47 off:
}
