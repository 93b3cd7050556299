package netio

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"testing"

	"github.com/mpnc/mpnc/internal/netio/nstest"
	"github.com/mpnc/mpnc/internal/wire"
)

// silentWays runs a test with every way to keep the kernel silent.
func silentWays(t *testing.T, test func(t *testing.T)) {
	defer func() { makeSilent = silence }()
	makeSilent = func(fd int, _ netip.Addr) error {
		if !attachShut(fd) {
			return errors.New("no program")
		}
		return nil
	}
	if shutProgram() >= 0 { // not in a user namespace
		t.Run("program", test)
	}
	makeSilent = silenceAnew
	t.Run("filter", test)
	makeSilent = requireSignature
	t.Run("signature", test)
}

// A guarded port is silent: the kernel answers a SYN with neither SYN/ACK nor
// RST, while an unguarded one still refuses.
func TestGuardSilencesKernel(t *testing.T) { silentWays(t, testGuardSilencesKernel) }

func testGuardSilencesKernel(t *testing.T) {
	p := newPair(t)
	s := open(t, p.b)
	for _, c := range []struct{ bind, dial string }{
		{"10.0.1.2:0", "10.0.1.2"},
		{"0.0.0.0:0", "10.0.2.2"},
		{"[fd00:1::2]:0", "fd00:1::2"},
		{"[::]:0", "fd00:2::2"},
		{"[::]:0", "10.0.1.2"},
	} {
		g := s.bind(c.bind, true)
		port := g.Local().Port()
		if port == 0 {
			t.Fatalf("%s: no port", c.bind)
		}
		to := netip.AddrPortFrom(netip.MustParseAddr(c.dial), port)
		syn(t, p.a, to.String())
		r := s.expect()
		if r.seg.Local != to || r.seg.Flags != wire.SYN && r.seg.Flags != wire.SYN|wire.ECE|wire.CWR {
			t.Errorf("%s: received %v", c.bind, &r.seg)
		}
		g.Close()
		if _, err := dial(p.a, to.String(), patience); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: after the guard is gone: %v", c.bind, err)
		}
		for len(s.rx) > 0 { // retransmitted SYNs
			<-s.rx
		}
	}
}

// The kernel answers nothing else either: a capturing peer, whose port is
// guarded too, sees only what we send.
func TestGuardAnswersNothing(t *testing.T) { silentWays(t, testGuardAnswersNothing) }

func testGuardAnswersNothing(t *testing.T) {
	p := newPair(t)
	p.b.Sysctl("net/ipv4/tcp_syncookies", "2") // cookies forced
	a, b := open(t, p.a), open(t, p.b)
	a.bind("10.0.1.1:1000", false)
	a.bind("[fd00:1::1]:1000", false)
	b.bind("[::]:80", true)
	b.bind("10.0.1.2:81", true)
	b.bind("[fd00:1::2]:81", true)
	for _, c := range []struct{ from, to string }{
		{"10.0.1.1:1000", "10.0.1.2:80"}, {"[fd00:1::1]:1000", "[fd00:1::2]:80"},
		{"10.0.1.1:1000", "10.0.1.2:81"}, {"[fd00:1::1]:1000", "[fd00:1::2]:81"},
	} {
		for _, flags := range []wire.Flags{
			wire.SYN, wire.ACK, wire.FIN | wire.ACK, wire.SYN | wire.ACK, wire.RST,
			wire.PSH | wire.ACK, wire.FIN, 0, wire.SYN | wire.FIN,
		} {
			a.send("a1", segment(c.from, c.to, flags, []byte("hello")))
			if r := b.expect(); r.seg.Flags != flags {
				t.Errorf("%s: sent %v, received %v", c.to, flags, r.seg.Flags)
			}
		}
		a.silent(func() { b.send("b1", segment(c.to, c.from, wire.URG, nil)) })
	}
}

// A pair has one holder, the kernel's programs included.
func TestBindConflicts(t *testing.T) {
	p := newPair(t)
	s := open(t, p.b)
	kernel := netip.MustParseAddrPort(listen(t, p.b, "10.0.1.2:0").Addr().String())
	s.bind("10.0.1.2:80", true)
	s.bind("0.0.0.0:81", true)
	s.bind("[::]:82", true)
	for _, c := range []struct {
		local string
		err   error
	}{
		{kernel.String(), syscall.EADDRINUSE},
		{"0.0.0.0:" + strconv.Itoa(int(kernel.Port())), syscall.EADDRINUSE},
		{"10.0.2.2:" + strconv.Itoa(int(kernel.Port())), nil},
		{"10.0.1.2:80", syscall.EADDRINUSE},
		{"0.0.0.0:80", syscall.EADDRINUSE},
		{"[fd00:1::2]:80", nil},
		{"10.0.2.2:80", nil},
		{"10.0.1.2:81", syscall.EADDRINUSE},
		{"[fd00:1::2]:81", nil},
		{"10.0.1.2:82", syscall.EADDRINUSE},
		{"[fd00:1::2]:82", syscall.EADDRINUSE},
		{"10.0.1.9:83", syscall.EADDRNOTAVAIL},
		{"[::ffff:10.0.2.2]:84", nil},
	} {
		for _, passive := range []bool{true, false} {
			g, err := s.Bind(netip.MustParseAddrPort(c.local), passive)
			if !errors.Is(err, c.err) {
				t.Errorf("%s: %v, want %v", c.local, err, c.err)
			}
			if g != nil {
				if g.Local().Addr().Is4In6() {
					t.Errorf("%s: holds %v", c.local, g.Local())
				}
				g.Close()
				g.Close()
			}
		}
	}
}

// A server may come back while connections of the one before are in TIME-WAIT;
// an ephemeral port never meets one.
func TestBindOverTimeWait(t *testing.T) {
	p := newPair(t)
	l := listen(t, p.b, "10.0.1.2:0")
	c, err := dial(p.a, l.Addr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	k, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	k.Close() // the first to close has TIME-WAIT
	c.Close()
	s := open(t, p.b)
	local := netip.MustParseAddrPort(l.Addr().String())
	if _, err := s.Bind(local, false); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("active: %v", err)
	}
	s.bind(local.String(), true)
}

// What belongs to others is neither seen nor disturbed: another program's
// listener on our port and its connections, other ports, outgoing connections.
func TestOnlyWhatWeHold(t *testing.T) {
	p := newPair(t)
	s, a := open(t, p.b), open(t, p.a)
	l := listen(t, p.b, "10.0.1.2:0")
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	ours := netip.AddrPortFrom(netip.MustParseAddr("10.0.2.2"), port).String()
	s.bind(ours, true)

	c, err := dial(p.a, l.Addr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	k, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	echo(t, c, k)
	s.silent(func() { a.send("a2", segment("10.0.2.1:1", ours, wire.URG, nil)) })
	if n := s.Stats(); n.Rx != 1 || n.RxForeign != 0 {
		t.Errorf("the filter lets in too much: %+v", n)
	}
	tuple := wire.Tuple{
		Local:  netip.MustParseAddrPort(k.LocalAddr().String()),
		Remote: netip.MustParseAddrPort(k.RemoteAddr().String()),
	}
	if !s.Foreign(tuple) {
		t.Error("the kernel's connection is not foreign")
	}
}

func echo(t *testing.T, c, k net.Conn) {
	t.Helper()
	buf := make([]byte, 5)
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Read(buf); err != nil || string(buf) != "hello" {
		t.Fatalf("%q, %v", buf, err)
	}
}

// Foreign is about connections of exactly that tuple; listeners, our guards
// and nothing at all are not.
func TestForeign(t *testing.T) {
	p := newPair(t)
	s := open(t, p.b)
	for _, host := range []string{"10.0.1.2", "[fd00:1::2]"} {
		l := listen(t, p.b, host+":0")
		c, err := dial(p.a, l.Addr().String(), patience)
		if err != nil {
			t.Fatal(err)
		}
		k, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		local, remote := netip.MustParseAddrPort(k.LocalAddr().String()), netip.MustParseAddrPort(k.RemoteAddr().String())
		other := netip.AddrPortFrom(remote.Addr(), remote.Port()^1)
		g := s.bind(host+":0", true)
		for _, q := range []struct {
			what string
			t    wire.Tuple
			want bool
		}{
			{"connection", wire.Tuple{Local: local, Remote: remote}, true},
			{"listener", wire.Tuple{Local: local, Remote: other}, false},
			{"guard", wire.Tuple{Local: g.Local(), Remote: remote}, false},
			{"nothing", wire.Tuple{Local: netip.AddrPortFrom(local.Addr(), 1), Remote: remote}, false},
		} {
			if got := s.Foreign(q.t); got != q.want {
				t.Errorf("%s %s: %v", host, q.what, got)
			}
		}
		k.Close()
		c.Close()
		if !s.Foreign(wire.Tuple{Local: local, Remote: remote}) {
			t.Errorf("%s: not foreign in TIME-WAIT", host)
		}
	}
}

// Many pairs: first listed one by one, then as a range of ports, where what is
// within it and not held is dropped when it is read.
func TestManyGuards(t *testing.T) {
	p := newPair(t)
	a, b := open(t, p.a), open(t, p.b)
	var guards []Guard
	for i := range 3 * maxExact {
		addr := []string{"10.0.1.2", "[fd00:1::2]"}[i%2]
		guards = append(guards, b.bind(addr+":"+strconv.Itoa(2000+10*i), true))
		if i%16 != 15 {
			continue
		}
		for j, g := range guards {
			to := g.Local().String()
			from := []string{"10.0.1.1:1", "[fd00:1::1]:1"}[j%2]
			near := netip.AddrPortFrom(g.Local().Addr(), g.Local().Port()+1).String()
			a.send("a1", segment(from, near, wire.ACK, nil))
			a.send("a1", segment(from, to, wire.ACK, nil))
			if r := b.expect(); r.seg.Local.String() != to {
				t.Fatalf("%d guards: sent to %s, received %v", len(guards), to, &r.seg)
			}
		}
	}
	if b.Stats().RxForeign == 0 {
		t.Error("the filter never was a range")
	}
	for _, g := range guards[1:] {
		g.Close()
	}
	// What is let in for a pair that was given back makes the filters exact again.
	before := b.Stats().RxForeign
	for range 2 {
		a.send("a1", segment("10.0.1.1:1", "10.0.1.2:2001", wire.ACK, nil))
		b.silent(func() { a.send("a1", segment("10.0.1.1:1", "10.0.1.2:2000", wire.URG, nil)) })
	}
	if n := b.Stats().RxForeign - before; n > 1 {
		t.Errorf("the filter of one pair let in %d other segments", n)
	}
}

// Close gives the ports back and ends a Read.
func TestRawClose(t *testing.T) {
	ns := nstest.New(t)
	s := openDeaf(t, ns)
	s.bind("127.0.0.1:80", true)
	g := s.bind("[::1]:80", true)
	ended := make(chan error)
	go func() { ended <- s.Read(wire.NewBatch(70000)) }()
	s.Close()
	if err := <-ended; err != net.ErrClosed {
		t.Errorf("Read: %v", err)
	}
	if err := s.Read(wire.NewBatch(70000)); err != net.ErrClosed {
		t.Errorf("Read after Close: %v", err)
	}
	if _, err := s.Bind(netip.MustParseAddrPort("127.0.0.1:81"), true); err != net.ErrClosed {
		t.Errorf("Bind: %v", err)
	}
	if _, err := s.Route(netip.MustParseAddr("127.0.0.1"), netip.Addr{}, 0); err != net.ErrClosed {
		t.Errorf("Route: %v", err)
	}
	if err := s.Write(0, wire.NewBatch(1)); err != net.ErrClosed {
		t.Errorf("Write: %v", err)
	}
	g.Close()
	s.Close()
	listen(t, ns, "127.0.0.1:80")
	listen(t, ns, "[::1]:80")
}
