package scheduler

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/seq"
)

// wish is a case: a queue, paths, and room for grants.
type wish struct {
	q     Queue
	paths []Path
}

// run schedules and checks the laws that hold for every scheduler.
func (w *wish) run(t *testing.T, s Scheduler) []Grant {
	t.Helper()
	given := Grant{Path: -7, Data: Range{From: 1, To: 2}} // the caller's, to be kept
	paths, lost := slices.Clone(w.paths), slices.Clone(w.q.Lost)
	g, wake := s.Schedule(0, &w.q, w.paths, []Grant{given})
	if len(g) == 0 || g[0] != given {
		t.Fatalf("the caller's grants are gone: %v", g)
	}
	if wake != Never {
		t.Errorf("wake %v, want Never", wake)
	}
	if !slices.Equal(paths, w.paths) || !slices.Equal(lost, w.q.Lost) {
		t.Error("the caller's values were changed")
	}
	if err := w.lawful(g[1:]); err != nil {
		t.Fatalf("%v\nqueue %+v\npaths %+v\ngrants %v", err, w.q, w.paths, g[1:])
	}
	return g[1:]
}

// lawful checks grants against the data, the peer's window, the room of the
// paths, and the order of service.
func (w *wish) lawful(grants []Grant) error {
	next := w.q.Next
	var lost seq.Set[seq.Data]
	for _, r := range w.q.Lost {
		lost.Add(r.Intersect(Range{From: w.q.Una, To: w.q.Next.Min(w.q.NewLimit())}))
	}
	room := map[PathID]int{}
	for _, g := range grants {
		i := slices.IndexFunc(w.paths, func(p Path) bool { return p.ID == g.Path })
		switch {
		case i < 0:
			return fmt.Errorf("%v: no such path", g)
		case g.Data.Empty() || g.Data.Len() > maxPiece:
			return fmt.Errorf("%v: length", g)
		case g.Data.From.Less(w.q.Una) || w.q.End.Less(g.Data.To) || w.q.Limit.Less(g.Data.To):
			return fmt.Errorf("%v: outside data or window", g)
		}
		if err := w.eligible(&w.paths[i]); err != nil {
			return fmt.Errorf("%v: %w", g, err)
		}
		if room[g.Path] += g.Data.Len(); room[g.Path] > w.paths[i].Room {
			return fmt.Errorf("%v: no room", g)
		}
		if g.Data.From.Less(w.q.Next) {
			if next != w.q.Next {
				return fmt.Errorf("%v: lost data after new data", g)
			}
			if first := lost.Spans()[0].From; g.Data.From != first {
				return fmt.Errorf("%v: older lost data at %d", g, first)
			}
			if lost.Remove(g.Data) != g.Data.Len() {
				return fmt.Errorf("%v: was not lost", g)
			}
			continue
		}
		if !lost.Empty() {
			return fmt.Errorf("%v: new data before lost data", g)
		}
		if g.Data.From != next {
			return fmt.Errorf("%v: gap after %d", g, next)
		}
		next = g.Data.To
	}
	return w.idle(next, &lost, room)
}

// idle checks that nothing is left over of which an eligible path could take a
// full segment.
func (w *wish) idle(next Seq, lost *seq.Set[seq.Data], room map[PathID]int) error {
	left := w.q.NewLimit().Sub(next)
	if !lost.Empty() {
		left = lost.Spans()[0].Len()
	}
	if left <= 0 {
		return nil
	}
	for i := range w.paths {
		p := &w.paths[i]
		free := p.Room - room[p.ID]
		sampled := p.SRTT == 0 && p.InFlight == 0 && room[p.ID] == p.MSS
		if w.eligible(p) == nil && free >= p.MSS && !sampled {
			return fmt.Errorf("path %d has room for %d octets, %d are left", p.ID, free, left)
		}
	}
	return nil
}

// eligible is the backup and stale rule, written down a second time: a path
// may be used if no better kind of path exists at all.
func (w *wish) eligible(p *Path) error {
	for i := range w.paths {
		o := &w.paths[i]
		switch {
		case p.Stale && !o.Stale:
			return fmt.Errorf("path %d is stale, %d is not", p.ID, o.ID)
		case p.Stale == o.Stale && p.Backup && !o.Backup:
			return fmt.Errorf("path %d is a backup, %d is not", p.ID, o.ID)
		}
	}
	return nil
}

// text writes grants as "path:from-to", relative to base.
func text(grants []Grant, base Seq) string {
	var b strings.Builder
	for _, g := range grants {
		fmt.Fprintf(&b, " %d:%d-%d", g.Path, g.Data.From.Sub(base), g.Data.To.Sub(base))
	}
	return strings.TrimSpace(b.String())
}

var makers = map[string]func() Scheduler{
	"minrtt":     NewMinRTT,
	"roundrobin": NewRoundRobin,
}

// TestLaws: random queues and paths, at the end of the number space too.
func TestLaws(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			s := makers[name]()
			lost, fresh, backup, stale, none := 0, 0, 0, 0, 0
			for range 60000 {
				w := randomWish(rng)
				g := w.run(t, s)
				for _, g := range g {
					if g.Data.From.Less(w.q.Next) {
						lost++
					} else {
						fresh++
					}
					p := w.paths[slices.IndexFunc(w.paths, func(p Path) bool { return p.ID == g.Path })]
					backup += b2i(p.Backup)
					stale += b2i(p.Stale)
				}
				none += b2i(len(g) == 0)
				if rng.IntN(50) == 0 {
					s = makers[name]()
				}
			}
			// The cases must be worth their name.
			for what, n := range map[string]int{"lost": lost, "new": fresh, "backup": backup, "stale": stale, "none": none} {
				if n < 1000 {
					t.Errorf("only %d grants: %s", n, what)
				}
			}
		})
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func randomWish(rng *rand.Rand) wish {
	span := func(most int) int { return rng.IntN(1 << rng.IntN(most)) }
	var w wish
	w.q.Una = Seq(rng.Uint64())
	if rng.IntN(2) == 0 {
		w.q.Una = Seq(0).Add(-span(20)) // wraps soon
	}
	w.q.Next = w.q.Una.Add(span(20))
	w.q.End = w.q.Next.Add(span(20))
	w.q.Limit = w.q.Next.Add(span(20))
	if rng.IntN(10) == 0 {
		w.q.Limit = w.q.Next.Add(-span(10)) // a window that went back
	}
	at := w.q.Una.Add(-rng.IntN(3))
	for range rng.IntN(4) {
		from := at.Add(rng.IntN(5000))
		to := from.Add(rng.IntN(90000) - 2) // empty and inverted ones too
		if w.q.Next.Add(3).Less(to) {
			break
		}
		w.q.Lost = append(w.q.Lost, Range{From: from, To: to})
		at = at.Max(to).Add(1)
	}
	odds := 1 + rng.IntN(4)
	for range rng.IntN(9) {
		p := Path{
			ID:     PathID(len(w.paths)*3 + rng.IntN(3)),
			SRTT:   time.Duration(rng.IntN(4)) * time.Duration(rng.IntN(100)) * time.Millisecond,
			Cwnd:   span(20),
			Room:   span(20) - rng.IntN(2)*rng.IntN(100),
			MSS:    1 + rng.IntN(9000),
			Backup: rng.IntN(odds) == 0,
			Stale:  rng.IntN(odds) == 0,
		}
		if rng.IntN(2) == 0 {
			p.InFlight = span(20)
		}
		w.paths = append(w.paths, p)
	}
	rng.Shuffle(len(w.paths), func(i, j int) { w.paths[i], w.paths[j] = w.paths[j], w.paths[i] })
	return w
}

func TestNames(t *testing.T) {
	if len(Names()) != len(makers) {
		t.Errorf("Names() = %q", Names())
	}
	for _, name := range append(Names(), "") {
		f, err := New(name)
		if err != nil || f() == nil {
			t.Errorf("New(%q): %v", name, err)
		}
	}
	if _, err := New("wfq"); err == nil || err.Error() != `unknown scheduler "wfq": choose one of minrtt, roundrobin` {
		t.Errorf("error %v", err)
	}
}

// bulk is a queue with plenty of data and n paths with room.
func bulk(n int) wish {
	w := wish{q: Queue{Una: 1, Next: 1 << 20, End: 1 << 30, Limit: 1 << 30}}
	for i := range n {
		w.paths = append(w.paths, Path{
			ID: PathID(i), SRTT: time.Duration(50-5*i) * time.Millisecond,
			Cwnd: 1 << 20, InFlight: 1 << 19, Room: 64080, MSS: 1424,
		})
	}
	return w
}

func TestNoAllocation(t *testing.T) {
	for _, name := range Names() {
		s, w := makers[name](), bulk(8)
		g := make([]Grant, 0, 256)
		n := testing.AllocsPerRun(100, func() { g, _ = s.Schedule(0, &w.q, w.paths, g[:0]) })
		if n != 0 {
			t.Errorf("%s: %v allocations a call", name, n)
		}
		if len(g) == 0 {
			t.Errorf("%s: nothing granted", name)
		}
	}
}

func BenchmarkSchedule(b *testing.B) {
	for _, name := range Names() {
		for _, n := range []int{2, 8} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				s, w := makers[name](), bulk(n)
				g := make([]Grant, 0, 256)
				b.ReportAllocs()
				for b.Loop() {
					g, _ = s.Schedule(0, &w.q, w.paths, g[:0])
				}
				b.ReportMetric(float64(len(g)), "grants/op")
			})
		}
	}
}
