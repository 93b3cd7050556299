package engine

import (
	"crypto/subtle"
	"net/netip"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/trace"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/scheduler"
	"github.com/mpnc/mpnc/subflow"
)

// Bounds on what a peer may make us keep and do (RFC 8684, Section 5).
const (
	maxPeers   = 8
	maxAdverts = 8
	maxRepeats = 3 // retransmissions of an ADD_ADDR without echo
)

// addrState keeps the address identifiers of both sides
// (RFC 8684, Section 3.4.1).
type addrState struct {
	locals  []pathmgr.Local
	down    []pathmgr.Local // were local once
	ids     []netip.Addr    // ids[i] has address identifier i; 0 is the first subflow's
	peers   []pathmgr.Peer
	adverts []advert
	removes []removal
}

// removal says on which path the peer was last told that an address is gone.
// What is said of the address after that goes the same way, not to overtake it.
type removal struct {
	addr netip.Addr
	path scheduler.PathID
}

// removedOn notes the path of a REMOVE_ADDR.
func (a *addrState) removedOn(addr netip.Addr, path scheduler.PathID) {
	for i := range a.removes {
		if a.removes[i].addr == addr {
			a.removes[i].path = path
			return
		}
	}
	if len(a.removes) == maxAdverts {
		a.removes = append(a.removes[:0], a.removes[1:]...)
	}
	a.removes = append(a.removes, removal{addr, path})
}

// pathAfter is where to send an ADD_ADDR of the address.
func (c *Conn) pathAfter(addr netip.Addr) *path {
	for _, r := range c.addrs.removes {
		if r.addr != addr {
			continue
		}
		if p := c.pathByID(r.path); p != nil && p.alive() && !p.closing {
			return p
		}
	}
	return c.signalPath(netip.Addr{})
}

// advert is an address of ours that the peer is told of.
type advert struct {
	id     uint8
	addr   netip.Addr
	port   uint16
	tries  int
	echoed bool
}

// echo is the answer to an ADD_ADDR.
type echo struct {
	id   uint8
	addr netip.Addr
	port uint16
}

// addLocal notes an address of this host's.
func (a *addrState) addLocal(l pathmgr.Local) {
	a.locals = append(without(a.locals, l.Addr), l)
	a.down = without(a.down, l.Addr)
}

// removeLocal notes that an address is gone.
func (c *Conn) removeLocal(l pathmgr.Local) {
	a := &c.addrs
	a.locals = without(a.locals, l.Addr)
	a.down = append(without(a.down, l.Addr), l)
	for i := 0; i < len(a.down) && len(a.down) > maxDown; {
		if c.uses(a.down[i].Addr) {
			i++ // its path must stay silent
			continue
		}
		a.down = append(a.down[:i], a.down[i+1:]...)
	}
}

// maxDown bounds the addresses that are remembered as gone though no path has
// them.
const maxDown = 64

func without(ls []pathmgr.Local, addr netip.Addr) []pathmgr.Local {
	for i, l := range ls {
		if l.Addr == addr {
			return append(ls[:i], ls[i+1:]...)
		}
	}
	return ls
}

// works reports whether a path may send: its address is not gone, nor is its
// link, which is gone with the last address on it. (A path that the peer opened
// leaves by the link it came in, whichever link has its address.)
func (a *addrState) works(p *path) bool {
	linkGone := false
	for _, l := range a.down {
		if l.Addr == p.tuple.Local.Addr() {
			return false
		}
		linkGone = linkGone || l.Link == p.link
	}
	if !linkGone {
		return true
	}
	for _, l := range a.locals {
		if l.Link == p.link {
			return true
		}
	}
	return false
}

// isDown reports whether an address was this host's and is not any more.
func (a *addrState) isDown(addr netip.Addr) bool {
	for _, l := range a.down {
		if l.Addr == addr {
			return true
		}
	}
	return false
}

// localID returns the identifier of a local address, a new one if it has none.
// There are 256: a host that went through more addresses uses those of addresses
// that are gone again.
func (c *Conn) localID(addr netip.Addr) uint8 {
	a := &c.addrs
	for i, o := range a.ids {
		if o == addr {
			return uint8(i)
		}
	}
	if len(a.ids) < 256 {
		a.ids = append(a.ids, addr)
		return uint8(len(a.ids) - 1)
	}
	for i := 1; i < 256; i++ { // 0 is the first subflow's for ever
		if o := a.ids[i]; !a.isLocal(o) && !c.uses(o) {
			a.ids[i] = addr
			return uint8(i)
		}
	}
	return 255
}

// uses reports whether a path has the local address, or had it and waits for it.
func (c *Conn) uses(addr netip.Addr) bool {
	for _, p := range c.paths {
		if p.tuple.Local.Addr() == addr {
			return true
		}
	}
	return false
}

// isLocal reports whether an address is this host's now.
func (a *addrState) isLocal(addr netip.Addr) bool {
	for _, l := range a.locals {
		if l.Addr == addr {
			return true
		}
	}
	return false
}

// peerID returns the identifier under which the peer advertised an address.
func (a *addrState) peerID(remote netip.AddrPort) uint8 {
	for _, p := range a.peers {
		if p.Addr == remote {
			return p.ID
		}
	}
	return 0
}

// advertise queues an ADD_ADDR.
func (c *Conn) advertise(now mono.Time, addr netip.Addr, port uint16) {
	for i := range c.addrs.adverts {
		if c.addrs.adverts[i].addr == addr {
			return
		}
	}
	if len(c.addrs.adverts) == maxAdverts {
		return
	}
	c.addrs.adverts = append(c.addrs.adverts, advert{id: c.localID(addr), addr: addr, port: port})
	if !c.timers.Armed(tAddAddr) {
		c.sendAdvert(now)
	}
}

// readvertise tries again to tell of the addresses that the peer has not echoed:
// a new path may do better than those that were tried.
func (c *Conn) readvertise(now mono.Time) {
	some := false
	for i := range c.addrs.adverts {
		if a := &c.addrs.adverts[i]; !a.echoed && a.tries > maxRepeats {
			a.tries, some = 0, true
		}
	}
	if some && !c.timers.Armed(tAddAddr) {
		c.sendAdvert(now)
	}
}

// sendAdvert sends the first ADD_ADDR that has no echo; one at a time.
func (c *Conn) sendAdvert(now mono.Time) {
	for i := range c.addrs.adverts {
		a := &c.addrs.adverts[i]
		if a.echoed || a.tries > maxRepeats { //spec:P4 off: if a.echoed || a.tries > 0 {
			continue
		}
		p := c.pathAfter(a.addr)
		if p == nil {
			c.timers.Set(tAddAddr, now.Add(time.Second))
			return
		}
		c.timers.Set(tAddAddr, now.Add(max(c.RTO(), 500*time.Millisecond)<<a.tries))
		a.tries++
		copied := *a
		p.sendAdd = &copied
		p.signal()
		c.trace(now, trace.AddrAdvertised, p.id, uint64(a.id), 0)
		return
	}
	c.timers.Stop(tAddAddr)
}

func (c *Conn) addrTimeouts(now mono.Time) {
	if c.timers.Expired(tAddAddr, now) && c.mode == multipath && c.phase == open {
		c.sendAdvert(now)
	}
}

// signalPath is a path to send an option on: alive if possible, and not from
// the address not.
func (c *Conn) signalPath(not netip.Addr) *path {
	var second *path
	for _, p := range c.paths {
		if !p.up || p.gone || p.closing || p.tuple.Local.Addr() == not {
			continue
		}
		if !p.silent() {
			return p
		}
		second = p
	}
	return second
}

// withdraw tells the peer that an address of ours is gone (REMOVE_ADDR), on a
// path that does not use it. Without one nothing can be told yet: retireGone
// comes back to it.
func (c *Conn) withdraw(now mono.Time, addr netip.Addr) {
	id, known := uint8(0), false
	for i, o := range c.addrs.ids {
		if o == addr {
			id, known = uint8(i), true
		}
	}
	p := c.signalPath(addr)
	if !known || p == nil {
		return
	}
	for i, a := range c.addrs.adverts {
		if a.addr == addr {
			c.addrs.adverts = append(c.addrs.adverts[:i], c.addrs.adverts[i+1:]...)
			break
		}
	}
	for _, queued := range p.sendRemove {
		if queued == id {
			return
		}
	}
	p.sendRemove = append(p.sendRemove, id)
	c.addrs.removedOn(addr, p.id)
	p.signal()
	c.trace(now, trace.AddrWithdrawn, p.id, uint64(id), 0)
	for _, q := range c.paths {
		if q.gone && q.tuple.Local.Addr() == addr {
			q.end(pathmgr.LocalGone)
		}
	}
}

// aloneOptions fills in an ADD_ADDR or its echo, which leave no room for a DSS
// (RFC 8684, Section 3.4.1); true if it did.
func (p *path) aloneOptions(out *subflow.Outgoing, mp *wire.MPOptions) bool {
	a := &mp.Add
	switch {
	case len(p.sendEcho) > 0:
		e := p.sendEcho[0]
		p.sendEcho = p.sendEcho[1:]
		a.Echo, a.ID, a.Addr, a.Port = true, e.id, e.addr, e.port
		p.c.stats.EchoAddTx++
	case p.sendAdd != nil:
		adv := p.sendAdd
		a.ID, a.Addr, a.Port = adv.id, adv.addr, adv.port
		a.MAC = wire.AddAddrMAC(p.c.key, p.c.peerKey, adv.id, adv.addr, adv.port)
		p.sendAdd = nil
		p.c.stats.AddAddrTx++
	default:
		return false
	}
	mp.Has |= wire.AddAddr
	p.optionOnly = true
	return true
}

// maxRemoves is how many identifiers fit in one REMOVE_ADDR beside a DSS with
// a DATA_ACK and timestamps: 40-12-12-3.
const maxRemoves = 13

// waiting reports whether anything waits for a pure ACK.
func (p *path) waiting() bool {
	return p.signals() || p.sendFin || p.sendAdd != nil || len(p.sendEcho) > 0
}

// signal makes a pure ACK leave before any data: only there is room for an
// address or a priority, and a busy sender has no other occasion for one.
func (p *path) signal() { p.sf.SendAcksFirst(1) }

// signals reports whether options wait for a pure ACK.
func (p *path) signals() bool { return p.sendPrio || len(p.sendRemove) > 0 }

// signalOptions adds to a pure ACK what fits beside its DSS.
func (p *path) signalOptions(out *subflow.Outgoing, mp *wire.MPOptions) {
	if n := min(len(p.sendRemove), maxRemoves); n > 0 {
		mp.Has |= wire.RemoveAddr
		mp.Remove.N = copy(mp.Remove.IDs[:], p.sendRemove[:n])
		if mp.Len() <= out.Room {
			p.sendRemove = append(p.sendRemove[:0], p.sendRemove[n:]...)
			p.c.stats.RmAddrTx += uint64(n)
		} else {
			mp.Has &^= wire.RemoveAddr
		}
	}
	if p.sendPrio {
		mp.Has |= wire.MPPrio
		mp.Prio.Backup = p.backup
		if mp.Len() <= out.Room {
			p.sendPrio = false
			p.c.stats.MPPrioTx++
		} else {
			mp.Has &^= wire.MPPrio
		}
	}
}

// onSignals acts on address and priority options.
func (p *path) onSignals(now mono.Time, s *wire.Segment) {
	c, mp := p.c, &s.MP
	if c.mode != multipath || c.phase != open {
		return
	}
	if mp.Has&wire.AddAddr != 0 {
		p.onAddAddr(now, s)
	}
	if mp.Has&wire.RemoveAddr != 0 {
		c.stats.RmAddrRx += uint64(mp.Remove.N)
		for _, id := range mp.Remove.IDs[:mp.Remove.N] { //spec:P12 off: for _, id := range mp.Remove.IDs[:1] {
			c.onRemoveAddr(now, p, id)
		}
	}
	if mp.Has&wire.MPPrio != 0 {
		c.stats.MPPrioRx++
		p.peerBackup = mp.Prio.Backup //spec:P14 off:
		c.tellNews(Priority{p.info()})
		c.tell(now, pathmgr.PeerPriority{ID: pathmgr.PathID(p.id)})
	}
}

// onAddAddr takes an address of the peer's, or the echo of one of ours.
func (p *path) onAddAddr(now mono.Time, s *wire.Segment) {
	c, a := p.c, &s.MP.Add
	if a.Echo {
		c.stats.EchoAddRx++
		c.trace(now, trace.AddrReceived, p.id, uint64(a.ID), 1)
		for i := range c.addrs.adverts {
			adv := &c.addrs.adverts[i]
			if adv.id == a.ID && adv.addr == a.Addr && !adv.echoed {
				adv.echoed = true
				c.sendAdvert(now)
			}
		}
		return
	}
	if !sameMAC(a.MAC, wire.AddAddrMAC(c.peerKey, c.key, a.ID, a.Addr, a.Port)) { //spec:P1 off: if false {
		return // silently: RFC 8684, Section 3.4.1
	}
	c.stats.AddAddrRx++
	if c.addrs.taken(a.ID, a.Addr) {
		// Or the REMOVE_ADDR that freed it is still under way, by a slower path: without
		// an echo it is advertised again.
		return
	}
	c.tellNews(Announced{a.ID, a.Addr, a.Port})
	c.trace(now, trace.AddrReceived, p.id, uint64(a.ID), 0)
	if len(p.sendEcho) < maxAdverts {
		p.sendEcho = append(p.sendEcho, echo{a.ID, a.Addr, a.Port}) //spec:P3 off:
	}
	p.signal()
	port := a.Port
	if port == 0 {
		port = c.peerPort()
	}
	c.learnPeer(now, pathmgr.Peer{ID: a.ID, Addr: netip.AddrPortFrom(a.Addr, port)})
}

// sameMAC compares in a time that tells nothing (RFC 8684, Section 5).
func sameMAC(a, b uint64) bool {
	return subtle.ConstantTimeEq(int32(a>>32), int32(b>>32))&subtle.ConstantTimeEq(int32(a), int32(b)) == 1
}

// peerPort is where an address without a port is to be reached: the port of
// the peer's end of the first subflow.
func (c *Conn) peerPort() uint16 { return c.remote.Port() } //spec:P5 off: func (c *Conn) peerPort() uint16 { return c.remote.Port() + 1 }

// taken reports whether an identifier is in use for another address of the peer's,
// which has to be withdrawn first (RFC 8684, Section 3.4.1).
func (a *addrState) taken(id uint8, addr netip.Addr) bool {
	for _, o := range a.peers {
		if o.ID == id {
			return o.Addr.Addr() != addr //spec:P6 off: return false
		}
	}
	return false
}

// learnPeer keeps an advertised address.
func (c *Conn) learnPeer(now mono.Time, peer pathmgr.Peer) {
	if c.addrs.taken(peer.ID, peer.Addr.Addr()) {
		return
	}
	for i, o := range c.addrs.peers {
		if o.ID != peer.ID {
			continue
		}
		c.addrs.peers[i] = peer
		c.tell(now, pathmgr.PeerAdded{Peer: peer})
		return
	}
	if peer.Addr == c.remote {
		// Known from the start; told anew, it is back after it was withdrawn.
		c.tell(now, pathmgr.PeerAdded{Peer: pathmgr.Peer{Addr: c.remote}})
		return
	}
	if peer.ID == 0 || len(c.addrs.peers) >= c.limits.Peers {
		return
	}
	c.addrs.peers = append(c.addrs.peers, peer)
	c.emit(PeerAddress{peer.Addr.Addr()})
	c.tell(now, pathmgr.PeerAdded{Peer: peer})
}

// removedPatience is how long a subflow whose address the peer withdrew may
// stay silent, at least.
const removedPatience = time.Second

// onRemoveAddr acts on a withdrawn address: what its subflows hold is sent
// elsewhere at once; a keepalive decides whether they are closed
// (RFC 8684, Section 3.4.2).
func (c *Conn) onRemoveAddr(now mono.Time, from *path, id uint8) {
	c.tellNews(Removed{id})
	c.trace(now, trace.AddrWithdrawn, from.id, uint64(id), 1)
	if id == 0 {
		c.tell(now, pathmgr.PeerRemoved{Peer: pathmgr.Peer{Addr: c.remote}})
	}
	for i, o := range c.addrs.peers {
		if o.ID == id {
			c.addrs.peers = append(c.addrs.peers[:i], c.addrs.peers[i+1:]...)
			c.tell(now, pathmgr.PeerRemoved{Peer: o})
			break
		}
	}
	for _, p := range c.paths {
		if p == from || p.remoteID != id || !p.up || p.leaving || p.closing {
			continue
		}
		// What arrives within a round trip was under way when the address was
		// withdrawn, and proves nothing: the probe goes after that.
		half := max(p.sf.RTO(), removedPatience/2)
		p.leaving = true //spec:P11 off:
		p.doubt, p.patience = now.Add(half), now.Add(2*half)
		c.lose(p)
	}
}
