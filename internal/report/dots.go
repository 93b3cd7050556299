package report

import (
	"image/color"
	"image/png"
	"io"
	"math"
	"slices"
	"strconv"
)

// DotRow is one row of a DotPlot: the values measured under one condition.
type DotRow struct {
	Name   string
	Values []float64 // above zero
	Colour int       // of DotPlot.Colours
}

// DotPlot is a picture of ratios: a row of dots for each condition, their
// median as a bar, on a logarithmic axis.
type DotPlot struct {
	Title, Subtitle string
	Axis            string // what the values are
	Rows            []DotRow
	Colours         []string  // what the colours mean, in order; five at most differ
	Lines           []float64 // reference values; the first is drawn firmly, others dashed
}

const (
	dotRowHeight = 44
	dotLeft      = 620
	dotRadius    = 7
)

// WritePNG draws the plot.
func (d *DotPlot) WritePNG(w io.Writer) error {
	fonts, err := newFaces()
	if err != nil {
		return err
	}
	height := headHeight + len(d.Rows)*dotRowHeight + footHeight
	p := &dots{canvas: newCanvas(figureWidth, height, paper), faces: fonts, bottom: float64(height - footHeight)}
	p.measure(d)
	p.head(d)
	p.axis(d)
	for i := range d.Rows {
		p.row(&d.Rows[i], headHeight+(float64(i)+0.5)*dotRowHeight)
	}
	return png.Encode(w, p.img)
}

// dots is a DotPlot being drawn.
type dots struct {
	*canvas
	faces
	low, high float64 // of the axis
	bottom    float64
}

// measure lets the axis hold all values and lines, and as much on either side
// of the first line.
func (p *dots) measure(d *DotPlot) {
	mid, reach := 1.0, 1.25
	if len(d.Lines) > 0 {
		mid = d.Lines[0]
	}
	for _, r := range d.Rows {
		for _, v := range append(r.Values, d.Lines...) {
			if v > 0 {
				reach = max(reach, v/mid, mid/v)
			}
		}
	}
	reach *= 1.05
	p.low, p.high = mid/reach, mid*reach
}

func (p *dots) x(v float64) float64 {
	v = min(max(v, p.low), p.high)
	return dotLeft + (figureWidth-dotLeft-marginRight)*math.Log(v/p.low)/math.Log(p.high/p.low)
}

func (p *dots) head(d *DotPlot) {
	const from = 40
	p.text(d.Title, point{from, 52}, left, p.title, ink)
	p.text(d.Subtitle, point{from, 84}, left, p.normal, faint)
	x := float64(figureWidth - marginRight)
	for i := len(d.Colours) - 1; i >= 0; i-- {
		x -= p.text(d.Colours[i], point{x, 122}, right, p.normal, ink) + 16
		p.dot(point{x, 115}, dotColour(i))
		x -= 30
	}
}

// axis draws the ground, the ticks and the reference lines.
func (p *dots) axis(d *DotPlot) {
	p.box(dotLeft, headHeight, figureWidth-dotLeft-marginRight, p.bottom-headHeight, panelBG)
	for _, v := range dotTicks(p.low, p.high) {
		p.line([]point{{p.x(v), headHeight}, {p.x(v), p.bottom + 8}}, 1, grid)
		p.text(strconv.FormatFloat(v, 'g', 3, 64), point{p.x(v), p.bottom + 30}, centre, p.small, faint)
	}
	for i, v := range d.Lines {
		if i == 0 {
			p.line([]point{{p.x(v), headHeight}, {p.x(v), p.bottom}}, 2, ink)
			continue
		}
		p.dashes(point{p.x(v), headHeight}, point{p.x(v), p.bottom}, 2, 8, alarming)
	}
	p.text(d.Axis, point{(dotLeft + figureWidth - marginRight) / 2, p.bottom + 68}, centre, p.normal, faint)
}

// dotTicks returns round numbers between the ends of a logarithmic axis.
func dotTicks(low, high float64) (ticks []float64) {
	if high/low > 10 {
		for decade := math.Pow(10, math.Floor(math.Log10(low))); decade <= high; decade *= 10 {
			for _, v := range []float64{decade, 2 * decade, 5 * decade} {
				if low <= v && v <= high {
					ticks = append(ticks, v)
				}
			}
		}
		return ticks
	}
	step := 0.1
	if high/low > 3 {
		step = 0.5
	}
	for k := math.Ceil(low / step); k*step <= high; k++ {
		ticks = append(ticks, math.Round(k*step*1000)/1000)
	}
	return ticks
}

func (p *dots) row(r *DotRow, y float64) {
	p.text(r.Name, point{dotLeft - 20, y + 6}, right, p.small, ink)
	if len(r.Values) == 0 {
		return
	}
	col := dotColour(r.Colour)
	see := col
	see.A = 130
	s := slices.Sorted(slices.Values(r.Values))
	p.line([]point{{p.x(s[0]), y}, {p.x(s[len(s)-1]), y}}, 2, see)
	for _, v := range s {
		p.dot(point{p.x(v), y}, see)
	}
	mid := p.x((s[(len(s)-1)/2] + s[len(s)/2]) / 2)
	p.line([]point{{mid, y - 15}, {mid, y + 15}}, 5, col)
}

func dotColour(i int) color.NRGBA { return palette[i%len(palette)] }

// dot paints a disc.
func (p *dots) dot(at point, col color.NRGBA) {
	var c []point
	for i := range 24 {
		s, cos := math.Sincos(float64(i) * math.Pi / 12)
		c = append(c, point{at.x + dotRadius*cos, at.y + dotRadius*s})
	}
	p.fill(c, col)
}
