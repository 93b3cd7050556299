package netio

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/mpnc/mpnc/internal/netio/rtnl"
	"github.com/mpnc/mpnc/internal/wire"
)

// lanes are the fast lanes of a Raw: which pairs of addresses may have one, and
// to which neighbour their frames go. What is known of them is asked for again
// after each change of links, addresses, routes, neighbours and IPsec policies.
type lanes struct {
	off    bool // none are wanted
	rt     *rtnl.Conn
	xfrm   *rtnl.Xfrm
	routes int    // subscription to changes; -1: none
	tell   func() // OnLaneChange

	age   atomic.Uint64                          // of the present; moved on by each change
	table atomic.Pointer[map[laneKey]*laneEntry] // copied when one is added

	mu     sync.Mutex // held by who asks the system, and to change the table
	broken map[int]bool
}

// laneKey is what a route depends on.
type laneKey struct {
	local, remote netip.Addr
	link          int
}

// laneEntry is what is known of one lane. But for shut it never changes.
type laneEntry struct {
	hop  rtnl.Hop
	ok   bool
	via  uint64
	age  uint64
	shut atomic.Bool // for good: a rule of this host's forbids what it carries
}

// maxLanes bounds the table: beyond it is begun anew.
const maxLanes = 4096

// laneHeaders is more than the headers of a train take.
const laneHeaders = 40 + 60

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
	return Lane{Train: e.hop.MaxTrain - laneHeaders, Via: e.via}
}

// find returns the entry of a pair, asking the system if what is known of it is
// of before the last change.
func (l *lanes) find(k laneKey) *laneEntry {
	age := l.age.Load()
	if e := l.get(k); e != nil && e.age == age {
		return e
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &laneEntry{age: age}
	if !l.broken[k.link] && !l.xfrm.Applies(k.local, k.remote) {
		e.hop, e.ok = l.rt.NextHop(k.remote, k.local, k.link)
		e.via = viaOf(&e.hop)
	}
	if old := l.get(k); old != nil && old.via == e.via {
		e.shut.Store(old.shut.Load())
	}
	l.put(k, e)
	return e
}

// viaOf tells one way out from another.
func viaOf(h *rtnl.Hop) uint64 {
	f := fnv.New64a()
	var b [28]byte
	binary.NativeEndian.PutUint64(b[:], uint64(h.Link))
	binary.NativeEndian.PutUint64(b[8:], uint64(h.MTU))
	copy(b[16:], h.Dst[:])
	copy(b[22:], h.Src[:])
	f.Write(b[:])
	return f.Sum64()
}

func (l *lanes) get(k laneKey) *laneEntry {
	if t := l.table.Load(); t != nil {
		return (*t)[k]
	}
	return nil
}

// put adds an entry. l.mu is held.
func (l *lanes) put(k laneKey, e *laneEntry) {
	table := make(map[laneKey]*laneEntry)
	if old := l.table.Load(); old != nil && len(*old) < maxLanes {
		for k, e := range *old {
			table[k] = e
		}
	}
	table[k] = e
	l.table.Store(&table)
}

// openLanes begins to watch what lanes depend on, unless none are wanted.
func (r *Raw) openLanes() error {
	l := &r.lanes
	l.rt = r.rt
	if l.off {
		return nil
	}
	l.xfrm = rtnl.OpenXfrm()
	if !l.xfrm.Known() {
		r.logf("packets leave one by one, not in trains: to know that no IPsec policy is meant for them takes CAP_NET_ADMIN")
	}
	if l.xfrm.Changes() < 0 {
		return nil
	}
	return r.wait.add(l.xfrm.Changes())
}

// told takes what fd tells, if it tells of changes, and reports whether it does.
func (r *Raw) told(fd int) bool {
	l := &r.lanes
	switch {
	case fd == r.routes.changes:
		if r.routes.settle() {
			l.changed()
		}
	case l.xfrm != nil && fd == l.xfrm.Changes():
		if rtnl.Drain(fd) {
			l.xfrm.List()
			l.changed()
		}
	default:
		return false
	}
	return true
}

// changed makes what is known old, and has those who asked ask again.
func (l *lanes) changed() {
	l.age.Add(1)
	if l.table.Load() != nil && l.tell != nil {
		l.tell()
	}
}

// refused ends the lane of a packet that this host's rules did not let out.
func (l *lanes) refused(pkt []byte, link int) {
	if e := l.of(pkt, link); e != nil && !e.shut.Swap(true) {
		l.changed()
	}
}

// fail ends all lanes of a link, whose interface does not take trains.
func (l *lanes) fail(link int) {
	l.mu.Lock()
	if l.broken == nil {
		l.broken = make(map[int]bool)
	}
	l.broken[link] = true
	l.mu.Unlock()
	l.changed()
}

// of returns the entry of a packet that is to leave; nil if there is none.
func (l *lanes) of(pkt []byte, link int) *laneEntry {
	if l.table.Load() == nil {
		return nil
	}
	var v view
	if v.ip(pkt) == 0 {
		return nil
	}
	return l.get(laneKey{v.src, v.dst, link})
}

// usable returns the entry of a train that may leave now; nil if it may not.
func (l *lanes) usable(pkt []byte, link int) *laneEntry {
	e := l.of(pkt, link)
	if e == nil || !e.ok || e.shut.Load() {
		return nil
	}
	return e
}
