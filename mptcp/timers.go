package mptcp

import (
	"sync"

	"github.com/mpnc/mpnc/internal/alarm"
	"github.com/mpnc/mpnc/internal/mono"
)

// timers is the heap of all connections by the time at which they want to be
// looked at. Arming is lazy: who moves its deadline later does nothing and is
// looked at early, which is harmless.
type timers struct {
	alarm *alarm.Alarm

	mu   sync.Mutex // a leaf
	heap []*timer
}

// timer is one entry; a Conn has it. The zero value is not in the heap.
type timer struct {
	conn *Conn
	at   mono.Time
	pos  int // index in the heap plus one; 0: not in it
}

// arm puts t at the given time, earlier or later than before. It reports
// whether it is the first now, so that the alarm has to be reset (rearm).
func (ts *timers) arm(t *timer, at mono.Time) (rearm bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t.at = at
	if t.pos == 0 {
		ts.heap = append(ts.heap, t)
		t.pos = len(ts.heap)
	}
	ts.down(t.pos - 1)
	ts.up(t.pos - 1)
	return ts.heap[0] == t
}

// stop takes t out.
func (ts *timers) stop(t *timer) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t.pos > 0 {
		ts.remove(t.pos - 1)
	}
}

// due moves the connections whose time has come out of the heap, to conns.
func (ts *timers) due(now mono.Time, conns []*Conn) []*Conn {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for len(ts.heap) > 0 && ts.heap[0].at <= now {
		conns = append(conns, ts.heap[0].conn)
		ts.remove(0)
	}
	return conns
}

// rearm sets the alarm for the first deadline, if that is earlier than what it
// is set for. It is a system call: no lock may be held.
func (ts *timers) rearm() {
	ts.mu.Lock()
	at := mono.Never
	if len(ts.heap) > 0 {
		at = ts.heap[0].at
	}
	ts.mu.Unlock()
	ts.alarm.Reset(at)
}

func (ts *timers) remove(i int) {
	last := len(ts.heap) - 1
	ts.heap[i].pos = 0
	if i != last {
		ts.heap[i] = ts.heap[last]
		ts.heap[i].pos = i + 1
	}
	ts.heap[last] = nil
	ts.heap = ts.heap[:last]
	if i < last {
		ts.down(i)
		ts.up(i)
	}
}

func (ts *timers) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if ts.heap[parent].at <= ts.heap[i].at {
			return
		}
		ts.swap(i, parent)
		i = parent
	}
}

func (ts *timers) down(i int) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(ts.heap); c++ {
			if ts.heap[c].at < ts.heap[least].at {
				least = c
			}
		}
		if least == i {
			return
		}
		ts.swap(i, least)
		i = least
	}
}

func (ts *timers) swap(i, j int) {
	h := ts.heap
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i+1, j+1
}
