package report

import (
	"image"
	"image/color"
	"image/draw"
	"math"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

// point is a place on a canvas, in pixels from the upper left corner.
type point struct{ x, y float64 }

// canvas draws smooth shapes and text.
type canvas struct {
	img *image.RGBA
	ras *vector.Rasterizer
}

func newCanvas(w, h int, background color.Color) *canvas {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(img, img.Bounds(), image.NewUniform(background), image.Point{}, draw.Src)
	return &canvas{img: img, ras: vector.NewRasterizer(w, h)}
}

// fill paints the inside of a closed outline. Only its bounding box is
// rasterised: a picture is a thousand small shapes.
func (c *canvas) fill(outline []point, col color.Color) {
	if len(outline) < 3 {
		return
	}
	box := bounds(outline).Intersect(c.img.Bounds())
	if box.Empty() {
		return
	}
	at := func(p point) (x, y float32) {
		return float32(p.x - float64(box.Min.X)), float32(p.y - float64(box.Min.Y))
	}
	c.ras.Reset(box.Dx(), box.Dy())
	c.ras.MoveTo(at(outline[0]))
	for _, p := range outline[1:] {
		c.ras.LineTo(at(p))
	}
	c.ras.ClosePath()
	c.ras.Draw(c.img, box, image.NewUniform(col), image.Point{})
}

// bounds returns the whole pixels that an outline touches.
func bounds(outline []point) image.Rectangle {
	lo, hi := outline[0], outline[0]
	for _, p := range outline {
		lo = point{min(lo.x, p.x), min(lo.y, p.y)}
		hi = point{max(hi.x, p.x), max(hi.y, p.y)}
	}
	return image.Rect(int(math.Floor(lo.x)), int(math.Floor(lo.y)), int(math.Ceil(hi.x)), int(math.Ceil(hi.y)))
}

// line strokes a polyline of the given width. Each stretch is its own
// rectangle, drawn a little long so that joints have no gaps.
func (c *canvas) line(points []point, width float64, col color.Color) {
	for i := 1; i < len(points); i++ {
		a, b := points[i-1], points[i]
		length := math.Hypot(b.x-a.x, b.y-a.y)
		if length == 0 {
			continue
		}
		ux, uy := (b.x-a.x)/length*width/2, (b.y-a.y)/length*width/2
		ax, ay, bx, by := a.x-ux/2, a.y-uy/2, b.x+ux/2, b.y+uy/2
		c.fill([]point{{ax - uy, ay + ux}, {bx - uy, by + ux}, {bx + uy, by - ux}, {ax + uy, ay - ux}}, col)
	}
}

// dashes strokes a straight dashed line.
func (c *canvas) dashes(a, b point, width, dash float64, col color.Color) {
	length := math.Hypot(b.x-a.x, b.y-a.y)
	at := func(d float64) point {
		f := min(d/length, 1)
		return point{a.x + f*(b.x-a.x), a.y + f*(b.y-a.y)}
	}
	for d := 0.0; d < length; d += 2 * dash {
		c.line([]point{at(d), at(d + dash)}, width, col)
	}
}

// box paints a rectangle.
func (c *canvas) box(x, y, w, h float64, col color.Color) {
	c.fill([]point{{x, y}, {x + w, y}, {x + w, y + h}, {x, y + h}}, col)
}

// align says which part of a text is put at its place.
type align float64

const (
	left   align = 0
	centre align = 0.5
	right  align = 1
)

// text writes s with its base line at p and returns its width.
func (c *canvas) text(s string, p point, al align, face font.Face, col color.Color) float64 {
	w := float64(font.MeasureString(face, s)) / 64
	d := font.Drawer{
		Dst: c.img, Src: image.NewUniform(col), Face: face,
		Dot: fixed.Point26_6{X: fixed.Int26_6((p.x - w*float64(al)) * 64), Y: fixed.Int26_6(p.y * 64)},
	}
	d.DrawString(s)
	return w
}

// faces are the fonts of a picture.
type faces struct{ title, normal, bold, small font.Face }

func newFaces() (f faces, err error) {
	regular, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return f, err
	}
	bold, err := opentype.Parse(gobold.TTF)
	if err != nil {
		return f, err
	}
	for _, want := range []struct {
		face *font.Face
		of   *opentype.Font
		size float64
	}{{&f.title, bold, 32}, {&f.normal, regular, 20}, {&f.bold, bold, 22}, {&f.small, regular, 18}} {
		*want.face, err = opentype.NewFace(want.of, &opentype.FaceOptions{Size: want.size, DPI: 72, Hinting: font.HintingNone})
		if err != nil {
			return f, err
		}
	}
	return f, nil
}
