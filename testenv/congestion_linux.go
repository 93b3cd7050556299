package testenv

import (
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// allowedCongestion exists in the initial namespace only, and names what
// other namespaces may set as their default.
const allowedCongestion = "net.ipv4.tcp_allowed_congestion_control"

var congestionMu sync.Mutex

// setCongestion sets the hosts' congestion control, for the moment of doing
// so allowing it in the initial namespace if need be. Whoever may not do that,
// as in a user namespace, keeps the system's default: Lab.Congestion tells.
func setCongestion(name string, hosts ...*Host) {
	congestionMu.Lock()
	defer congestionMu.Unlock()
	set := func() (err error) {
		for _, h := range hosts {
			if e := h.Sysctl("net.ipv4.tcp_congestion_control", name); e != nil {
				err = e
			}
		}
		return err
	}
	// Other processes may have labs too, and one that cannot be kept out may take
	// back what it allowed between our two steps: so try again.
	for range 5 {
		if set() == nil {
			return
		}
		if inInitial(func() error { return alone(func() error { return allowFor(name, set) }) }) == nil {
			return
		}
	}
}

// alone runs f while no other process does: two that read the list, add to it and
// put back what they read would leave what the other one added. Called in the
// initial namespace.
func alone(f func() error) error {
	file, err := os.Open(sysctlPath(allowedCongestion))
	if err != nil {
		return f()
	}
	defer file.Close()
	// Where there is no such lock, f runs all the same.
	for unix.Flock(int(file.Fd()), unix.LOCK_EX) == unix.EINTR {
	}
	return f()
}

// allowFor runs set with a congestion control allowed: called in the initial
// namespace.
func allowFor(name string, set func() error) error {
	b, err := os.ReadFile(sysctlPath(allowedCongestion))
	if err != nil {
		return err
	}
	before := strings.Fields(string(b))
	if slices.Contains(before, name) {
		return set()
	}
	with := strings.Join(append(slices.Clone(before), name), " ")
	if err := writeSysctl(allowedCongestion, with); err != nil {
		return err
	}
	defer writeSysctl(allowedCongestion, strings.Join(before, " "))
	return set()
}

// inInitial runs f in the namespace of process 1, or in the present one if
// that is out of reach.
func inInitial(f func() error) error {
	file, err := os.Open("/proc/1/ns/net")
	if err != nil {
		return f()
	}
	defer file.Close()
	return inThread(func() error {
		_ = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
		return nil
	}, f)
}
