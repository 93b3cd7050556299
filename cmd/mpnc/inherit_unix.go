//go:build unix

package main

import (
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// firstPassed is the first descriptor that systemd passes (sd_listen_fds(3)).
const firstPassed = 3

// inheritedSocket is the descriptor of a socket that somebody else listens on
// for us: systemd says so in the environment, inetd ("wait") gives it as
// standard input.
func inheritedSocket() (fd int, ok bool) {
	n, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	pid, _ := strconv.Atoi(os.Getenv("LISTEN_PID"))
	if n >= 1 && pid == os.Getpid() {
		for i := range n {
			unix.CloseOnExec(firstPassed + i)
		}
		return firstPassed, true
	}
	accepts, err := unix.GetsockoptInt(0, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return 0, err == nil && accepts != 0
}

// fileListener listens on an inherited descriptor, or is nil with the
// connection that it already is (Accept=yes).
func fileListener(fd int) (net.Listener, net.Conn, error) {
	f := os.NewFile(uintptr(fd), "inherited socket")
	defer f.Close() // of which package net has made a copy
	if accepts, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && accepts == 0 {
		c, err := net.FileConn(f)
		return nil, c, err
	}
	l, err := net.FileListener(f)
	return l, nil, err
}
