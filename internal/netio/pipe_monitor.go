package netio

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/mpnc/mpnc/pathmgr"
)

// PipeMonitor tells what the addresses and links of a pipe's end do. It
// implements netmon.Monitor.
type PipeMonitor struct {
	p       *PipeEnd
	changed chan struct{}
}

// Monitor returns a new monitor of this end.
func (p *PipeEnd) Monitor() *PipeMonitor {
	m := &PipeMonitor{p: p, changed: make(chan struct{}, 1)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watch = append(p.watch, m)
	return m
}

// tell lets the monitors know. The lock is held.
func (p *PipeEnd) tell() {
	for _, m := range p.watch {
		select {
		case m.changed <- struct{}{}:
		default:
		}
	}
}

// Changed receives a value after an address or link went up or down.
func (m *PipeMonitor) Changed() <-chan struct{} { return m.changed }

// Locals returns the addresses that are up, on links that are up, and lead to
// remote.
func (m *PipeMonitor) Locals(remote netip.Addr) (l []pathmgr.Local) {
	p := m.p
	p.mu.Lock()
	defer p.mu.Unlock()
	remote = remote.Unmap()
	best, _ := p.route(remote, netip.Addr{}, 0)
	for _, a := range p.addrs {
		if !a.up || a.addr.Is4() != remote.Is4() {
			continue
		}
		if _, ok := p.route(remote, a.addr, a.link); !ok {
			continue
		}
		l = append(l, pathmgr.Local{
			Addr: a.addr, Link: a.link, Name: fmt.Sprintf("pipe%d", a.link), Best: a.addr == best.Local,
		})
	}
	return l
}

// Close ends the watch.
func (m *PipeMonitor) Close() error {
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	m.p.watch = slices.DeleteFunc(m.p.watch, func(o *PipeMonitor) bool { return o == m })
	return nil
}
