package pathmgr

import (
	"net/netip"
	"slices"
)

// adverts is what the listening side has told its peer.
type adverts struct {
	told     []netip.Addr
	homeGone bool // the address first connected to was withdrawn
}

// serve is the whole policy of the listening side: tell the client which other
// addresses there are, and never open a subflow to it.
func (m *FullMesh) serve(ev Event, v *View, do []Command) []Command {
	if down, ok := ev.(LocalDown); ok {
		do = m.withdraw(down.Local.Addr, v, do)
	}
	return m.advertise(v, do)
}

// advertise tells of every address that the client does not know. A listener
// bound to one address has no others (RFC 8684 leaves that to policy).
func (m *FullMesh) advertise(v *View, do []Command) []Command {
	if m.shape.lone || v.Bound {
		return do
	}
	a := &m.adverts
	for _, l := range m.locals(v, false) {
		home := l.Addr == v.Local.Addr() && !a.homeGone
		if home || slices.Contains(a.told, l.Addr) || len(a.told) >= maxLocals {
			continue
		}
		a.told = append(a.told, l.Addr)
		do = append(do, Advertise{Local: l})
	}
	return do
}

// withdraw tells that an address is gone, if the client can know it.
func (m *FullMesh) withdraw(gone netip.Addr, v *View, do []Command) []Command {
	a := &m.adverts
	known := m.used(gone, v)
	if gone == v.Local.Addr() {
		a.homeGone = true
	}
	if i := slices.Index(a.told, gone); i >= 0 {
		a.told = slices.Delete(a.told, i, i+1)
		known = true
	}
	if !known {
		return do
	}
	return append(do, Withdraw{Addr: gone})
}
