package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/mpnc/mpnc/internal/conformance/rules"
)

// testTimeout is for one test. A rule that is off may make it wait for ever.
const testTimeout = "30s"

// lab builds the packages' tests with and without a rule, and runs them.
type lab struct {
	root  string
	dir   string // for what is built
	every bool   // run the tests of every package, though some have failed
	// sound are the tests that were seen to pass with all rules on.
	sound map[string]bool
}

// verdict is what became of the tests of a rule that is switched off.
type verdict struct {
	broken string   // why nothing could be run; empty if it was
	failed []string // the tests that noticed
	passed []string
}

func (v verdict) killed() bool { return v.broken == "" && len(v.failed) > 0 }

func (v verdict) String() string {
	switch {
	case v.broken != "":
		return "BROKEN: " + v.broken
	case len(v.failed) == 0:
		return "SURVIVED " + strings.Join(v.passed, " ")
	case len(v.passed) == 0:
		return "failed " + strings.Join(v.failed, " ")
	}
	return "failed " + strings.Join(v.failed, " ") + " (passed " + strings.Join(v.passed, " ") + ")"
}

// try switches m off and runs the rule's tests.
func (l *lab) try(m mark, tests []rules.Test) (v verdict, err error) {
	if len(tests) == 0 {
		return verdict{broken: "the rule has no test"}, nil
	}
	overlay, err := l.overlay(m)
	if err != nil {
		return v, err
	}
	for _, pkg := range packages(m, tests) {
		if len(v.failed) > 0 && !l.every {
			break
		}
		group := slices.DeleteFunc(slices.Clone(tests), func(t rules.Test) bool { return path.Dir(t.File) != pkg })
		if err := l.baseline(pkg, group); err != nil {
			return verdict{broken: err.Error()}, nil
		}
		bin, out, err := l.build(pkg, "-overlay", overlay)
		if err != nil {
			return verdict{broken: "does not compile: " + out}, nil
		}
		for _, t := range group {
			if _, err := l.run(bin, pkg, t); err != nil {
				v.failed = append(v.failed, t.Name())
			} else {
				v.passed = append(v.passed, t.Name())
			}
		}
	}
	return v, nil
}

// packages returns the directories of the tests, that of the marked line first:
// what is nearest takes the least to compile.
func packages(m mark, tests []rules.Test) (dirs []string) {
	for _, t := range tests {
		d := path.Dir(t.File)
		switch {
		case slices.Contains(dirs, d):
		case d == path.Dir(m.file):
			dirs = slices.Insert(dirs, 0, d)
		default:
			dirs = append(dirs, d)
		}
	}
	return dirs
}

// overlay writes the file of m without the rule, and returns the name of the
// go command's file that puts it in place.
func (l *lab) overlay(m mark) (string, error) {
	name := filepath.Join(l.root, filepath.FromSlash(m.file))
	src, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	off := filepath.Join(l.dir, "off.go")
	if err := os.WriteFile(off, m.apply(src), 0o600); err != nil {
		return "", err
	}
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{name: off}})
	if err != nil {
		return "", err
	}
	list := filepath.Join(l.dir, "overlay.json")
	return list, os.WriteFile(list, text, 0o600)
}

// baseline sees to it that the tests pass, and are not skipped, with all rules
// on: otherwise their failure would prove nothing.
func (l *lab) baseline(pkg string, tests []rules.Test) error {
	fresh := slices.DeleteFunc(slices.Clone(tests), func(t rules.Test) bool { return l.sound[pkg+" "+t.Name()] })
	if len(fresh) == 0 {
		return nil
	}
	bin, out, err := l.build(pkg)
	if err != nil {
		return fmt.Errorf("the tests of %s do not compile: %s", pkg, out)
	}
	for _, t := range fresh {
		out, err := l.run(bin, pkg, t)
		if err != nil {
			return fmt.Errorf("%s fails with all rules on:\n%s", t.Name(), out)
		}
		if !strings.Contains(out, "--- PASS: "+t.Name()+" ") {
			return fmt.Errorf("%s did not run with all rules on:\n%s", t.Name(), out)
		}
		l.sound[pkg+" "+t.Name()] = true
	}
	return nil
}

// build compiles the tests of a package, and returns the program and what the
// compiler said.
func (l *lab) build(pkg string, flags ...string) (bin, said string, err error) {
	bin = filepath.Join(l.dir, "tests")
	cmd := exec.Command("go", slices.Concat([]string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-o", bin}, flags, []string{"./" + pkg})...)
	cmd.Dir = l.root
	out, err := cmd.CombinedOutput()
	return bin, strings.Join(strings.Fields(string(out)), " "), err
}

// run runs one test; the error is that of a failure.
func (l *lab) run(bin, pkg string, t rules.Test) (string, error) {
	cmd := exec.Command(bin, "-test.v", "-test.timeout", testTimeout, "-test.run", pattern(t))
	cmd.Dir = filepath.Join(l.root, filepath.FromSlash(pkg))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return "", fmt.Errorf("cannot run the tests of %s: %w", pkg, err)
	}
	return out.String(), err
}

// pattern returns what selects t alone.
func pattern(t rules.Test) string {
	parts := strings.Split(t.Name(), "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}
