package mptcp

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// waitFor is a waiter such as Read, for nothing but the deadline.
func waitFor(mu *sync.Mutex, cond *sync.Cond, d *deadline) {
	mu.Lock()
	defer mu.Unlock()
	for !d.passed() {
		cond.Wait()
	}
}

func TestDeadline(t *testing.T) {
	after := func(d time.Duration) func(time.Time) time.Time {
		return func(t time.Time) time.Time { return t.Add(d) }
	}
	never := func(time.Time) time.Time { return time.Time{} }
	tests := []struct {
		name  string
		moves []func(time.Time) time.Time // one a second
		want  time.Duration
	}{
		{"once", []func(time.Time) time.Time{after(5 * time.Second)}, 5 * time.Second},
		{"in the past", []func(time.Time) time.Time{after(-time.Second)}, 0},
		{"moved later", []func(time.Time) time.Time{after(2 * time.Second), after(9 * time.Second)}, 10 * time.Second},
		{"moved earlier", []func(time.Time) time.Time{after(time.Hour), after(time.Second)}, 2 * time.Second},
		{"moved to the past", []func(time.Time) time.Time{after(time.Hour), after(-1)}, time.Second},
		{"taken away and set again", []func(time.Time) time.Time{after(2 * time.Second), never, after(time.Second)}, 3 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				cond := sync.NewCond(&mu)
				var d deadline
				d.init(clock(), cond)
				start := time.Now()
				var took time.Duration
				done := make(chan struct{})
				go func() {
					waitFor(&mu, cond, &d)
					took = time.Since(start)
					close(done)
				}()
				for i, move := range tt.moves {
					if i > 0 {
						time.Sleep(time.Second)
					}
					mu.Lock()
					d.set(move(time.Now()))
					mu.Unlock()
				}
				<-done
				if took != tt.want {
					t.Errorf("passed after %v, want %v", took, tt.want)
				}
			})
		})
	}
}

// A deadline that passed can be taken back, as net.Conn's can.
func TestDeadlineTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var d deadline
		d.init(clock(), sync.NewCond(&mu))
		mu.Lock()
		defer mu.Unlock()
		d.set(time.Now().Add(-time.Second))
		if !d.passed() {
			t.Fatal("a deadline in the past has not passed")
		}
		d.set(time.Time{})
		if d.passed() {
			t.Fatal("no deadline has passed")
		}
	})
}
