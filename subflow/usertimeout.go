package subflow

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/wire"
)

// userDeadline returns when what was sent has been without an acknowledgment
// for Config.UserTimeout (R2 of RFC 9293, Section 3.8.3, in time). "The TCP user
// timeout controls how long transmitted data may remain unacknowledged before a
// connection is forcefully closed" (RFC 5482, Abstract). Of the probes of a
// closed window only those without an answer count: as long as the peer answers
// it may keep the window closed (RFC 9293, Section 3.8.6.1, MUST-37).
func (s *Subflow) userDeadline() mono.Time {
	if s.cfg.UserTimeout <= 0 || s.expired {
		return mono.Never
	}
	if s.state.handshaking() && !s.passive && s.syn.sent > 0 {
		// The attempt to open is the application's to end, too (RFC 9293,
		// Section 3.8.3; MUST-23 is for when it says nothing).
		return s.snd.waitsFrom.Latest(s.progressAt).Add(s.cfg.UserTimeout) //spec:T22 off:
	}
	if !s.state.synchronized() {
		return mono.Never
	}
	if s.snd.recs.len() == 0 && (s.retries == 0 || !s.windowBlocks()) { //spec:T72 off: if s.snd.recs.len() == 0 && !s.windowBlocks() {
		return mono.Never
	}
	return s.snd.waitsFrom.Latest(s.progressAt).Add(s.cfg.UserTimeout) //spec:T22,T74 off: return s.snd.waitsFrom.Latest(s.progressAt).Add(2 * s.cfg.UserTimeout)
}

// tellUserTimeout adds the user timeout option: "a connection that has enabled
// UTO options SHOULD include a UTO option in the first packet that does not have
// the SYN flag set", beside those of the SYNs (RFC 5482, Section 3). All other
// options go first; one that has no room goes on the next segment.
func (s *Subflow) tellUserTimeout(seg *wire.Segment) {
	if s.cfg.TellUserTimeout <= 0 || s.told || has(seg, wire.RST) || seg.Opt.Len()+seg.MP.Len()+4 > maxOptions {
		return
	}
	seg.Opt.UserTimeout = wire.FormatUserTimeout(s.cfg.TellUserTimeout) //spec:T74 off:
	s.told = !has(seg, wire.SYN)
}

// SetKeepAlive changes Config.KeepAlive.
func (s *Subflow) SetKeepAlive(d time.Duration) { s.cfg.KeepAlive = d }
