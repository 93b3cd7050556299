package main

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"regexp"
	"strings"

	"github.com/mpnc/mpnc/internal/conformance/rules"
)

// mark is a marked line of code: it keeps a rule, and off is what stands there
// if the rule is switched off.
type mark struct {
	row  string
	file string // slashed path from the module's root
	line int    // from 1
	off  string
}

func (m mark) place() string { return fmt.Sprintf("%s:%d", m.file, m.line) }

var marker = regexp.MustCompile(`^\s*(.*\S)\s*//spec:([A-Z0-9,]+) off:(.*)$`)

// marks returns all marks in the module's code, one for each rule named.
func marks(root string) (found []mark, err error) {
	known := rules.ByID()
	err = rules.Sources(root, func(name string, src []byte) error {
		if strings.HasSuffix(name, "_test.go") {
			return nil
		}
		line := 0
		for text := range bytes.Lines(src) {
			line++
			m := marker.FindSubmatch(bytes.TrimRight(text, "\n"))
			if m == nil || bytes.HasPrefix(m[1], []byte("//")) {
				continue // no mark, or prose about one
			}
			for row := range strings.SplitSeq(string(m[2]), ",") {
				mk := mark{row, name, line, strings.TrimSpace(string(m[3]))}
				if err := mk.check(known, src, string(m[1])); err != nil {
					return fmt.Errorf("%s: %w", mk.place(), err)
				}
				found = append(found, mk)
			}
		}
		return nil
	})
	return found, err
}

// check finds the mistakes in a mark that need no compiler.
func (m mark) check(known map[string]rules.Row, src []byte, code string) error {
	if _, ok := known[m.row]; !ok {
		return fmt.Errorf("there is no rule %s", m.row)
	}
	if m.off == code {
		return fmt.Errorf("%s: the line off is the line on", m.row)
	}
	if _, err := parser.ParseFile(token.NewFileSet(), m.file, m.apply(src), parser.SkipObjectResolution); err != nil {
		return fmt.Errorf("%s: switched off, this is no Go: %w", m.row, err)
	}
	return nil
}

// apply returns src with the rule switched off; the lines keep their numbers.
func (m mark) apply(src []byte) []byte {
	var out bytes.Buffer
	line := 0
	for text := range bytes.Lines(src) {
		if line++; line == m.line {
			text = []byte(m.off + "\n")
		}
		out.Write(text)
	}
	return out.Bytes()
}
