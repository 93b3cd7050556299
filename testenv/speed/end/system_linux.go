package end

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// processTime is the processor time that this process has used, in seconds.
func processTime() float64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// MachineTime is the processor time that was used by anybody, interrupts
// included, in seconds: what crosses a veth pair is partly nobody's.
func MachineTime() float64 {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	return busy(b)
}

// busy sums user, nice, system, irq and softirq of the first line of /proc/stat.
func busy(stat []byte) (seconds float64) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := strings.Fields(string(line))
	const ticks = 100 // a second: USER_HZ, the same on every system
	for _, i := range []int{1, 2, 3, 6, 7} {
		if i < len(fields) {
			n, _ := strconv.ParseFloat(fields[i], 64) // the kernel writes numbers
			seconds += n / ticks
		}
	}
	return seconds
}

// memory is what the process holds, in octets.
type memory struct{ heap, resident, peak int64 }

// memoryNow asks; after giving back what is unused, if told.
func memoryNow(collect bool) (m memory) {
	if collect {
		debug.FreeOSMemory()
	}
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	m.heap = int64(s.HeapAlloc)
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return m
	}
	for in := bufio.NewScanner(bytes.NewReader(b)); in.Scan(); {
		var name string
		var kB int64
		if n, _ := fmt.Sscan(in.Text(), &name, &kB); n < 2 {
			continue
		}
		switch name {
		case "VmRSS:":
			m.resident = kB << 10
		case "VmHWM:":
			m.peak = kB << 10
		}
	}
	return m
}
