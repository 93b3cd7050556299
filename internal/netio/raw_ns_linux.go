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
	jobs chan func() // nil: the namespace of the process
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

// close ends the kept thread. do must not be called any more.
func (n *namespace) close() {
	if n.jobs != nil {
		close(n.jobs)
	}
}
