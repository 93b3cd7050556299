package rtnl

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Hop is the next hop of a route, on a link of Ethernet frames.
type Hop struct {
	Link     int
	Kind     string  // of the link, as in Link
	MTU      int     // of the link
	MaxTrain int     // octets of the longest packet that the link takes to be cut
	Dst, Src [6]byte // link-layer addresses, of the hop and of the link
}

// framed are the kinds of link that carry Ethernet frames as they are. A tunnel
// wraps them, and is left to the routing that it was made for.
var framed = []string{"device", "veth", "vlan", "bond", "team", "macvlan", "bridge", "dummy"}

// NextHop finds the neighbour that packets from local to remote are handed to by
// link. ok is false if there is no single one, if its address is not known at
// present, or if packets are not just framed and sent: by tunnels, VRFs, or
// routes that encapsulate.
func (c *Conn) NextHop(remote, local netip.Addr, link int) (h Hop, ok bool) {
	opt := netlink.RouteGetOptions{OifIndex: link, SrcAddr: local.AsSlice(), FIBMatch: true}
	entry, err := c.get(remote, &opt)
	if err != nil || len(entry.MultiPath) > 0 || entry.Encap != nil {
		return h, false
	}
	opt.FIBMatch = false
	r, err := c.get(remote, &opt)
	if err != nil || r.Type != unix.RTN_UNICAST || r.LinkIndex != link || r.Encap != nil || r.Via != nil || r.MPLSDst != nil {
		return h, false
	}
	hop := remote
	if r.Gw != nil {
		if hop, ok = netip.AddrFromSlice(r.Gw); !ok {
			return h, false
		}
	}
	if h, ok = c.framing(link); !ok {
		return h, false
	}
	h.Dst, ok = c.neighbour(hop.Unmap(), link)
	return h, ok
}

// framing tells how frames leave by link.
func (c *Conn) framing(link int) (h Hop, ok bool) {
	l, err := c.h.LinkByIndex(link)
	if err != nil {
		return h, false
	}
	a := l.Attrs()
	if a.EncapType != "ether" || len(a.HardwareAddr) != len(h.Src) || !slices.Contains(framed, l.Type()) {
		return h, false
	}
	if a.MasterIndex != 0 {
		if m, err := c.h.LinkByIndex(a.MasterIndex); err != nil || m.Type() == "vrf" {
			return h, false
		}
	}
	h = Hop{Link: link, Kind: l.Type(), MTU: a.MTU, MaxTrain: maxMTU}
	for _, size := range []uint32{a.GSOMaxSize, a.GSOIPv4MaxSize} {
		h.MaxTrain = min(h.MaxTrain, int(cmp.Or(size, maxMTU)))
	}
	copy(h.Src[:], a.HardwareAddr)
	return h, true
}

// neighbour returns the link-layer address of a neighbour, if the kernel has one
// that it would use.
func (c *Conn) neighbour(a netip.Addr, link int) (mac [6]byte, ok bool) {
	family := unix.AF_INET
	if a.Is6() {
		family = unix.AF_INET6
	}
	list, err := retry(func() ([]netlink.Neigh, error) { return c.h.NeighList(link, family) })
	if err != nil {
		return mac, false
	}
	const valid = unix.NUD_PERMANENT | unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE
	for _, n := range list {
		ip, isIP := netip.AddrFromSlice(n.IP)
		if isIP && ip.Unmap() == a.WithZone("") && n.State&valid != 0 && len(n.HardwareAddr) == len(mac) {
			copy(mac[:], n.HardwareAddr)
			return mac, true
		}
	}
	return mac, false
}
