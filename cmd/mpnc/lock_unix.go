//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package main

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// A lock is tried so many times, so long after each other: two seconds, and more
// if the machine does not get round to us. Others hold it for as long as it takes
// to write a small file.
const (
	lockTries  = 200
	lockPeriod = 10 * time.Millisecond
)

// lockFile takes a lock that one process at a time can have, and returns how to
// give it back. It goes with its process.
func lockFile(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) || try == lockTries {
			f.Close()
			return nil, err
		}
		time.Sleep(lockPeriod)
	}
}
