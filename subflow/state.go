package subflow

import (
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/wire"
)

var stateNames = [...]string{
	StateClosed:      "CLOSED",
	StateListen:      "LISTEN",
	StateSynSent:     "SYN-SENT",
	StateSynReceived: "SYN-RECEIVED",
	StateEstablished: "ESTABLISHED",
	StateFinWait1:    "FIN-WAIT-1",
	StateFinWait2:    "FIN-WAIT-2",
	StateCloseWait:   "CLOSE-WAIT",
	StateClosing:     "CLOSING",
	StateLastAck:     "LAST-ACK",
	StateTimeWait:    "TIME-WAIT",
}

// String returns the name that RFC 9293 gives the state.
func (st State) String() string {
	if int(st) < len(stateNames) {
		return stateNames[st]
	}
	return "?"
}

// synchronized reports whether both ends know each other's sequence numbers
// (RFC 9293, Section 3.5.2, group 3).
func (st State) synchronized() bool { return st >= StateEstablished }

// handshaking reports whether a SYN of ours waits for its acknowledgment.
func (st State) handshaking() bool { return st == StateSynSent || st == StateSynReceived }

// sends reports whether data and the FIN may leave in the state. In those that
// follow a close, what was assigned before it still goes out first.
func (st State) sends() bool {
	switch st {
	case StateEstablished, StateCloseWait, StateFinWait1, StateClosing, StateLastAck: //spec:T6 off: case StateEstablished, StateFinWait1, StateClosing, StateLastAck:
		return true
	}
	return false
}

// establish enters ESTABLISHED, or what a CloseWrite made of it meanwhile.
func (s *Subflow) establish(now mono.Time, acc *Accepted) {
	s.state = StateEstablished
	s.timers.Stop(timerSYN)
	s.syn.pending = false
	s.progressAt = now
	s.retries, s.expired = 0, false
	acc.Events |= Established
	if s.snd.finQueued {
		s.state = StateFinWait1
	}
}

// finAcked is told when the acknowledgment of our FIN has arrived.
func (s *Subflow) finAcked(now mono.Time, acc *Accepted) {
	acc.Events |= FinAcked
	switch s.state {
	case StateFinWait1:
		s.state = StateFinWait2
	case StateClosing:
		s.enterTimeWait(now)
	case StateLastAck:
		s.shut()
		acc.Events |= Closed
	}
}

// finReceived is told when the peer's FIN has arrived and all before it.
func (s *Subflow) finReceived(now mono.Time, acc *Accepted) {
	acc.Events |= FinReceived
	switch s.state {
	case StateEstablished:
		s.state = StateCloseWait
	case StateFinWait1:
		s.state = StateClosing //spec:T5 off: s.enterTimeWait(now)
	case StateFinWait2:
		s.enterTimeWait(now)
	}
}

func (s *Subflow) enterTimeWait(now mono.Time) {
	s.state = StateTimeWait
	s.restartTimeWait(now)
}

func (s *Subflow) restartTimeWait(now mono.Time) {
	s.timers.Set(timerTimeWait, now.Add(s.cfg.TimeWait)) //spec:T7 off: s.timers.Set(timerTimeWait, now)
}

// shut enters CLOSED. The records stay: the engine may still ask for what was
// Outstanding.
func (s *Subflow) shut() {
	s.state = StateClosed
	s.timers = mono.Timers[timerKind]{}
	s.rcv.ackNow, s.rcv.ackSoon, s.probe, s.syn.pending = false, false, false, false
	if s.cfg.Group != nil && s.ctrl != nil {
		s.cfg.Group.Leave(s.ctrl)
	}
}

// resetBy enters CLOSED because of a RST that passed the checks.
func (s *Subflow) resetBy(acc *Accepted) {
	acc.OK = true
	if s.state == StateSynSent || s.state == StateSynReceived && !s.passive { //spec:T4 off: if s.state == StateSynSent || s.state == StateSynReceived {
		acc.Events |= Refused
	} else {
		acc.Events |= ResetByPeer
	}
	s.reply.pending = false
	s.shut()
}

// has reports whether seg has all of f; it reads better in long conditions.
func has(seg *wire.Segment, f wire.Flags) bool { return seg.Flags.Has(f) }
