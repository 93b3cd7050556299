// Package subflow is TCP without I/O: one connection driven by segments and
// time. It has no goroutine, lock, clock or socket; every method takes the
// time it needs. A subflow holds no bytes: it holds ranges of the connection's
// data (buf.Send), and tells where received payload belongs.
//
// What it implements: RFC 9293 with 5961, 7323, 2018 and 2883 (SACK), 5681 and
// 6298, 8985 (RACK-TLP), 9937 (PRR), 6582 for peers without SACK, 6928, 3168
// (ECN), 1191 and 8201 (path MTU by ICMP), 4821 (by probing, in a black hole).
//
// A deadline that follows from what was sent and when is computed, not stored;
// PollTimeout asks the same predicates as HandleTimeout and PollTransmit do.
package subflow

import (
	"fmt"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow/cc"
)

// timerKind names the deadlines that do not follow from the records.
type timerKind uint8

const (
	timerSYN      timerKind = iota // send SYN or SYN/ACK again
	timerDelack                    // acknowledge
	timerTimeWait                  // leave TIME-WAIT
)

// maxMapping is the longest mapping (RFC 8684, Section 3.3.1: 16 bits of
// length, which also counts a DATA_FIN).
const maxMapping = 65534

// Subflow is one TCP connection (or one subflow of an MPTCP connection).
// Its methods must not be called concurrently. Use Dial or Accept; the zero
// value is of no use.
type Subflow struct {
	cfg     Config // defaults filled in
	tuple   wire.Tuple
	state   State
	passive bool
	muted   bool
	mss     int // what MSS returns
	peerMSS int // what the peer's SYN said, or the default

	syn    synState
	snd    sender
	rcv    receiver
	ts     timestamps
	rtt    rtt
	rack   rack
	tlp    tlp
	rec    recovery
	pace   pacer
	lane   lane
	rate   rate
	mtu    pathMTU
	icmp   icmpState
	ecn    ecnState
	timers mono.Timers[timerKind]
	ctrl   cc.Controller  // nil until the peer's MSS is known
	model  cc.Model       // ctrl, if it is one
	slow   cc.SlowStarter // likewise

	progressAt mono.Time // SND.UNA moved, or sending began anew
	newDataAt  mono.Time // data left for the first time
	expiredAt  mono.Time // the retransmission timer fired
	stale      bool      // Suspect was reported and nothing acknowledged since
	probe      bool      // SendProbe, or the persist timer
	probes     int       // consecutive persist probes
	probeAt    mono.Time
	keep       keepalive
	retries    int  // expiries of the retransmission or persist timer since the last progress
	expired    bool // TimedOut was reported and nothing acknowledged since
	told       bool // a user timeout option left on a segment that was no SYN
	held       int  // octets delivered beyond a hole, of which the controller was not told yet
	limited    bool // the application was the limit when data last left

	silence time.Duration // before the segment that is being handled

	reply   reset
	tx      output      // scratch of PollTransmit
	retired []seq.Range // scratch of HandleSegment
	info    Info
}

// HandleSegment processes one arrived segment.
func (s *Subflow) HandleSegment(now mono.Time, seg *wire.Segment) Accepted {
	var acc Accepted
	s.info.SegsIn++
	s.silence = now.Sub(s.info.LastRecv)
	s.info.LastRecv = now
	at := now.Earliest(seg.At)
	if seg.At == 0 {
		at = now
	}
	s.retired = s.retired[:0]
	switch s.state {
	case StateClosed:
		s.info.Dropped++
	case StateSynSent:
		s.handleSynSent(now, at, seg, &acc)
	default:
		s.handleArrival(now, at, seg, &acc)
	}
	if len(s.retired) > 0 {
		acc.Retired = s.retired
	}
	return acc
}

// HandleTimeout acts on every deadline that is due; before PollTimeout it does
// nothing.
func (s *Subflow) HandleTimeout(now mono.Time) Events {
	if s.muted || s.state == StateClosed {
		return 0
	}
	if s.timers.Expired(timerTimeWait, now) {
		s.shut()
		return Closed
	}
	if s.timers.Expired(timerDelack, now) {
		s.rcv.ackNow = true
		s.info.DelayedAcks++
	}
	var ev Events
	if s.timers.Expired(timerSYN, now) {
		if ev = s.onSynTimeout(); ev != 0 {
			return ev
		}
	}
	if s.reorderDeadline() <= now {
		s.onReorderTimeout(now)
	}
	if s.tlpDeadline() <= now {
		s.tlp.pending, s.tlp.at = true, now
	}
	if s.rtoDeadline() <= now {
		ev |= s.onRTO(now)
	}
	if s.persistDeadline() <= now {
		s.probe, s.probeAt = true, now
		s.probes++
		if s.retries++; s.retries == 1 {
			s.snd.waitsFrom = now
		}
	}
	if s.keepAliveDeadline() <= now {
		ev |= s.onKeepAlive(now)
	}
	if s.userDeadline() <= now {
		s.expired = true
		ev |= TimedOut //spec:T22,T74 off:
	}
	return ev
}

// PollTimeout returns the next deadline, Never if there is none. Once
// HandleTimeout(now) was called and PollTransmit was drained at now, it is
// later than now.
func (s *Subflow) PollTimeout() mono.Time {
	if s.muted || s.state == StateClosed {
		return mono.Never
	}
	return min(s.timers.Next(), s.reorderDeadline(), s.tlpDeadline(),
		s.rtoDeadline(), s.persistDeadline(), s.paceDeadline(),
		s.keepAliveDeadline(), s.userDeadline())
}

// Assign grants the subflow a range of data to send; the mapping is fixed now.
// At most 65534 octets.
func (s *Subflow) Assign(r seq.Range) { s.AssignSummed(r, 0) }

// AssignSummed is Assign with a number that goes with the mapping, and is
// handed to the Host whenever a part of it is sent: the sum over its payload,
// some of which may be acknowledged and gone by then.
func (s *Subflow) AssignSummed(r seq.Range, sum uint16) {
	n := r.Len()
	if n <= 0 {
		return
	}
	if n > maxMapping || s.snd.finQueued {
		panic(fmt.Sprintf("BUG: Assign of %d octets, FIN queued %t", n, s.snd.finQueued))
	}
	s.snd.todo.push(Mapping{Data: r.From, Off: s.snd.end, Len: n, Sum: sum})
	s.snd.end += seq.Offset(n)
}

// Outstanding calls f with the data ranges that were assigned and not yet
// acknowledged (cumulatively) on this subflow, in the order of assignment.
// It may be called after the subflow is closed.
func (s *Subflow) Outstanding(f func(seq.Range)) {
	var run seq.Range
	emit := func(r seq.Range) {
		if !run.Empty() && run.To == r.From {
			run.To = r.To
			return
		}
		if !run.Empty() {
			f(run)
		}
		run = r
	}
	for i := range s.snd.recs.live() {
		r := &s.snd.recs.live()[i]
		if !r.has(recFIN) {
			emit(seq.Range{From: r.data(r.off), To: r.data(r.end())})
		}
	}
	sent := later(s.snd.nxt, 1)
	for _, m := range s.snd.todo.live() {
		from := m.Data + seq.Data(max(0, dist(sent, m.Off)))
		emit(seq.Range{From: from, To: m.Data.Add(m.Len)})
	}
	if !run.Empty() {
		f(run)
	}
}

// Unfinished returns the mapping of which the peer has acknowledged a part and
// not the rest, if there is one. It may be called after the subflow is closed.
func (s *Subflow) Unfinished() (Mapping, bool) {
	m := Mapping{}
	if recs := s.snd.recs.live(); len(recs) > 0 {
		m = recs[0].m
	} else if todo := s.snd.todo.live(); len(todo) > 0 {
		m = todo[0]
	}
	return m, m.Len > 0 && m.Off < s.snd.una
}

// SetOptionSpace changes Config.OptionSpace, for what is cut from now on.
func (s *Subflow) SetOptionSpace(octets int) {
	s.cfg.OptionSpace = octets
	s.resize()
}

// SetAccept changes Config.Accept.
func (s *Subflow) SetAccept(octets int) { s.cfg.Accept = octets }

// Reach returns the end of what the peer has sent, or may send by the windows
// it was shown, as far as it is acknowledged or will be when it comes
// (Config.Accept aside).
func (s *Subflow) Reach() seq.Offset {
	r := &s.rcv
	end := later(r.edge, r.nxt)
	if spans := r.set.Spans(); len(spans) > 0 {
		end = later(end, spans[len(spans)-1].To)
	}
	return end
}

// SendProbe makes the next PollTransmit emit a segment below the peer's window
// (no data, the sequence number before the oldest one unacknowledged, which is
// SND.NXT-1 if nothing is in flight) that the peer must answer: a keepalive or
// window probe.
func (s *Subflow) SendProbe() {
	if s.state.synchronized() && s.state != StateTimeWait {
		s.probe = true
	}
}

// Mute stops (true) or resumes all sending. While muted no deadline runs.
// On resuming, back-off is forgotten and what is unacknowledged is sent again
// at once.
func (s *Subflow) Mute(now mono.Time, muted bool) {
	if s.muted == muted {
		return
	}
	s.muted = muted
	if muted {
		return
	}
	s.rtt.backoff, s.probes = 0, 0
	s.progressAt, s.probeAt = now, now
	s.retries, s.expired, s.keep.unanswered = 0, false, 0
	if s.state.handshaking() {
		s.syn.backoff = 0
		s.syn.pending = true
		s.timers.Stop(timerSYN)
	}
	s.resume()
}

// State returns the state.
func (s *Subflow) State() State { return s.state }

// Tuple returns the two ends.
func (s *Subflow) Tuple() wire.Tuple { return s.tuple }
