package mptcp

import (
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/mptcp/engine"
	"github.com/mpnc/mpnc/pathmgr"
)

// worker is the goroutine for what may take time: finding routes and ports for
// new paths, and telling connections of this host's addresses.
type worker struct {
	wake chan struct{} // capacity one: there are jobs
	done chan struct{} // closed by close

	mu   sync.Mutex // leaf
	jobs []job
	end  bool
}

// job is one thing to do for one connection.
type job struct {
	conn *Conn
	kind jobKind
	want engine.WantPath // of jobPath
	lane engine.WantLane // of jobLane
}

type jobKind uint8

const (
	jobPath   jobKind = iota // open the path that the connection wants
	jobLocals                // tell the connection of the addresses
	jobLane                  // find out about the fast lane of a path
	jobLanes                 // have all connections ask for theirs again
)

// add gives the worker a job. It takes only a leaf lock.
func (w *worker) add(j job) {
	w.mu.Lock()
	if !w.end {
		w.jobs = append(w.jobs, j)
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *worker) take() []job {
	w.mu.Lock()
	defer w.mu.Unlock()
	jobs := w.jobs
	w.jobs = nil
	return jobs
}

func (w *worker) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.end {
		w.end = true
		close(w.done)
	}
}

// work is the worker's loop.
func (s *Stack) work() {
	var changed <-chan struct{}
	if s.cfg.Monitor != nil {
		changed = s.cfg.Monitor.Changed()
	}
	for {
		select {
		case <-s.worker.done:
			return
		case <-s.worker.wake:
			s.doJobs()
		case _, ok := <-changed:
			if !ok {
				changed = nil
				continue
			}
			s.localsChanged()
		}
	}
}

func (s *Stack) doJobs() {
	known := make(knownLocals)
	for _, j := range s.worker.take() {
		switch j.kind {
		case jobPath:
			s.openPath(j.conn, j.want)
		case jobLocals:
			j.conn.tellLocals(s.localsTowards(j.conn, known))
			s.remember(known)
		case jobLane:
			s.findLane(j.conn, j.lane)
		case jobLanes:
			s.lanesChanged()
		}
	}
}

// openPath finds a route and a port for a path, and tells the connection.
func (s *Stack) openPath(c *Conn, w engine.WantPath) {
	ch := s.chores()
	defer ch.finish()
	dev, route, err := s.route(w.Remote.Addr(), w.Local, w.Link)
	var g *guard
	if err == nil {
		g, err = s.pathPort(dev, w, onLink(w.Local, route.Link))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := s.now()
	switch {
	case c.ended:
		if g != nil {
			s.mu.Lock()
			s.drop(g, ch)
			s.mu.Unlock()
		}
		return
	case err != nil:
		s.stats.refusedPaths.Add(1)
		c.pathRefused(w, err)
		c.core.PathRefused(now, w.Req)
	default:
		t := wire.Tuple{Local: netip.AddrPortFrom(w.Local, g.pair.Port()), Remote: w.Remote}
		s.mu.Lock()
		c.hold(t, g)
		s.mu.Unlock()
		c.pathBound(w.Req, t)
		c.core.OpenPath(now, w.Req, t, dev.base|route.Link, route.MTU)
	}
	c.poll(now, nil, ch)
}

// pathPort takes the port that a path prefers, or else any.
func (s *Stack) pathPort(dev *device, w engine.WantPath, local netip.Addr) (*guard, error) {
	if w.Port != 0 {
		at := netip.AddrPortFrom(w.Local, w.Port)
		s.mu.RLock()
		taken := s.ep.Lookup(wire.Tuple{Local: at, Remote: w.Remote}) != nil
		s.mu.RUnlock()
		if !taken {
			if g, err := s.acquire(dev, netip.AddrPortFrom(local, w.Port), false, true); err == nil {
				return g, nil
			}
		}
	}
	return s.acquire(dev, netip.AddrPortFrom(local, 0), false, false)
}

// localsChanged tells all connections what changed on this host. Connections
// to one peer share one look.
func (s *Stack) localsChanged() {
	for _, p := range *s.ports.Load() {
		p.trim()
	}
	s.mtus.Clear()
	s.mu.Lock()
	s.locals = nil
	s.mu.Unlock()
	known := make(knownLocals)
	for _, c := range s.snapshot() {
		c.tellLocals(s.localsTowards(c, known))
	}
}

// maxPeers bounds the peer's addresses that are looked at.
const maxPeers = 8

// learn keeps an address of the peer's and reports whether it is new. c.mu is
// held.
func (c *Conn) learn(a netip.Addr) bool {
	if len(c.peers) == maxPeers || slices.Contains(c.peers, a) {
		return false
	}
	c.peers = append(c.peers, a)
	return true
}

// knownLocals are the addresses that can reach a peer's, by that.
type knownLocals map[netip.Addr][]pathmgr.Local

// maxKnown bounds what is remembered: beyond it is begun anew.
const maxKnown = 1024

// remember keeps what the worker found out, until something changes, for the
// connections that come.
func (s *Stack) remember(known knownLocals) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.locals == nil || len(s.locals) > maxKnown {
		s.locals = make(knownLocals)
	}
	maps.Copy(s.locals, known)
}

// towards returns the addresses that can reach a connection's peer: first those
// that lead to its first address, then those that lead to others that it
// advertised, which may be of another family. It is false if some are not known.
func (known knownLocals) towards(peers []netip.Addr) (all []pathmgr.Local, ok bool) {
	for _, remote := range peers {
		locals, ok := known[remote]
		if !ok {
			return nil, false
		}
		for _, l := range locals {
			if !slices.ContainsFunc(all, same(l)) {
				all = append(all, l)
			}
		}
	}
	return all, true
}

// wantLocals has the connection told of this host's addresses: at once, if they
// are known. Stack.mu and c.mu are held, or nobody else knows c.
func (c *Conn) wantLocals(now Time) {
	s := c.stack
	if s.cfg.Monitor == nil {
		return
	}
	if locals, ok := s.locals.towards(c.peers); ok {
		c.adoptLocals(now, locals)
		return
	}
	s.worker.add(job{conn: c, kind: jobLocals})
}

// localsTowards finds out what is not known yet of the addresses that can reach
// the connection's peer, and returns them.
func (s *Stack) localsTowards(c *Conn, known knownLocals) []pathmgr.Local {
	c.mu.Lock()
	peers := slices.Clone(c.peers)
	c.mu.Unlock()
	for _, remote := range peers {
		if _, ok := known[remote]; !ok {
			known[remote] = s.cfg.Monitor.Locals(remote)
		}
	}
	all, _ := known.towards(peers)
	return all
}

// tellLocals tells the connection of this host's addresses.
func (c *Conn) tellLocals(locals []pathmgr.Local) {
	ch := c.stack.chores()
	defer ch.finish()
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.stack.now()
	if c.adoptLocals(now, locals) {
		c.poll(now, nil, ch)
	}
}

// adoptLocals tells the core how this host's addresses differ from what it was
// told before: those that went first, so that their paths are quiet when new
// ones come. It reports whether they do. c.mu is held, or nobody else knows c.
func (c *Conn) adoptLocals(now Time, locals []pathmgr.Local) bool {
	if c.ended || slices.Equal(c.locals, locals) {
		return false
	}
	before := c.locals
	c.locals = locals
	for _, l := range before {
		if !slices.ContainsFunc(locals, same(l)) {
			c.core.HandleLocal(now, pathmgr.LocalDown{Local: l})
		}
	}
	for _, l := range locals {
		if !slices.Contains(before, l) { // new, or known with other properties
			c.core.HandleLocal(now, pathmgr.LocalUp{Local: l})
		}
	}
	c.core.HandleLocal(now, pathmgr.RouteChanged{})
	return true
}

// same reports whether a Local is l: the same address on the same link.
func same(l pathmgr.Local) func(pathmgr.Local) bool {
	return func(m pathmgr.Local) bool { return l.Addr == m.Addr && l.Link == m.Link }
}
