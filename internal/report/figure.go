package report

import (
	"fmt"
	"image/color"
	"image/png"
	"io"
	"math"
	"strconv"
	"time"
)

// Path is one path of a run: what it carried, and how it is drawn.
type Path struct {
	Name string
	Timeline
}

// Mark is a moment worth showing in a run.
type Mark struct {
	At   time.Duration
	Text string
	Bad  bool // something broke: drawn in red
}

// Run is one transfer.
type Run struct {
	Title string
	Note  string // how it ended
	Bad   bool   // it ended badly: Note is drawn in red
	Paths []Path
	Marks []Mark
	End   time.Duration // if zero, the last record of its paths
}

// end returns when the run's drawing stops.
func (r *Run) end() time.Duration {
	end := r.End
	if end == 0 {
		for i := range r.Paths {
			end = max(end, r.Paths[i].End())
		}
	}
	return end
}

// Figure is a picture of runs, one above the other, over the same time.
type Figure struct {
	Title, Subtitle string
	Runs            []Run
}

// The size of a picture and its parts, in pixels.
const (
	figureWidth  = 1600
	marginLeft   = 120
	marginRight  = 60
	headHeight   = 150
	panelHeight  = 330
	panelGap     = 110
	footHeight   = 100
	stepsPerTick = 10 // steps of drawing between two ticks of time, about
)

var (
	paper    = color.NRGBA{255, 255, 255, 255}
	ink      = color.NRGBA{31, 41, 55, 255}
	faint    = color.NRGBA{107, 114, 128, 255}
	grid     = color.NRGBA{229, 231, 235, 255}
	panelBG  = color.NRGBA{250, 250, 251, 255}
	alarming = color.NRGBA{220, 38, 38, 255}
	calm     = color.NRGBA{21, 128, 61, 255}
	// palette tells paths apart, also to the colour-blind (Okabe and Ito).
	palette = []color.NRGBA{
		{0, 114, 178, 255}, {230, 159, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255}, {86, 180, 233, 255},
	}
)

// WritePNG draws the figure: for each run the goodput of its paths, stacked,
// over time.
func (f *Figure) WritePNG(w io.Writer) error {
	fonts, err := newFaces()
	if err != nil {
		return err
	}
	height := headHeight + len(f.Runs)*(panelHeight+panelGap) - panelGap + footHeight
	p := &plot{canvas: newCanvas(figureWidth, height, paper), faces: fonts, colours: map[string]color.NRGBA{}}
	p.measure(f)
	p.head(f)
	for i := range f.Runs {
		p.top = float64(headHeight + i*(panelHeight+panelGap))
		p.run(&f.Runs[i])
	}
	p.timeAxisTitle(float64(height))
	return png.Encode(w, p.img)
}

// plot is a figure being drawn.
type plot struct {
	*canvas
	faces
	colours map[string]color.NRGBA // by path name
	names   []string               // in order of appearance

	end, step time.Duration // of the time axis, and between two of its points
	tick      time.Duration
	peak      float64 // of the rate axis, Mb/s
	rateTick  float64
	top       float64 // of the panel being drawn
}

// measure settles axes and colours, the same ones for all runs.
func (p *plot) measure(f *Figure) {
	for i := range f.Runs {
		p.end = max(p.end, f.Runs[i].end())
	}
	p.end = max(p.end, time.Second)
	p.tick = time.Duration(niceStep(p.end.Seconds(), 10) * float64(time.Second))
	p.step = max(p.tick/stepsPerTick, 50*time.Millisecond)
	for i := range f.Runs {
		for j := range f.Runs[i].Paths {
			p.colour(f.Runs[i].Paths[j].Name)
		}
		layers := p.layers(&f.Runs[i])
		for _, v := range layers[len(layers)-1] {
			p.peak = max(p.peak, v)
		}
	}
	p.rateTick = niceStep(max(p.peak, 1), 5)
	p.peak = math.Ceil(max(p.peak, 1)*1.05/p.rateTick) * p.rateTick
}

func (p *plot) colour(name string) color.NRGBA {
	c, known := p.colours[name]
	if !known {
		c = palette[len(p.names)%len(palette)]
		p.colours[name], p.names = c, append(p.names, name)
	}
	return c
}

// layers returns the stacked rates in Mb/s: layers[0] is zero, layers[i] the
// sum of the first i paths.
func (p *plot) layers(r *Run) [][]float64 {
	end := r.end()
	sum := make([]float64, int((end+p.step-1)/p.step))
	layers := [][]float64{sum}
	for i := range r.Paths {
		next := make([]float64, len(sum))
		for j, v := range r.Paths[i].Rate(p.step, end) {
			next[j] = sum[j] + v*8/1e6
		}
		sum = next
		layers = append(layers, sum)
	}
	return layers
}

func (p *plot) x(at time.Duration) float64 {
	return marginLeft + (figureWidth-marginLeft-marginRight)*at.Seconds()/p.end.Seconds()
}

func (p *plot) y(rate float64) float64 { return p.top + panelHeight*(1-rate/p.peak) }

func (p *plot) head(f *Figure) {
	p.text(f.Title, point{marginLeft, 52}, left, p.title, ink)
	p.text(f.Subtitle, point{marginLeft, 84}, left, p.normal, faint)
	x := float64(figureWidth - marginRight)
	for i := len(p.names) - 1; i >= 0; i-- {
		x -= p.text(p.names[i], point{x, 52}, right, p.normal, ink) + 28
		p.box(x, 37, 18, 18, p.colours[p.names[i]])
		x -= 26
	}
}

func (p *plot) run(r *Run) {
	p.frame()
	layers := p.layers(r)
	for i := range r.Paths {
		p.area(layers[i], layers[i+1], r.end(), p.colour(r.Paths[i].Name))
	}
	p.line(p.curve(layers[len(layers)-1], r.end()), 2, ink)
	for _, m := range r.Marks {
		p.mark(m)
	}
	w := p.text(r.Title, point{marginLeft, p.top - 18}, left, p.bold, ink)
	col := calm
	if r.Bad {
		col = alarming
	}
	p.text(r.Note, point{marginLeft + w + 24, p.top - 18}, left, p.normal, col)
}

// frame draws a panel's ground, grid and labels.
func (p *plot) frame() {
	bottom := p.top + panelHeight
	p.box(marginLeft, p.top, figureWidth-marginLeft-marginRight, panelHeight, panelBG)
	for v := 0.0; v <= p.peak+1e-9; v += p.rateTick {
		p.line([]point{{marginLeft, p.y(v)}, {figureWidth - marginRight, p.y(v)}}, 1, grid)
		p.text(strconv.FormatFloat(v, 'f', -1, 64), point{marginLeft - 14, p.y(v) + 7}, right, p.small, faint)
	}
	p.text("Mb/s", point{marginLeft - 14, p.top - 18}, right, p.small, faint)
	for t := time.Duration(0); t <= p.end; t += p.tick {
		p.line([]point{{p.x(t), bottom}, {p.x(t), bottom + 8}}, 1.5, faint)
		p.text(fmt.Sprintf("%g", t.Seconds()), point{p.x(t), bottom + 28}, centre, p.small, faint)
	}
	p.line([]point{{marginLeft, bottom}, {figureWidth - marginRight, bottom}}, 2, faint)
}

// curve is the outline of a layer: one flat stretch a step.
func (p *plot) curve(layer []float64, end time.Duration) []point {
	var c []point
	for i, v := range layer {
		from := time.Duration(i) * p.step
		c = append(c, point{p.x(from), p.y(v)}, point{p.x(min(from+p.step, end)), p.y(v)})
	}
	return c
}

func (p *plot) area(low, high []float64, end time.Duration, col color.NRGBA) {
	outline := p.curve(high, end)
	below := p.curve(low, end)
	for i := len(below) - 1; i >= 0; i-- {
		outline = append(outline, below[i])
	}
	col.A = 200
	p.fill(outline, col)
}

// mark draws a dashed line with its text beside it, on the side with more room.
func (p *plot) mark(m Mark) {
	col := ink
	if m.Bad {
		col = alarming
	}
	x, al, off := p.x(m.At), left, 10.0
	if x > figureWidth*0.7 {
		al, off = right, -10
	}
	p.dashes(point{x, p.top}, point{x, p.top + panelHeight}, 2.5, 8, col)
	p.text(m.Text, point{x + off, p.top + 26}, al, p.normal, col)
}

func (p *plot) timeAxisTitle(height float64) {
	p.text("seconds since the transfer began", point{(figureWidth + marginLeft - marginRight) / 2, height - 28}, centre, p.normal, faint)
}

// niceStep returns 1, 2 or 5 times a power of ten, so that about n steps make
// up the length.
func niceStep(length float64, n int) float64 {
	raw := length / float64(n)
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if raw <= m*power {
			return m * power
		}
	}
	return 10 * power
}
