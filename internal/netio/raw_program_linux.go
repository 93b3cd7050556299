package netio

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nothing is a program that lets nothing in: r0 = 0; exit.
var nothing = [2][8]byte{{0xb7}, {0x95}}

var noLicense [1]byte

// shutProgram is nothing, loaded into the kernel for all guards of this process,
// for ever; -1 if we may not: it needs CAP_BPF, as root has it. A filter of classic
// BPF is translated for every socket anew, which takes as long as all the rest of a
// guard.
var shutProgram = sync.OnceValue(func() int {
	attr := struct {
		kind, instructions uint32
		program, license   uint64
	}{
		unix.BPF_PROG_TYPE_SOCKET_FILTER, uint32(len(nothing)),
		uint64(uintptr(unsafe.Pointer(&nothing))), uint64(uintptr(unsafe.Pointer(&noLicense))),
	}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return -1
	}
	return int(fd)
})

// attachShut has a socket let nothing in, if the program is there.
func attachShut(fd int) bool {
	program := shutProgram()
	return program >= 0 && unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, program) == nil
}
