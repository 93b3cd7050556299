package testenv

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/mpnc/mpnc/pathmgr"
)

// What may happen during a scenario, at either end.

// add gives an end one more endpoint.
func (p *play) add(at place, e endpoint) {
	p.t.Helper()
	if at == p.ours {
		p.change(append(p.eps[at], e))
		p.manager.order(p.manager.using(e))
		return
	}
	if e.id == 0 {
		p.ids[at]++
		e.id = p.ids[at]
	}
	p.eps[at] = append(p.eps[at], e)
	must(p.t, p.hosts[at].AddEndpoint(p.kernelEndpoint(e)))
}

// change sets our endpoints.
func (p *play) change(eps []endpoint) {
	p.eps[p.ours] = eps
	p.manager.set(eps)
}

func (p *play) kernelEndpoint(e endpoint) Endpoint {
	return Endpoint{
		Addr: p.addr(p.kernels(), e), Port: e.port, ID: e.id,
		Signal: e.signal, Subflow: e.subflow, Backup: e.backup, FullMesh: e.fullmesh,
	}
}

// remove takes away the first n endpoints, one after the other.
func (p *play) remove(at place, n int) {
	p.t.Helper()
	for range n {
		e := p.eps[at][0]
		if at == p.ours {
			p.change(p.eps[at][1:])
			p.withdraw(p.addr(at, e))
			continue
		}
		p.eps[at] = p.eps[at][1:]
		must(p.t, p.hosts[at].RemoveEndpoint(e.id))
	}
}

// removeInitial closes the first subflow, and says that its address is gone.
func (p *play) removeInitial(at place) {
	p.t.Helper()
	first := p.addr(at, endpoint{link: 1, v6: p.s.v6})
	if at == p.ours {
		p.withdraw(first)
		return
	}
	must(p.t, p.hosts[at].RemoveInitial(first))
}

// withdraw takes an address from us.
func (p *play) withdraw(addr netip.Addr) {
	p.manager.order(func(v *pathmgr.View) ([]pathmgr.Command, bool) {
		do := []pathmgr.Command{pathmgr.Withdraw{Addr: addr}}
		for _, s := range v.Subflows {
			if !s.Established {
				return nil, false // the one to be closed, or to tell of it on
			}
			if s.Local.Addr() == addr {
				do = append(do, pathmgr.Close{ID: s.ID})
			}
		}
		return do, true
	})
}

// flush takes all endpoints away at once.
func (p *play) flush(at place) {
	p.t.Helper()
	if at == p.ours {
		p.remove(at, len(p.eps[at]))
		return
	}
	must(p.t, p.hosts[at].FlushEndpoints())
	p.eps[at] = nil
}

// prefer makes the subflows from an end's address on a link backups, or no
// longer.
func (p *play) prefer(at place, e endpoint) {
	p.t.Helper()
	addr := p.addr(at, e)
	if at != p.ours {
		must(p.t, p.hosts[at].ChangeEndpoint(p.kernelEndpoint(e)))
		return
	}
	p.manager.order(func(v *pathmgr.View) (do []pathmgr.Command, done bool) {
		for _, s := range v.Subflows {
			if s.Local.Addr() == addr && s.Established {
				do = append(do, pathmgr.SetBackup{ID: s.ID, Backup: e.backup})
			}
		}
		return do, do != nil
	})
}

// abort ends the connection at once at one end, and checks that the other learns
// of it.
func (p *play) abort(at place) {
	p.t.Helper()
	c := p.conns[at]
	if at == p.ours {
		must(p.t, p.conn.Abort())
	} else {
		must(p.t, c.(*net.TCPConn).SetLinger(0))
		must(p.t, c.Close())
	}
	if _, err := p.conns[at.other()].Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		p.t.Errorf("%v: %v", at.other(), err)
	}
}

// joined waits for the case's joins and announcements.
func (p *play) joined() {
	p.t.Helper()
	p.settle(slices.DeleteFunc(slices.Clone(p.want), func(c count) bool {
		return !strings.HasPrefix(c.name, "MPJoin") && !strings.Contains(c.name, "Add") || c.name == "RmAddr"
	}))
}

// await waits for counts.
func (p *play) await(want ...[]count) {
	p.t.Helper()
	p.settle(all(want...))
}
