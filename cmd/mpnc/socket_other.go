//go:build !linux

package main

import (
	"errors"
	"syscall"
)

// control is for Linux only.
func (s socketOptions) control(string, string, syscall.RawConn) error {
	if s.any() {
		return errors.New("this system's sockets take no such options from us")
	}
	return nil
}

// any reports whether there is something to set.
func (s socketOptions) any() bool {
	return s != socketOptions{tos: -1, ttl: -1, minTTL: -1}
}
