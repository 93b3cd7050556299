package duel

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"syscall"
)

// Main runs a command until it ends or is interrupted, says its error and ends the
// process.
func Main(name string, run func(context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Options are those that the commands have in common.
type Options struct {
	Out    string         // the document; what it is made of and its picture are beside it
	Only   *regexp.Regexp // names of what is measured
	Render bool           // measure nothing, write the document anew

	only string
}

// Flags defines them, with the document's name if none is given.
func (o *Options) Flags(out string) {
	flag.StringVar(&o.Out, "out", out, "the document; beside it a .json and a .png")
	flag.StringVar(&o.only, "only", "", "cells whose names match this regular `expression`")
	flag.BoolVar(&o.Render, "render", false, "measure nothing, write the document anew")
}

// Parse parses the command line. good says whether the command's own options are.
func (o *Options) Parse(good func() bool) (err error) {
	flag.Parse()
	if flag.NArg() > 0 || !strings.HasSuffix(o.Out, ".md") || !good() {
		flag.Usage()
		return errors.New("bad options")
	}
	o.Only, err = regexp.Compile(o.only)
	return err
}

// Load reads back what Save wrote beside a document.
func Load(out string, results any) error {
	data, err := os.ReadFile(strings.TrimSuffix(out, ".md") + ".json")
	if err != nil {
		return err
	}
	return json.Unmarshal(data, results)
}

// Run does all jobs, as many at once as told, and tells of each on the standard
// error. measure does one; note, which is called for one at a time, keeps what came
// of it and says that in some words, which count unless it failed. Run returns what
// failed, by the jobs' names.
func Run[J fmt.Stringer, S any](ctx context.Context, atOnce int, list []J,
	measure func(context.Context, J) (S, error), note func(J, S, error) string) error {
	var mu sync.Mutex
	var failed []error
	done := 0
	Each(ctx, atOnce, list, func(j J) {
		s, err := measure(ctx, j)
		mu.Lock()
		defer mu.Unlock()
		done++
		line := note(j, s, err)
		if err != nil {
			line = err.Error()
			failed = append(failed, fmt.Errorf("%v: %w", j, err))
		}
		fmt.Fprintf(os.Stderr, "%3d of %d  %-48v %s\n", done, len(list), j, line)
	})
	return errors.Join(append(failed, ctx.Err())...)
}

// tries is how often a run is tried.
const tries = 3

// Again measures, and does so again if that failed: the lab could not be had, or
// the machine was too slow. What does not fail may still not be good; if good is
// nil, all is.
func Again[S any](ctx context.Context, measure func() (S, error), good func(S) bool) (s S, err error) {
	for range tries {
		if s, err = measure(); err == nil && (good == nil || good(s)) || ctx.Err() != nil {
			break
		}
	}
	return s, err
}
