// Scale measures what connections cost where there are 10 to 10,000 of them in
// one stack, and writes a document with the table.
//
//	go run ./testenv/scale -out docs/scale.md
//
// It runs BenchmarkScale of package mptcp, each number of connections in a
// process of its own, in turn, several times. It needs no privileges.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sizes are the numbers of connections; BenchmarkScale has the same.
var sizes = []int{10, 100, 1000, 10000}

// units are the benchmark's metrics, in the order of the table, with the heads
// of their columns.
var units = []struct{ name, head string }{
	{"heap-B/end", "heap, octets an end"},
	{"rss-B/end", "resident, octets an end"},
	{"opened/s", "opened a second"},
	{"closed/s", "closed a second"},
	{"beside/s", "opened and closed beside them, a second"},
	{"word-µs", "a word and its answer, µs"},
}

func main() {
	out := flag.String("out", "docs/scale.md", "the document")
	rounds := flag.Int("rounds", 5, "how many of each")
	flag.Parse()
	err := errors.New("bad options")
	if flag.NArg() == 0 && *rounds > 0 {
		err = command(*out, *rounds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func command(out string, rounds int) error {
	before := load()
	dir, err := os.MkdirTemp("", "mpnc-scale")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "mptcp.test")
	build := exec.Command("go", "test", "-c", "-o", binary, "github.com/mpnc/mpnc/mptcp")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building the benchmark: %w", err)
	}
	t := make(table)
	for range rounds {
		for _, n := range sizes {
			if err := t.measure(binary, n); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(out, []byte(t.render(rounds, before)), 0o644)
}

// load returns how many processes have wanted to run in the last minute: what
// else there is takes from the figures a second.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "not told"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// table is what was measured, by number of connections and unit.
type table map[int]map[string][]float64

// measure runs the benchmark once, in a process of its own, whose memory has
// seen nothing else.
func (t table) measure(binary string, n int) error {
	cmd := exec.Command(binary, "-test.run", "^$", "-test.bench", fmt.Sprintf("^BenchmarkScale$/^%d$", n), "-test.benchtime", "1x")
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%d connections: %w\n%s", n, err, text)
	}
	if t[n] == nil {
		t[n] = make(map[string][]float64)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "BenchmarkScale/") {
			fmt.Fprint(os.Stderr, line)
			return t.add(n, strings.Fields(line)[2:])
		}
	}
	return fmt.Errorf("%d connections: no figures in %q", n, text)
}

// add takes the figures of a line: values and units in turn.
func (t table) add(n int, fields []string) error {
	for i := 0; i+1 < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return err
		}
		t[n][fields[i+1]] = append(t[n][fields[i+1]], v)
	}
	return nil
}

// middle returns the median of a cell's figures, which it sorts; 0 without any.
func (t table) middle(n int, unit string) float64 {
	x := t[n][unit]
	if len(x) == 0 {
		return 0
	}
	slices.Sort(x)
	return x[len(x)/2]
}

const intro = `# What connections cost

Written by ` + "`go run ./testenv/scale`" + `: measured on %s, %s/%s, %d processors, %d runs of each
number of connections, each in a process of its own; medians, and in brackets the least and the most. The machine's load
before was %s.

Both ends of every connection are in the one process, in two stacks joined by a pipe in memory; each has said a word
and heard one, and has been idle for a second. Memory is that of one end: what the heap holds after a collection, and by
how much the process' resident memory has grown. They are opened and closed sixteen at a time, until both stacks have
forgotten them (TIME-WAIT is a millisecond here); beside them, others are opened and closed one after the other, and one
of them exchanges words.

`

const outro = `
An idle connection has no timer, no goroutine and no buffer: what is left is its state (and one range of its memory of what
it received), so its memory does not depend on how many there are. What is done for a packet does not either: connections
are found in a map, deadlines are in a heap, and nothing looks at all connections but an address of the host that comes
or goes. Figures of ten connections last for some milliseconds, and spread accordingly.
`

func (t table) render(rounds int, load string) string {
	var b strings.Builder
	fmt.Fprintf(&b, intro, time.Now().UTC().Format("2 January 2006"), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), rounds, load)
	b.WriteString("| connections |")
	for _, u := range units {
		b.WriteString(" " + u.head + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(units)) + "\n")
	for _, n := range sizes {
		fmt.Fprintf(&b, "| %d |", n)
		for _, u := range units {
			mid, x := t.middle(n, u.name), t[n][u.name]
			if len(x) == 0 {
				b.WriteString(" – |")
				continue
			}
			fmt.Fprintf(&b, " %s (%s–%s) |", number(mid), number(x[0]), number(x[len(x)-1]))
		}
		b.WriteString("\n")
	}
	b.WriteString(outro)
	return b.String()
}

// number writes a figure with as much as it is good for.
func number(v float64) string {
	if v < 100 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}
