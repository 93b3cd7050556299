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
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/mpnc/mpnc/testenv"
	"github.com/mpnc/mpnc/testenv/duel"
)

type options struct {
	out   string
	runs  int
	labs  int
	bytes int
	json  bool
	only  *regexp.Regexp
}

func main() {
	if err := command(); err != nil {
		fmt.Fprintln(os.Stderr, "aggregate:", err)
		os.Exit(1)
	}
}

func command() error {
	o, err := parse()
	if err != nil {
		return err
	}
	if err := testenv.CheckLab(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r := &Results{
		Started: time.Now().UTC().Truncate(time.Second), Kernel: testenv.KernelRelease(), CPUs: runtime.NumCPU(),
		Runs: o.runs, Bytes: o.bytes,
	}
	err = r.measure(ctx, o)
	r.Took = time.Since(r.Started).Round(time.Second)
	return errors.Join(err, r.write(o.out), r.print(o.json))
}

func parse() (o options, err error) {
	var only string
	var short bool
	flag.StringVar(&o.out, "out", "docs/aggregation.md", "the document; beside it a .json and a .png")
	flag.IntVar(&o.runs, "runs", 5, "of each kind, in each cell")
	flag.IntVar(&o.labs, "labs", 3, "labs at once")
	flag.IntVar(&o.bytes, "bytes", 16<<20, "moved in each run")
	flag.BoolVar(&short, "short", false, "4 MiB each, once")
	flag.BoolVar(&o.json, "json", false, "print JSON")
	flag.StringVar(&only, "only", "", "cells whose names match")
	flag.Parse()
	if flag.NArg() > 0 || !strings.HasSuffix(o.out, ".md") || o.runs < 1 || o.labs < 1 || o.bytes < 1 {
		flag.Usage()
		return o, errors.New("bad options")
	}
	if short {
		o.runs, o.bytes = 1, 4<<20
	}
	o.only, err = regexp.Compile(only)
	return o, err
}

// job is one run.
type job struct {
	c *Cell
	w way
	n int
}

// measure does all runs, a few at a time; the ways in turn, so that whatever else
// the machine does falls on all alike.
func (r *Results) measure(ctx context.Context, o options) error {
	for _, c := range cells() {
		if o.only.MatchString(c.name()) {
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
	var mu sync.Mutex
	var failed []error
	done := 0
	duel.Each(ctx, o.labs, list, func(j job) {
		s, err := j.measure(ctx, o.bytes)
		mu.Lock()
		defer mu.Unlock()
		done++
		if err != nil {
			err = fmt.Errorf("%s, %v: %w", j.c.name(), j.w, err)
			failed = append(failed, err)
			fmt.Fprintf(os.Stderr, "%3d of %d  %v\n", done, len(list), err)
			return
		}
		j.c.Runs = append(j.c.Runs, s)
		fmt.Fprintf(os.Stderr, "%3d of %d  %-31s %-23s %5.2f Mb/s\n", done, len(list), j.c.name(), j.w, s.Rate)
	})
	return errors.Join(append(failed, ctx.Err())...)
}

// measure does a run, and does it again if the lab could not be had or the machine
// was too slow for it.
func (j job) measure(ctx context.Context, octets int) (s Sample, err error) {
	for range 3 {
		if s, err = j.c.measure(ctx, j.w, uint64(j.n)+1, octets); err == nil && s.Lost == 0 || ctx.Err() != nil {
			return s, err
		}
	}
	return s, err
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
