package mono

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"
)

// Add and Sub against integers without a width: exact, or Never where the sum
// does not fit.
func TestTimeAgainstBig(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	times := []Time{0, 1, Time(time.Hour), Never - 1, Never}
	durations := []time.Duration{0, 1, -1, time.Hour, -time.Hour, math.MaxInt64}
	for range 1000 {
		times = append(times, Time(rng.Int64()))
		durations = append(durations, time.Duration(rng.Int64()), -time.Duration(rng.Int64N(int64(time.Hour))))
	}
	for i, d := range durations {
		for _, at := range []Time{times[i%len(times)], times[i%5]} {
			sum := new(big.Int).Add(big.NewInt(int64(at)), big.NewInt(int64(d)))
			want := Never
			if sum.IsInt64() && at != Never {
				want = Time(sum.Int64())
			}
			got := at.Add(d)
			if got != want {
				t.Errorf("%d.Add(%d) = %d, want %d", at, d, got, want)
			}
			if got != Never && got.Sub(at) != d {
				t.Errorf("%d.Sub(%d) = %d, want %d", got, at, got.Sub(at), d)
			}
		}
	}
}

func TestNeverIsLast(t *testing.T) {
	for _, at := range []Time{0, 1, Time(time.Hour), Never - 1, Never} {
		if at > Never || at.Earliest(Never) != at || Never.Earliest(at) != at {
			t.Errorf("%d is later than Never", at)
		}
		if at.Latest(Never) != Never || Never.Latest(at) != Never {
			t.Errorf("the later of %d and Never is not Never", at)
		}
	}
	if got := Never.Add(-time.Hour); got != Never {
		t.Errorf("Never less an hour = %d", got)
	}
}

func TestEarliestLatest(t *testing.T) {
	if a, b := Time(3), Time(5); a.Earliest(b) != a || b.Earliest(a) != a || a.Latest(b) != b || b.Latest(a) != b {
		t.Errorf("of %d and %d: earliest %d, latest %d", a, b, a.Earliest(b), a.Latest(b))
	}
}
