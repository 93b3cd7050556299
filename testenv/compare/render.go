package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mpnc/mpnc/internal/report"
)

// What is asked of our stack.
const (
	leastOverall = 1.0
	leastCell    = 0.85
	mostRetrans  = 1.1
	p99Factor    = 1.1
	p99Slack     = 5e-3 // seconds
	leastShare   = 0.8
	mostShare    = 1.25
)

// render writes the document of the last run, and its picture.
func render(name string, file *File) error {
	run := file.Runs[len(file.Runs)-1]
	picture := strings.TrimSuffix(name, ".md") + ".png"
	var b bytes.Buffer
	if err := plot(run).WritePNG(&b); err != nil {
		return err
	}
	if err := replace(picture, b.Bytes()); err != nil {
		return err
	}
	d := &document{run: run}
	d.intro(filepath.Base(picture))
	d.verdicts()
	d.cells()
	d.latency()
	d.share()
	d.apart()
	d.method()
	d.history(file)
	if err := replace(name, d.Bytes()); err != nil {
		return err
	}
	_, err := os.Stdout.WriteString(d.summary.String())
	return err
}

// document is a text being written.
type document struct {
	bytes.Buffer
	run     *Run
	summary strings.Builder // of the verdicts
}

func (d *document) add(format string, a ...any) { fmt.Fprintf(d, format, a...) }

func (d *document) intro(picture string) {
	r := d.run
	d.add("# Our TCP and the kernel's on the same links\n\n")
	d.add("Made by `go run ./testenv/compare`, which measures, and writes this file, its picture and its figures\n")
	d.add("(`%s`). The last run began on %s, took %v, and ran on Linux %s with %d processors",
		strings.TrimSuffix(picture, ".png")+".json", r.Started.Format("2006-01-02 15:04 UTC"), r.Took, r.Kernel, r.CPUs)
	if r.Commit != "" {
		d.add(" (commit %s)", r.Commit)
	}
	d.add(".\n")
	if !r.Complete {
		d.add("**It is not complete.**\n")
	}
	d.add("\n![Ratio of goodput in each cell](%s)\n\n", picture)
}

// verdict adds a line to the table of targets.
func (d *document) verdict(what, target, measured string, ok bool) {
	word := "met"
	if !ok {
		word = "**missed**"
	}
	d.add("| %s | %s | %s | %s |\n", what, target, measured, word)
	fmt.Fprintf(&d.summary, "%-58s %-32s %-40s %s\n", what, target, measured, strings.Trim(word, "*"))
}

// ratios returns those of all pairs in the median, and the median of each cell.
func (r *Run) ratios() (all, medians []float64, worst string) {
	least := math.Inf(1)
	for _, c := range cells() {
		v := each(r.of(c.Name), Pair.Ratio)
		if len(v) == 0 {
			continue
		}
		all = append(all, v...)
		m := median(v)
		medians = append(medians, m)
		if m < least {
			least, worst = m, c.Name
		}
	}
	return all, medians, worst
}

// sentAgain sums what both stacks sent again in the cells of the median, and
// what arrived.
func (r *Run) sentAgain() (kernel, mpnc, kernelOctets, mpncOctets float64) {
	for _, c := range cells() {
		for _, p := range r.of(c.Name) {
			kernel += float64(p.Kernel.Retrans)
			mpnc += float64(p.Mpnc.Retrans)
			kernelOctets += float64(p.Kernel.Octets)
			mpncOctets += float64(p.Mpnc.Octets)
		}
	}
	return
}

func (d *document) verdicts() {
	d.add("| what | target | measured | |\n|---|---|---|---|\n")
	if all, medians, worst := d.run.ratios(); len(all) > 0 {
		d.verdict("goodput by the kernel's, median of all pairs", fmt.Sprintf("at least %.2f", leastOverall),
			fmt.Sprintf("%.3f", median(all)), median(all) >= leastOverall)
		d.verdict("the same, median of the cells' medians", fmt.Sprintf("at least %.2f", leastOverall),
			fmt.Sprintf("%.3f", median(medians)), median(medians) >= leastOverall)
		d.verdict("the worst cell's median", fmt.Sprintf("at least %.2f", leastCell),
			fmt.Sprintf("%.3f (%s)", slices.Min(medians), worst), slices.Min(medians) >= leastCell)
		k, m, ko, mo := d.run.sentAgain()
		d.verdict("octets sent again, all cells together", fmt.Sprintf("at most %.1f of the kernel's", mostRetrans),
			fmt.Sprintf("%.3f (%.1f and %.1f MB)", m/k, m/1e6, k/1e6), m <= mostRetrans*k)
		d.verdict("the same for each octet that arrived", fmt.Sprintf("at most %.1f of the kernel's", mostRetrans),
			fmt.Sprintf("%.3f (%.2f and %.2f %%)", m/mo/(k/ko), 100*m/mo, 100*k/ko), m/mo <= mostRetrans*k/ko)
	}
	if pairs := d.run.of(latencyCell().Name); len(pairs) > 0 {
		k, m := median(each(pairs, kernelP99)), median(each(pairs, mpncP99))
		over := median(each(pairs, overP99))
		d.verdict("p99 of requests, median of the pairs", "at most 1.1 of the kernel's + 5 ms",
			fmt.Sprintf("%.1f and %.1f ms", m*1e3, k*1e3), over <= 0 && m <= p99Factor*k+p99Slack)
	}
	if pairs := d.run.of(shareCell().Name); len(pairs) > 0 {
		m := median(each(pairs, Pair.Ratio))
		d.verdict("our share by a kernel flow's in one bottleneck, median", "0.80 to 1.25",
			fmt.Sprintf("%.3f", m), m >= leastShare && m <= mostShare)
	}
	d.add("\n")
}

func kernelP99(p Pair) float64 { return p.Kernel.P99 }
func mpncP99(p Pair) float64   { return p.Mpnc.P99 }

// overP99 is how much our p99 is above what it may be in the same pair.
func overP99(p Pair) float64 { return p.Mpnc.P99 - (p99Factor*p.Kernel.P99 + p99Slack) }

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// megabits is the goodput of a flow of the run.
func (r *Run) megabits(octets, seconds float64) float64 { return octets * 8 / seconds / 1e6 }

func (d *document) cells() {
	d.add("## The sixteen cells\n\nGoodput in Mb/s is the median of the pairs; the ratio is ours by the kernel's, of each pair, as median,\n")
	d.add("least and greatest. Sent again is the median in kB.\n\n")
	d.table(cells())
}

func (d *document) apart() {
	if !slices.ContainsFunc(apart(), func(c Cell) bool { return len(d.run.of(c.Name)) > 0 }) {
		return
	}
	d.add("## BBR, apart\n\nThe kernel's BBR is version 1, ours is version 3, which yields to loss where version 1 does not: these cells\n")
	d.add("compare two different algorithms, and are no part of the medians above.\n\n")
	d.table(apart())
}

func (d *document) table(list []Cell) {
	d.add("| cell | control | rate | RTT | loss | queue | reordering | spike | kernel | mpnc | ratio | from | to | sent again, kernel | mpnc |\n")
	d.add("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, c := range list {
		pairs := d.run.of(c.Name)
		if len(pairs) == 0 {
			continue
		}
		rates := func(f func(Pair) Flow) float64 {
			return d.run.megabits(median(each(pairs, func(p Pair) float64 { return float64(f(p).Octets) })), d.run.Seconds)
		}
		again := func(f func(Pair) Flow) float64 {
			return median(each(pairs, func(p Pair) float64 { return float64(f(p).Retrans) })) / 1e3
		}
		v := each(pairs, Pair.Ratio)
		d.add("| %s | %s | %g Mb/s | %v | %g %% | %g BDP | %s | %s | %.2f | %.2f | **%.3f** | %.3f | %.3f | %.0f | %.0f |\n",
			c.Name, c.Congestion, c.Rate/1e6, c.RTT, c.Loss*100, c.Queue, yes(c.Reorder), yes(c.Spike),
			rates(kernelFlow), rates(mpncFlow), median(v), slices.Min(v), slices.Max(v), again(kernelFlow), again(mpncFlow))
	}
	d.add("\n")
}

func kernelFlow(p Pair) Flow { return p.Kernel }
func mpncFlow(p Pair) Flow   { return p.Mpnc }

func (d *document) latency() {
	pairs := d.run.of(latencyCell().Name)
	if len(pairs) == 0 {
		return
	}
	c := latencyCell()
	d.add("## Requests and responses\n\n%d pairs of %d octets, one after the other, over %g Mb/s and %v with %g %% loss each way.\n",
		d.run.Requests, question, c.Rate/1e6, c.RTT, c.Loss*100)
	d.add("Milliseconds.\n\n| pair | p50 kernel | mpnc | p99 kernel | mpnc | longest kernel | mpnc |\n|---|---|---|---|---|---|---|\n")
	for _, p := range pairs {
		d.add("| %d | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f |\n", p.Number+1,
			p.Kernel.P50*1e3, p.Mpnc.P50*1e3, p.Kernel.P99*1e3, p.Mpnc.P99*1e3, p.Kernel.Max*1e3, p.Mpnc.Max*1e3)
	}
	d.add("\n")
}

func (d *document) share() {
	pairs := d.run.of(shareCell().Name)
	if len(pairs) == 0 {
		return
	}
	c := shareCell()
	d.add("## One bottleneck, two stacks\n\nBoth send with CUBIC at once for %g s through %g Mb/s, %v (and up to %v more each way) and a queue of\n%g BDP. Goodput in Mb/s.\n\n",
		d.run.Shared, c.Rate/1e6, c.RTT, c.Jitter, c.Queue)
	d.shares(pairs)
	if pairs = d.run.of(phaseCell().Name); len(pairs) == 0 {
		return
	}
	d.add("The same with a delay that never varies, apart. There two flows keep step, and which of them finds the queue full is\n")
	d.add("decided by who answers an acknowledgment some microseconds later (S. Floyd and V. Jacobson, On Traffic Phase Effects in\n")
	d.add("Packet-Switched Gateways, 1992): a kernel does so in its interrupt, a program never as soon. With a delay that varies by more\n")
	d.add("than a packet takes on the wire, here 0.6 ms, the difference is gone; with 0.2 ms it is not.\n\n")
	d.shares(pairs)
}

func (d *document) shares(pairs []Pair) {
	d.add("| pair | first | kernel | mpnc | ratio |\n|---|---|---|---|---|\n")
	for _, p := range pairs {
		d.add("| %d | %s | %.2f | %.2f | %.3f |\n", p.Number+1, [...]string{"kernel", "mpnc"}[p.Number%2],
			d.run.megabits(float64(p.Kernel.Octets), d.run.Shared), d.run.megabits(float64(p.Mpnc.Octets), d.run.Shared), p.Ratio())
	}
	d.add("| median | | | | **%.3f** |\n\n", median(each(pairs, Pair.Ratio)))
}

func (d *document) method() {
	d.add(`## How it is measured

Two hosts are network namespaces, joined by an emulated link (%[1]stestenv.Lab%[1]s) with a rate, a delay and a queue in each
direction; a new one for every transfer, so that nothing is left of the one before. The sender is the kernel's TCP, or
ours on raw sockets, speaking plain TCP; the receiver is the kernel's TCP in both cases. Offloads are off, so both send
packets of 1,500 octets. Buffers have room for %[2]d MiB at either end, so that they never decide. Data is made in
memory. Goodput is what the receiving program had read %[3]g s after the sender began to connect.

Of each pair the stacks run one after the other, and which is first alternates. Both meet the same loss: whether a data
packet is lost follows from a hash of a seed and its number (packets sent again and those that find no room in the queue
have numbers too, acknowledgments have none); pairs have different seeds. Reordering holds back one packet in a hundred for
2 ms. The delay spike adds 300 ms for a second, after a third of the time.

The cells are drawn by a rule that was fixed before anything was measured (%[1]scells%[1]s in
%[1]stestenv/compare/plan.go%[1]s): any two factors of rate, queue, loss, reordering, spike and control meet in all their
combinations equally often.

What is sent again is %[1]stcpi_bytes_retrans%[1]s of the kernel and the same count of ours. Tasks run at once while
their links together have at most 130 Mb/s, four at most: so one cell of 100 Mb/s, or two of 10 Mb/s with others. A pair
during which the emulator itself lost a packet, because the machine was busy, is measured again (%[4]d of %[5]d pairs were).

`, "`", 32, d.run.Seconds, d.again(), len(d.run.Results))
}

// again counts the pairs that took more than one attempt.
func (d *document) again() (n int) {
	for _, p := range d.run.Results {
		if p.Tries > 1 {
			n++
		}
	}
	return n
}

// history lists every run there was.
func (d *document) history(file *File) {
	d.add("## Every run\n\n| began | took | pairs | complete | median ratio | worst cell | sent again | share |\n|---|---|---|---|---|---|---|---|\n")
	for _, r := range file.Runs {
		all, medians, worst := r.ratios()
		if len(all) == 0 {
			d.add("| %s | %v | 0 | no | | | | |\n", r.Started.Format("2006-01-02 15:04"), r.Took)
			continue
		}
		k, m, _, _ := r.sentAgain()
		complete := yes(r.Complete)
		if complete == "" {
			complete = "no"
		}
		share := ""
		if pairs := r.of(shareCell().Name); len(pairs) > 0 {
			share = fmt.Sprintf("%.3f", median(each(pairs, Pair.Ratio)))
		}
		d.add("| %s | %v | %d | %s | %.3f | %.3f (%s) | %.3f | %s |\n", r.Started.Format("2006-01-02 15:04"), r.Took,
			len(r.Results), complete, median(all), slices.Min(medians), worst, m/k, share)
	}
	d.add("\nIn the first run the shared bottleneck's delay did not vary, and in congestion avoidance credit for sending piled up to two\n")
	d.add("segments, not ten.\n")
}

// plot is the picture of a run: the cells, BBR's last.
func plot(r *Run) *report.DotPlot {
	p := &report.DotPlot{
		Title:    "Goodput of mpnc's TCP by the kernel's, same link, same loss, same congestion control",
		Subtitle: fmt.Sprintf("each dot a pair of %g s transfers in turn, bars are medians; BBR: two different versions", r.Seconds),
		Axis:     "goodput of mpnc by the kernel's (right is better for mpnc)",
		Colours:  []string{"cubic", "reno", "bbr, apart"},
		Lines:    []float64{leastOverall, leastCell},
	}
	for _, c := range slices.Concat(cells(), apart()) {
		if pairs := r.of(c.Name); len(pairs) > 0 {
			p.Rows = append(p.Rows, report.DotRow{
				Name:   strings.TrimPrefix(c.String(), c.Congestion+" "),
				Values: each(pairs, Pair.Ratio),
				Colour: slices.Index([]string{"cubic", "reno", "bbr"}, c.Congestion),
			})
		}
	}
	return p
}
