package netio

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/netio/rtnl"
	"github.com/mpnc/mpnc/internal/wire"
)

// lanes are the fast lanes of a Raw: which pairs of addresses may have one, and
// to which neighbour their frames go. What is known of them is asked for again
// after each change of links, addresses, routes, IPsec policies, and of the
// neighbours that they lead to; until then it is used as it is, but not after a
// change of policies.
type lanes struct {
	off   bool // none are wanted
	now   func() mono.Time
	rt    *rtnl.Conn
	xfrm  *rtnl.Xfrm
	neigh int    // subscription to neighbours' changes; -1: none
	tell  func() // OnLaneChange

	age  atomic.Uint64 // of the present; moved on by each change
	safe atomic.Uint64 // what is older than this may be for a new IPsec policy

	asking sync.Mutex // held by who asks the system

	mu         sync.RWMutex // leaf
	table      map[laneKey]*laneEntry
	neighbours map[linkFamily]map[netip.Addr]rtnl.MAC // as listed; those of a link go with its next change
	heard      uint64                                 // changes of neighbours so far
	broken     map[int]bool                           // links whose interfaces do not take trains
	swept      mono.Time                              // when entries were made old to see which are in use
}

// laneKey is what a route depends on.
type laneKey struct {
	local, remote netip.Addr
	link          int
}

type linkFamily struct {
	link int
	is6  bool
}

// laneEntry is what is known of one lane. But for shut it never changes.
type laneEntry struct {
	hop  rtnl.Hop // Addr is valid if there is a next hop, whether a lane or not
	dst  rtnl.MAC // its link-layer address
	ok   bool
	via  uint64
	age  uint64
	shut atomic.Bool // for good: a rule of this host's forbids what it carries
}

const (
	// maxLanes bounds the table. What was not asked for again since the last
	// change makes way.
	maxLanes = 4096
	// sweepEvery bounds how often all have to ask again only to make way.
	sweepEvery = mono.Time(60e9)
	// laneHeaders is more than the headers of a train take.
	laneHeaders = 40 + 60
)

// LaneTrouble implements Laner.
func (r *Raw) LaneTrouble() error {
	if r.lanes.off || r.lanes.xfrm.Known() {
		return nil
	}
	return errors.New("to know that no IPsec policy is meant for them takes CAP_NET_ADMIN")
}

// OnLaneChange implements Laner.
func (r *Raw) OnLaneChange(f func()) { r.lanes.tell = f }

// Lane implements Laner. There is none on the loopback, whose packets are as
// long as trains, and none by a route that leads through a tunnel or is for an
// IPsec policy; what a lane sends is never wrapped.
func (r *Raw) Lane(t wire.Tuple, link int) Lane {
	if r.lanes.off || link == rtnl.Loopback || !r.use() {
		return Lane{}
	}
	defer r.life.RUnlock()
	e := r.lanes.find(laneKey{t.Local.Addr(), t.Remote.Addr(), link})
	if !e.ok || e.shut.Load() {
		return Lane{}
	}
	return Lane{Train: e.hop.MaxTrain - laneHeaders, Via: e.via, Tracked: r.tracks()}
}

// tracks reports whether connections of the device's namespace are tracked now: ours
// is one of them then.
func (r *Raw) tracks() (yes bool) {
	r.ns.do(func() {
		n, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			yes = true
		default:
			yes = strings.TrimSpace(string(n)) != "0"
		}
	})
	return yes
}

// find returns the entry of a pair, asking the system if what is known of it is
// of before the last change.
func (l *lanes) find(k laneKey) *laneEntry {
	l.asking.Lock()
	defer l.asking.Unlock()
	age := l.age.Load() // before asking: what changes meanwhile is asked for again
	if e := l.get(k); e != nil && e.age == age {
		return e
	}
	for tries := 0; ; tries++ {
		heard := l.neighboursHeard()
		e := l.ask(k)
		e.age = age
		l.put(k, e)
		// A neighbour that changed after it was looked up, and before it was known
		// who wanted to know, was passed over.
		if l.neighboursHeard() == heard || tries == 3 {
			return e
		}
	}
}

func (l *lanes) neighboursHeard() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.heard
}

// ask asks the system about a pair. l.asking is held.
func (l *lanes) ask(k laneKey) *laneEntry {
	e := new(laneEntry)
	if l.isBroken(k.link) || l.xfrm.Applies(k.local, k.remote) {
		return e
	}
	if e.hop, e.ok = l.rt.NextHop(k.remote, k.local, k.link); e.ok {
		e.dst, e.ok = l.neighbour(linkFamily{k.link, e.hop.Addr.Is6()}, e.hop.Addr)
	}
	e.via = viaOf(e)
	return e
}

// neighbour finds the link-layer address of a neighbour. All of a link's are
// listed at once: as a rule many lanes lead by one link.
func (l *lanes) neighbour(f linkFamily, a netip.Addr) (mac rtnl.MAC, ok bool) {
	l.mu.RLock()
	known, heard, age := l.neighbours[f], l.heard, l.age.Load()
	l.mu.RUnlock()
	if known == nil {
		var err error
		if known, err = l.rt.Neighbours(f.link, f.is6); err != nil {
			return mac, false
		}
		l.mu.Lock()
		if l.heard == heard && l.age.Load() == age {
			l.neighbours[f] = known
		}
		l.mu.Unlock()
	}
	mac, ok = known[a]
	return mac, ok
}

// viaOf tells one way out from another.
func viaOf(e *laneEntry) uint64 {
	f := fnv.New64a()
	var b [28]byte
	binary.NativeEndian.PutUint64(b[:], uint64(e.hop.Link))
	binary.NativeEndian.PutUint64(b[8:], uint64(e.hop.MTU))
	copy(b[16:], e.dst[:])
	copy(b[22:], e.hop.Src[:])
	f.Write(b[:])
	return f.Sum64()
}

func (l *lanes) get(k laneKey) *laneEntry {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.table[k]
}

// put keeps an entry. A rule that forbade the same way out before does so still.
// l.asking is held.
func (l *lanes) put(k laneKey, e *laneEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.table[k]
	if old != nil && old.via == e.via {
		e.shut.Store(old.shut.Load())
	}
	if old == nil && len(l.table) >= maxLanes && !l.makeRoom(e.age) {
		e.ok = false // those that it has are in use
		return
	}
	l.table[k] = e
}

// makeRoom forgets entries of before age. If there are none all become old, so
// that those in use show: not too often. l.mu is held.
func (l *lanes) makeRoom(age uint64) bool {
	for k, e := range l.table {
		if e.age != age {
			delete(l.table, k)
		}
	}
	if len(l.table) < maxLanes {
		return true
	}
	if now := l.now(); now >= l.swept+sweepEvery {
		l.swept = now
		l.age.Add(1)
		if l.tell != nil {
			l.tell()
		}
	}
	return false
}

// openLanes begins to watch what lanes depend on beside routes, unless none are
// wanted.
func (r *Raw) openLanes() (err error) {
	l := &r.lanes
	l.now, l.rt, l.neigh = r.now, r.rt, -1
	l.table = make(map[laneKey]*laneEntry)
	l.neighbours = make(map[linkFamily]map[netip.Addr]rtnl.MAC)
	l.broken = make(map[int]bool)
	l.swept = -sweepEvery
	if l.off {
		return nil
	}
	l.xfrm = rtnl.OpenXfrm()
	if l.neigh, err = rtnl.Subscribe(rtnl.NeighbourChanges...); err != nil {
		return err
	}
	for _, fd := range []int{l.neigh, l.xfrm.Changes()} {
		if fd < 0 {
			continue
		}
		if err := r.wait.add(fd); err != nil {
			return err
		}
	}
	return nil
}

func (l *lanes) close() {
	if l.xfrm == nil {
		return
	}
	l.xfrm.Close()
	if l.neigh >= 0 {
		unix.Close(l.neigh)
	}
}

// told takes what fd tells, if it tells of changes, and reports whether it does.
func (r *Raw) told(fd int) bool {
	l := &r.lanes
	switch {
	case fd == r.routes.changes:
		if r.routes.settle() {
			l.changed()
		}
	case l.off:
		return false
	case fd == l.neigh:
		l.neighboursChanged()
	case fd == l.xfrm.Changes():
		if rtnl.Drain(fd) {
			l.xfrm.List()
			l.safe.Store(l.age.Load() + 1)
			l.changed()
		}
	default:
		return false
	}
	return true
}

// neighboursChanged looks whether a lane leads to one of those that changed.
// Most changes are of others, or confirm what is known.
func (l *lanes) neighboursChanged() {
	matters := false
	lost := rtnl.DrainNeighbours(l.neigh, func(n rtnl.Neighbour) {
		l.mu.Lock()
		l.heard++
		delete(l.neighbours, linkFamily{n.Link, n.Addr.Is6()})
		l.mu.Unlock()
		matters = matters || l.leadsElsewhere(n)
	})
	if matters || lost {
		l.changed()
	}
}

// leadsElsewhere reports whether a lane does not go to n as n is now.
func (l *lanes) leadsElsewhere(n rtnl.Neighbour) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	age := l.age.Load()
	for _, e := range l.table {
		if e.age == age && e.hop.Link == n.Link && e.hop.Addr == n.Addr && (e.ok != n.Usable || e.ok && e.dst != n.MAC) {
			return true
		}
	}
	return false
}

// changed makes what is known old, and has those who asked ask again.
func (l *lanes) changed() {
	l.mu.Lock()
	l.age.Add(1)
	clear(l.neighbours)
	used := len(l.table) > 0
	l.mu.Unlock()
	if used && l.tell != nil {
		l.tell()
	}
}

// refused ends the lane of a packet that this host's rules did not let out.
func (l *lanes) refused(pkt []byte, link int) {
	if e := l.of(pkt, link); e != nil && !e.shut.Swap(true) {
		l.changed()
	}
}

// fail ends all lanes of a link, whose interface does not take trains, as long as
// it is there.
func (l *lanes) fail(link int) {
	l.mu.Lock()
	l.broken[link] = true
	l.mu.Unlock()
	l.changed()
}

func (l *lanes) isBroken(link int) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.broken[link]
}

// keep forgets what is known of links that are gone.
func (l *lanes) keep(keep func(link int) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for link := range l.broken {
		if !keep(link) {
			delete(l.broken, link)
		}
	}
}

// of returns the entry of a packet that is to leave; nil if there is none.
func (l *lanes) of(pkt []byte, link int) *laneEntry {
	if l.off {
		return nil
	}
	var v view
	if v.ip(pkt) == 0 {
		return nil
	}
	return l.get(laneKey{v.src, v.dst, link})
}

// usable returns the entry of a train of segments of seg octets that may leave
// now; nil if it may not.
func (l *lanes) usable(pkt []byte, seg, link int) *laneEntry {
	e := l.of(pkt, link)
	if e == nil || !e.ok || e.age < l.safe.Load() || e.shut.Load() || headersOf(pkt)+seg > e.hop.MTU {
		return nil
	}
	return e
}
