package netio

import (
	"net/netip"

	"github.com/mpnc/mpnc/internal/netio/rtnl"
)

// host is what the reader has to know of this host to judge what it reads. It
// belongs to the reader.
type host struct {
	links map[int]rtnl.Link
	addrs map[netip.Addr]struct{}
	stale bool // something changed since they were listed
}

func (h *host) refresh(c *rtnl.Conn) error {
	links, err := c.Links()
	if err != nil {
		return err
	}
	addrs, err := c.Addrs()
	if err != nil {
		return err
	}
	h.links = make(map[int]rtnl.Link, len(links))
	for _, l := range links {
		h.links[l.Index] = l
	}
	h.addrs = make(map[netip.Addr]struct{}, len(addrs))
	for _, a := range addrs {
		h.addrs[a.Addr] = struct{}{}
	}
	h.stale = false
	return nil
}

// has reports whether a is an address of this host.
func (h *host) has(a netip.Addr) bool {
	_, ok := h.addrs[a]
	return ok || a.IsLoopback()
}

// verifies reports whether packets that arrive by link have crossed a wire,
// so that their checksums are complete. Between virtual interfaces of one
// machine a packet travels as its sender left it, the checksum still to be
// computed by hardware that it never meets.
func (h *host) verifies(link int) bool {
	for range 8 { // a stack of interfaces deeper than that is none
		l, ok := h.links[link]
		if !ok {
			return false
		}
		switch l.Kind {
		case "device", "bond", "team":
			return link != rtnl.Loopback
		case "vlan":
			link = l.Parent
		default:
			return false
		}
	}
	return false
}
