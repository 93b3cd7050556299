package netio

import (
	"errors"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mpnc/mpnc/internal/netio/nstest"
	"github.com/mpnc/mpnc/internal/netio/rtnl"
	"github.com/mpnc/mpnc/internal/wire"
)

// Each link sends with its own address and arrives once, by its own link, with
// what the IP header said.
func TestSendByLink(t *testing.T) {
	p := newPair(t)
	a, b := open(t, p.a), open(t, p.b)
	b.bind("[::]:80", true)
	for _, c := range []struct{ link, from, to, arrives string }{
		{"a1", "10.0.1.1:1", "10.0.1.2:80", "b1"},
		{"a2", "10.0.2.1:1", "10.0.2.2:80", "b2"},
		{"a1", "[fd00:1::1]:1", "[fd00:1::2]:80", "b1"},
		{"a2", "[fd00:2::1]:1", "[fd00:2::2]:80", "b2"},
		{"", "10.0.2.1:1", "10.0.2.2:80", "b2"},
		{"", "[fd00:2::1]:1", "[fd00:2::2]:80", "b2"},
	} {
		seg := segment(c.from, c.to, wire.ACK, []byte("data"))
		seg.ECN, seg.TTL = 2, 33
		a.send(c.link, seg)
		r := b.expect()
		if r.seg.Remote != seg.Local || r.seg.Local != seg.Remote || string(r.seg.Payload) != "data" {
			t.Errorf("%+v: received %v", c, &r.seg)
		}
		if r.seg.ECN != 2 || r.seg.TTL != 33 {
			t.Errorf("%+v: ECN %d, TTL %d", c, r.seg.ECN, r.seg.TTL)
		}
		if want := p.b.Link(c.arrives); r.pkt.Link != want {
			t.Errorf("%+v: by link %d, want %d", c, r.pkt.Link, want)
		}
		if r.pkt.At == 0 {
			t.Error("no time of arrival")
		}
	}
	if s := a.Stats(); s.Tx != 6 || s.TxErrors != 0 {
		t.Errorf("%+v", s)
	}
	if s := b.Stats(); s.Rx != 6 {
		t.Errorf("%+v", s)
	}
}

// With two default routes each path leaves by its own link, with no rules.
func TestSendByDefaultRoutes(t *testing.T) {
	p := newPair(t)
	a, b := open(t, p.a), open(t, p.b)
	for _, n := range []string{"1", "2"} {
		p.a.Route("0.0.0.0/0", "10.0."+n+".2", "a"+n)
		p.a.Route("::/0", "fd00:"+n+"::2", "a"+n)
		p.b.Sysctl("net/ipv4/conf/b"+n+"/rp_filter", "0")
	}
	p.b.AddAddr("lo", "192.0.2.1/32")
	p.b.AddAddr("lo", "2001:db8::1/128")
	b.bind("[::]:80", true)
	for _, to := range []string{"192.0.2.1:80", "[2001:db8::1]:80"} {
		for _, n := range []string{"2", "1"} {
			from := "10.0." + n + ".1:1"
			if to[0] == '[' {
				from = "[fd00:" + n + "::1]:1"
			}
			a.send("a"+n, segment(from, to, wire.ACK, nil))
			if r := b.expect(); r.pkt.Link != p.b.Link("b"+n) {
				t.Errorf("%s to %s: arrived by link %d", from, to, r.pkt.Link)
			}
			got, err := a.Route(netip.MustParseAddrPort(to).Addr(), netip.MustParseAddrPort(from).Addr(), p.a.Link("a"+n))
			want := Route{Local: netip.MustParseAddrPort(from).Addr(), Link: p.a.Link("a" + n), MTU: 1500}
			if got != want || err != nil {
				t.Errorf("route %+v, %v; want %+v", got, err, want)
			}
		}
	}
}

// What cannot be sent is counted, and does not stop what can.
func TestSendFailures(t *testing.T) {
	p := newPair(t)
	a, b := open(t, p.a), open(t, p.b)
	b.bind("[::]:80", true)
	out := wire.NewBatch(1 << 20)
	for _, s := range []*wire.Segment{
		segment("[fd00:1::98]:1", "[fd00:1::2]:80", wire.ACK, nil),    // not our address
		segment("[fd00:2::1]:1", "[fd00:2::2]:80", wire.ACK, nil),     // no route by a1
		segment("10.0.1.1:1", "10.0.1.2:80", wire.ACK, nil),           // good
		segment("10.0.1.1:1", "10.0.1.2:80", wire.ACK, big(1500)),     // above the MTU
		segment("[fd00:1::1]:1", "[fd00:1::2]:80", wire.ACK, nil),     // good
		segment("[fd00:1::99]:1", "[fd00:1::2]:80", wire.ACK, nil),    // not our address
		segment("[fd00:1::1]:1", "[fd00:1::2]:80", wire.ACK, big(10)), // good
	} {
		wire.AppendSegment(out, s, 0)
	}
	if err := a.Write(p.a.Link("a1"), out); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if r := b.expect(); r.pkt.Link != p.b.Link("b1") {
			t.Errorf("by link %d: %v", r.pkt.Link, &r.seg)
		}
	}
	if s := a.Stats(); s.Tx != 3 || s.TxErrors != 4 {
		t.Errorf("%+v", s)
	}
	if err := a.Write(12345, out); err != nil { // no such link
		t.Fatal(err)
	}
	if s := a.Stats(); s.Tx != 3 || s.TxErrors != 11 {
		t.Errorf("%+v", s)
	}
}

func big(n int) []byte { return make([]byte, n) }

// A train without a lane is cut.
func TestSendTrain(t *testing.T) {
	p := newPair(t)
	a, b := open(t, p.a), open(t, p.b)
	b.bind("10.0.1.2:80", true)
	out := wire.NewBatch(70000)
	wire.AppendSegment(out, segment("10.0.1.1:1", "10.0.1.2:80", wire.ACK, big(5000)), 1400)
	if err := a.Write(p.a.Link("a1"), out); err != nil {
		t.Fatal(err)
	}
	total := 0
	for total < 5000 {
		total += len(b.expect().seg.Payload)
	}
	if s := a.Stats(); total != 5000 || s.Tx != 4 {
		t.Errorf("%d octets, %+v", total, s)
	}
}

// A link whose queue is full loses packets and does not stop another.
func TestFullLink(t *testing.T) {
	p := newPair(t)
	a, b := open(t, p.a), open(t, p.b)
	p.a.SlowDown("a1", 10_000)
	b.bind("0.0.0.0:80", true)
	out := wire.NewBatch(1 << 20)
	for range 64 {
		wire.AppendSegment(out, segment("10.0.1.1:1", "10.0.1.2:80", wire.ACK, big(1400)), 0)
	}
	for i := 0; a.Stats().TxFull == 0; i++ {
		if i > 1000 {
			t.Fatalf("64000 packets fit into a link of 10 kB/s: %+v", a.Stats())
		}
		if err := a.Write(p.a.Link("a1"), out); err != nil {
			t.Fatal(err)
		}
	}
	a.send("a2", segment("10.0.2.1:1", "10.0.2.2:80", wire.URG, nil))
	for !b.expect().seg.Flags.Has(wire.URG) {
	}
}

// A firewall's refusal is counted, and told once.
func TestFirewallDenies(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil {
		if os.Getenv("MPNC_REQUIRE_NETNS") != "" {
			t.Fatal(err)
		}
		t.Skip("needs nft to have a firewall")
	}
	p := newPair(t)
	a := open(t, p.a)
	p.a.Do(func() {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(`table inet t {
			chain out { type filter hook output priority 0; tcp dport 81 drop; }
		}`)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("nft: %v: %s", err, out)
		}
	})
	for range 3 {
		a.send("a1", segment("10.0.1.1:1", "10.0.1.2:81", wire.ACK, nil))
		a.send("a1", segment("10.0.1.1:1", "10.0.1.2:80", wire.ACK, nil))
	}
	if s := a.Stats(); s.TxDenied != 3 || s.Tx != 3 {
		t.Errorf("%+v", s)
	}
	if len(a.logs) != 1 || !strings.Contains(<-a.logs, "firewall") {
		t.Error("not told once")
	}
}

// Within one host everything goes by the loopback, whichever address it has,
// and checksums that hardware was to complete are right.
func TestLoopback(t *testing.T) {
	p := newPair(t)
	s := open(t, p.b)
	s.bind("[::]:80", true)
	for _, host := range []string{"127.0.0.1", "[::1]", "10.0.1.2", "[fd00:2::2]"} {
		syn(t, p.b, host+":80") // by the kernel
		if r := s.expect(); r.pkt.Link != rtnl.Loopback || r.pkt.Csum != wire.CsumEither {
			t.Errorf("%s: %+v", host, r.pkt)
		}
		for len(s.rx) > 0 { // retransmitted SYNs
			<-s.rx
		}
		s.send("lo", segment(host+":99", host+":80", wire.URG, nil)) // by us
		r := s.expect()
		for !r.seg.Flags.Has(wire.URG) {
			r = s.expect()
		}
		if r.pkt.Link != rtnl.Loopback {
			t.Errorf("%s: %+v", host, r.pkt)
		}
	}
}

// Segments that were merged arrive as one packet that parses, over the wire of
// a local peer and over the loopback.
func TestMergedSegments(t *testing.T) {
	p := newPair(t)
	s := open(t, p.b)
	s.bind("[::]:80", true)
	for _, c := range []struct {
		from *nstest.NS
		host string
		link string
	}{
		{p.a, "10.0.1.2", "b1"}, {p.a, "[fd00:1::2]", "b1"}, {p.b, "127.0.0.1", "lo"}, {p.b, "[fd00:1::2]", "lo"},
	} {
		type dialed struct {
			write func([]byte) (int, error)
			close func() error
			err   error
		}
		ready := make(chan dialed, 1)
		go func() {
			k, err := dial(c.from, c.host+":80", patience)
			if err != nil {
				ready <- dialed{err: err}
				return
			}
			ready <- dialed{k.Write, k.Close, nil}
		}()
		syn := s.expect().seg
		for !syn.Flags.Has(wire.SYN) { // left over from the connection before
			syn = s.expect().seg
		}
		answer := &wire.Segment{
			Tuple: syn.Tuple, Seq: 5000, Ack: syn.Seq.Add(1), Flags: wire.SYN | wire.ACK, Window: 60000,
		}
		answer.Opt.MSS = 1400
		s.send(c.link, answer)
		d := <-ready
		if d.err != nil {
			t.Fatalf("%s: %v", c.host, d.err)
		}
		if _, err := d.write(big(50000)); err != nil {
			t.Fatal(err)
		}
		for {
			r := s.expect()
			if n := len(r.seg.Payload); n > 1500 {
				if r.pkt.Csum != wire.CsumEither || r.pkt.Link != p.b.Link(c.link) {
					t.Errorf("%s: %+v", c.host, r.pkt)
				}
				break
			}
		}
		answer.Flags, answer.Seq = wire.RST, 5001
		s.send(c.link, answer)
		d.close()
	}
}

// A wrong checksum is found out wherever a whole one is due, and merged data
// of any size may have the bare one.
func TestChecksumRule(t *testing.T) {
	r := &Raw{host: host{links: map[int]rtnl.Link{
		1: {Kind: "device"}, 2: {Kind: "device"}, 3: {Kind: "veth"}, 4: {Kind: "vlan", Parent: 2},
		5: {Kind: "vlan", Parent: 3}, 6: {Kind: "bond"}, 7: {Kind: "bridge"}, 8: {Kind: "vlan"},
		9: {Kind: "vlan", Parent: 9},
	}}}
	for _, c := range []struct {
		link, payload int
		want          wire.Csum
	}{
		{1, 0, wire.CsumEither}, {2, 0, wire.CsumFull}, {2, 1, wire.CsumFull}, {2, 2, wire.CsumEither},
		{2, 3000, wire.CsumEither}, {3, 0, wire.CsumEither}, {4, 0, wire.CsumFull}, {5, 0, wire.CsumEither},
		{6, 0, wire.CsumFull}, {7, 0, wire.CsumEither}, {8, 0, wire.CsumEither}, {9, 0, wire.CsumEither},
		{99, 0, wire.CsumEither},
	} {
		if got := r.checksumOf(c.link, &view{payload: c.payload}); got != c.want {
			t.Errorf("link %d, %d octets: %v", c.link, c.payload, got)
		}
	}
}

// Routes exist only where the tables have them.
func TestRoute(t *testing.T) {
	p := newPair(t)
	s := open(t, p.a)
	a1, a2 := p.a.Link("a1"), p.a.Link("a2")
	p.a.SetMTU("a2", 1400)
	p.a.Route("192.0.2.0/24", "10.0.1.2", "a1")
	p.a.Route("2001:db8::/32", "fd00:1::2", "a1")
	ip := netip.MustParseAddr
	for _, c := range []struct {
		remote, local string
		link          int
		want          Route // zero: none
	}{
		{"10.0.1.2", "", 0, Route{ip("10.0.1.1"), a1, 1500}},
		{"10.0.2.2", "", 0, Route{ip("10.0.2.1"), a2, 1400}},
		{"fd00:2::2", "", 0, Route{ip("fd00:2::1"), a2, 1400}},
		{"192.0.2.1", "", 0, Route{ip("10.0.1.1"), a1, 1500}},
		{"2001:db8::1", "", 0, Route{ip("fd00:1::1"), a1, 1500}},
		{"192.0.2.1", "10.0.1.1", a1, Route{ip("10.0.1.1"), a1, 1500}},
		{"192.0.2.1", "10.0.2.1", a1, Route{ip("10.0.2.1"), a1, 1500}},
		{"192.0.2.1", "", a2, Route{}},
		{"192.0.2.1", "10.0.2.1", a2, Route{}},
		{"2001:db8::1", "", a2, Route{}},
		{"2001:db8::1", "fd00:2::1", a2, Route{}},
		{"2001:db8::1", "fd00:1::1", a1, Route{ip("fd00:1::1"), a1, 1500}},
		{"10.0.1.2", "10.0.1.77", 0, Route{}},
		{"203.0.113.1", "", 0, Route{}},
		{"203.0.113.1", "", a1, Route{}},
		{"2001:db9::1", "", a1, Route{}},
		{"10.0.1.2", "fd00:1::1", 0, Route{}},
		{"10.0.1.2", "", 12345, Route{}},
		{"10.0.1.255", "", 0, Route{}}, // broadcast
		{"127.0.0.1", "", 0, Route{ip("127.0.0.1"), rtnl.Loopback, 65535}},
		{"::1", "", 0, Route{ip("::1"), rtnl.Loopback, 65535}},
		{"10.0.1.1", "", 0, Route{ip("10.0.1.1"), rtnl.Loopback, 65535}},
		{"fd00:1::1", "", 0, Route{ip("fd00:1::1"), rtnl.Loopback, 65535}},
		{"10.0.1.1", "", rtnl.Loopback, Route{ip("10.0.1.1"), rtnl.Loopback, 65535}},
		{"10.0.1.1", "10.0.2.1", rtnl.Loopback, Route{ip("10.0.2.1"), rtnl.Loopback, 65535}},
		{"fd00:1::1", "fd00:1::1", rtnl.Loopback, Route{ip("fd00:1::1"), rtnl.Loopback, 65535}},
		{"10.0.1.1", "", a1, Route{}},
		{"10.0.1.2", "", rtnl.Loopback, Route{}},
		{"fd00:1::2", "", rtnl.Loopback, Route{}},
		{"::ffff:10.0.1.2", "", 0, Route{ip("10.0.1.1"), a1, 1500}},
	} {
		var local netip.Addr
		if c.local != "" {
			local = ip(c.local)
		}
		got, err := s.Route(ip(c.remote), local, c.link)
		if got != c.want || (c.want == Route{}) != errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("%s from %q by %d: %+v, %v; want %+v", c.remote, c.local, c.link, got, err, c.want)
		}
	}
}

// ICMP errors about what we sent arrive, and the host's own idea of the path
// stays as it is, forged errors included.
func TestICMP(t *testing.T) {
	p := newPair(t)
	// a is a router for b, with a narrow link and a wall behind it.
	p.a.Sysctl("net/ipv4/ip_forward", "1")
	p.a.Sysctl("net/ipv6/conf/all/forwarding", "1")
	p.a.SetMTU("a2", 1300)
	p.a.Route("203.0.113.0/24", "", "a2")
	p.a.Route("2001:db8:1::/48", "", "a2")
	p.b.Route("0.0.0.0/0", "10.0.1.1", "b1")
	p.b.Route("::/0", "fd00:1::1", "b1")
	s := open(t, p.b)
	s.bind("0.0.0.0:80", true)
	s.bind("[fd00:1::2]:80", true)
	for _, c := range []struct {
		from, to string
		size     int
		want     wire.ICMPKind
		mtu      int
	}{
		{"10.0.1.2:80", "203.0.113.1:443", 1400, wire.ICMPTooBig, 1300},
		{"[fd00:1::2]:80", "[2001:db8:1::1]:443", 1400, wire.ICMPTooBig, 1300},
		{"10.0.1.2:80", "198.51.100.1:443", 10, wire.ICMPNetwork, 0},
		{"[fd00:1::2]:80", "[2001:db8:2::1]:443", 10, wire.ICMPNetwork, 0},
	} {
		s.send("b1", segment("10.0.1.2:81", "203.0.113.1:443", wire.ACK, big(1400))) // not held
		s.send("b1", segment(c.from, c.to, wire.ACK, big(c.size)))
		r := <-s.rx
		var e wire.ICMPError
		if !wire.ParseICMP(r.raw, &e) {
			t.Fatalf("%s: not understood: %x", c.to, r.raw)
		}
		tuple := wire.Tuple{Local: netip.MustParseAddrPort(c.from), Remote: netip.MustParseAddrPort(c.to)}
		if e.Tuple != tuple || e.Kind != c.want || c.mtu != 0 && e.MTU != c.mtu || e.Seq != 1000 {
			t.Errorf("%s: %+v", c.to, e)
		}
		if r.pkt.Link != p.b.Link("b1") {
			t.Errorf("%s: by link %d", c.to, r.pkt.Link)
		}
		if rt, err := s.Route(tuple.Remote.Addr(), netip.Addr{}, 0); err != nil || rt.MTU != 1500 {
			t.Errorf("%s: the host's route is now %+v, %v", c.to, rt, err)
		}
	}
}

// An interface that goes takes its sockets along; one that comes works, with
// an address that came and went and came.
func TestInterfacesChange(t *testing.T) {
	p := newPair(t)
	a, b := open(t, p.a), open(t, p.b)
	b.bind("0.0.0.0:80", true)
	g := a.bind("10.0.1.1:1", false)
	a.send("a1", segment("10.0.1.1:1", "10.0.1.2:80", wire.ACK, nil))
	b.expect()
	p.a.DelAddr("a1", "10.0.1.1/24")
	p.a.AddAddr("a1", "10.0.1.1/24")
	a.send("a1", segment("10.0.1.1:1", "10.0.1.2:80", wire.ACK, nil))
	b.expect()
	b.send("b1", segment("10.0.1.2:80", "10.0.1.1:1", wire.ACK, nil))
	a.expect() // the guard outlived it
	g.Close()

	old := p.a.Link("a1")
	p.a.Delete("a1")
	nstest.Veth(p.a, "new", p.b, "b1")
	p.a.AddAddr("new", "10.0.1.1/24")
	p.b.AddAddr("b1", "10.0.1.2/24")
	a.send("new", segment("10.0.1.1:1", "10.0.1.2:80", wire.URG, nil))
	if r := b.expect(); r.pkt.Link != p.b.Link("b1") {
		t.Errorf("%+v", r.pkt)
	}
	errors := a.Stats().TxErrors
	out := wire.NewBatch(100)
	wire.AppendSegment(out, segment("10.0.1.1:1", "10.0.1.2:80", wire.ACK, nil), 0)
	if err := a.Write(old, out); err != nil || a.Stats().TxErrors != errors+1 {
		t.Errorf("by a link that is gone: %v, %+v", err, a.Stats())
	}
}

// What the reader is too slow for is counted as lost in this host.
func TestLostHere(t *testing.T) {
	p := newPair(t)
	a, b := open(t, p.a), openDeaf(t, p.b)
	b.bind("10.0.1.2:80", true)
	if err := unix.SetsockoptInt(b.Raw.rx[0].fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
		t.Fatal(err)
	}
	const n = 200
	for range n {
		a.send("a1", segment("10.0.1.1:1", "10.0.1.2:80", wire.ACK, big(1000)))
	}
	in := wire.NewBatch(128 << 10)
	if err := b.Read(in); err != nil {
		t.Fatal(err)
	}
	if s := b.Stats(); s.RxLost == 0 || s.RxLost+s.Rx != n {
		t.Errorf("%+v", s)
	}
}

// A batch without room leaves packets for the next one.
func TestRawSmallSlab(t *testing.T) {
	p := newPair(t)
	a, b := open(t, p.a), openDeaf(t, p.b)
	b.bind("10.0.1.2:80", true)
	for i := range 10 {
		a.send("a1", segment("10.0.1.1:1", "10.0.1.2:80", wire.ACK, big(1000+i)))
	}
	small := wire.NewBatch(2200)
	for next := 1000; next < 1010; {
		if err := b.Read(small); err != nil {
			t.Fatal(err)
		}
		for i, p := range small.Pkts {
			var s wire.Segment
			if d := wire.Parse(small.Bytes(i), &s, p.Csum); d != wire.None || len(s.Payload) != next {
				t.Fatalf("%v, %d octets, want %d", d, len(s.Payload), next)
			}
			next++
		}
	}
}

// In steady state no packet allocates, in or out.
func TestRawAllocatesNothing(t *testing.T) {
	p := newPair(t)
	a, b := openDeaf(t, p.a), openDeaf(t, p.b)
	b.bind("[::]:80", true)
	out, in := wire.NewBatch(128<<10), wire.NewBatch(128<<10)
	for range 8 {
		wire.AppendSegment(out, segment("10.0.1.1:1", "10.0.1.2:80", wire.ACK, big(1000)), 0)
		wire.AppendSegment(out, segment("[fd00:1::1]:1", "[fd00:1::2]:80", wire.ACK, big(1000)), 0)
	}
	link, got := p.a.Link("a1"), 0
	least := math.Inf(1) // of several tries: the whole process is counted, and time passes
	for range 5 {
		least = min(least, testing.AllocsPerRun(200, func() {
			_ = a.Write(link, out)
			for want := got + 16; got < want; {
				if b.Read(in) != nil {
					return
				}
				got += len(in.Pkts)
			}
		}))
	}
	if least != 0 {
		t.Errorf("%v allocations", least)
	}
}

// Several devices in several namespaces of one process do not mix up theirs,
// and a second one in the same namespace shares the host.
func TestNamespaces(t *testing.T) {
	p := newPair(t)
	for range 3 {
		a, b := open(t, p.a), open(t, p.b)
		g := b.bind("0.0.0.0:80", true)
		if _, err := a.Bind(netip.MustParseAddrPort("10.0.1.2:80"), true); !errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Errorf("bound an address of the other namespace: %v", err)
		}
		// A thread that is in yet another one asks.
		nstest.New(t).Do(func() {
			a.send("a1", segment("10.0.1.1:1", "10.0.1.2:80", wire.ACK, nil))
			if _, err := a.Route(netip.MustParseAddr("10.0.1.2"), netip.Addr{}, 0); err != nil {
				t.Error(err)
			}
		})
		b.expect()
		g.Close()
	}
}

// Strict reverse path filtering is found, with the larger of the two values in
// force, and the command relaxes it.
func TestCheckRPFilter(t *testing.T) {
	p := newPair(t)
	nstest.Veth(p.a, "a1.7", p.b, "b3")
	s := open(t, p.a)
	for _, c := range []struct {
		all, link, name string
		hint            string
	}{
		{"0", "0", "a1", ""},
		{"1", "0", "a1", "sysctl -w net.ipv4.conf.a1.rp_filter=2"},
		{"0", "1", "a1", "sysctl -w net.ipv4.conf.a1.rp_filter=2"},
		{"2", "1", "a1", ""},
		{"1", "2", "a1", ""},
		{"0", "1", "a1.7", "sysctl -w net.ipv4.conf.a1/7.rp_filter=2"},
	} {
		p.a.Sysctl("net/ipv4/conf/all/rp_filter", c.all)
		p.a.Sysctl("net/ipv4/conf/"+c.name+"/rp_filter", c.link)
		strict, hint := s.CheckRPFilter(p.a.Link(c.name))
		if strict != (c.hint != "") || hint != c.hint {
			t.Errorf("%+v: %v, %q", c, strict, hint)
		}
	}
	if strict, _ := s.CheckRPFilter(4711); strict {
		t.Error("an interface that is not there is strict")
	}
}
