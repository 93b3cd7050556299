package engine

import (
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
)

// ResetError is the failure of a connection that one side ended at once:
// a RST, MP_FASTCLOSE, or a peer that has forgotten the connection.
// errors.Is(err, syscall.ECONNRESET) holds (ECONNREFUSED if Refused).
type ResetError struct {
	Peer      bool             // the peer did it; else this side
	Refused   bool             // it answered our first SYN
	Forgotten bool             // the peer no longer knows the connection
	Reason    wire.ResetReason // of MP_TCPRST (RFC 8684, Section 3.6)
	Local     netip.AddrPort
	Remote    netip.AddrPort
}

func (e *ResetError) Error() string {
	switch {
	case e.Refused:
		return "connection refused"
	case e.Forgotten:
		return "connection reset: the peer no longer knows it (restarted?)"
	case !e.Peer:
		return "connection aborted"
	case e.Reason != wire.ResetUnspecified:
		return fmt.Sprintf("connection reset by peer (MPTCP reason %d)", e.Reason)
	}
	return "connection reset by peer"
}

// Is makes errors.Is work with the errors of the host's own sockets.
func (e *ResetError) Is(target error) bool {
	switch {
	case e.Refused:
		return target == syscall.ECONNREFUSED
	case e.Peer || e.Forgotten:
		return target == syscall.ECONNRESET
	}
	return target == syscall.ECONNABORTED
}

// AlteredError is the failure of a connection some of whose data was changed on
// the way, as a checksum told, with no other path to send it on.
// errors.Is(err, syscall.EBADMSG) holds.
type AlteredError struct {
	Peer          bool // the peer found it, in what we sent
	Local, Remote netip.AddrPort
}

func (e *AlteredError) Error() string {
	if e.Peer {
		return fmt.Sprintf("data was changed on the way to %v: the peer's checksum failed", e.Remote)
	}
	return fmt.Sprintf("data was changed on the way from %v: its checksum failed", e.Remote)
}

// Is makes errors.Is work with the errors of the host's own sockets.
func (e *AlteredError) Is(target error) bool { return target == syscall.EBADMSG }

// SilenceError is the failure of a connection that had no usable path for
// longer than it was to be held, or whose SYN was never answered in all the time
// that SYNs are repeated.
// errors.Is(err, syscall.ETIMEDOUT) holds.
type SilenceError struct {
	Handshake bool
	After     time.Duration
}

func (e *SilenceError) Error() string {
	if e.Handshake {
		return fmt.Sprintf("connection timed out: no answer for %v", e.After.Round(time.Second/10))
	}
	return fmt.Sprintf("connection timed out: no path to the peer for %v", e.After.Round(time.Second))
}

// Is makes errors.Is work with the errors of the host's own sockets.
func (e *SilenceError) Is(target error) bool { return target == syscall.ETIMEDOUT }

// Timeout says that this is a timeout (net.Error).
func (e *SilenceError) Timeout() bool { return true }

// UnansweredError is the failure of a connection whose peer acknowledged nothing
// for Config.UserTimeout, or, with plain TCP, answered no keepalive. It names
// the last path. errors.Is(err, syscall.ETIMEDOUT) holds.
type UnansweredError struct {
	Local, Remote netip.AddrPort
	After         time.Duration // how long
	Retries       int           // how often it was sent again meanwhile
	Idle          bool          // nothing was outstanding: Retries are keepalives
	Handshake     bool          // it was the SYN: the peer was never heard
}

func (e *UnansweredError) Error() string {
	what := "nothing acknowledged"
	switch {
	case e.Idle:
		what = "no answer to keepalives"
	case e.Handshake:
		what = "no answer"
	}
	tries := fmt.Sprintf("%d retries", e.Retries)
	if e.Retries == 1 {
		tries = "1 retry"
	}
	return fmt.Sprintf("connection timed out: %s from %v to %v for %v (%s)",
		what, e.Local, e.Remote, e.After.Round(time.Second/10), tries)
}

// Is makes errors.Is work with the errors of the host's own sockets.
func (e *UnansweredError) Is(target error) bool { return target == syscall.ETIMEDOUT }

// Timeout says that this is a timeout (net.Error).
func (e *UnansweredError) Timeout() bool { return true }
