//go:build !linux

package netmon

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mpnc/mpnc/pathmgr"
)

// pollInterval is how often the interfaces are looked at, where the system
// does not tell of changes in a way we know.
const pollInterval = 2 * time.Second

// monitor polls. Without a way to ask for routes it takes every interface with
// a global address to lead everywhere, and asks the host only which is best.
type monitor struct {
	changed chan struct{}
	stop    chan struct{}
	once    sync.Once

	mu   sync.Mutex
	seen []pathmgr.Local
}

// New watches the host's interfaces. logf is not used.
func New(func(format string, args ...any)) (Monitor, error) {
	m := &monitor{changed: make(chan struct{}, 1), stop: make(chan struct{}), seen: addresses()}
	go m.poll()
	return m, nil
}

func (m *monitor) poll() {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-tick.C:
			m.look()
		}
	}
}

func (m *monitor) look() {
	now := addresses()
	m.mu.Lock()
	same := slices.Equal(now, m.seen)
	m.seen = now
	m.mu.Unlock()
	if same {
		return
	}
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// addresses lists the addresses of interfaces that are up and running.
func addresses() (l []pathmgr.Local) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0 {
			continue
		}
		addrs, _ := i.Addrs() // an interface that went has none
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			ip, ok := netip.AddrFromSlice(n.IP)
			if !ok {
				continue
			}
			l = append(l, pathmgr.Local{Addr: ip.Unmap(), Link: i.Index, Name: i.Name, Kind: kindOf(i)})
		}
	}
	return l
}

func kindOf(i net.Interface) pathmgr.LinkKind {
	switch {
	case i.Flags&net.FlagLoopback != 0:
		return pathmgr.Loopback
	case i.Flags&net.FlagPointToPoint != 0:
		return pathmgr.Tunnel
	}
	return pathmgr.Ordinary
}

// Locals implements Monitor.
func (m *monitor) Locals(remote netip.Addr) (l []pathmgr.Local) {
	remote = remote.Unmap()
	m.mu.Lock()
	defer m.mu.Unlock()
	best := preferred(remote)
	for _, a := range m.seen {
		switch {
		case a.Addr == remote:
			a.Best = true
			return []pathmgr.Local{a}
		case a.Addr.Is4() != remote.Is4(), a.Addr.IsLoopback() != remote.IsLoopback():
		case a.Addr.IsGlobalUnicast() || a.Addr.IsLoopback():
			a.Best = a.Addr == best
			l = append(l, a)
		}
	}
	return l
}

// preferred is the source address the host would use, invalid if it has none.
// Connecting a UDP socket sends nothing.
func preferred(remote netip.Addr) netip.Addr {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(remote, 9)))
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

// Changed implements Monitor.
func (m *monitor) Changed() <-chan struct{} { return m.changed }

// Close implements Monitor.
func (m *monitor) Close() error {
	m.once.Do(func() { close(m.stop) })
	return nil
}
