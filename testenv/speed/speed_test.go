package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mpnc/mpnc/testenv/duel"
	"github.com/mpnc/mpnc/testenv/speed/end"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == endFlag {
		main()
		return
	}
	os.Exit(m.Run())
}

// Cells have different names, each round begins with another contestant, and what
// is asked of us is asked of cells that there are.
func TestPlan(t *testing.T) {
	o := options{rounds: 2}
	o.Only = regexp.MustCompile("")
	seen := map[string]int{}
	first := map[string]map[int]string{}
	for _, j := range o.jobs(o.rounds) {
		seen[j.cell]++
		if first[j.name] == nil {
			first[j.name] = map[int]string{}
		}
		if first[j.name][j.round] == "" {
			first[j.name][j.round] = j.contestant
		}
	}
	for cell, n := range seen {
		if n != o.rounds {
			t.Errorf("%s is measured %d times in %d rounds", cell, n, o.rounds)
		}
	}
	for scene, who := range first {
		if scene != "idle" && who[0] == who[1] {
			t.Errorf("%s begins with %s in both rounds", scene, who[0])
		}
	}
	for _, q := range ratios() {
		if seen[q.of] == 0 || seen[q.by] == 0 {
			t.Errorf("%s: no cell %s or %s", q.what, q.of, q.by)
		}
	}
	o.Only, o.quick = regexp.MustCompile("^bulk/(mpnc|floor)$"), true
	if got := o.jobs(1); len(got) != 2 || got[0].cell != "bulk/mpnc" || got[1].cell != "bulk/floor" {
		t.Errorf("chosen: %v", got)
	}
}

// results are those of a run in which everything of ours is so many times the
// others'.
func results(times float64) *Results {
	r := &Results{Rounds: 3, Seconds: 3, Kernel: "6.18", Congestion: "cubic"}
	for _, s := range scenes() {
		for _, c := range s.contestants {
			f := 1.0
			if c == mpnc && s.name != "bulk" {
				f = times
			}
			for _, noise := range []float64{0.5, 1, 7} { // the median is 1
				sample := Sample{CPU: [2]float64{0.25, 0.25}, Machine: 0.6, Peak: [2]int64{8 << 20, 8 << 20}}
				switch s.work {
				case end.Ping:
					sample.P50, sample.P99 = 20e-6*noise*f, 50e-6*noise*f
				case end.Open:
					sample.Opened = 1000 * noise * f
				case end.Idle:
					sample.Heap = [2]float64{8000 * noise * f, 9000 * noise * f}
				default:
					sample.Rate = 10 * noise * f
				}
				cell := r.cell(s.name + "/" + c)
				cell.Samples = append(cell.Samples, sample)
			}
		}
	}
	return r
}

// A ratio is one of medians, and its spread that of the samples; what is missing
// is not told.
func TestRatios(t *testing.T) {
	r := results(2)
	q := ratios()[0]
	median, each := q.measure(r)
	if median != 2 || len(each) != 3 || each[0] != 1 || each[2] != 14 {
		t.Errorf("%s: %v %v", q.what, median, each)
	}
	if !q.kept(1.5) || q.kept(1.49) {
		t.Errorf("%s is kept at %v and not below", q.what, q.limit)
	}
	q.smallest = true
	if !q.kept(1.5) || q.kept(1.51) {
		t.Errorf("%s is kept at %v and not above", q.what, q.limit)
	}
	if _, each := q.measure(new(Results)); each != nil {
		t.Errorf("a ratio of nothing: %v", each)
	}
	if rows := new(Results).wanted().Rows; len(rows) != 0 {
		t.Errorf("rows of nothing: %v", rows)
	}
}

// A sample is made of what the reader got in the reader's time, and of both ends'
// processor time.
func TestSampleOf(t *testing.T) {
	client := end.Report{Octets: 5e9, Seconds: 4, CPU: 2, Paths: 2, Peak: 1}
	server := end.Report{Octets: 4e9, Seconds: 2, CPU: 1, Machine: 3, Peak: 2}
	s, err := sampleOf(job{scene: scene{work: end.Bulk}}, client, server)
	want := Sample{Rate: 16, CPU: [2]float64{0.25, 0.25}, Machine: 0.75, Paths: 2, Peak: [2]int64{1, 2}}
	if err != nil || s != want {
		t.Errorf("%+v, %v, want %+v", s, err, want)
	}
	for _, w := range []end.Work{end.Bulk, end.Ping, end.Open} {
		if _, err := sampleOf(job{scene: scene{work: w}}, end.Report{Seconds: 1}, end.Report{Seconds: 1}); err == nil {
			t.Errorf("%s: nothing was done, and that is fine", w)
		}
	}
	s, err = sampleOf(job{scene: scene{work: end.Idle, conns: 10}}, end.Report{Heap: 100, Resident: 200}, end.Report{Heap: 300, Resident: 400})
	if err != nil || s.Heap != [2]float64{10, 30} || s.Resident != [2]float64{20, 40} {
		t.Errorf("%+v, %v", s, err)
	}
}

// The document says what was kept and what was not, and what was written is read
// back as it was.
func TestDocument(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.md")
	for _, c := range []struct {
		times     float64
		kept, not int
	}{
		// What is measured in memory (bulk) is the same as the others' in any case, which
		// is too little beside gVisor and quic-go. Besides, one ratio of the command's is
		// asked to be more than 1; and what is to be small is too large at last.
		{1, 13, 3}, {3, 10, 6},
	} {
		if err := results(c.times).write(name); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		kept, not := strings.Count(string(text), "| yes |"), strings.Count(string(text), "| **no** |")
		if kept != c.kept || not != c.not {
			t.Errorf("ours is %v times the others': %d kept and %d not, want %d and %d:\n%s", c.times, kept, not, c.kept, c.not, text)
		}
		back := new(Results)
		if err := duel.Load(name, back); err != nil {
			t.Fatal(err)
		}
		if back.document("x") != string(text) {
			t.Error("it is read back otherwise")
		}
		if _, err := os.Stat(strings.TrimSuffix(name, ".md") + ".png"); err != nil {
			t.Error(err)
		}
	}
}
