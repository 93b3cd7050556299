package main

import (
	"strings"
	"testing"

	"github.com/mpnc/mpnc/internal/conformance/rules"
)

func TestDocumentIsCurrent(t *testing.T) {
	root, err := rules.Root()
	if err != nil {
		t.Fatal(err)
	}
	tests, err := rules.Tests(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := stale(root, tests); err != nil {
		t.Error(err)
	}
}

func TestMissing(t *testing.T) {
	shown := map[string][]rules.Test{}
	for _, g := range rules.Groups() {
		for _, r := range g.Rows {
			if r.Level.Binding() {
				shown[r.ID] = []rules.Test{{File: "a_test.go", Func: "TestA"}}
			}
		}
	}
	if err := missing("T,D", "", shown); err != nil {
		t.Errorf("every binding row has a test: %v", err)
	}
	delete(shown, "T9")
	delete(shown, "D5")
	delete(shown, "H1")
	if err := missing("T, D", "", shown); err == nil || err.Error() != "no test shows T9, D5" {
		t.Errorf("got %v, want T9 and D5 named", err)
	}
	if err := missing("T,D", "D5, T10", shown); err == nil || err.Error() != "no test shows T9" {
		t.Errorf("got %v, want T9 named", err)
	}
	if err := missing("Z", "", shown); err == nil {
		t.Error("a group that does not exist is complete")
	}
	if err := missing("", "", nil); err != nil {
		t.Errorf("nothing asked for: %v", err)
	}
}

func TestRender(t *testing.T) {
	doc := string(render(map[string][]rules.Test{
		"T9":  {{File: "a/b_test.go", Func: "TestT9_A"}, {File: "a/b_test.go", Func: "TestT9_B"}},
		"T10": {{File: "a/b_test.go", Func: "TestAll", Sub: "T10 x|y"}},
	}))
	for _, want := range []string{
		"| [a/b_test.go](../a/b_test.go): `TestT9_A`, `TestT9_B` |\n",
		"`TestAll/T10 x\\|y`",
		"2 of 25 rules have a test",
		"\n- T1 (MUST): not yet\n",
		"\n- A11 (MAY): left out: ",
	} {
		if !strings.Contains(doc, want) {
			t.Errorf("the document does not have %q", want)
		}
	}
	if strings.Contains(doc, "\n- T9 ") {
		t.Error("T9 is listed as one without a test")
	}
}
