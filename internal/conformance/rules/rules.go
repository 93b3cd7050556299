// Package rules lists the rules of the wire that this module is held to, and
// finds the tests that show them.
//
// A rule has an identifier, such as T9 or D5. A test or subtest shows a rule if
// its name starts with the rule's identifier: TestT9_RSTExact, or, for more than
// one, TestT46_T47_Blocks; a subtest "T9 outside the window".
package rules

import (
	"slices"
	"strings"
)

// Level says how strongly the source demands a rule. A rule with parts of
// different strength has both, as in "MUST, SHOULD".
type Level string

// The levels. What a source describes as the behavior of the protocol, without
// one of the key words, counts as Must if the peer relies on it.
const (
	Must      Level = "MUST"
	MustNot   Level = "MUST NOT"
	Should    Level = "SHOULD"
	ShouldNot Level = "SHOULD NOT"
	May       Level = "MAY"
	Fact      Level = "–" // follows from the protocol, no key word
)

// Binding reports whether the level is MUST or MUST NOT, at least in part.
func (l Level) Binding() bool { return strings.Contains(string(l), "MUST") }

// Row is one rule.
type Row struct {
	ID     string
	Source string // RFC and sections
	Level  Level
	Rule   string
	// LeftOut says why the module does not follow the rule. Empty for a rule
	// that it follows, or will.
	LeftOut string
}

// Group is the rules of one subject.
type Group struct {
	Title string
	// RFC stands before the sources of the rows, if it is the same for all.
	RFC  string
	Rows []Row
}

// Groups returns all rules in the order of the document.
func Groups() []Group { return slices.Concat(multipath, tcp) }

// ByID returns all rules by their identifier.
func ByID() map[string]Row {
	rows := map[string]Row{}
	for _, g := range Groups() {
		for _, r := range g.Rows {
			rows[r.ID] = r
		}
	}
	return rows
}

// Citation returns the row's source in full.
func (g Group) Citation(r Row) string { return strings.TrimSpace(g.RFC + " " + r.Source) }
