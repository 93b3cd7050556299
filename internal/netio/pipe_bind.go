package netio

import (
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/mpnc/mpnc/internal/wire"
)

// pipeGuard holds a pair of one end.
type pipeGuard struct {
	p     *PipeEnd
	local netip.AddrPort
}

// Local implements Guard.
func (g *pipeGuard) Local() netip.AddrPort { return g.local }

// Close implements Guard.
func (g *pipeGuard) Close() error {
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	if g.p.guards[g.local] == g {
		delete(g.p.guards, g.local)
	}
	return nil
}

// Bind implements Device.
func (p *PipeEnd) Bind(local netip.AddrPort, _ bool) (Guard, error) {
	local = netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, net.ErrClosed
	case !local.Addr().IsValid():
		return nil, os.NewSyscallError("bind", syscall.EINVAL)
	case !local.Addr().IsUnspecified() && !p.owns(local.Addr()):
		return nil, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
	}
	if local.Port() == 0 {
		local = p.ephemeral(local.Addr())
	}
	if local.Port() == 0 || p.taken(local) {
		return nil, os.NewSyscallError("bind", syscall.EADDRINUSE)
	}
	g := &pipeGuard{p, local}
	p.guards[local] = g
	return g, nil
}

// ephemeral chooses a free port, in order; port 0 if none is left.
func (p *PipeEnd) ephemeral(addr netip.Addr) netip.AddrPort {
	for range 1<<16 - firstEphemeral {
		c := netip.AddrPortFrom(addr, p.nextEph)
		p.nextEph++
		if p.nextEph == 0 {
			p.nextEph = firstEphemeral
		}
		if !p.taken(c) {
			return c
		}
	}
	return netip.AddrPortFrom(addr, 0)
}

// taken reports whether a guard holds local, or a part of it.
func (p *PipeEnd) taken(local netip.AddrPort) bool {
	if !local.Addr().IsUnspecified() {
		return p.held(local)
	}
	for g := range p.guards {
		if g.Port() == local.Port() && (g.Addr().Is4() == local.Addr().Is4() ||
			local.Addr().Is6() || g.Addr() == netip.IPv6Unspecified()) {
			return true
		}
	}
	return false
}

// held reports whether a guard covers a pair of a specific address.
func (p *PipeEnd) held(a netip.AddrPort) bool {
	if _, ok := p.guards[a]; ok {
		return true
	}
	if _, ok := p.guards[netip.AddrPortFrom(netip.IPv6Unspecified(), a.Port())]; ok {
		return true
	}
	_, ok := p.guards[netip.AddrPortFrom(netip.IPv4Unspecified(), a.Port())]
	return ok && a.Addr().Is4()
}

// owns reports whether a is an address of this end, and up.
func (p *PipeEnd) owns(a netip.Addr) bool {
	for _, own := range p.addrs {
		if own.addr == a {
			return own.up
		}
	}
	return false
}

// Route implements Device.
func (p *PipeEnd) Route(remote, local netip.Addr, link int) (Route, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return Route{}, net.ErrClosed
	}
	r, ok := p.route(remote.Unmap(), local.Unmap(), link)
	if !ok {
		return Route{}, os.NewSyscallError("route", syscall.ENETUNREACH)
	}
	return r, nil
}

// route prefers the link whose network remote is in. The lock is held.
func (p *PipeEnd) route(remote, local netip.Addr, link int) (best Route, ok bool) {
	if p.owns(remote) {
		return Route{}, false // a pipe does not lead back to its end
	}
	for _, a := range p.addrs {
		near := a.net.Contains(remote)
		switch {
		case !a.up || !p.up[a.link-1] || link != 0 && link != a.link:
		case a.addr.Is4() != remote.Is4() || !near && !p.cfg.Mesh:
		case local.IsValid() && !p.owns(local):
		case ok && !near: // there is one already
		default:
			best, ok = Route{Local: a.addr, Link: a.link, MTU: p.cfg.MTU}, true
		}
	}
	if ok && local.IsValid() {
		best.Local = local
	}
	return best, ok
}

// Foreign implements Device: the host of a pipe has no TCP of its own.
func (p *PipeEnd) Foreign(wire.Tuple) bool { return false }
