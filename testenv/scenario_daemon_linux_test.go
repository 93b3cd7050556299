package testenv

import (
	"net"
	"net/netip"

	"github.com/mpnc/mpnc/mptcp"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What a program does that manages the paths of a kernel's connections, and what
// mpnc path does for one of ours.

// attend listens to the kernel's events: unless somebody does, it takes nothing
// of the peer's.
func (p *play) attend() {
	p.t.Helper()
	must(p.t, p.hosts[p.kernels()].Do(func() error {
		family, err := netlink.GenlFamilyGet(pmFamily)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
		if err != nil {
			return err
		}
		p.t.Cleanup(func() { _ = unix.Close(fd) })
		for _, g := range family.Groups {
			if g.Name == "mptcp_pm_events" {
				return unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(g.ID))
			}
		}
		return unix.ENOENT
	}))
}

// attendAt is attend, if the kernel is there.
func (p *play) attendAt(at place) {
	p.t.Helper()
	if at == p.kernels() {
		p.attend()
	}
}

// daemonID is the identifier of an address that a kernel announces or joins from.
const daemonID = 10

// token names the connection at the kernel.
func (p *play) token() uint32 { return p.conn.Info().PeerToken }

// announce tells the other end of an address.
func (p *play) announce(at place, e endpoint) {
	p.t.Helper()
	if at != p.ours {
		must(p.t, p.hosts[at].Announce(p.token(), Endpoint{Addr: p.addr(at, e), ID: daemonID, Port: e.port}))
		return
	}
	p.manager.order(func(*pathmgr.View) ([]pathmgr.Command, bool) {
		return []pathmgr.Command{pathmgr.Advertise{Local: pathmgr.Local{Addr: p.addr(at, e)}, Port: e.port}}, true
	})
}

// retract takes the address back.
func (p *play) retract(at place, e endpoint) {
	p.t.Helper()
	if at != p.ours {
		must(p.t, p.hosts[at].Withdraw(p.token(), daemonID))
		return
	}
	p.manager.order(func(*pathmgr.View) ([]pathmgr.Command, bool) {
		return []pathmgr.Command{pathmgr.Withdraw{Addr: p.addr(at, e)}}, true
	})
}

// receive makes an end take joins at a port.
func (p *play) receive(at place, e endpoint) {
	p.t.Helper()
	var ln net.Listener
	addr := netip.AddrPortFrom(p.addr(at, e), e.port).String()
	if at == p.ours {
		var err error
		ln, err = p.stack.Listen("tcp", addr)
		must(p.t, err)
	} else {
		var lc net.ListenConfig
		lc.SetMultipathTCP(true)
		must(p.t, p.hosts[at].Do(func() (err error) {
			ln, err = lc.Listen(p.ctx, "tcp", addr)
			return err
		}))
	}
	p.t.Cleanup(func() { _ = ln.Close() })
}

// create joins from one end's address to the other's.
func (p *play) create(from place, local, remote endpoint) {
	p.t.Helper()
	to := netip.AddrPortFrom(p.addr(from.other(), remote), remote.port)
	if from != p.ours {
		must(p.t, p.hosts[from].CreateSubflow(p.token(), Endpoint{Addr: p.addr(from, local), ID: daemonID}, to))
		return
	}
	must(p.t, p.conn.AddPath(p.ctx, p.addr(from, local), to, false))
}

// destroy ends the subflow beside the first.
func (p *play) destroy(at place) {
	p.t.Helper()
	sf := p.further()
	if at == p.ours {
		must(p.t, p.conn.RemovePath(sf.ID))
	} else {
		must(p.t, p.hosts[at].DestroySubflow(p.token(),
			Endpoint{Addr: sf.Tuple.Remote.Addr(), Port: sf.Tuple.Remote.Port()}, sf.Tuple.Local))
	}
	until(p.t, "the subflow gone", func() bool { return p.ourCounters()["RmSubflow"] == 1 })
}

// end ends the subflow beside the first, which may be gone with its address.
func (p *play) end(at place) {
	p.t.Helper()
	if at == p.kernels() {
		p.destroy(at)
	}
	until(p.t, "the subflow gone", func() bool { return p.ourCounters()["RmSubflow"] == 1 })
}

// spare makes the first subflow a backup.
func (p *play) spare(at place) {
	p.t.Helper()
	sf := p.conn.Subflows()[0]
	if at == p.ours {
		must(p.t, p.conn.SetBackup(sf.ID, true))
		return
	}
	must(p.t, p.hosts[at].SubflowPriority(p.token(),
		Endpoint{Addr: sf.Tuple.Remote.Addr(), Port: sf.Tuple.Remote.Port(), Backup: true}, sf.Tuple.Local))
}

// further is our side's view of the subflow that is up beside the first.
func (p *play) further() (sf mptcp.SubflowStats) {
	p.t.Helper()
	until(p.t, "a further subflow", func() bool {
		for _, s := range p.conn.Subflows() {
			if s.Up && !s.First && !s.Ended {
				sf = s
				return true
			}
		}
		return false
	})
	return sf
}

// port is that of one end of the connection.
func (p *play) port(at place) uint16 {
	info := p.conn.Info()
	if at == p.ours {
		return info.Local.Port()
	}
	return info.Remote.Port()
}

// announcing has one end announce an address, and take it back.
func announcing(by place, e endpoint) func(*play) {
	return func(p *play) {
		p.attend()
		p.announce(by, e)
		p.await(told(by, 1, 1))
		p.retract(by, e)
	}
}

// creating has one end announce an address, and the other join it, and then end
// the subflow again.
func creating(from place, local, remote endpoint) func(*play) {
	return func(p *play) {
		p.attend()
		p.announce(from.other(), remote)
		p.await(told(from.other(), 1, 1))
		at := remote
		if at.port == 0 { // that of the connection
			at.port = p.port(from.other())
		}
		if at.port != scenarioPort {
			p.receive(from.other(), at)
		}
		p.create(from, local, at)
		p.await(joinsFrom(from, 1))
		p.talk(2)
		p.destroy(from)
		p.retract(from.other(), remote)
	}
}

// joinsFrom are n joins that one end made, and the other confirmed.
func joinsFrom(from place, n int64) []count {
	return []count{{from.other(), "MPJoinSynRx", n}, {from, "MPJoinSynAckRx", n}, {from.other(), "MPJoinAckRx", n}}
}

// withdrawn: addresses that the other end was told are gone.
func withdrawn(by place, n int64) []count { return []count{{by.other(), "RmAddr", n}} }
