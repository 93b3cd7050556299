package seq

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// circleSize is how many numbers the bitmap of the model covers.
const circleSize = 400

// model is a Set as a bitmap of the numbers from base on.
type model struct {
	base Data
	has  [circleSize]bool
}

func (m *model) rng(from, to int) Range { return Range{m.base.Add(from), m.base.Add(to)} }

// put sets octets [from, to) and returns how many changed.
func (m *model) put(from, to int, v bool) (changed int) {
	for i := from; i < to; i++ {
		if m.has[i] != v {
			m.has[i] = v
			changed++
		}
	}
	return changed
}

// runs returns the maximal runs of octets in [from, to) that are v.
func (m *model) runs(from, to int, v bool) []Range {
	var rs []Range
	for i := from; i < to; i++ {
		if m.has[i] != v {
			continue
		}
		j := i
		for j < to && m.has[j] == v {
			j++
		}
		rs = append(rs, m.rng(i, j))
		i = j
	}
	return rs
}

var bases = []Data{0, 17, 1<<64 - 200, 1<<64 - 1, 1<<32 - 200, 1<<63 - 200, 1<<64 - circleSize}

// Set against a bitmap, wherever the numbers wrap.
func TestSetAgainstBitmap(t *testing.T) {
	for seed, base := range bases {
		rng := rand.New(rand.NewPCG(9, uint64(seed)))
		m, s := &model{base: base}, &Set[Data]{}
		for range 4000 {
			from := rng.IntN(circleSize)
			to := min(circleSize, from+rng.IntN(1+rng.IntN(80)))
			r := m.rng(from, to)
			switch rng.IntN(5) {
			case 0, 1:
				if got, want := s.Add(r), m.put(from, to, true); got != want {
					t.Fatalf("base %d: Add(%v) = %d, want %d", base, r, got, want)
				}
			case 2, 3:
				if got, want := s.Remove(r), m.put(from, to, false); got != want {
					t.Fatalf("base %d: Remove(%v) = %d, want %d", base, r, got, want)
				}
			case 4:
				if rng.IntN(40) == 0 {
					s.Clear()
					m.put(0, circleSize, false)
				}
			}
			compareSet(t, s, m, from, to)
		}
	}
}

// compareSet looks at the whole of s and, more closely, at [from, to).
func compareSet(t *testing.T, s *Set[Data], m *model, from, to int) {
	t.Helper()
	want := m.runs(0, circleSize, true)
	if !slices.Equal(s.Spans(), want) {
		t.Fatalf("base %d: spans %v, want %v", m.base, s.Spans(), want)
	}
	octets := 0
	for i, has := range m.has {
		if s.Contains(m.base.Add(i)) != has {
			t.Fatalf("base %d: Contains(base+%d) = %t", m.base, i, !has)
		}
		if has {
			octets++
		}
	}
	if s.Len() != octets || s.Empty() != (octets == 0) {
		t.Fatalf("base %d: Len %d Empty %t, want %d octets", m.base, s.Len(), s.Empty(), octets)
	}
	holes, r := m.runs(from, to, false), m.rng(from, to)
	if got := s.Covers(r); got != (len(holes) == 0) {
		t.Fatalf("base %d: Covers(%v) = %t, holes %v", m.base, r, got, holes)
	}
	var gaps []Range
	for g := s.Gap(r); !g.Empty(); g = s.Gap(Range{g.To, r.To}) {
		gaps = append(gaps, g)
	}
	if !slices.Equal(gaps, holes) {
		t.Fatalf("base %d: gaps of %v: %v, want %v", m.base, r, gaps, holes)
	}
}

// What is empty or inverted changes nothing and is covered by anything.
func TestSetOfNothing(t *testing.T) {
	var s Set[Data]
	s.Add(Range{10, 20})
	for _, r := range []Range{{}, {15, 15}, {18, 12}, {12, 1<<64 - 1}} {
		if !r.Empty() || s.Add(r) != 0 || s.Remove(r) != 0 || !s.Covers(r) || !s.Gap(r).Empty() {
			t.Errorf("%v is not treated as empty", r)
		}
	}
	if want := []Range{{10, 20}}; !slices.Equal(s.Spans(), want) {
		t.Errorf("spans %v, want %v", s.Spans(), want)
	}
}

// Span against counting, over all small spans at the wraps.
func TestSpanAgainstCounting(t *testing.T) {
	const n = 6
	for _, base := range bases {
		m := model{base: base}
		for a := range n * n * n * n {
			r, o := m.rng(a%n, a/n%n), m.rng(a/n/n%n, a/n/n/n)
			both := r.Intersect(o)
			shared := 0
			for i := range n {
				x := base.Add(i)
				in := i >= a%n && i < a/n%n
				if r.Contains(x) != in {
					t.Fatalf("base %d: %v contains base+%d: %t", base, r, i, !in)
				}
				if in && o.Contains(x) {
					shared++
				}
			}
			if both.Empty() != (shared == 0) || shared > 0 && both.Len() != shared {
				t.Fatalf("base %d: %v and %v share %v, want %d octets", base, r, o, both, shared)
			}
		}
	}
}

// A set that breathes keeps its memory.
func TestSetDoesNotAllocateInSteadyState(t *testing.T) {
	var s Set[Data]
	at := Data(1<<64 - 5000)
	if n := testing.AllocsPerRun(1000, func() {
		s.Add(Range{at + 10, at + 20})
		s.Add(Range{at, at + 5})
		s.Remove(Range{at + 12, at + 14})
		s.Remove(Range{at, at + 20})
		at += 20
	}); n != 0 {
		t.Errorf("%v allocations a round", n)
	}
}

func BenchmarkSetAddAmongThousand(b *testing.B) {
	var s Set[Data]
	for i := range 1000 {
		s.Add(Range{Data(i * 10), Data(i*10 + 5)})
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Add(Range{5007, 5009})
		s.Remove(Range{5007, 5009})
	}
}
