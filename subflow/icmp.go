package subflow

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// ICMPVerdict is what became of an ICMP error.
type ICMPVerdict uint8

// Verdicts on ICMP errors.
const (
	// ICMPIgnored: it is not about anything in flight, or tells nothing new.
	ICMPIgnored ICMPVerdict = iota
	// ICMPNoted: it was believed, and is no reason to give up.
	ICMPNoted
	// ICMPAborted: the peer will not be reached; the state is now CLOSED.
	ICMPAborted
)

// icmpBudget is how many ICMP errors may change something in a second. They
// can be forged by whoever guesses a sequence number in flight.
const icmpBudget = 8

// icmpState is that budget.
type icmpState struct {
	at    mono.Time // start of the running second
	spent int
}

func (i *icmpState) spend(now mono.Time) bool {
	if now.Sub(i.at) >= time.Second {
		i.at, i.spent = now, 0
	}
	i.spent++
	return i.spent <= icmpBudget //spec:T21,T77 off: return true
}

// HandleICMP acts on an ICMP error that quotes a segment of this subflow.
//
// "TCP implementations MUST NOT abort the connection" for soft errors
// (RFC 9293, Section 3.9.2.2, MUST-56). Hard ones SHOULD abort; but a
// connection that stands knows better whether its peer is there than an error
// that anybody can forge (RFC 5927, Section 5), so those count in SYN-SENT
// only. What is too big is sent again, smaller.
func (s *Subflow) HandleICMP(now mono.Time, e *wire.ICMPError) ICMPVerdict {
	if s.muted || s.state == StateClosed || s.state == StateTimeWait {
		return ICMPIgnored
	}
	// "The TCP sequence number contained in the payload of the ICMP error
	// message should be within the range of the data already sent but not yet
	// acknowledged": RFC 5927, Section 4.1.
	off := seq.Unwrap(e.Seq, s.snd.iss, s.snd.una)
	flying := !before(off, s.snd.una) && before(off, s.snd.nxt)
	if !flying || !s.icmp.spend(now) { //spec:T21,T77 off: if _ = flying; !s.icmp.spend(now) {
		s.info.ICMPIgnored++
		return ICMPIgnored
	}
	switch {
	case e.Kind == wire.ICMPTooBig:
		s.tooBig(now, off, e.MTU)
	case s.state == StateSynSent && (e.Hard || e.Kind == wire.ICMPProhibited): //spec:T21 off: case e.Hard:
		s.shut()
		return ICMPAborted
	}
	s.info.ICMPNoted++
	return ICMPNoted
}
