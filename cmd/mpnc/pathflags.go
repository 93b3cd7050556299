package main

import (
	"os"
	"slices"
	"sync/atomic"

	"github.com/urfave/cli/v2"

	"github.com/mpnc/mpnc/pathmgr"
)

// pathRules are the rules of the command line and then, for names that it does
// not mention, those of the file.
func pathRules(c *cli.Context) (rules pathmgr.Rules, err error) {
	for _, flag := range []struct {
		name  string
		parse func(string) (pathmgr.Rule, error)
	}{{"path", pathmgr.ParseRule}, {"no-path", pathmgr.NeverRule}} {
		for _, text := range c.StringSlice(flag.name) {
			r, err := flag.parse(text)
			if err == nil {
				rules, err = rules.Add(r)
			}
			if err != nil {
				return nil, usage("--%s %s: %v", flag.name, text, err)
			}
		}
	}
	if name := c.String("path-file"); name != "" {
		more, err := readPathFile(name)
		if err != nil {
			return nil, err
		}
		for _, r := range more {
			if !slices.ContainsFunc(rules, func(o pathmgr.Rule) bool { return o.Iface == r.Iface }) {
				rules = append(rules, r)
			}
		}
	}
	for i := range rules {
		if rules[i].Max > 0 {
			rules[i].Meter = &meter{rule: rules[i]}
		}
	}
	return rules, nil
}

func readPathFile(name string) (pathmgr.Rules, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, usage("--path-file: %v", err)
	}
	defer f.Close()
	rules, err := pathmgr.ParseRules(f)
	if err != nil {
		return nil, usage("%s: %v", name, err)
	}
	return rules, nil
}

// meter counts what the interfaces of one rule carried, for as long as the
// command runs, and says once that it is spent.
type meter struct {
	rule  pathmgr.Rule
	n     atomic.Uint64
	said  atomic.Bool
	infof func(string, ...any) // nil: nobody listens
}

// Add implements pathmgr.Meter.
func (m *meter) Add(n uint64) uint64 {
	sum := m.n.Add(n)
	if sum >= m.rule.Max && m.infof != nil && m.said.CompareAndSwap(false, true) {
		go m.infof("%s has carried its %d octets and is not used any more", m.rule.Iface, m.rule.Max)
	}
	return sum
}

// tellSpent has the meters of rules say what they have to.
func tellSpent(rules pathmgr.Rules, infof func(string, ...any)) {
	for i := range rules {
		if m, ok := rules[i].Meter.(*meter); ok {
			m.infof = infof
		}
	}
}
