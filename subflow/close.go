package subflow

import "github.com/mpnc/mpnc/internal/seq"

// CloseWrite queues a FIN behind all that was assigned.
//
// The state changes at once, as RFC 9293, Section 3.10.4, has it: a CLOSE
// enters FIN-WAIT-1 or LAST-ACK in any case, even if segments are still queued.
func (s *Subflow) CloseWrite() {
	if s.snd.finQueued || s.state == StateClosed {
		return
	}
	s.snd.finQueued = true
	switch s.state {
	case StateEstablished:
		s.state = StateFinWait1
	case StateCloseWait:
		s.state = StateLastAck
	}
}

// Abort sends a RST (with the Host's options) and closes.
//
// There is nobody to reset in SYN-SENT, and nothing to reset in TIME-WAIT
// (RFC 9293, Section 3.10.5); those close without a segment.
func (s *Subflow) Abort() {
	switch s.state {
	case StateClosed:
		return
	case StateSynSent, StateTimeWait:
		s.Kill()
		return
	}
	s.reply = reset{pending: true, own: true, seq: s.snd.nxt.Num(s.snd.iss)}
	s.shut()
}

// Kill closes without sending anything.
func (s *Subflow) Kill() {
	s.reply.pending = false
	if s.state != StateClosed {
		s.shut()
	}
}

// reset is a RST that is due.
type reset struct {
	pending bool
	own     bool    // of Abort: with ACK and the Host's options
	seq     seq.Num // its sequence number
}

// refuse answers a segment that acknowledges what was never sent
// (RFC 9293, Section 3.10.7.3 and 3.10.7.4): <SEQ=SEG.ACK><CTL=RST>. The
// state does not change.
func (s *Subflow) refuse(ack seq.Num) {
	s.info.Dropped++
	if !s.reply.pending {
		s.reply = reset{pending: true, seq: ack}
	}
}
