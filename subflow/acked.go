package subflow

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow/cc"
)

// ackState is what one arriving acknowledgment told.
type ackState struct {
	at       mono.Time
	ack      seq.Offset
	flight   int        // octets in flight before
	fack     seq.Offset // RACK.fack before
	acked    int        // octets newly delivered, cumulatively or selectively
	advanced bool       // SND.UNA moved
	sacks    bool       // it had SACK blocks, D-SACK not counted
	dsack    seq.Span[seq.Offset]
	hasDSACK bool
	ecr      uint32
	hasECR   bool

	resent     bool // something newly delivered had been sent more than once, last at:
	resentAt   mono.Time
	unresent   bool // something newly delivered was sent once, last at:
	unresentAt mono.Time
	original   seq.Offset // end of what left before the timeout and never since, and is newly delivered; 0: nothing
	head       record     // the one at SND.UNA before
	prior      snapshot   // of the newest record newly delivered
	sentFor    time.Duration
	limited    bool
}

// handleAck takes the acknowledgment of a segment that passed all checks.
func (s *Subflow) handleAck(now, at mono.Time, seg *wire.Segment, off, ack seq.Offset, acc *Accepted) {
	d := &s.snd
	wnd := d.wnd
	if !has(seg, wire.SYN) {
		s.updateWindow(now, seg, off, ack)
	}
	if before(ack, d.una) {
		return
	}
	st := ackState{at: at, ack: ack, flight: d.pipe, fack: s.rack.fack, ecr: seg.Opt.TSEcr, hasECR: s.ts.on && seg.Opt.HasTS}
	fin := d.finDone()
	st.advanced = after(ack, d.una)
	duplicate := !st.advanced && s.isDuplicate(seg, wnd)
	s.retire(ack, &st)
	if s.rcv.sackOK {
		s.takeSACK(&seg.Opt, &st)
	}
	s.acknowledged(now, &st, duplicate, acc)
	if d.finDone() && !fin {
		s.finAcked(now, acc)
	}
}

// acknowledged draws the conclusions, in the order of RFC 8985, Section 6.2,
// and only then tells the congestion controller.
func (s *Subflow) acknowledged(now mono.Time, st *ackState, duplicate bool, acc *Accepted) {
	if st.acked > 0 || st.advanced {
		s.rec.timedOut = false
		if s.stale {
			s.stale = false
			acc.Events |= Trusted
		}
		s.sampleRTT(st)
	}
	if st.advanced {
		s.progressAt = now
		s.info.LastProgress = now
		s.sizeProbeSettled(now)
		s.probes = 0
		s.retries, s.expired = 0, false
		s.laneOnAck(now, st)
	}
	s.rate.update(st, s.rtt.minimum())
	s.tlpOnAck(now, st, duplicate)
	s.undoOnAck(now, st)
	exit := s.rec.mode != open && !before(s.snd.una, s.rec.point)
	if exit {
		s.rec.leave()
	}
	var out, lost int
	if s.rcv.sackOK {
		s.rack.adapt(st, s.snd.una, s.snd.nxt, exit)
		lost = s.detect(st.at)
		if exit {
			// What was lost of the data sent during the episode is the loss of
			// another round, and begins another.
			lost = s.snd.lost
		}
		s.lossFound(now, lost, st.acked)
	} else {
		out = s.renoOnAck(now, st, duplicate)
	}
	if n := s.toTell(st); n > 0 {
		s.growRestart(n)
		s.ctrl.OnAck(cc.Ack{
			Now: now, Bytes: n, InFlight: st.flight,
			RTT: s.sampleOf(st), SRTT: s.rtt.srtt, MinRTT: s.rtt.minimum(),
			Rate: s.rate.last, AppLimited: s.limited, Recovery: s.rec.mode != open,
			Delivered: s.rate.delivered, Pipe: s.inFlight(),
			Newest: s.rate.sent(st.prior, st.limited), NoSACK: !s.rcv.sackOK,
		})
	}
	if s.rec.mode == fast {
		s.rec.proportion(st.acked+out, s.inFlight(), s.ctrl.Window(), s.MSS(), st.advanced && lost == 0)
	}
}

// toTell returns how many octets the controller is told of. What is held beyond a
// hole that may be a loss or reordering makes no window grow yet: it counts when
// the hole is filled, as RFC 5681, Section 3.1, has it ("acknowledged by the
// incoming ACK"), or when the loss is certain, in recovery. Without that a window
// doubles on while RACK waits, and what it grows by is lost. A model of the path
// is told of deliveries as they come.
func (s *Subflow) toTell(st *ackState) int {
	if s.model != nil {
		return st.acked
	}
	s.held += st.acked
	if !st.advanced && s.rec.mode == open {
		return 0
	}
	n := s.held
	s.held = 0
	return n
}

// isDuplicate reports whether a segment that does not advance SND.UNA is a
// duplicate acknowledgment in the sense of RFC 5681, Section 2. One with an
// MPTCP option other than DSS is not: it was sent for that option's sake
// (RFC 8684, Section 3).
func (s *Subflow) isDuplicate(seg *wire.Segment, wnd int) bool {
	return s.snd.recs.len() > 0 && seg.Len() == 0 && s.snd.wnd == wnd && seg.MP.Has&^wire.DSS == 0 //spec:W2,T61 off: return s.snd.recs.len() > 0 && seg.Len() == 0 && s.snd.wnd == wnd
}

// updateWindow is the rule of RFC 9293, Section 3.10.7.4, fifth check: "If
// SND.UNA =< SEG.ACK =< SND.NXT, the send window should be updated", unless the
// segment is older than the one that did so last.
func (s *Subflow) updateWindow(now mono.Time, seg *wire.Segment, off, ack seq.Offset) {
	d := &s.snd
	if before(ack, d.una) {
		return
	}
	if before(d.wl1, off) || d.wl1 == off && !after(d.wl2, ack) { //spec:T14 off: if true {
		s.setWindow(now, int(seg.Window)<<d.shift, off, ack)
	}
}

func (s *Subflow) setWindow(now mono.Time, wnd int, off, ack seq.Offset) {
	d := &s.snd
	if wnd != d.wnd {
		d.wndAt = now
		s.probes = 0
	}
	s.lane.onWindow(ack, wnd)
	d.wnd, d.wl1, d.wl2 = wnd, off, ack
	d.edge = ack + seq.Offset(wnd)
	d.maxWnd = max(d.maxWnd, wnd)
}

// retire takes everything before ack off the records.
func (s *Subflow) retire(ack seq.Offset, st *ackState) {
	d := &s.snd
	if d.recs.len() > 0 {
		st.head = d.recs.live()[0]
	}
	for d.recs.len() > 0 {
		r := &d.recs.live()[0]
		if !before(r.off, ack) {
			break
		}
		n := min(int(r.len), dist(ack, r.off))
		s.delivered(r, r.off+seq.Offset(n), n, st)
		if !r.has(recFIN) {
			s.info.BytesAcked += uint64(n)
			s.retireData(seq.Range{From: r.data(r.off), To: r.data(r.off).Add(n)})
		}
		d.pop(n)
	}
	d.una = later(d.una, ack)
	d.lostFrom = later(d.lostFrom, ack)
}

func (s *Subflow) retireData(r seq.Range) {
	if n := len(s.retired); n > 0 && s.retired[n-1].To == r.From {
		s.retired[n-1].To = r.To
		return
	}
	s.retired = append(s.retired, r)
}

// delivered notes that the first n octets of r, up to end, arrived at the peer.
func (s *Subflow) delivered(r *record, end seq.Offset, n int, st *ackState) {
	if r.has(recDelivered) {
		return
	}
	st.acked += n
	s.lane.delivered(r.off, r.tries)
	s.rate.delivered += uint64(n)
	if r.tries == 0 && before(r.off, s.rec.point) {
		st.original = later(st.original, end)
	}
	if r.tries > 0 { //spec:T51 off: if false {
		st.resent, st.resentAt = true, st.resentAt.Latest(r.sent)
	} else if !st.unresent || st.unresentAt < r.sent {
		st.unresent, st.unresentAt = true, r.sent
	}
	if !st.prior.valid || st.prior.delivered <= r.snap.delivered {
		st.prior = r.snap
		st.sentFor = r.sent.Sub(r.snap.first)
		st.limited = r.has(recLimited)
		s.rate.first = r.sent
	}
	s.sizeDelivered(st.at, r, n)
	s.rack.deliver(r, end, st, &s.ts, s.rtt.minimum())
}

// sampleRTT measures the round trip, by Karn's rule only if what was
// acknowledged left once, else by the echoed timestamp (RFC 7323, Section 4),
// which names the transmission. A timestamp from before the last retransmission
// is no measurement: it may be an old one, repeated because its ACK was lost.
func (s *Subflow) sampleRTT(st *ackState) {
	if d := s.sampleOf(st); d > 0 {
		s.rtt.sample(d, st.at)
		s.tlp.sampled = true
		return
	}
	if st.advanced && st.hasECR && int32(st.ecr-s.ts.clock(st.resentAt)) >= 0 { //spec:T51 off: if st.advanced && st.hasECR {
		if d, ok := s.ts.since(st.ecr, st.at); ok {
			s.rtt.sample(max(d, granularity), st.at)
			s.tlp.sampled = true
		}
	}
}

// sampleOf returns the unambiguous measurement of an acknowledgment, or 0.
func (s *Subflow) sampleOf(st *ackState) time.Duration {
	if st.resent || !st.unresent {
		return 0
	}
	return max(st.at.Sub(st.unresentAt), 1)
}

// takeSACK marks what the blocks of a SACK option name (RFC 2018, Section 5),
// and sees whether the first is a D-SACK (RFC 2883, Section 5).
func (s *Subflow) takeSACK(o *wire.TCPOptions, st *ackState) {
	var list [len(o.SACK)]seq.Span[seq.Offset]
	n := min(o.NSACK, len(o.SACK))
	for i := range n {
		list[i] = seq.Span[seq.Offset]{
			From: seq.Unwrap(o.SACK[i].From, s.snd.iss, s.snd.una),
			To:   seq.Unwrap(o.SACK[i].To, s.snd.iss, s.snd.una),
		}
	}
	for i, b := range list[:n] {
		if b.Empty() || after(b.To, s.snd.nxt) || int64(b.From) <= 0 {
			continue // nothing we ever sent
		}
		inSecond := i == 0 && n > 1 && list[1].Intersect(b) == b
		if i == 0 && (inSecond || !after(b.To, st.ack)) {
			st.dsack, st.hasDSACK = b, true
			s.info.DSACKs++
			continue
		}
		st.sacks = true
		s.markSacked(b, st)
	}
}

// markSacked flags the records that b covers, and splits those that it covers
// in part.
func (s *Subflow) markSacked(b seq.Span[seq.Offset], st *ackState) {
	d := &s.snd
	b.From = later(b.From, d.una)
	if b.Empty() {
		return
	}
	for i := d.recs.search(b.From); i < d.recs.len(); i++ {
		r := &d.recs.live()[i]
		if !before(r.off, b.To) {
			return
		}
		if r.has(recSacked) {
			continue
		}
		if before(r.off, b.From) {
			if !d.splitBudget() {
				continue
			}
			d.split(i, b.From)
			continue // i+1 is the covered part
		}
		if after(r.end(), b.To) {
			if !d.splitBudget() {
				return
			}
			d.split(i, b.To)
			r = &d.recs.live()[i]
		}
		s.delivered(r, r.end(), int(r.len), st)
		d.flag(r, recSacked|recDelivered, recLost)
	}
}
