package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// maxTries is how often a pair is measured whose runs fail, or for which the
// machine was too slow to emulate the link.
const maxTries = 3

// task is what is measured in pairs.
type task struct {
	Cell
	weight float64 // of the machine: Mb/s
	pair   func(ctx context.Context, o options, p *Pair) error
}

// tasks lists what is asked for, the heaviest first: the light ones fill the
// room beside them.
func tasks(o options) (list []task) {
	bulk := append(cells(), apart()...)
	for _, heavy := range []bool{true, false} {
		for _, c := range bulk {
			if (c.Rate > 20e6) == heavy {
				list = append(list, task{c, c.Rate / 1e6, c.pair})
			}
		}
		if heavy {
			list = append(list,
				task{shareCell(), shareCell().Rate / 1e6, shareCell().sharePair},
				task{phaseCell(), phaseCell().Rate / 1e6, phaseCell().sharePair},
				task{latencyCell(), 1, latencyPair})
		}
	}
	kept := list[:0]
	for _, t := range list {
		if o.only.MatchString(t.Name) {
			kept = append(kept, t)
		}
	}
	return kept
}

// board keeps what was measured, and says how far it is.
type board struct {
	run     *Run
	before  time.Duration // what earlier parts of the run took
	started time.Time
	save    func() error

	mu         sync.Mutex
	done, want int
}

// all measures the tasks, as many at once as the machine can carry.
func (b *board) all(ctx context.Context, o options, list []task) error {
	b.want = len(list) * o.pairs
	ended := make(chan task)
	var load float64
	running := 0
	for len(list) > 0 || running > 0 {
		for i := 0; i < len(list) && running < o.labs; i++ {
			t := list[i]
			if running > 0 && load+t.weight > o.budget || ctx.Err() != nil {
				continue
			}
			list = append(list[:i:i], list[i+1:]...)
			i--
			load += t.weight
			running++
			go func() {
				b.task(ctx, o, t)
				ended <- t
			}()
		}
		if running == 0 {
			break
		}
		t := <-ended
		load -= t.weight
		running--
	}
	return b.finish(ctx)
}

// finish notes whether all is there.
func (b *board) finish(ctx context.Context) error {
	b.run.Took = b.before + time.Since(b.started).Round(time.Second)
	failed := 0
	for _, p := range b.run.Results {
		if p.Err != "" {
			failed++
		}
	}
	b.run.Complete = ctx.Err() == nil && failed == 0
	fmt.Printf("%d of %d pairs measured, %d failed, in %v\n", b.done-failed, b.want, failed, b.run.Took)
	if failed > 0 {
		return fmt.Errorf("%d pairs failed: try again with -resume", failed)
	}
	return ctx.Err()
}

// task measures the pairs of one task, those that are not there yet.
func (b *board) task(ctx context.Context, o options, t task) {
	for n := range o.pairs {
		if _, ok := b.run.find(t.Name, n); ok {
			b.tell(nil, "")
			continue
		}
		p := Pair{Task: t.Name, Number: n}
		for p.Tries = 1; ; p.Tries++ {
			err := t.measure(ctx, o, &p)
			if ctx.Err() != nil {
				return
			}
			if p.Err = ""; err != nil {
				p.Err = err.Error()
			}
			if err == nil || p.Tries == maxTries {
				break
			}
		}
		b.note(t, p)
	}
}

// measure measures one pair.
func (t task) measure(ctx context.Context, o options, p *Pair) error {
	p.Kernel, p.Mpnc = Flow{}, Flow{}
	if err := t.pair(ctx, o, p); err != nil {
		return err
	}
	if p.Kernel.Octets == 0 || p.Mpnc.Octets == 0 {
		return fmt.Errorf("nothing arrived: kernel %d octets, mpnc %d", p.Kernel.Octets, p.Mpnc.Octets)
	}
	if n := p.Kernel.Emulator + p.Mpnc.Emulator; n > 0 {
		return fmt.Errorf("the machine was too slow: the emulator lost %d packets", n)
	}
	return nil
}

// note keeps a pair and says what it was.
func (b *board) note(t task, p Pair) {
	b.mu.Lock()
	b.run.put(p)
	b.run.Took = b.before + time.Since(b.started).Round(time.Second)
	err := b.save()
	b.mu.Unlock()
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare: saving:", err)
	}
	b.tell(&t, p.String())
}

// tell counts a pair and prints a line.
func (b *board) tell(t *task, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done++
	if t != nil {
		fmt.Printf("%7s %3d/%d  %-8s%-62s %s\n", time.Since(b.started).Round(time.Second), b.done, b.want, t.Name, t.Cell, text)
	}
}

// String is the pair in one line.
func (p Pair) String() string {
	switch {
	case p.Err != "":
		return "failed: " + p.Err
	case p.Kernel.P99 > 0:
		return fmt.Sprintf("p99 kernel %.1f ms, mpnc %.1f ms", p.Kernel.P99*1e3, p.Mpnc.P99*1e3)
	}
	return fmt.Sprintf("kernel %6.2f MB, mpnc %6.2f MB: %.3f; sent again %.0f and %.0f kB, RTOs %d and %d", float64(p.Kernel.Octets)/1e6,
		float64(p.Mpnc.Octets)/1e6, p.Ratio(), float64(p.Kernel.Retrans)/1e3, float64(p.Mpnc.Retrans)/1e3, p.Kernel.RTOs, p.Mpnc.RTOs)
}
