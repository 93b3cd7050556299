// Coupled measures what our coupled congestion controllers leave to a connection
// of the kernel's Reno, and what they get where nobody has to be left anything,
// and writes a document that argues the default.
//
//	go run ./testenv/coupled -out docs/coupled.md
//
// It needs Linux and root. -short takes seconds, and shows only that it works.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mpnc/mpnc/testenv"
)

// scene is a network, and who is in it.
type scene struct {
	name   string
	paths  []path
	rivals bool // a connection of the kernel's Reno on each link
	// manager is the path manager of our connection.
	manager string
	// controls are what our connection is measured with.
	controls []string
}

// length is how much of a run is measured: what is asked of the shares of one
// bottleneck says for how long.
func (s scene) length(d time.Duration) time.Duration {
	if s.name == "shared" {
		return d
	}
	return d / 3
}

// path is a link of a scene.
type path struct {
	mbps float64
	rtt  time.Duration
}

const ms = time.Millisecond

var (
	coupled  = []string{"lia", "olia", "balia"}
	everyone = append([]string{"reno", "cubic"}, coupled...)
	unequal  = []path{{20, 20 * ms}, {8, 60 * ms}}
)

// scenes are what is measured, in the order of the document.
var scenes = []scene{
	{"shared", []path{{20, 40 * ms}}, true, "ndiffports", everyone},
	{"distinct", unequal, true, "fullmesh", everyone},
	{"best", unequal[:1], true, "none", everyone},
	{"free", unequal, false, "fullmesh", everyone},
}

// Result is one run of a scene: what each connection has moved, in Mb/s.
type Result struct {
	Scene, Control string
	Number         int
	Ours           float64
	Rivals         []float64 `json:",omitempty"`
	Subflows       int
	Lost           uint64 // frames that the emulator lost: the machine was too slow
}

// File is what is kept of a measurement.
type File struct {
	Started       time.Time
	Kernel        string
	CPUs          int
	Warmup, Taken time.Duration
	Runs          int // of each control in each scene
	Results       []Result
}

type options struct {
	out         string
	warmup, run time.Duration
	runs, labs  int
	short       bool
	render      bool
}

func main() {
	if err := command(); err != nil {
		fmt.Fprintln(os.Stderr, "coupled:", err)
		os.Exit(1)
	}
}

func command() error {
	var o options
	flag.StringVar(&o.out, "out", "docs/coupled.md", "the document; beside it a .json")
	flag.DurationVar(&o.warmup, "warmup", 10*time.Second, "what is left out of each run")
	flag.DurationVar(&o.run, "time", time.Minute, "what is measured of each run at one bottleneck; a third of it of the others")
	flag.IntVar(&o.runs, "runs", 5, "of each kind")
	flag.IntVar(&o.labs, "labs", 4, "side by side")
	flag.BoolVar(&o.short, "short", false, "a second of each, once")
	flag.BoolVar(&o.render, "render", false, "measure nothing, write the document anew")
	flag.Parse()
	if flag.NArg() > 0 || !strings.HasSuffix(o.out, ".md") || o.runs < 1 || o.labs < 1 || o.run <= 0 {
		flag.Usage()
		return errors.New("bad options")
	}
	data := strings.TrimSuffix(o.out, ".md") + ".json"
	file := new(File)
	if o.render {
		b, err := os.ReadFile(data)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, file); err != nil {
			return err
		}
	} else {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		var err error
		if file, err = o.measure(ctx); err != nil {
			return err
		}
		b, err := json.MarshalIndent(file, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(data, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(o.out, file.render(), 0o644)
}

// measure runs everything, some side by side.
func (o options) measure(ctx context.Context) (*File, error) {
	if o.short {
		o.warmup, o.run, o.runs = time.Second, time.Second, 1
	}
	f := &File{Started: time.Now().UTC().Truncate(time.Second), Kernel: testenv.KernelRelease(), CPUs: runtime.NumCPU()}
	f.Warmup, f.Taken, f.Runs = o.warmup, o.run, o.runs
	slots := make(chan struct{}, o.labs)
	var work sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for number := 1; number <= o.runs; number++ {
		for _, s := range scenes {
			for _, control := range s.controls {
				slots <- struct{}{}
				work.Go(func() {
					defer func() { <-slots }()
					r, err := s.measure(ctx, control, number, o)
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						errs = append(errs, fmt.Errorf("%s, %s, run %d: %w", s.name, control, number, err))
						return
					}
					f.Results = append(f.Results, r)
					fmt.Fprintf(os.Stderr, "%s %s %d: %.2f Mb/s beside %.2f\n", s.name, control, number, r.Ours, r.Rivals)
				})
			}
		}
	}
	work.Wait()
	slices.SortFunc(f.Results, func(a, b Result) int {
		return strings.Compare(a.key(), b.key())
	})
	return f, errors.Join(errs...)
}

func (r Result) key() string { return fmt.Sprintf("%s %s %03d", r.Scene, r.Control, r.Number) }
