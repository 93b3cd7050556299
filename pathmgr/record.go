package pathmgr

import (
	"net/netip"
	"slices"
	"time"
)

const (
	// stableAfter is how long a subflow must have lived to count as a good
	// one: its loss is then news, and nothing speaks against trying at once.
	stableAfter = 10 * time.Second
	// atOnce is the back-off after which that attempt is made; it is above
	// zero so that the next one waits.
	atOnce = time.Nanosecond
)

// record is what a manager remembers of one pair: how its last attempt went
// and when the next one may be made.
type record struct {
	pair
	link    int           // that it left from
	at      Time          // not to be tried before
	last    Time          // the last attempt
	wait    time.Duration // the last back-off; 0 with a clean slate
	opening bool          // asked for; at is when to stop believing in it
	live    bool          // its handshake was finished, at upAt
	upAt    Time
	refused bool // wait for a new reason (RFC 8684, Section 3.9.3)
}

// ready reports whether an attempt may be made now. A refusal stands unless
// there is nothing else left.
func (r *record) ready(now Time, alone bool) bool {
	return now >= r.at && (alone || !r.refused)
}

// tried notes an attempt. If nothing is ever heard of it, it counts as lost
// after the longest back-off.
func (r *record) tried(now Time) {
	r.opening, r.live, r.refused = true, false, false
	r.last, r.at = now, now.Add(MaxBackoff)
}

// hurry ends the waiting, but no pair is tried more often than once in the
// shortest back-off.
func (r *record) hurry(now Time) {
	if !r.opening {
		r.at = min(r.at, max(now, r.last.Add(MinBackoff)))
	}
}

func (m *FullMesh) find(p pair) *record {
	for i := range m.records {
		if m.records[i].pair == p {
			return &m.records[i]
		}
	}
	return nil
}

// remember returns the record of the pair. The number of records is bounded:
// those of pairs that the policy no longer wants make room; nil if none does.
func (m *FullMesh) remember(p pair, link int, v *View) *record {
	if r := m.find(p); r != nil {
		return r
	}
	if len(m.records) >= maxRecords {
		m.prune(v)
	}
	if len(m.records) >= maxRecords {
		return nil
	}
	m.records = append(m.records, record{pair: p, link: link})
	return &m.records[len(m.records)-1]
}

func (m *FullMesh) prune(v *View) {
	m.records = slices.DeleteFunc(m.records, func(r record) bool {
		wanted := false
		m.candidates(v, true, func(c candidate) bool {
			wanted = wanted || c.pair == r.pair
			return !wanted
		})
		return !wanted
	})
}

// forget drops the records of a local address and reports whether there were
// any: when it returns everything about it is new.
func (m *FullMesh) forget(local netip.Addr) bool {
	n := len(m.records)
	m.records = slices.DeleteFunc(m.records, func(r record) bool { return r.local == local })
	return len(m.records) < n
}

// hurry ends all waiting: the network changed.
func (m *FullMesh) hurry(now Time) {
	m.hurryRecords(now)
	m.hurryDoubts(now)
}

func (m *FullMesh) hurryRecords(now Time) {
	for i := range m.records {
		m.records[i].hurry(now)
	}
}

// localUp gives the pairs of an address a clean slate.
func (m *FullMesh) localUp(now Time, l Local) {
	for i := range m.records {
		if r := &m.records[i]; r.local == l.Addr && !r.opening {
			r.wait, r.refused = 0, false
		}
	}
	m.hurry(now)
}

// peerAdded ends refusals by the address: it was advertised afresh
// (RFC 8684, Section 3.9.3).
func (m *FullMesh) peerAdded(now Time, p Peer, v *View) {
	remote := remoteOf(p, v)
	if p.ID == 0 || remote == v.Remote {
		m.firstGone = false
	}
	for i := range m.records {
		if r := &m.records[i]; r.remote == remote && !r.opening {
			r.refused = false
			r.hurry(now)
		}
	}
}

// up notes a subflow that finished its handshake.
func (m *FullMesh) up(now Time, s Subflow) {
	r := m.find(pair{s.Local.Addr(), s.Remote})
	if r == nil {
		return
	}
	if r.opening {
		r.at = now
	}
	r.opening, r.live, r.refused, r.upAt = false, true, false, now
}

// down decides when the pair of a lost subflow may be tried again.
func (m *FullMesh) down(now Time, ev SubflowDown, v *View) {
	p := pair{ev.Subflow.Local.Addr(), ev.Subflow.Remote}
	if ev.Subflow.Established && m.has(v, p, ev.Subflow.Link) {
		return // another one took its place
	}
	first := m.find(p) == nil // not opened here: the connection's first
	r := m.remember(p, ev.Subflow.Link, v)
	if r == nil {
		return
	}
	if first {
		r.live, r.upAt = true, m.since
	}
	wasLive, alone := r.live && !r.opening, m.count(now, v).alone
	if ev.Subflow.Established && r.upAt != 0 && now.Sub(r.upAt) >= stableAfter {
		r.wait = 0
	}
	r.opening, r.live = false, false
	// A join that was refused, or a subflow that was closed in good order, is
	// not tried again without a new reason.
	r.refused = ev.Reason == Closed || ev.Reason == Refused && !ev.Transient
	cut := wasLive && ev.Reason != Closed && ev.Reason != Refused
	if cut && alone {
		m.hurry(now) // whatever was in no hurry is now
	}
	if cut && r.wait == 0 && (alone || ev.Reason == Reset || ev.Reason == LocalGone) {
		// From the same address too: it may have a new place behind its NAT.
		r.wait, r.at = atOnce, now
		return
	}
	r.wait = min(max(2*r.wait, MinBackoff), MaxBackoff)
	r.at = now.Add(r.wait)
}
