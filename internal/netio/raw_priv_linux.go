package netio

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// KeepOnlyNetRaw gives up every capability but CAP_NET_RAW, and
// CAP_NET_BIND_SERVICE if the process has it, on all threads and for good. A
// program started by a root process afterwards has its capabilities again:
// that is the kernel's rule for the user root.
//
// It works only in a program built without cgo, whose threads the Go runtime
// all knows.
func KeepOnlyNetRaw() error {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	if err := unix.Capget(&h, &d[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	const keep = 1<<unix.CAP_NET_RAW | 1<<unix.CAP_NET_BIND_SERVICE
	d[0].Permitted &= keep
	d[0].Effective &= keep
	d[0].Inheritable &= keep
	d[1] = unix.CapUserData{}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET,
		uintptr(unsafe.Pointer(&h)), uintptr(unsafe.Pointer(&d)), 0)
	if errno == unix.ENOTSUP {
		return errors.New("give up privileges: this program was built with cgo, which hides threads; build with CGO_ENABLED=0")
	}
	if errno != 0 {
		return os.NewSyscallError("capset", errno)
	}
	return nil
}

// CheckRPFilter reports whether the calling thread's namespace drops packets
// that arrive by link, unless its best route back leads out of link too: the
// answers to what a second path sends. hint is the command that relaxes it,
// empty if it is not strict.
func CheckRPFilter(link int) (strict bool, hint string) {
	name, err := linkName(link)
	if err != nil {
		return false, ""
	}
	// The kernel uses the larger of the two; 1 is strict, 2 loose.
	value := max(readRPFilter("all"), readRPFilter(name))
	if value != 1 {
		return false, ""
	}
	key := strings.ReplaceAll(name, ".", "/") // sysctl's own way to write a dot in a name
	return true, fmt.Sprintf("sysctl -w net.ipv4.conf.%s.rp_filter=2", key)
}

func readRPFilter(name string) int {
	b, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + name + "/rp_filter")
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
}

// linkName asks for the name of an interface in the calling thread's namespace.
func linkName(link int) (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return "", err
	}
	ifr.SetUint32(uint32(link))
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFNAME, ifr); err != nil {
		return "", os.NewSyscallError("ioctl", err)
	}
	return ifr.Name(), nil
}
