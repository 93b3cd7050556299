package testenv

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// userNSEnv marks a process that ReexecInUserNS started.
const userNSEnv = "MPNC_IN_USERNS"

// InUserNamespace reports whether ReexecInUserNS started this process.
func InUserNamespace() bool { return os.Getenv(userNSEnv) != "" }

// CanLab reports whether this process may build a Lab as it is. If not, it may
// still be able to in a user namespace: see ReexecInUserNS.
func CanLab() bool {
	ns, err := newNamespace()
	if err != nil {
		return false
	}
	defer ns.close()
	return true
}

// CheckLab says what a program that has to build a Lab as it is lacks for it.
func CheckLab() error {
	if !CanLab() {
		return errors.New("needs root, for network namespaces")
	}
	return nil
}

// KernelRelease is the kernel that a Lab's hosts have, for those who write down
// what they measured; empty if it does not tell.
func KernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// ReexecInUserNS runs this program again, with the given arguments (without
// the program's name), as root of a user namespace of its own, where labs can
// be built without privileges; with the same input and outputs. It returns how
// that program ended, as exec.Cmd's Run does. It needs a kernel that lets
// ordinary users make user namespaces.
//
// In there the congestion control is the system's default if cubic is not
// allowed to everybody, and the emulator's sockets buffer less.
func ReexecInUserNS(args []string) error {
	return userNSCommand(args).runLocked()
}

// reexec is a command that must not outlive the thread that started it.
type reexec struct{ *exec.Cmd }

func userNSCommand(args []string) reexec {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), userNSEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGTERM,
	}
	return reexec{cmd}
}

// runLocked runs the command from one thread: the signal at the parent's
// death comes when that thread ends.
func (r reexec) runLocked() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return r.Run()
}
