package testenv

import (
	"fmt"
	"testing"
)

// scenariosAtOnce is how many labs there are side by side.
const scenariosAtOnce = 8

// staged is a scenario with us in one of the places.
type staged struct {
	*scenario
	ours place
}

func (s staged) String() string {
	return fmt.Sprintf("%s: %s, mpnc is the %v", s.family, s.name, s.ours)
}

// The kernel's own scenarios, with us in the place of its listener and of its
// connector: docs/kernel-scenarios.md.
func TestKernelScenarios(t *testing.T) {
	var cases []staged
	for i := range scenarios {
		s := &scenarios[i]
		for _, ours := range []place{atServer, atClient} {
			if s.played(ours) {
				cases = append(cases, staged{s, ours})
			}
		}
	}
	cases = chosen(t, 3, cases)
	var tests []func(*testing.T)
	for _, c := range cases {
		tests = append(tests, func(t *testing.T) { c.perform(t, c.ours) })
	}
	sideBySide(t, scenariosAtOnce, tests, func(i int) string { return cases[i].String() })
}

func (s *scenario) played(ours place) bool {
	return s.left == "" && s.shownBy == nil && s.exception(ours).left == ""
}
