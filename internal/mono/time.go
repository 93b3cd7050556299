// Package mono has the clock value of the pure core: nanoseconds since an
// epoch that the owner of the core chose (a Stack's creation, a simulation's
// start). Nothing in this package reads a clock.
package mono

import (
	"math"
	"time"
)

// Time is a number of nanoseconds since the owner's epoch.
// The zero value is the epoch itself.
type Time int64

// Never is later than every other Time: the deadline of what is not armed.
const Never = Time(math.MaxInt64)

// Add returns t+d. Never stays Never, and a sum that no Time can hold is Never
// too: a deadline after a duration that means "for ever" is no deadline.
func (t Time) Add(d time.Duration) Time {
	sum := t + Time(d)
	if t == Never || d > 0 && sum < t {
		return Never
	}
	return sum
}

// Sub returns the duration t-u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Earliest returns the earlier of t and u.
func (t Time) Earliest(u Time) Time { return min(t, u) }

// Latest returns the later of t and u.
func (t Time) Latest(u Time) Time { return max(t, u) }
