package mptcp

import (
	"net/netip"
	"slices"

	"github.com/mpnc/mpnc/pathmgr"
)

// onlyThese is a Monitor that knows of some addresses only, of those of the
// one under it, in their own order.
type onlyThese struct {
	Monitor
	addrs []netip.Addr
}

// Locals implements Monitor.
func (m onlyThese) Locals(remote netip.Addr) []pathmgr.Local {
	all := m.Monitor.Locals(remote)
	var some []pathmgr.Local
	for _, a := range m.addrs {
		if i := slices.IndexFunc(all, func(l pathmgr.Local) bool { return l.Addr == a }); i >= 0 {
			some = append(some, all[i])
		}
	}
	return some
}
