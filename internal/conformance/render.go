package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/mpnc/mpnc/internal/conformance/rules"
)

const preface = `<!-- Written by: go run ./internal/conformance -->

# Conformance

The rules of the wire that mpnc is held to, and the tests that show each. A test or subtest shows a rule if its name starts
with the rule's identifier, as ` + "`TestT9_RSTExact`" + ` does. This file is made from the names of the tests, and a test of
its own fails when it is stale. That a test does not merely carry the name is shown by switching rules off in the code, one
line at a time, and watching their tests fail: ` + "`go run ./internal/conformance/mutate`" + `.

The rules are told in a few words; what holds is in the RFCs. The level is the source's; "–" follows from the protocol
without one of the key words.
`

// count is how many rows there are, and how many of them have a test.
type count struct{ all, shown, binding, bindingShown int }

func (c *count) add(r rules.Row, shown bool) {
	c.all++
	if shown {
		c.shown++
	}
	if r.Level.Binding() {
		c.binding++
		if shown {
			c.bindingShown++
		}
	}
}

func (c *count) String() string {
	return fmt.Sprintf("%d of %d rules have a test; of those with MUST or MUST NOT, %d of %d.",
		c.shown, c.all, c.bindingShown, c.binding)
}

// render returns the document.
func render(tests map[string][]rules.Test) []byte {
	var total count
	var body bytes.Buffer
	var without []rules.Row
	for _, g := range rules.Groups() {
		var c count
		var table bytes.Buffer
		for _, r := range g.Rows {
			shown := len(tests[r.ID]) > 0
			c.add(r, shown)
			total.add(r, shown)
			if !shown {
				without = append(without, r)
			}
			fmt.Fprintf(&table, "| %s | %s | %s | %s | %s |\n",
				r.ID, g.Citation(r), r.Level, cell(r.Rule), links(tests[r.ID]))
		}
		fmt.Fprintf(&body, "\n## %s\n\n%v\n\n", g.Title, &c)
		body.WriteString("| row | source | level | rule | tests |\n|---|---|---|---|---|\n")
		body.Write(table.Bytes())
	}
	var doc bytes.Buffer
	fmt.Fprintf(&doc, "%s\nAll in all, %v\n", preface, &total)
	doc.Write(body.Bytes())
	doc.WriteString("\n## Rows without a test\n\n")
	if len(without) == 0 {
		doc.WriteString("None.\n")
	}
	for _, r := range without {
		why := "not yet"
		if r.LeftOut != "" {
			why = "left out: " + r.LeftOut
		}
		fmt.Fprintf(&doc, "- %s (%s): %s\n", r.ID, r.Level, why)
	}
	return doc.Bytes()
}

// links returns the tests by file, each file linked.
func links(tests []rules.Test) string {
	var b strings.Builder
	for i, t := range tests {
		if i == 0 || tests[i-1].File != t.File {
			if i > 0 {
				b.WriteString("; ")
			}
			fmt.Fprintf(&b, "[%s](../%s): ", t.File, t.File)
		} else {
			b.WriteString(", ")
		}
		name := t.Func
		if t.Sub != "" {
			name += "/" + t.Sub
		}
		b.WriteString("`" + cell(name) + "`")
	}
	return b.String()
}

// cell makes text fit a cell of a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
