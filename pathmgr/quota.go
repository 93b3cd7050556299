package pathmgr

import "slices"

// tally is what of a subflow's octets was counted, and against which rule.
type tally struct {
	id      PathID
	rule    int
	counted uint64
}

// Octets are counted in steps: a part of the most, but not finer than packets.
const (
	quotaSteps   = 64
	minQuotaStep = 4 << 10
)

// tally counts what the subflows of a bounded interface carried, and closes them
// when that is spent. What is under way then still arrives.
func (m *FullMesh) tally(ev Event, v *View, do []Command) []Command {
	if up, ok := ev.(SubflowUp); ok {
		if name := nameOf(v, &up.Subflow); name != "" && !m.allows(name) {
			do = append(do, Close{ID: up.Subflow.ID}) // the peer opened it
		}
	}
	if !slices.ContainsFunc(m.Rules, func(r Rule) bool { return r.Max > 0 }) {
		return do
	}
	switch ev := ev.(type) {
	case SubflowDown:
		m.count1(&ev.Subflow)
		m.tallies = slices.DeleteFunc(m.tallies, func(t tally) bool { return t.id == ev.Subflow.ID })
	case Established, SubflowUp, LocalUp, Carried:
		do = m.watch(v, do)
	}
	return m.closeSpent(v, do)
}

// watch counts every subflow, and asks to be told when the next step is done.
func (m *FullMesh) watch(v *View, do []Command) []Command {
	for i := range v.Subflows {
		s := &v.Subflows[i]
		rule := m.Rules.of(nameOf(v, s))
		if !m.tallied(s.ID) {
			if !s.Established || s.ID < 0 || rule < 0 || m.Rules[rule].Max == 0 || m.addTo(rule, 0) >= m.Rules[rule].Max {
				continue
			}
			m.tallies = append(m.tallies, tally{id: s.ID, rule: rule})
		}
		rule, total := m.count1(s)
		if most := m.Rules[rule].Max; total < most {
			step := min(max(most/quotaSteps, minQuotaStep), most-total)
			do = append(do, Watch{ID: s.ID, Octets: s.Carried + step})
		}
	}
	return do
}

func (m *FullMesh) tallied(id PathID) bool {
	return slices.ContainsFunc(m.tallies, func(t tally) bool { return t.id == id })
}

// count1 counts what a subflow carried since it was counted last, and returns
// the sum for its rule; rule -1 if it is not bounded.
func (m *FullMesh) count1(s *Subflow) (rule int, total uint64) {
	i := slices.IndexFunc(m.tallies, func(t tally) bool { return t.id == s.ID })
	if i < 0 {
		return -1, 0
	}
	t := &m.tallies[i]
	n := s.Carried - t.counted
	t.counted = s.Carried
	return t.rule, m.addTo(t.rule, n)
}

// addTo counts n octets against a rule and returns their sum.
func (m *FullMesh) addTo(rule int, n uint64) uint64 {
	if meter := m.Rules[rule].Meter; meter != nil {
		return meter.Add(n)
	}
	if m.spent == nil {
		m.spent = make([]uint64, len(m.Rules))
	}
	m.spent[rule] += n
	return m.spent[rule]
}

// closeSpent closes the subflows that may carry nothing more.
func (m *FullMesh) closeSpent(v *View, do []Command) []Command {
	for _, t := range m.tallies {
		if m.addTo(t.rule, 0) >= m.Rules[t.rule].Max {
			do = append(do, Close{ID: t.id, Reason: Spent})
		}
	}
	m.tallies = slices.DeleteFunc(m.tallies, func(t tally) bool { return m.addTo(t.rule, 0) >= m.Rules[t.rule].Max })
	return do
}

// allows reports whether the rules let an interface be used now.
func (m *FullMesh) allows(name string) bool {
	i := m.Rules.of(name)
	if i < 0 {
		return true
	}
	r := &m.Rules[i]
	return !r.Never && (r.Max == 0 || m.addTo(i, 0) < r.Max)
}
