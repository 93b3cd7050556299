package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// inherited is a socket that another process, systemd or inetd, opened for us
// to listen on. It may be a connection already (Accept=yes).
type inherited struct{ fd int }

func (t *inherited) name() string { return "inherited" }

func (t *inherited) multipath() bool { return false }

func (t *inherited) shutdown(context.Context) error { return nil }

func (t *inherited) dial(context.Context, string, netip.AddrPort, string) (conn, error) {
	return nil, fmt.Errorf("an inherited socket does not connect")
}

func (t *inherited) listen(context.Context, string, string) (listener, error) {
	l, c, err := fileListener(t.fd)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the inherited socket cannot be used: %w", err)
	case l != nil:
		return inheritedListener{l}, nil
	}
	wrapped, err := wrapInherited(c)
	if err != nil {
		return nil, err
	}
	only := &onlyConn{addr: c.LocalAddr(), c: make(chan conn, 1)}
	only.c <- wrapped
	return only, nil
}

type inheritedListener struct{ net.Listener }

func (l inheritedListener) accept(ctx context.Context) (conn, error) {
	if d, ok := l.Listener.(interface{ SetDeadline(time.Time) error }); ok {
		defer context.AfterFunc(ctx, func() { d.SetDeadline(time.Unix(1, 0)) })()
	}
	c, err := l.Accept()
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	return wrapInherited(c)
}

func wrapInherited(c net.Conn) (conn, error) {
	switch c := c.(type) {
	case *net.TCPConn:
		return inheritedTCP{c}, nil
	case *net.UnixConn:
		return unixConn{c}, nil
	}
	c.Close()
	return nil, fmt.Errorf("the inherited socket is of %s, not a stream", c.LocalAddr().Network())
}

// onlyConn is a listener that has one connection, which was there before.
type onlyConn struct {
	addr net.Addr
	c    chan conn
}

func (l *onlyConn) accept(ctx context.Context) (conn, error) {
	select {
	case c := <-l.c:
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *onlyConn) Addr() net.Addr { return l.addr }
func (l *onlyConn) Close() error   { return nil }

type inheritedTCP struct{ *net.TCPConn }

// Abort makes the kernel send a RST.
func (c inheritedTCP) Abort() error {
	c.SetLinger(0)
	return c.Close()
}

func (c inheritedTCP) lost() error { return kernelLost(c.TCPConn) }

func (c inheritedTCP) status() status {
	s := statusOfEnds(c.LocalAddr(), c.RemoteAddr())
	s.Multipath, _ = c.MultipathTCP()
	return s
}
