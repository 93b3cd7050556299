package netio

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/netio/rtnl"
)

// routes remembers what the kernel answered about routes, until something changes
// of which an answer may depend. The kernel has told of a change before whoever
// made it goes on, so that it is enough to look before each use.
type routes struct {
	changes int // subscription; -1: none, and nothing is remembered

	mu    sync.Mutex
	age   uint64 // moved on by each change
	known map[routeKey]Route
	since mono.Time // the oldest of them
}

type routeKey struct {
	remote, local netip.Addr
	link          int
}

const (
	// maxRoutes bounds what is remembered: beyond it is begun anew.
	maxRoutes = 4096
	// routesLive is how long it is: the kernel does not tell when it learns that
	// packets to somebody have to be smaller, or forgets it.
	routesLive = mono.Time(time.Minute)
)

// open subscribes to changes, in the calling thread's namespace.
func (m *routes) open() (err error) {
	groups := slices.Concat(rtnl.LinkChanges, rtnl.RouteChanges)
	m.changes, err = rtnl.Subscribe(groups...)
	return err
}

// settle forgets everything if something has changed, and reports whether.
func (m *routes) settle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.settled()
}

// settled is settle. m.mu is held.
func (m *routes) settled() (changed bool) {
	if changed = rtnl.Drain(m.changes); changed {
		m.age++
		clear(m.known)
	}
	return changed
}

// get returns what is known of a route. age is that of the present.
func (m *routes) get(k routeKey, now mono.Time) (rt Route, known bool, age uint64, changed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	changed = m.settled()
	if now >= m.since+routesLive {
		clear(m.known)
	}
	rt, known = m.known[k]
	return rt, known, m.age, changed
}

// put remembers an answer to a question of that age.
func (m *routes) put(k routeKey, rt Route, age uint64, now mono.Time) (changed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if changed = m.settled(); m.age != age {
		return changed
	}
	if m.known == nil || len(m.known) == maxRoutes {
		m.known = make(map[routeKey]Route)
	}
	if len(m.known) == 0 {
		m.since = now
	}
	m.known[k] = rt
	return changed
}

// Route implements Device.
func (r *Raw) Route(remote, local netip.Addr, link int) (Route, error) {
	if !r.use() {
		return Route{}, net.ErrClosed
	}
	defer r.life.RUnlock()
	k := routeKey{remote, local, link}
	rt, known, age, changed := r.routes.get(k, r.now())
	if changed {
		r.lanes.changed()
	}
	if known {
		return rt, nil
	}
	found, err := r.rt.Lookup(remote, local, link)
	if err != nil {
		return Route{}, err
	}
	rt = Route{Local: found.Local, Link: found.Link, MTU: found.MTU}
	if r.routes.put(k, rt, age, r.now()) {
		r.lanes.changed()
	}
	return rt, nil
}
