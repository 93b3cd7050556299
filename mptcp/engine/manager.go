package engine

import (
	"net/netip"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/scheduler"
)

// managerState is what the engine keeps for the path manager of a connection.
type managerState struct {
	m       pathmgr.Manager
	started bool // Established was told
	running bool // Handle is being called: events wait in queue
	queue   []pathmgr.Event
	early   []pathmgr.Open // asked for before a DSS was heard
	do      []pathmgr.Command

	wanted  []wanted
	nextReq PathRequest
	tries   []portTry
}

// wanted is a WantPath that was not answered yet.
type wanted struct {
	req      PathRequest
	local    netip.Addr
	remote   netip.AddrPort
	link     int
	backup   bool
	remoteID uint8
}

func (w wanted) localPort() netip.AddrPort { return netip.AddrPortFrom(w.local, 0) }

// portTry remembers that the first subflow's port was tried on an address:
// once is enough, for the peer may still know the old pair.
type portTry struct{ local netip.Addr }

// maxWanted bounds the subflows being opened at one time.
const maxWanted = 16

// take removes and returns the request r.
func (m *managerState) take(r PathRequest) (wanted, bool) {
	for i, w := range m.wanted {
		if w.req == r {
			m.wanted = append(m.wanted[:i], m.wanted[i+1:]...)
			return w, true
		}
	}
	return wanted{}, false
}

// tell hands an event to the manager and carries its commands out. Events that
// arise meanwhile wait their turn.
func (c *Conn) tell(now mono.Time, ev pathmgr.Event) {
	if c.mode != multipath || c.phase != open || !c.mgr.started || c.cfg.Manager == nil || c.settled() {
		return
	}
	if c.mgr.m == nil {
		c.mgr.m = c.cfg.Manager()
	}
	c.mgr.queue = append(c.mgr.queue, ev)
	if c.mgr.running {
		return
	}
	c.mgr.running = true
	for i := 0; i < len(c.mgr.queue); i++ {
		v := c.managerView()
		c.mgr.do = c.mgr.m.Handle(now, c.mgr.queue[i], &v, c.mgr.do[:0])
		for _, cmd := range c.mgr.do {
			c.carryOut(now, cmd)
		}
	}
	c.mgr.queue = c.mgr.queue[:0]
	c.mgr.running = false
}

// managerView is the connection as the manager sees it.
func (c *Conn) managerView() pathmgr.View {
	v := pathmgr.View{
		Client: c.client, Local: c.local, Remote: c.remote, NoJoin: c.noJoinFirst,
		Bound: c.bound, Locals: c.addrs.locals, Peers: c.addrs.peers,
	}
	for _, p := range c.paths {
		v.Subflows = append(v.Subflows, p.view())
	}
	for _, w := range c.mgr.wanted {
		v.Subflows = append(v.Subflows, pathmgr.Subflow{
			ID: -1, Local: w.localPort(), Remote: w.remote, Link: w.link, Backup: w.backup,
		})
	}
	return v
}

func (c *Conn) carryOut(now mono.Time, cmd pathmgr.Command) {
	switch cmd := cmd.(type) {
	case pathmgr.Open:
		c.want(cmd)
	case pathmgr.Close:
		if p := c.pathByID(scheduler.PathID(cmd.ID)); p != nil && !p.closing {
			c.closePath(now, p, cmd.Reason)
		}
	case pathmgr.Watch:
		if p := c.pathByID(scheduler.PathID(cmd.ID)); p != nil {
			p.watch = cmd.Octets
		}
	case pathmgr.SetBackup:
		if p := c.pathByID(scheduler.PathID(cmd.ID)); p != nil && p.up && p.backup != cmd.Backup {
			p.backup = cmd.Backup
			p.sendPrio = true
			p.signal()
			c.tellNews(Priority{p.info()})
		}
	case pathmgr.Advertise:
		c.advertise(now, cmd.Local.Addr, cmd.Port)
	case pathmgr.Withdraw:
		c.withdraw(now, cmd.Addr)
	case pathmgr.Wake:
		c.timers.Set(tManager, cmd.At)
	}
}

// closePath ends a path as its manager asks.
func (c *Conn) closePath(now mono.Time, p *path, reason pathmgr.Reason) {
	switch {
	case !p.up:
		p.end(reason) // the peer learns with its answer that nobody is there
		return
	case reason == pathmgr.TimedOut:
		p.reset(wire.ResetBadPerformance) // no FIN is to be expected of it
	default:
		p.close(now)
	}
	p.downReason = reason
	c.lose(p)
	c.suspected(now)
}

// tellCarried tells the manager of the paths that have carried as much as it
// asked to be told of.
func (c *Conn) tellCarried(now mono.Time) {
	for _, p := range c.paths {
		if p.watch != 0 && p.carried() >= p.watch {
			p.watch = 0
			c.tell(now, pathmgr.Carried{ID: pathmgr.PathID(p.id)})
		}
	}
}

// want asks the driver for a port and a route for a new subflow.
func (c *Conn) want(o pathmgr.Open) {
	if !o.More && c.hasPath(o.Local.Addr, o.Remote) {
		return
	}
	if !c.rx.dssSeen && c.alive() { //spec:H22 off: if false {
		// RFC 8684, Section 3.1: no subflow before a DSS was received.
		if len(c.mgr.early) < maxWanted {
			c.mgr.early = append(c.mgr.early, o)
		}
		return
	}
	if len(c.mgr.wanted)+c.livePaths() >= c.limits.Subflows || len(c.mgr.wanted) >= maxWanted {
		return
	}
	c.mgr.nextReq++
	w := wanted{
		req: c.mgr.nextReq, local: o.Local.Addr, remote: o.Remote, link: o.Local.Link,
		backup: o.Backup, remoteID: c.addrs.peerID(o.Remote),
	}
	c.mgr.wanted = append(c.mgr.wanted, w)
	c.emit(WantPath{
		Req: w.req, Local: w.local, Port: c.preferredPort(w.local), Remote: w.remote, Link: w.link,
	})
}

// hasPath reports whether there is a path between the ends, or one on its way.
func (c *Conn) hasPath(local netip.Addr, remote netip.AddrPort) bool {
	for _, p := range c.paths {
		if p.tuple.Local.Addr() == local && p.tuple.Remote == remote && !p.closing && !p.gone &&
			!(p.up && p.silent()) {
			return true
		}
	}
	for _, w := range c.mgr.wanted {
		if w.local == local && w.remote == remote {
			return true
		}
	}
	return false
}

// openEarly opens what a manager asked for too early.
func (c *Conn) openEarly() {
	early := c.mgr.early
	c.mgr.early = nil
	for _, o := range early {
		c.want(o)
	}
}

// preferredPort: the first subflow's port is reused on another address
// (RFC 8684, Section 3.9.1), but never twice on one.
func (c *Conn) preferredPort(a netip.Addr) uint16 {
	if a == c.local.Addr() {
		return 0
	}
	for _, t := range c.mgr.tries {
		if t.local == a {
			return 0
		}
	}
	if len(c.mgr.tries) < maxWanted {
		c.mgr.tries = append(c.mgr.tries, portTry{a})
	}
	return c.local.Port() //spec:J14 off: return 0
}
