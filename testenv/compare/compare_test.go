package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Every level of every factor is drawn, and of any two factors of two or four
// levels every combination, equally often.
func TestCellsAreBalanced(t *testing.T) {
	factors := []func(Cell) any{
		func(c Cell) any { return c.Rate },
		func(c Cell) any { return c.Loss },
		func(c Cell) any { return c.Queue },
		func(c Cell) any { return c.Reorder },
		func(c Cell) any { return c.Spike },
		func(c Cell) any { return c.Congestion },
	}
	for i, f := range factors {
		for j, g := range factors[:i] {
			seen := map[[2]any]int{}
			for _, c := range cells() {
				seen[[2]any{f(c), g(c)}]++
			}
			want := 4 // of 16, two factors of two levels
			if i == 1 || j == 1 {
				want = 2 // one of them is the loss
			}
			for pair, n := range seen {
				if n != want {
					t.Errorf("factors %d and %d: %v %d times, want %d", i, j, pair, n, want)
				}
			}
			if len(seen)*want != 16 {
				t.Errorf("factors %d and %d: %d combinations", i, j, len(seen))
			}
		}
	}
	rtt, names := map[time.Duration]int{}, map[string]bool{}
	for _, c := range cells() {
		rtt[c.RTT]++
		names[c.String()] = true
	}
	if len(rtt) != len(rtts) || len(names) != 16 {
		t.Errorf("round-trip times %v, %d different cells", rtt, len(names))
	}
}

// Losses differ from pair to pair and task to task.
func TestSeedsDiffer(t *testing.T) {
	seen := map[uint64]bool{}
	for _, task := range []string{"c01", "c02", "c10", "latency"} {
		for n := range 5 {
			seen[seed(task, n)] = true
		}
	}
	if len(seen) != 20 {
		t.Errorf("%d seeds of 20", len(seen))
	}
}

// sample is a complete run in which our stack is as good as given.
func sample(ratio float64) *Run {
	r := &Run{Complete: true, Seconds: 15, Shared: 60, Pairs: 5, Requests: 1000}
	for _, c := range append(cells(), shareCell(), latencyCell()) {
		for n := range 5 {
			p := Pair{Task: c.Name, Number: n, Tries: 1}
			p.Kernel = Flow{Octets: 1e7, Retrans: 1e5}
			p.Mpnc = Flow{Octets: uint64(1e7 * ratio), Retrans: uint64(1e5 / ratio)}
			if c.Name == latencyCell().Name {
				p.Kernel.P99, p.Mpnc.P99 = 0.1, 0.1/ratio
			}
			r.put(p)
		}
	}
	return r
}

// The document says what was met and what was missed, keeps every run, and a
// file that was written is read back as it was.
func TestDocument(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.md")
	jsonName := strings.TrimSuffix(name, ".md") + ".json"
	file := &File{Runs: []*Run{sample(0.7)}}
	for _, c := range []struct {
		ratio       float64
		met, missed int
	}{{0.7, 0, 7}, {1.02, 7, 0}} {
		file.Runs = append(file.Runs, sample(c.ratio))
		if err := file.save(jsonName); err != nil {
			t.Fatal(err)
		}
		back, err := load(jsonName)
		if err != nil || len(back.Runs) != len(file.Runs) {
			t.Fatalf("%d runs of %d, %v", len(back.Runs), len(file.Runs), err)
		}
		d := &document{run: back.Runs[len(back.Runs)-1]}
		d.verdicts()
		met, missed := strings.Count(d.String(), "| met |"), strings.Count(d.String(), "| **missed** |")
		if met != c.met || missed != c.missed {
			t.Errorf("ratio %v: %d met and %d missed, want %d and %d:\n%s", c.ratio, met, missed, c.met, c.missed, &d.Buffer)
		}
		if err := render(name, back); err != nil {
			t.Fatal(err)
		}
	}
}

// A pair that was measured again replaces the one before, and one that failed
// is not among the results.
func TestPutReplaces(t *testing.T) {
	var r Run
	r.put(Pair{Task: "c01", Number: 1, Err: "too slow"})
	if _, ok := r.find("c01", 1); ok || len(r.of("c01")) != 0 {
		t.Error("a failed pair counts")
	}
	r.put(Pair{Task: "c01", Number: 1, Tries: 2})
	if p, ok := r.find("c01", 1); !ok || p.Tries != 2 || len(r.Results) != 1 {
		t.Errorf("found %v, %v", p, ok)
	}
}
