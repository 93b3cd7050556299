package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mpnc/mpnc/internal/report"
	"github.com/mpnc/mpnc/testenv/duel"
)

// Results is what was measured.
type Results struct {
	Started time.Time
	Took    time.Duration
	Kernel  string // its release
	CPUs    int
	Runs    int // of each stack, in each case
	Cases   []*Case
}

// write writes the document, and what it was made of beside it.
func (r *Results) write(name string) error {
	base := filepath.Base(strings.TrimSuffix(name, ".md"))
	return duel.Save(name, r.document(base), r, r.picture())
}

// silences returns the samples' silences in milliseconds, sorted.
func silences(samples []Sample) (ms []float64) {
	for _, s := range samples {
		ms = append(ms, float64(s.Silence)/1e6)
	}
	slices.Sort(ms)
	return ms
}

func worst(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	return v[len(v)-1]
}

// limit is what mpnc's median has to keep to, in milliseconds, and why; 0: none.
func (c *Case) limit() (ms float64, why string) {
	switch kernel := duel.Median(silences(c.Kernel)); {
	case c.Limit > 0:
		return float64(c.Limit) / 1e6, c.LimitWhy
	case c.KernelShare > 0 && kernel > 0:
		return kernel * c.KernelShare, "half the kernel's"
	}
	return 0, ""
}

// line is one run for whoever watches.
func (s Sample) line(c *Case) string {
	if c.Event == nothing {
		return fmt.Sprintf("%.1f Mb/s, %.3f sent for each octet", s.Before/1e6, s.CopiesAfter)
	}
	return fmt.Sprintf("%v", s.Silence.Round(time.Millisecond))
}

func (r *Results) document(base string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Handover

How long data stands still when the path that carries it is lost: mpnc at both ends, and the kernel's MPTCP at both ends,
on the same emulated links. Two links of 20 Mb/s, with round trips of 20 and 60 ms and a queue of one bandwidth-delay
product, between two hosts in network namespaces; the first one is lost. Each host has an address on each link, and either
stack makes a path from each address to each.

Made by `+"`go run ./testenv/handover`"+` on %s, Linux %s, %d CPUs, %d runs of each stack in each case, in turn, in %v. All
samples are in `+"`%s.json`"+`.

![The longest silence after the event](%s.png)

## The longest silence

In milliseconds, median and worst. *bulk*: the client sends as fast as it can over both paths; the longest time after the
event in which nothing new reached the receiving application. Of those only what begins within half a second of the event:
the link that is left fills its queue and then loses packets of its own, each of which costs a round trip with a full
queue (120 ms), event or not. *requests*: 750 octets every 400 ms that the other end sends
back; the longest time that one waited for its answer (20 ms where nothing happens). *one interface*: for how long nothing
new reached the receiver from the moment on when the new address was there. The kernel's path manager is told of removed
and new addresses at the same moment as the host.

| case | mpnc | worst | kernel | worst | limit of mpnc's median | kept |
|------|-----:|------:|-------:|------:|------------------------|------|
`, r.Started.Format("2006-01-02"), r.Kernel, r.CPUs, r.Runs, r.Took, base, base)
	for _, c := range r.Cases {
		if c.Event == nothing {
			continue
		}
		m, k := silences(c.Mpnc), silences(c.Kernel)
		limit, why := c.limit()
		bound, ok := "–", "–"
		if limit > 0 {
			bound, ok = fmt.Sprintf("%.0f: %s", limit, why), duel.Kept(duel.Median(m) <= limit)
		}
		fmt.Fprintf(&b, "| %s | %.0f | %.0f | %.0f | %.0f | %s | %s |\n", c.Name, duel.Median(m), worst(m), duel.Median(k), worst(k), bound, ok)
	}
	b.WriteString(r.price())
	for _, c := range r.Cases {
		if c.Failed > 0 {
			fmt.Fprintf(&b, "\n%d runs of “%s” failed and are not in the tables.\n", c.Failed, c.Name)
		}
	}
	return b.String()
}

// price is what the handover costs: octets sent for each that arrived, and
// goodput.
func (r *Results) price() string {
	var b strings.Builder
	b.WriteString(`
## What it costs

Octets of payload that mpnc sent for each that arrived, the worst run, and its goodput before the event.

| case | before | after | limit | kept | Mb/s before |
|------|-------:|------:|------:|------|------------:|
`)
	for _, c := range r.Cases {
		if c.Kind == requests || len(c.Mpnc) == 0 {
			continue
		}
		var before, after float64
		var rates []float64
		for _, s := range c.Mpnc {
			before, after = max(before, s.CopiesBefore), max(after, s.CopiesAfter)
			rates = append(rates, s.Before/1e6)
		}
		slices.Sort(rates)
		limit := 1.05
		if c.Shaky {
			limit, before = 1.02, after
		}
		fmt.Fprintf(&b, "| %s | %.3f | %.3f | %.2f | %s | %.1f |\n", c.Name, before, after, limit, duel.Kept(max(before, after) <= limit), duel.Median(rates))
	}
	if alone, both := r.goodput(); alone > 0 && both > 0 {
		fmt.Fprintf(&b, "\nBoth links together carry %.1f Mb/s, %.0f %% of the sum of what each carries alone (%.1f Mb/s; limit 95 %%, kept: %s).\n",
			both, 100*both/alone, alone, duel.Kept(both >= 0.95*alone))
	}
	return b.String()
}

// goodput is mpnc's over each link alone, summed, and over both, in Mb/s.
func (r *Results) goodput() (sum, both float64) {
	var together []float64
	for _, c := range r.Cases {
		var rates []float64
		for _, s := range c.Mpnc {
			rates = append(rates, s.Before/1e6)
		}
		slices.Sort(rates)
		switch {
		case c.Kind == alone && c.Event == nothing:
			sum += duel.Median(rates)
		case c.Kind == bulk && !c.Shaky:
			together = append(together, rates...)
		}
	}
	slices.Sort(together)
	return sum, duel.Median(together)
}

// picture draws every sample.
func (r *Results) picture() *report.DotPlot {
	d := &report.DotPlot{
		Title:    "Handover",
		Subtitle: "the longest silence after a path is lost; a dot for each run, a bar for the median",
		Axis:     "milliseconds", Colours: []string{"mpnc", "kernel"}, Lines: []float64{100},
	}
	for _, c := range r.Cases {
		if c.Event == nothing {
			continue
		}
		for i, samples := range [][]Sample{c.Mpnc, c.Kernel} {
			if len(samples) > 0 {
				d.Rows = append(d.Rows, report.DotRow{Name: c.Name + ", " + stackName(i == 0), Values: silences(samples), Colour: i})
			}
		}
	}
	return d
}
