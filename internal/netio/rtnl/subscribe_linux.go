package rtnl

import (
	"os"

	"golang.org/x/sys/unix"
)

// Groups of changes to subscribe to.
var (
	// LinkChanges: interfaces and their addresses.
	LinkChanges = []int{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR}
	// RouteChanges: whatever decides where packets go.
	RouteChanges = []int{
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_NEXTHOP,
	}
	// NeighbourChanges: link-layer addresses.
	NeighbourChanges = []int{unix.RTNLGRP_NEIGH}
)

// Subscribe returns a non-blocking socket that becomes readable when something
// changed in the namespace of the calling thread. What it was is not told:
// messages are lost in a storm (ENOBUFS), so the reader has to list again
// anyway.
func Subscribe(groups ...int) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("bind", err)
	}
	for _, g := range groups {
		// An old kernel may not know a group: then it has no such changes.
		_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g)
	}
	return fd, nil
}

// Drain reads whatever fd has and reports whether anything changed.
func Drain(fd int) (changed bool) {
	var buf [8192]byte
	for {
		_, _, err := unix.Recvfrom(fd, buf[:], unix.MSG_DONTWAIT)
		switch err {
		case nil, unix.ENOBUFS:
			changed = true
		case unix.EINTR:
		default: // EAGAIN
			return changed
		}
	}
}
