package pathmgr

import "slices"

// doubt is a subflow that is silent. It may be dead for good though its path is
// not: a NAT on the way has forgotten it. So after a while the same pair is tried
// again, from another port; whichever of the two answers first is kept.
type doubt struct {
	id    PathID
	since Time
}

// doubtFor is how long a subflow may be silent before it is tried again beside
// itself. What the engine does with its data does not wait for that.
const doubtFor = MinBackoff

// inDoubt reports whether the subflow was good and is silent now.
func (s *Subflow) inDoubt() bool { return s.Established && s.Suspect }

func (m *FullMesh) suspect(now Time, id PathID) {
	if !slices.ContainsFunc(m.doubts, func(d doubt) bool { return d.id == id }) {
		m.doubts = append(m.doubts, doubt{id, now})
	}
}

// hurryDoubts has silent subflows tried again at once: the network changed.
func (m *FullMesh) hurryDoubts(now Time) {
	for i := range m.doubts {
		d := &m.doubts[i]
		d.since = min(d.since, now-Time(doubtFor))
	}
}

// holdOff is the time before which a pair is not tried, because the subflow in
// its place has been silent for a short time only.
func (m *FullMesh) holdOff(v *View, c candidate) (at Time) {
	for _, d := range m.doubts {
		i := slices.IndexFunc(m.flows, func(s Subflow) bool { return s.ID == d.id })
		if i >= 0 && m.flows[i].inDoubt() && m.fills(v, &m.flows[i], c.pair, c.from.Link) {
			at = at.Latest(d.since.Add(doubtFor))
		}
	}
	return at
}

// trusted ends the attempt to replace a subflow that is heard again.
func (m *FullMesh) trusted(id PathID, do []Command) []Command {
	m.doubts = slices.DeleteFunc(m.doubts, func(d doubt) bool { return d.id == id })
	i := slices.IndexFunc(m.flows, func(s Subflow) bool { return s.ID == id })
	if i < 0 {
		return do
	}
	p := pair{m.flows[i].Local.Addr(), m.flows[i].Remote}
	spare := 0
	for j := range m.flows {
		if s := &m.flows[j]; s.is(p) && !s.inDoubt() {
			spare++
		}
	}
	for j := range m.flows {
		s := &m.flows[j]
		if spare <= m.shape.width() {
			break
		}
		if s.is(p) && !s.Established && s.ID >= 0 {
			spare--
			do = append(do, Close{ID: s.ID})
		}
	}
	return do
}

// replaced closes the silent subflows whose place a new one has taken.
func (m *FullMesh) replaced(by *Subflow, do []Command) []Command {
	p := pair{by.Local.Addr(), by.Remote}
	for i := range m.flows {
		if s := &m.flows[i]; s.ID != by.ID && s.inDoubt() && s.is(p) {
			do = append(do, Close{ID: s.ID, Reason: TimedOut})
		}
	}
	return do
}

// is reports whether the subflow is between the two ends.
func (s *Subflow) is(p pair) bool { return s.Local.Addr() == p.local && s.Remote == p.remote }

// forgetGone drops what is remembered of subflows that are gone.
func (m *FullMesh) forgetGone() {
	gone := func(id PathID) bool {
		return !slices.ContainsFunc(m.flows, func(s Subflow) bool { return s.ID == id })
	}
	m.doubts = slices.DeleteFunc(m.doubts, func(d doubt) bool { return gone(d.id) })
	m.wishes = slices.DeleteFunc(m.wishes, func(w wish) bool { return gone(w.id) })
}
