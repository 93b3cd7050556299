package rtnl

import (
	"cmp"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// MAC is the link-layer address of an Ethernet interface.
type MAC [6]byte

// Hop is the next hop of a route, on a link of Ethernet frames.
type Hop struct {
	Link     int
	Addr     netip.Addr // the neighbour's
	MTU      int        // of the link, or less if the route says so
	MaxTrain int        // octets of the longest packet that the link takes to be cut
	Src      MAC        // the link's
}

// framed are the kinds of link that carry Ethernet frames as they are. A tunnel
// wraps them, and is left to the routing that it was made for.
var framed = []string{"device", "veth", "vlan", "bond", "team", "macvlan", "bridge", "dummy"}

// NextHop finds the neighbour that packets from local to remote are handed to by
// link. ok is false if there is no single one, or if packets are not just framed
// and sent: by tunnels, VRFs, or routes that encapsulate.
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
	h.Addr = hop.Unmap().WithZone("")
	if r.MTU != 0 {
		h.MTU = min(h.MTU, r.MTU)
	}
	return h, true
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
	h = Hop{Link: link, MTU: a.MTU, MaxTrain: maxMTU, Src: MAC(a.HardwareAddr)}
	for _, size := range []uint32{a.GSOMaxSize, a.GSOIPv4MaxSize} {
		h.MaxTrain = min(h.MaxTrain, int(cmp.Or(size, maxMTU)))
	}
	return h, true
}

// Neighbour is what the kernel knows of one.
type Neighbour struct {
	Link int
	Addr netip.Addr
	MAC  MAC
	// Usable is false while the kernel does not know MAC, or not any more.
	Usable bool
}

// Neighbours lists the usable ones of a link and a family.
func (c *Conn) Neighbours(link int, is6 bool) (map[netip.Addr]MAC, error) {
	family := unix.AF_INET
	if is6 {
		family = unix.AF_INET6
	}
	list, err := retry(func() ([]netlink.Neigh, error) { return c.h.NeighList(link, family) })
	if err != nil {
		return nil, err
	}
	macs := make(map[netip.Addr]MAC)
	for i := range list {
		if n, ok := neighbourOf(&list[i]); ok && n.Usable {
			macs[n.Addr] = n.MAC
		}
	}
	return macs, nil
}

func neighbourOf(n *netlink.Neigh) (Neighbour, bool) {
	a, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return Neighbour{}, false
	}
	const valid = unix.NUD_PERMANENT | unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE
	nb := Neighbour{Link: n.LinkIndex, Addr: a.Unmap()}
	if n.State&valid != 0 && len(n.HardwareAddr) == len(nb.MAC) {
		nb.MAC, nb.Usable = MAC(n.HardwareAddr), true
	}
	return nb, true
}

// DrainNeighbours reads whatever a socket subscribed to NeighbourChanges has, and
// tells f of each. It reports whether some may have been lost.
func DrainNeighbours(fd int, f func(Neighbour)) (lost bool) {
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		switch err {
		case nil:
			lost = !eachNeighbour(buf[:n], f) || lost
		case unix.ENOBUFS:
			lost = true
		case unix.EINTR:
		default: // EAGAIN
			return lost
		}
	}
}

// eachNeighbour reads the messages of one datagram; false if it cannot.
func eachNeighbour(b []byte, f func(Neighbour)) bool {
	msgs, err := syscall.ParseNetlinkMessage(b)
	for i := range msgs {
		m := &msgs[i]
		if m.Header.Type != unix.RTM_NEWNEIGH && m.Header.Type != unix.RTM_DELNEIGH || len(m.Data) < unix.SizeofNdMsg {
			continue
		}
		raw, err := netlink.NeighDeserialize(m.Data)
		if err != nil {
			return false
		}
		if n, ok := neighbourOf(raw); ok {
			n.Usable = n.Usable && m.Header.Type == unix.RTM_NEWNEIGH
			f(n)
		}
	}
	return err == nil
}
