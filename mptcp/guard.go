package mptcp

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/mpnc/mpnc/internal/netio"
	"github.com/mpnc/mpnc/internal/wire"
)

// A guard is a local address and port that a device holds for this stack. It
// is shared by a listener and by all subflows that end at it, and goes with
// the last of them: a subflow in TIME-WAIT still has to answer, whatever
// became of the listener (RFC 9293, Section 3.6.1).
type guard struct {
	netio.Guard
	key  guardKey
	pair netip.AddrPort
	refs int // guarded by Stack.mu; 0: out of the table
}

// guardKey names a guard: each device has its own ports.
type guardKey struct {
	dev  *device
	pair netip.AddrPort
}

// A farewell is a guard that goes once all that was queued before is written: a
// kernel whose guard is gone answers the peer with resets of its own, which would
// overtake our last word (MP_FASTCLOSE, for one).
type farewell struct {
	guard *guard
	busy  atomic.Int32 // ports that still have to write, and one for leave
}

// leave closes the guard, or has the last of the busy ports do so. No lock may be
// held.
func (g *guard) leave(s *Stack) {
	f := &farewell{guard: g}
	f.busy.Store(1)
	if ports := s.ports.Load(); ports != nil {
		for _, p := range *ports {
			p.behind(f)
		}
	}
	f.written(s)
}

// written is told when one of the ports has written. No lock may be held.
func (f *farewell) written(s *Stack) {
	if f.busy.Add(-1) == 0 {
		f.guard.end(s)
	}
}

// end lets the device's guard go. No lock may be held.
func (g *guard) end(s *Stack) {
	if err := g.Close(); err != nil {
		s.logf("closing the guard of %v: %v", g.pair, err)
	}
}

// acquire takes the pair for one more user. An unspecified port is the device's
// to choose. That of a raw one is the kernel's own draw for its sockets: at
// random over the range of ephemeral ports (RFC 6056, Section 3.3), and none
// that is in use, be it by a subflow of ours in TIME-WAIT, whose guard is held.
// share says that a guard which the stack holds already will do. The address may
// have a zone, for the device. No lock may be held.
func (s *Stack) acquire(d *device, pair netip.AddrPort, passive, share bool) (*guard, error) {
	if share {
		s.mu.Lock()
		g := s.covering(d, netip.AddrPortFrom(pair.Addr().WithZone(""), pair.Port()))
		if g != nil {
			g.refs++
		}
		s.mu.Unlock()
		if g != nil {
			return g, nil
		}
	}
	dg, err := d.Bind(pair, passive)
	if err != nil {
		return nil, err
	}
	g := &guard{Guard: dg, key: guardKey{d, dg.Local()}, pair: dg.Local(), refs: 1}
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.guards[g.key] = g
		s.ep.Hold(g.pair)
	}
	s.mu.Unlock()
	if closed {
		g.end(s)
		return nil, net.ErrClosed
	}
	return g, nil
}

// onLink is a local address for acquire: a link-local one is told with its link,
// for several may have it.
func onLink(a netip.Addr, link int) netip.Addr {
	if a.Is6() && a.IsLinkLocalUnicast() && link != 0 {
		return a.WithZone(strconv.Itoa(link))
	}
	return a
}

// drop takes one use of g back; the last one's closing is a chore. Stack.mu is
// held.
func (s *Stack) drop(g *guard, ch *chores) {
	g.refs--
	if g.refs > 0 {
		return
	}
	delete(s.guards, g.key)
	s.ep.Release(g.pair)
	ch.guards = append(ch.guards, g)
}

func (s *Stack) dropAll(gs []*guard, ch *chores) {
	for _, g := range gs {
		s.drop(g, ch)
	}
}

// covering returns d's guard that holds local, nil if none does. Stack.mu is
// held.
func (s *Stack) covering(d *device, local netip.AddrPort) *guard {
	if g := s.guards[guardKey{d, local}]; g != nil {
		return g
	}
	for _, any := range wildcards {
		if g := s.guards[guardKey{d, netip.AddrPortFrom(any, local.Port())}]; g != nil && covers(any, local.Addr()) {
			return g
		}
	}
	return nil
}

var wildcards = [...]netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}

// covers reports whether the unspecified address any stands for a too: [::]
// stands for both families.
func covers(any, a netip.Addr) bool { return any.Is6() || a.Is4() }

// holding is one use of a guard by one subflow.
type holding struct {
	tuple wire.Tuple
	guard *guard
}

// hold records that the subflow of t uses g; the reference passes to c.
// Stack.mu is held, or nobody else knows c.
func (c *Conn) hold(t wire.Tuple, g *guard) { c.holds = append(c.holds, holding{t, g}) }

// cover takes the guards of a subflow that the peer opened. Stack.mu is held.
func (c *Conn) cover(t wire.Tuple) {
	if slices.ContainsFunc(c.holds, of(t)) {
		return
	}
	for _, d := range c.stack.devs {
		if g := c.stack.covering(d, t.Local); g != nil {
			g.refs++
			c.hold(t, g)
		}
	}
}

// uncover gives the guards of a subflow back. Stack.mu is held.
func (c *Conn) uncover(t wire.Tuple, ch *chores) {
	for _, h := range c.holds {
		if h.tuple == t {
			c.stack.drop(h.guard, ch)
		}
	}
	c.holds = slices.DeleteFunc(c.holds, of(t))
}

func of(t wire.Tuple) func(holding) bool { return func(h holding) bool { return h.tuple == t } }
