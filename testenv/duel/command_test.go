package duel

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mpnc/mpnc/internal/report"
)

type number int

func (n number) String() string { return fmt.Sprintf("number %d", int(n)) }

// Every job is noted once, what failed is told by its name, and what has not begun
// when the context ends is left out.
func TestRun(t *testing.T) {
	odd := errors.New("odd")
	var noted []number
	note := func(n number, s int, err error) string {
		if (err == nil) != (n%2 == 0) || err == nil && s != 10*int(n) {
			t.Errorf("%v: %d, %v", n, s, err)
		}
		noted = append(noted, n)
		return "fine"
	}
	measure := func(_ context.Context, n number) (int, error) {
		if n%2 != 0 {
			return 0, odd
		}
		return 10 * int(n), nil
	}
	err := Run(t.Context(), 2, []number{0, 1, 2, 3}, measure, note)
	slices.Sort(noted)
	if !slices.Equal(noted, []number{0, 1, 2, 3}) {
		t.Errorf("noted %v", noted)
	}
	if !errors.Is(err, odd) || !strings.Contains(err.Error(), "number 1: odd") || strings.Contains(err.Error(), "number 2") {
		t.Errorf("got %v", err)
	}
	noted = nil
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, 1, []number{0, 2}, measure, note); !errors.Is(err, context.Canceled) || len(noted) != 0 {
		t.Errorf("after the end: noted %v, %v", noted, err)
	}
}

// A run is repeated while it fails or is no good, but not for ever, nor once nobody
// waits for it.
func TestAgain(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	for _, c := range []struct {
		fails, bad int // of the first runs
		stop       bool
		want       int
		err        bool
	}{
		{want: 1}, {fails: 1, want: 2}, {bad: 2, want: 3}, {bad: 9, want: tries}, {fails: 9, want: tries, err: true},
		{fails: 9, stop: true, want: 1, err: true},
	} {
		if c.stop {
			cancel()
		}
		n := 0
		got, err := Again(ctx, func() (int, error) {
			if n++; n <= c.fails {
				return n, errors.New("failed")
			}
			return n, nil
		}, func(n int) bool { return n > c.bad })
		if got != c.want || (err != nil) != c.err {
			t.Errorf("%+v: run %d, %v", c, got, err)
		}
	}
	cancel()
}

// What was saved is loaded as it was.
func TestSaveAndLoad(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.md")
	if err := Save(name, "text", []int{1, 2}, new(report.DotPlot)); err != nil {
		t.Fatal(err)
	}
	var back []int
	if err := Load(name, &back); err != nil || !slices.Equal(back, []int{1, 2}) {
		t.Errorf("%v, %v", back, err)
	}
}
