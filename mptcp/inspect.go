package mptcp

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/mpnc/mpnc/subflow"
)

// State is a state of RFC 9293, Section 3.3.2. Its String is the name there.
type State = subflow.State

// ConnInfo is what there is to know of a connection, as ss(8) would tell it.
type ConnInfo struct {
	// ID is the connection's number in its Stack, from 1 on.
	ID uint32
	// Local and Remote are the ends of the first subflow.
	Local, Remote netip.AddrPort
	// Client: this side opened the connection.
	Client bool
	// State is that of the stream, with DATA_FIN for FIN, if the connection
	// speaks MPTCP, else that of its one subflow.
	State State
	// Token names the connection in joins and in events; PeerToken is the
	// peer's name for it. Both are 0 without MPTCP.
	Token, PeerToken uint32
	// HoldSince is since when the connection has no path that works;
	// scheduler.Never while it has one. Now is when all this was so.
	HoldSince, Now Time
	Stats
}

// Info returns what there is to know of the connection, at one moment.
func (c *Conn) Info() ConnInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := ConnInfo{
		ID: c.core.ID(), Local: c.core.LocalAddr(), Remote: c.core.RemoteAddr(), Client: c.core.Client(),
		State: c.core.State(), HoldSince: c.core.HoldSince(), Now: c.stack.now(), Stats: c.core.Stats(),
	}
	i.Token, i.PeerToken = c.core.Token()
	return i
}

// Conns returns the connections that the stack has, in any state, in the order
// in which they were made. Those that a listener has not handed out yet are
// among them: they are for looking at.
func (s *Stack) Conns() []*Conn {
	conns := s.snapshot()
	// A connection's number never changes.
	slices.SortFunc(conns, func(a, b *Conn) int { return cmp.Compare(a.core.ID(), b.core.ID()) })
	return conns
}

// ListenerInfo is what there is to know of a Listener.
type ListenerInfo struct {
	Addr netip.AddrPort
	// Waiting is how many connections wait for Accept, of at most Backlog.
	Waiting, Backlog int
}

// Listeners returns what the stack listens at, in the order of addresses.
func (s *Stack) Listeners() []ListenerInfo {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []ListenerInfo
	for at, l := range s.listeners {
		all = append(all, ListenerInfo{at, l.core.Waiting(), l.core.Backlog()})
	}
	slices.SortFunc(all, func(a, b ListenerInfo) int { return a.Addr.Compare(b.Addr) })
	return all
}
