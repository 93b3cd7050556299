package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mpnc/mpnc/internal/report"
	"github.com/mpnc/mpnc/testenv/duel"
	"github.com/mpnc/mpnc/testenv/speed/end"
)

// write writes the document, and what it was made of beside it.
func (r *Results) write(name string) error {
	base := filepath.Base(strings.TrimSuffix(name, ".md"))
	return duel.Save(name, r.document(base), r, r.picture())
}

// print writes the tables as text.
func (r *Results) print(w io.Writer) error {
	for _, t := range append([]*report.Table{r.wanted()}, r.tables()...) {
		if len(t.Rows) == 0 {
			continue
		}
		if _, err := t.WriteTo(w); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	return nil
}

// wanted is the table of what is asked for.
func (r *Results) wanted() *report.Table {
	t := &report.Table{Heading: []string{"ratio of medians", "wanted", "measured", "from", "to", "kept"}}
	for _, q := range ratios() {
		median, each := q.measure(r)
		if len(each) == 0 {
			continue
		}
		word := "≥ "
		if q.smallest {
			word = "≤ "
		}
		t.Add(q.what, word+fmt.Sprintf("%.2g", q.limit), fmt.Sprintf("%.2f", median),
			fmt.Sprintf("%.2f", slices.Min(each)), fmt.Sprintf("%.2f", slices.Max(each)), kept(q.kept(median)))
	}
	for i, who := range []string{"client", "server"} {
		v := r.of("idle/"+mpnc, func(s Sample) float64 { return s.Heap[i] })
		if len(v) == 0 {
			continue
		}
		t.Add("heap of a connection at rest, octets, "+who, fmt.Sprintf("≤ %d", mostIdle), fmt.Sprintf("%.0f", duel.Median(v)),
			fmt.Sprintf("%.0f", slices.Min(v)), fmt.Sprintf("%.0f", slices.Max(v)), kept(duel.Median(v) <= mostIdle))
	}
	return t
}

func kept(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}

// tables are those of the scenes, by what is measured there.
func (r *Results) tables() []*report.Table {
	kinds := []struct {
		heading []string
		is      func(scene) bool
		cells   func(name string) []any
	}{
		{[]string{"bulk", "Gb/s", "from", "to", "CPU s/GB, sender", "receiver", "whole machine", "MB, sender", "receiver", "paths"},
			func(s scene) bool { return s.work == end.Bulk }, r.bulkRow},
		{[]string{"word and echo", "p50 µs", "from", "to", "p99 µs", "from", "to"},
			func(s scene) bool { return s.work == end.Ping }, r.pingRow},
		{[]string{"opened and closed", "a second", "from", "to"},
			func(s scene) bool { return s.work == end.Open }, r.openRow},
		{[]string{"at rest", "heap, octets, client", "server", "resident, client", "server"},
			func(s scene) bool { return s.work == end.Idle }, r.idleRow},
	}
	var all []*report.Table
	for _, k := range kinds {
		t := &report.Table{Heading: k.heading}
		for _, s := range scenes() {
			for _, c := range s.contestants {
				if name := s.name + "/" + c; k.is(s) && len(r.of(name, rate)) > 0 {
					t.Add(k.cells(name)...)
				}
			}
		}
		all = append(all, t)
	}
	return all
}

// spread is the median, the least and the most of a figure, times a factor.
func (r *Results) spread(name, format string, times float64, take func(Sample) float64) (cells []any) {
	v := r.of(name, take)
	for _, x := range []float64{duel.Median(v), slices.Min(v), slices.Max(v)} {
		cells = append(cells, fmt.Sprintf(format, x*times))
	}
	return cells
}

func (r *Results) bulkRow(name string) []any {
	median := func(take func(Sample) float64) float64 { return duel.Median(r.of(name, take)) }
	row := append([]any{name}, r.spread(name, "%.2f", 1, rate)...)
	for _, take := range []func(Sample) float64{
		func(s Sample) float64 { return s.CPU[0] }, func(s Sample) float64 { return s.CPU[1] }, func(s Sample) float64 { return s.Machine },
	} {
		row = append(row, fmt.Sprintf("%.3f", median(take)))
	}
	for i := range 2 {
		row = append(row, fmt.Sprintf("%.0f", median(func(s Sample) float64 { return float64(s.Peak[i]) / (1 << 20) })))
	}
	paths := "–"
	if n := median(func(s Sample) float64 { return float64(s.Paths) }); n > 0 {
		paths = fmt.Sprintf("%.0f", n)
	}
	return append(row, paths)
}

func (r *Results) pingRow(name string) []any {
	row := append([]any{name}, r.spread(name, "%.1f", 1e6, p50)...)
	return append(row, r.spread(name, "%.1f", 1e6, p99)...)
}

func (r *Results) openRow(name string) []any {
	return append([]any{name}, r.spread(name, "%.0f", 1, opened)...)
}

func (r *Results) idleRow(name string) []any {
	row := []any{name}
	for _, of := range []func(Sample) [2]float64{func(s Sample) [2]float64 { return s.Heap }, func(s Sample) [2]float64 { return s.Resident }} {
		for i := range 2 {
			row = append(row, fmt.Sprintf("%.0f", duel.Median(r.of(name, func(s Sample) float64 { return of(s)[i] }))))
		}
	}
	return row
}

// picture draws what is asked for: every sample by the other cell's median.
func (r *Results) picture() *report.DotPlot {
	d := &report.DotPlot{
		Title: "Speed", Subtitle: "a dot for each sample, a bar for the median",
		Axis: "mpnc's figure by the other's", Colours: []string{"larger is better", "smaller is better"},
		Lines: []float64{1},
	}
	for _, q := range ratios() {
		if _, each := q.measure(r); len(each) > 0 {
			colour := 0
			if q.smallest {
				colour = 1
			}
			d.Rows = append(d.Rows, report.DotRow{Name: q.what, Values: each, Colour: colour})
		}
	}
	return d
}

// document is the text.
func (r *Results) document(base string) string {
	var b strings.Builder
	fmt.Fprintf(&b, intro, r.Started.Format("2006-01-02"), r.Commit, r.Kernel, r.Go, r.CPUs, r.CPU, r.Load, r.Rounds, r.Took, base)
	if len(r.Peers) > 0 {
		fmt.Fprintf(&b, "Beside %s.\n\n", strings.Join(r.Peers, " and "))
	}
	for _, l := range r.Lacks {
		fmt.Fprintf(&b, "Not measured: %s.\n\n", l)
	}
	fmt.Fprintf(&b, "![What is asked for: mpnc's figures by the others'](%s.png)\n\n", base)
	markdown(&b, r.wanted())
	b.WriteString(benchmarks)
	fmt.Fprintf(&b, method, r.Congestion, r.FileMB, r.Warmup, r.Seconds, min(checked, r.FileMB))
	for _, s := range scenes() {
		fmt.Fprintf(&b, "- *%s*: %s;\n", s.name, s.about)
	}
	b.WriteString("\n")
	for _, t := range r.tables() {
		markdown(&b, t)
	}
	return b.String()
}

// markdown writes a table.
func markdown(b *strings.Builder, t *report.Table) {
	if len(t.Rows) == 0 {
		return
	}
	fmt.Fprintf(b, "| %s |\n|---|%s\n", strings.Join(t.Heading, " | "), strings.Repeat("---:|", len(t.Heading)-1))
	for _, row := range t.Rows {
		cells := slices.Clone(row)
		if last := len(cells) - 1; cells[last] == "no" {
			cells[last] = duel.Kept(false)
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
	}
	b.WriteString("\n")
}

const intro = `# Speed

How fast mpnc and its library are beside the kernel's Multipath TCP and TCP, and beside other stacks in user space, on one
machine, with nothing between both ends but veth pairs: what is compared is what the ends do with a processor.

Made by ` + "`go run ./testenv/speed`" + ` on %s: commit %s, Linux %s, %s, %d processors (%s), a load of
%s before, %d rounds of everything in turn, in %v. All samples are in ` + "`%s.json`" + `.

`

const benchmarks = `That nothing is allocated for a train is a test's to say, not this program's: ` + "`go test ./subflow -bench Train -benchmem`" + `.

`

const method = `## What is left of the machine

What is not kept is to be read beside the floors in the table of *bulk*, which have no protocol. AF_PACKET copies what it
sends, and whoever may have to send it again needs another copy of his own (*floor-kept*); the kernel's sockets keep the one
that they send. Our command reads a file into that other copy (*floor-file*). With many connections at once both copies, and
the state of each connection, come from memory and no longer from the caches: an octet takes two to three times as long, in
all functions alike, as profiles show (option -profile).

## How it is measured

Two hosts are network namespaces, joined by two veth pairs with an MTU of 1,500 and all offloads on, made anew for every
sample; *mtu* has TSO, GSO, GRO and checksum offloads off, and our trains too (` + "`MPNC_OFFLOAD=off`" + `). Everybody's congestion
control is %s, and everybody has the buffers that are his own default, but gVisor and quic-go, which have what was fastest
for them. The kernel's MPTCP has an endpoint for each path. Our two ends have half of the processors each
(` + "`GOMAXPROCS`" + `, as the command sets it), which is faster for them; the others have all, which is faster for the kernel's sockets.

Commands carry a file of %d MB in memory to /dev/null, from the client's start until both ends have ended: what it takes to
begin and to end is part of it. ` + "`nc`" + ` is OpenBSD's, ` + "`socat`" + ` has buffers of 256 KB; ` + "`mptcpize`" + ` makes them speak MPTCP. All others are
processes that call Read and Write with 256 KB of memory (or a word), and are measured after %g s (of many connections, until
their buffers are full) for %g s, at the reader. Once for each, a stream of %d MB is compared by its SHA-256.

*CPU* is the processor time, the user's and the system's, of each end's process; *whole machine* is that of all processors,
interrupts included, whoever they worked for: a veth pair delivers in an interrupt of whoever sends, and where the kernel
accounts for interrupts by themselves no process is charged. It means something only if nothing else ran. *MB* is the most
that was ever resident.

- *mpnc*: the command at both ends, or our library with its default configuration, as root: the stack's own raw sockets;
- *kernel-mptcp*, *kernel-tcp*: a Go program on the kernel's sockets, TCP on one path;
- *gvisor*: gVisor's netstack with TCP, on AF_PACKET with the host's GSO, on one path; with offloads off it cuts and merges
  packets itself. The kernel does not have its address;
- *quic-go*: one stream, over UDP with its offloads on one path; it encrypts, which the others do not;
- *floor*: trains of 64 KB written to AF_PACKET on one side and read from a raw socket on the other, without any
  protocol but a count of what arrived: what is left for a stack's own work. *floor-kept*: the same, of memory to which what is
  written was copied, as whoever may have to send it again has to keep it, which the kernel does in the copy that it sends;
  *floor-file*: the same, of memory to which it was read from a file of 256 MB, as our command reads it.

The scenes:

`
