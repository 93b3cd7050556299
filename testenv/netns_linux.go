package testenv

import (
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

const threadNetNS = "/proc/thread-self/ns/net"

// namespace is a network namespace without a name: it lives as long as its
// file, a process in it, or a socket made in it, so a crash leaves nothing.
type namespace struct{ file *os.File }

// newNamespace makes a namespace with its loopback down.
func newNamespace() (*namespace, error) {
	ns := new(namespace)
	err := inThread(func() error { return unix.Unshare(unix.CLONE_NEWNET) }, func() (err error) {
		ns.file, err = os.Open(threadNetNS)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("testenv: new network namespace: %w", err)
	}
	return ns, nil
}

// do runs f in the calling goroutine, on a thread that is in the namespace.
func (ns *namespace) do(f func() error) error {
	return inThread(func() error {
		fd := int(ns.file.Fd())
		if fd < 0 {
			return net.ErrClosed
		}
		return unix.Setns(fd, unix.CLONE_NEWNET)
	}, f)
}

func (ns *namespace) close() error { return ns.file.Close() }

// inThread locks the goroutine to its thread, enters another namespace, runs
// f there and goes back. Should going back fail, the thread stays locked and
// ends with its goroutine, so no other goroutine gets to run on it.
func inThread(enter, f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open(threadNetNS)
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	if err := enter(); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() {
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return f()
}
