package netio

import (
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
)

// A nap is for who is flooded: by much, in little time, since he was asked last.
func TestFlood(t *testing.T) {
	var f flood
	us := func(n int) mono.Time { return mono.Time(n) * mono.Time(time.Microsecond) }
	for _, c := range []struct {
		what   string
		at     int // µs
		octets int
		want   bool
	}{
		{"the first train, an age after nothing", 1_000_000, 64 << 10, false},
		{"four trains in 100 µs", 1_000_100, 256 << 10, true},
		{"nothing since", 1_000_110, 0, false},
		{"one train in 10 µs", 1_000_120, 64 << 10, false},
		{"sixteen trains in 400 µs", 1_000_520, 1 << 20, true},
		{"sixteen trains in a millisecond", 1_001_520, 1 << 20, false},
	} {
		f.add(c.octets)
		if got := f.high(us(c.at)); got != c.want {
			t.Errorf("%s: %t", c.what, got)
		}
	}
}
