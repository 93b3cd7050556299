package scheduler

import (
	"math"
	"testing"
)

func TestRoundRobin(t *testing.T) {
	const next = 100000
	third := Path{ID: 9, Room: 3000, MSS: 1000, InFlight: 1}
	tests := []struct {
		name  string
		quota int
		q     Queue
		paths []Path
		want  string
	}{
		{"turns", 2, data(9000), []Path{slow(), fast()}, "1:0-2000 2:2000-4000 1:4000-6000 2:6000-8000 1:8000-9000"},
		{"three", 3, data(9000), []Path{slow(), third, fast()}, "1:0-3000 2:3000-6000 9:6000-9000"},
		{"one has less room", 2, data(12000), []Path{third, fast()}, "1:0-2000 9:2000-4000 1:4000-6000 9:6000-7000 1:7000-12000"},
		{"one is full", 2, data(6000), []Path{with(slow(), full), fast()}, "1:0-6000"},
		{"all full", 2, data(6000), []Path{with(slow(), full), with(fast(), full)}, ""},
		{"backup waits", 2, data(4000), []Path{with(slow(), backup), fast()}, "1:0-4000"},
		{"stale waits", 2, data(4000), []Path{with(fast(), stale), slow()}, "2:0-4000"},
		{"lost first", 2, data(1000, Range{From: 0, To: 3000}), []Path{slow(), fast()}, "1:-100000--98000 2:-98000--97000 2:0-1000"},
		{"default quota", 0, data(20000), []Path{slow(), fast()}, "1:0-10000 2:10000-20000"},
		{"any quota", math.MaxInt, data(20000), []Path{slow(), fast()}, "1:0-10000 2:10000-20000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := wish{q: tt.q, paths: tt.paths}
			got := text(w.run(t, &RoundRobin{Quota: tt.quota}), next)
			if got != tt.want {
				t.Errorf("grants %q, want %q", got, tt.want)
			}
		})
	}
}

// Turns go on where the last call stopped, also when data comes in drops.
func TestRoundRobinRemembersTheTurn(t *testing.T) {
	s := &RoundRobin{Quota: 2}
	w := wish{q: data(700), paths: []Path{fast(), slow()}}
	got := ""
	for range 8 {
		g := w.run(t, s)
		if len(g) != 1 {
			t.Fatalf("grants %v", g)
		}
		got += string(rune('0' + g[0].Path))
		w.q.Next, w.q.End = w.q.End, w.q.End.Add(700)
	}
	if got != "11221122" {
		t.Errorf("paths %s, want 11221122", got)
	}
}

// A path that went leaves its turn to the next.
func TestRoundRobinPathGone(t *testing.T) {
	s := &RoundRobin{Quota: 2}
	w := wish{q: data(1000), paths: []Path{fast(), slow()}}
	w.run(t, s)
	w.paths = w.paths[1:]
	if g := w.run(t, s); len(g) != 1 || g[0].Path != 2 {
		t.Errorf("grants %v", g)
	}
}
