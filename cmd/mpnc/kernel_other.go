//go:build !linux

package main

import (
	"errors"
	"net"
)

func probeKernelMPTCP() error { return errors.New("this system's kernel has none that Go can use") }

func kernelLost(*net.TCPConn) error { return nil }

func kernelPaths(*net.TCPConn, bool) []path { return nil }
