package main

import (
	"fmt"
	"path/filepath"
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
	Runs    int // of each kind, in each cell
	Bytes   int // moved in each run
	Cells   []*Cell
}

// write writes the document, and what it was made of beside it.
func (r *Results) write(name string) error {
	base := filepath.Base(strings.TrimSuffix(name, ".md"))
	return duel.Save(name, r.document(base), r, r.picture())
}

var heading = []string{"links", "mpnc", "kernel MPTCP", "TCP, first", "TCP, second", "of the sum", "of the kernel's", "kept"}

// row is a cell of the matrix in words.
func (c *Cell) row() (cells []any) {
	cells = append(cells, c.name())
	for w := range ways {
		cells = append(cells, fmt.Sprintf("%.2f", c.median(w)))
	}
	ofSum, ofKernel := c.share()
	return append(cells, fmt.Sprintf("%.1f %%", 100*ofSum), fmt.Sprintf("%.1f %%", 100*ofKernel), duel.Kept(c.kept()))
}

func (r *Results) table() *report.Table {
	t := &report.Table{Heading: heading}
	for _, c := range r.Cells {
		row := c.row()
		row[len(row)-1] = c.kept() // plain text has no bold
		t.Add(row...)
	}
	return t
}

func (r *Results) document(base string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Aggregation

What two links give together: mpnc at both ends, over both links; the kernel's MPTCP at both ends, over both; and the
kernel's TCP on each link alone. The links are those of the kernel's own test (simult_flows.sh), between two hosts in
network namespaces, with a queue of one bandwidth-delay product, at least 48 KB. Everybody uses CUBIC. “Up” is from client
to server.

Made by `+"`go run ./testenv/aggregate`"+` on %s, Linux %s, %d CPUs, %d runs of each kind in each cell, in turn, in %v. All samples
are in `+"`%s.json`"+`.

![Goodput over both links, by the sum of TCP's on each](%s.png)

Goodput in Mb/s, medians: %.0f MiB of payload by the time from the first SYN to the last octet at its reader, slow start
and joins included. *Of the sum*: mpnc's by the sum of what the kernel's TCP gets on each link alone; at least %.0f %% are
wanted, and at least what the kernel's MPTCP gets.

`, r.Started.Format("2006-01-02"), r.Kernel, r.CPUs, r.Runs, r.Took, base, base, float64(r.Bytes)/(1<<20), 100*wanted)
	fmt.Fprintf(&b, "| %s |\n|---|%s\n", strings.Join(heading, " | "), strings.Repeat("---:|", len(heading)-1))
	kept := 0
	for _, c := range r.Cells {
		for _, cell := range c.row() {
			fmt.Fprintf(&b, "| %v ", cell)
		}
		b.WriteString("|\n")
		if c.kept() {
			kept++
		}
	}
	fmt.Fprintf(&b, "\n%d of %d are kept.\n", kept, len(r.Cells))
	if n := r.lost(); n > 0 {
		fmt.Fprintf(&b, "The emulator lost %d frames in all of these runs, for want of a processor.\n", n)
	}
	return b.String()
}

func (r *Results) lost() (n uint64) {
	for _, c := range r.Cells {
		for _, s := range c.Runs {
			n += s.Lost
		}
	}
	return n
}

// picture draws every run over both links.
func (r *Results) picture() *report.DotPlot {
	d := &report.DotPlot{
		Title:    "Aggregation",
		Subtitle: "a dot for each run, a bar for the median",
		Axis:     "goodput over both links, by the sum of TCP's on each alone", Colours: []string{ours.String(), kernels.String()},
		Lines: []float64{1, wanted},
	}
	for _, c := range r.Cells {
		for _, w := range []way{ours, kernels} {
			row := report.DotRow{Name: c.name() + ", " + w.String(), Colour: int(w)}
			for _, rate := range c.of(w) {
				if share := ratio(rate, c.sum()); share > 0 {
					row.Values = append(row.Values, share)
				}
			}
			d.Rows = append(d.Rows, row)
		}
	}
	return d
}
