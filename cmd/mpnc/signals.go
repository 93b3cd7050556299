package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

// signals turns the user's signals into contexts: the first one asks for an
// orderly end, the second for an immediate one.
type signals struct {
	stop  context.Context // ends with the first
	abort context.Context // ends with the second
	got   atomic.Int32    // the first one's number
	ch    chan os.Signal
}

// catchSignals is called once. Signals that whoever started us had ignored
// (nohup, a shell's background job) stay so. Writing to a closed pipe is an
// error like others, not the end of the process.
func catchSignals() *signals {
	signal.Ignore(syscall.SIGPIPE)
	s := &signals{ch: make(chan os.Signal, 2)}
	var stop, abort context.CancelFunc
	s.stop, stop = context.WithCancel(context.Background())
	s.abort, abort = context.WithCancel(context.Background())
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(sig) {
			signal.Notify(s.ch, sig)
		}
	}
	go func() {
		first := <-s.ch
		if n, ok := first.(syscall.Signal); ok {
			s.got.Store(int32(n))
		}
		stop()
		<-s.ch
		abort()
	}()
	return s
}

// resolve replaces errInterrupted by the signal that caused it.
func (s *signals) resolve(err error) error {
	n := s.got.Load()
	if !errors.Is(err, errInterrupted) || n == 0 {
		return err
	}
	return &failure{code: exitSignal + int(n), what: "stopped by signal: " + syscall.Signal(n).String()}
}
