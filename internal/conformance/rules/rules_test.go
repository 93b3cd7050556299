package rules

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func TestRowsAreSound(t *testing.T) {
	id := regexp.MustCompile(`^[A-Z][1-9][0-9]*$`)
	seen := map[string]bool{}
	for _, g := range Groups() {
		for _, r := range g.Rows {
			if !id.MatchString(r.ID) || seen[r.ID] {
				t.Errorf("%q: malformed or there twice", r.ID)
			}
			seen[r.ID] = true
			if r.Source == "" || r.Level == "" || r.Rule == "" {
				t.Errorf("%s: something is empty", r.ID)
			}
			if r.LeftOut != "" && r.Level.Binding() {
				t.Errorf("%s is %s and left out", r.ID, r.Level)
			}
		}
	}
}

const sample = `package p

func TestT9_T10_Both(t *testing.T) {}
func TestW2(t *testing.T) {}
func FuzzT17_Options(f *testing.F) {}
func TestT(t *testing.T) {}
func TestE2EThings(t *testing.T) {}
func TestL32_Linux(t *testing.T) {}
func (x) TestT1_Method(t *testing.T) {}
func BenchmarkT1_Speed(b *testing.B) {}

func TestTable(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{name: "D5 cut elsewhere", text: "D6 not a name"},
		{"D7, D9: twice", "D8 not a name"},
		{"nothing", "A1"},
	} {
		t.Run(c.name, nil)
	}
	t.Run("X1", nil)
	for name := range map[string]int{"X2 key": 1} {
		t.Run(name, nil)
	}
}

func TestNoSubtests(t *testing.T) { _ = []string{"X3 text"} }
`

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestScan(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "p/p_test.go", sample)
	write(t, dir, "p/p.go", "package p\nfunc TestT1_NotATest() {}\n")
	write(t, dir, "p/testdata/a_test.go", "package a\nfunc TestT1_Data(t *testing.T) {}\n")
	write(t, dir, ".hidden/a_test.go", "package a\nfunc TestT1_Hidden(t *testing.T) {}\n")
	got, err := Tests(dir)
	if err != nil {
		t.Fatal(err)
	}
	test := func(fn, sub string) []Test { return []Test{{"p/p_test.go", fn, sub}} }
	want := map[string][]Test{
		"T9":  test("TestT9_T10_Both", ""),
		"T10": test("TestT9_T10_Both", ""),
		"W2":  test("TestW2", ""),
		"T17": test("FuzzT17_Options", ""),
		"D5":  test("TestTable", "D5 cut elsewhere"),
		"D7":  test("TestTable", "D7, D9: twice"),
		"D9":  test("TestTable", "D7, D9: twice"),
		"X1":  test("TestTable", "X1"),
		"X2":  test("TestTable", "X2 key"),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if name := want["D5"][0].Name(); name != "TestTable/D5_cut_elsewhere" {
		t.Errorf("name of a subtest: %s", name)
	}
}

func TestScanUnknownRow(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "p_test.go", "package p\nfunc TestT99_Slip(t *testing.T) {}\n")
	if _, err := Tests(dir); err == nil || !strings.Contains(err.Error(), "no rule T99") {
		t.Errorf("got %v", err)
	}
}
