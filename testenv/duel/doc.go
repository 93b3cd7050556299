// Package duel is what the commands that measure mpnc beside the kernel share:
// their frame (options, runs in turn, documents), a connection across a lab by one
// stack or another, several labs at once, and medians.
package duel

import (
	"context"
	"slices"
	"sync"
)

// Stack is whose connection is measured.
type Stack uint8

// Stacks.
const (
	Mpnc        Stack = iota
	KernelMPTCP       // the kernel's Multipath TCP
	KernelTCP         // the kernel's TCP, on one path
)

// String is a name for tables.
func (s Stack) String() string { return [...]string{"mpnc", "kernel", "kernel's TCP"}[s] }

// Each calls do for every job in turn, as many at once as told, and returns when
// all are done. Jobs that have not begun when ctx ends are left out.
func Each[T any](ctx context.Context, atOnce int, jobs []T, do func(T)) {
	next := make(chan T)
	var work sync.WaitGroup
	for range max(atOnce, 1) {
		work.Go(func() {
			for j := range next {
				do(j)
			}
		})
	}
	for _, j := range jobs {
		if ctx.Err() != nil {
			break
		}
		next <- j
	}
	close(next)
	work.Wait()
}

// Median returns the middle of the values, in any order; 0 of none.
func Median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	if n == 0 {
		return 0
	}
	return (s[(n-1)/2] + s[n/2]) / 2
}
