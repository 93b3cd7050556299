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

	// Of one call:
	ring []place // the paths of the best tier, by identifier
	at   int     // where in it is the path whose turn it is, or else the next
}

// place is a path's in the ring.
type place struct {
	path int // its index
	used int // octets granted
}

// NewRoundRobin returns a RoundRobin with the default quota for one connection.
func NewRoundRobin() Scheduler { return &RoundRobin{} }

// Schedule implements Scheduler.
func (s *RoundRobin) Schedule(_ Time, q *Queue, paths []Path, g []Grant) ([]Grant, Time) {
	f := newFiller(q, g)
	s.lineUp(paths)
	for {
		if r, _ := f.front(); r.Empty() {
			return f.grants, Never
		}
		p := s.pick(paths)
		if p == nil {
			return f.grants, Never
		}
		s.give(&f, &paths[p.path], &p.used)
	}
}

// lineUp makes the ring.
func (s *RoundRobin) lineUp(paths []Path) {
	best := bestTier(paths)
	s.ring, s.at = s.ring[:0], 0
	for i := range paths {
		if tier(&paths[i]) != best {
			continue
		}
		s.ring = append(s.ring, place{path: i})
		for j := len(s.ring) - 1; j > 0 && paths[s.ring[j-1].path].ID > paths[i].ID; j-- {
			s.ring[j-1], s.ring[j] = s.ring[j], s.ring[j-1]
		}
	}
	for s.at < len(s.ring) && paths[s.ring[s.at].path].ID < s.turn {
		s.at++
	}
}

// pick returns the path to use now, nil if none has room: the one whose turn it
// is, or the next by identifier, round the end.
func (s *RoundRobin) pick(paths []Path) *place {
	if s.at < len(s.ring) {
		p := &s.ring[s.at]
		if paths[p.path].ID == s.turn {
			if s.left > 0 && paths[p.path].Room > p.used {
				return p
			}
			s.at++
		}
	}
	for range s.ring {
		if s.at >= len(s.ring) {
			s.at = 0
		}
		if p := &s.ring[s.at]; paths[p.path].Room > p.used {
			s.turn, s.left = paths[p.path].ID, s.quota()
			return p
		}
		s.at++
	}
	return nil
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
