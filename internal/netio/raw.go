package netio

import (
	"github.com/mpnc/mpnc/internal/mono"
)

// RawConfig configures a Raw device.
type RawConfig struct {
	// Now stamps arriving packets. It is required.
	Now func() mono.Time
	// Logf, if not nil, is told what the user should know: a firewall that
	// refuses our packets, a kernel that lacks something. It is called by any
	// goroutine.
	Logf func(format string, args ...any)
	// NoLanes has all packets leave through routing and the OUTPUT rules, one by
	// one, whatever the interfaces could do.
	NoLanes bool
}

// RawStats counts what a Raw device did, in packets since it was made. A packet
// merged by the receiving interface counts once.
type RawStats struct {
	Rx        uint64 // handed to the reader
	RxForeign uint64 // for a pair that we do not hold
	RxBad     uint64 // cut short, or without what is needed to understand it
	RxLost    uint64 // lost in this host because the reader was slow: not the network's fault
	Tx        uint64 // taken by the kernel
	Trains    uint64 // of these, trains that left by a fast lane
	TxFull    uint64 // the interface's buffer was full
	TxDenied  uint64 // a firewall of this host refused (EPERM)
	TxErrors  uint64 // everything else
}
