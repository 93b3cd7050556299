package mptcp

import (
	"math/rand/v2"
	"testing"

	"github.com/mpnc/mpnc/internal/alarm"
	"github.com/mpnc/mpnc/internal/mono"
)

// The heap agrees with a list that is searched.
func TestTimersAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	now := mono.Time(0)
	ts := &timers{alarm: alarm.Portable(func() mono.Time { return now })}
	conns := make([]*Conn, 50)
	for i := range conns {
		conns[i] = new(Conn)
		conns[i].timer.conn = conns[i]
	}
	model := make(map[*Conn]mono.Time)
	for range 20000 {
		c := conns[rng.IntN(len(conns))]
		switch rng.IntN(8) {
		case 0:
			ts.stop(&c.timer)
			delete(model, c)
		case 1:
			now = now.Add(50)
			for _, d := range ts.due(now, nil) {
				if at, ok := model[d]; !ok || at > now {
					t.Fatalf("at %d: a connection armed for %d (%v) is due", now, at, ok)
				}
				delete(model, d)
			}
			for _, at := range model {
				if at <= now {
					t.Fatalf("at %d: a connection armed for %d was not due", now, at)
				}
			}
		default:
			at := now + 1 + mono.Time(rng.IntN(1000))
			first := ts.arm(&c.timer, at)
			model[c] = at
			for d, m := range model {
				if first && m < at {
					t.Fatalf("armed for %d as the first, but %p is armed for %d", at, d, m)
				}
			}
		}
		if len(ts.heap) != len(model) {
			t.Fatalf("%d timers in the heap, want %d", len(ts.heap), len(model))
		}
	}
}
