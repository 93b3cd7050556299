package pathmgr

import (
	"cmp"
	"slices"
)

// wish is what the policy last said of a subflow's priority. It says so again
// only when it changes its mind: between times a person may have another.
type wish struct {
	id     PathID
	backup bool
}

// prioritize tells which subflows are backups: those that the rules say, and
// with the backup policy all but the one that carries.
func (m *FullMesh) prioritize(v *View, do []Command) []Command {
	if len(m.Rules) == 0 && !m.shape.standby {
		return do
	}
	chooses := m.shape.standby && v.Client
	carrier := m.carrier(v)
	if carrier >= 0 {
		do = m.want(&m.flows[carrier], false, do) // first: never is there none
	}
	for i := range m.flows {
		switch s := &m.flows[i]; {
		case !s.Established || s.ID < 0:
		case !chooses:
			do = m.want(s, m.Rules.standing(nameOf(v, s)).backup, do)
		case !s.Suspect && i != carrier:
			do = m.want(s, true, do)
		}
	}
	return do
}

// want gives a subflow a priority, unless that was the wish already.
func (m *FullMesh) want(s *Subflow, backup bool, do []Command) []Command {
	i := slices.IndexFunc(m.wishes, func(w wish) bool { return w.id == s.ID })
	if i < 0 {
		i = len(m.wishes)
		m.wishes = append(m.wishes, wish{s.ID, s.Backup})
	}
	if m.wishes[i].backup == backup {
		return do
	}
	m.wishes[i].backup = backup
	return append(do, SetBackup{ID: s.ID, Backup: backup})
}

// carrier returns the index of the subflow that is to carry the data; -1 if
// several may, or none can.
func (m *FullMesh) carrier(v *View) int {
	if !m.shape.standby || !v.Client {
		return -1
	}
	best := -1
	for i := range m.flows {
		s := &m.flows[i]
		if s.Established && !s.Suspect && (best < 0 || m.compare(v, s, &m.flows[best]) < 0) {
			best = i
		}
	}
	return best
}

// compare orders subflows by how well they are suited to carry the data: after
// rules and the peer's wishes the connection's own ends, so that it returns to
// where it began, then the host's choice, then the elder.
func (m *FullMesh) compare(v *View, a, b *Subflow) int {
	return cmp.Or(
		m.Rules.standing(nameOf(v, a)).compare(m.Rules.standing(nameOf(v, b))),
		compareBool(a.PeerBackup, b.PeerBackup),
		compareBool(!v.isFirst(a), !v.isFirst(b)),
		compareBool(!v.isBest(a), !v.isBest(b)),
		cmp.Compare(a.ID, b.ID),
	)
}

// isFirst reports whether a subflow is between the connection's first addresses.
func (v *View) isFirst(s *Subflow) bool {
	return s.Local.Addr() == v.Local.Addr() && s.Remote == v.Remote
}

// isBest reports whether the host's own routing would take a subflow's address.
func (v *View) isBest(s *Subflow) bool {
	return slices.ContainsFunc(v.Locals, func(l Local) bool { return l.Best && l.Addr == s.Local.Addr() })
}

// wishFor is the priority of a subflow that is to be opened. One that could
// carry waits until it is known to work.
func (m *FullMesh) wishFor(v *View, from Local) bool {
	return m.Rules.standing(from.Name).backup || m.carrier(v) >= 0
}

// nameOf is the name of the interface that a subflow leaves by, empty if that is
// not known any more.
func nameOf(v *View, s *Subflow) string {
	name := ""
	for i := range v.Locals {
		switch l := &v.Locals[i]; {
		case l.Link == s.Link:
			return l.Name
		case l.Addr == s.Local.Addr():
			name = l.Name
		}
	}
	return name
}
