package mptcp

import (
	"context"
	"net"
	"net/netip"
	"strconv"
)

// family says which addresses a network name admits.
type family struct{ v4, v6 bool }

func familyOf(network string) (family, error) {
	switch network {
	case "tcp":
		return family{true, true}, nil
	case "tcp4":
		return family{v4: true}, nil
	case "tcp6":
		return family{v6: true}, nil
	}
	return family{}, net.UnknownNetworkError(network)
}

func (f family) admits(a netip.Addr) bool { return a.Is4() && f.v4 || a.Is6() && f.v6 }

// remoteAddrs resolves what is to be dialed, in the order to try.
func remoteAddrs(ctx context.Context, r *net.Resolver, network, address string) ([]netip.AddrPort, error) {
	f, err := familyOf(network)
	if err != nil {
		return nil, err
	}
	host, port, err := splitAddress(ctx, r, network, address)
	if err != nil {
		return nil, err
	}
	addrs, err := lookup(ctx, r, network, host)
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, a := range alternate(addrs) {
		if a = a.Unmap(); f.admits(a) {
			out = append(out, netip.AddrPortFrom(thisHost(a), port))
		}
	}
	if len(out) == 0 {
		return nil, &net.AddrError{Err: "no suitable address", Addr: host}
	}
	return out, nil
}

func splitAddress(ctx context.Context, r *net.Resolver, network, address string) (string, uint16, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	if n, err := strconv.ParseUint(service, 10, 16); err == nil {
		return host, uint16(n), nil
	}
	port, err := r.LookupPort(ctx, network, service)
	return host, uint16(port), err
}

func lookup(ctx context.Context, r *net.Resolver, network, host string) ([]netip.Addr, error) {
	if host == "" {
		// As with net.Dial, no host is this one.
		return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	return r.LookupNetIP(ctx, "ip"+network[len("tcp"):], host)
}

// thisHost replaces an unspecified address by loopback, as the host's own TCP
// does for connect.
func thisHost(a netip.Addr) netip.Addr {
	switch a {
	case netip.IPv4Unspecified():
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case netip.IPv6Unspecified():
		return netip.IPv6Loopback()
	}
	return a
}

// alternate takes addresses of the two families in turn, beginning with that
// of the first, and keeps the order within each (RFC 8305, Section 4).
func alternate(addrs []netip.Addr) []netip.Addr {
	var first, second []netip.Addr
	for _, a := range addrs {
		if a.Unmap().Is4() == addrs[0].Unmap().Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	out := make([]netip.Addr, 0, len(addrs))
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			out = append(out, first[i])
		}
		if i < len(second) {
			out = append(out, second[i])
		}
	}
	return out
}

// localAddr resolves what is to be listened at.
func localAddr(ctx context.Context, network, address string) (netip.AddrPort, error) {
	f, err := familyOf(network)
	if err != nil {
		return netip.AddrPort{}, err
	}
	host, port, err := splitAddress(ctx, net.DefaultResolver, network, address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if host == "" {
		any := netip.IPv6Unspecified()
		if !f.v6 {
			any = netip.IPv4Unspecified()
		}
		return netip.AddrPortFrom(any, port), nil
	}
	addrs, err := lookup(ctx, net.DefaultResolver, network, host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for _, a := range addrs {
		if a = a.Unmap(); f.admits(a) {
			return netip.AddrPortFrom(a.WithZone(""), port), nil
		}
	}
	return netip.AddrPort{}, &net.AddrError{Err: "no suitable address", Addr: host}
}

// zoneLink returns the link that an address's zone names, 0 if it has none.
func zoneLink(a netip.Addr) (int, error) {
	zone := a.Zone()
	if zone == "" {
		return 0, nil
	}
	if n, err := strconv.Atoi(zone); err == nil {
		return n, nil
	}
	ifi, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, err
	}
	return ifi.Index, nil
}
