package testenv

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mpnc/mpnc/pathmgr"
)

// endpointManager is a path manager for an end of ours that follows a list of
// endpoints as the kernel's does: what our own policies would do otherwise. Its
// user gives it orders while the connection runs.
type endpointManager struct {
	p       *play
	party   party
	started bool
	used    int              // announced addresses that were joined
	joined  []netip.AddrPort // they

	mu   sync.Mutex
	todo []order
	eps  []endpoint
}

// order is something to do; what cannot be done yet, for want of a local address
// that the host's monitor has still to tell of, is tried again.
type order func(*pathmgr.View) (do []pathmgr.Command, done bool)

func newEndpointManager(p *play) *endpointManager {
	c := p.party(p.ours)
	return &endpointManager{p: p, party: c, eps: slices.Clone(c.endpoints)}
}

// order has something done soon.
func (m *endpointManager) order(o order) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.todo = append(m.todo, o)
}

// endpoints are those that there are now.
func (m *endpointManager) endpoints() []endpoint {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.eps)
}

// set says which they are.
func (m *endpointManager) set(eps []endpoint) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.eps = slices.Clone(eps)
}

// Handle implements pathmgr.Manager.
func (m *endpointManager) Handle(now pathmgr.Time, ev pathmgr.Event, v *pathmgr.View, do []pathmgr.Command) []pathmgr.Command {
	if !m.started {
		m.started = true
		if !m.party.userspace {
			for _, e := range m.party.endpoints {
				m.order(m.using(e))
			}
		}
		for _, peer := range v.Peers { // announced before there was a manager
			m.order(m.joining(peer))
		}
	}
	if ev, ok := ev.(pathmgr.PeerAdded); ok {
		m.order(m.joining(ev.Peer))
	}
	if ev, ok := ev.(pathmgr.PeerRemoved); ok {
		gone := peerEnd(ev.Peer, v)
		before := len(m.joined)
		m.joined = slices.DeleteFunc(m.joined, func(a netip.AddrPort) bool { return a == gone })
		m.used -= before - len(m.joined)
	}
	m.mu.Lock()
	todo := m.todo
	m.todo = nil
	m.mu.Unlock()
	for _, o := range todo {
		some, done := o(v)
		do = append(do, some...)
		if !done {
			m.order(o)
		}
	}
	return append(do, pathmgr.Wake{At: now.Add(5 * time.Millisecond)}) // to look for orders
}

// using is the order to use an endpoint.
func (m *endpointManager) using(e endpoint) order {
	return func(v *pathmgr.View) ([]pathmgr.Command, bool) {
		l, ok := localOf(v, m.p.addr(m.p.ours, e))
		if !ok && e.subflow {
			return nil, false
		}
		return m.use(e, l, v), true
	}
}

func (m *endpointManager) use(e endpoint, l pathmgr.Local, v *pathmgr.View) (do []pathmgr.Command) {
	addr := m.p.addr(m.p.ours, e)
	if addr == v.Local.Addr() { // the first subflow's: there is nothing to open or to tell
		for _, s := range v.Subflows {
			if s.Local == v.Local && e.backup {
				do = append(do, pathmgr.SetBackup{ID: s.ID, Backup: true})
			}
		}
		return do
	}
	if e.signal {
		do = append(do, pathmgr.Advertise{Local: pathmgr.Local{Addr: addr}, Port: e.port})
	}
	if !e.subflow {
		return do
	}
	if !v.NoJoin && v.Client {
		do = append(do, pathmgr.Open{Local: l, Remote: v.Remote, Backup: e.backup})
	}
	if e.fullmesh {
		for _, peer := range v.Peers {
			if peer.Addr.Addr().Is4() != addr.Is4() {
				continue
			}
			do = append(do, pathmgr.Open{Local: l, Remote: peerEnd(peer, v), Backup: e.backup})
		}
	}
	return do
}

// joining is the order to answer an announced address: from each endpoint of a
// full mesh, else from where the host routes to it.
func (m *endpointManager) joining(peer pathmgr.Peer) order {
	return func(v *pathmgr.View) (do []pathmgr.Command, done bool) {
		remote := peerEnd(peer, v)
		// Only who opened the connection can reach the other: as in pathmgr.
		if !v.Client || m.used >= m.party.accepts && !v.NoJoin || slices.Contains(m.joined, remote) || remote == v.Remote {
			return nil, true
		}
		known := 0
		for _, l := range v.Locals {
			if l.Addr.Is4() == remote.Addr().Is4() {
				known++
			}
		}
		if known < scenarioPaths {
			return nil, false
		}
		for _, e := range m.endpoints() {
			if l, ok := localOf(v, m.p.addr(m.p.ours, e)); ok && (e.fullmesh || e.subflow && m.forbidden(v)) && l.Addr.Is4() == remote.Addr().Is4() {
				do = append(do, pathmgr.Open{Local: l, Remote: remote, Backup: e.backup})
			}
		}
		if l, ok := routed(v, remote.Addr()); ok && do == nil {
			do = append(do, pathmgr.Open{Local: l, Remote: remote})
		}
		if do == nil {
			return nil, false
		}
		m.used++
		m.joined = append(m.joined, remote)
		return do, true
	}
}

// forbidden: nothing may be joined but announced addresses, and none is to be
// accepted: then the kernel uses its endpoints for those all the same.
func (m *endpointManager) forbidden(v *pathmgr.View) bool { return v.NoJoin && m.party.accepts == 0 }

func peerEnd(peer pathmgr.Peer, v *pathmgr.View) netip.AddrPort {
	if peer.Addr.Port() == 0 {
		return netip.AddrPortFrom(peer.Addr.Addr(), v.Remote.Port())
	}
	return peer.Addr
}

func localOf(v *pathmgr.View, addr netip.Addr) (pathmgr.Local, bool) {
	i := slices.IndexFunc(v.Locals, func(l pathmgr.Local) bool { return l.Addr == addr })
	if i < 0 {
		return pathmgr.Local{}, false
	}
	return v.Locals[i], true
}

// routed is the address that a host has in the network of another, else its
// first of the family.
func routed(v *pathmgr.View, remote netip.Addr) (pathmgr.Local, bool) {
	bits := 24
	if remote.Is6() {
		bits = 64
	}
	near := netip.PrefixFrom(remote, bits).Masked()
	for _, l := range v.Locals {
		if near.Contains(l.Addr) {
			return l, true
		}
	}
	i := slices.IndexFunc(v.Locals, func(l pathmgr.Local) bool { return l.Addr.Is4() == remote.Is4() })
	return v.Locals[max(i, 0)], i >= 0
}
