//go:build !linux

package testenv

import (
	"net/netip"
	"os/exec"
	"time"
)

// Lab needs Linux: here NewLab returns ErrNoLab, and so do all methods that
// return an error.
type Lab struct{ Client, Server *Host }

// NewLab returns ErrNoLab.
func NewLab(LabConfig) (*Lab, error) { return nil, ErrNoLab }

// Close does nothing.
func (*Lab) Close() error { return nil }

// Congestion returns nothing.
func (*Lab) Congestion() string { return "" }

// At does nothing.
func (*Lab) At(time.Duration, func()) {}

// Play does nothing.
func (*Lab) Play(Timeline) {}

// SetSilent returns ErrNoLab.
func (*Lab) SetSilent(string, Direction, bool) error { return ErrNoLab }

// SetLink returns ErrNoLab.
func (*Lab) SetLink(string, Direction, func(*LinkConfig)) error { return ErrNoLab }

// Stats returns nothing.
func (*Lab) Stats(string, Direction) LinkStats { return LinkStats{} }

// Lost returns nothing.
func (*Lab) Lost() uint64 { return 0 }

// SetCarrier returns ErrNoLab.
func (*Lab) SetCarrier(*Host, string, bool) error { return ErrNoLab }

// Capture returns ErrNoLab.
func (*Lab) Capture(*Host, string, string) (func() error, error) { return nil, ErrNoLab }

// Host is one end of a Lab, which needs Linux.
type Host struct{}

// Name returns nothing.
func (*Host) Name() string { return "" }

// Links returns nothing.
func (*Host) Links() []string { return nil }

// Addr returns no address.
func (*Host) Addr(string, int) netip.Addr { return netip.Addr{} }

// Do returns ErrNoLab.
func (*Host) Do(func() error) error { return ErrNoLab }

// Sysctl returns ErrNoLab.
func (*Host) Sysctl(string, string) error { return ErrNoLab }

// ReadSysctl returns ErrNoLab.
func (*Host) ReadSysctl(string) (string, error) { return "", ErrNoLab }

// SetUp returns ErrNoLab.
func (*Host) SetUp(string, bool) error { return ErrNoLab }

// AddAddr returns ErrNoLab.
func (*Host) AddAddr(string, netip.Prefix) error { return ErrNoLab }

// RemoveAddr returns ErrNoLab.
func (*Host) RemoveAddr(string, netip.Addr) error { return ErrNoLab }

// ChangeAddr returns ErrNoLab.
func (*Host) ChangeAddr(string, netip.Addr, netip.Prefix) error { return ErrNoLab }

// Counters returns ErrNoLab.
func (*Host) Counters() (map[string]int64, error) { return nil, ErrNoLab }

// CountersSince returns ErrNoLab.
func (*Host) CountersSince(map[string]int64) (map[string]int64, error) { return nil, ErrNoLab }

// SetMPTCPLimits returns ErrNoLab.
func (*Host) SetMPTCPLimits(int, int) error { return ErrNoLab }

// AddEndpoint returns ErrNoLab.
func (*Host) AddEndpoint(Endpoint) error { return ErrNoLab }

// AddEndpoints returns ErrNoLab.
func (*Host) AddEndpoints(int, Endpoint) error { return ErrNoLab }

// RemoveEndpoint returns ErrNoLab.
func (*Host) RemoveEndpoint(uint8) error { return ErrNoLab }

// FlushEndpoints returns ErrNoLab.
func (*Host) FlushEndpoints() error { return ErrNoLab }

// Command is a program to run in a Host.
type Command struct{ *exec.Cmd }

// Command returns a program that does not start.
func (*Host) Command(name string, args ...string) *Command {
	cmd := exec.Command(name, args...)
	cmd.Err = ErrNoLab
	return &Command{cmd}
}

// KernelPeer needs a Host.
type KernelPeer struct{}

// KernelServer returns ErrNoLab.
func KernelServer(*Host, netip.AddrPort, PeerConfig) (*KernelPeer, error) { return nil, ErrNoLab }

// KernelClient returns ErrNoLab.
func KernelClient(*Host, netip.AddrPort, PeerConfig) (*KernelPeer, error) { return nil, ErrNoLab }

// Addr returns no address.
func (*KernelPeer) Addr() netip.AddrPort { return netip.AddrPort{} }

// Progress returns nothing.
func (*KernelPeer) Progress() (sent, received int64) { return 0, 0 }

// Wait returns ErrNoLab.
func (*KernelPeer) Wait(time.Duration) PeerResult { return PeerResult{Err: ErrNoLab} }

// Close does nothing.
func (*KernelPeer) Close() error { return nil }

// InUserNamespace reports false.
func InUserNamespace() bool { return false }

// CanLab reports false.
func CanLab() bool { return false }

// CheckLab returns ErrNoLab.
func CheckLab() error { return ErrNoLab }

// KernelRelease returns "".
func KernelRelease() string { return "" }

// ReexecInUserNS returns ErrNoLab.
func ReexecInUserNS([]string) error { return ErrNoLab }
