package subflow

import (
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// Reopens reports whether a SYN that arrived in TIME-WAIT is a new connection's
// and may take this one's place (RFC 9293, Section 3.6.1, MAY-2), and after
// which sequence number that has to start, so that nothing of the old one is
// taken for the new one's.
//
// With timestamps on both, the SYN's has to be newer than the last one seen
// (SHLD-4; RFC 6191, Section 2), or equal with a larger sequence number; without
// them, the sequence number has to be larger. Anything else may be an old
// duplicate and gets the ACK that any SYN gets.
func (s *Subflow) Reopens(now mono.Time, syn *wire.Segment) (last seq.Num, ok bool) {
	if s.state != StateTimeWait || syn.Flags&(wire.SYN|wire.ACK|wire.RST|wire.FIN) != wire.SYN {
		return 0, false
	}
	larger := after(seq.Unwrap(syn.Seq, s.rcv.irs, s.rcv.nxt), s.rcv.nxt)
	if s.ts.on && syn.Opt.HasTS && now.Sub(s.ts.recentAt) <= tsIdle {
		newer := int32(syn.Opt.TSVal - s.ts.recent)
		ok = newer > 0 || newer == 0 && larger //spec:T8 off: ok = newer > 0 || larger
	} else {
		ok = larger //spec:T8 off: ok = true
	}
	return s.snd.nxt.Num(s.snd.iss), ok
}
