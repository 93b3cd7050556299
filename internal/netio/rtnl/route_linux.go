package rtnl

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Route is how packets leave.
type Route struct {
	Local netip.Addr // source address
	Link  int        // Loopback if the remote address is this host's own
	MTU   int
	// Bits is the length of the entry's prefix and Metric its metric: of two
	// routes the longer prefix is the better one, then the lower metric.
	Bits, Metric int
}

// Better reports whether the tables prefer r to o.
func (r Route) Better(o Route) bool {
	return r.Bits > o.Bits || r.Bits == o.Bits && r.Metric < o.Metric
}

// maxMTU is the largest packet IPv4 can describe; the loopback interface has
// one octet more.
const maxMTU = 65535

// Lookup finds how packets to remote leave: from local if it is valid, by link
// if it is not 0. It returns ENETUNREACH if the tables have no such route.
func (c *Conn) Lookup(remote, local netip.Addr, link int) (Route, error) {
	r, err := c.lookup(remote.Unmap(), local.Unmap(), link)
	if err != nil {
		return Route{}, fmt.Errorf("route to %v: %w", remote, noRoute(err))
	}
	return r, nil
}

func (c *Conn) lookup(remote, local netip.Addr, link int) (Route, error) {
	opt := netlink.RouteGetOptions{OifIndex: link}
	if local.IsValid() {
		if local.Is4() != remote.Is4() {
			return Route{}, unix.ENETUNREACH
		}
		opt.SrcAddr = local.AsSlice()
	}
	if link == Loopback {
		// Addresses of other interfaces are reached through the loopback,
		// but the tables list them with their own interface.
		opt.OifIndex = 0
	}
	// Asked plainly, the kernel says yes to any interface, as if everything
	// were on its wire. Only the entry that matched says what is in the
	// tables; only the plain answer has source and MTU.
	opt.FIBMatch = true
	entry, err := c.get(remote, &opt)
	if err == nil && !leaves(entry, link) && remote.Is6() {
		// Given a source, IPv6 names the first entry even if it leaves
		// elsewhere, though there may be another for this interface. Without
		// a source it is strict, as it is when a bound socket sends.
		opt.SrcAddr = nil
		entry, err = c.get(remote, &opt)
	}
	if err != nil {
		return Route{}, err
	}
	if !leaves(entry, link) {
		return Route{}, unix.ENETUNREACH
	}
	opt.FIBMatch = false
	answer, err := c.get(remote, &opt)
	if err != nil {
		return Route{}, err
	}
	r, err := c.route(answer, local, link)
	r.Metric = entry.Priority
	if entry.Dst != nil {
		r.Bits, _ = entry.Dst.Mask.Size()
	}
	return r, err
}

// route completes what the kernel answered.
func (c *Conn) route(answer *netlink.Route, local netip.Addr, link int) (Route, error) {
	r := Route{Local: local, Link: answer.LinkIndex, MTU: answer.MTU}
	if answer.Type == unix.RTN_LOCAL {
		r.Link = Loopback
	}
	if link != 0 && r.Link != link {
		return Route{}, unix.ENETUNREACH
	}
	if !local.IsValid() {
		src, ok := netip.AddrFromSlice(answer.Src)
		if !ok {
			return Route{}, unix.EADDRNOTAVAIL
		}
		r.Local = src.Unmap()
	}
	l, err := c.h.LinkByIndex(r.Link)
	if err != nil {
		return Route{}, unix.ENETUNREACH // it went between the two questions
	}
	if mtu := l.Attrs().MTU; r.MTU == 0 || r.MTU > mtu {
		r.MTU = mtu
	}
	r.MTU = min(r.MTU, maxMTU)
	return r, nil
}

// get asks one question and wants one unicast or local route.
func (c *Conn) get(remote netip.Addr, opt *netlink.RouteGetOptions) (*netlink.Route, error) {
	routes, err := c.h.RouteGetWithOptions(remote.AsSlice(), opt)
	if err != nil {
		return nil, err
	}
	if len(routes) == 0 {
		return nil, unix.ENETUNREACH
	}
	r := &routes[0]
	if r.Type != unix.RTN_UNICAST && r.Type != unix.RTN_LOCAL {
		return nil, unix.ENETUNREACH // blackhole, unreachable, prohibit, broadcast …
	}
	return r, nil
}

// leaves reports whether an entry of the tables has a next hop by link (any,
// if it is 0). The kernel's IPv6 lookup prefers the interface asked for, and
// falls back to another.
func leaves(r *netlink.Route, link int) bool {
	switch {
	case link == 0:
		return true
	case r.Type == unix.RTN_LOCAL || link == Loopback:
		return r.Type == unix.RTN_LOCAL && link == Loopback
	case r.LinkIndex == link:
		return true
	}
	for _, hop := range r.MultiPath {
		if hop.LinkIndex == link {
			return true
		}
	}
	return false
}

// noRoute folds the many ways of saying no into one.
func noRoute(err error) error {
	for _, no := range []error{
		unix.EHOSTUNREACH, unix.EINVAL, unix.EACCES, unix.ESRCH, unix.ENODEV,
		unix.ENETDOWN, unix.EADDRNOTAVAIL, unix.EAFNOSUPPORT, unix.ENONET,
	} {
		if errors.Is(err, no) {
			return unix.ENETUNREACH
		}
	}
	return err
}
