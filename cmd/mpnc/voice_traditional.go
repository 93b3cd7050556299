package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// traditionalVoice is that of the first netcat.
type traditionalVoice struct {
	teller
	scan   bool
	single bool   // there is one port to try, and not several
	source string // the address and port that we connect from
}

func newTraditionalVoice(t teller, o *options) *traditionalVoice {
	v := &traditionalVoice{teller: t}
	if o != nil {
		source := netip.IPv4Unspecified()
		if o.source.IsValid() {
			source = o.source
		}
		v.scan, v.single = o.scan, len(o.ports) <= 1
		v.source = netip.AddrPortFrom(source, o.sourcePort).String()
	}
	return v
}

func (v *traditionalVoice) listening(_ string, at net.Addr) {
	host, port := hostPort(at)
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "any"
	}
	v.verbosely(1, "listening on [%s] %s ...", host, port)
}

func (v *traditionalVoice) accepted(_ string, c conn) {
	local, _ := hostPort(c.LocalAddr())
	remote, port := hostPort(c.RemoteAddr())
	v.verbosely(1, "connect to [%s] from %s [%s] %s", local, v.nameOf(remote), remote, port)
}

// nameOf is the name of an address, if it may be looked up.
func (v *traditionalVoice) nameOf(host string) string {
	if name := nameOf(host); !v.numeric && name != host {
		return name
	}
	return "(UNKNOWN)"
}

// at is a port of an address with the names of both. Without -v, an address
// that was given is not worth a question to a name server.
func (v *traditionalVoice) at(to target, address string) string {
	name := "(UNKNOWN)"
	if v.verbose > 0 || !isLiteral(to.host) {
		name = v.nameOf(address)
	}
	service := serviceName(to.port, protocol(to.network))
	if service == "*" || v.numeric {
		service = "?"
	}
	return fmt.Sprintf("%s [%s] %s (%s)", name, address, to.port, service)
}

// denied says nothing: the first netcat lets everybody.
func (v *traditionalVoice) denied(net.Addr) {}

func (v *traditionalVoice) connected(to target, c conn) {
	host, _ := hostPort(c.RemoteAddr())
	v.verbosely(1, "%s open", v.at(to, host))
}

func (v *traditionalVoice) attemptFailed(to target, address string, err error) {
	if dns := new(net.DNSError); errors.As(err, &dns) {
		return // the verdict says so
	}
	if bindFailed(err) {
		v.line("Can't grab %s with bind : %s", v.source, cText(err))
		return
	}
	if v.worthTelling(err) {
		v.line("%s : %s", v.at(to, address), failedAs(err))
	}
}

// worthTelling reports whether a port's answer is told: with one -v not those of
// several ports that are closed, and without -v none of a scan.
func (v *traditionalVoice) worthTelling(err error) bool {
	if v.verbose == 0 && v.scan {
		return false
	}
	return v.single || v.verbose > 1 || !errors.Is(err, syscall.ECONNREFUSED)
}

// failedAs is why there is no connection, in the words of the C library.
func failedAs(err error) string {
	if timedOut(err) {
		return cError(syscall.ETIMEDOUT)
	}
	return cText(err)
}

func (v *traditionalVoice) probed(to target, address string, err error) {
	if err == nil {
		v.verbosely(1, "%s open", v.at(to, address))
		return
	}
	v.attemptFailed(to, address, err)
}

func (v *traditionalVoice) ended(s *summary) {
	v.verbosely(2, " sent %d, rcvd %d", s.Sent, s.Received)
}

// verdict knows one status for everything that goes wrong, and takes a reset
// for a good end.
func (v *traditionalVoice) verdict(err error) (string, int) {
	if err == nil {
		return "", 0
	}
	f := asFailure(err)
	var dns *net.DNSError
	switch {
	case f.code == exitTruncated, f.code == exitIdle:
		return "", 0
	case f.ended:
		return "", 1
	case f.code > exitSignal:
		return "", 1
	case f.told:
		return "", 1
	case errors.As(err, &dns):
		return dns.Name + ": forward host lookup failed: Unknown host", 1
	case f.code == exitConnect && f.at != "":
		return "Can't grab " + f.at + " with bind : " + cText(f.cause), 1
	}
	return f.what, 1
}
