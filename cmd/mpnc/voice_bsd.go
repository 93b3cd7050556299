package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
)

// openbsdVoice is that of OpenBSD's nc as Debian has it. It takes a reset, an
// idle time-out and an output that fails for good ends.
type openbsdVoice struct{ teller }

func (v *openbsdVoice) listening(network string, at net.Addr) {
	verb := "Listening on"
	if strings.HasPrefix(network, "udp") {
		verb = "Bound on"
	}
	if strings.HasPrefix(network, "unix") {
		v.verbosely(1, "Bound on %s", at)
		if network == "unix" {
			v.verbosely(1, "Listening on %s", at)
		}
		return
	}
	v.verbosely(1, "%s %s", verb, v.peer(at))
}

func (v *openbsdVoice) accepted(network string, c conn) {
	if strings.HasPrefix(network, "unix") {
		v.verbosely(1, "Connection received on %s", c.LocalAddr())
		return
	}
	v.verbosely(1, "Connection received on %s", v.peer(c.RemoteAddr()))
}

// peer is an address as nc writes it: by its name, unless -n forbids.
func (v *openbsdVoice) peer(a net.Addr) string {
	host, port := hostPort(a)
	if !v.numeric {
		host = nameOf(host)
	}
	return host + " " + port
}

// nameOf is the name of an address, or the address if it has none, or none
// that can be had quickly.
func nameOf(host string) string {
	if a, err := netip.ParseAddr(host); err != nil || a.IsUnspecified() {
		return host
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	names, err := net.DefaultResolver.LookupAddr(ctx, host)
	if err != nil || len(names) == 0 {
		return host
	}
	return strings.TrimSuffix(names[0], ".")
}

// denied says nothing: nc lets everybody.
func (v *openbsdVoice) denied(net.Addr) {}

func (v *openbsdVoice) connected(to target, c conn) {
	if to.port == "" {
		return
	}
	host, _ := hostPort(c.RemoteAddr())
	v.verbosely(1, "%s", succeeded(to, host, v.numeric))
}

func (v *openbsdVoice) attemptFailed(to target, address string, err error) {
	switch {
	case bindFailed(err):
		v.line("%s: bind failed: %s", v.name, cText(err))
	case to.port == "":
		v.line("%s: %s: %s", v.name, to.host, cText(err))
	default:
		v.verbosely(1, "%s: %s", v.name, notConnected(to, address, err))
	}
}

func (v *openbsdVoice) probed(to target, address string, err error) {
	if err != nil {
		v.attemptFailed(to, address, err)
		return
	}
	v.line("%s", succeeded(to, address, v.numeric))
}

// succeeded says that a connection was had.
func succeeded(to target, address string, numeric bool) string {
	service := "*"
	if !numeric {
		service = serviceName(to.port, protocol(to.network))
	}
	return fmt.Sprintf("Connection to %s %s port [%s/%s] succeeded!", named(to, address), to.port, protocol(to.network), service)
}

// notConnected says that none was.
func notConnected(to target, address string, err error) string {
	outcome := "failed: " + cText(err)
	if errors.Is(err, context.DeadlineExceeded) {
		outcome = "timed out: " + cError(syscall.EINPROGRESS)
	}
	return fmt.Sprintf("connect to %s port %s (%s) %s", named(to, address), to.port, protocol(to.network), outcome)
}

// named is a host's name with the address that was tried, if that says more.
func named(to target, address string) string {
	if isLiteral(to.host) || address == to.host || address == "" {
		return to.host
	}
	return fmt.Sprintf("%s (%s)", to.host, address)
}

func (v *openbsdVoice) ended(*summary) {}

func (v *openbsdVoice) verdict(err error) (string, int) {
	if err == nil {
		return "", 0
	}
	f := asFailure(err)
	var dns *net.DNSError
	switch {
	case f.code == exitUsage:
		return v.name + ": " + f.what, 1
	case f.code > exitSignal:
		return "", f.code
	case f.ended:
		return "", 0
	case f.told:
		return "", 1
	case errors.As(err, &dns):
		if f.to.host == "" {
			return fmt.Sprintf("%s: getaddrinfo: %s", v.name, dnsText(dns)), 1
		}
		return fmt.Sprintf("%s: getaddrinfo for host \"%s\" port %s: %s", v.name, f.to.host, f.to.port, dnsText(dns)), 1
	case f.cause != nil:
		return v.name + ": " + cText(f.cause), 1
	}
	return v.name + ": " + f.what, 1
}

// bindFailed reports whether it was the source address or port that could not
// be had.
func bindFailed(err error) bool {
	var sys *os.SyscallError
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL) ||
		errors.As(err, &sys) && sys.Syscall == "bind"
}

// cText is an error in the words of the C library, as far as it is one of the
// system's.
func cText(err error) string {
	var no syscall.Errno
	if errors.As(err, &no) {
		return cError(no)
	}
	for _, no := range []syscall.Errno{
		syscall.ECONNREFUSED, syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
		syscall.EADDRINUSE, syscall.EADDRNOTAVAIL, syscall.EACCES, syscall.ECONNRESET,
	} {
		if errors.Is(err, no) {
			return cError(no)
		}
	}
	return plain(err)
}

// cError is what strerror(3) says.
func cError(no syscall.Errno) string {
	s := no.Error()
	return strings.ToUpper(s[:1]) + s[1:]
}

// dnsText is what gai_strerror(3) says.
func dnsText(e *net.DNSError) string {
	switch {
	case e.IsNotFound:
		return "Name or service not known"
	case e.IsTimeout, e.IsTemporary:
		return "Temporary failure in name resolution"
	}
	return strings.ToUpper(e.Err[:1]) + e.Err[1:]
}
