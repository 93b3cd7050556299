package ladder

import (
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow"
)

// infer follows the states of both sides by a segment that x sent and y is to
// receive. What x sends shows for certain in which state it is. Of y it is
// assumed that an acknowledgment or a RST reaches it, for nothing ever tells
// whether it did; but that it has a SYN or a FIN is believed only when it shows.
// Our own state is followed only if the tracer does not tell it.
func infer(x, y *side, s *wire.Segment, traced bool) {
	mine, yours := subflow.StateClosed, subflow.StateClosed
	if !s.Flags.Has(wire.RST) {
		var acked seq.Offset
		if s.Flags.Has(wire.ACK) && y.known {
			acked = seq.Unwrap(s.Ack, y.iss, y.next)
			y.acked = max(y.acked, acked)
		}
		mine = sent(x, y, s, acked)
		yours = received(y, acked)
	}
	if !(x.us && traced) {
		x.state = mine
	}
	if !(y.us && traced) {
		y.state = yours
	}
}

// sent returns the state of x that sent s, which acknowledges up to acked.
func sent(x, y *side, s *wire.Segment, acked seq.Offset) subflow.State {
	st := x.state
	if s.Flags.Has(wire.SYN) {
		if s.Flags.Has(wire.ACK) {
			return subflow.StateSynReceived
		}
		return subflow.StateSynSent
	}
	switch st {
	case subflow.StateClosed, subflow.StateSynSent, subflow.StateSynReceived:
		if x.fin == 0 || s.Flags.Has(wire.FIN) {
			st = subflow.StateEstablished
		}
	}
	if y.fin != 0 && acked > y.fin {
		switch st {
		case subflow.StateEstablished:
			st = subflow.StateCloseWait
		case subflow.StateFinWait1:
			st = subflow.StateClosing
		case subflow.StateFinWait2:
			st = subflow.StateTimeWait
		}
	}
	if s.Flags.Has(wire.FIN) {
		switch st {
		case subflow.StateEstablished, subflow.StateFinWait2:
			st = subflow.StateFinWait1
		case subflow.StateCloseWait:
			st = subflow.StateLastAck
		}
	}
	return st
}

// received returns the state of y once it has an acknowledgment up to acked.
func received(y *side, acked seq.Offset) subflow.State {
	st := y.state
	if st == subflow.StateSynReceived && acked >= 1 {
		st = subflow.StateEstablished
	}
	if y.fin == 0 || acked <= y.fin {
		return st
	}
	switch st {
	case subflow.StateFinWait1:
		return subflow.StateFinWait2
	case subflow.StateClosing:
		return subflow.StateTimeWait
	case subflow.StateLastAck:
		return subflow.StateClosed
	}
	return st
}
