// Speed measures how fast mpnc and its library are on this machine, beside the
// kernel's Multipath TCP and TCP through nc, socat and a Go program, and beside
// other stacks in user space: gVisor's netstack and quic-go. Everybody runs between
// the same two network namespaces, joined by veth pairs, in turn. What came of it
// is written as a document with a picture.
//
//	go run ./testenv/speed                        # all: half an hour
//	go run ./testenv/speed -quick -out /tmp/x.md  # under a minute: shows that it works
//	go run ./testenv/speed -only '^bulk/' -rounds 3 -out /tmp/x.md
//	go run ./testenv/speed -only '^bulk/mpnc' -profile /tmp/profiles -out /tmp/x.md
//
// Cells are named scene/contestant: -list lists them. It needs Linux, root, the Go
// tools, and a machine with nothing else to do; nc.openbsd, socat and mptcpize are
// measured where they are installed. gVisor and quic-go are in a module of their
// own, beside this command, which it builds if their sources can be had.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/mpnc/mpnc/testenv"
	"github.com/mpnc/mpnc/testenv/duel"
	"github.com/mpnc/mpnc/testenv/speed/end"
)

// options are the command's.
type options struct {
	duel.Options
	rounds  int
	length  time.Duration // of a sample
	warmup  time.Duration // before it
	file    int64         // MB that the commands carry
	profile string        // a directory
	quick   bool
	list    bool
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == endFlag {
		if err := end.Main(os.Args[2], contestants); err != nil {
			fmt.Fprintln(os.Stderr, "speed:", err)
			os.Exit(1)
		}
		return
	}
	duel.Main("speed", command)
}

// endFlag says that this process is one end of a measurement.
const endFlag = "-end"

func command(ctx context.Context) error {
	o, err := parse()
	if err != nil {
		return err
	}
	r := new(Results)
	if o.Render {
		if err := duel.Load(o.Out, r); err != nil {
			return err
		}
		return r.write(o.Out)
	}
	if o.list {
		for _, j := range o.jobs(1) {
			fmt.Println(j.cell)
		}
		return nil
	}
	if err := testenv.CheckLab(); err != nil {
		return err
	}
	if err = r.measure(ctx, o); len(r.Cells) == 0 {
		return err // what was written before stays
	}
	return errors.Join(err, r.write(o.Out), r.print(os.Stdout))
}

func parse() (o options, err error) {
	o.Flags("docs/speed.md")
	flag.IntVar(&o.rounds, "rounds", 5, "of every cell, in turn")
	flag.DurationVar(&o.length, "time", 3*time.Second, "of a sample")
	flag.DurationVar(&o.warmup, "warmup", time.Second, "before it")
	flag.Int64Var(&o.file, "file", 4096, "`MB` that the commands carry, in memory (/dev/shm)")
	flag.StringVar(&o.profile, "profile", "", "have the ends write profiles of their processor time to this `directory`")
	flag.BoolVar(&o.quick, "quick", false, "one short round of some cells: shows only that it works")
	flag.BoolVar(&o.list, "list", false, "list the cells")
	err = o.Parse(func() bool { return o.rounds > 0 && o.length > 0 && o.warmup >= 0 && o.file > 0 })
	if o.quick {
		o.rounds, o.length, o.warmup, o.file = 1, 300*time.Millisecond, 100*time.Millisecond, 16
	}
	if o.profile != "" && err == nil {
		err = os.MkdirAll(o.profile, 0o755)
	}
	return o, err
}

// jobs lists what is to be measured: all contestants of a scene after each other,
// each round beginning with another one, so that whatever else the machine does
// falls on all alike.
func (o options) jobs(rounds int) (list []job) {
	for n := range rounds {
		for _, s := range scenes() {
			if o.quick && s.long {
				continue
			}
			for i := range s.contestants {
				c := s.contestants[(i+n)%len(s.contestants)]
				if j := (job{scene: s, cell: s.name + "/" + c, contestant: c, round: n}); o.Only.MatchString(j.cell) {
					list = append(list, j)
				}
			}
		}
	}
	return list
}

// job is one sample to take.
type job struct {
	scene
	cell       string
	contestant string
	round      int
}

// String names it.
func (j job) String() string { return fmt.Sprintf("%s #%d", j.cell, j.round+1) }
