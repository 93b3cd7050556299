package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// unlockPTY makes a terminal's other end ready to be opened, and returns its
// name.
func unlockPTY(master *os.File) (string, error) {
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return "", err
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("/dev/pts/%d", n), nil
}
