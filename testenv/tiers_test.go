package testenv

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

// How much of the long tests runs: CONTRIBUTING.md, "How much runs".

// full says that these tests are to take their time: everything runs.
func full() bool { return os.Getenv("MPNC_FULL") != "" }

// rotation is the number in MPNC_ROTATION; without one, only cores run.
func rotation(t testing.TB) (number uint64, rotates bool) {
	t.Helper()
	text := os.Getenv("MPNC_ROTATION")
	if text == "" {
		return 0, false
	}
	number, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatal("MPNC_ROTATION: ", err)
	}
	return number, true
}

// rotations is how many different numbers in a row of MPNC_ROTATION let every
// case of chosen run.
const rotations = 4

// chosen returns those of a test's cases that run now: all with MPNC_FULL;
// otherwise its core of n cases; with MPNC_ROTATION also a part of the rest,
// another one for each remainder of that number by rotations. Every test with
// many cases in namespaces asks it.
//
// The core are n cases evenly spread, each one place further on in its turn: of
// cases that nested loops made, it has different values of the inner loops, too.
func chosen[T any](t testing.TB, n int, cases []T) (some []T) {
	t.Helper()
	if full() || n >= len(cases) {
		return cases
	}
	number, rotates := rotation(t)
	for _, i := range chosenOf(len(cases), n, number, rotates) {
		some = append(some, cases[i])
	}
	t.Logf("%d of %d cases run", len(some), len(cases))
	return some
}

// chosenOf returns the indices of what runs of so many cases, in order.
func chosenOf(all, core int, number uint64, rotates bool) (some []int) {
	isCore := make([]bool, all)
	for k := range core {
		turn := k * all / core
		next := (k + 1) * all / core
		isCore[turn+k%(next-turn)] = true
	}
	rest := uint64(0)
	for i := range all {
		switch {
		case isCore[i]:
			some = append(some, i)
		default:
			if rotates && rest%rotations == number%rotations {
				some = append(some, i)
			}
			rest++
		}
	}
	return some
}

// The core always runs, has its size, and the parts of the rest are disjoint and
// together everything.
func TestChosenCoversEverything(t *testing.T) {
	for all := range 80 {
		for core := 1; core < all; core++ {
			base := chosenOf(all, core, 0, false)
			if len(base) != core {
				t.Fatalf("%d of %d: the core is %v", core, all, base)
			}
			times := make([]int, all)
			for _, number := range []uint64{1234, 1235, 1236, 1237} {
				for _, i := range chosenOf(all, core, number, true) {
					times[i]++
				}
			}
			for _, i := range base {
				times[i] -= rotations - 1
			}
			for i, n := range times {
				if n != 1 {
					t.Fatalf("%d of %d: case %d runs %d times: %v", core, all, i, n, times)
				}
			}
		}
	}
	if got, want := fmt.Sprint(chosenOf(18, 3, 0, false)), "[0 7 14]"; got != want {
		t.Errorf("the core of 18 cases is %s, want %s", got, want)
	}
}
