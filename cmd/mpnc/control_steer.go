package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/mpnc/mpnc/internal/control"
	"github.com/mpnc/mpnc/mptcp"
	"github.com/mpnc/mpnc/scheduler"
)

// steer does to a connection of our stack what another process asks for.
func (t *own) steer(ctx context.Context, s control.Steer) error {
	c, err := t.connOf(s.Conn)
	if err != nil {
		return err
	}
	switch s.Do {
	case control.SteerAdd:
		return addPath(ctx, c, s)
	case control.SteerRemove:
		return onPaths(c, s, c.RemovePath)
	case control.SteerBackup, control.SteerNoBackup:
		return onPaths(c, s, func(id scheduler.PathID) error { return c.SetBackup(id, s.Do == control.SteerBackup) })
	case control.SteerLimits:
		l := c.Limits()
		if s.Subflows != nil {
			l.Subflows = *s.Subflows
		}
		if s.Accept != nil {
			l.Peers = *s.Accept
		}
		return c.SetLimits(l)
	}
	return fmt.Errorf("%q cannot be done to a path", s.Do)
}

// connOf returns the connection of a number; for 0 the only one that speaks
// MPTCP, or the only one.
func (t *own) connOf(id uint32) (*mptcp.Conn, error) {
	var all, multi []*mptcp.Conn
	for _, c := range t.stack.Conns() {
		i := c.Info()
		switch {
		case i.ID == id:
			return c, nil
		case i.Multipath:
			multi = append(multi, c)
		}
		all = append(all, c)
	}
	switch {
	case id != 0:
		return nil, fmt.Errorf("it has no connection %d", id)
	case len(all) == 0:
		return nil, errors.New("it has no connection now")
	case len(multi) == 1:
		return multi[0], nil
	case len(all) == 1:
		return all[0], nil
	}
	return nil, fmt.Errorf("it has %d connections: choose one with --conn", len(all))
}

func addPath(ctx context.Context, c *mptcp.Conn, s control.Steer) error {
	remote, err := parseEnd(s.Remote)
	if err != nil {
		return err
	}
	locals, err := localsNamed(c, s.Local)
	if err != nil {
		return err
	}
	for _, a := range locals { // an interface may have addresses of both families
		if remote.IsValid() && remote.Addr().Is4() != a.Is4() {
			err = mptcp.ErrFamily
			continue
		}
		if err = c.AddPath(ctx, a, remote, s.Backup); !errors.Is(err, mptcp.ErrFamily) {
			break
		}
	}
	if errors.Is(err, context.DeadlineExceeded) || err != nil && ctx.Err() != nil {
		err = errors.New("nothing answers yet; it is still being tried")
	}
	return err
}

// localsNamed returns the addresses that a path can start from by a name: an
// address, or an interface's.
func localsNamed(c *mptcp.Conn, name string) (all []netip.Addr, err error) {
	if a, err := netip.ParseAddr(unbracket(name)); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	for _, l := range c.Locals() {
		if l.Name == name {
			all = append(all, l.Addr)
		}
	}
	if len(all) == 0 { // none that leads to the peer's first address, but perhaps to another
		all = addressesOf(name)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%q is neither an address nor an interface that has one", name)
	}
	return all, nil
}

// addressesOf returns an interface's addresses that others can reach.
func addressesOf(name string) (all []netip.Addr) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil
	}
	addrs, err := i.Addrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() {
			all = append(all, p.Addr().Unmap())
		}
	}
	return all
}

// parseEnd reads an address, or an address and a port. Nothing is the zero end.
func parseEnd(s string) (netip.AddrPort, error) {
	if s == "" {
		return netip.AddrPort{}, nil
	}
	if a, err := netip.ParseAddr(unbracket(s)); err == nil {
		return netip.AddrPortFrom(a.Unmap(), 0), nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is not an address, nor an address and a port", s)
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

// onPaths does something to the paths that are meant.
func onPaths(c *mptcp.Conn, s control.Steer, do func(scheduler.PathID) error) error {
	if s.Local == "" && s.ID != nil {
		return do(scheduler.PathID(*s.ID))
	}
	local, err := netip.ParseAddr(unbracket(s.Local))
	found := false
	for _, f := range c.Subflows() {
		same := f.Tuple.Local.Addr() == local.Unmap()
		if err != nil {
			same = interfaceName(f.Link) == s.Local
		}
		if f.Ended || !same {
			continue
		}
		found = true
		if err := do(f.ID); err != nil {
			return fmt.Errorf("path %s: %w", strconv.Itoa(int(f.ID)), err)
		}
	}
	if !found {
		return fmt.Errorf("no path of the connection starts at %q", s.Local)
	}
	return nil
}
