package netio

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/buf"
	"github.com/mpnc/mpnc/internal/netio/nstest"
	"github.com/mpnc/mpnc/internal/netio/rtnl"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// try runs a command in a namespace.
func try(ns *nstest.NS, stdin string, words ...string) (err error) {
	ns.Do(func() {
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Stdin = strings.NewReader(stdin)
		if out, e := cmd.CombinedOutput(); e != nil {
			err = fmt.Errorf("%s: %w: %s", strings.Join(words, " "), e, out)
		}
	})
	return err
}

// do runs a line that has to succeed.
func do(t *testing.T, ns *nstest.NS, line string) {
	t.Helper()
	if err := try(ns, "", strings.Fields(line)...); err != nil {
		t.Fatal(err)
	}
}

// needs skips a test where a program is missing.
func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("MPNC_REQUIRE_NETNS") != "" {
			t.Fatal(err)
		}
		t.Skipf("needs %s", program)
	}
}

// way is one direction between two stations.
type way struct {
	a, b     *station
	link     string // of a
	from, to string
}

func (w way) tuple() wire.Tuple {
	return wire.Tuple{Local: netip.MustParseAddrPort(w.from), Remote: netip.MustParseAddrPort(w.to)}
}

// lane is the way's fast lane now.
func (w way) lane() Lane { return w.a.Lane(w.tuple(), w.a.ns.Link(w.link)) }

// await asks for the lane until it is there, or is not.
func (w way) await(there bool, why string) (l Lane) {
	w.a.t.Helper()
	for limit := time.Now().Add(patience); time.Now().Before(limit); time.Sleep(time.Millisecond) {
		if l = w.lane(); (l.Train > 0) == there {
			return l
		}
	}
	w.a.t.Fatalf("%s: lane %+v", why, l)
	return l
}

// warm has the kernel find the neighbour, as the first segments of a connection do.
func (w way) warm() Lane {
	w.a.t.Helper()
	w.a.send(w.link, segment(w.from, w.to, wire.ACK|wire.PSH, big(1)))
	if r := w.b.expect(); len(r.seg.Payload) != 1 {
		w.a.t.Fatalf("first came %v", &r.seg)
	}
	return w.await(true, "a neighbour is known")
}

// train sends n octets in one, of segments of seg octets, and wants them at the
// other end; lane says whether by the lane, or cut.
func (w way) train(n, seg int, lend, lane bool) {
	t := w.a.t
	t.Helper()
	data := make([]byte, n)
	rng := rand.New(rand.NewPCG(uint64(n), uint64(seg)))
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	b := wire.NewBatch(70_000)
	b.Lane, b.MaxTrain = true, wire.MaxPacket
	s := segment(w.from, w.to, wire.ACK|wire.PSH, data)
	s.Opt.HasTS, s.Opt.TSVal = true, 12345
	if lend {
		src := buf.NewSend(1, n+200_000)
		src.Write(make([]byte, 128<<10-300)) // so that the octets lie in two chunks
		src.Write(data)
		b.Lend = true
		if !wire.AppendLent(b, s, src, seq.Range{From: 128<<10 - 299, To: seq.Data(128<<10 - 299 + n)}, seg) {
			t.Fatal("no room")
		}
	} else if !wire.AppendSegment(b, s, seg) {
		t.Fatal("no room")
	}
	before := w.a.Stats()
	if err := w.a.Write(w.a.ns.Link(w.link), b); err != nil {
		t.Fatal(err)
	}
	b.Reset()
	if got := w.a.Stats().Trains - before.Trains; got != map[bool]uint64{true: 1}[lane] {
		t.Fatalf("%d trains left by the lane", got)
	}
	w.gets(data)
}

// gets takes packets until the octets have arrived.
func (w way) gets(data []byte) {
	t := w.a.t
	t.Helper()
	got := make([]byte, len(data))
	for left := len(data); left > 0; {
		r := w.b.expect()
		left -= copy(got[r.seg.Seq.Sub(1000):], r.seg.Payload)
		if r.seg.Flags.Has(wire.PSH) != (r.seg.Seq.Sub(1000)+len(r.seg.Payload) == len(data)) {
			t.Errorf("PSH in the wrong place: %v", &r.seg)
		}
		if r.seg.Opt.TSVal != 12345 {
			t.Errorf("options: %v", &r.seg)
		}
	}
	if !bytes.Equal(got, data) {
		t.Fatal("other octets arrived")
	}
}

// laneWays are both families over the first link of a pair.
func laneWays(t *testing.T) (p pair, ways []way) {
	needs(t, "ip")
	p = newPair(t)
	a, b := open(t, p.a), open(t, p.b)
	b.bind("[::]:80", true)
	return p, []way{
		{a, b, "a1", "10.0.1.1:1", "10.0.1.2:80"},
		{a, b, "a1", "[fd00:1::1]:1", "[fd00:1::2]:80"},
	}
}

// A lane is there once the neighbour is known, and carries what it is given:
// merged as it is, and cut by the kernel with checksums, sequence numbers and
// flags.
func TestLane(t *testing.T) {
	p, ways := laneWays(t)
	for _, w := range ways {
		if l := w.lane(); l.Train != 0 {
			t.Fatalf("%s: a lane without a neighbour: %+v", w.to, l)
		}
		l := w.warm()
		if l.Train < 60_000 || l.Train > 65_535-60 {
			t.Errorf("%s: trains of %d", w.to, l.Train)
		}
		for _, lend := range []bool{false, true} {
			w.train(2000, 1400, lend, true)
			w.train(60_000, 1428, lend, true)
			w.train(64_000, 37, lend, true)
		}
	}
	do(t, p.a, "ip link set a1 gso_max_segs 1") // cut on this host, therefore
	for _, w := range ways {
		w.await(true, "cut here")
		for _, lend := range []bool{false, true} {
			w.train(30_000, 1400, lend, true)
		}
	}
	do(t, p.a, "ip link set a1 gso_max_size 20000")
	for _, w := range ways {
		for limit := time.Now().Add(patience); w.lane().Train > 20_000; time.Sleep(time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatal("longer trains than the interface takes")
			}
		}
	}
}

// CWR is for the first segment of a train (RFC 3168, Section 6.1.2), whoever cuts
// it.
func TestT75_LaneCWR(t *testing.T) {
	p, ways := laneWays(t)
	do(t, p.a, "ip link set a1 gso_max_segs 1")
	for _, w := range ways {
		w.warm()
		w.await(true, "warm")
		b := wire.NewBatch(70_000)
		b.Lane = true
		wire.AppendSegment(b, segment(w.from, w.to, wire.ACK|wire.CWR, big(7000)), 1400)
		if err := w.a.Write(p.a.Link("a1"), b); err != nil {
			t.Fatal(err)
		}
		for left := 7000; left > 0; {
			r := w.b.expect()
			left -= len(r.seg.Payload)
			if r.seg.Flags.Has(wire.CWR) != (r.seg.Seq == 1000) {
				t.Errorf("CWR: %v", &r.seg)
			}
		}
	}
}

// A train without a lane is cut, and its octets are the same wherever they lay,
// however small the segments.
func TestTrainIsCut(t *testing.T) {
	_, ways := laneWays(t)
	for _, w := range ways {
		for _, lend := range []bool{false, true} {
			w.train(30_000, 1400, lend, false)
			w.train(64_000, 200, lend, false)
			w.train(10_000, 37, lend, false)
		}
	}
}

// One of many tiny segments, more than the largest batch for packets has room for,
// is not lost either.
func TestTrainOfManySegments(t *testing.T) {
	_, ways := laneWays(t)
	w := ways[0]
	b := wire.NewBatch(70_000)
	b.Lane = true
	wire.AppendSegment(b, segment(w.from, w.to, wire.ACK, big(65_000)), 20)
	if err := w.a.Write(w.a.ns.Link("a1"), b); err != nil {
		t.Fatal(err)
	}
	if s := w.a.Stats(); s.TxErrors != 0 || s.Tx == 0 {
		t.Errorf("%+v", s)
	}
}

// Frames go to the gateway where there is one.
func TestLaneThroughGateway(t *testing.T) {
	needs(t, "ip")
	a, g, c := nstest.New(t), nstest.New(t), nstest.New(t)
	nstest.Veth(a, "a1", g, "g1")
	nstest.Veth(g, "g2", c, "c1")
	for _, x := range []struct {
		ns        *nstest.NS
		name      string
		four, six string
	}{{a, "a1", "10.0.1.1/24", "fd00:1::1/64"}, {g, "g1", "10.0.1.9/24", "fd00:1::9/64"},
		{g, "g2", "10.0.2.9/24", "fd00:2::9/64"}, {c, "c1", "10.0.2.2/24", "fd00:2::2/64"}} {
		x.ns.AddAddr(x.name, x.four)
		x.ns.AddAddr(x.name, x.six)
	}
	g.Sysctl("net/ipv4/ip_forward", "1")
	g.Sysctl("net/ipv6/conf/all/forwarding", "1")
	a.Route("0.0.0.0/0", "10.0.1.9", "a1")
	a.Route("::/0", "fd00:1::9", "a1")
	c.Route("0.0.0.0/0", "10.0.2.9", "c1")
	c.Route("::/0", "fd00:2::9", "c1")
	tx, rx := open(t, a), open(t, c)
	rx.bind("[::]:80", true)
	for _, w := range []way{
		{tx, rx, "a1", "10.0.1.1:1", "10.0.2.2:80"},
		{tx, rx, "a1", "[fd00:1::1]:1", "[fd00:2::2]:80"},
	} {
		w.warm()
		w.train(60_000, 1400, true, true)
	}
}

// Kinds of links. Those that wrap packets have no lane: it would pass by the
// routing that they were made for. Where this kernel has no such links there is
// nothing to see.
func TestLaneByKindOfLink(t *testing.T) {
	needs(t, "ip")
	for _, k := range []struct {
		name, add string
		lane      bool
	}{
		{"dummy", "ip link add x1 type dummy", true},
		{"vlan", "ip link add link a1 name x1 type vlan id 5", true},
		{"macvlan", "ip link add link a1 name x1 type macvlan", true},
		{"bridge", "ip link add x1 type bridge", true},
		{"vxlan", "ip link add x1 type vxlan id 5 remote 10.0.1.2 dev a1 dstport 4789", false},
		{"gretap", "ip link add x1 type gretap remote 10.0.1.2 local 10.0.1.1", false},
		{"geneve", "ip link add x1 type geneve id 5 remote 10.0.1.2", false},
		{"tap", "ip tuntap add mode tap name x1", false},
		{"tun", "ip tuntap add mode tun name x1", false},
		{"wireguard", "ip link add x1 type wireguard", false},
		{"ipip", "ip link add x1 type ipip remote 10.0.1.2 local 10.0.1.1", false},
		{"macsec", "ip link add link a1 name x1 type macsec", false},
		{"ipvlan", "ip link add link a1 name x1 type ipvlan", false},
	} {
		t.Run(k.name, func(t *testing.T) {
			p := newPair(t)
			a := open(t, p.a)
			if err := try(p.a, "", strings.Fields(k.add)...); err != nil {
				t.Skipf("this kernel has none: %v", err)
			}
			p.a.Up("x1")
			p.a.AddAddr("x1", "10.9.0.1/24")
			w := way{a: a, link: "x1", from: "10.9.0.1:1", to: "10.9.0.2:80"}
			// Without link-layer addresses there is nothing to know of a neighbour.
			err := try(p.a, "", strings.Fields("ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev x1")...)
			if err != nil && k.lane {
				t.Fatal(err)
			}
			if l := w.await(k.lane, k.name); k.lane && l.Train < 10_000 {
				t.Errorf("%+v", l)
			}
			if _, err := a.Route(netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("10.9.0.1"), p.a.Link("x1")); err != nil {
				t.Errorf("there is no route, so no lane says nothing: %v", err)
			}
		})
	}
}

// A VLAN's frames get their tag.
func TestLaneByVLAN(t *testing.T) {
	p, _ := laneWays(t)
	for _, x := range []struct {
		ns       *nstest.NS
		on, addr string
	}{{p.a, "a1", "10.9.0.1/24"}, {p.b, "b1", "10.9.0.2/24"}} {
		if err := try(x.ns, "", strings.Fields("ip link add link "+x.on+" name vlan5 type vlan id 5")...); err != nil {
			t.Skipf("this kernel has none: %v", err)
		}
		x.ns.Up("vlan5")
		x.ns.AddAddr("vlan5", x.addr)
	}
	a, b := open(t, p.a), open(t, p.b)
	b.bind("10.9.0.2:81", true)
	w := way{a, b, "vlan5", "10.9.0.1:1", "10.9.0.2:81"}
	w.warm()
	w.train(60_000, 1400, true, true)
}

// None on the loopback, nor to an address of this host's own by whatever link,
// nor by a link that does not lead there, nor one that does not exist.
func TestLaneNowhere(t *testing.T) {
	p, ways := laneWays(t)
	w := ways[0]
	w.warm()
	for _, c := range []struct {
		link     int
		from, to string
	}{
		{rtnl.Loopback, "127.0.0.1:1", "127.0.0.1:80"},
		{rtnl.Loopback, "10.0.1.1:1", "10.0.1.1:80"},
		{p.a.Link("a1"), "10.0.1.1:1", "10.0.1.1:80"},
		{p.a.Link("a2"), "10.0.1.1:1", "10.0.1.2:80"},
		{p.a.Link("a1"), "10.0.1.1:1", "10.0.1.255:80"},
		{p.a.Link("a1"), "10.0.1.1:1", "224.0.0.1:80"},
		{p.a.Link("a1"), "10.0.1.1:1", "192.0.2.1:80"},
		{12345, "10.0.1.1:1", "10.0.1.2:80"},
		{0, "10.0.1.1:1", "10.0.1.2:80"},
	} {
		tuple := wire.Tuple{Local: netip.MustParseAddrPort(c.from), Remote: netip.MustParseAddrPort(c.to)}
		if l := w.a.Lane(tuple, c.link); l.Train != 0 {
			t.Errorf("%+v: %+v", c, l)
		}
	}
}

// An IPsec policy for what a lane would carry ends it, before a train leaves in
// the clear, and its removal gives it back; one for others does not.
func TestLaneIPsec(t *testing.T) {
	p, ways := laneWays(t)
	policy := func(verb, selector string) {
		t.Helper()
		line := "ip xfrm policy " + verb + " " + selector + " dir out"
		if verb == "add" {
			line += " tmpl src 10.0.1.1 dst 10.0.1.2 proto esp mode tunnel"
		}
		if err := try(p.a, "", strings.Fields(line)...); err != nil {
			if strings.Contains(err.Error(), "not supported") {
				t.Skipf("this kernel has no IPsec: %v", err)
			}
			t.Fatal(err)
		}
	}
	for _, w := range ways {
		w.warm()
	}
	four, six := ways[0], ways[1]
	policy("add", "src 0.0.0.0/0 dst 10.0.1.0/24")
	four.await(false, "a policy for it")
	six.await(true, "a policy for others")
	policy("delete", "src 0.0.0.0/0 dst 10.0.1.0/24")
	four.await(true, "no policy any more")
	four.train(60_000, 1400, true, true)

	policy("add", "src fd00:1::1/128 dst ::/0 proto tcp")
	six.await(false, "a policy for its address")
	four.await(true, "a policy for others")
	policy("delete", "src fd00:1::1/128 dst ::/0 proto tcp")
	six.await(true, "no policy any more")

	for _, selector := range []string{"src 10.0.1.1/32 dst 10.0.1.2/32 proto udp", "src 10.0.2.0/24 dst 0.0.0.0/0"} {
		policy("add", selector)
		four.await(true, selector)
	}
}

// Once a policy has come, what was known before is not used, asked or not.
func TestLaneIPsecAtOnce(t *testing.T) {
	_, ways := laneWays(t)
	w := ways[0]
	w.warm()
	l := &w.a.lanes
	l.safe.Store(l.age.Load() + 1) // as watches does, before anybody is told
	w.train(10_000, 1400, false, false)
	l.changed()
	w.lane()
	w.train(10_000, 1400, false, true)
}

// A process that may not know the policies has no lanes, and says why.
func TestLaneNeedsToKnowIPsec(t *testing.T) {
	lines := droppriv(t, "lanes")
	want := []string{"with everything: true", "with CAP_NET_RAW: false", "CAP_NET_ADMIN is told of: true", "<nil>"}
	if fmt.Sprint(lines) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", lines, want)
	}
}

// The neighbour's address is kept fresh: trains go to the new one.
func TestLaneNeighbourMoves(t *testing.T) {
	p, ways := laneWays(t)
	told := &ways[0].a.told
	for _, w := range ways {
		l := w.warm()
		w.train(10_000, 1400, false, true)
		for range 3 { // what changes nothing is not told of
			host := w.tuple().Remote.Addr().String()
			at := told.Load()
			do(t, p.a, "ip neigh change "+host+" dev a1 nud stale")
			do(t, p.a, "ip neigh change "+host+" dev a1 nud reachable")
			if again := w.lane(); again != l {
				t.Errorf("another lane: %+v, before %+v", again, l)
			}
			w.train(2000, 1400, false, true)
			if told.Load() != at {
				t.Error("told of a change of nothing")
			}
		}
	}
	at := told.Load()
	do(t, p.b, "ip link set b1 address 02:00:00:00:00:99")
	for _, w := range ways {
		l := w.lane()
		do(t, p.a, "ip neigh replace "+w.tuple().Remote.Addr().String()+" lladdr 02:00:00:00:00:99 dev a1 nud reachable")
		for limit := time.Now().Add(patience); w.lane().Via == l.Via; time.Sleep(time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatal("the same lane")
			}
		}
		w.await(true, "moved")
		w.train(10_000, 1400, false, true) // the interface takes no others
	}
	if told.Load() == at {
		t.Error("nobody was told")
	}
}

// A neighbour that is not known any more has no lane until it is again.
func TestLaneNeighbourGoes(t *testing.T) {
	p, ways := laneWays(t)
	for _, w := range ways {
		l := w.warm()
		do(t, p.a, "ip neigh flush dev a1")
		w.await(false, "no neighbour")
		w.train(10_000, 1400, false, false)
		if again := w.await(true, "asked for again"); again != l {
			t.Errorf("another lane: %+v, before %+v", again, l)
		}
	}
}

// Another MTU is another lane, and segments of what does not fit any more do not
// go by it.
func TestLaneMTU(t *testing.T) {
	p, ways := laneWays(t)
	for _, w := range ways {
		l := w.warm()
		p.a.SetMTU("a1", 1300)
		for limit := time.Now().Add(patience); w.lane().Via == l.Via; time.Sleep(time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatal("the same lane")
			}
		}
		w.train(10_000, 1200, false, true)
		b := wire.NewBatch(20_000)
		b.Lane = true
		wire.AppendSegment(b, segment(w.from, w.to, wire.ACK, big(5600)), 1400)
		before := w.a.Stats()
		if err := w.a.Write(p.a.Link("a1"), b); err != nil {
			t.Fatal(err)
		}
		if s := w.a.Stats(); s.Trains != before.Trains || s.TxErrors != before.TxErrors+4 {
			t.Errorf("%+v, before %+v", s, before)
		}
		p.a.SetMTU("a1", 1500)
		w.await(true, "again")
	}
}

// Another route is another lane, or none.
func TestLaneRoute(t *testing.T) {
	p, ways := laneWays(t)
	w := ways[0]
	w.to = "192.0.2.1:80"
	for _, n := range []string{"7", "8"} {
		do(t, p.a, "ip neigh add 10.0.1."+n+" lladdr 02:00:00:00:00:0"+n+" dev a1")
		do(t, p.a, "ip neigh add 10.0.2."+n+" lladdr 02:00:00:00:00:0"+n+" dev a2")
	}
	if l := w.lane(); l.Train != 0 {
		t.Fatal("a lane to nowhere")
	}
	do(t, p.a, "ip route add 192.0.2.0/24 via 10.0.1.7")
	seven := w.await(true, "a gateway")
	do(t, p.a, "ip route change 192.0.2.0/24 via 10.0.1.8")
	for limit := time.Now().Add(patience); w.lane().Via == seven.Via; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("the same lane by another gateway")
		}
	}
	for _, other := range []string{
		"ip route change blackhole 192.0.2.0/24", "ip route change unreachable 192.0.2.0/24",
		"ip route change 192.0.2.0/24 via 10.0.2.7",
		"ip route change 192.0.2.0/24 nexthop via 10.0.1.7 dev a1 nexthop via 10.0.1.8 dev a1",
	} {
		do(t, p.a, "ip route replace 192.0.2.0/24 via 10.0.1.7")
		if l := w.await(true, "the first again"); l.Train == 0 || other == "" {
			t.Fatal(l)
		}
		do(t, p.a, strings.Replace(other, "change", "replace", 1))
		w.await(false, other)
	}
	do(t, p.a, "ip route replace 192.0.2.0/24 via 10.0.1.7 mtu 1000")
	w.await(true, "narrow")
	if l := w.lane(); l.Via == seven.Via {
		t.Error("the same lane by a narrower route")
	}
}

// An interface that goes down and comes back has its lane again, and the socket
// still works, whether something was sent meanwhile or not.
func TestLaneDownAndUp(t *testing.T) {
	p, ways := laneWays(t)
	w := ways[0]
	w.warm()
	w.train(10_000, 1400, false, true)
	p.a.Down("a1")
	b := wire.NewBatch(20_000)
	b.Lane = true
	wire.AppendSegment(b, segment(w.from, w.to, wire.ACK, big(5600)), 1400)
	for range 3 {
		if err := w.a.Write(p.a.Link("a1"), b); err != nil {
			t.Fatal(err)
		}
	}
	w.await(false, "down")
	p.a.Up("a1")
	for limit := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		w.a.send("a1", segment(w.from, w.to, wire.ACK|wire.PSH, big(1))) // until there is a carrier
		if len(w.b.rx) > 0 {
			break
		}
		if time.Now().After(limit) {
			t.Fatal("it does not come up")
		}
	}
	w.await(true, "up")
	w.a.send("a1", segment(w.from, w.to, wire.ACK|wire.URG, nil))
	for !w.b.expect().seg.Flags.Has(wire.URG) { // behind all that
	}
	w.train(10_000, 1400, false, true)
}

// Where this host's rules refuse what leaves the ordinary way, the lane is shut,
// and stays so, however often it is asked for; not that of others.
func TestLaneRefused(t *testing.T) {
	needs(t, "nft")
	p, ways := laneWays(t)
	for _, w := range ways {
		w.warm()
	}
	w, six := ways[0], ways[1]
	rules := "table inet t { chain out { type filter hook output priority 0; ip daddr 10.0.1.2 tcp dport 80 drop; }; }"
	if err := try(p.a, rules, "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	w.train(10_000, 1400, false, true) // nobody knows yet
	w.a.send("a1", segment(w.from, w.to, wire.ACK, big(1)))
	if l := w.lane(); l.Train != 0 {
		t.Fatalf("still there: %+v", l)
	}
	b := wire.NewBatch(20_000)
	b.Lane = true
	wire.AppendSegment(b, segment(w.from, w.to, wire.ACK, big(5600)), 1400)
	before := w.a.Stats()
	if err := w.a.Write(p.a.Link("a1"), b); err != nil {
		t.Fatal(err)
	}
	if s := w.a.Stats(); s.Trains != before.Trains || s.TxDenied != before.TxDenied+4 {
		t.Errorf("%+v, before %+v", s, before)
	}
	w.a.lanes.changed()
	if l := w.lane(); l.Train != 0 {
		t.Fatalf("it came back: %+v", l)
	}
	six.await(true, "another family")
	six.train(10_000, 1400, false, true)
}

// A lane says whether this host tracks connections.
func TestLaneTracked(t *testing.T) {
	needs(t, "nft")
	p, ways := laneWays(t)
	w := ways[0]
	w.warm()
	if l := w.lane(); l.Train == 0 || l.Tracked {
		t.Fatalf("before: %+v", l)
	}
	rules := "table inet t { chain in { type filter hook input priority 0; ct state established accept; }; }"
	if err := try(p.a, rules, "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	w.a.send("a1", segment(w.from, w.to, wire.ACK, big(1)))
	if l := w.lane(); l.Train == 0 || !l.Tracked {
		t.Fatalf("after: %+v", l)
	}
}

// The table of lanes is bounded: what nobody asks for any more makes way, and who
// finds no room goes without. Without a reader nothing else changes.
func TestLanesBounded(t *testing.T) {
	needs(t, "ip")
	p := newPair(t)
	do(t, p.a, "ip neigh add 10.0.1.7 lladdr 02:00:00:00:00:07 dev a1")
	do(t, p.a, "ip route add 172.16.0.0/12 via 10.0.1.7")
	a := openDeaf(t, p.a)
	l, link := &a.lanes, p.a.Link("a1")
	at := func(i int) bool {
		return a.Lane(wire.Tuple{
			Local:  netip.MustParseAddrPort("10.0.1.1:1"),
			Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)}), 80),
		}, link).Train > 0
	}
	for i := range maxLanes {
		if !at(i) {
			t.Fatalf("none for the %dth", i)
		}
	}
	if at(5000) || a.told.Load() != 1 {
		t.Fatalf("room for one more, or told %d times", a.told.Load())
	}
	for i := range 10 { // of those that are told, few live
		at(i)
	}
	for i := range maxLanes - 10 {
		if !at(10_000 + i) {
			t.Fatalf("none for the %dth of others", i)
		}
	}
	if at(5000) || len(l.table) != maxLanes || a.told.Load() != 1 {
		t.Errorf("%d lanes, told %d times", len(l.table), a.told.Load())
	}
}

// Everything at once: lanes are asked for, used, changed and closed by several
// goroutines.
func TestLaneConcurrently(t *testing.T) {
	p, ways := laneWays(t)
	for _, w := range ways {
		w.warm()
	}
	a := ways[0].a
	link := p.a.Link("a1")
	var wg sync.WaitGroup
	for _, w := range ways {
		tuple := w.tuple()
		b := wire.NewBatch(70_000)
		b.Lane = true
		wire.AppendSegment(b, segment(w.from, w.to, wire.ACK, big(20_000)), 1400)
		single := wire.NewBatch(2000)
		wire.AppendSegment(single, segment(w.from, w.to, wire.ACK, big(1)), 0)
		wg.Go(func() {
			for range 300 {
				a.Lane(tuple, link)
			}
		})
		wg.Go(func() {
			for range 300 {
				_ = a.Write(link, b) // it may be closed
				_ = a.Write(link, single)
			}
		})
	}
	wg.Go(func() {
		for i := range 20 {
			_ = try(p.a, "", strings.Fields(fmt.Sprintf("ip neigh replace 10.0.1.2 lladdr 02:00:00:00:00:%02x dev a1 nud reachable", i))...)
			a.lanes.refused(nil, link)
		}
		a.Close()
	})
	wg.Wait()
	if l := a.Lane(ways[0].tuple(), link); l.Train != 0 {
		t.Error("a lane of what is closed")
	}
}
