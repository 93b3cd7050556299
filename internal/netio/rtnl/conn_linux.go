package rtnl

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Loopback is the index of the loopback interface in every namespace.
const Loopback = 1

// dumpTries is how often an interrupted listing is begun again: the kernel
// tells when what it lists changed meanwhile.
const dumpTries = 4

// Conn is a connection to the kernel's routing tables. Its methods may be
// called by any goroutine.
type Conn struct{ h *netlink.Handle }

// Open connects to the namespace of the calling thread.
func Open() (*Conn, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return &Conn{h}, nil
}

// Close ends the connection. No other method may run or be called any more.
func (c *Conn) Close() { c.h.Close() }

// Link is a network interface.
type Link struct {
	Index  int
	Name   string
	MTU    int
	Kind   string // the driver's kind ("veth", "wireguard"); "device" for hardware
	Parent int    // the link it sits upon; 0: none, or not in this namespace
	Up     bool   // IFF_UP: the administrator wants it
	// Running means IFF_RUNNING and IFF_LOWER_UP: it has carrier and may
	// carry data.
	Running bool
}

// Links lists the interfaces.
func (c *Conn) Links() ([]Link, error) {
	raw, err := retry(c.h.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	links := make([]Link, 0, len(raw))
	for _, l := range raw {
		a := l.Attrs()
		const running = unix.IFF_RUNNING | unix.IFF_LOWER_UP
		link := Link{
			Index: a.Index, Name: a.Name, MTU: a.MTU, Kind: l.Type(),
			Up:      a.RawFlags&unix.IFF_UP != 0,
			Running: a.RawFlags&running == running,
		}
		if a.NetNsID < 0 { // otherwise the parent's index is another namespace's
			link.Parent = a.ParentIndex
		}
		links = append(links, link)
	}
	return links, nil
}

// Addr is an address of an interface.
type Addr struct {
	Addr netip.Addr
	Link int
	// Usable is false while duplicate address detection runs or after it
	// failed, and when the address is deprecated (RFC 4862, Sections 5.4 and
	// 5.5.4).
	Usable bool
}

// Addrs lists the addresses of both families.
func (c *Conn) Addrs() ([]Addr, error) {
	raw, err := retry(func() ([]netlink.Addr, error) {
		return c.h.AddrList(nil, netlink.FAMILY_ALL)
	})
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	addrs := make([]Addr, 0, len(raw))
	for _, a := range raw {
		if a.IPNet == nil {
			continue
		}
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok {
			continue
		}
		const unusable = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED | unix.IFA_F_DEPRECATED
		addrs = append(addrs, Addr{
			Addr: ip.Unmap(), Link: a.LinkIndex, Usable: a.Flags&unusable == 0,
		})
	}
	return addrs, nil
}

// retry repeats a listing that a change interrupted; the last attempt is used
// as it is, because the change has its own event.
func retry[T any](list func() ([]T, error)) (l []T, err error) {
	for range dumpTries {
		if l, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return l, err
		}
	}
	return l, nil
}
