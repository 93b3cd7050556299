package mptcp

import (
	"context"
	"errors"
	"os"
)

// timeoutError is what a context's deadline means for a call: a timeout by the
// words of the net, os and context packages alike.
type timeoutError struct{}

func (timeoutError) Error() string   { return "i/o timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }
func (timeoutError) Is(target error) bool {
	return target == context.DeadlineExceeded || target == os.ErrDeadlineExceeded
}

// contextError returns the error of a call whose context is done.
func contextError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return timeoutError{}
	}
	return ctx.Err()
}
