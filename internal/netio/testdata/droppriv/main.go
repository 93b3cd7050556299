// Command droppriv opens a raw device, gives up privileges, and shows on
// standard output what is left: the capabilities of every thread, and whether
// the device still works and a new one can still be made. With the argument
// "nothing" it first gives up everything, and prints Probe's error.
package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/netio"
	"github.com/mpnc/mpnc/internal/wire"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "nothing" {
		h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET,
			uintptr(unsafe.Pointer(&h)), uintptr(unsafe.Pointer(&none)), 0)
		_, err := netio.NewRaw(netio.RawConfig{Now: func() mono.Time { return 0 }})
		fmt.Println(errno == 0)
		fmt.Println(netio.Probe())
		fmt.Println(err)
		return
	}
	// Threads that were there before.
	var begun, done sync.WaitGroup
	release := make(chan struct{})
	for range 4 {
		begun.Add(1)
		done.Go(func() {
			begun.Done()
			<-release
		})
	}
	begun.Wait()
	dev, err := netio.NewRaw(netio.RawConfig{Now: func() mono.Time { return 0 }})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(netio.KeepOnlyNetRaw())
	close(release)
	done.Wait()
	status, _ := filepath.Glob("/proc/self/task/*/status")
	for _, s := range status {
		b, _ := os.ReadFile(s)
		for line := range strings.Lines(string(b)) {
			if strings.HasPrefix(line, "CapEff") || strings.HasPrefix(line, "CapPrm") {
				fmt.Print(line)
			}
		}
	}
	g, err := dev.Bind(netip.MustParseAddrPort("127.0.0.1:0"), true)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	b := wire.NewBatch(1000)
	wire.AppendSegment(b, &wire.Segment{Tuple: wire.Tuple{Local: g.Local(), Remote: g.Local()}, Flags: wire.ACK}, 0)
	fmt.Println(dev.Write(1, b))
	fmt.Println(dev.Read(b), len(b.Pkts), dev.Stats().TxErrors)
	fmt.Println(netio.Probe())
}
