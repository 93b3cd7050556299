package rtnl

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Xfrm knows the IPsec policies of a namespace. To list them takes
// CAP_NET_ADMIN, which a program may have only when it starts. Its methods may be
// called by any goroutine.
type Xfrm struct {
	h       *netlink.Handle
	changes int // subscription; -1: none, because the kernel has no IPsec

	mu       sync.Mutex
	policies []netlink.XfrmPolicy
	known    bool
}

// xfrmPolicies is the multicast group of changes (XFRMNLGRP_POLICY).
const xfrmPolicies = 4

// OpenXfrm lists the policies of the calling thread's namespace. It does not fail:
// what cannot be known counts as a policy for everything.
func OpenXfrm() *Xfrm {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	x := &Xfrm{changes: -1}
	h, err := netlink.NewHandle(unix.NETLINK_XFRM)
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT):
		_, err := os.Stat("/proc/thread-self/net/pfkey") // the other way to set policies
		x.known = errors.Is(err, os.ErrNotExist)
		return x
	case err != nil:
		return x
	}
	x.h = h
	if x.changes, err = subscribeXfrm(); err == nil {
		x.List()
	}
	return x
}

func subscribeXfrm() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_XFRM)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, xfrmPolicies)
	}
	if err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("bind", err)
	}
	return fd, nil
}

// Changes returns a socket for Drain that is readable when policies have
// changed; -1 if there is none.
func (x *Xfrm) Changes() int { return x.changes }

// List lists the policies anew.
func (x *Xfrm) List() {
	if x.h == nil {
		return
	}
	list, err := retry(func() ([]netlink.XfrmPolicy, error) { return x.h.XfrmPolicyList(netlink.FAMILY_ALL) })
	x.mu.Lock()
	defer x.mu.Unlock()
	x.policies, x.known = list, err == nil
}

// Known reports whether the policies could be listed.
func (x *Xfrm) Known() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.known
}

// Applies reports whether a policy may be for TCP from local to remote, as far
// as addresses tell.
func (x *Xfrm) Applies(local, remote netip.Addr) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.known {
		return true
	}
	for i := range x.policies {
		p := &x.policies[i]
		if p.Dir == netlink.XFRM_DIR_OUT && (p.Proto == 0 || p.Proto == unix.IPPROTO_TCP) &&
			selects(p.Src, local) && selects(p.Dst, remote) {
			return true
		}
	}
	return false
}

// selects reports whether a selector's prefix covers a; none, or that of length 0,
// does.
func selects(p *net.IPNet, a netip.Addr) bool {
	if p == nil {
		return true
	}
	if ones, _ := p.Mask.Size(); ones == 0 {
		return true
	}
	return p.Contains(a.AsSlice())
}

// Close ends it. No other method may run or be called any more.
func (x *Xfrm) Close() {
	if x.h != nil {
		x.h.Close()
	}
	if x.changes >= 0 {
		unix.Close(x.changes)
	}
}
