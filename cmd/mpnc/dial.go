package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
)

// target is one place to connect to.
type target struct {
	network string // as package net's: tcp, udp4, unix, ...
	host    string // a name, an address, or the path of a Unix socket
	port    string // a number; empty for a Unix socket
}

// address is the target in package net's notation.
func (t target) address() string {
	if t.port == "" {
		return t.host
	}
	return net.JoinHostPort(t.host, t.port)
}

func (t target) String() string {
	if t.port == "" {
		return t.host
	}
	return t.host + " port " + t.port
}

// targets are what the operands name: one, or with several ports one of each.
func (o *options) targets() []target {
	if len(o.ports) == 0 {
		return []target{{o.network, o.host, ""}}
	}
	var ts []target
	for _, p := range o.ports {
		ts = append(ts, target{o.network, o.host, p})
	}
	return ts
}

// dial connects to a target. Called as mpnc, the time-out covers everything:
// the look-up and all the addresses it gave.
func (m *command) dial(ctx context.Context, to target) (conn, error) {
	if m.o.dialect != mpnc && to.port != "" && !m.takesNames() {
		return m.dialEach(ctx, to)
	}
	c, err := m.dialOne(ctx, to, to.address())
	if err != nil {
		if errors.Is(err, errInterrupted) {
			return nil, err
		}
		m.say.attemptFailed(to, to.host, err)
		return nil, connectFailure(m.o, to, err)
	}
	m.say.connected(to, c)
	return c, nil
}

// takesNames reports whether a host's name goes to the transport as it is: it
// is a path, or a proxy looks it up.
func (m *command) takesNames() bool {
	n, ok := m.t.(interface{ takesNames() bool })
	return ok && n.takesNames()
}

// dialEach tries the addresses of a target one after the other, each with the
// whole time-out, as the other netcats do.
func (m *command) dialEach(ctx context.Context, to target) (conn, error) {
	addrs, err := m.lookup(ctx, to)
	if err != nil {
		return nil, err
	}
	var last error
	for _, a := range addrs {
		c, err := m.dialOne(ctx, to, net.JoinHostPort(a.String(), to.port))
		switch {
		case err == nil:
			m.say.connected(to, c)
			return c, nil
		case errors.Is(err, errInterrupted):
			return nil, err
		}
		m.say.attemptFailed(to, a.String(), err)
		last = connectFailure(m.o, to, err)
	}
	return nil, last
}

// dialOne connects to an address in package net's notation, within the
// time-out.
func (m *command) dialOne(ctx context.Context, to target, address string) (conn, error) {
	dctx := ctx
	if m.o.timeout > 0 {
		var cancel context.CancelFunc
		dctx, cancel = context.WithTimeout(ctx, m.o.timeout)
		defer cancel()
	}
	local := netip.AddrPortFrom(m.o.source, m.o.sourcePort)
	c, err := m.t.dial(dctx, to.network, local, address)
	var dns *net.DNSError
	switch {
	case err == nil:
		return c, nil
	case ctx.Err() != nil:
		return nil, errInterrupted
	case dctx.Err() != nil && !errors.As(err, &dns), errors.Is(err, os.ErrDeadlineExceeded):
		err = context.DeadlineExceeded // each transport says so in words of its own
	case m.o.source.IsValid() && !isLocal(m.o.source):
		err = os.NewSyscallError("bind", syscall.EADDRNOTAVAIL) // and this
	}
	return nil, err
}

// lookup returns the addresses of a target, of the family asked for.
func (m *command) lookup(ctx context.Context, to target) ([]netip.Addr, error) {
	family := "ip" + strings.TrimPrefix(to.network, protocol(to.network))
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, family, to.host)
	if err != nil {
		if ctx.Err() != nil {
			return nil, errInterrupted
		}
		return nil, connectFailure(m.o, to, lookupError(to.host, family, err))
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, nil
}

// lookupError says what a resolver that is asked for an address of the other
// family does not.
func lookupError(host, family string, err error) error {
	if a, perr := netip.ParseAddr(host); perr == nil && (family == "ip4") == a.Is6() {
		return &net.DNSError{Err: "address family for hostname not supported", Name: host}
	}
	var dns *net.DNSError
	if !errors.As(err, &dns) {
		return &net.DNSError{Err: err.Error(), Name: host}
	}
	return err
}
