// Compare measures our TCP against the kernel's, with the same congestion
// control on the same emulated links with the same loss, in turn, and writes
// what came of it as a document with a picture.
//
//	go run ./testenv/compare -out docs/kernel-tcp.md
//
// It needs Linux and root, and a machine with nothing else to do; or a real-time
// priority for both stacks alike (chrt -r 1), or else ours, which is a process, is
// late where the kernel's is not. Every pair of runs is on disk once it is done:
// -resume goes on with a run that was interrupted, or whose pairs failed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/mpnc/mpnc/testenv"
)

// options are the command's.
type options struct {
	out      string
	length   time.Duration
	shared   time.Duration
	pairs    int
	requests int
	only     *regexp.Regexp
	resume   bool
	render   bool
	watch    string
	budget   float64
	labs     int
}

func main() {
	if err := command(); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func command() error {
	o, err := parse()
	if err != nil {
		return err
	}
	jsonName := strings.TrimSuffix(o.out, ".md") + ".json"
	file, err := load(jsonName)
	if err != nil {
		return err
	}
	if o.render {
		if len(file.Runs) == 0 {
			return fmt.Errorf("nothing measured in %s", jsonName)
		}
		return render(o.out, file)
	}
	if err := testenv.CheckLab(); err != nil {
		return err
	}
	run, err := begin(o, file)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b := &board{run: run, before: run.Took, started: time.Now(), save: func() error { return file.save(jsonName) }}
	err = b.all(ctx, o, tasks(o))
	return errors.Join(err, file.save(jsonName), render(o.out, file))
}

func parse() (o options, err error) {
	var only string
	flag.StringVar(&o.out, "out", "docs/kernel-tcp.md", "the document; beside it a .json and a .png")
	flag.DurationVar(&o.length, "time", 15*time.Second, "of each transfer")
	flag.DurationVar(&o.shared, "share", time.Minute, "of each shared transfer")
	flag.IntVar(&o.pairs, "pairs", 5, "of runs, in each cell")
	flag.IntVar(&o.requests, "requests", 1000, "and responses in each run of them")
	flag.StringVar(&only, "only", "", "tasks whose names match (c01 to c16, b1 to b4, latency, share)")
	flag.BoolVar(&o.resume, "resume", false, "go on with the last run")
	flag.BoolVar(&o.render, "render", false, "measure nothing, write the document anew")
	flag.StringVar(&o.watch, "watch", "", "write windows over time, and packets, to this `directory`")
	flag.Float64Var(&o.budget, "budget", 130, "most Mb/s of all labs at once")
	flag.IntVar(&o.labs, "labs", 4, "most labs at once")
	flag.Parse()
	if flag.NArg() > 0 || !strings.HasSuffix(o.out, ".md") || o.pairs < 1 || o.length < time.Second || o.requests < 100 {
		flag.Usage()
		return o, errors.New("bad options")
	}
	o.only, err = regexp.Compile("^(" + only + ")$")
	if only == "" {
		o.only = regexp.MustCompile("")
	}
	return o, err
}

// begin starts a run, or goes on with the last one.
func begin(o options, file *File) (*Run, error) {
	run := &Run{
		Started: time.Now().UTC().Truncate(time.Second), Commit: commit(), Kernel: testenv.KernelRelease(), CPUs: runtime.NumCPU(),
		Seconds: o.length.Seconds(), Shared: o.shared.Seconds(), Pairs: o.pairs, Requests: o.requests, Only: o.only.String(),
	}
	if !o.resume {
		file.Runs = append(file.Runs, run)
		return run, nil
	}
	if len(file.Runs) == 0 {
		return nil, errors.New("no run to resume")
	}
	last := file.Runs[len(file.Runs)-1]
	same := last.Seconds == run.Seconds && last.Shared == run.Shared && last.Pairs == run.Pairs && last.Requests == run.Requests
	if !same || last.Only != run.Only {
		return nil, errors.New("the last run had other options: give the same with -resume")
	}
	return last, nil
}

// commit is what the program was built from, if the build says so.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var rev, dirty string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = " and changes"
		}
	}
	return rev + dirty
}
