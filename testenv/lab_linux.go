package testenv

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/vishvananda/netlink"
)

// Lab is two hosts, each a network namespace with the real kernel in it,
// joined by links that a third namespace in the middle emulates, or that are
// nothing but veth pairs (LabConfig.Direct). Everything is
// held by this process alone: when it ends, however it ends, nothing is left.
//
// Methods may be called from any goroutine. Those that change something return
// an error if the kernel refused.
type Lab struct {
	// Client and Server differ in routing only: a packet of the client leaves
	// by the interface of its source address, a packet of the server by the
	// interface whose network it goes to. Each address of one is reached from
	// each interface of the other, and the client's end says which link.
	Client, Server *Host

	cfg    LabConfig
	number int
	middle *namespace
	bridge *bridge
	runs   bool // the bridge's thread was started

	mu     sync.Mutex
	timers []*time.Timer
	events sync.WaitGroup
	closed bool
}

// labCount numbers the labs of this process, for their addresses.
var labCount atomic.Int32

// NewLab builds a lab. It needs root, or a user namespace of one's own
// (ReexecInUserNS).
func NewLab(c LabConfig) (lab *Lab, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	lab = &Lab{cfg: c, number: int(labCount.Add(1)-1)%250 + 1}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("testenv: new lab: %w", err), lab.Close())
			lab = nil
		}
	}()
	if lab.middle, err = newNamespace(); err != nil {
		return lab, err
	}
	if !c.Direct {
		if lab.bridge, err = newBridge(); err != nil {
			return lab, err
		}
	}
	if lab.Client, err = newHost(lab, "client", clientHost); err != nil {
		return lab, err
	}
	if lab.Server, err = newHost(lab, "server", serverHost); err != nil {
		return lab, err
	}
	setCongestion(c.Congestion, lab.Client, lab.Server)
	for i := range c.Links {
		if err := lab.addLink(i); err != nil {
			return lab, fmt.Errorf("link %s: %w", c.Links[i].Name, err)
		}
	}
	if !c.Direct {
		lab.runs = true
		go lab.bridge.run()
	}
	return lab, lab.awaitUp()
}

// awaitUp returns once frames get through between all interfaces.
func (lab *Lab) awaitUp() error {
	var middle []string
	for _, h := range []*Host{lab.Client, lab.Server} {
		if err := h.Do(func() error { return awaitUp(h.Links()) }); err != nil {
			return fmt.Errorf("%s: %w", h.name, err)
		}
		for i := range lab.cfg.Links {
			if !lab.cfg.Direct {
				middle = append(middle, middleName(h, i))
			}
		}
	}
	return lab.middle.do(func() error { return awaitUp(middle) })
}

// check fills in defaults and refuses what cannot be built.
func (c *LabConfig) check() error {
	if c.Congestion == "" {
		c.Congestion = "cubic"
	}
	if len(c.Links) == 0 || len(c.Links) > 250 {
		return fmt.Errorf("testenv: a lab of %d links", len(c.Links))
	}
	if c.Offloads && !c.Direct {
		return errors.New("testenv: offloads need a direct lab")
	}
	seen := map[string]bool{"lo": true}
	for _, l := range c.Links {
		if l.Name == "" || len(l.Name) > 15 || seen[l.Name] {
			return fmt.Errorf("testenv: link name %q is empty, too long or taken", l.Name)
		}
		seen[l.Name] = true
	}
	return nil
}

// direction returns the configuration of one direction of link i.
func (c *LabConfig) direction(i int, d Direction) LinkConfig {
	l := c.Links[i]
	mtu := l.MTU
	if mtu == 0 {
		mtu = 1500
	}
	lc := LinkConfig{
		Rate: l.Rate, Delay: l.RTT / 2, Jitter: l.Jitter, Queue: l.Queue, Loss: l.Loss,
		MTU: mtu, Header: etherHeader, Seed: c.Seed<<16 + uint64(i)<<2 + uint64(d),
	}
	if l.Tune != nil {
		l.Tune(d, &lc)
	}
	return lc
}

// middleName is the middle's interface towards a host, for link i.
func middleName(h *Host, i int) string { return fmt.Sprintf("%s%d", h.name, i) }

// addLink makes the two veth pairs of link i and joins them; or the one pair of a
// direct lab.
func (lab *Lab) addLink(i int) error {
	link := lab.cfg.Links[i]
	if lab.cfg.Direct {
		return lab.addDirect(i)
	}
	for _, h := range []*Host{lab.Client, lab.Server} {
		if err := lab.middle.do(func() error { return h.plug(i, link) }); err != nil {
			return err
		}
		if err := h.configure(i); err != nil {
			return err
		}
	}
	return lab.middle.do(func() error {
		return lab.bridge.join(middleName(lab.Client, i), middleName(lab.Server, i),
			lab.cfg.direction(i, ToServer), lab.cfg.direction(i, ToClient), link.Box)
	})
}

// addDirect makes the veth pair of link i from host to host.
func (lab *Lab) addDirect(i int) error {
	link := lab.cfg.Links[i]
	err := lab.Client.Do(func() error {
		_, err := lab.Server.pair(link.Name, link)
		return err
	})
	if err != nil {
		return err
	}
	return errors.Join(lab.Client.configure(i), lab.Server.configure(i))
}

// pair makes a veth pair: one end in the thread's namespace, under the given name,
// the other in the host's, under the link's.
func (h *Host) pair(name string, link LabLink) (*netlink.Veth, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if attrs.MTU = link.MTU; link.MTU == 0 {
		attrs.MTU = 1500
	}
	pair := &netlink.Veth{
		LinkAttrs: attrs, PeerName: link.Name, PeerMTU: uint32(attrs.MTU),
		PeerNamespace: netlink.NsFd(h.ns.file.Fd()),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return nil, fmt.Errorf("veth: %w", err)
	}
	return pair, nil
}

// plug makes the veth pair of link i: called in the middle.
func (h *Host) plug(i int, link LabLink) error {
	pair, err := h.pair(middleName(h, i), link)
	if err != nil {
		return err
	}
	attrs := pair.Attrs()
	// The middle has no addresses and says nothing of its own.
	if err := writeSysctl("net.ipv6.conf."+attrs.Name+".disable_ipv6", "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := offloadsOff(attrs.Name); err != nil {
		return err
	}
	return netlink.LinkSetUp(pair)
}

// Close ends the events, the hosts' programs and the emulation, and removes
// everything. It is safe to call it twice.
func (lab *Lab) Close() error {
	lab.mu.Lock()
	if lab.closed {
		lab.mu.Unlock()
		return nil
	}
	lab.closed = true
	for _, t := range lab.timers {
		if t.Stop() {
			lab.events.Done()
		}
	}
	lab.mu.Unlock()
	lab.events.Wait()

	var errs []error
	for _, h := range []*Host{lab.Client, lab.Server} {
		if h != nil {
			h.killAll()
		}
	}
	if lab.bridge != nil {
		errs = append(errs, lab.bridge.close(lab.runs))
	}
	if lab.cfg.Direct && lab.Client != nil {
		errs = append(errs, lab.Client.Do(lab.unplug))
	}
	if lab.middle != nil {
		// The namespaces would take the interfaces with them, but in their
		// own time, and not at all while a socket in them stays open.
		errs = append(errs, lab.middle.do(lab.unplug), lab.middle.close())
	}
	for _, h := range []*Host{lab.Client, lab.Server} {
		if h != nil {
			errs = append(errs, h.ns.close())
		}
	}
	return errors.Join(errs...)
}

// unplug removes the veth pairs: called in the middle, or in a direct lab's client.
func (lab *Lab) unplug() error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, l := range links {
		if l.Type() == "veth" {
			err = errors.Join(err, netlink.LinkDel(l))
		}
	}
	return err
}

// Congestion returns the hosts' congestion control, as the kernel has it.
func (lab *Lab) Congestion() string {
	name, _ := lab.Client.ReadSysctl("net.ipv4.tcp_congestion_control")
	return name
}

// At runs f once, d from now, in a goroutine of its own, unless the lab is
// closed before. Close waits for it.
func (lab *Lab) At(d time.Duration, f func()) {
	lab.mu.Lock()
	defer lab.mu.Unlock()
	if lab.closed {
		return
	}
	lab.events.Add(1)
	lab.timers = append(lab.timers, time.AfterFunc(d, func() {
		defer lab.events.Done()
		f()
	}))
}

// Play starts a timeline now.
func (lab *Lab) Play(t Timeline) {
	for _, e := range t {
		lab.At(e.At, e.Do)
	}
}

// index returns a link's number.
func (lab *Lab) index(link string) (int, error) {
	for i, l := range lab.cfg.Links {
		if l.Name == link {
			return i, nil
		}
	}
	return 0, fmt.Errorf("testenv: no link %q", link)
}

// emulated returns the number of a link that the middle carries.
func (lab *Lab) emulated(link string) (int, error) {
	if lab.cfg.Direct {
		return 0, ErrDirect
	}
	return lab.index(link)
}

// ports returns where the directions d of link i start.
func (lab *Lab) ports(i int, d Direction) (ports []*port) {
	if d&ToServer != 0 {
		ports = append(ports, lab.bridge.ports[2*i])
	}
	if d&ToClient != 0 {
		ports = append(ports, lab.bridge.ports[2*i+1])
	}
	return ports
}

// SetSilent makes a link swallow everything but neighbour discovery, without
// either host being told, or ends that.
func (lab *Lab) SetSilent(link string, d Direction, silent bool) error {
	i, err := lab.emulated(link)
	if err != nil {
		return err
	}
	return lab.bridge.change(func(mono.Time) {
		for _, p := range lab.ports(i, d) {
			p.link.SetSilent(silent)
		}
	})
}

// SetLink changes a link's parameters, live.
func (lab *Lab) SetLink(link string, d Direction, change func(*LinkConfig)) error {
	i, err := lab.emulated(link)
	if err != nil {
		return err
	}
	return lab.bridge.change(func(now mono.Time) {
		for _, p := range lab.ports(i, d) {
			p.link.Set(now, change)
		}
	})
}

// Stats returns the counters of one direction of a link.
func (lab *Lab) Stats(link string, d Direction) (s LinkStats) {
	i, err := lab.emulated(link)
	if err != nil {
		return s
	}
	lab.bridge.mu.Lock()
	defer lab.bridge.mu.Unlock()
	for _, p := range lab.ports(i, d&-d) {
		s = p.link.Stats()
	}
	return s
}

// Lost returns how many frames the emulator itself lost, because this machine
// was too slow for it. What was measured while it grew says nothing.
func (lab *Lab) Lost() (n uint64) {
	if lab.cfg.Direct {
		return 0
	}
	lab.bridge.mu.Lock()
	defer lab.bridge.mu.Unlock()
	for _, p := range lab.bridge.ports {
		if lab.bridge.closed {
			n += p.lost
		} else {
			n += p.countLost()
		}
	}
	return n
}

// SetCarrier pulls the cable out of a host's interface, or plugs it in: the
// interface stays up and keeps its addresses and loses its carrier. Frames
// from the other host are lost at the far end of the link.
func (lab *Lab) SetCarrier(h *Host, link string, on bool) error {
	i, err := lab.emulated(link)
	if err != nil {
		return err
	}
	return lab.middle.do(func() error { return setUp(middleName(h, i), on) })
}

// Capture writes all frames that a host sends and receives on a link to a
// file in pcap format, as seen at its end: before the link what it sends,
// after it what it receives. The file is complete after stop, or Close, or the
// next Capture there.
func (lab *Lab) Capture(h *Host, link, file string) (stop func() error, err error) {
	i, err := lab.emulated(link)
	if err != nil {
		return nil, err
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	w := newPcapWriter(f)
	p := lab.bridge.ports[2*i]
	if h == lab.Server {
		p = p.peer
	}
	var before *pcapWriter
	err = lab.bridge.change(func(mono.Time) { before, p.capture = p.capture, w })
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	if before != nil {
		err = before.Close()
	}
	return func() (err error) {
		_ = lab.bridge.change(func(mono.Time) { // once closed, it is complete
			if p.capture == w {
				p.capture = nil
				err = w.Close()
			}
		})
		return err
	}, err
}
