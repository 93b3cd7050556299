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
	"errors"
	"flag"
	"runtime"
	"time"

	"github.com/mpnc/mpnc/testenv"
	"github.com/mpnc/mpnc/testenv/duel"
)

type options struct {
	duel.Options
	runs int
	labs int
}

func main() { duel.Main("handover", command) }

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
	r := &Results{Started: time.Now().UTC().Truncate(time.Second), Kernel: testenv.KernelRelease(), CPUs: runtime.NumCPU(), Runs: o.runs}
	err = measureAll(ctx, o, r)
	r.Took = time.Since(r.Started).Round(time.Second)
	return errors.Join(err, r.write(o.Out))
}

func parse() (o options, err error) {
	o.Flags("docs/handover.md")
	flag.IntVar(&o.runs, "runs", 10, "of each stack, in each case")
	flag.IntVar(&o.labs, "labs", 3, "labs at once")
	return o, o.Parse(func() bool { return o.runs > 0 && o.labs > 0 })
}

// job is one run.
type job struct {
	c    *Case
	ours bool
	n    int
}

// String names it.
func (j job) String() string { return j.c.Name + ", " + stackName(j.ours) }

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
		if o.Only.MatchString(c.Name) {
			r.Cases = append(r.Cases, c)
		}
	}
	return duel.Run(ctx, o.labs, jobs(o, r.Cases),
		func(ctx context.Context, j job) (Sample, error) {
			return duel.Again(ctx, func() (Sample, error) { return j.c.measure(ctx, j.ours, uint64(j.n)) }, nil)
		},
		func(j job, s Sample, err error) string {
			j.c.add(j.ours, s, err)
			return s.line(j.c)
		})
}

func stackName(ours bool) string {
	if ours {
		return duel.Mpnc.String()
	}
	return duel.KernelMPTCP.String()
}
