package netmon

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/mpnc/mpnc/internal/netio/nstest"
	"github.com/mpnc/mpnc/pathmgr"
)

// patience bounds waits for what must happen.
const patience = 30 * time.Second

// world is a host with two links to a router, each with a default route, and
// its monitor.
type world struct {
	t       *testing.T
	h, r    *nstest.NS
	monitor Monitor
}

const peer, peer6 = "192.0.2.1", "2001:db8::1"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, h: nstest.New(t), r: nstest.New(t)}
	for _, n := range []string{"1", "2"} {
		nstest.Veth(w.h, "h"+n, w.r, "r"+n)
		w.r.AddAddr("r"+n, "10.0."+n+".2/24")
		w.r.AddAddr("r"+n, "fd00:"+n+"::2/64")
		w.h.AddAddr("h"+n, "10.0."+n+".1/24")
		w.h.AddAddr("h"+n, "fd00:"+n+"::1/64")
		w.defaults(n)
	}
	var err error
	w.h.Do(func() { w.monitor, err = New(t.Logf) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.monitor.Close() })
	return w
}

func (w *world) defaults(n string) {
	w.h.Route("0.0.0.0/0", "10.0."+n+".2", "h"+n)
	w.h.Route("::/0", "fd00:"+n+"::2", "h"+n)
}

// locals writes what Locals says as "name/address", the best with a star.
func (w *world) locals(remote string) (s string) {
	for _, l := range w.monitor.Locals(netip.MustParseAddr(remote)) {
		if s != "" {
			s += " "
		}
		s += l.Name + "/" + l.Addr.String()
		if l.Best {
			s += "*"
		}
		if l.Link != w.h.Link(l.Name) {
			w.t.Errorf("%v: link is not that of %s", l, l.Name)
		}
	}
	return s
}

// want waits until Locals says what it should, asking again only when Changed
// says so.
func (w *world) want(what, remote, want string) {
	w.t.Helper()
	limit := time.After(patience)
	for {
		got := w.locals(remote)
		if got == want {
			return
		}
		select {
		case <-w.monitor.Changed():
		case <-limit:
			w.t.Errorf("%s: towards %s: %q, want %q", what, remote, got, want)
			return
		}
	}
}

const both4, both6 = "h1/10.0.1.1* h2/10.0.2.1", "h1/fd00:1::1* h2/fd00:2::1"

// Every address with a route to the peer counts, and only for its family.
func TestLocalsRoutes(t *testing.T) {
	w := newWorld(t)
	w.want("default routes", peer, both4)
	w.want("default routes", peer6, both6)
	w.want("on the link", "10.0.2.2", "h1/10.0.1.1 h2/10.0.2.1*")
	w.h.DelRoute("0.0.0.0/0", "10.0.1.2", "h1")
	w.want("one route gone", peer, "h2/10.0.2.1*")
	w.want("one route gone, the other family", peer6, both6)
	w.h.Route("192.0.2.0/24", "10.0.1.2", "h1")
	w.want("a better route", peer, both4)
	w.h.DelRoute("192.0.2.0/24", "10.0.1.2", "h1")
	w.h.DelRoute("0.0.0.0/0", "10.0.2.2", "h2")
	w.want("no route", peer, "")
	w.want("no route but on the link", "10.0.1.2", "h1/10.0.1.1*")
}

// Addresses that come and go.
func TestLocalsAddresses(t *testing.T) {
	w := newWorld(t)
	w.want("at first", peer, both4)
	w.h.DelAddr("h1", "10.0.1.1/24")
	w.want("address gone", peer, "h2/10.0.2.1*")
	w.h.AddAddr("h1", "10.0.1.1/24")
	w.h.Route("0.0.0.0/0", "10.0.1.2", "h1")
	w.want("address back", peer, "h1/10.0.1.1* h2/10.0.2.1")
	w.h.DelAddr("h2", "fd00:2::1/64")
	w.want("IPv6 address gone", peer6, "h1/fd00:1::1*")
	w.h.AddAddr("h2", "fd00:2::7/64")
	w.want("another in its place", peer6, "h1/fd00:1::1* h2/fd00:2::7")
}

// Addresses that the host may not, or should not, use.
func TestLocalsUnusable(t *testing.T) {
	w := newWorld(t)
	w.want("link-local addresses are there", peer6, both6)
	w.h.AddAddr("h1", "169.254.3.4/16")
	w.h.AddDeprecated("h1", "fd00:1::99/64")
	w.h.AddAddr("h2", "fd00:2::5/64")
	w.want("deprecated", peer6, "h1/fd00:1::1* h2/fd00:2::1 h2/fd00:2::5")
	w.want("link-local", peer, both4)
	// Detection of duplicates finds one.
	w.r.AddAddr("r1", "fd00:1::66/64")
	w.h.AddTentative("h1", "fd00:1::66/64")
	w.h.AddTentative("h2", "fd00:2::66/64")
	w.want("tentative, then duplicate or usable", peer6,
		"h1/fd00:1::1* h2/fd00:2::1 h2/fd00:2::5 h2/fd00:2::66")
}

// Carrier counts, not only what the administrator wants; an address kept over
// it is back without any event of its own.
func TestLocalsCarrier(t *testing.T) {
	w := newWorld(t)
	w.want("at first", peer, both4)
	w.r.Down("r1")
	w.want("carrier lost", peer, "h2/10.0.2.1*")
	w.r.Up("r1")
	w.want("carrier back", peer, both4)
	w.h.Down("h2")
	w.want("link down", peer, "h1/10.0.1.1*")
	w.h.Up("h2")
	w.h.Route("0.0.0.0/0", "10.0.2.2", "h2") // went with the link
	w.want("link up", peer, both4)
}

// Loopback is for this host only, and then alone.
func TestLocalsOwnAddress(t *testing.T) {
	w := newWorld(t)
	for remote, want := range map[string]string{
		"127.0.0.1":        "lo/127.0.0.1*",
		"127.3.4.5":        "lo/127.0.0.1*",
		"::1":              "lo/::1*",
		"10.0.2.1":         "lo/10.0.2.1*",
		"fd00:1::1":        "lo/fd00:1::1*",
		"::ffff:127.0.0.1": "lo/127.0.0.1*",
	} {
		w.want("own address", remote, want)
	}
	l := w.monitor.Locals(netip.MustParseAddr("10.0.2.1"))
	if len(l) != 1 || l[0].Kind != pathmgr.Loopback {
		t.Errorf("%+v", l)
	}
}

// Bridges and tunnels are told apart from ordinary interfaces.
func TestLocalsKinds(t *testing.T) {
	w := newWorld(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "br-0"
	w.h.Add(&netlink.Bridge{LinkAttrs: attrs})
	nstest.Veth(w.h, "port", w.r, "r3")
	w.h.Enslave("port", "br-0")
	attrs.Name = "vx"
	w.h.Add(&netlink.Vxlan{LinkAttrs: attrs, VxlanId: 7, Port: 4789,
		SrcAddr: netip.MustParseAddr("10.0.1.1").AsSlice(), Group: netip.MustParseAddr("10.0.1.2").AsSlice()})
	for i, name := range []string{"br-0", "vx"} {
		n := string(rune('3' + i))
		w.h.AddAddr(name, "10.0."+n+".1/24")
		w.h.Route("0.0.0.0/0", "10.0."+n+".2", name)
	}
	w.want("all", peer, both4+" br-0/10.0.3.1 vx/10.0.4.1")
	for _, l := range w.monitor.Locals(netip.MustParseAddr(peer)) {
		want := map[string]pathmgr.LinkKind{"br-0": pathmgr.Bridge, "vx": pathmgr.Tunnel}[l.Name]
		if l.Kind != want {
			t.Errorf("%s: kind %v, want %v", l.Name, l.Kind, want)
		}
	}
}

// An idle host tells nothing; Close ends everything.
func TestChangedAndClose(t *testing.T) {
	w := newWorld(t)
	w.want("at first", peer, both4)
	w.h.DelAddr("h1", "10.0.1.1/24")
	select {
	case <-w.monitor.Changed():
	case <-time.After(patience):
		t.Error("told nothing of an address that went")
	}
	for range 2 {
		if err := w.monitor.Close(); err != nil {
			t.Error(err)
		}
	}
	if l := w.monitor.Locals(netip.MustParseAddr(peer)); l != nil {
		t.Errorf("after Close: %v", l)
	}
}

// A storm of changes, more than the kernel queues, ends in the right answer.
func TestStorm(t *testing.T) {
	w := newWorld(t)
	for range 300 {
		w.h.DelAddr("h1", "10.0.1.1/24")
		w.h.AddAddr("h1", "10.0.1.1/24")
	}
	w.h.Route("0.0.0.0/0", "10.0.1.2", "h1")
	w.want("after the storm", peer, both4)
}
