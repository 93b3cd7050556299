package pathmgr

import (
	"net/netip"
	"slices"
)

// Limits of a FullMesh. They bound what a peer can make this host do
// (RFC 8684, Sections 3.9.3 and 5).
const (
	defaultPairs = 8  // subflows at once
	maxLocals    = 8  // addresses of this host that are used or advertised
	maxPeers     = 8  // advertised addresses of the peer that are looked at
	maxRecords   = 96 // pairs remembered; more than maxLocals × (maxPeers+1)
)

// FullMesh opens a subflow for every pair of a local address and an address
// of the peer, and opens it again when it was lost. Only the side that opened
// the connection opens subflows (the other one may not be able to reach it);
// the listening side advertises its addresses instead.
//
// Extra subflows never start on a bridge or on loopback. If the host routes
// to the peer through a tunnel (a VPN), other interfaces are used only if
// Only or one of the Rules names them. The connection's own first address is
// always used, and if no subflow is left, so is the one that the host now routes
// through; but nothing that the rules forbid.
//
// A subflow that is silent for a second is tried again beside itself, from
// another port: a NAT may have forgotten it. Whichever answers first is kept.
//
// The zero value is ready, for one connection.
type FullMesh struct {
	// Only are the names of the interfaces that extra subflows may use. If
	// empty, every interface that the rules above admit.
	Only []string
	// Pairs is how many subflows there may be, those in doubt apart. If zero or
	// negative, 8.
	Pairs int
	// Rules say how interfaces are to be used.
	Rules Rules

	shape     shape
	flows     []Subflow    // the view's, without those that are gone
	lost      []netip.Addr // gone addresses of subflows still in the view
	alone     bool         // no subflow carries data, as far as anyone can tell
	records   []record
	credit    credit
	firstGone bool // the peer withdrew the address first connected to
	begun     bool
	since     Time // the first event
	alarm     Time // what Wake last asked for; 0 if nothing
	adverts   adverts
	doubts    []doubt
	wishes    []wish
	tallies   []tally
	spent     []uint64 // octets by rule, of those without a Meter
}

// NewFullMesh returns a FullMesh for one connection, without restrictions.
func NewFullMesh() Manager { return &FullMesh{} }

// Handle implements Manager.
func (m *FullMesh) Handle(now Time, ev Event, v *View, do []Command) []Command {
	if !m.begun {
		m.begun, m.since = true, now
	}
	m.look(ev, v)
	do = m.tally(ev, v, do)
	do = m.prioritize(v, do)
	if !v.Client {
		return m.serve(ev, v, do)
	}
	do = m.note(now, ev, v, do)
	m.alone = m.count(now, v).alone
	do = m.open(now, v, do)
	return m.wake(now, v, do)
}

// note remembers what a client is told.
func (m *FullMesh) note(now Time, ev Event, v *View, do []Command) []Command {
	switch ev := ev.(type) {
	case LocalUp:
		m.localUp(now, ev.Local)
	case LocalDown:
		// The engine ends the subflows that used it; what is left to do is to
		// tell the peer, if it knew the address.
		if known := m.forget(ev.Local.Addr); known || m.used(ev.Local.Addr, v) {
			do = append(do, Withdraw{Addr: ev.Local.Addr})
		}
	case RouteChanged:
		m.hurry(now)
	case PathSuspect:
		// The scheduler avoids a suspect path. But if no other is left, what was
		// refused or put off may do better now.
		m.suspect(now, ev.ID)
		if m.count(now, v).alone {
			m.hurryRecords(now)
		}
	case PathTrusted:
		do = m.trusted(ev.ID, do)
	case PeerAdded:
		m.peerAdded(now, ev.Peer, v)
	case PeerRemoved:
		if ev.Peer.ID == 0 || ev.Peer.Addr == v.Remote {
			m.firstGone = true
		}
	case SubflowUp:
		m.up(now, ev.Subflow)
		do = m.replaced(&ev.Subflow, do)
	case SubflowDown:
		m.down(now, ev, v)
	case Alarm:
		m.alarm = 0
	}
	return do
}

// look takes the view's subflows without those that are known to be gone;
// whether the engine has removed them already makes no difference then.
func (m *FullMesh) look(ev Event, v *View) {
	m.flows = append(m.flows[:0], v.Subflows...)
	switch ev := ev.(type) {
	case LocalUp:
		m.lost = slices.DeleteFunc(m.lost, func(a netip.Addr) bool { return a == ev.Local.Addr })
	case LocalDown:
		if !slices.Contains(m.lost, ev.Local.Addr) {
			m.lost = append(m.lost, ev.Local.Addr)
		}
	case SubflowDown:
		// A join that never got as far as an identifier has the zero one.
		m.flows = slices.DeleteFunc(m.flows, func(s Subflow) bool {
			return s.ID == ev.Subflow.ID && s.Local.Addr() == ev.Subflow.Local.Addr() && s.Remote == ev.Subflow.Remote
		})
	}
	m.lost = slices.DeleteFunc(m.lost, func(a netip.Addr) bool { return !uses(m.flows, a) })
	m.flows = slices.DeleteFunc(m.flows, func(s Subflow) bool { return slices.Contains(m.lost, s.Local.Addr()) })
	m.forgetGone()
}

// uses reports whether one of the subflows starts at the address.
func uses(flows []Subflow, a netip.Addr) bool {
	return slices.ContainsFunc(flows, func(s Subflow) bool { return s.Local.Addr() == a })
}

// used reports whether the peer knows the address from a subflow.
func (m *FullMesh) used(a netip.Addr, v *View) bool {
	return a == v.Local.Addr() || uses(v.Subflows, a)
}

// census is how many subflows there are or are being made, those in doubt apart,
// and whether none of them carries data.
type census struct {
	n     int
	alone bool
}

func (m *FullMesh) count(now Time, v *View) census {
	c := census{alone: true}
	for i := range m.flows {
		s := &m.flows[i]
		if !s.inDoubt() {
			c.n++
		}
		c.alone = c.alone && (!s.Established || s.Suspect)
	}
	for i := range m.records {
		// Asked for, and not in the view yet.
		if r := &m.records[i]; r.opening && now < r.at && !m.has(v, r.pair, r.link) {
			c.n++
		}
	}
	return c
}

// has reports whether the place of a pair is taken: by as many subflows as it is
// to have, of which none is in doubt.
func (m *FullMesh) has(v *View, p pair, link int) bool {
	return m.missing(v, p, link) == 0
}

// missing is how many subflows the place of a pair lacks.
func (m *FullMesh) missing(v *View, p pair, link int) int {
	n := m.shape.width()
	for i := range m.flows {
		if s := &m.flows[i]; n > 0 && !s.inDoubt() && m.fills(v, s, p, link) {
			n--
		}
	}
	return n
}

// fills reports whether a subflow is in the place of a pair.
func (m *FullMesh) fills(v *View, s *Subflow, p pair, link int) bool {
	if m.shape.perLink && s.Link == link {
		return true
	}
	if s.Local.Addr() != p.local || s.Remote.Addr() != p.remote.Addr() {
		return false
	}
	// A subflow that the peer opened comes from a port of its choice. It is the
	// same path (RFC 8684, Section 3.4.1).
	return s.Remote == p.remote || !knownRemote(v, s.Remote)
}

// open starts every wanted subflow that is missing, not to be waited for, and
// within the limits.
func (m *FullMesh) open(now Time, v *View, do []Command) []Command {
	n := m.count(now, v).n
	m.candidates(v, m.alone, func(c candidate) bool {
		if n >= m.limit() {
			return false
		}
		missing := min(m.missing(v, c.pair, c.from.Link), m.limit()-n)
		if missing == 0 || now < m.holdOff(v, c) {
			return true
		}
		r := m.find(c.pair)
		if r != nil && !r.ready(now, m.alone) || c.learned && !m.credit.take(now) { //spec:P16 off: if r != nil && !r.ready(now, m.alone) {
			return true
		}
		if r == nil {
			if r = m.remember(c.pair, c.from.Link, v); r == nil {
				return true
			}
		}
		r.tried(now)
		n += missing
		more := m.beside(v, c)
		for range missing {
			do = append(do, Open{Local: c.from, Remote: c.remote, Backup: m.wishFor(v, c.from), More: more})
			more = true
		}
		if m.shape.perLink {
			m.flows = append(m.flows, Subflow{ID: -1, Local: netip.AddrPortFrom(c.local, 0), Remote: c.remote, Link: c.from.Link})
		}
		return !m.shape.lone
	})
	return do
}

// beside reports whether there is a subflow between the addresses of the pair.
func (m *FullMesh) beside(v *View, c candidate) bool {
	return slices.ContainsFunc(m.flows, func(s Subflow) bool { return s.Local.Addr() == c.local && s.Remote == c.remote })
}

func (m *FullMesh) limit() int {
	switch {
	case m.shape.lone:
		return m.shape.width()
	case m.Pairs <= 0:
		return defaultPairs
	}
	return m.Pairs
}

// wake asks for an alarm at the first time at which something can be tried
// that cannot be tried now.
func (m *FullMesh) wake(now Time, v *View, do []Command) []Command {
	at := Time(0)
	sooner := func(t Time) {
		if t > now && (at == 0 || t < at) {
			at = t
		}
	}
	m.candidates(v, m.alone, func(c candidate) bool {
		r := m.find(c.pair)
		switch {
		case m.has(v, c.pair, c.from.Link) || r != nil && r.refused && !m.alone:
		case r != nil && now < r.at:
			sooner(r.at.Latest(m.holdOff(v, c)))
		case now < m.holdOff(v, c):
			sooner(m.holdOff(v, c))
		case c.learned:
			sooner(m.credit.next(now))
		}
		return true
	})
	if at == 0 || at == m.alarm {
		return do
	}
	m.alarm = at
	return append(do, Wake{At: at})
}
