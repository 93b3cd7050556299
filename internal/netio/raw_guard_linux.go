package netio

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/mpnc/mpnc/internal/netio/rtnl"
)

// guard is a listening TCP socket that takes nothing in. Listening, the kernel
// finds it for every segment to the pair, and drops the segment without an
// answer because of what silence set; a socket that were only bound would not
// be found, and the kernel would send RSTs. It is never a Multipath TCP
// socket: those take no filter.
type guard struct {
	r     *Raw
	fd    int
	local netip.AddrPort
	once  sync.Once
}

// Bind implements Device.
func (r *Raw) Bind(local netip.AddrPort, passive bool) (Guard, error) {
	local = netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
	if !local.Addr().IsValid() {
		return nil, os.NewSyscallError("bind", unix.EINVAL)
	}
	if !r.use() {
		return nil, net.ErrClosed
	}
	defer r.life.RUnlock()
	if local.Addr().IsLinkLocalUnicast() {
		r.ns.do(func() { local = netip.AddrPortFrom(zoned(local.Addr()), local.Port()) })
	}
	g, err := r.openGuard(local, passive)
	if err != nil {
		return nil, err
	}
	r.checkDiag(netip.AddrPortFrom(local.Addr(), g.local.Port()))
	if err := r.hold(g); err != nil {
		unix.Close(g.fd)
		return nil, err
	}
	return g, nil
}

// Local implements Guard.
func (g *guard) Local() netip.AddrPort { return g.local }

// Close implements Guard.
func (g *guard) Close() error {
	g.once.Do(func() { g.r.release(g) })
	return nil
}

// makeSilent is silence, but for tests of its ways.
var makeSilent = silence

// openGuard makes the guard's socket. Silence comes before bind, so that there
// is no moment in which the kernel would answer.
func (r *Raw) openGuard(local netip.AddrPort, passive bool) (*guard, error) {
	addr := local.Addr()
	family := unix.AF_INET6
	if addr.Is4() {
		family = unix.AF_INET
	}
	fd, err := r.ns.socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err == unix.EAFNOSUPPORT && addr == netip.IPv6Unspecified() {
		// A host without IPv6: all addresses are those of IPv4.
		return r.openGuard(netip.AddrPortFrom(netip.IPv4Unspecified(), local.Port()), passive)
	}
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	g := &guard{r: r, fd: fd}
	if err := g.listen(local, passive); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return g, nil
}

func (g *guard) listen(local netip.AddrPort, passive bool) error {
	if passive {
		// Connections in TIME-WAIT of an earlier server do not stop a new one.
		if err := unix.SetsockoptInt(g.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if local.Addr().Is6() {
		only := 1
		if local.Addr().IsUnspecified() {
			only = 0
		}
		if err := unix.SetsockoptInt(g.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if err := makeSilent(g.fd, local.Addr()); err != nil {
		return err
	}
	if err := unix.Bind(g.fd, sockaddr(local)); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(g.fd, 1); err != nil {
		return os.NewSyscallError("listen", err)
	}
	sa, err := unix.Getsockname(g.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		g.local = netip.AddrPortFrom(local.Addr(), uint16(sa.Port))
	case *unix.SockaddrInet6:
		g.local = netip.AddrPortFrom(local.Addr().WithZone(""), uint16(sa.Port))
	}
	return nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().WithZone("").As16(), Port: int(a.Port()), ZoneId: zoneNumber(a.Addr())}
}

func zoneNumber(a netip.Addr) uint32 {
	n, _ := strconv.ParseUint(a.Zone(), 10, 31)
	return uint32(n)
}

// zoned is a link-local address with the interface that the kernel wants to be told
// with it: the one its zone says, or else the first that has the address. Others
// are as they were.
func zoned(a netip.Addr) netip.Addr {
	if !a.Is6() || !a.IsLinkLocalUnicast() || zoneNumber(a) != 0 {
		return a
	}
	all, err := net.Interfaces()
	if err != nil {
		return a // the kernel says what is wrong
	}
	for _, ifi := range all {
		addrs, _ := ifi.Addrs()
		for _, in := range addrs {
			if p, err := netip.ParsePrefix(in.String()); err == nil && p.Addr() == a.WithZone("") {
				return a.WithZone(strconv.Itoa(ifi.Index))
			}
		}
	}
	return a
}

// hold opens the receive filters for g, whose guard is up.
func (r *Raw) hold(g *guard) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.guards[g] = struct{}{}
	r.held.add(g.local)
	if err := r.setFilters(); err != nil {
		delete(r.guards, g)
		r.held.remove(g.local)
		return errors.Join(err, r.setFilters())
	}
	return nil
}

// release gives the pair back. The filters let in too much then, which is looked
// up anyway; they are narrowed when that shows.
func (r *Raw) release(g *guard) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.guards, g)
	r.held.remove(g.local)
	r.wide.Store(true)
	unix.Close(g.fd)
}

// narrow makes the filters fit again after something was let in that is not ours.
func (r *Raw) narrow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wide.Store(false)
	r.held.bound()
	for _, s := range r.rx {
		s.lo, s.hi, s.changed = maxPort+1, 0, 0
	}
	if err := r.setFilters(); err != nil {
		r.logf("narrow the receive filter: %v", err)
	}
}

// setFilters makes the receive filters fit the held pairs.
func (r *Raw) setFilters() error {
	for _, s := range r.rx {
		if s.proto != unix.IPPROTO_TCP {
			continue
		}
		pairs, lo, hi := r.held.wanted(s.v6)
		none := pairs != nil && len(pairs) == 0
		if s.lo <= lo && hi <= s.hi || s.shut && none {
			continue // the range in force covers it: narrow sees to it if that is too much
		}
		prog := rangeFilter(lo, hi, s.v6)
		if none || pairs != nil && s.changed < maxChanges {
			prog, lo, hi = exactFilter(pairs, s.v6), maxPort+1, 0
		} else if pairs != nil {
			r.wide.Store(true)
		}
		if err := attach(s.fd, prog); err != nil {
			return fmt.Errorf("raw socket: %w", err)
		}
		s.lo, s.hi, s.shut = lo, hi, none
		s.changed++
	}
	return nil
}

// checkDiag finds out, with the first guard, whether this kernel tells us about
// its sockets.
func (r *Raw) checkDiag(local netip.AddrPort) {
	r.diagOnce.Do(func() {
		none := netip.AddrPortFrom(local.Addr(), 0)
		if owner, err := r.diag.Lookup(local, none); err != nil || owner != rtnl.Listener {
			r.diagBlind.Store(true)
			r.logf("the kernel does not tell about its TCP sockets (sock_diag: %v): segments of unknown connections will get no RST", err)
		}
	})
}
