package mptcp

import "testing"

// OffloadFrom is a rate, and the subflow is told what a millisecond of it is.
func TestOffloadFrom(t *testing.T) {
	for from, want := range map[uint64]int{0: 64 << 20 / 1000, 1: 0, 125_000_000: 125_000} {
		s := &Stack{cfg: Config{OffloadFrom: from}}
		if got := s.laneWorth(); got != want {
			t.Errorf("from %d octets a second: %d in a millisecond, want %d", from, got, want)
		}
	}
}
