// Package netio has the devices that carry packets for the stack: raw sockets
// on the host's own addresses, and an in-memory pipe.
package netio

import (
	"net/netip"

	"github.com/mpnc/mpnc/internal/wire"
)

// Caps says what a device can do.
type Caps struct {
	MaxTrain int  // payload octets of a train it takes; 0: packets only
	Checksum bool // it completes transport checksums
	// Lane says that trains leave by a fast lane, which is not there for every
	// path (Laner), and that the checksums of those are completed.
	Lane bool
	// Gather says that the payload of trains may be lent (wire.Batch.Lend).
	Gather bool
	// Holds is how many octets that have arrived wait for Read, at most, of all
	// connections together; 0: no bound.
	Holds int
}

// Lane is a fast lane: a way out for trains that passes by this host's output
// rules, so that not every path may have one.
type Lane struct {
	// Train is the payload that a train may have, in octets; 0: there is no lane.
	Train int
	// Via tells lanes of one path apart: by another next hop, or another MTU, it
	// is another one.
	Via uint64
	// Tracked says that the host may track connections, and so judge what it sees of
	// them by what else it has seen.
	Tracked bool
}

// Laner is a Device with fast lanes. A train that has none leaves as packets.
type Laner interface {
	// Lane returns the fast lane of the packets of t by link. It asks the system:
	// not for every packet.
	Lane(t wire.Tuple, link int) Lane
	// LaneTrouble says why no path has a lane, if that can be helped: a privilege
	// that is missing. It is nil if paths may have one, or none were wanted.
	LaneTrouble() error
	// OnLaneChange has f called when answers of Lane may have changed, in any
	// goroutine: f must return at once. It is called before the device is used.
	OnLaneChange(f func())
}

// Placer is a Device that can put the payload of what arrives straight where it is
// wanted, apart from the headers (wire.Batch.Rest).
type Placer interface {
	// PlaceInto has Read ask into for memory before it reads packets that are as long
	// as trains, and write nowhere else but to all of that what their payload may be;
	// nil: there is none. If it reads none it calls unused. Else the memory is the
	// device's until the next call of Read. It is called before the device is used.
	PlaceInto(into func() []byte, unused func())
}

// Route is how packets to a remote address leave.
type Route struct {
	Local netip.Addr // source address
	Link  int        // interface
	MTU   int
}

// Guard holds one local address and port for the stack, so that neither the
// kernel nor another program answers there.
type Guard interface {
	// Local returns the pair held; the address may be unspecified (all).
	Local() netip.AddrPort
	Close() error
}

// Device carries packets. Read is called by one goroutine; the other methods
// by any.
type Device interface {
	// Read blocks until packets arrived and fills b (reset first), each with
	// its Link and arrival time At in the time base given to the device. They may
	// lie in a slab of the device's own, anywhere, which is b's until the next
	// call. It returns net.ErrClosed after Close.
	Read(b *wire.Batch) error
	// Write sends b's packets by the given link. It does not block: packets
	// that a full or failing link cannot take are counted and lost, as a
	// network loses them. Concurrent calls are for different links.
	Write(link int, b *wire.Batch) error
	Caps() Caps
	// Bind takes local for this stack: an unspecified address means all
	// addresses (of both families for ::), port 0 an ephemeral one. passive is
	// for listeners. Errors are syscall.Errno wrapped in *os.SyscallError
	// (EADDRINUSE, EADDRNOTAVAIL, EACCES).
	Bind(local netip.AddrPort, passive bool) (Guard, error)
	// Route finds how packets to remote leave: from local if it is valid, by
	// link if it is not 0. ENETUNREACH if there is none.
	Route(remote, local netip.Addr, link int) (Route, error)
	// Foreign reports whether a connection of this tuple belongs to the host's
	// own TCP, which will answer it.
	Foreign(t wire.Tuple) bool
	Close() error
}
