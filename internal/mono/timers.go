package mono

// maxTimers bounds the kinds of one table; Next scans them all.
const maxTimers = 8

// Timers is a fixed table with one deadline for each kind K (a small
// enumeration below eight). Setting is a store and reading the next deadline a
// scan: there is no heap. The zero value has every timer stopped.
type Timers[K ~uint8] struct {
	at [maxTimers]Time // 0: stopped
}

// Set arms timer k for time t; Never stops it.
func (t *Timers[K]) Set(k K, at Time) {
	if at == Never {
		at = 0
	} else if at <= 0 {
		at = 1 // zero marks a stopped timer; one nanosecond late is no harm
	}
	t.at[k] = at
}

// Stop disarms timer k.
func (t *Timers[K]) Stop(k K) { t.at[k] = 0 }

// Armed reports whether timer k is running.
func (t *Timers[K]) Armed(k K) bool { return t.at[k] != 0 }

// At returns the deadline of timer k, Never if it is stopped.
func (t *Timers[K]) At(k K) Time {
	if t.at[k] == 0 {
		return Never
	}
	return t.at[k]
}

// Expired reports whether timer k was due at now, and stops it if so.
func (t *Timers[K]) Expired(k K, now Time) bool {
	if t.at[k] == 0 || t.at[k] > now {
		return false
	}
	t.at[k] = 0
	return true
}

// Next returns the earliest deadline of all kinds, Never if none is armed.
func (t *Timers[K]) Next() Time {
	next := Never
	for _, at := range t.at {
		if at != 0 && at < next {
			next = at
		}
	}
	return next
}
