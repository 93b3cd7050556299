package main

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
)

// unixStreams is the kernel's stream sockets in the file system, or with @NAME
// in Linux's abstract name space.
type unixStreams struct {
	leave bool // the socket's file when the listener goes, as nc does
}

func (u *unixStreams) name() string { return "unix" }

func (u *unixStreams) multipath() bool { return false }

func (u *unixStreams) shutdown(context.Context) error { return nil }

func (u *unixStreams) dial(ctx context.Context, network string, _ netip.AddrPort, address string) (conn, error) {
	if err := checkPath(address); err != nil {
		return nil, err
	}
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return unixConn{c.(*net.UnixConn)}, nil
}

func (u *unixStreams) listen(ctx context.Context, network, address string) (listener, error) {
	if err := makeWay(network, address); err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(!u.leave)
	return unixListener{l.(*net.UnixListener)}, nil
}

// leavesSockets: nc and ncat do not remove the files of their sockets.
func (o *options) leavesSockets() bool { return o.dialect == openbsd || o.dialect == ncat }

// longestPath is what a socket's address holds (sun_path less its end).
var longestPath = map[bool]int{true: 107, false: 103}[runtime.GOOS == "linux" || runtime.GOOS == "windows"]

func checkPath(address string) error {
	if len(address) > longestPath {
		return &os.PathError{Op: "bind", Path: address, Err: syscall.ENAMETOOLONG}
	}
	return nil
}

// makeWay removes a socket that nobody listens on any more. Any other file is
// left alone, whatever nc would do, and so is a socket in use.
func makeWay(network, address string) error {
	if err := checkPath(address); err != nil {
		return err
	}
	if strings.HasPrefix(address, "@") {
		return nil
	}
	info, err := os.Lstat(address)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode()&fs.ModeSocket == 0 {
		return nil // to bind a file's name fails, and says so
	}
	if err != nil {
		return err
	}
	c, err := net.Dial(network, address)
	if err == nil {
		c.Close()
		return &os.PathError{Op: "bind", Path: address, Err: syscall.EADDRINUSE}
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return os.Remove(address)
	}
	return nil
}

type unixListener struct{ *net.UnixListener }

func (l unixListener) accept(ctx context.Context) (conn, error) {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	c, err := l.AcceptUnix()
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	return unixConn{c}, nil
}

type unixConn struct{ *net.UnixConn }

// Abort closes: such sockets have no other way to tell of a failure.
func (c unixConn) Abort() error { return c.Close() }

// lost has nothing to tell: a peer has at once what is written.
func (c unixConn) lost() error { return nil }

func (c unixConn) status() status { return status{Paths: []path{}} }
