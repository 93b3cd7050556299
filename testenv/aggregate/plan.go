package main

import (
	"fmt"
	"time"

	"github.com/mpnc/mpnc/testenv"
	"github.com/mpnc/mpnc/testenv/duel"
)

// Cell is two links, and which way the data goes: those of the kernel's own test
// of aggregation (simult_flows.sh).
type Cell struct {
	Mbps [2]float64
	RTT  [2]time.Duration
	Down bool // from server to client

	Runs []Sample `json:",omitempty"`
}

// Sample is one run: what was moved by whom, and how long it took.
type Sample struct {
	Way  way
	Rate float64 // Mb/s of payload, the handshake and slow start included
	// Lost are frames that the emulator lost: the machine was too slow.
	Lost uint64 `json:",omitempty"`
}

// way is how the data is moved.
type way int

const (
	ours       way = iota // mpnc over both links
	kernels               // the kernel's MPTCP over both
	firstAlone            // the kernel's TCP on one link
	secondAlone
	ways
)

func (w way) String() string {
	return [...]string{"mpnc", "kernel MPTCP", "kernel TCP, first link", "kernel TCP, second link"}[w]
}

func (w way) stack() duel.Stack {
	switch w {
	case ours:
		return duel.Mpnc
	case kernels:
		return duel.KernelMPTCP
	}
	return duel.KernelTCP
}

// cells is the matrix.
func cells() (all []*Cell) {
	const ms = time.Millisecond
	for _, c := range []Cell{
		{Mbps: [2]float64{10, 10}, RTT: [2]time.Duration{1 * ms, 1 * ms}},
		{Mbps: [2]float64{10, 10}, RTT: [2]time.Duration{1 * ms, 50 * ms}},
		{Mbps: [2]float64{30, 10}, RTT: [2]time.Duration{1 * ms, 1 * ms}},
		{Mbps: [2]float64{30, 10}, RTT: [2]time.Duration{1 * ms, 50 * ms}},
		{Mbps: [2]float64{30, 10}, RTT: [2]time.Duration{50 * ms, 1 * ms}},
	} {
		up, down := c, c
		down.Down = true
		all = append(all, &up, &down)
	}
	return all
}

// name says what the cell is.
func (c *Cell) name() string {
	way := "up"
	if c.Down {
		way = "down"
	}
	return fmt.Sprintf("%g/%g Mb/s, %d/%d ms, %s", c.Mbps[0], c.Mbps[1], c.RTT[0].Milliseconds(), c.RTT[1].Milliseconds(), way)
}

var links = [2]string{"first", "second"}

func (c *Cell) lab(seed uint64) testenv.LabConfig {
	cfg := testenv.LabConfig{Seed: seed}
	for i, name := range links {
		cfg.Links = append(cfg.Links, testenv.LabLink{Name: name, Rate: c.Mbps[i] * 1e6, RTT: c.RTT[i]})
	}
	return cfg
}

// of returns the rates of one way.
func (c *Cell) of(w way) (rates []float64) {
	for _, s := range c.Runs {
		if s.Way == w {
			rates = append(rates, s.Rate)
		}
	}
	return rates
}

func (c *Cell) median(w way) float64 { return duel.Median(c.of(w)) }

// sum is what the kernel's TCP gets on the links, each alone.
func (c *Cell) sum() float64 { return c.median(firstAlone) + c.median(secondAlone) }

// wanted is the least share of that sum that mpnc is to reach.
const wanted = 0.95

// share is mpnc's part of the sum, and of the kernel's MPTCP.
func (c *Cell) share() (ofSum, ofKernel float64) {
	return ratio(c.median(ours), c.sum()), ratio(c.median(ours), c.median(kernels))
}

func (c *Cell) kept() bool {
	ofSum, ofKernel := c.share()
	return ofSum >= wanted && ofKernel >= 1
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
