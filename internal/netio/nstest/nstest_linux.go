// Package nstest makes network namespaces for tests, all in one process: each
// has an operating system thread of its own.
package nstest

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// NS is a network namespace with its loopback up. It goes with its test.
type NS struct {
	t    testing.TB
	jobs chan func()
	fd   int
	h    *netlink.Handle
}

// New makes a namespace. Where that is not allowed the test is skipped, or
// fails if MPNC_REQUIRE_NETNS is set.
func New(t testing.TB) *NS {
	t.Helper()
	n := &NS{t: t, jobs: make(chan func())}
	made := make(chan error)
	go n.serve(made)
	if err := <-made; err != nil {
		if os.Getenv("MPNC_REQUIRE_NETNS") != "" {
			t.Fatalf("network namespaces are required and not possible here: %v", err)
		}
		t.Skipf("needs root for network namespaces: %v", err)
	}
	t.Cleanup(func() {
		n.h.Close()
		unix.Close(n.fd)
		close(n.jobs)
	})
	n.Up("lo")
	return n
}

// serve owns the thread; it is never unlocked and ends with the goroutine.
func (n *NS) serve(made chan<- error) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		made <- os.NewSyscallError("unshare", err)
		return
	}
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		made <- os.NewSyscallError("open", err)
		return
	}
	n.fd = fd
	n.h, err = netlink.NewHandle(unix.NETLINK_ROUTE)
	made <- err
	for f := range n.jobs {
		f()
	}
}

// Do runs f on a thread in the namespace, waits for it, and passes on a panic
// or a failed test.
func (n *NS) Do(f func()) {
	n.t.Helper()
	done := make(chan bool)
	n.jobs <- func() {
		finished := false
		defer func() { done <- finished }()
		f()
		finished = true
	}
	if !<-done {
		n.t.FailNow() // f ended its goroutine
	}
}

func (n *NS) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// Veth makes a pair of interfaces, one end in each namespace, both up.
func Veth(a *NS, nameA string, b *NS, nameB string) {
	a.t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = nameA
	a.must(a.h.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: nameB, PeerNamespace: netlink.NsFd(b.fd)}))
	a.Up(nameA)
	b.Up(nameB)
}

func (n *NS) link(name string) netlink.Link {
	n.t.Helper()
	l, err := n.h.LinkByName(name)
	n.must(err)
	return l
}

// Link returns the index of an interface.
func (n *NS) Link(name string) int {
	n.t.Helper()
	return n.link(name).Attrs().Index
}

// Add makes an interface of another kind and sets it up.
func (n *NS) Add(l netlink.Link) {
	n.t.Helper()
	n.must(n.h.LinkAdd(l))
	n.Up(l.Attrs().Name)
}

// Up sets an interface up.
func (n *NS) Up(name string) {
	n.t.Helper()
	n.must(n.h.LinkSetUp(n.link(name)))
}

// Down sets an interface down; the other end of a pair loses its carrier.
func (n *NS) Down(name string) {
	n.t.Helper()
	n.must(n.h.LinkSetDown(n.link(name)))
}

// SetMTU sets the largest packet of an interface.
func (n *NS) SetMTU(name string, mtu int) {
	n.t.Helper()
	n.must(n.h.LinkSetMTU(n.link(name), mtu))
}

func (n *NS) addr(cidr string, flags int) *netlink.Addr {
	n.t.Helper()
	a, err := netlink.ParseAddr(cidr)
	n.must(err)
	if a.IP.To4() == nil {
		flags |= unix.IFA_F_NODAD
	}
	a.Flags = flags
	return a
}

// AddAddr gives an interface an address, without duplicate address detection,
// and waits until the kernel takes packets for it: for IPv6 it prepares that
// in the background.
func (n *NS) AddAddr(name, cidr string) {
	n.t.Helper()
	a := n.addr(cidr, 0)
	n.must(n.h.AddrAdd(n.link(name), a))
	for limit := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		r, err := n.h.RouteGet(a.IP)
		if err == nil && len(r) == 1 && r[0].Type == unix.RTN_LOCAL {
			return
		}
		if time.Now().After(limit) {
			n.t.Fatalf("%s never became an address of the host: %v, %v", cidr, r, err)
		}
	}
}

// AddDeprecated gives an interface an address that is not to be used for
// anything new.
func (n *NS) AddDeprecated(name, cidr string) {
	n.t.Helper()
	a := n.addr(cidr, 0)
	a.ValidLft, a.PreferedLft = 3600, 0
	n.must(n.h.AddrAdd(n.link(name), a))
}

// AddTentative gives an interface an address on which duplicate address
// detection runs first.
func (n *NS) AddTentative(name, cidr string) {
	n.t.Helper()
	a, err := netlink.ParseAddr(cidr)
	n.must(err)
	n.must(n.h.AddrAdd(n.link(name), a))
}

// DelAddr takes an address away.
func (n *NS) DelAddr(name, cidr string) {
	n.t.Helper()
	n.must(n.h.AddrDel(n.link(name), n.addr(cidr, 0)))
}

// Route adds a route: to dst ("default" forms are "0.0.0.0/0" and "::/0"),
// through via if it is not empty, by an interface.
func (n *NS) Route(dst, via, name string) {
	n.t.Helper()
	n.must(n.h.RouteAdd(n.route(dst, via, name)))
}

// DelRoute removes what Route added.
func (n *NS) DelRoute(dst, via, name string) {
	n.t.Helper()
	n.must(n.h.RouteDel(n.route(dst, via, name)))
}

func (n *NS) route(dst, via, name string) *netlink.Route {
	n.t.Helper()
	p := netip.MustParsePrefix(dst)
	r := &netlink.Route{
		LinkIndex: n.Link(name),
		Dst:       &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())},
	}
	if via != "" {
		r.Gw = netip.MustParseAddr(via).AsSlice()
		r.Flags = int(netlink.FLAG_ONLINK)
	} else {
		r.Scope = netlink.SCOPE_LINK
	}
	if n := r.LinkIndex; n != 0 && via != "" {
		r.Priority = 100 + n // several defaults side by side
	}
	return r
}

// Sysctl writes a value below /proc/sys.
func (n *NS) Sysctl(key, value string) {
	n.t.Helper()
	var err error
	n.Do(func() { err = os.WriteFile("/proc/sys/"+key, []byte(value), 0) })
	n.must(err)
}

// Handle returns the fd of the namespace, for what this package has not.
func (n *NS) Handle() netns.NsHandle { return netns.NsHandle(n.fd) }

// Enslave makes an interface a port of a bridge.
func (n *NS) Enslave(port, bridge string) {
	n.t.Helper()
	n.must(n.h.LinkSetMasterByIndex(n.link(port), n.Link(bridge)))
}

// Delete removes an interface, and the other end of a pair with it.
func (n *NS) Delete(name string) {
	n.t.Helper()
	n.must(n.h.LinkDel(n.link(name)))
}

// SlowDown lets an interface send so many octets a second, in bursts of a few
// packets, behind a long queue.
func (n *NS) SlowDown(name string, rate uint64) {
	n.t.Helper()
	n.must(n.h.QdiscAdd(&netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: n.Link(name), Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       rate, Limit: 1 << 30, Buffer: netlink.Xmittime(rate, 4000),
	}))
}
