package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// of returns what f takes from each run of a control in a scene, in order.
func (f *File) of(scene, control string, take func(Result) float64) (x []float64) {
	for _, r := range f.Results {
		if r.Scene == scene && r.Control == control {
			x = append(x, take(r))
		}
	}
	slices.Sort(x)
	return x
}

func ours(r Result) float64 { return r.Ours }

// share is what ours takes of what the rival on the first link takes.
func share(r Result) float64 {
	if len(r.Rivals) == 0 || r.Rivals[0] == 0 {
		return 0
	}
	return r.Ours / r.Rivals[0]
}

func median(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	return x[len(x)/2]
}

// spread is a median with the least and the most.
func spread(x []float64) string {
	if len(x) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", median(x), x[0], x[len(x)-1])
}

// render writes the document.
func (f *File) render() []byte {
	var b bytes.Buffer
	p := func(format string, a ...any) { fmt.Fprintf(&b, format, a...) }
	p("# What coupled congestion control gives and takes\n\n")
	p("Written by `go run ./testenv/coupled`: measured on %s, Linux %s, %d processors, %d runs of\neach kind, %v (for all but the first table a third of that) after %v of warm-up; medians, and in brackets the least and the most.\nBoth ends of our connection are mpnc; the rivals are the kernel's TCP with Reno, one on each link. Links have a queue of\none bandwidth-delay product, at least 48 KB, and a delay that varies by 1 ms, so that flows do not keep step. Figures are payload in Mb/s.\n\n",
		f.Started.Format("2 January 2006"), f.Kernel, f.CPUs, f.Runs, f.Taken, f.Warmup)
	f.table(p, "One bottleneck", "Two subflows over one link of 20 Mb/s and 40 ms, beside one connection of Reno. A connection that is fair to it takes\nas much as that does.",
		"control | Mb/s | of what Reno takes",
		func(c string) string {
			return spread(f.of("shared", c, ours)) + " | " + spread(f.of("shared", c, share))
		})
	p("One subflow of ours with Reno, beside the kernel's Reno on a link of 20 Mb/s and 20 ms, takes %s of what that takes.\n\n",
		spread(f.of("best", "reno", share)))
	f.table(p, "Two bottlenecks with traffic", "Links of 20 Mb/s, 20 ms and 8 Mb/s, 60 ms, one connection of Reno on each. “Alone” is the same control on the better\nlink only, beside its Reno: over both, a connection must not get less.",
		"control | over both, Mb/s | alone on the better, Mb/s | gain",
		func(c string) string {
			two, one := f.of("distinct", c, ours), f.of("best", c, ours)
			return fmt.Sprintf("%s | %s | %.2f", spread(two), spread(one), ratio(median(two), median(one)))
		})
	f.table(p, "Two bottlenecks without traffic", "The same links with nobody else on them.",
		"control | Mb/s | of the links",
		func(c string) string {
			x := f.of("free", c, ours)
			return fmt.Sprintf("%s | %.0f %%", spread(x), 100*median(x)/28)
		})
	if n := f.lost(); n > 0 {
		p("The emulator itself lost %d frames in all of these runs, for want of a processor.\n\n", n)
	}
	p("%s", argument)
	return b.Bytes()
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func (f *File) lost() (n uint64) {
	for _, r := range f.Results {
		n += r.Lost
	}
	return n
}

func (f *File) table(p func(string, ...any), title, text, head string, row func(control string) string) {
	p("## %s\n\n%s\n\n| %s |\n|%s\n", title, text, head, strings.Repeat("---|", strings.Count(head, "|")+1))
	for _, c := range everyone {
		p("| %s | %s |\n", c, row(c))
	}
	p("\n")
}

// argument is why the default is what it is.
const argument = `## What it means

A coupled connection should take 0.8 to 1.3 of what the kernel's Reno takes, and an uncoupled one about twice as much: that is so
here. In virtual time, where both ends of every connection are ours, the same runs give 0.9 to 1.0 for the coupled ones and 1.9
without coupling (` + "`TestE8_T81_SharedBottleneck`" + `). The delay of the links varies by more than a packet takes on the wire. Where it
does not, flows keep step, and the coupled ones took 0.7.

With traffic on two bottlenecks LIA and BALIA take more than they would take on the better alone, as RFC 6356 promises, and about
half of what uncoupled subflows take: they leave the rest to the others. OLIA took a little less than alone, within the
spread of its runs. On links without other traffic all controls fill both.

## The default

It stays CUBIC, uncoupled:

- What paths of this program share is mostly not the bottleneck: they are different interfaces (Wi-Fi and cellular, two
  uplinks). There coupling halves what the second path brings as soon as anybody else is on it.
- The kernel's Multipath TCP does the same, with CUBIC on each subflow: who replaces it by mpnc gets what it had.

Where paths do share a bottleneck (` + "`--path-manager ndiffports`" + `, several addresses behind one uplink) and others use it,
` + "`--congestion lia`" + ` is the choice that is fair to them; ` + "`olia`" + ` leaves a path that loses more than others nearly alone, and
` + "`balia`" + ` lies between.
`
