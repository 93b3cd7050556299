package scheduler

// defaultQuota is how many segments RoundRobin gives to one path at a time.
const defaultQuota = 10

// RoundRobin gives each path in turn a number of segments, and skips paths
// without room: what a path carries is still decided by its window. It is for
// comparisons; delays are those of the slowest path.
type RoundRobin struct {
	// Quota is the number of full segments of a turn. If zero or negative, 10.
	Quota int

	turn PathID // the path whose turn it is
	left int    // segments left of the turn
	used []int  // octets granted in this call, by index of the path
}

// NewRoundRobin returns a RoundRobin with the default quota for one connection.
func NewRoundRobin() Scheduler { return &RoundRobin{} }

// Schedule implements Scheduler.
func (s *RoundRobin) Schedule(_ Time, q *Queue, paths []Path, g []Grant) ([]Grant, Time) {
	f := newFiller(q, g)
	best := bestTier(paths)
	s.used = append(s.used[:0], make([]int, len(paths))...)
	for {
		if r, _ := f.front(); r.Empty() {
			return f.grants, Never
		}
		i := s.pick(paths, best)
		if i < 0 {
			return f.grants, Never
		}
		s.give(&f, &paths[i], &s.used[i])
	}
}

// pick returns the index of the path to use now, -1 if none has room: the one
// whose turn it is, or the next by identifier, round the end.
func (s *RoundRobin) pick(paths []Path, best int) int {
	next, first := -1, -1
	for i := range paths {
		p := &paths[i]
		if tier(p) != best || p.Room <= s.used[i] {
			continue
		}
		if p.ID == s.turn && s.left > 0 {
			return i
		}
		if p.ID > s.turn && (next < 0 || p.ID < paths[next].ID) {
			next = i
		}
		if first < 0 || p.ID < paths[first].ID {
			first = i
		}
	}
	if next < 0 {
		next = first
	}
	if next >= 0 {
		s.turn, s.left = paths[next].ID, s.quota()
	}
	return next
}

// give grants p one piece of its turn. A path that can take none has no room
// for the rest of the call.
func (s *RoundRobin) give(f *filler, p *Path, used *int) {
	mss := segment(p)
	n := f.take(p, *used, s.left*mss)
	if n == 0 {
		*used = p.Room
		return
	}
	*used += n
	s.left -= (n + mss - 1) / mss
}

func (s *RoundRobin) quota() int {
	if s.Quota <= 0 {
		return defaultQuota
	}
	return min(s.Quota, maxPiece)
}
