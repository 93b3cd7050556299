package seq

// Span is the half-open interval [From, To) of 64-bit numbers of one kind.
type Span[T ~uint64] struct{ From, To T }

// Range is a run of data sequence numbers.
type Range = Span[Data]

// Len returns the number of octets in r; never negative for a valid span.
func (r Span[T]) Len() int { return int(int64(r.To - r.From)) }

// Empty reports whether r holds nothing (or is inverted).
func (r Span[T]) Empty() bool { return int64(r.To-r.From) <= 0 }

// Contains reports whether n lies in r.
func (r Span[T]) Contains(n T) bool { return int64(n-r.From) >= 0 && int64(n-r.To) < 0 }

// Intersect returns the part that r and o share; it may be Empty.
func (r Span[T]) Intersect(o Span[T]) Span[T] {
	if int64(o.From-r.From) > 0 {
		r.From = o.From
	}
	if int64(o.To-r.To) < 0 {
		r.To = o.To
	}
	return r
}

// Set is a set of numbers kept as sorted, disjoint, non-adjacent spans. The
// zero value is empty. All its numbers must lie within 2^63 of each other.
type Set[T ~uint64] struct {
	spans []Span[T]
}

// Spans returns the spans in ascending order. The slice belongs to the set and
// is valid until the next change.
func (s *Set[T]) Spans() []Span[T] { return s.spans }

// Len returns the number of octets in the set.
func (s *Set[T]) Len() int {
	n := 0
	for _, r := range s.spans {
		n += r.Len()
	}
	return n
}

// Empty reports whether the set holds nothing.
func (s *Set[T]) Empty() bool { return len(s.spans) == 0 }

// search returns the index of the first span whose To is at or after n.
func (s *Set[T]) search(n T) int {
	lo, hi := 0, len(s.spans)
	for lo < hi {
		mid := (lo + hi) / 2
		if int64(s.spans[mid].To-n) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// Add puts r into the set and returns how many of its octets are new.
func (s *Set[T]) Add(r Span[T]) (fresh int) {
	if r.Empty() {
		return 0
	}
	fresh = r.Len()
	i := s.search(r.From)
	j := i
	for ; j < len(s.spans) && int64(s.spans[j].From-r.To) <= 0; j++ {
		if both := s.spans[j].Intersect(r); !both.Empty() {
			fresh -= both.Len()
		}
	}
	if i == j {
		s.spans = append(s.spans, Span[T]{})
		copy(s.spans[i+1:], s.spans[i:])
		s.spans[i] = r
		return fresh
	}
	if int64(s.spans[i].From-r.From) < 0 {
		r.From = s.spans[i].From
	}
	if int64(s.spans[j-1].To-r.To) > 0 {
		r.To = s.spans[j-1].To
	}
	s.spans[i] = r
	s.spans = append(s.spans[:i+1], s.spans[j:]...)
	return fresh
}

// Remove takes r out of the set and returns how many octets went.
func (s *Set[T]) Remove(r Span[T]) (gone int) {
	if r.Empty() {
		return 0
	}
	for i := s.search(r.From); i < len(s.spans); {
		cur := s.spans[i]
		both := cur.Intersect(r)
		if int64(cur.From-r.To) >= 0 {
			break
		}
		if both.Empty() {
			i++
			continue
		}
		gone += both.Len()
		head := Span[T]{cur.From, both.From}
		tail := Span[T]{both.To, cur.To}
		switch {
		case head.Empty() && tail.Empty():
			s.spans = append(s.spans[:i], s.spans[i+1:]...)
		case head.Empty():
			s.spans[i] = tail
			i++
		case tail.Empty():
			s.spans[i] = head
			i++
		default:
			s.spans = append(s.spans, Span[T]{})
			copy(s.spans[i+1:], s.spans[i:])
			s.spans[i], s.spans[i+1] = head, tail
			i += 2
		}
	}
	return gone
}

// Contains reports whether n is in the set.
func (s *Set[T]) Contains(n T) bool {
	i := s.search(n + 1)
	return i < len(s.spans) && s.spans[i].Contains(n)
}

// Covers reports whether all of r is in the set. An empty r is covered.
func (s *Set[T]) Covers(r Span[T]) bool {
	if r.Empty() {
		return true
	}
	i := s.search(r.From + 1)
	return i < len(s.spans) && s.spans[i].Intersect(r) == r
}

// Gap returns the first run of octets of r that are not in the set; it is
// Empty if there is none.
func (s *Set[T]) Gap(r Span[T]) Span[T] {
	i := s.search(r.From + 1)
	if i < len(s.spans) && s.spans[i].Contains(r.From) {
		r.From = s.spans[i].To
		i++
	}
	if i < len(s.spans) && int64(s.spans[i].From-r.To) < 0 {
		r.To = s.spans[i].From
	}
	return r
}

// Clear empties the set and keeps its memory.
func (s *Set[T]) Clear() { s.spans = s.spans[:0] }
