// Package end is one end of a measurement of speed: a process in a host's
// namespace that serves or connects, over whatever transport its program has, and
// does one kind of work until it is told to stop. Programs that bring a transport
// of their own call Main; what they measure is then the same for all.
package end

import (
	"context"
	"net"
	"net/netip"
)

// Work is what is done over connections.
type Work string

// Kinds of work. All are done by the client; the server goes along.
const (
	Bulk  Work = "bulk"  // write without end
	Ping  Work = "ping"  // a word of Size octets and its echo, one after the other
	Open  Work = "open"  // connect, exchange an octet, close
	Idle  Work = "idle"  // exchange a word, then nothing
	Check Work = "check" // write Octets, and have the far end tell their SHA-256
)

// Link is one of the paths between both hosts, as this end sees it.
type Link struct {
	Name   string // of the interface
	Local  netip.Addr
	Remote netip.Addr
}

// Job says what an end has to do.
type Job struct {
	Contestant string
	Work       Work
	Serve      bool
	Links      []Link
	Port       uint16
	Size       int   // octets of each call, or of a word
	Conns      int   // at once
	Octets     int64 // of Check
	Checksum   bool  // DSS checksums
	Offloads   bool  // trains may be used
	// Profile is a file for a profile of the time that is measured. If empty,
	// none is made.
	Profile string `json:",omitempty"`
}

// at is where the server listens.
func (j *Job) at() netip.AddrPort {
	if j.Serve {
		return netip.AddrPortFrom(j.Links[0].Local, j.Port)
	}
	return netip.AddrPortFrom(j.Links[0].Remote, j.Port)
}

// Report is what an end saw between the words start and stop; of Check, in all.
type Report struct {
	Octets  int64   // written or read
	Count   int64   // of words, or of connections opened and closed
	Seconds float64 // how long that was
	CPU     float64 // seconds of processor time of this process, user's and system's
	Machine float64 // seconds of processor time of the whole machine, whoever's

	P50, P99 float64 `json:",omitempty"` // of words, seconds

	Peak int64 // octets: the most that was ever resident
	// Heap and Resident are how much memory has grown since before the first
	// connection, in octets: of Idle, after a collection.
	Heap, Resident int64 `json:",omitempty"`

	Paths int    `json:",omitempty"` // of the first connection
	Err   string `json:",omitempty"`
}

// Transport makes a contestant's connections.
type Transport struct {
	Listen func(at netip.AddrPort) (net.Listener, error)
	Dial   func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// Paths, if not nil, says how many paths a connection has.
	Paths func(net.Conn) int
}

// Contestants make transports, by the name of the contestant.
type Contestants map[string]func(*Job) (*Transport, error)
