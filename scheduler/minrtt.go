package scheduler

import (
	"math"
	"time"
)

// MinRTT fills the path with the lowest round-trip time first, then the next:
// the default of the first multipath kernels. The zero value is ready; it
// keeps no state.
//
// It never waits for a fast path while a slower one has room, so near the end
// of the peer's window a slow path can hold the stream up.
type MinRTT struct{}

// NewMinRTT returns a MinRTT for one connection.
func NewMinRTT() Scheduler { return &MinRTT{} }

// Schedule implements Scheduler.
func (*MinRTT) Schedule(_ Time, q *Queue, paths []Path, g []Grant) ([]Grant, Time) {
	f := newFiller(q, g)
	best := bestTier(paths)
	fresh := f.sample(paths, best)
	at := rank{rtt: -1, index: -1}
	for {
		i := nearest(paths, best, at)
		if i < 0 {
			return f.grants, Never
		}
		at = rankOf(paths, i)
		if i != fresh {
			f.fill(&paths[i])
		}
	}
}

// fill grants to p whatever fits its room.
func (f *filler) fill(p *Path) {
	for used := 0; ; {
		n := f.take(p, used, maxPiece)
		if n == 0 {
			return
		}
		used += n
	}
}

// sample grants one segment to an idle path whose round-trip time nobody
// knows, and returns the path's index; -1 if there is none. Such a path ranks
// last, and while the others have room for everything it would never be
// measured. It gets new data only: what was lost already holds the stream up.
func (f *filler) sample(paths []Path, best int) int {
	known, fresh := false, -1
	for i := range paths {
		p := &paths[i]
		switch {
		case tier(p) != best:
		case p.SRTT > 0:
			known = true
		case fresh < 0 && p.InFlight == 0 && p.MSS > 0 && p.Room >= p.MSS:
			fresh = i
		}
	}
	if !known || fresh < 0 {
		return -1
	}
	p := &paths[fresh]
	// A lone short message goes where the answer is known.
	if r, lost := f.front(); lost || r.Len() <= 2*p.MSS {
		return -1
	}
	f.take(p, 0, p.MSS)
	return fresh
}

// rank orders paths by round-trip time, then by their place in the list.
type rank struct {
	rtt   time.Duration
	index int
}

func (a rank) less(b rank) bool {
	return a.rtt < b.rtt || a.rtt == b.rtt && a.index < b.index
}

// rankOf returns the rank of paths[i]: one without a sample comes last.
func rankOf(paths []Path, i int) rank {
	rtt := paths[i].SRTT
	if rtt <= 0 {
		rtt = math.MaxInt64
	}
	return rank{rtt, i}
}

// nearest returns the path of the tier that follows after in rank, -1 if none.
// With a handful of paths, looking for each anew is cheaper than sorting.
func nearest(paths []Path, best int, after rank) int {
	found, low := -1, rank{}
	for i := range paths {
		if tier(&paths[i]) != best {
			continue
		}
		r := rankOf(paths, i)
		if after.less(r) && (found < 0 || r.less(low)) {
			found, low = i, r
		}
	}
	return found
}
