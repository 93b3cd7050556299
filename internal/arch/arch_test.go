// Package arch has no code: its tests hold the whole module to its design.
// Imports go one way, and the protocol's packages are pure: they have no
// goroutine, lock, channel, clock or socket, and decide nothing by the order
// of a map.
package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/mpnc/mpnc/"

// arrows says which packages of this module each package may import. Files of
// every system and build tag count; tests do not.
var arrows = map[string]string{
	"internal/mono":            "",
	"internal/seq":             "",
	"internal/alarm":           "internal/mono",
	"internal/buf":             "internal/seq",
	"internal/wire":            "internal/mono internal/seq internal/buf",
	"internal/trace":           "internal/mono internal/wire",
	"internal/trace/tracefile": "internal/mono internal/trace",
	"internal/ladder":          "internal/mono internal/seq internal/wire internal/trace subflow",
	"subflow/cc":               "internal/mono",
	"scheduler":                "internal/mono internal/seq",
	"pathmgr":                  "internal/mono",
	"subflow":                  "internal/mono internal/seq internal/buf internal/wire subflow/cc",
	"mptcp/engine": "internal/mono internal/seq internal/buf internal/wire internal/trace " +
		"subflow subflow/cc scheduler pathmgr",

	"internal/netio/rtnl":   "",
	"internal/netio/nstest": "internal/netio/rtnl", // helps tests
	"internal/netio":        "internal/mono internal/wire internal/netio/rtnl pathmgr",
	"pathmgr/netmon":        "pathmgr internal/netio/rtnl",
	"mptcp": "mptcp/engine internal/netio pathmgr/netmon internal/alarm internal/trace internal/mono " +
		"internal/wire subflow subflow/cc scheduler pathmgr",
	"testenv":           "mptcp mptcp/engine internal/netio internal/wire internal/mono internal/seq internal/trace subflow subflow/cc scheduler pathmgr",
	"testenv/compare":   "testenv mptcp subflow/cc internal/report",
	"testenv/duel":      "testenv mptcp pathmgr internal/report",
	"testenv/handover":  "testenv testenv/duel internal/report",
	"testenv/aggregate": "testenv testenv/duel internal/report",
	"testenv/coupled":   "testenv mptcp subflow/cc pathmgr",
	"testenv/scale":     "",
	"testenv/speed":     "testenv testenv/duel testenv/speed/end mptcp internal/report",
	"testenv/speed/end": "",

	"testenv/speed/peers": "testenv/speed/end", // a module of its own
	"internal/emu":        "mptcp testenv internal/netio internal/wire internal/mono",
	"internal/netcat":     "",
	"internal/control":    "",
	"internal/proxy":      "",
	"internal/report":     "",

	"internal/conformance/rules":  "",
	"internal/conformance":        "internal/conformance/rules",
	"internal/conformance/mutate": "internal/conformance/rules",

	"cmd/mpnc": "mptcp scheduler pathmgr subflow/cc internal/netcat internal/proxy internal/control internal/report internal/emu internal/trace internal/trace/tracefile internal/ladder testenv",
}

// pure are the packages of the protocol itself.
var pure = []string{
	"internal/mono", "internal/seq", "internal/buf", "internal/wire", "internal/trace",
	"subflow/cc", "scheduler", "pathmgr", "subflow", "mptcp/engine",
}

// forbidden in a pure package, by import path; a path ending in / stands for
// all below it, too.
var forbidden = map[string]string{
	"sync":        "locks belong to the driver",
	"sync/":       "locks belong to the driver",
	"os":          "the system belongs to the driver",
	"os/":         "the system belongs to the driver",
	"net":         "sockets belong to the device",
	"net/":        "sockets belong to the device",
	"context":     "waiting belongs to the driver",
	"maps":        "its iterators have no order",
	"unsafe":      "nothing here is worth it",
	"crypto/rand": "randomness is given",
	"math/rand":   "randomness is given",
	"math/rand/":  "randomness is given",
	"runtime":     "the system belongs to the driver",
	"runtime/":    "the system belongs to the driver",
}

// granted are the imports that a pure package has all the same, as "package
// import", and why.
var granted = map[string]string{
	"internal/buf sync/atomic": "memory that is lent to a device comes back without the connection's lock",
}

// clocks are the functions of package time that read a clock or wait.
var clocks = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"}

// anyOrder marks, on its line or the one above, a loop over a map whose order
// decides nothing, and says why.
const anyOrder = "any order:"

// root is the module's directory.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// source is a package's files without tests.
type source struct {
	fset  *token.FileSet
	files []*ast.File
}

// sources parses every package of the module, for all systems.
func sources(t *testing.T) map[string]*source {
	t.Helper()
	top := root(t)
	found := map[string]*source{}
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != top && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir(), !strings.HasSuffix(name, ".go"), strings.HasSuffix(name, "_test.go"):
			return nil
		}
		rel, err := filepath.Rel(top, filepath.Dir(name))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(rel)
		if found[pkg] == nil {
			found[pkg] = &source{fset: token.NewFileSet()}
		}
		s := found[pkg]
		f, err := parser.ParseFile(s.fset, name, nil, parser.ParseComments)
		s.files = append(s.files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func imports(f *ast.File) (paths []string) {
	for _, i := range f.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			panic(err) // the parser has accepted it
		}
		paths = append(paths, p)
	}
	return paths
}

func TestImportArrows(t *testing.T) {
	found := sources(t)
	for pkg, s := range found {
		allowed, known := arrows[pkg]
		if !known {
			t.Errorf("package %s is not in the table of arrows: add it, and to docs/architecture.md", pkg)
			continue
		}
		for _, f := range s.files {
			for _, p := range imports(f) {
				own, ok := strings.CutPrefix(p, module)
				if ok && !slices.Contains(strings.Fields(allowed), own) {
					t.Errorf("%s: %s must not import %s", s.fset.Position(f.Pos()).Filename, pkg, own)
				}
			}
		}
	}
	for pkg := range arrows {
		if found[pkg] == nil {
			t.Errorf("the table of arrows has %s, which does not exist", pkg)
		}
	}
}

// The table itself must not allow a cycle, nor a way out of purity.
func TestArrowsAreLawful(t *testing.T) {
	state := map[string]int{} // 1: being visited, 2: done
	var visit func(pkg string)
	visit = func(pkg string) {
		if state[pkg] == 1 {
			t.Fatalf("a cycle through %s", pkg)
		}
		if state[pkg] == 2 {
			return
		}
		state[pkg] = 1
		for _, to := range strings.Fields(arrows[pkg]) {
			if slices.Contains(pure, pkg) && !slices.Contains(pure, to) {
				t.Errorf("%s is pure and may import %s, which is not", pkg, to)
			}
			visit(to)
		}
		state[pkg] = 2
	}
	for _, pkg := range slices.Sorted(maps.Keys(arrows)) {
		visit(pkg)
	}
}

func TestPurePackages(t *testing.T) {
	found, taken := sources(t), map[string]bool{}
	for _, pkg := range pure {
		s := found[pkg]
		if s == nil {
			t.Errorf("%s does not exist", pkg)
			continue
		}
		for _, f := range s.files {
			for _, v := range impurities(f) {
				if used := pkg + " " + v.path; granted[used] != "" {
					taken[used] = true
					continue
				}
				t.Errorf("%v: %s", s.fset.Position(v.pos), v.what)
			}
		}
	}
	for used := range granted {
		if !taken[used] {
			t.Errorf("%q is granted and not used", used)
		}
	}
}

type violation struct {
	pos  token.Pos
	what string
	path string // of what is imported
}

// impurities finds what a pure package must not do.
func impurities(f *ast.File) (found []violation) {
	for i, p := range imports(f) {
		if why := forbidding(p); why != "" {
			found = append(found, violation{f.Imports[i].Pos(), "imports " + p + ": " + why, p})
		}
	}
	timeName := localName(f, "time")
	ast.Inspect(f, func(n ast.Node) bool {
		if n == nil {
			return false
		}
		if what := impurity(n, timeName); what != "" {
			found = append(found, violation{pos: n.Pos(), what: what})
		}
		return true
	})
	return found
}

func forbidding(p string) string {
	if p == "net/netip" {
		return ""
	}
	if why, ok := forbidden[p]; ok {
		return why
	}
	for dir, why := range forbidden {
		if strings.HasSuffix(dir, "/") && strings.HasPrefix(p, dir) {
			return why
		}
	}
	return ""
}

func localName(f *ast.File, importPath string) string {
	for i, p := range imports(f) {
		if p != importPath {
			continue
		}
		if name := f.Imports[i].Name; name != nil {
			return name.Name
		}
		return path.Base(p)
	}
	return ""
}

func impurity(n ast.Node, timeName string) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "starts a goroutine"
	case *ast.ChanType, *ast.SendStmt, *ast.SelectStmt:
		return "uses a channel"
	case *ast.UnaryExpr:
		if n.Op == token.ARROW {
			return "uses a channel"
		}
	case *ast.SelectorExpr:
		x, ok := n.X.(*ast.Ident)
		if ok && timeName != "" && x.Name == timeName && slices.Contains(clocks, n.Sel.Name) {
			return "reads the clock or waits: time." + n.Sel.Name
		}
	}
	return ""
}

// The check must see what it is there for.
func TestImpuritiesAreSeen(t *testing.T) {
	const bad = `package bad
import (
	"net"
	"sync/atomic"
	clock "time"
)
var _ net.Conn
var _ atomic.Bool
func f(m map[int]int) {
	c := make(chan int)
	go f(nil)
	c <- 1
	<-c
	select {}
	_ = clock.Now()
	_ = clock.Second
}`
	f, err := parser.ParseFile(token.NewFileSet(), "bad.go", bad, 0)
	if err != nil {
		t.Fatal(err)
	}
	var whats []string
	for _, v := range impurities(f) {
		whats = append(whats, v.what)
	}
	got := strings.Join(whats, "\n")
	want := "imports net: sockets belong to the device\n" +
		"imports sync/atomic: locks belong to the driver\n" +
		"uses a channel\nstarts a goroutine\nuses a channel\nuses a channel\nuses a channel\n" +
		"reads the clock or waits: time.Now"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// No loop over a map in a pure package: its order differs from run to run, and
// a simulation could not be replayed.
func TestNoMapOrder(t *testing.T) {
	exports := exportData(t)
	for pkg, s := range sources(t) {
		if !slices.Contains(pure, pkg) {
			continue
		}
		lookup := func(p string) (io.ReadCloser, error) {
			name, ok := exports[p]
			if !ok {
				return nil, fmt.Errorf("no export data of %s", p)
			}
			return os.Open(name)
		}
		loops, err := mapLoops(s, pkg, importer.ForCompiler(s.fset, "gc", lookup))
		if err != nil {
			t.Errorf("%s: %v", pkg, err)
		}
		for _, pos := range loops {
			t.Errorf("%v: a loop over a map; if the order decides nothing, say so: // %s why", pos, anyOrder)
		}
	}
}

// exportData asks the go command where the compiled types are of everything
// that the pure packages import.
func exportData(t *testing.T) map[string]string {
	t.Helper()
	args := []string{"list", "-deps", "-export", "-f", "{{.ImportPath}}\t{{.Export}}"}
	for _, p := range pure {
		args = append(args, "./"+p)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		p, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		exports[p] = file
	}
	return exports
}

// mapLoops returns the loops over maps that are not marked.
func mapLoops(s *source, pkg string, imp types.Importer) (found []token.Position, err error) {
	info := types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	conf := types.Config{Importer: imp}
	if _, err := conf.Check(module+pkg, s.fset, s.files, &info); err != nil {
		return nil, err
	}
	for _, f := range s.files {
		marked := markedLines(s.fset, f)
		ast.Inspect(f, func(n ast.Node) bool {
			loop, ok := n.(*ast.RangeStmt)
			if !ok {
				return true
			}
			pos := s.fset.Position(loop.Pos())
			_, isMap := info.TypeOf(loop.X).Underlying().(*types.Map)
			if isMap && !marked[pos.Line] && !marked[pos.Line-1] {
				found = append(found, pos)
			}
			return true
		})
	}
	return found, nil
}

func markedLines(fset *token.FileSet, f *ast.File) map[int]bool {
	lines := map[int]bool{}
	for _, g := range f.Comments {
		for _, c := range g.List {
			if strings.Contains(c.Text, anyOrder) {
				lines[fset.Position(c.End()).Line] = true
			}
		}
	}
	return lines
}

func TestMapLoopsAreSeen(t *testing.T) {
	const text = `package p
type table map[string]int
func f(m table, s []int) {
	for range s {
	}
	for range m {
	}
	// any order: only counted
	for range m {
	}
	for range m { // any order: only counted
	}
}`
	s := &source{fset: token.NewFileSet()}
	f, err := parser.ParseFile(s.fset, "p.go", text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	s.files = []*ast.File{f}
	loops, err := mapLoops(s, "p", nil)
	if err != nil || len(loops) != 1 || loops[0].Line != 6 {
		t.Errorf("got %v, %v, want line 6 alone", loops, err)
	}
}
