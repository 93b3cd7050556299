package engine

import (
	"net/netip"
	"syscall"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/subflow"
)

// ECN says when Explicit Congestion Notification (RFC 3168) is used.
type ECN = subflow.ECN

// When ECN is used: see there.
const (
	ECNAccept = subflow.ECNAccept
	ECNAsk    = subflow.ECNAsk
	ECNOff    = subflow.ECNOff
)

// HandleICMP acts on an ICMP error that quotes a segment of this connection
// (Endpoint.Lookup of the quoted tuple finds it).
func (c *Conn) HandleICMP(now mono.Time, e *wire.ICMPError) {
	p := c.pathOf(e.Tuple)
	if p == nil {
		return
	}
	switch p.sf.HandleICMP(now, e) {
	case subflow.ICMPAborted:
		p.downReason = pathmgr.Refused
		p.fastOpenFailed(now)
		if c.phase == opening {
			c.fail(now, c.unreachable(e))
		}
	case subflow.ICMPNoted:
		// "TCP SHOULD make the information available to the application"
		// (RFC 9293, Section 3.9.2.2): as the reason, should nobody answer.
		if c.phase == opening && e.Kind != wire.ICMPTooBig {
			c.advice = c.unreachable(e)
			c.advice.Waited = true
		}
	}
	c.reap(now)
}

func (c *Conn) unreachable(e *wire.ICMPError) *UnreachableError {
	return &UnreachableError{Kind: e.Kind, Local: c.local, Remote: c.remote}
}

// unanswered is the failure of a handshake that nobody answered.
func (c *Conn) unanswered(now mono.Time) error {
	if c.advice != nil {
		return c.advice
	}
	if p := c.paths[0]; c.cfg.UserTimeout > 0 && p.downReason == pathmgr.TimedOut {
		e := p.unanswered(now, false)
		e.Handshake, e.After = true, now.Sub(c.stats.Opened)
		return e
	}
	return &SilenceError{Handshake: true, After: now.Sub(c.stats.Opened)}
}

// UnreachableError is the failure of a connection whose SYN was answered by
// ICMP. errors.Is(err, syscall.ECONNREFUSED), or EHOSTUNREACH or ENETUNREACH,
// holds as with the host's own sockets.
type UnreachableError struct {
	Kind wire.ICMPKind
	// Waited: the error might have passed, and did not in all the time that
	// SYNs are repeated; errors.Is(err, syscall.ETIMEDOUT) holds, too.
	Waited bool
	Local  netip.AddrPort
	Remote netip.AddrPort
}

func (e *UnreachableError) Error() string {
	s := "no route to the host"
	switch e.Kind {
	case wire.ICMPPort:
		s = "connection refused: nothing listens there (port unreachable)"
	case wire.ICMPProtocol:
		s = "connection refused: the host does not speak TCP (protocol unreachable)"
	case wire.ICMPProhibited:
		s = "no route to the host: a firewall prohibits it"
	case wire.ICMPNetwork:
		s = "no route to the network"
	case wire.ICMPHost:
		s = "no route to the host: it does not answer its router"
	case wire.ICMPTimeExceeded:
		s = "no route to the host: packets go in circles (time exceeded)"
	}
	if e.Waited {
		return "connection timed out: " + s
	}
	return s
}

// Is makes errors.Is work with the errors of the host's own sockets.
func (e *UnreachableError) Is(target error) bool {
	if e.Waited && target == syscall.ETIMEDOUT {
		return true
	}
	switch e.Kind {
	case wire.ICMPPort, wire.ICMPProtocol:
		return target == syscall.ECONNREFUSED
	case wire.ICMPNetwork:
		return target == syscall.ENETUNREACH
	}
	return target == syscall.EHOSTUNREACH
}

// Timeout says whether this was a timeout (net.Error).
func (e *UnreachableError) Timeout() bool { return e.Waited }
