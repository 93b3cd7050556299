package pathmgr

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// Rule says how the interfaces of some name are to be used.
type Rule struct {
	// Iface is the name of an interface, or a pattern of names in which *
	// stands for any characters, ? for one, and [a-z] for one of a set.
	Iface string
	// Never keeps paths off the interface. The other fields mean nothing then.
	Never bool
	// Backup makes its paths carry data only while no other path works.
	Backup bool
	// Cost orders interfaces: the one of the lowest cost is preferred. Those
	// without a rule have 0.
	Cost int
	// Max is how many octets of payload its paths may carry, in both directions
	// together; then they are closed, and no others opened. If zero, any number.
	Max uint64
	// Meter counts them. If nil, each connection counts for itself.
	Meter Meter
}

// Meter counts octets that several connections carry. Its method may be called
// by many goroutines at once, must not block, and must not call back.
type Meter interface {
	// Add adds n, which may be zero, and returns the sum.
	Add(n uint64) uint64
}

// Rules say how this host's interfaces are to be used. For each the rule counts
// that names it most closely: its very name before a pattern, of patterns the
// one with the most characters of its own, of equals the first. An interface
// without a rule is used as the path manager thinks best. They must not change
// while a connection uses them.
type Rules []Rule

// of returns the index of the rule for an interface, -1 if there is none.
func (rs Rules) of(name string) int {
	found, best := -1, -1
	for i := range rs {
		if n := rs[i].closeness(name); n > best {
			found, best = i, n
		}
	}
	return found
}

// exact is closer than any pattern: the kernel's names have at most 15
// characters.
const exact = 1 << 10

// closeness is how closely the rule names the interface; -1: not at all.
func (r *Rule) closeness(name string) int {
	if r.Iface == name {
		return exact
	}
	if ok, err := path.Match(r.Iface, name); err != nil || !ok {
		return -1
	}
	return literals(r.Iface)
}

// literals is how many characters of a pattern stand for themselves.
func literals(pattern string) int {
	n, set := 0, false
	for _, c := range pattern {
		switch {
		case set:
			set = c != ']'
		case c == '[':
			set = true
		case !strings.ContainsRune(`*?\`, c):
			n++
		}
	}
	return n
}

// names reports whether a rule is about the interface in particular: one that is
// about all of them admits none that the policy would leave alone.
func (rs Rules) names(name string) bool {
	i := rs.of(name)
	return i >= 0 && !rs[i].Never && (rs[i].Iface == name || literals(rs[i].Iface) > 0)
}

// Allows reports whether the interface may be used now: no rule forbids it, and
// its octets are not spent.
func (rs Rules) Allows(name string) bool {
	i := rs.of(name)
	return i < 0 || !rs[i].Never && !(rs[i].Max > 0 && rs[i].Meter != nil && rs[i].Meter.Add(0) >= rs[i].Max)
}

// standing is what the rules think of an interface: the less the better.
type standing struct {
	backup bool
	cost   int
}

func (rs Rules) standing(name string) standing {
	if i := rs.of(name); i >= 0 {
		return standing{rs[i].Backup, rs[i].Cost}
	}
	return standing{}
}

func (a standing) compare(b standing) int {
	return cmp.Or(compareBool(a.backup, b.backup), cmp.Compare(a.cost, b.cost))
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// Choose returns those of the addresses that the rules allow now, the preferred
// first: by backup and cost, then the host's own choice, then as they were. The
// first is marked Best if the host's choice is not allowed. The loopback interface
// always is.
func (rs Rules) Choose(locals []Local) []Local {
	chosen := make([]Local, 0, len(locals))
	best := false
	for _, l := range locals {
		if l.Kind == Loopback || rs.Allows(l.Name) {
			chosen = append(chosen, l)
			best = best || l.Best
		}
	}
	slices.SortStableFunc(chosen, func(a, b Local) int {
		return cmp.Or(rs.standing(a.Name).compare(rs.standing(b.Name)), compareBool(!a.Best, !b.Best))
	})
	if len(chosen) > 0 && !best {
		chosen[0].Best = true
	}
	return chosen
}
