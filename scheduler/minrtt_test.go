package scheduler

import (
	"testing"
	"time"
)

const ms = time.Millisecond

// fast and slow are two paths with room for ten segments of 1000 octets.
func fast() Path { return Path{ID: 1, SRTT: 10 * ms, Room: 10000, MSS: 1000, InFlight: 1} }
func slow() Path { return Path{ID: 2, SRTT: 90 * ms, Room: 10000, MSS: 1000, InFlight: 1} }

func with(p Path, change func(p *Path)) Path { change(&p); return p }

func backup(p *Path) { p.Backup = true }
func stale(p *Path)  { p.Stale = true }
func full(p *Path)   { p.Room = 0 }

// data is a queue with n new octets, all within the window.
func data(n int, lost ...Range) Queue {
	const next = 100000
	return Queue{Una: 0, Next: next, End: next + Seq(n), Limit: next + 1<<30, Lost: lost}
}

func TestMinRTT(t *testing.T) {
	const next = 100000
	windowed := data(50000)
	windowed.Limit = next + 4000
	tests := []struct {
		name  string
		q     Queue
		paths []Path
		want  string // relative to next
	}{
		{"nothing to do", data(0), []Path{fast(), slow()}, ""},
		{"no path", data(5000), nil, ""},
		{"little: the fast one", data(5000), []Path{slow(), fast()}, "1:0-5000"},
		{"much: then the slow one", data(15000), []Path{slow(), fast()}, "1:0-10000 2:10000-15000"},
		{"more than room", data(50000), []Path{slow(), fast()}, "1:0-10000 2:10000-20000"},
		{"fast one full", data(5000), []Path{slow(), with(fast(), full)}, "2:0-5000"},
		{"window", windowed, []Path{slow(), fast()}, "1:0-4000"},
		{"equal times: first in the list", data(5000), []Path{with(slow(), func(p *Path) { p.SRTT = 10 * ms }), fast()}, "2:0-5000"},
		{"full segments", data(50000), []Path{with(fast(), func(p *Path) { p.Room = 2999 })}, "1:0-2000"},
		{"tail", data(2500), []Path{with(fast(), func(p *Path) { p.Room = 2999 })}, "1:0-2500"},
		{"less than a segment, more in flight", data(5000), []Path{with(fast(), func(p *Path) { p.Room = 999 })}, ""},
		{"less than a segment, nothing in flight", data(5000), []Path{with(fast(), func(p *Path) { p.Room, p.InFlight = 999, 0 })}, "1:0-999"},
		{"no runt after full segments", data(5000), []Path{with(fast(), func(p *Path) { p.Room, p.InFlight = 1999, 0 })}, "1:0-1000"},
		{"trains", data(900000), []Path{with(fast(), func(p *Path) { p.Room, p.MSS = 200000, 1424 })}, "1:0-64080 1:64080-128160 1:128160-192240 1:192240-199360"},
		{"no train of one segment", data(65504), []Path{with(fast(), func(p *Path) { p.Room, p.MSS = 200000, 1424 })}, "1:0-62656 1:62656-65504"},
		{"a segment that stays alone", data(5000), []Path{with(fast(), func(p *Path) { p.Room = 4000 }), slow()}, "1:0-4000 2:4000-5000"},
		{"no MSS", data(5000), []Path{with(fast(), func(p *Path) { p.MSS = 0 })}, "1:0-5000"},

		{"backup while one is usable", data(50000), []Path{with(fast(), backup), slow()}, "2:0-10000"},
		{"backup while the other is full", data(50000), []Path{with(fast(), backup), with(slow(), full)}, ""},
		{"backup alone", data(5000), []Path{with(slow(), backup)}, "2:0-5000"},
		{"backup when the other is stale", data(5000), []Path{with(slow(), backup), with(fast(), stale)}, "2:0-5000"},
		{"full backup when the other is stale", data(5000), []Path{with(with(slow(), backup), full), with(fast(), stale)}, ""},
		{"stale while another lives", data(50000), []Path{with(fast(), stale), slow()}, "2:0-10000"},
		{"all stale", data(15000), []Path{with(fast(), stale), with(slow(), stale)}, "1:0-10000 2:10000-15000"},
		{"all stale, one a backup", data(15000), []Path{with(with(fast(), stale), backup), with(slow(), stale)}, "2:0-10000"},

		{"lost first", data(5000, Range{From: 40000, To: 42500}), []Path{fast(), slow()}, "1:-60000--57500 1:0-5000"},
		{"lost in order, cut to room", data(5000, Range{From: 40000, To: 46500}, Range{From: 50000, To: 56000}), []Path{fast(), slow()},
			"1:-60000--53500 1:-50000--47000 2:-47000--44000 2:0-5000"},
		{"lost on a backup only if need be", data(0, Range{From: 1, To: 2}), []Path{with(fast(), backup), with(slow(), full)}, ""},
		{"no new data while lost data waits", data(10, Range{From: 1, To: 5001}),
			[]Path{with(fast(), func(p *Path) { p.Room = 500 }), with(slow(), func(p *Path) { p.Room = 500 })}, ""},
		{"lost, partly acknowledged", Queue{Una: 500, Next: 1000, End: 1000, Limit: 9000, Lost: []Range{{From: 100, To: 200}, {From: 300, To: 600}}},
			[]Path{fast()}, "1:-99500--99400"},
		{"lost beyond what was sent", Queue{Una: 500, Next: 1000, End: 2000, Limit: 9000, Lost: []Range{{From: 900, To: 1500}}},
			[]Path{fast()}, "1:-99100--99000 1:-99000--98000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := wish{q: tt.q, paths: tt.paths}
			if got := text(w.run(t, NewMinRTT()), next); got != tt.want {
				t.Errorf("grants %q, want %q", got, tt.want)
			}
		})
	}
}

// A path that was never measured is used: with one segment once there is
// enough to send, and in full when the others have no room.
func TestMinRTTUnknownTime(t *testing.T) {
	const next = 100000
	fresh := func(p *Path) { p.SRTT, p.InFlight = 0, 0 }
	probed := func(p *Path) { p.SRTT = 0 }
	tests := []struct {
		name  string
		q     Queue
		paths []Path
		want  string
	}{
		{"little: not risked", data(2000), []Path{with(fast(), fresh), slow()}, "2:0-2000"},
		{"one segment", data(5000), []Path{with(fast(), fresh), slow()}, "1:0-1000 2:1000-5000"},
		{"its segment is under way", data(5000), []Path{with(fast(), probed), slow()}, "2:0-5000"},
		{"under way, the other full", data(15000), []Path{with(fast(), probed), slow()}, "2:0-10000 1:10000-15000"},
		{"not with lost data", data(5000, Range{From: 0, To: 3000}), []Path{with(fast(), fresh), slow()}, "2:-100000--97000 2:0-5000"},
		{"all unknown", data(15000), []Path{with(slow(), fresh), with(fast(), fresh)}, "2:0-10000 1:10000-15000"},
		{"a backup is not sampled", data(5000), []Path{with(with(fast(), fresh), backup), slow()}, "2:0-5000"},
		{"no room to sample", data(5000), []Path{with(with(fast(), fresh), full), slow()}, "2:0-5000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := wish{q: tt.q, paths: tt.paths}
			if got := text(w.run(t, NewMinRTT()), next); got != tt.want {
				t.Errorf("grants %q, want %q", got, tt.want)
			}
		})
	}
}
