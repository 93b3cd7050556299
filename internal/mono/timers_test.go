package mono

import (
	"math/rand/v2"
	"testing"
)

type kind uint8

const kinds = 8 // the most a table holds

// Timers against a map of deadlines, with random settings and a clock that
// moves on by random steps.
func TestTimersAgainstMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var timers Timers[kind]
	model := map[kind]Time{}
	now := Time(1)
	for step := range 20_000 {
		k := kind(rng.IntN(kinds))
		switch rng.IntN(5) {
		case 0, 1:
			at := now.Add(1) + Time(rng.IntN(100))
			timers.Set(k, at)
			model[k] = at
		case 2:
			timers.Stop(k)
			delete(model, k)
		case 3:
			timers.Set(k, Never)
			delete(model, k)
		case 4:
			now += Time(rng.IntN(30))
			at, armed := model[k]
			want := armed && at <= now
			if got := timers.Expired(k, now); got != want {
				t.Fatalf("step %d: Expired = %t, want %t", step, got, want)
			}
			if want {
				delete(model, k)
			}
		}
		compareTimers(t, &timers, model)
	}
}

func compareTimers(t *testing.T, timers *Timers[kind], model map[kind]Time) {
	t.Helper()
	next := Never
	for k := range kind(kinds) {
		at, armed := model[k]
		if !armed {
			at = Never
		}
		if timers.Armed(k) != armed || timers.At(k) != at {
			t.Fatalf("timer %d: armed %t at %d, want %t at %d", k, timers.Armed(k), timers.At(k), armed, at)
		}
		next = min(next, at)
	}
	if got := timers.Next(); got != next {
		t.Fatalf("Next() = %d, want %d", got, next)
	}
}

func TestTimersZeroValueIsStopped(t *testing.T) {
	var timers Timers[kind]
	compareTimers(t, &timers, nil)
	for k := range kind(kinds) {
		if timers.Expired(k, Never) {
			t.Errorf("timer %d expired without being set", k)
		}
	}
}

// A timer expires once, at its deadline and not before.
func TestTimersExpireOnce(t *testing.T) {
	var timers Timers[kind]
	timers.Set(3, 100)
	for _, test := range []struct {
		now  Time
		want bool
	}{{99, false}, {100, true}, {100, false}, {200, false}} {
		if got := timers.Expired(3, test.now); got != test.want {
			t.Errorf("at %d: Expired = %t, want %t", test.now, got, test.want)
		}
	}
}

// The epoch itself, and times before it, are deadlines like any other: due at
// the next look after the epoch.
func TestTimersAtTheEpoch(t *testing.T) {
	for _, at := range []Time{0, -5} {
		var timers Timers[kind]
		timers.Set(0, at)
		if !timers.Armed(0) || timers.Next() > 1 || !timers.Expired(0, 1) {
			t.Errorf("set for %d: armed %t, next %d", at, timers.Armed(0), timers.Next())
		}
	}
}

func TestTimersDoNotAllocate(t *testing.T) {
	var timers Timers[kind]
	if n := testing.AllocsPerRun(100, func() {
		timers.Set(1, 5)
		timers.Next()
		timers.Expired(1, 6)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
