package report

import (
	"bytes"
	"image/color"
	"image/png"
	"math"
	"os"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// ramp is a counter that grows by rate octets a second between two times.
func ramp(rate float64, from, to, end time.Duration) Timeline {
	var t Timeline
	for at := time.Duration(0); at <= end; at += 50 * ms {
		busy := max(min(at, to)-from, 0)
		t.Add(at, uint64(rate*busy.Seconds()))
	}
	return t
}

func sample() *Figure {
	died := 2500 * ms
	cell := ramp(18e6/8, 160*ms, 10900*ms, 10900*ms)
	return &Figure{
		Title:    "32 MiB over Wi-Fi (50 Mb/s, 20 ms) and cellular (20 Mb/s, 80 ms)",
		Subtitle: "Wi-Fi goes silent 2.5 s into each transfer",
		Runs: []Run{
			{Title: "Multipath TCP", Note: "whole after 10.9 s, SHA-256 equal",
				Paths: []Path{{"wifi", ramp(46e6/8, 40*ms, died, 10900*ms)}, {"cellular", cell}},
				Marks: []Mark{{died, "wifi dies", true}, {10900 * ms, "done", false}}},
			{Title: "single-path TCP on wifi", Note: "stalled: stopped after 10 s of silence, 13.4 of 32 MiB arrived", Bad: true,
				Paths: []Path{{"wifi", ramp(46e6/8, 40*ms, died, 12500*ms)}},
				Marks: []Mark{{died, "wifi dies", true}}},
		},
	}
}

// The picture has each path's colour where the path carried data, and not
// after it died. MPNC_REPORT_PNG=file keeps it for looking at.
func TestFigure(t *testing.T) {
	var b bytes.Buffer
	if err := sample().WritePNG(&b); err != nil {
		t.Fatal(err)
	}
	if name := os.Getenv("MPNC_REPORT_PNG"); name != "" {
		if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	img, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	near := func(x, y int, want color.NRGBA) bool {
		r, g, bl, _ := img.At(x, y).RGBA()
		d := func(a uint32, b uint8) float64 { return math.Abs(float64(a>>8) - float64(b)) }
		return d(r, want.R)+d(g, want.G)+d(bl, want.B) < 220
	}
	const width = figureWidth - marginLeft - marginRight
	early, late := marginLeft+width*15/125, marginLeft+width*62/125
	base := headHeight + panelHeight - 20
	if !near(early, base, palette[0]) {
		t.Error("wifi is not drawn before it died")
	}
	if !near(late, base, palette[1]) {
		t.Error("cellular is not drawn after wifi died")
	}
	second := base + panelHeight + panelGap
	if !near(early, second, palette[0]) || near(late, second, palette[0]) {
		t.Error("the second run is not drawn as it was")
	}
}

func TestFigureEmpty(t *testing.T) {
	var b bytes.Buffer
	if err := (&Figure{Runs: []Run{{}, {Paths: []Path{{Name: "x"}}}}}).WritePNG(&b); err != nil {
		t.Fatal(err)
	}
	if _, err := png.Decode(&b); err != nil {
		t.Fatal(err)
	}
}

func TestTimelineRate(t *testing.T) {
	var l Timeline
	l.Add(0, 0)
	l.Add(time.Second, 1000)
	l.Add(3*time.Second, 1000)
	l.Add(4*time.Second, 3000)
	got := l.Rate(time.Second, 4500*ms)
	want := []float64{1000, 0, 0, 2000, 0}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range got {
		if math.Abs(got[i]-want[i]) > 1e-6 {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	if l.Total() != 3000 || l.End() != 4*time.Second {
		t.Errorf("total %d, end %v", l.Total(), l.End())
	}
}

func TestTimelineLongestSilence(t *testing.T) {
	var l Timeline
	if d, _ := l.LongestSilence(); d != 0 {
		t.Errorf("empty: %v", d)
	}
	for i, n := range []uint64{0, 5, 5, 9, 9, 9, 9, 10, 10} {
		l.Add(time.Duration(i)*time.Second, n)
	}
	if d, from := l.LongestSilence(); d != 4*time.Second || from != 3*time.Second {
		t.Errorf("got %v from %v, want 4s from 3s", d, from)
	}
	// A counter that is recorded only when it grows, and at the end.
	var r Timeline
	for _, s := range []time.Duration{1, 2, 7, 8} {
		r.Add(s*time.Second, uint64(s))
	}
	if d, from := r.LongestSilence(); d != 5*time.Second || from != 2*time.Second {
		t.Errorf("got %v from %v, want 5s from 2s", d, from)
	}
	r.Add(20*time.Second, 8)
	if d, from := r.LongestSilence(); d != 12*time.Second || from != 8*time.Second {
		t.Errorf("got %v from %v, want 12s from 8s", d, from)
	}
}

func TestTimelineNeverGoesBack(t *testing.T) {
	var l Timeline
	l.Add(time.Second, 10)
	l.Add(0, 5)
	if l.Total() != 10 || l.End() != time.Second {
		t.Errorf("total %d, end %v", l.Total(), l.End())
	}
}

func TestTable(t *testing.T) {
	tab := Table{Heading: []string{"", "MPTCP", "TCP"}}
	tab.Add("time", "10.9 s", "–")
	tab.Add("goodput", "24.6 Mb/s", 7)
	var b strings.Builder
	if _, err := tab.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	want := "" +
		"                MPTCP   TCP\n" +
		"  ───────   ─────────   ───\n" +
		"  time         10.9 s     –\n" +
		"  goodput   24.6 Mb/s     7\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestFormats(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{Bytes(0), "0 B"},
		{Bytes(1023), "1023 B"},
		{Bytes(32 << 20), "32.0 MiB"},
		{Bytes(math.MaxUint64), "16.0 EiB"},
		{Rate(125000, time.Second), "1.0 Mb/s"},
		{Rate(1, 0), "-"},
		{Seconds(1250 * ms), "1.25 s"},
		{Seconds(12340 * ms), "12.3 s"},
		{Share(1, 3), "33 %"},
		{Share(0, 0), "-"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
