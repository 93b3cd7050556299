package netio

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// namespace makes sockets in the network namespace that the device was made
// in, whichever thread asks. A process usually lives in one namespace and any
// thread will do. Only if the device was made on a thread that had moved to
// another one does it keep a thread of its own there: going back later would
// take a privilege that the process may have given up by then.
type namespace struct {
	jobs   chan func() // nil: the namespace of the process
	cookie uint64      // the kernel's name for it; 0: it has none
}

// currentNamespace is the namespace of the calling thread.
func currentNamespace() (*namespace, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return &namespace{}, nil // without /proc nobody has moved
	}
	defer here.Close()
	ns := &namespace{}
	same := false
	ns.do(func() { same = isCurrent(here) })
	if same {
		return ns, nil
	}
	ns.jobs = make(chan func())
	moved := make(chan error)
	go ns.keep(here, moved)
	if err := <-moved; err != nil {
		return nil, err
	}
	return ns, nil
}

func isCurrent(ns *os.File) bool {
	a, err := ns.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat("/proc/thread-self/ns/net")
	return err == nil && os.SameFile(a, b)
}

// keep runs jobs in ns until close. Its thread is never unlocked, so the
// runtime ends it with the goroutine instead of using it for others.
func (n *namespace) keep(ns *os.File, moved chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread does not end with its goroutine: it would stay in
		// the namespace. While it is locked, another goroutine gets another.
		defer runtime.UnlockOSThread()
		elsewhere := make(chan error)
		go n.keep(ns, elsewhere)
		moved <- <-elsewhere
		return
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		moved <- os.NewSyscallError("setns", err)
		return
	}
	moved <- nil
	for f := range n.jobs {
		f()
	}
}

// do runs f in the namespace and waits for it. Without a kept thread f gets a
// goroutine of its own, because the caller's thread may be the one that moved.
func (n *namespace) do(f func()) {
	done := make(chan struct{})
	job := func() {
		defer close(done)
		f()
	}
	if n.jobs == nil {
		go job()
	} else {
		n.jobs <- job
	}
	<-done
}

// name has fd, a socket that was made in the namespace, tell its name. Kernels
// before Linux 5.14 have none.
func (n *namespace) name(fd int) { n.cookie = cookie(fd) }

func cookie(fd int) uint64 {
	c, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0
	}
	return c
}

// socket makes a socket in the namespace: on the calling thread, which is mostly in
// the right one, and only if it turns out not to be on another.
func (n *namespace) socket(family, kind, proto int) (fd int, err error) {
	if n.cookie != 0 {
		if fd, err = unix.Socket(family, kind, proto); err != nil || cookie(fd) == n.cookie {
			return fd, err
		}
		unix.Close(fd)
	}
	n.do(func() { fd, err = unix.Socket(family, kind, proto) })
	return fd, err
}

// close ends the kept thread. do must not be called any more.
func (n *namespace) close() {
	if n.jobs != nil {
		close(n.jobs)
	}
}
