//go:build !linux

package netio

import (
	"errors"
	"runtime"
)

var errLinuxOnly = errors.New("raw sockets: mpnc supports them on Linux only, not on " + runtime.GOOS)

// Raw is the device of raw sockets, which exists on Linux only.
type Raw struct{ Device }

// NewRaw returns an error: this system is not Linux.
func NewRaw(RawConfig) (*Raw, error) { return nil, errLinuxOnly }

// Stats returns the zero value.
func (r *Raw) Stats() RawStats { return RawStats{} }

// CheckRPFilter reports that nothing filters.
func (r *Raw) CheckRPFilter(int) (strict bool, hint string) { return false, "" }

// Probe reports whether NewRaw would work: not on this system.
func Probe() error { return errLinuxOnly }

// KeepOnlyNetRaw does nothing: this system has no capabilities.
func KeepOnlyNetRaw() error { return nil }

// CheckRPFilter reports that nothing filters.
func CheckRPFilter(int) (strict bool, hint string) { return false, "" }
