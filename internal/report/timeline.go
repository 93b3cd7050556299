// Package report shows what was measured: tables for a terminal, and pictures
// of goodput over time. It draws with the standard library's image packages
// and knows nothing of networks.
package report

import "time"

// Timeline is what a counter read at some times, in order. The zero value is
// empty and ready to use.
type Timeline struct {
	at    []time.Duration
	total []uint64
}

// Add records that the counter read total at time at. Times do not decrease; a
// counter that went back is taken to have stood still.
func (t *Timeline) Add(at time.Duration, total uint64) {
	if n := len(t.at); n > 0 {
		at, total = max(at, t.at[n-1]), max(total, t.total[n-1])
	}
	t.at, t.total = append(t.at, at), append(t.total, total)
}

// End returns the time of the last record.
func (t *Timeline) End() time.Duration {
	if len(t.at) == 0 {
		return 0
	}
	return t.at[len(t.at)-1]
}

// Total returns the last record's count.
func (t *Timeline) Total() uint64 {
	if len(t.total) == 0 {
		return 0
	}
	return t.total[len(t.total)-1]
}

// LongestSilence returns the longest time in which the counter stood still, up
// to the last record, and when it began. Growth counts from the record that
// shows it, so the silence of a counter that is read now and then comes out
// longer than it was by up to the time between two records.
func (t *Timeline) LongestSilence() (length, from time.Duration) {
	var since time.Duration
	for i := range t.at {
		if d := t.at[i] - since; d > length {
			length, from = d, since
		}
		if i > 0 && t.total[i] > t.total[i-1] {
			since = t.at[i]
		}
	}
	return length, from
}

// Rate returns the counter's mean growth, per second, in the steps of the
// given length from 0 to end, the last of which may be cut short.
func (t *Timeline) Rate(step, end time.Duration) []float64 {
	var rates []float64
	for from := time.Duration(0); from < end; from += step {
		rates = append(rates, t.Mean(from, min(from+step, end)))
	}
	return rates
}

// Mean returns the counter's mean growth, per second, between two times.
func (t *Timeline) Mean(from, to time.Duration) float64 {
	if to <= from {
		return 0
	}
	return (t.read(to) - t.read(from)) / (to - from).Seconds()
}

// read returns the count at a time, interpolated between records.
func (t *Timeline) read(at time.Duration) float64 {
	i, j := 0, len(t.at)
	for i < j { // the first record after at
		if m := (i + j) / 2; t.at[m] > at {
			j = m
		} else {
			i = m + 1
		}
	}
	if i == len(t.at) {
		return float64(t.Total())
	}
	var at0 time.Duration
	var total0 float64
	if i > 0 {
		at0, total0 = t.at[i-1], float64(t.total[i-1])
	}
	part := float64(at-at0) / float64(t.at[i]-at0)
	return total0 + part*(float64(t.total[i])-total0)
}
