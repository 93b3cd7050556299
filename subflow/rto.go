package subflow

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/subflow/cc"
)

// rtoDeadline returns when the retransmission timer fires (RFC 6298, Section
// 5): RTO after the last progress, or after the oldest record left if that was
// later; a probe re-arms it (RFC 8985, Section 7.3), and so does firing.
func (s *Subflow) rtoDeadline() mono.Time {
	if s.snd.recs.len() == 0 || !s.state.synchronized() {
		return mono.Never
	}
	from := max(s.progressAt, s.snd.recs.live()[0].sent, s.expiredAt) //spec:T51 off: from := max(s.snd.recs.live()[0].sent, s.expiredAt)
	if s.tlp.pending || s.tlp.out {
		from = from.Latest(s.tlp.at)
	}
	return from.Add(s.rtt.timeout())
}

// onRTO is the expiry of the retransmission timer (RFC 6298, Section 5.4 to
// 5.6; RFC 8985, Section 6.3).
func (s *Subflow) onRTO(now mono.Time) (ev Events) {
	d := &s.snd
	s.expiredAt = now
	s.rtt.backoff++ //spec:T51 off:
	s.retries++
	s.info.RTOs++
	s.laneOnTimeout(now)
	if !s.stale {
		s.stale = true
		ev = Suspect
	}
	s.tlp.reset()
	s.holeOnRTO()
	lost := s.markTimedOut(now)
	if s.rec.mode != repair {
		clean := s.rec.mode == open
		s.rec.begin(repair, d.nxt, d.pipe)
		s.rec.clean = clean
	} else {
		s.rec.force = true
		s.rec.point = d.nxt
	}
	s.rec.dupacks, s.rec.renoOut = 0, 0
	s.held = 0
	if !s.rec.timedOut {
		s.rec.timedOut = true
		s.tellLoss(now, cc.Timeout, lost, d.flightSize())
	}
	return ev
}

// markTimedOut is RACK_mark_losses_on_RTO: the first segment is lost, and all
// that are older than a round trip and the reordering window. Without SACK
// there is no telling, and all are.
//
// What the peer said to hold does not count any more: "After a retransmit
// timeout the data sender SHOULD turn off all of the SACKed bits, since the
// timeout might indicate that the data receiver has reneged" (RFC 2018,
// Section 8). Its next ACK says again what it still holds.
func (s *Subflow) markTimedOut(now mono.Time) (lost int) {
	trip := s.rack.rtt
	if s.rack.end == 0 {
		trip = s.rtt.srtt // nothing was delivered yet but the SYN
	}
	grace := trip + s.rack.window(&s.rtt, true, 0)
	recs := s.snd.recs.live()
	for i := range recs {
		r := &recs[i]
		if r.has(recLost) {
			continue
		}
		if i == 0 || !s.rcv.sackOK || r.sent.Add(grace) <= now { //spec:T53 off: if true || r.sent.Add(grace) <= now {
			s.markLost(now, r, recSacked)
			lost += int(r.len)
		} else if r.has(recSacked) {
			s.snd.flag(r, 0, recSacked) //spec:T46 off:
		}
	}
	s.rack.deadline = mono.Never
	return lost
}

// heardAgain ends the back-off when the peer is heard after a silence: the path
// was away and works again, and what is outstanding need not wait for as long
// again as it was away. RFC 6298, Section 5, would wait; but the back-off is
// there for congestion, and what arrives after a silence shows that it was not
// congestion, as RFC 6069 concludes from other signs. One segment is sent for
// one that arrived, so this adds no load to a path that is in doubt, and the
// next expiry backs off as ever.
func (s *Subflow) heardAgain() {
	if s.stale && s.rtt.backoff > 0 && s.silence >= s.rtt.backedOff(1) {
		s.rtt.backoff = 0
	}
}

// persistDeadline returns when the peer's closed window is to be probed: while
// something waits, nothing is in flight, and no window is there for it
// (RFC 9293, Section 3.8.6.1).
func (s *Subflow) persistDeadline() mono.Time {
	if !s.windowBlocks() || s.probe { //spec:T72 off: if true {
		return mono.Never
	}
	from := max(s.progressAt, s.newDataAt, s.snd.wndAt, s.probeAt)
	return from.Add(s.rtt.backedOff(s.probes)) //spec:T72 off: return from.Add(s.rtt.backedOff(0))
}

// windowBlocks reports whether only the peer's window keeps something from
// leaving, and no acknowledgment is to be expected that would open it.
func (s *Subflow) windowBlocks() bool {
	d := &s.snd
	return s.state.sends() && d.recs.len() == 0 && !after(d.edge, d.nxt) &&
		(d.unsent() > 0 || d.finQueued && !d.finSent)
}

// RTO returns the current retransmission timeout, back-off included.
func (s *Subflow) RTO() time.Duration { return s.rtt.timeout() }
