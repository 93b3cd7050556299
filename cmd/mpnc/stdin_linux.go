package main

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// pipeSize is how much a pipe at standard input or output is to hold: what is
// read or written at a time several times over, so that the other process and
// we take turns less often.
const pipeSize = 256 << 10

// openInput returns standard input in a form whose reads can be given up, if it
// is a pipe: opened anew, so that who shares it with us finds it as it was. It
// is as good as standard input if that fails.
func openInput(in io.Reader) io.Reader {
	if in != os.Stdin || !isPipe(os.Stdin) {
		return in
	}
	enlarge(os.Stdin)
	again, err := os.OpenFile("/proc/self/fd/0", os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return in
	}
	return again
}

// isPipe reports whether f is a pipe.
func isPipe(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeNamedPipe != 0
}

// enlarge makes stream larger, if it is a pipe and may be.
func enlarge(stream any) {
	f, ok := stream.(*os.File)
	if !ok || !isPipe(f) {
		return
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		if n, err := unix.FcntlInt(fd, unix.F_GETPIPE_SZ, 0); err == nil && n < pipeSize {
			unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize)
		}
	})
}
