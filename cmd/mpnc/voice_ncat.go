package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// ncatVersion is the one whose behaviour the dialect has.
const ncatVersion = "7.93"

// ncatVoice is that of nmap's ncat.
type ncatVoice struct{ teller }

func newNcatVoice(t teller) *ncatVoice {
	v := &ncatVoice{t}
	v.say("Version %s ( https://nmap.org/ncat )", ncatVersion)
	return v
}

// say writes a line with -v.
func (v *ncatVoice) say(format string, args ...any) { v.verbosely(1, "Ncat: "+format, args...) }

func (v *ncatVoice) listening(network string, at net.Addr) {
	host, port := hostPort(at)
	if port == "" {
		v.say("Listening on %s", host)
		return
	}
	v.say("Listening on %s:%s", host, port)
}

func (v *ncatVoice) accepted(network string, c conn) {
	if strings.HasPrefix(network, "unix") {
		v.say("Connection from a client on Unix domain socket.")
		return
	}
	host, port := hostPort(c.RemoteAddr())
	v.say("Connection from %s.", host)
	v.say("Connection from %s:%s.", host, port)
}

func (v *ncatVoice) denied(net.Addr) { v.say("New connection denied: not allowed") }

func (v *ncatVoice) connected(to target, c conn) {
	host, port := hostPort(c.RemoteAddr())
	if port == "" {
		v.say("Connected to %s.", host)
		return
	}
	v.say("Connected to %s:%s.", host, port)
}

func (v *ncatVoice) attemptFailed(target, string, error) {}

func (v *ncatVoice) probed(to target, address string, err error) {
	if err == nil {
		v.say("Connected to %s:%s.", address, to.port)
		v.say("0 bytes sent, 0 bytes received in 0.00 seconds.")
		return
	}
	v.say("%s.", cText(err))
}

func (v *ncatVoice) ended(s *summary) {
	if s.listening {
		return
	}
	v.say("%d bytes sent, %d bytes received in %.2f seconds.", s.Sent, s.Received, s.time.Seconds())
}

func (v *ncatVoice) verdict(err error) (string, int) {
	if err == nil {
		return "", 0
	}
	f := asFailure(err)
	var dns *net.DNSError
	switch {
	case f.code == exitUsage:
		return "Ncat: " + f.what + ". QUITTING.", 2
	case f.code > exitSignal:
		return "", f.code
	case f.lost:
		return "", 0 // it knows only of calls that fail
	case f.scan:
		return "", 1
	case errors.As(err, &dns):
		return "Ncat: Could not resolve hostname \"" + dns.Name + "\": " + dnsText(dns) + ". QUITTING.", 2
	case f.code == exitIdle:
		return fmt.Sprintf("Ncat: Idle timeout expired (%d ms).", f.after.Milliseconds()), 1
	case f.code == exitConnect && f.at != "":
		return "Ncat: bind to " + f.at + ": " + cText(f.cause) + ". QUITTING.", 2
	case f.code == exitConnect && timedOut(err):
		return "Ncat: TIMEOUT.", 1
	case f.code == exitOutput && f.ended:
		return "write: " + cText(f.cause), 2
	case f.cause != nil:
		return "Ncat: " + cText(f.cause) + ".", 1
	}
	return "Ncat: " + f.what + ".", 1
}
