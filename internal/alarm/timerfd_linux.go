package alarm

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// timerFD is a timerfd. The runtime's poller waits on it as on a socket, so
// that it wakes the waiter when the kernel's timer does.
type timerFD struct {
	file *os.File
	fd   int // of file; for calls under the Alarm's lock, which excludes close
}

// newSystemTimer returns nil where there are no timerfds (a sandbox), or none
// that the poller takes.
func newSystemTimer() timer {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil
	}
	file := os.NewFile(uintptr(fd), "timerfd")
	if file.SetReadDeadline(time.Time{}) != nil { // not polled: Read would not wait
		file.Close()
		return nil
	}
	return &timerFD{file: file, fd: fd}
}

func (t *timerFD) set(d time.Duration) {
	// Zero would disarm it. Setting forgets an expiry that nobody has read.
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(1, d.Nanoseconds()))}
	if err := unix.TimerfdSettime(t.fd, 0, &spec, nil); err != nil {
		panic("BUG: timerfd_settime: " + err.Error())
	}
}

func (t *timerFD) wait() {
	var expiries [8]byte
	t.file.Read(expiries[:]) // only close makes it fail, and the Alarm knows of that
}

func (t *timerFD) close() { t.file.Close() }
