package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mpnc/mpnc/internal/conformance/rules"
)

// Every mark in the module is of a rule that has a test, and is Go when it is
// switched off.
func TestMarksAreSound(t *testing.T) {
	root, err := rules.Root()
	if err != nil {
		t.Fatal(err)
	}
	all, err := marks(root)
	if err != nil {
		t.Fatal(err)
	}
	tests, err := rules.Tests(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if len(tests[m.row]) == 0 {
			t.Errorf("%s: no test shows %s", m.place(), m.row)
		}
	}
}

// module makes a module of one package: a rule, and a test that is given.
func module(t *testing.T, code, test string) lab {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":    "module example.org/m\n\ngo 1.26\n",
		"p.go":      code,
		"p_test.go": "package p\n\nimport \"testing\"\n\n" + test,
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return lab{root: root, dir: t.TempDir(), sound: map[string]bool{}}
}

func tryOnly(t *testing.T, l lab) (verdict, error) {
	t.Helper()
	all, err := marks(l.root)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 {
		t.Fatalf("%d marks", len(all))
	}
	tests, err := rules.Tests(l.root)
	if err != nil {
		t.Fatal(err)
	}
	return l.try(all[0], tests[all[0].row])
}

const least = `package p

func least(a, b int) int {
	if b < a { //spec:T9 off: if false {
		return b
	}
	return a
}
`

func TestVerdicts(t *testing.T) {
	for _, c := range []struct{ name, code, test, want string }{
		{
			"noticed", least,
			"func TestT9_Least(t *testing.T) { if least(2, 1) != 1 { t.Fail() } }\n",
			"failed TestT9_Least",
		}, {
			"in one test of two", least,
			"func TestT9_A(t *testing.T) { _ = least(2, 1) }\n" +
				"func TestB(t *testing.T) { t.Run(\"T9 b\", func(t *testing.T) { if least(2, 1) != 1 { t.Fail() } }) }\n",
			"failed TestB/T9_b (passed TestT9_A)",
		}, {
			"in name only", least,
			"func TestT9_Least(t *testing.T) { if least(1, 2) != 1 { t.Fail() } }\n",
			"SURVIVED TestT9_Least",
		}, {
			"a test of another rule", least,
			"func TestT10_Least(t *testing.T) { if least(2, 1) != 1 { t.Fail() } }\n",
			"BROKEN: the rule has no test",
		}, {
			"does not compile", strings.Replace(least, "if false", "if nothing", 1),
			"func TestT9_Least(t *testing.T) { if least(2, 1) != 1 { t.Fail() } }\n",
			"BROKEN: does not compile: ",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := tryOnly(t, module(t, c.code, c.test))
			if err != nil {
				t.Fatal(err)
			}
			if got := v.String(); got != c.want && (!strings.HasPrefix(got, c.want) || !strings.HasSuffix(c.want, ": ")) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if want := strings.HasPrefix(c.want, "failed"); v.killed() != want {
				t.Errorf("killed: %v, want %v", v.killed(), want)
			}
		})
	}
}

// A test that fails or is skipped anyhow is no witness.
func TestBaseline(t *testing.T) {
	for _, c := range []struct{ name, test, want string }{
		{"fails", "func TestT9_Least(t *testing.T) { t.Fail() }\n", "fails with all rules on"},
		{"is skipped", "func TestT9_Least(t *testing.T) { t.Skip() }\n", "did not run with all rules on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := tryOnly(t, module(t, least, c.test))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(v.broken, c.want) {
				t.Errorf("got %q, want %q", v, c.want)
			}
		})
	}
}

func TestBadMarks(t *testing.T) {
	for _, c := range []struct{ name, line, want string }{
		{"unknown rule", "x := 1 //spec:T99 off: x := 2", "no rule T99"},
		{"nothing changes", "x := 1 //spec:T9 off: x := 1", "the line off is the line on"},
		{"no Go", "_ = x //spec:T9 off: case x:", "this is no Go"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := module(t, "package p\n\nfunc f(x bool) {\n"+c.line+"\n}\n", "")
			if _, err := marks(l.root); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	all := []mark{{row: "T1", line: 1}, {row: "T2"}, {row: "T1", line: 3}, {row: "T3"}, {row: "T4"}}
	rowsOf := func(seed uint64, n int, named string) string {
		got, err := choose(all, seed, n, named)
		if err != nil {
			return err.Error()
		}
		return strings.Join(byRow(got), " ")
	}
	if got := rowsOf(1, 0, ""); got != "T1 T2 T3 T4" {
		t.Errorf("all: %s", got)
	}
	if got := rowsOf(1, 2, "T3,T1"); got != "T1 T3" {
		t.Errorf("named: %s", got)
	}
	if got := rowsOf(1, 2, "T9"); got != "no line is marked T9" {
		t.Errorf("unknown: %s", got)
	}
	drawn := map[string]bool{}
	for seed := range uint64(50) {
		s := rowsOf(seed, 2, "")
		if s != rowsOf(seed, 2, "") || len(strings.Fields(s)) != 2 {
			t.Fatalf("seed %d: %s", seed, s)
		}
		drawn[s] = true
	}
	if len(drawn) != 6 {
		t.Errorf("of the six pairs, %d are drawn", len(drawn))
	}
	got, err := choose(all, 0, 0, "T1")
	if err != nil || len(got) != 2 {
		t.Errorf("both lines of T1: %v, %v", got, err)
	}
}
