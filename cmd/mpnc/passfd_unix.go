//go:build unix

package main

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// passFD gives a connection's descriptor to the process at the other end of
// standard output, which must be a Unix socket.
func passFD(c conn, stdout io.Writer) error {
	defer c.Close()
	out, isFile := stdout.(*os.File)
	sc, has := c.(syscall.Conn)
	if !isFile || !has {
		return &failure{code: exitOutput, what: "-F: this connection has no descriptor to pass on", hint: "only the kernel's sockets have: --transport kernel"}
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = raw.Control(func(fd uintptr) {
		serr = unix.Sendmsg(int(out.Fd()), []byte{0}, unix.UnixRights(int(fd)), nil, 0)
	})
	if err = errors.Join(err, serr); err != nil {
		return &failure{code: exitOutput, what: "-F: cannot pass the socket on: " + err.Error(), hint: "standard output must be a Unix socket", cause: err}
	}
	return nil
}

// endOutput tells a reader of standard output that no more will come, if it is
// a socket: inetd's way to run us. Of other files, our end tells.
func endOutput(w io.Writer) {
	if f, ok := w.(*os.File); ok {
		if raw, err := f.SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_WR) })
		}
	}
}
