// Command droppriv opens a raw device, gives up privileges, and shows on
// standard output what is left: the capabilities of every thread, and whether
// the device still works and a new one can still be made. With the argument
// "nothing" it first gives up everything, and prints Probe's error. With "lanes"
// it shows whether a path has a fast lane, before and after.
package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
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
	if len(os.Args) > 1 && os.Args[1] == "lanes" {
		lanes()
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

// lanes makes a link with a neighbour, and a device with all privileges; then one
// without.
func lanes() {
	for _, line := range []string{
		"ip link add a1 type veth peer name b1", "ip link set a1 up", "ip link set b1 up",
		"ip addr add 10.0.1.1/24 dev a1", "ip neigh add 10.0.1.2 lladdr 02:00:00:00:00:02 dev a1",
	} {
		words := strings.Fields(line)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			fmt.Println(line, err, string(out))
		}
	}
	a1, err := net.InterfaceByName("a1")
	if err != nil {
		fmt.Println(err)
		return
	}
	has := func() (lane, told bool) {
		dev, err := netio.NewRaw(netio.RawConfig{
			Now: func() mono.Time { return 0 },
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer dev.Close()
		trouble := dev.LaneTrouble()
		told = trouble != nil && strings.Contains(trouble.Error(), "CAP_NET_ADMIN")
		t := wire.Tuple{Local: netip.MustParseAddrPort("10.0.1.1:1"), Remote: netip.MustParseAddrPort("10.0.1.2:2")}
		return dev.Lane(t, a1.Index).Train > 0, told
	}
	lane, _ := has()
	fmt.Println("with everything:", lane)
	err = netio.KeepOnlyNetRaw()
	lane, told := has()
	fmt.Println("with CAP_NET_RAW:", lane)
	fmt.Println("CAP_NET_ADMIN is told of:", told)
	fmt.Println(err)
}
