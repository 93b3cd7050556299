package rules

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Test is a test that shows a rule.
type Test struct {
	File string // relative to the module's root, with slashes
	Func string
	Sub  string // name of the subtest; empty if it is the whole function
}

// Name returns the name of the test as the testing package writes it.
func (t Test) Name() string {
	if t.Sub == "" {
		return t.Func
	}
	return t.Func + "/" + strings.ReplaceAll(t.Sub, " ", "_")
}

// Tests returns the tests in all test files below root, of any system, by the
// identifier of the rule they show, in the order of files and lines.
//
// A name with an identifier that no rule has, but whose letter some rules have,
// is an error: it is a slip of the pen, and the rule that was meant would pass
// for untested.
func Tests(root string) (map[string][]Test, error) {
	s := scanner{known: ByID(), letters: map[byte]bool{}, found: map[string][]Test{}}
	for id := range s.known {
		s.letters[id[0]] = true
	}
	err := Sources(root, func(name string, src []byte) error {
		if !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		return s.file(name, src)
	})
	return s.found, err
}

// Sources calls f with every Go file below root, by its slashed path from
// there, but not with hidden directories and test data.
func Sources(root string, f func(name string, src []byte) error) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return f(filepath.ToSlash(name), src)
	})
}

// Root returns the directory of the module that the working directory is in.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no go.mod above the working directory")
		}
		dir = up
	}
}

var (
	funcName = regexp.MustCompile(`^(?:Test|Fuzz)((?:[A-Z][0-9]+(?:_|$))+)`)
	subName  = regexp.MustCompile(`^((?:[A-Z][0-9]+(?:[ ,:_]+|$))+)`)
	rowID    = regexp.MustCompile(`[A-Z][0-9]+`)
)

type scanner struct {
	known   map[string]Row
	letters map[byte]bool // that the identifiers start with
	found   map[string][]Test
}

func (s *scanner) file(name string, src []byte) error {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || fn.Body == nil {
			continue
		}
		test := strings.HasPrefix(fn.Name.Name, "Test")
		if !test && !strings.HasPrefix(fn.Name.Name, "Fuzz") {
			continue
		}
		t := Test{File: name, Func: fn.Name.Name}
		if err := s.add(funcName, t.Func, t); err != nil {
			return fmt.Errorf("%v: %w", fset.Position(fn.Pos()), err)
		}
		if !test {
			continue
		}
		for _, lit := range subtestNames(fn.Body) {
			t.Sub, err = strconv.Unquote(lit.Value)
			if err != nil {
				return err
			}
			if err := s.add(subName, t.Sub, t); err != nil {
				return fmt.Errorf("%v: %w", fset.Position(lit.Pos()), err)
			}
		}
	}
	return nil
}

// add notes t for the rules that name starts with.
func (s *scanner) add(pattern *regexp.Regexp, name string, t Test) error {
	m := pattern.FindStringSubmatch(name)
	if m == nil {
		return nil
	}
	for _, id := range rowID.FindAllString(m[1], -1) {
		if !s.letters[id[0]] {
			continue
		}
		if _, ok := s.known[id]; !ok {
			return fmt.Errorf("%q: there is no rule %s", name, id)
		}
		if !slices.Contains(s.found[id], t) {
			s.found[id] = append(s.found[id], t)
		}
	}
	return nil
}

// subtestNames returns the string literals in body that can be the name of a
// subtest, if it has any: the argument of Run, and in tables the first element
// or the one called name, and the keys of maps.
func subtestNames(body *ast.BlockStmt) (names []*ast.BasicLit) {
	runs := false
	note := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			names = append(names, lit)
		}
	}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Run" && len(n.Args) == 2 {
				runs = true
				note(n.Args[0])
			}
		case *ast.CompositeLit:
			for i, e := range n.Elts {
				kv, ok := e.(*ast.KeyValueExpr)
				if !ok {
					if i == 0 {
						note(e)
					}
					continue
				}
				note(kv.Key)
				if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "name" {
					note(kv.Value)
				}
			}
		}
		return true
	})
	if !runs {
		return nil
	}
	return names
}
