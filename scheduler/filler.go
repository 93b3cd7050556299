package scheduler

import "math"

const (
	// maxPiece bounds one grant: a mapping's length has 16 bits (RFC 8684,
	// Section 3.3), and a DATA_FIN counts one in it.
	maxPiece = math.MaxUint16 - 1
	// trainPiece bounds a grant of many segments, which may leave as one packet:
	// less the longest headers, so that none ends in a packet of one segment.
	trainPiece = math.MaxUint16 - 100
)

// filler hands out one call's data in the order it has to go: ranges lost
// elsewhere, oldest first, then new data without a gap.
type filler struct {
	lost   []Range
	cur    Range // what is left of the lost range being handed out
	valid  Range // where a lost range may lie
	start  Seq   // where new data begins
	next   Seq   // the first octet of it not yet granted
	limit  Seq
	grants []Grant
	own    int // grants before this index are the caller's
}

func newFiller(q *Queue, g []Grant) filler {
	return filler{
		lost:   q.Lost,
		valid:  Range{From: q.Una, To: q.Next.Min(q.NewLimit())},
		start:  q.Next,
		next:   q.Next,
		limit:  q.NewLimit(),
		grants: g,
		own:    len(g),
	}
}

// front returns the data to hand out next, and whether it was lost; an empty
// range when there is none.
func (f *filler) front() (r Range, lost bool) {
	for f.cur.Empty() && len(f.lost) > 0 {
		f.cur = f.lost[0].Intersect(f.valid)
		f.lost = f.lost[1:]
	}
	if !f.cur.Empty() {
		return f.cur, true
	}
	return Range{From: f.next, To: f.limit}, false
}

// take grants one piece of at most most octets to p, which was granted used
// octets in this call already, and returns its length; 0 when nothing is left
// or p cannot take a full segment of it.
func (f *filler) take(p *Path, used, most int) int {
	r, lost := f.front()
	n := piece(r.Len(), p, used, most)
	if n <= 0 {
		return 0
	}
	r.To = r.From.Add(n)
	if lost {
		f.cur.From = r.To
	} else {
		f.next = r.To
	}
	f.grant(p, r)
	return n
}

// piece cuts avail octets to the room of a path, in full segments unless it is
// all there is.
func piece(avail int, p *Path, used, most int) int {
	n := min(avail, p.Room-used, most, longest(p))
	if n <= 0 || n == avail {
		return n
	}
	if whole := n - n%segment(p); whole > 0 {
		return whole - spared(avail-whole, whole, p)
	}
	// Less than a segment fits. With data in flight an acknowledgment will
	// make room; without, the peer's window is that small for good.
	if p.InFlight > 0 || used > 0 {
		return 0
	}
	return n
}

// spared is the segment that a piece leaves to the rest behind it, if that would
// not be enough for a train: a packet of one segment takes as long as a train's, and
// by another way out.
func spared(rest, piece int, p *Path) int {
	if s := segment(p); rest <= s && piece >= 4*s {
		return s
	}
	return 0
}

// segment is the size of a full segment of p, whatever a caller put there.
func segment(p *Path) int { return min(max(p.MSS, 1), maxPiece) }

// longest is how long one grant for p may be.
func longest(p *Path) int {
	if segment(p) > trainPiece/2 {
		return maxPiece
	}
	return trainPiece
}

// grant appends r for p, or extends this call's last grant if r continues it and
// both may be one. Lost and new data stay apart.
func (f *filler) grant(p *Path, r Range) {
	if n := len(f.grants); n > f.own && r.From != f.start {
		last := &f.grants[n-1]
		if last.Path == p.ID && last.Data.To == r.From && last.Data.Len()+r.Len() <= longest(p) {
			last.Data.To = r.To
			return
		}
	}
	f.grants = append(f.grants, Grant{Path: p.ID, Data: r})
}
