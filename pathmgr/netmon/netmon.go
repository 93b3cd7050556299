// Package netmon watches the host's interfaces, addresses and routes, and says
// which local addresses could reach a peer.
package netmon

import (
	"net/netip"

	"github.com/mpnc/mpnc/pathmgr"
)

// Monitor is what a stack asks about its host. Its methods may be called by
// any goroutine.
type Monitor interface {
	// Locals returns the local addresses that could reach remote now: those
	// that the host may use (no link-local ones; none that is tentative,
	// duplicate or deprecated), on an interface that is up and has carrier,
	// from which a route leads to remote. The address the host itself would
	// use is marked Best, or if that is unusable (its routes may outlive the
	// carrier) the one with the best route. If remote is an address of this host, that is the
	// only one. The caller may keep the slice and must not change it.
	Locals(remote netip.Addr) []pathmgr.Local
	// Changed receives a value after anything changed that Locals depends on.
	// Changes that come while a value waits are told by that one.
	Changed() <-chan struct{}
	// Close ends the watch; Changed is not closed.
	Close() error
}

// maxCached bounds the answers remembered until the next change.
const maxCached = 256
