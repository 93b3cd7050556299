package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// transport makes connections of one kind: of our own stack, of the kernel's
// TCP, of datagrams, of Unix sockets. A transport may also lie over another
// one, as TLS and proxies do. To add one, make it in openTransport.
type transport interface {
	// dial connects to an address like that of net.Dial; the network is the
	// options' (tcp, udp4, unix, ...). The zero address or port of local means
	// any.
	dial(ctx context.Context, network string, local netip.AddrPort, address string) (conn, error)
	// listen accepts connections at the address, which is valid.
	listen(ctx context.Context, network, address string) (listener, error)
	// shutdown waits until everything that was written has reached the peers.
	// When ctx ends first, what is left is aborted.
	shutdown(ctx context.Context) error
	// multipath reports whether it offers Multipath TCP to peers.
	multipath() bool
	// name is the name it is asked for by.
	name() string
}

// listener hands out connections.
type listener interface {
	accept(context.Context) (conn, error)
	Addr() net.Addr
	Close() error
}

// conn is a connection of any transport. Where a method has no meaning (a
// datagram has no end of file) it does nothing.
type conn interface {
	net.Conn
	CloseWrite() error
	// Abort ends the connection so that the peer sees a failure.
	Abort() error
	// lost is why something that was written will never reach the peer, as far as
	// that is known and Close has not been called; nil if nothing is lost.
	lost() error
	// status is a snapshot; after Close it may be the last one before.
	status() status
}

// status is what is known of a connection and its paths.
type status struct {
	Multipath bool   `json:"multipath"`
	Fallback  string `json:"fallback,omitempty"` // why it is plain TCP although MPTCP was offered
	// Paths are in the order of their opening, those that ended included.
	Paths []path `json:"paths"`
}

// path is one subflow.
type path struct {
	ID            int            `json:"id"`
	Local         netip.AddrPort `json:"local"`
	Remote        netip.AddrPort `json:"remote"`
	Interface     string         `json:"interface,omitempty"`
	Up            bool           `json:"up"`
	Ended         bool           `json:"ended"`
	Reason        string         `json:"reason,omitempty"` // if Ended
	Backup        bool           `json:"backup,omitempty"`
	Lane          bool           `json:"lane,omitempty"`   // trains leave, by the fast lane
	Trains        uint64         `json:"trains,omitempty"` // that left
	Sent          uint64         `json:"sent"`             // octets of payload
	Received      uint64         `json:"received"`         // octets of payload
	Retransmitted uint64         `json:"retransmitted"`
	RTT           time.Duration  `json:"rtt_ns"`
}

func (p *path) String() string {
	s := fmt.Sprintf("%v - %v", p.Local, p.Remote)
	if p.Interface != "" {
		s = p.Interface + " " + s
	}
	if p.Backup {
		s += " (backup)"
	}
	return s
}

// transportNames are what --transport takes.
var transportNames = []string{"auto", "mptcp", "tcp", "kernel", "kernel-tcp"}

// openTransport returns the transport that o asks for. It says in one line
// which it took and why.
func openTransport(o *options, say func(string, ...any)) (transport, error) {
	t, err := openBase(o, say)
	if err != nil {
		return nil, err
	}
	return overlay(o, t)
}

// openBase opens the transport that carries all others.
func openBase(o *options, say func(string, ...any)) (transport, error) {
	switch {
	case o.inherited:
		return &inherited{o.inheritedFD}, nil
	case o.datagrams():
		return o.openPackets(), nil
	case o.unix():
		return &unixStreams{leave: o.leavesSockets()}, nil
	}
	return openStream(o, say)
}

// overlay puts over a transport what the options ask for, from the inside: the
// proxies, then TLS.
func overlay(o *options, t transport) (transport, error) {
	if o.proxy.address != "" {
		t = &proxied{t, o.proxy, "ip" + strings.TrimPrefix(o.network, "tcp")}
	}
	if o.ssl.config != nil {
		t = &secured{t, o.ssl.config}
	}
	return t, nil
}

// openStream opens TCP. Only auto chooses which.
func openStream(o *options, say func(string, ...any)) (t transport, err error) {
	switch o.transport {
	case "auto":
		return autoTransport(o, say)
	case "mptcp", "tcp":
		if len(o.kernelWishes) > 0 {
			return nil, usage("%s works with the kernel's sockets only, not with --transport %s", o.kernelWishes[0], o.transport)
		}
		t, err = openOwn(o, o.transport == "tcp")
		if own := new(failure); errors.As(err, &own) {
			return nil, own
		}
		if err != nil {
			f := ownTrouble(err)
			f.what = fmt.Sprintf("--transport %s: %s", o.transport, f.what)
			return nil, f
		}
		say("using our own stack: %s, as asked", ownDescription(o, o.transport == "tcp"))
	case "kernel", "kernel-tcp":
		if len(o.ownStackWishes) > 0 {
			return nil, usage("%s works with our own stack only, not with --transport %s", o.ownStackWishes[0], o.transport)
		}
		if t, err = openKernel(o, o.transport == "kernel"); err != nil {
			return nil, &failure{code: exitConnect, what: fmt.Sprintf("--transport %s: %v", o.transport, err), hint: "--transport kernel-tcp goes without Multipath TCP"}
		}
		say("using the kernel's %s, as asked", protocolName(o.transport == "kernel"))
	default:
		return nil, usage("unknown transport %q", o.transport)
	}
	return t, nil
}

// autoTransport takes our own stack where raw sockets are allowed, else the
// kernel's MPTCP, else its TCP.
func autoTransport(o *options, say func(string, ...any)) (transport, error) {
	if len(o.kernelWishes) > 0 {
		return kernelTransport(o, say, o.kernelWishes[0]+" works with its sockets only")
	}
	t, ownErr := openOwn(o, false)
	if ownErr == nil {
		say("using our own stack: %s", ownDescription(o, false))
		return t, nil
	}
	if own := new(failure); errors.As(ownErr, &own) {
		return nil, own
	}
	return kernelTransport(o, say, ownTrouble(ownErr).Error())
}

// kernelTransport takes the kernel's MPTCP, else its TCP, and says why it is
// not our own. Tuning can be done without, what was asked to be written cannot.
func kernelTransport(o *options, say func(string, ...any), why string) (transport, error) {
	switch {
	case o.tracePath != "":
		return nil, &failure{code: exitConnect, what: "--trace works with our own stack only: " + why}
	case o.ladderPath != "":
		return nil, &failure{code: exitConnect, what: "--ladder works with our own stack only: " + why}
	}
	t, err := openKernel(o, true)
	if err != nil {
		why += "; and no MPTCP in the kernel: " + err.Error()
		if t, err = openKernel(o, false); err != nil {
			return nil, &failure{code: exitConnect, what: "no transport: " + err.Error()}
		}
	}
	say("using the kernel's %s: %s", protocolName(t.multipath()), why)
	return t, nil
}

func protocolName(multipath bool) string {
	if multipath {
		return "MPTCP"
	}
	return "plain TCP"
}

// executable is this program's file, for advice about capabilities.
func executable() string {
	name, err := os.Executable()
	if err != nil {
		return "mpnc"
	}
	return name
}
