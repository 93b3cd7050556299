package engine

import (
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/subflow"
)

// State returns the state of the connection as a whole, in the terms of TCP:
// with MPTCP that of the stream, where DATA_FIN stands for FIN (RFC 8684,
// Section 3.3.3), whatever the subflows do; else that of the lone subflow.
func (c *Conn) State() subflow.State {
	switch {
	case c.gone:
		return subflow.StateClosed
	case c.mode == multipath && c.phase == open:
		return c.streamState()
	case c.mode == multipath && c.phase == over:
		return subflow.StateClosed
	case len(c.paths) > 0:
		return c.paths[0].sf.State()
	}
	return subflow.StateClosed
}

func (c *Conn) streamState() subflow.State {
	sent, acked, theirs := c.tx.finSent, c.tx.finAcked, c.peerFinished()
	switch {
	case acked && theirs:
		return subflow.StateTimeWait
	case acked:
		return subflow.StateFinWait2
	case sent && theirs && c.tx.finSecond:
		return subflow.StateLastAck
	case sent && theirs:
		return subflow.StateClosing
	case sent:
		return subflow.StateFinWait1
	case theirs:
		return subflow.StateCloseWait
	}
	return subflow.StateEstablished
}

// Token returns what peers name the connection by in joins: ours, and the
// peer's (RFC 8684, Section 3.2). Without MPTCP they are 0.
func (c *Conn) Token() (ours, peers uint32) {
	if c.mode != multipath {
		return 0, 0
	}
	return c.token, c.peerToken
}

// ID returns the connection's number in its Endpoint, from 1 on.
func (c *Conn) ID() uint32 { return c.id }

// Client reports whether this side opened the connection.
func (c *Conn) Client() bool { return c.client }

// HoldSince returns since when no path is alive, Never while one is.
func (c *Conn) HoldSince() mono.Time { return c.holdSince }
