//go:build !unix

package main

import (
	"errors"
	"net"
)

func inheritedSocket() (fd int, ok bool) { return 0, false }

func fileListener(int) (net.Listener, net.Conn, error) {
	return nil, nil, errors.New("sockets are not inherited on this system")
}
