package netmon

import (
	"cmp"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"

	"github.com/mpnc/mpnc/internal/netio/rtnl"
	"github.com/mpnc/mpnc/pathmgr"
)

// monitor answers from the kernel's tables and remembers the answers until the
// kernel tells of a change. It does not read what changed: in a storm the
// kernel loses messages, and then only listing again is right.
type monitor struct {
	logf    func(string, ...any)
	changed chan struct{}
	events  *os.File      // the subscription
	ended   chan struct{} // closed when watch has returned

	mu     sync.Mutex
	rt     *rtnl.Conn // nil after Close
	host   *host      // nil: to be listed
	locals map[netip.Addr][]pathmgr.Local
}

// host is the interfaces and addresses as last listed.
type host struct {
	links map[int]rtnl.Link
	addrs []rtnl.Addr
}

// New watches the network namespace of the calling thread. logf, if not nil,
// is told what goes wrong later.
func New(logf func(format string, args ...any)) (Monitor, error) {
	if logf == nil {
		logf = func(string, ...any) {}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	rt, err := rtnl.Open()
	if err != nil {
		return nil, err
	}
	fd, err := rtnl.Subscribe(slices.Concat(rtnl.LinkChanges, rtnl.RouteChanges)...)
	if err != nil {
		rt.Close()
		return nil, err
	}
	m := &monitor{
		logf:    logf,
		changed: make(chan struct{}, 1),
		events:  os.NewFile(uintptr(fd), "netlink"), // non-blocking: the runtime's poller waits
		ended:   make(chan struct{}),
		rt:      rt,
	}
	go m.watch()
	return m, nil
}

// watch forgets and tells at every change, until the file is closed.
func (m *monitor) watch() {
	defer close(m.ended)
	raw, err := m.events.SyscallConn()
	if err != nil {
		m.logf("watch the network: %v", err)
		return
	}
	for raw.Read(func(fd uintptr) bool { return rtnl.Drain(int(fd)) }) == nil {
		m.forget()
		select {
		case m.changed <- struct{}{}:
		default:
		}
	}
}

func (m *monitor) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.host, m.locals = nil, nil
}

// Changed implements Monitor.
func (m *monitor) Changed() <-chan struct{} { return m.changed }

// Close implements Monitor.
func (m *monitor) Close() error {
	m.mu.Lock()
	if m.rt == nil {
		m.mu.Unlock()
		return nil
	}
	m.rt.Close()
	m.rt = nil
	m.mu.Unlock()
	err := m.events.Close()
	<-m.ended
	return err
}

// Locals implements Monitor.
func (m *monitor) Locals(remote netip.Addr) []pathmgr.Local {
	remote = remote.Unmap()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rt == nil || !remote.IsValid() {
		return nil
	}
	if l, ok := m.locals[remote]; ok {
		return l
	}
	if m.host == nil {
		if err := m.list(); err != nil {
			m.logf("%v", err)
			return nil
		}
	}
	l := m.find(remote)
	if m.locals == nil || len(m.locals) >= maxCached {
		m.locals = make(map[netip.Addr][]pathmgr.Local)
	}
	m.locals[remote] = l
	return l
}

func (m *monitor) list() error {
	links, err := m.rt.Links()
	if err != nil {
		return err
	}
	addrs, err := m.rt.Addrs()
	if err != nil {
		return err
	}
	// The kernel lists the newest IPv6 address first; policies want an order
	// that does not change when one comes.
	slices.SortFunc(addrs, func(a, b rtnl.Addr) int {
		return cmp.Or(cmp.Compare(a.Link, b.Link), a.Addr.Compare(b.Addr))
	})
	h := &host{links: make(map[int]rtnl.Link, len(links)), addrs: addrs}
	for _, l := range links {
		h.links[l.Index] = l
	}
	m.host = h
	return nil
}

// find asks the routing tables about every address that may be used.
func (m *monitor) find(remote netip.Addr) (l []pathmgr.Local) {
	own, err := m.rt.Lookup(remote, netip.Addr{}, 0)
	if err != nil {
		own = rtnl.Route{} // other interfaces may have a route of their own
	}
	if own.Link == rtnl.Loopback {
		return []pathmgr.Local{m.local(own.Local, own.Link, true)}
	}
	best := -1 // the host's choice, or else the best of what is usable
	var bestRoute rtnl.Route
	for _, a := range m.host.addrs {
		if !m.host.usable(a) || a.Addr.Is4() != remote.Is4() {
			continue
		}
		r, err := m.rt.Lookup(remote, a.Addr, a.Link)
		if err != nil {
			continue // no route out of there: mostly ENETUNREACH
		}
		if a.Addr == own.Local && a.Link == own.Link {
			r.Metric, r.Bits = -1, maxBits
		}
		if best < 0 || r.Better(bestRoute) {
			best, bestRoute = len(l), r
		}
		l = append(l, m.local(a.Addr, a.Link, false))
	}
	if best >= 0 {
		l[best].Best = true
	}
	return l
}

// maxBits is longer than any prefix of a routing table.
const maxBits = 129

func (m *monitor) local(a netip.Addr, link int, best bool) pathmgr.Local {
	of := m.host.links[link]
	return pathmgr.Local{Addr: a, Link: link, Name: of.Name, Kind: kindOf(of), Best: best}
}

// usable reports whether an address may be used towards other hosts.
func (h *host) usable(a rtnl.Addr) bool {
	l, ok := h.links[a.Link]
	return ok && l.Up && l.Running && a.Usable && a.Link != rtnl.Loopback &&
		a.Addr.IsGlobalUnicast()
}

// tunnels are the kinds of interface whose packets travel inside others.
var tunnels = []string{
	"tun", "tuntap", "wireguard", "ipip", "ip6tnl", "sit", "gre", "gretap",
	"ip6gre", "ip6gretap", "erspan", "ip6erspan", "vti", "vti6", "xfrm", "vxlan",
	"geneve", "bareudp", "gtp", "amt", "ovpn", "ovpn-dco", "l2tp",
}

func kindOf(l rtnl.Link) pathmgr.LinkKind {
	switch {
	case l.Index == rtnl.Loopback:
		return pathmgr.Loopback
	case l.Kind == "bridge" || l.Kind == "openvswitch":
		return pathmgr.Bridge
	case slices.Contains(tunnels, l.Kind):
		return pathmgr.Tunnel
	}
	return pathmgr.Ordinary
}
