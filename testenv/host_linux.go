package testenv

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Host is one end of a Lab: a network namespace with one interface for each
// link, named after it.
type Host struct {
	lab  *Lab
	name string
	ns   *namespace
	last int // last octet of its addresses

	mu      sync.Mutex
	ifaces  []iface
	running map[*Command]struct{}
}

// iface is what a host is meant to have on a link.
type iface struct {
	name  string
	addrs []netip.Prefix
}

// hostSysctls make hosts quick and repeatable. Missing ones are none of this
// kernel's.
var hostSysctls = [][2]string{
	// Addresses are usable at once, and there are no routers to ask.
	{"net.ipv6.conf.all.accept_dad", "0"},
	{"net.ipv6.conf.default.accept_dad", "0"},
	{"net.ipv6.conf.default.dad_transmits", "0"},
	{"net.ipv6.conf.default.accept_ra", "0"},
	{"net.ipv6.conf.default.router_solicitations", "0"},
	// A link resolves only addresses of its own network.
	{"net.ipv4.conf.all.arp_announce", "2"},
	// Removing an address leaves the others of its network alone.
	{"net.ipv4.conf.default.promote_secondaries", "1"},
	// One connection is not to inherit what an earlier one measured.
	{"net.ipv4.tcp_no_metrics_save", "1"},
	// MPTCP may be tried again at once after a link swallowed its SYNs.
	{"net.mptcp.blackhole_timeout", "0"},
}

func newHost(lab *Lab, name string, last int) (*Host, error) {
	ns, err := newNamespace()
	if err != nil {
		return nil, err
	}
	h := &Host{lab: lab, name: name, ns: ns, last: last, running: make(map[*Command]struct{})}
	filter := fmt.Sprint(lab.cfg.RPFilter)
	settings := append([][2]string{
		{"net.ipv4.conf.all.rp_filter", filter},
		{"net.ipv4.conf.default.rp_filter", filter},
	}, hostSysctls...)
	err = h.Do(func() error {
		for _, s := range settings {
			if err := writeSysctl(s[0], s[1]); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return setUp("lo", true)
	})
	if err == nil {
		err = h.SetMPTCPLimits(8, 8)
	}
	return h, err
}

// Name returns "client" or "server".
func (h *Host) Name() string { return h.name }

// Do runs f in the calling goroutine, on a locked thread inside the host's
// namespace: the sockets that f itself opens are the host's. Goroutines that f
// starts are not in the namespace; what they do with such sockets is fine.
// net.Dial is safe for addresses; a host name may make it start goroutines.
func (h *Host) Do(f func() error) error { return h.ns.do(f) }

// Sysctl sets a parameter, named with dots, in the host.
func (h *Host) Sysctl(key, value string) error {
	return h.Do(func() error { return writeSysctl(key, value) })
}

// ReadSysctl returns a parameter of the host.
func (h *Host) ReadSysctl(key string) (value string, err error) {
	err = h.Do(func() error {
		b, err := os.ReadFile(sysctlPath(key))
		value = strings.TrimSpace(string(b))
		return err
	})
	return value, err
}

func sysctlPath(key string) string {
	return "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
}

func writeSysctl(key, value string) error {
	return os.WriteFile(sysctlPath(key), []byte(value), 0)
}

// Links returns the names of the host's interfaces, in the lab's order.
func (h *Host) Links() (names []string) {
	for _, l := range h.lab.cfg.Links {
		names = append(names, l.Name)
	}
	return names
}

// Addr returns the address that the host was given on a link, of family 4 or
// 6, whatever happened to it since.
func (h *Host) Addr(link string, family int) netip.Addr {
	i, err := h.lab.index(link)
	switch {
	case err != nil:
		return netip.Addr{}
	case family == 6:
		return labPrefix6(h.lab.number, i, h.last).Addr()
	default:
		return labPrefix4(h.lab.number, i, h.last).Addr()
	}
}

// other returns the host at the far end.
func (h *Host) other() *Host {
	if h == h.lab.Client {
		return h.lab.Server
	}
	return h.lab.Client
}

// configure makes the host's end of link i usable.
func (h *Host) configure(i int) error {
	name := h.lab.cfg.Links[i].Name
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ifaces = append(h.ifaces, iface{name, []netip.Prefix{
		labPrefix4(h.lab.number, i, h.last), labPrefix6(h.lab.number, i, h.last),
	}})
	return h.Do(func() error {
		if !h.lab.cfg.Offloads {
			if err := offloadsOff(name); err != nil {
				return err
			}
		}
		if err := setUp(name, true); err != nil {
			return err
		}
		return h.restore(i)
	})
}

// awaitUp returns once the interfaces of the thread's namespace have their
// carrier: until then the kernel drops what is sent.
func awaitUp(names []string) error {
	for _, name := range names {
		deadline := time.Now().Add(30 * time.Second)
		for {
			link, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			if link.Attrs().OperState == netlink.OperUp {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%s is still %v", name, link.Attrs().OperState)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// restore brings addresses, routes and rules of link i to what they are meant
// to be: the kernel forgets some of them with each change. Called inside the
// namespace with the lock held.
func (h *Host) restore(i int) error {
	f := h.ifaces[i]
	link, err := netlink.LinkByName(f.name)
	if err != nil {
		return err
	}
	for _, a := range f.addrs {
		addr := &netlink.Addr{IPNet: ipNet(a)}
		if a.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(link, addr); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("address %v: %w", a, err)
		}
		if err := h.addRule(i, a); err != nil {
			return err
		}
	}
	if link.Attrs().RawFlags&unix.IFF_UP == 0 {
		return nil // routes want it up; SetUp comes back
	}
	gateways := []netip.Addr{
		labPrefix4(h.lab.number, i, clientHost+serverHost-h.last).Addr(),
		labPrefix6(h.lab.number, i, clientHost+serverHost-h.last).Addr(),
	}
	for _, g := range gateways {
		if !f.has(g.Is6()) {
			continue
		}
		// In the main table, where who asks for the interface finds it; and in
		// a table of its own for its source addresses.
		for _, r := range []netlink.Route{{Priority: 100 + i}, {Table: h.table(i)}} {
			r.LinkIndex, r.Gw, r.Flags = link.Attrs().Index, g.AsSlice(), unix.RTNH_F_ONLINK
			r.Dst = ipNet(anywhere(g))
			if err := netlink.RouteReplace(&r); err != nil {
				return fmt.Errorf("route via %v: %w", g, err)
			}
		}
	}
	return nil
}

func (f iface) has(is6 bool) bool {
	for _, a := range f.addrs {
		if a.Addr().Is6() == is6 {
			return true
		}
	}
	return false
}

// table is the routing table of link i's source addresses.
func (h *Host) table(i int) int { return 1000 + i }

// addRule makes packets from a leave by link i, at the client.
func (h *Host) addRule(i int, a netip.Prefix) error {
	if h.last != clientHost || h.lab.cfg.NoSourceRules {
		return nil
	}
	rule := netlink.NewRule()
	rule.Family = unix.AF_INET
	if a.Addr().Is6() {
		rule.Family = unix.AF_INET6
	}
	rule.Priority, rule.Table = 1000+i, h.table(i)
	rule.Src = ipNet(netip.PrefixFrom(a.Addr(), a.Addr().BitLen()))
	if err := netlink.RuleAdd(rule); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("rule from %v: %w", a, err)
	}
	return nil
}

// SetUp sets an interface up or down. Down, it loses its routes and IPv6
// addresses; up again, they are put back, as a network manager would.
func (h *Host) SetUp(link string, up bool) error {
	i, err := h.lab.index(link)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.Do(func() error {
		if err := setUp(link, up); err != nil || !up {
			return err
		}
		return h.restore(i)
	})
}

// AddAddr gives the host another address on a link, the routes to use it, and
// the other host one back to it if its network is not the link's own.
func (h *Host) AddAddr(link string, a netip.Prefix) error {
	i, err := h.lab.index(link)
	if err != nil {
		return err
	}
	if err = h.append(i, a); err != nil || h.lab.owns(i, a) {
		return err
	}
	return h.other().Do(func() error {
		dev, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		return netlink.RouteReplace(&netlink.Route{
			LinkIndex: dev.Attrs().Index, Dst: ipNet(a.Masked()), Scope: netlink.SCOPE_LINK,
		})
	})
}

// owns says whether an address is of link i's own networks.
func (lab *Lab) owns(i int, a netip.Prefix) bool {
	return labPrefix4(lab.number, i, 1).Masked().Contains(a.Addr()) ||
		labPrefix6(lab.number, i, 1).Masked().Contains(a.Addr())
}

// append adds to the addresses that link i is meant to have.
func (h *Host) append(i int, a netip.Prefix) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.ifaces[i].addrs
	h.ifaces[i].addrs = append(before[:len(before):len(before)], a)
	err := h.Do(func() error { return h.restore(i) })
	if err != nil {
		h.ifaces[i].addrs = before
	}
	return err
}

// RemoveAddr takes an address from the host.
func (h *Host) RemoveAddr(link string, a netip.Addr) error {
	i, err := h.lab.index(link)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	f := &h.ifaces[i]
	for j, p := range f.addrs {
		if p.Addr() != a {
			continue
		}
		f.addrs = append(f.addrs[:j:j], f.addrs[j+1:]...)
		return h.Do(func() error {
			dev, err := netlink.LinkByName(link)
			if err != nil {
				return err
			}
			err = netlink.AddrDel(dev, &netlink.Addr{IPNet: ipNet(p)})
			if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) { // a link that is down has no IPv6
				return fmt.Errorf("removing %v: %w", a, err)
			}
			return h.restore(i) // routes went with it
		})
	}
	return fmt.Errorf("testenv: %s has no address %v on %s", h.name, a, link)
}

// ChangeAddr replaces an address by another, as a DHCP server may do: the old
// one goes first.
func (h *Host) ChangeAddr(link string, old netip.Addr, to netip.Prefix) error {
	if err := h.RemoveAddr(link, old); err != nil {
		return err
	}
	return h.AddAddr(link, to)
}

// Counters returns the host's counters under the names that nstat(8) uses:
// MPTcpExtMPJoinSynRx, TcpRetransSegs, Ip6InReceives.
func (h *Host) Counters() (map[string]int64, error) {
	all := make(map[string]int64)
	err := h.Do(func() error {
		for _, name := range []string{"snmp", "netstat", "snmp6"} {
			b, err := os.ReadFile("/proc/thread-self/net/" + name)
			if errors.Is(err, os.ErrNotExist) {
				continue // a kernel without IPv6
			}
			if err != nil {
				return err
			}
			parseCounters(b, all)
		}
		return nil
	})
	return all, err
}

// CountersSince returns how much each counter has grown, those only that have.
func (h *Host) CountersSince(before map[string]int64) (map[string]int64, error) {
	now, err := h.Counters()
	for k, v := range now {
		if now[k] = v - before[k]; now[k] == 0 {
			delete(now, k)
		}
	}
	return now, err
}

// parseCounters reads both forms: "Prefix: names" over "Prefix: values", and
// "name value".
func parseCounters(b []byte, into map[string]int64) {
	var names []string
	for line := range bytes.Lines(b) {
		fields := strings.Fields(string(line))
		if len(fields) == 0 {
			continue
		}
		prefix, table := strings.CutSuffix(fields[0], ":")
		switch {
		case !table && len(fields) == 2:
			setCounter(into, fields[0], fields[1])
		case names == nil || names[0] != fields[0] || len(names) != len(fields):
			names = fields
		default:
			for i, v := range fields[1:] {
				setCounter(into, prefix+names[i+1], v)
			}
			names = nil
		}
	}
}

func setCounter(into map[string]int64, name, value string) {
	var v int64
	if _, err := fmt.Sscan(value, &v); err == nil {
		into[name] = v
	}
}

// setUp sets an interface of the thread's namespace up or down.
func setUp(name string, up bool) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if up {
		return netlink.LinkSetUp(link)
	}
	return netlink.LinkSetDown(link)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// anywhere is the default route's destination in a's family.
func anywhere(a netip.Addr) netip.Prefix {
	if a.Is6() {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}
