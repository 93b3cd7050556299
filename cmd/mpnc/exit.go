package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/mpnc/mpnc/internal/netcat"
)

// Exit statuses. A session ended by signal n exits with exitSignal+n.
const (
	exitOK        = 0
	exitConnect   = 1 // could not connect, or listen
	exitUsage     = 2
	exitTruncated = 3 // the peer reset the connection, or not everything went across
	exitIdle      = 4 // nothing moved for the time given with -w
	exitOutput    = 5 // standard output took no more
	exitSignal    = 128
)

// failure is why the command ends without having done what it was asked: one
// line for the user, and the exit status.
type failure struct {
	code  int
	what  string
	hint  string // what to do about it; may be empty
	cause error  // may be nil

	// For the voices of other netcats:
	to    target        // what could not be connected to
	at    string        // the address that could not be listened on
	after time.Duration // the idle time-out that has passed
	ended bool          // there was a session
	lost  bool          // whose loss no call has met
	told  bool          // each attempt to connect was told of
	scan  bool          // it is a port that a scan did not find open
}

func (f *failure) Error() string {
	if f.hint == "" {
		return f.what
	}
	return f.what + " (" + f.hint + ")"
}

// childFailure is that of a process which ran in our place, and has said why.
type childFailure struct{ code int }

func (f *childFailure) Error() string { return fmt.Sprintf("exit status %d", f.code) }

func (f *failure) Unwrap() error { return f.cause }

func usage(format string, args ...any) *failure {
	return &failure{code: exitUsage, what: fmt.Sprintf(format, args...), hint: "mpnc --help lists the options"}
}

// exitCode returns the status for an error of any kind.
func exitCode(err error) int {
	var f *failure
	var child *childFailure
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &child):
		return child.code
	case errors.As(err, &f):
		return f.code
	}
	return exitConnect
}

// plain strips what package net and os put round an error: the operation and
// the addresses, which the caller says in its own words.
func plain(err error) string {
	var dns *net.DNSError
	var addr *net.AddrError
	var op *net.OpError
	var sys *os.SyscallError
	var path *fs.PathError
	var viaProxy *proxyError
	var overTLS *tlsError
	switch {
	case errors.As(err, &viaProxy):
		return viaProxy.Error()
	case errors.As(err, &overTLS):
		return overTLS.Error()
	case errors.As(err, &dns):
		return dns.Err
	case errors.As(err, &addr):
		return addr.Err
	case errors.As(err, &sys):
		return sys.Err.Error()
	case errors.As(err, &op):
		return op.Err.Error()
	case errors.As(err, &path):
		return path.Err.Error()
	}
	return err.Error()
}

// connectHint says what to do when a connection cannot be had.
func connectHint(o *options, to target, err error) string {
	var viaProxy *proxyError
	switch {
	case errors.As(err, &viaProxy):
		return ""
	case o.unix():
		return ""
	case errors.Is(err, syscall.ECONNREFUSED) && o.datagrams():
		return "nothing receives there; start it first: mpnc -u -l " + to.port
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there; start it first: mpnc -l " + to.port
	case o.source.IsValid() && !isLocal(o.source):
		return o.source.String() + " is not an address of this host; \"ip addr\" lists them"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this host has no address or port left for it"
	case errors.Is(err, syscall.EADDRINUSE):
		return "choose another source port with -p"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "there is no route; \"ip route get ADDRESS\" tells more"
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return "this host's firewall or routing forbids it"
	case errors.Is(err, syscall.ETIMEDOUT):
		return "is a firewall in the way?"
	}
	return ""
}

// isLocal reports whether an address belongs to this host, as far as it can be
// known.
func isLocal(a netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	for _, i := range addrs {
		p, perr := netip.ParsePrefix(i.String())
		if perr == nil && (p.Addr().Unmap() == a.WithZone("") || a.IsLoopback() && p.Contains(a)) {
			return true
		}
	}
	return err != nil || a.IsUnspecified()
}

// connectFailure is that of all the addresses of a target, or of its look-up.
func connectFailure(o *options, to target, err error) *failure {
	f := &failure{code: exitConnect, cause: err, to: to, told: true}
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		f.what = fmt.Sprintf("cannot find the address of %s: %s", dns.Name, dns.Err)
		f.hint = "is the name spelt right, and can this host reach a name server?"
		f.told = false
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		f.what = fmt.Sprintf("cannot connect to %v: no answer within %v", to, o.timeout)
		f.hint = "-w sets this time; is a firewall in the way?"
	default:
		f.what = fmt.Sprintf("cannot connect to %v: %s", to, plain(err))
		f.hint = connectHint(o, to, err)
	}
	return f
}

func listenFailure(o *options, err error) *failure {
	f := &failure{code: exitConnect, what: fmt.Sprintf("cannot listen on %s: %s", o.listenAt(), plain(err)), cause: err, at: o.listenAddress()}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		f.hint = fmt.Sprintf("who has it: ss -ltnp 'sport = :%s'", o.port())
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		f.hint = "that is not an address of this host; \"ip addr\" lists them"
	case errors.Is(err, syscall.EACCES):
		f.hint = "ports below 1024 need root or CAP_NET_BIND_SERVICE"
	}
	return f
}

// sessionFailure says what ended a session, nil if it ended well.
func sessionFailure(o *options, res netcat.Result, err error) error {
	switch res.Why {
	case netcat.Complete:
		return nil
	case netcat.Idle:
		return &failure{code: exitIdle, what: fmt.Sprintf("nothing moved for %v", o.idle), hint: "-w sets this time-out", after: o.idle, ended: true}
	case netcat.Interrupted:
		return errInterrupted
	}
	var e *netcat.Error
	if !errors.As(err, &e) {
		return err
	}
	f := &failure{code: exitTruncated, what: fmt.Sprintf("cannot %v: %s", e.Side, plain(e.Err)), cause: err}
	switch e.Side {
	case netcat.Output:
		f = outputFailure(f.what, e.Err)
	case netcat.Input:
		f.hint = "the connection was aborted, so that the peer does not take its part for the whole"
	default:
		f.hint = fmt.Sprintf("%d octets were sent and %d received before", res.Sent, res.Received)
	}
	f.ended = true
	return f
}

// lossFailure is that of a session whose end no call of ours has hindered, but
// some of what it wrote will never arrive.
func lossFailure(err error) *failure {
	return &failure{code: exitTruncated, what: "not everything reached the peer: " + plain(err), cause: err, ended: true, lost: true}
}

func outputFailure(what string, err error) *failure {
	f := &failure{code: exitOutput, what: what, cause: err}
	switch {
	case errors.Is(err, syscall.ENOSPC):
		f.hint = "make room and start again"
	case errors.Is(err, syscall.EPIPE):
		f.hint = "the program that read it has ended"
	}
	return f
}

// errInterrupted stands for a signal until the signal itself is known.
var errInterrupted = errors.New("interrupted")
