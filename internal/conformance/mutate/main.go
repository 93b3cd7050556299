// Mutate switches rules of the wire off in the code, one at a time, and fails
// unless the tests that carry the rule's name then fail.
//
// A line that keeps a rule ends in a comment with what to put in its place, if
// only to show that somebody would notice:
//
//	case off == s.rcv.nxt: //spec:T9 off: case true:
//
// A line may keep several rules (//spec:T9,T10), and a rule may have several
// lines; each is switched off alone. The tests in the line's own package run
// first, those of others only if none has failed. Nothing in the tree is
// changed: the line's replacement is given to the go command as an overlay.
//
//	go run ./internal/conformance/mutate              # 20 rules, seed 1
//	go run ./internal/conformance/mutate -seed 7 -n 5
//	go run ./internal/conformance/mutate -n 0         # all
//	go run ./internal/conformance/mutate -rows T9,T10
package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/mpnc/mpnc/internal/conformance/rules"
)

func main() {
	seed := flag.Uint64("seed", 1, "which rules are drawn")
	n := flag.Int("n", 20, "how many rules to draw; 0 for all that are marked")
	rows := flag.String("rows", "", "switch off `these` (as T9,T10) instead of drawing")
	every := flag.Bool("every", false, "run a rule's tests in every package, not only until one has failed")
	flag.Parse()
	if flag.NArg() > 0 || *n < 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*seed, *n, *rows, *every); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func run(seed uint64, n int, rows string, every bool) error {
	root, err := rules.Root()
	if err != nil {
		return err
	}
	all, err := marks(root)
	if err != nil {
		return err
	}
	tests, err := rules.Tests(root)
	if err != nil {
		return err
	}
	chosen, err := choose(all, seed, n, rows)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)

	l := lab{root: root, dir: dir, every: every, sound: map[string]bool{}}
	var bad []string
	for _, m := range chosen {
		v, err := l.try(m, tests[m.row])
		if err != nil {
			return fmt.Errorf("%s, %s: %w", m.row, m.place(), err)
		}
		fmt.Printf("%-4s %-32s %v\n", m.row, m.place(), v)
		if !v.killed() {
			bad = append(bad, m.row+" ("+m.place()+")")
		}
		select {
		case <-interrupted:
			return errors.New("interrupted")
		default:
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("switched off, and no test of the rule failed: %s", strings.Join(bad, ", "))
	}
	fmt.Printf("%d marked lines of %d rules switched off: a test of the rule failed each time\n",
		len(chosen), len(byRow(chosen)))
	return nil
}

// byRow returns the identifiers of the rules that have marks.
func byRow(all []mark) []string {
	var ids []string
	for _, m := range all {
		ids = append(ids, m.row)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// choose returns all marks of n rules drawn by seed, of all if n is 0, or of
// the rules named.
func choose(all []mark, seed uint64, n int, named string) ([]mark, error) {
	ids := byRow(all)
	switch {
	case named != "":
		wanted := strings.Split(named, ",")
		for _, id := range wanted {
			if !slices.Contains(ids, id) {
				return nil, fmt.Errorf("no line is marked %s", id)
			}
		}
		ids = wanted
	case n > 0 && n < len(ids):
		r := rand.New(rand.NewPCG(seed, 0))
		r.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		ids = ids[:n]
	}
	return slices.DeleteFunc(slices.Clone(all), func(m mark) bool { return !slices.Contains(ids, m.row) }), nil
}
