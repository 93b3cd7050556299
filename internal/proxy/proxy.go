// Package proxy asks a proxy, over a connection to it, to connect to somewhere
// else: SOCKS 4, 4a and 5 (RFC 1928, RFC 1929), and HTTP's CONNECT (RFC 9110,
// Section 9.3.6). It knows net.Conn only, so it works over every transport.
package proxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// Kind is a protocol that proxies speak.
type Kind uint8

// Kinds of proxies.
const (
	SOCKS5  Kind = iota
	SOCKS4       // addresses of IPv4 only
	SOCKS4a      // and names
	HTTP
)

// Port is where such proxies listen by custom.
func (k Kind) Port() string {
	if k == HTTP {
		return "3128"
	}
	return "1080"
}

// TakesNames reports whether such a proxy looks up names itself.
func (k Kind) TakesNames() bool { return k != SOCKS4 }

func (k Kind) String() string {
	return [...]string{"SOCKSv5", "SOCKSv4", "SOCKSv4A", "HTTP"}[k]
}

// Auth is who we are to a proxy. SOCKS 4 takes the name only.
type Auth struct{ User, Password string }

// Config says how to ask.
type Config struct {
	Kind Kind
	Auth *Auth // nil: say nothing
}

// Error is a proxy's refusal.
type Error struct {
	Kind Kind
	// Text is what went wrong: the words of the standard for what a SOCKS
	// proxy answered, or the status line of an HTTP proxy.
	Text string
	// Status is that of an HTTP proxy, else 0.
	Status int
}

func (e *Error) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("the proxy answered %q", e.Text)
	}
	return fmt.Sprintf("the proxy (%v) answered: %s", e.Kind, e.Text)
}

// Connect asks the proxy at the other end of c to connect to address (a host
// and a port's number, in package net's notation). When it returns nil, what c
// carries goes to and comes from there. A refusal is an *Error. When ctx ends,
// it returns with its error. It reads no octet that is not the proxy's own.
func Connect(ctx context.Context, c net.Conn, cfg Config, address string) error {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return fmt.Errorf("port number invalid: %s", portText)
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	to := destination{host: host, port: uint16(port)}
	to.addr, _ = netip.ParseAddr(host)
	switch cfg.Kind {
	case SOCKS4, SOCKS4a:
		err = socks4(c, cfg, to)
	case SOCKS5:
		err = socks5(c, cfg, to)
	case HTTP:
		err = connectHTTP(c, cfg, address)
	}
	if !stop() { // the deadline was set, or is being set
		if err == nil || ctx.Err() != nil {
			err = ctx.Err()
		}
	}
	return err
}

// destination is where the proxy is to connect to.
type destination struct {
	host string
	addr netip.Addr // of the host, if it is not a name
	port uint16
}
