//go:build !linux

package main

import "net"

// connectPackets is for kernels where it does not hinder sending.
func connectPackets(net.PacketConn, net.Addr) {}
