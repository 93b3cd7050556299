package report

import (
	"bytes"
	"image/color"
	"image/png"
	"os"
	"slices"
	"testing"
)

// Larger values are further right, a median is drawn where it belongs, and the
// colours are the rows'. MPNC_REPORT_PNG=file keeps the picture.
func TestDotPlot(t *testing.T) {
	d := DotPlot{
		Title: "Goodput, mpnc by kernel", Subtitle: "five pairs each", Axis: "ratio",
		Colours: []string{"cubic", "reno"}, Lines: []float64{1, 0.85},
		Rows: []DotRow{
			{"first", []float64{0.97, 1.02, 1.01}, 0}, {"second", []float64{1.3, 1.2, 1.4}, 1}, {Name: "nothing"},
		},
	}
	var b bytes.Buffer
	if err := d.WritePNG(&b); err != nil {
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
	p := &dots{bottom: float64(img.Bounds().Dy() - footHeight)}
	p.measure(&d)
	if p.x(0.97) >= p.x(1.01) || p.x(1.4) > figureWidth-marginRight {
		t.Fatalf("0.97 at %v, 1.01 at %v, 1.4 at %v", p.x(0.97), p.x(1.01), p.x(1.4))
	}
	for _, want := range []struct {
		value float64
		row   int
		col   color.NRGBA
	}{{1.01, 0, dotColour(0)}, {1.3, 1, dotColour(1)}} {
		at := img.At(int(p.x(want.value)), headHeight+want.row*dotRowHeight+dotRowHeight/2-12)
		if r, g, bl, _ := at.RGBA(); uint8(r>>8) != want.col.R || uint8(g>>8) != want.col.G || uint8(bl>>8) != want.col.B {
			t.Errorf("the median of row %d at %v is %v, want %v", want.row, want.value, at, want.col)
		}
	}
}

func TestDotTicks(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		want      []float64
	}{
		{0.8, 1.25, []float64{0.8, 0.9, 1, 1.1, 1.2}},
		{0.4, 2.5, []float64{0.5, 1, 1.5, 2, 2.5}},
		{9, 1100, []float64{10, 20, 50, 100, 200, 500, 1000}},
	} {
		if got := dotTicks(c.low, c.high); !slices.Equal(got, c.want) {
			t.Errorf("from %v to %v: %v, want %v", c.low, c.high, got, c.want)
		}
	}
}
