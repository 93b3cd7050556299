// Handover measures how long data stands still when a path is lost, with mpnc and
// with the kernel's MPTCP on the same emulated links, and writes what came of it
// as a document with a picture.
//
//	go run ./testenv/handover -out docs/handover.md
//
// It needs Linux and root, and a machine with nothing else to do.
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
	out    string
	runs   int
	labs   int
	only   *regexp.Regexp
	render bool
}

func main() {
	if err := command(); err != nil {
		fmt.Fprintln(os.Stderr, "handover:", err)
		os.Exit(1)
	}
}

func command() error {
	o, err := parse()
	if err != nil {
		return err
	}
	if o.render {
		return renderAgain(o.out)
	}
	if err := testenv.CheckLab(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r := &Results{Started: time.Now().UTC().Truncate(time.Second), Kernel: testenv.KernelRelease(), CPUs: runtime.NumCPU(), Runs: o.runs}
	err = measureAll(ctx, o, r)
	r.Took = time.Since(r.Started).Round(time.Second)
	return errors.Join(err, r.write(o.out))
}

func parse() (o options, err error) {
	var only string
	flag.StringVar(&o.out, "out", "docs/handover.md", "the document; beside it a .json and a .png")
	flag.IntVar(&o.runs, "runs", 10, "of each stack, in each case")
	flag.IntVar(&o.labs, "labs", 3, "labs at once")
	flag.StringVar(&only, "only", "", "cases whose names match")
	flag.BoolVar(&o.render, "render", false, "measure nothing, write the document anew")
	flag.Parse()
	if flag.NArg() > 0 || !strings.HasSuffix(o.out, ".md") || o.runs < 1 || o.labs < 1 {
		flag.Usage()
		return o, errors.New("bad options")
	}
	o.only, err = regexp.Compile(only)
	return o, err
}

// renderAgain writes the document of what was measured last.
func renderAgain(out string) error {
	data, err := os.ReadFile(strings.TrimSuffix(out, ".md") + ".json")
	if err != nil {
		return err
	}
	r := new(Results)
	if err := json.Unmarshal(data, r); err != nil {
		return err
	}
	return r.write(out)
}

// job is one run.
type job struct {
	c    *Case
	ours bool
	n    int
}

// jobs lists the runs, the stacks in turn, so that whatever else the machine does
// falls on both alike.
func jobs(o options, cases []*Case) (list []job) {
	for n := range o.runs {
		for _, c := range cases {
			if n >= c.runs(o.runs) {
				continue
			}
			list = append(list, job{c, n%2 == 0, n})
			if !c.OursOnly {
				list = append(list, job{c, n%2 != 0, n})
			}
		}
	}
	for i := range list {
		list[i].ours = list[i].ours || list[i].c.OursOnly
	}
	return list
}

// measureAll does all runs, a few at a time.
func measureAll(ctx context.Context, o options, r *Results) error {
	for _, c := range plan() {
		if o.only.MatchString(c.Name) {
			r.Cases = append(r.Cases, c)
		}
	}
	list := jobs(o, r.Cases)
	var mu sync.Mutex
	var failed []error
	done := 0
	duel.Each(ctx, o.labs, list, func(j job) {
		s, err := j.measure(ctx)
		mu.Lock()
		defer mu.Unlock()
		done++
		j.c.add(j.ours, s, err)
		fmt.Fprintf(os.Stderr, "%3d of %d  %-34s %-6s %s\n", done, len(list), j.c.Name, stackName(j.ours), s.line(j.c, err))
		if err != nil {
			failed = append(failed, fmt.Errorf("%s, %s: %w", j.c.Name, stackName(j.ours), err))
		}
	})
	return errors.Join(append(failed, ctx.Err())...)
}

// measure does a run, and does it again if the lab could not be had or the
// machine was too slow for it.
func (j job) measure(ctx context.Context) (s Sample, err error) {
	for range 3 {
		if s, err = j.c.measure(ctx, j.ours, uint64(j.n)); err == nil || ctx.Err() != nil {
			return s, err
		}
	}
	return s, err
}

func stackName(ours bool) string {
	if ours {
		return duel.Mpnc.String()
	}
	return duel.KernelMPTCP.String()
}
