package pathmgr

import (
	"net/netip"
	"slices"
)

// pair is two ends of a possible subflow; the local port is the engine's.
type pair struct {
	local  netip.Addr
	remote netip.AddrPort
}

// candidate is a pair that the policy wants.
type candidate struct {
	pair
	from    Local
	learned bool // the remote end is the peer's word only
}

// candidates calls yield for every wanted pair, the most useful first, until
// yield returns false.
func (m *FullMesh) candidates(v *View, alone bool, yield func(candidate) bool) {
	if m.shape.lone && len(m.flows) > 0 {
		m.samePair(v, yield)
		return
	}
	locals := m.locals(v, alone)
	each := func(remote netip.AddrPort, learned bool) bool {
		for _, l := range locals {
			if l.Addr.Is4() != remote.Addr().Is4() {
				continue
			}
			if !yield(candidate{pair{l.Addr, remote}, l, learned}) {
				return false
			}
		}
		return true
	}
	// A peer that set C forbids joins to its first address, whatever happened
	// to the first subflow (RFC 8684, Section 3.1). One that withdrew it is
	// tried there only when nothing else is left.
	if !v.NoJoin && (alone || !m.firstGone) && !each(v.Remote, false) { //spec:H12 off: if (alone || !m.firstGone) && !each(v.Remote, false) {
		return
	}
	looked := 0
	for _, p := range v.Peers {
		remote := remoteOf(p, v)
		if remote == v.Remote || !plausible(remote.Addr()) {
			continue
		}
		if looked++; looked > maxPeers || !each(remote, true) { //spec:P16 off: if looked++; !each(remote, true) {
			return
		}
	}
}

// samePair yields the pair that there are subflows between.
func (m *FullMesh) samePair(v *View, yield func(candidate) bool) {
	s := &m.flows[0]
	i := slices.IndexFunc(v.Locals, func(l Local) bool { return l.Addr == s.Local.Addr() })
	if i >= 0 && m.allows(v.Locals[i].Name) && !(v.NoJoin && s.Remote == v.Remote) {
		yield(candidate{pair{s.Local.Addr(), s.Remote}, v.Locals[i], s.Remote != v.Remote})
	}
}

// remoteOf is where joins to an advertised address go: without a port, to the
// port of the first subflow (RFC 8684, Section 3.4.1).
func remoteOf(p Peer, v *View) netip.AddrPort {
	port := p.Addr.Port()
	if port == 0 {
		port = v.Remote.Port()
	}
	return netip.AddrPortFrom(p.Addr.Addr().Unmap(), port)
}

// knownRemote reports whether joins of this side go to the address and port.
func knownRemote(v *View, a netip.AddrPort) bool {
	return a == v.Remote || slices.ContainsFunc(v.Peers, func(p Peer) bool { return remoteOf(p, v) == a }) //spec:P8 off: return true
}

// plausible reports whether an advertised address may be a remote host's. A
// peer must not make this host connect to itself or to a group.
func plausible(a netip.Addr) bool {
	broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	return a.IsValid() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() &&
		!a.IsLinkLocalUnicast() && a != broadcast
}

// locals returns the addresses to open subflows from or to advertise: by backup
// and cost, then the connection's own first, then the one that the host prefers.
// With no working subflow (alone) the preferred address counts whatever it is on,
// since the host's own routing would use it.
func (m *FullMesh) locals(v *View, alone bool) []Local {
	use := make([]Local, 0, maxLocals)
	for want := range never {
		for _, l := range v.Locals {
			if len(use) < maxLocals && m.rank(l, v, alone) == want {
				use = append(use, l)
			}
		}
	}
	if len(use) == 0 && alone && !v.Bound {
		// Better than no path at all.
		for _, l := range v.Locals {
			if m.allows(l.Name) {
				return append(use, l)
			}
		}
	}
	if len(m.Rules) > 0 {
		slices.SortStableFunc(use, func(a, b Local) int {
			return m.Rules.standing(a.Name).compare(m.Rules.standing(b.Name))
		})
	}
	return use
}

// Ranks of a local address.
const (
	own   = iota // the connection's first
	best         // the host's own choice
	other        // another that the policy admits
	never        // not to be used
)

func (m *FullMesh) rank(l Local, v *View, alone bool) int {
	switch {
	case !l.Addr.IsValid() || !m.allows(l.Name):
		return never
	case l.Addr == v.Local.Addr():
		return own
	case v.Bound:
		return never
	case l.Best && (alone || m.admits(l, v)):
		return best
	case m.admits(l, v):
		return other
	}
	return never
}

// admits applies the cautions to an address that is not the connection's own.
func (m *FullMesh) admits(l Local, v *View) bool {
	if l.Kind == Bridge || l.Kind == Loopback || v.Remote.Addr().IsLoopback() {
		return false
	}
	if m.Rules.names(l.Name) {
		return true
	}
	if len(m.Only) > 0 {
		return slices.Contains(m.Only, l.Name)
	}
	i := slices.IndexFunc(v.Locals, func(l Local) bool { return l.Best && m.allows(l.Name) })
	if i >= 0 && v.Locals[i].Kind == Tunnel {
		// Whoever routes through a VPN does not want the same data beside it.
		return l.Link == v.Locals[i].Link
	}
	return true
}
