// Conformance writes docs/conformance.md: the rules of the wire that this
// module follows, each with the tests that show it.
//
//	go run ./internal/conformance            # write the file
//	go run ./internal/conformance -check     # fail if it is stale
//	go run ./internal/conformance -must=T    # fail if a MUST row of T has no test
//	go run ./internal/conformance -must=T -except=T81
//
// That a test not merely carries a rule's name is shown by
// internal/conformance/mutate, which switches the rules off.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mpnc/mpnc/internal/conformance/rules"
)

const document = "docs/conformance.md"

func main() {
	check := flag.Bool("check", false, "write nothing; fail if "+document+" is stale")
	must := flag.String("must", "", "fail if a MUST or MUST NOT row of these `letters` (as T,D) has no test")
	except := flag.String("except", "", "`rows` that -must does not ask for")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*check, *must, *except); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func run(check bool, must, except string) error {
	root, err := rules.Root()
	if err != nil {
		return err
	}
	tests, err := rules.Tests(root)
	if err != nil {
		return err
	}
	if check {
		err = stale(root, tests)
	} else {
		err = os.WriteFile(filepath.Join(root, document), render(tests), 0o644)
	}
	return errors.Join(err, missing(must, except, tests))
}

// stale returns an error if the committed document is not what would be written.
func stale(root string, tests map[string][]rules.Test) error {
	have, err := os.ReadFile(filepath.Join(root, document))
	if err != nil {
		return err
	}
	if !bytes.Equal(have, render(tests)) {
		return fmt.Errorf("%s is stale: go run ./internal/conformance", document)
	}
	return nil
}

// missing returns an error that names the binding rows of the groups, given by
// their letters, that no test shows and that are not excepted.
func missing(groups, except string, tests map[string][]rules.Test) error {
	var without []string
	excepted := list(except)
	for _, letter := range list(groups) {
		known := false
		for _, g := range rules.Groups() {
			for _, r := range g.Rows {
				if r.ID[:1] != letter {
					continue
				}
				known = true
				if r.Level.Binding() && r.LeftOut == "" && len(tests[r.ID]) == 0 && !slices.Contains(excepted, r.ID) {
					without = append(without, r.ID)
				}
			}
		}
		if !known {
			return fmt.Errorf("there are no rows %s", letter)
		}
	}
	if len(without) > 0 {
		return fmt.Errorf("no test shows %s", strings.Join(without, ", "))
	}
	return nil
}

// list returns the words of a flag, as in "T,D" and "T81, T82".
func list(words string) []string {
	return strings.FieldsFunc(words, func(r rune) bool { return r == ',' || r == ' ' })
}
