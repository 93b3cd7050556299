package subflow

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
)

// Defaults of the keepalive, once Config.KeepAlive asks for it.
const (
	keepAliveInterval = 75 * time.Second
	keepAliveCount    = 9
)

// keepalive asks an idle peer whether it is there (RFC 9293, Section 3.8.4).
// It is off unless Config.KeepAlive is set (MUST-24, MUST-25).
type keepalive struct {
	heardAt    mono.Time // a segment that passed the checks arrived
	askedAt    mono.Time // the last probe was due
	unanswered int       // probes since
}

// keepAliveDeadline returns when the next probe is due. "Keep-alive packets
// MUST only be sent when no sent data is outstanding, and no data or
// acknowledgment packets have been received for the connection within an
// interval" (MUST-26).
func (s *Subflow) keepAliveDeadline() mono.Time {
	if s.cfg.KeepAlive <= 0 || s.probe || !s.snd.idle() || !s.state.synchronized() || s.state == StateTimeWait { //spec:T73 off: if s.probe || !s.snd.idle() || !s.state.synchronized() || s.state == StateTimeWait {
		return mono.Never
	}
	if s.keep.unanswered == 0 {
		return s.keep.heardAt.Latest(s.progressAt).Add(s.cfg.KeepAlive)
	}
	return s.keep.askedAt.Add(s.cfg.KeepAliveInterval)
}

// onKeepAlive sends a probe without data (SHLD-12), which an answer is due to.
// It "MUST NOT interpret failure to respond to any specific probe as a dead
// connection" (MUST-29): only a row of them counts. Asking goes on after that, for
// the path may come back.
func (s *Subflow) onKeepAlive(now mono.Time) (ev Events) {
	k := &s.keep
	if k.unanswered == s.cfg.KeepAliveCount { //spec:T73 off: if true {
		ev = Unanswered
		if !s.stale {
			s.stale = true
			ev |= Suspect
		}
	}
	k.unanswered++
	k.askedAt = now
	s.probe = true
	return ev
}

// heard notes a segment of the peer's that passed the checks.
func (s *Subflow) heard(now mono.Time, acc *Accepted) {
	s.keep.heardAt, s.keep.unanswered = now, 0
	if s.snd.recs.len() > 0 {
		return // what is outstanding decides, by its acknowledgment
	}
	s.retries, s.expired = 0, false
	if s.stale {
		s.stale = false
		acc.Events |= Trusted
	}
}
