package main

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// No letter and no name means two things in one dialect.
func TestTableIsUnambiguous(t *testing.T) {
	for d := range dialects {
		seen := map[string]string{}
		for i := range table {
			o := &table[i]
			if o.letters != "" && len(o.letters) != int(dialects) {
				t.Errorf("--%s has letters for %d dialects", o.name, len(o.letters))
			}
			if len(o.name) < 2 {
				t.Errorf("the long name %q is not long", o.name)
			}
			for _, key := range []string{o.name, o.letter(d)} {
				if key != "" && seen[key] != "" {
					t.Errorf("%v: %q is both --%s and --%s", d, key, seen[key], o.name)
				}
				seen[key] = o.name
			}
		}
		for letter := range d.hints() {
			if seen[letter] != "" {
				t.Errorf("%v: -%s has a hint, but is --%s", d, letter, seen[letter])
			}
		}
	}
}

var (
	manLong   = regexp.MustCompile(`--[a-z][a-z0-9-]*`)
	manLetter = regexp.MustCompile(`(?:^|[ "])(-[A-Za-z0-9])\b`)
)

// manOptions are the options that have a paragraph of their own in a section
// of a manual page.
func manOptions(section string) map[string]bool {
	found := map[string]bool{}
	lines := strings.Split(section, "\n")
	for i := 1; i < len(lines); i++ {
		if lines[i-1] != ".TP" && lines[i-1] != ".TQ" {
			continue
		}
		tag := strings.ReplaceAll(lines[i], `\-`, "-")
		for _, name := range manLong.FindAllString(tag, -1) {
			found[name] = true
		}
		for _, m := range manLetter.FindAllStringSubmatch(tag, -1) {
			found[m[1]] = true
		}
	}
	return found
}

// The manual page describes every option, and no other.
func TestManualHasEveryOption(t *testing.T) {
	page, err := os.ReadFile("../../man/mpnc.1")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(page), "\n.SH OPTIONS\n")
	section, _, ok2 := strings.Cut(section, "\n.SS ")
	if !ok || !ok2 {
		t.Fatal("no section OPTIONS")
	}
	want := map[string]bool{}
	for i := range table {
		if o := &table[i]; !o.hidden {
			want["--"+o.name] = true
			if l := o.letter(mpnc); l != "" {
				want["-"+l] = true
			}
		}
	}
	got := manOptions(section)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !got[name] {
			t.Errorf("%s is not in the manual page", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if !want[name] {
			t.Errorf("the manual page has %s, which the program has not", name)
		}
	}
}
