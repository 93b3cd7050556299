package netio_test

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/netio"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/pathmgr/netmon"
)

var (
	_ netio.Device   = (*netio.PipeEnd)(nil)
	_ netmon.Monitor = (*netio.PipeMonitor)(nil)
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
func ip(s string) netip.Addr     { return netip.MustParseAddr(s) }

// packet is a batch with one segment.
func packet(t *testing.T, from, to string, flags wire.Flags, payload, seg int) *wire.Batch {
	t.Helper()
	b := wire.NewBatch(70000)
	s := &wire.Segment{
		Tuple: wire.Tuple{Local: ap(from), Remote: ap(to)},
		Seq:   7, Ack: 9, Flags: flags, Payload: make([]byte, payload),
	}
	if !wire.AppendSegment(b, s, seg) {
		t.Fatal("no room")
	}
	return b
}

func write(t *testing.T, d netio.Device, link int, b *wire.Batch) {
	t.Helper()
	if err := d.Write(link, b); err != nil {
		t.Fatal(err)
	}
}

// read reads one batch and parses its packets.
func read(t *testing.T, d netio.Device) (b *wire.Batch, segs []wire.Segment) {
	t.Helper()
	b = wire.NewBatch(128 << 10)
	if err := d.Read(b); err != nil {
		t.Fatal(err)
	}
	for i, p := range b.Pkts {
		var s wire.Segment
		if drop := wire.Parse(b.Bytes(i), &s, p.Csum); drop != wire.None {
			t.Fatalf("packet %d: %v", i, drop)
		}
		segs = append(segs, s)
	}
	return b, segs
}

func bind(t *testing.T, d netio.Device, local string) netio.Guard {
	t.Helper()
	g, err := d.Bind(ap(local), true)
	if err != nil {
		t.Fatalf("Bind(%s): %v", local, err)
	}
	return g
}

// A packet arrives once, after the delay of its link, with link and time.
func TestPipeDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		a, b := netio.NewPipe(netio.PipeConfig{
			Links: 2, Delay: 10 * time.Millisecond,
			Now: func() mono.Time { return mono.Time(time.Since(start)) },
		})
		defer a.Close()
		defer b.Close()
		b.SetDelay(2, 3*time.Millisecond)
		bind(t, b, "[::]:80")
		write(t, a, 1, packet(t, "10.0.1.1:1000", "10.0.1.2:80", wire.SYN, 0, 0))
		write(t, a, 2, packet(t, "[fd00:2::1]:1000", "[fd00:2::2]:80", wire.SYN, 0, 0))
		for _, want := range []struct {
			link int
			at   time.Duration
			from string
		}{
			{2, 3 * time.Millisecond, "[fd00:2::1]:1000"},
			{1, 10 * time.Millisecond, "10.0.1.1:1000"},
		} {
			got, segs := read(t, b)
			if len(segs) != 1 || segs[0].Remote != ap(want.from) {
				t.Fatalf("got %v", segs)
			}
			if p := got.Pkts[0]; p.Link != want.link || p.At != mono.Time(want.at) {
				t.Errorf("link %d at %v, want %+v", p.Link, time.Duration(p.At), want)
			}
		}
		if s := b.Stats(); s.Rx != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// Packets of one link keep their order whatever happens to its delay.
func TestPipeKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := netio.NewPipe(netio.PipeConfig{Delay: 10 * time.Millisecond})
		defer a.Close()
		defer b.Close()
		bind(t, b, "10.0.0.2:80")
		for i := range 100 {
			if i == 50 {
				b.SetDelay(1, 0)
			}
			write(t, a, 1, packet(t, "10.0.0.1:1000", "10.0.0.2:80", wire.ACK, i, 0))
		}
		for n := 0; n < 100; {
			_, segs := read(t, b)
			for _, s := range segs {
				if len(s.Payload) != n {
					t.Fatalf("packet of %d octets, want %d", len(s.Payload), n)
				}
				n++
			}
		}
	})
}

// A segment for a pair that nobody holds is answered with a RST, and a RST
// with nothing (RFC 9293, Section 3.5.2).
func TestPipeRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := netio.NewPipe(netio.PipeConfig{})
		bind(t, a, "10.0.0.1:1000")
		go func() {
			batch := wire.NewBatch(128 << 10)
			for b.Read(batch) == nil {
				t.Errorf("b reads %d packets for a port it does not hold", len(batch.Pkts))
			}
		}()
		write(t, a, 0, packet(t, "10.0.0.1:1000", "10.0.0.2:81", wire.SYN, 0, 0))
		_, segs := read(t, a)
		if s := segs[0]; s.Flags != wire.RST|wire.ACK || s.Ack != 8 || s.Seq != 0 || s.Remote != ap("10.0.0.2:81") {
			t.Errorf("to a SYN: %v", &s)
		}
		write(t, a, 0, packet(t, "10.0.0.1:1000", "10.0.0.2:81", wire.ACK, 5, 0))
		_, segs = read(t, a)
		if s := segs[0]; s.Flags != wire.RST || s.Seq != 9 {
			t.Errorf("to an ACK: %v", &s)
		}
		write(t, a, 0, packet(t, "10.0.0.1:1000", "10.0.0.2:81", wire.RST, 0, 0))
		synctest.Wait()
		if s := a.Stats(); s.Rx != 2 {
			t.Errorf("to a RST: %+v", s)
		}
		a.Close()
		b.Close()
	})
}

// What a host's kernel would not send does not arrive.
func TestPipeLoses(t *testing.T) {
	drop := false
	a, b := netio.NewPipe(netio.PipeConfig{
		Links: 2, Queue: 2, MaxTrain: 8000,
		Filter: func(link, dir int, pkt []byte) bool { return drop && link == 1 },
	})
	defer a.Close()
	defer b.Close()
	bind(t, b, "0.0.0.0:80")
	from, to := "10.0.1.1:1000", "10.0.1.2:80"
	for _, c := range []struct {
		name string
		lost bool
		link int
		pkt  *wire.Batch
		prep func()
		undo func()
	}{
		{"good", false, 1, packet(t, from, to, wire.ACK, 1400, 0), nil, nil},
		{"train", false, 1, packet(t, from, to, wire.ACK, 8000, 1400), nil, nil},
		{"queue full", true, 1, packet(t, from, to, wire.ACK, 1, 0), func() {
			write(t, a, 1, packet(t, from, to, wire.ACK, 0, 0))
			write(t, a, 1, packet(t, from, to, wire.ACK, 0, 0))
		}, nil},
		{"above MTU", true, 1, packet(t, from, to, wire.ACK, 1461, 0), nil, nil},
		{"train of segments above MTU", true, 1, packet(t, from, to, wire.ACK, 8000, 1461), nil, nil},
		{"train too long", true, 1, packet(t, from, to, wire.ACK, 8001, 1400), nil, nil},
		{"no route by this link", true, 2, packet(t, from, to, wire.ACK, 1, 0), nil, nil},
		{"source of another", true, 1, packet(t, "10.0.1.9:1000", to, wire.ACK, 1, 0), nil, nil},
		{"destination of nobody", true, 1, packet(t, from, "10.0.1.9:80", wire.ACK, 1, 0), nil, nil},
		{"filtered", true, 1, packet(t, from, to, wire.ACK, 1, 0),
			func() { drop = true }, func() { drop = false }},
		{"source gone", true, 1, packet(t, from, to, wire.ACK, 1, 0),
			func() { a.SetAddr(ip("10.0.1.1"), false) }, func() { a.SetAddr(ip("10.0.1.1"), true) }},
		{"destination gone", true, 1, packet(t, from, to, wire.ACK, 1, 0),
			func() { b.SetAddr(ip("10.0.1.2"), false) }, func() { b.SetAddr(ip("10.0.1.2"), true) }},
		{"link down", true, 1, packet(t, from, to, wire.ACK, 1, 0),
			func() { b.SetLink(1, false) }, func() { b.SetLink(1, true) }},
		{"all well again", false, 1, packet(t, from, to, wire.ACK, 1, 0), nil, nil},
	} {
		if c.prep != nil {
			c.prep()
		}
		write(t, a, c.link, c.pkt)
		// A mark by the other link says when everything has arrived.
		write(t, a, 2, packet(t, "10.0.2.1:1", "10.0.2.2:80", wire.FIN, 0, 0))
		arrived := false
		for marked := false; !marked; {
			_, segs := read(t, b)
			for _, s := range segs {
				marked = marked || s.Flags == wire.FIN
				arrived = arrived || s.Flags == wire.ACK && len(s.Payload) > 0
			}
		}
		if arrived == c.lost {
			t.Errorf("%s: arrived %v", c.name, arrived)
		}
		if c.undo != nil {
			c.undo()
		}
	}
}

// A train arrives as one packet, a partial checksum as it was.
func TestPipeTrain(t *testing.T) {
	a, b := netio.NewPipe(netio.PipeConfig{MaxTrain: 60000, Checksum: true})
	defer a.Close()
	defer b.Close()
	if c := a.Caps(); c != (netio.Caps{MaxTrain: 60000, Checksum: true}) {
		t.Errorf("%+v", c)
	}
	bind(t, b, "10.0.0.2:80")
	out := wire.NewBatch(70000)
	out.Offload, out.MaxTrain = true, 60000
	s := &wire.Segment{
		Tuple: wire.Tuple{Local: ap("10.0.0.1:1"), Remote: ap("10.0.0.2:80")},
		Flags: wire.ACK, Payload: make([]byte, 50000),
	}
	wire.AppendSegment(out, s, 1400)
	write(t, a, 1, out)
	got, segs := read(t, b)
	if p := got.Pkts[0]; p.Seg != 1400 || p.Csum != wire.CsumPartial || len(segs[0].Payload) != 50000 {
		t.Errorf("%+v with %d octets", p, len(segs[0].Payload))
	}
}

// A pair is held once; an unspecified address holds all, :: of both families.
func TestPipeBind(t *testing.T) {
	for _, c := range []struct {
		first, second string
		err           error
	}{
		{"10.0.1.1:80", "10.0.2.1:80", nil},
		{"10.0.1.1:80", "[fd00:1::1]:80", nil},
		{"10.0.1.1:80", "10.0.1.1:81", nil},
		{"0.0.0.0:80", "[fd00:1::1]:80", nil},
		{"10.0.1.1:80", "10.0.1.1:80", syscall.EADDRINUSE},
		{"0.0.0.0:80", "10.0.1.1:80", syscall.EADDRINUSE},
		{"10.0.1.1:80", "0.0.0.0:80", syscall.EADDRINUSE},
		{"[::]:80", "10.0.1.1:80", syscall.EADDRINUSE},
		{"[::]:80", "0.0.0.0:80", syscall.EADDRINUSE},
		{"10.0.1.1:80", "[::]:80", syscall.EADDRINUSE},
		{"0.0.0.0:80", "[::]:80", syscall.EADDRINUSE},
		{"10.0.1.1:80", "10.0.1.2:80", syscall.EADDRNOTAVAIL},
	} {
		a, _ := netio.NewPipe(netio.PipeConfig{Links: 2})
		g := bind(t, a, c.first)
		_, err := a.Bind(ap(c.second), false)
		if !errors.Is(err, c.err) {
			t.Errorf("%s, then %s: %v, want %v", c.first, c.second, err, c.err)
		}
		g.Close()
		if _, err = a.Bind(ap(c.first), false); err != nil && c.err != nil {
			t.Errorf("%s again after Close: %v", c.first, err)
		}
		a.Close()
	}
}

// Port 0 chooses a free port, and gives up when there is none.
func TestPipeEphemeral(t *testing.T) {
	a, _ := netio.NewPipe(netio.PipeConfig{})
	defer a.Close()
	seen := map[uint16]bool{}
	for {
		g, err := a.Bind(ap("10.0.0.1:0"), false)
		if err != nil {
			if !errors.Is(err, syscall.EADDRINUSE) || len(seen) != 32768 {
				t.Errorf("%v after %d ports", err, len(seen))
			}
			return
		}
		if port := g.Local().Port(); port < 32768 || seen[port] {
			t.Fatalf("port %d", port)
		}
		seen[g.Local().Port()] = true
	}
}

// Routes follow networks; with Mesh every link leads to every address.
func TestPipeRoute(t *testing.T) {
	const mtu = 1500
	for _, c := range []struct {
		mesh          bool
		remote, local string
		link          int
		want          netio.Route // zero: no route
	}{
		{false, "10.0.2.2", "", 0, netio.Route{Local: ip("10.0.2.1"), Link: 2, MTU: mtu}},
		{false, "fd00:1::2", "", 1, netio.Route{Local: ip("fd00:1::1"), Link: 1, MTU: mtu}},
		{false, "10.0.1.2", "10.0.2.1", 0, netio.Route{Local: ip("10.0.2.1"), Link: 1, MTU: mtu}},
		{false, "10.0.1.2", "", 2, netio.Route{}},
		{false, "10.0.1.2", "10.0.1.7", 1, netio.Route{}},
		{false, "10.9.9.9", "", 0, netio.Route{}},
		{false, "10.0.1.1", "", 0, netio.Route{}},
		{true, "10.0.2.2", "", 0, netio.Route{Local: ip("10.0.2.1"), Link: 2, MTU: mtu}},
		{true, "10.0.2.2", "10.0.1.1", 1, netio.Route{Local: ip("10.0.1.1"), Link: 1, MTU: mtu}},
		{true, "10.9.9.9", "", 0, netio.Route{Local: ip("10.0.1.1"), Link: 1, MTU: mtu}},
	} {
		a, _ := netio.NewPipe(netio.PipeConfig{Links: 2, Mesh: c.mesh})
		var local netip.Addr
		if c.local != "" {
			local = ip(c.local)
		}
		got, err := a.Route(ip(c.remote), local, c.link)
		if got != c.want || (c.want == netio.Route{}) != errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("%+v: got %+v, %v", c, got, err)
		}
		a.Close()
	}
}

// The monitor follows addresses and links, and tells once of many changes.
func TestPipeMonitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := netio.NewPipe(netio.PipeConfig{Links: 2, Mesh: true})
		m := a.Monitor()
		local := func(addr string, link int, name string, best bool) pathmgr.Local {
			return pathmgr.Local{Addr: ip(addr), Link: link, Name: name, Best: best}
		}
		one, two := local("10.0.1.1", 1, "pipe1", true), local("10.0.2.1", 2, "pipe2", false)
		want := func(what string, l ...pathmgr.Local) {
			t.Helper()
			if got := m.Locals(ip("10.0.1.2")); !slices.Equal(got, l) {
				t.Errorf("%s: %+v, want %+v", what, got, l)
			}
		}
		told := func(want bool) {
			t.Helper()
			select {
			case <-m.Changed():
				if !want {
					t.Error("tells of a change")
				}
			default:
				if want {
					t.Error("tells of no change")
				}
			}
		}
		told(false)
		want("at first", one, two)
		b.SetLink(1, false)
		b.SetLink(1, true)
		b.SetLink(1, false)
		told(true)
		told(false)
		two.Best = true
		want("link 1 down", two)
		a.SetLink(1, true)
		two.Best = false
		want("link 1 up", one, two)
		a.SetAddr(two.Addr, false)
		told(true)
		want("address of link 2 gone", one)
		m.Close()
		a.SetAddr(two.Addr, true)
		told(false)
		a.Close()
		b.Close()
	})
}

// Close ends a Read, and everything after it.
func TestPipeClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := netio.NewPipe(netio.PipeConfig{Delay: time.Hour})
		g := bind(t, b, "10.0.0.2:80")
		write(t, a, 1, packet(t, "10.0.0.1:1000", "10.0.0.2:80", wire.SYN, 0, 0))
		err := errors.New("not returned")
		go func() { err = b.Read(wire.NewBatch(4096)) }()
		synctest.Wait()
		b.Close()
		b.Close()
		synctest.Wait()
		if err != net.ErrClosed {
			t.Errorf("Read: %v", err)
		}
		g.Close()
		if err := b.Write(1, packet(t, "10.0.0.2:80", "10.0.0.1:1000", wire.SYN, 0, 0)); err != net.ErrClosed {
			t.Errorf("Write: %v", err)
		}
		if _, err := b.Bind(ap("10.0.0.2:80"), false); err != net.ErrClosed {
			t.Errorf("Bind: %v", err)
		}
		write(t, a, 1, packet(t, "10.0.0.1:1000", "10.0.0.2:80", wire.SYN, 0, 0)) // into the void
		a.Close()
	})
}

// A batch without room leaves packets for the next one.
func TestPipeSmallSlab(t *testing.T) {
	a, b := netio.NewPipe(netio.PipeConfig{})
	defer a.Close()
	defer b.Close()
	bind(t, b, "10.0.0.2:80")
	for range 5 {
		write(t, a, 1, packet(t, "10.0.0.1:1000", "10.0.0.2:80", wire.ACK, 1000, 0))
	}
	small := wire.NewBatch(2500)
	for _, want := range []int{2, 2, 1} {
		if err := b.Read(small); err != nil || len(small.Pkts) != want {
			t.Fatalf("%d packets, %v; want %d", len(small.Pkts), err, want)
		}
	}
}

// In steady state no packet allocates.
func TestPipeAllocatesNothing(t *testing.T) {
	a, b := netio.NewPipe(netio.PipeConfig{})
	defer a.Close()
	defer b.Close()
	bind(t, b, "10.0.0.2:80")
	out, in := packet(t, "10.0.0.1:1000", "10.0.0.2:80", wire.ACK, 1000, 0), wire.NewBatch(128<<10)
	if n := testing.AllocsPerRun(1000, func() {
		for range 8 {
			_ = a.Write(1, out)
		}
		_ = b.Read(in)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
