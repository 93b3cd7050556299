//go:build !linux

package main

import (
	"net"

	"github.com/mpnc/mpnc/internal/control"
)

func kernelBacklog(*net.TCPListener) (waiting, backlog int) { return 0, 0 }

func kernelDescribe(*net.TCPConn, *control.Conn) {}
