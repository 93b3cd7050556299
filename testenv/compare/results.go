package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Flow is one transfer as its ends saw it.
type Flow struct {
	Octets   uint64 // read by the receiver until the time was over
	Sent     uint64 // payload, what was sent again included
	Retrans  uint64 // payload sent again
	RTOs     uint64 // expiries of the retransmission timer, as far as known
	Dropped  uint64 // packets that the queue had no room for
	Lost     uint64 // data packets that the wire lost
	Emulator uint64 // packets that this machine was too slow for

	// Of requests and responses, in seconds.
	P50, P99, Max float64 `json:",omitempty"`
}

// Pair is one run of each stack, one after the other, or of both at once.
type Pair struct {
	Task         string
	Number       int
	Kernel, Mpnc Flow
	Tries        int    // beyond one: the machine was too slow, or a run failed
	Err          string `json:",omitempty"` // both flows say nothing
}

// Ratio is our goodput by the kernel's.
func (p Pair) Ratio() float64 { return float64(p.Mpnc.Octets) / float64(p.Kernel.Octets) }

// Run is one run of the command.
type Run struct {
	Started  time.Time
	Took     time.Duration // all its parts together, if it was resumed
	Complete bool
	Commit   string
	Kernel   string // release
	CPUs     int
	Seconds  float64 // of each transfer
	Shared   float64 // of each shared transfer
	Pairs    int     // of each task
	Requests int
	Only     string `json:",omitempty"`
	Results  []Pair
}

// find returns the result of a pair.
func (r *Run) find(task string, number int) (Pair, bool) {
	for _, p := range r.Results {
		if p.Task == task && p.Number == number && p.Err == "" {
			return p, true
		}
	}
	return Pair{}, false
}

// of returns the results of a task that say something, in order.
func (r *Run) of(task string) (pairs []Pair) {
	for _, p := range r.Results {
		if p.Task == task && p.Err == "" {
			pairs = append(pairs, p)
		}
	}
	slices.SortFunc(pairs, func(a, b Pair) int { return a.Number - b.Number })
	return pairs
}

// put notes a result, instead of an earlier one of the same pair.
func (r *Run) put(p Pair) {
	r.Results = slices.DeleteFunc(r.Results, func(q Pair) bool { return q.Task == p.Task && q.Number == p.Number })
	r.Results = append(r.Results, p)
}

// File is all that was ever measured: every run is kept.
type File struct{ Runs []*Run }

func load(name string) (*File, error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return new(File), nil
	}
	if err != nil {
		return nil, err
	}
	f := new(File)
	return f, json.Unmarshal(b, f)
}

// save replaces the file as a whole, so that none is ever half written.
func (f *File) save(name string) error {
	b, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return err
	}
	return replace(name, append(b, '\n'))
}

func replace(name string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(name+".part", b, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".part", name)
}

// median of at least one value; of an even number, the mean of the two in the middle.
func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

func each[T any](pairs []Pair, f func(Pair) T) (v []T) {
	for _, p := range pairs {
		v = append(v, f(p))
	}
	return v
}
