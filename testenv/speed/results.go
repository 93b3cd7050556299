package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mpnc/mpnc/testenv/speed/end"
)

// Results is what was measured.
type Results struct {
	Started    time.Time
	Took       time.Duration
	Commit     string // of the sources
	Kernel     string // its release
	CPU        string // the processors' model
	CPUs       int
	Go         string   // version
	Peers      []string `json:",omitempty"` // modules and versions
	Congestion string   // control: everybody's
	Load       string   // processes that wanted to run in the minute before
	Rounds     int
	Seconds    float64  // of a sample
	Warmup     float64  // seconds before it
	FileMB     int64    // what the commands carried
	Lacks      []string `json:",omitempty"` // what could not be measured, and why
	Cells      []*Cell
}

// Cell is what a contestant did at a scene.
type Cell struct {
	Name    string // scene/contestant
	Samples []Sample
}

// Sample is one measurement. What does not belong to its scene is zero. Pairs are
// the client and the server.
type Sample struct {
	Rate     float64    `json:",omitempty"` // Gb/s of payload, at the reader
	CPU      [2]float64 // seconds of the ends' processor time per GB
	Machine  float64    `json:",omitempty"` // the same of the whole machine
	Ended    [2]float64 // seconds from the client's start to each program's end
	P50      float64    `json:",omitempty"` // of a word and its echo, seconds
	P99      float64    `json:",omitempty"`
	Opened   float64    `json:",omitempty"` // connections opened and closed a second
	Heap     [2]float64 // octets a connection at rest
	Resident [2]float64
	Peak     [2]int64 // octets: the most that was resident
	Paths    int      `json:",omitempty"`
}

// sampleOf makes one of what both ends saw.
func sampleOf(j job, client, server end.Report) (s Sample, err error) {
	s.Peak = [2]int64{client.Peak, server.Peak}
	s.Paths = client.Paths
	switch j.work {
	case end.Ping:
		s.P50, s.P99 = client.P50, client.P99
		if client.Count == 0 {
			err = errors.New("no word came back")
		}
	case end.Open:
		s.Opened = float64(client.Count) / client.Seconds
		if client.Count == 0 {
			err = errors.New("no connection was opened")
		}
	case end.Idle:
		for i, r := range []end.Report{client, server} {
			s.Heap[i], s.Resident[i] = float64(r.Heap)/float64(j.conns), float64(r.Resident)/float64(j.conns)
		}
	default:
		rate := float64(server.Octets) / 1e9 / server.Seconds // GB a second
		if rate == 0 {
			return s, errors.New("nothing arrived")
		}
		s.Rate = 8 * rate
		s.CPU = [2]float64{client.CPU / client.Seconds / rate, server.CPU / server.Seconds / rate}
		s.Machine = server.Machine / server.Seconds / rate
	}
	return s, err
}

// String says what matters of it.
func (s Sample) String() string {
	var b strings.Builder
	if s.Rate > 0 {
		fmt.Fprintf(&b, "%6.2f Gb/s, CPU %.2f + %.2f s/GB, machine %.2f, ", s.Rate, s.CPU[0], s.CPU[1], s.Machine)
	}
	if s.Ended[0] > 0 {
		fmt.Fprintf(&b, "ended after %.2f and %.2f s, ", s.Ended[0], s.Ended[1])
	}
	if s.P50 > 0 {
		fmt.Fprintf(&b, "p50 %.1f µs, p99 %.1f µs, ", s.P50*1e6, s.P99*1e6)
	}
	if s.Opened > 0 {
		fmt.Fprintf(&b, "%.0f a second, ", s.Opened)
	}
	if s.Heap[0] > 0 {
		fmt.Fprintf(&b, "heap %.0f + %.0f octets each, resident %.0f + %.0f, ", s.Heap[0], s.Heap[1], s.Resident[0], s.Resident[1])
	}
	if s.Paths > 0 {
		fmt.Fprintf(&b, "paths %d, ", s.Paths)
	}
	fmt.Fprintf(&b, "most resident %d + %d MB", s.Peak[0]>>20, s.Peak[1]>>20)
	return b.String()
}

// What is taken from a sample.
func rate(s Sample) float64    { return s.Rate }
func cpu(s Sample) float64     { return s.CPU[0] + s.CPU[1] }
func machine(s Sample) float64 { return s.Machine }
func p50(s Sample) float64     { return s.P50 }
func p99(s Sample) float64     { return s.P99 }
func opened(s Sample) float64  { return s.Opened }

// cell returns the cell of that name, which is made if there is none.
func (r *Results) cell(name string) *Cell {
	for _, c := range r.Cells {
		if c.Name == name {
			return c
		}
	}
	c := &Cell{Name: name}
	r.Cells = append(r.Cells, c)
	return c
}

// of returns a figure of all samples of a cell.
func (r *Results) of(name string, take func(Sample) float64) (v []float64) {
	for _, c := range r.Cells {
		if c.Name == name {
			for _, s := range c.Samples {
				v = append(v, take(s))
			}
		}
	}
	return v
}
