//go:build !linux

package alarm

// newSystemTimer returns nil: there is nothing better than the runtime's.
func newSystemTimer() timer { return nil }
