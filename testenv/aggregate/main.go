// Aggregate measures what two links give together: mpnc over both, the kernel's
// MPTCP over both, and the kernel's TCP on each alone, in the conditions of the
// kernel's own test, and writes what came of it as a document with a picture.
//
//	go run ./testenv/aggregate -out docs/aggregation.md
//
// It needs Linux and root, and a machine with nothing else to do, for ten minutes.
// -short takes one, and shows only that it works.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/mpnc/mpnc/testenv"
	"github.com/mpnc/mpnc/testenv/duel"
)

type options struct {
	duel.Options
	runs  int
	labs  int
	bytes int
	json  bool
}

func main() { duel.Main("aggregate", command) }

func command(ctx context.Context) error {
	o, err := parse()
	if err != nil {
		return err
	}
	if o.Render {
		r := new(Results)
		if err := duel.Load(o.Out, r); err != nil {
			return err
		}
		return r.write(o.Out)
	}
	if err := testenv.CheckLab(); err != nil {
		return err
	}
	r := &Results{
		Started: time.Now().UTC().Truncate(time.Second), Kernel: testenv.KernelRelease(), CPUs: runtime.NumCPU(),
		Runs: o.runs, Bytes: o.bytes,
	}
	err = r.measure(ctx, o)
	r.Took = time.Since(r.Started).Round(time.Second)
	return errors.Join(err, r.write(o.Out), r.print(o.json))
}

func parse() (o options, err error) {
	var short bool
	o.Flags("docs/aggregation.md")
	flag.IntVar(&o.runs, "runs", 5, "of each kind, in each cell")
	flag.IntVar(&o.labs, "labs", 3, "labs at once")
	flag.IntVar(&o.bytes, "bytes", 16<<20, "moved in each run")
	flag.BoolVar(&short, "short", false, "4 MiB each, once")
	flag.BoolVar(&o.json, "json", false, "print JSON")
	err = o.Parse(func() bool { return o.runs > 0 && o.labs > 0 && o.bytes > 0 })
	if short {
		o.runs, o.bytes = 1, 4<<20
	}
	return o, err
}

// job is one run.
type job struct {
	c *Cell
	w way
	n int
}

// String names it.
func (j job) String() string { return fmt.Sprintf("%s, %v", j.c.name(), j.w) }

// measure does all runs, a few at a time; the ways in turn, so that whatever else
// the machine does falls on all alike.
func (r *Results) measure(ctx context.Context, o options) error {
	for _, c := range cells() {
		if o.Only.MatchString(c.name()) {
			r.Cells = append(r.Cells, c)
		}
	}
	var list []job
	for n := range o.runs {
		for _, c := range r.Cells {
			for w := range ways {
				list = append(list, job{c, (w + way(n)) % ways, n})
			}
		}
	}
	return duel.Run(ctx, o.labs, list,
		func(ctx context.Context, j job) (Sample, error) {
			return duel.Again(ctx, func() (Sample, error) { return j.c.measure(ctx, j.w, uint64(j.n)+1, o.bytes) },
				func(s Sample) bool { return s.Lost == 0 })
		},
		func(j job, s Sample, err error) string {
			if err == nil {
				j.c.Runs = append(j.c.Runs, s)
			}
			return fmt.Sprintf("%5.2f Mb/s", s.Rate)
		})
}

// print writes the results to the standard output.
func (r *Results) print(asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "\t")
		return e.Encode(r)
	}
	_, err := r.table().WriteTo(os.Stdout)
	return err
}
