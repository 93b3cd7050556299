package mptcp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/netio"
	"github.com/mpnc/mpnc/mptcp/engine"
	"github.com/mpnc/mpnc/pathmgr"
)

// events collects what OnPath tells.
type events struct {
	mu  sync.Mutex
	all []string
}

func (e *events) add(c *Conn, ev PathEvent) {
	s := ev.Kind.String()
	if ev.Kind != FellBack {
		s += fmt.Sprintf(" %v", ev.Path.Tuple.Local.Addr())
	}
	c.Stats() // as an observer may
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, s)
}

func (e *events) list() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.all)
}

func up(c *Conn) (n int) {
	for _, s := range c.Subflows() {
		if s.Up && !s.Ended {
			n++
		}
	}
	return n
}

// awaitUp waits until c has n paths.
func awaitUp(t *testing.T, c *Conn, n int) {
	t.Helper()
	for range 600 {
		if up(c) == n {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%d paths are up, want %d: %+v", up(c), n, c.Subflows())
}

var twoLinks = netio.PipeConfig{Links: 2, Mesh: true, Delay: 10 * time.Millisecond}

// A second address makes a second path, and the observer is told.
func TestSecondPath(t *testing.T) {
	var ev events
	bubble(t, setup{pipe: twoLinks, client: Config{OnPath: ev.add}}, func(t *testing.T, p *pair) {
		c, s := p.bound()
		write(t, c, "ping")
		expect(t, s, "ping")
		awaitUp(t, c, 2)
		want := []string{"path up 10.0.1.1", "path up 10.0.2.1"}
		if got := ev.list(); !slices.Equal(got, want) {
			t.Errorf("the observer was told %q, want %q", got, want)
		}
		locals := make(map[netip.Addr]int)
		for _, sf := range c.Subflows() {
			locals[sf.Tuple.Local.Addr()] = sf.Link
		}
		if locals[netip.MustParseAddr("10.0.1.1")] != 1 || locals[netip.MustParseAddr("10.0.2.1")] != 2 {
			t.Errorf("links by address: %v", locals)
		}
	})
}

// Of two addresses only those that were chosen are used, the first one first.
func TestLocalAddrs(t *testing.T) {
	one, two := netip.MustParseAddr("10.0.1.1"), netip.MustParseAddr("10.0.2.1")
	for _, want := range [][]netip.Addr{{two, one}, {two}} {
		bubble(t, setup{pipe: twoLinks, client: Config{LocalAddrs: want}}, func(t *testing.T, p *pair) {
			c, s := p.bound()
			write(t, c, "ping")
			expect(t, s, "ping")
			awaitUp(t, c, len(want))
			time.Sleep(time.Minute)
			var got []netip.Addr
			for _, sf := range c.Subflows() {
				got = append(got, sf.Tuple.Local.Addr())
			}
			if !slices.Equal(got, want) {
				t.Errorf("paths from %v, want %v", got, want)
			}
		})
	}
}

// An address that the host has not is no way out.
func TestLocalAddrsForeign(t *testing.T) {
	bubble(t, setup{pipe: twoLinks, client: Config{LocalAddrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}}, func(t *testing.T, p *pair) {
		if _, err := p.client.Dial(t.Context(), "tcp", p.address("80")); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("Dial: %v, want EADDRNOTAVAIL", err)
		}
	})
}

// Two addresses at either end make four paths: the server advertises its
// second one.
func TestFullMesh(t *testing.T) {
	bubble(t, setup{pipe: twoLinks}, func(t *testing.T, p *pair) {
		c, s := p.conns()
		write(t, c, "ping")
		expect(t, s, "ping")
		awaitUp(t, c, 4)
		awaitUp(t, s, 4)
		if n := s.Stats().EchoAddRx; n == 0 {
			t.Error("the server's ADD_ADDR was not echoed")
		}
	})
}

// both says that addresses of both families lead to everybody, as an
// administrator may who tells a server what to advertise.
type both struct{ Monitor }

func (m both) Locals(netip.Addr) []pathmgr.Local {
	four, six := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	return append(slices.Clone(m.Monitor.Locals(four)), m.Monitor.Locals(six)...)
}

// The client uses its own IPv6 address once the server has advertised one.
func TestOtherFamily(t *testing.T) {
	bubble(t, setup{monitor: func(m Monitor) Monitor { return both{m} }}, func(t *testing.T, p *pair) {
		c, s := p.conns()
		write(t, c, "ping")
		expect(t, s, "ping")
		awaitUp(t, c, 2)
		if got := c.Subflows()[1].Tuple.Remote.String(); got != "[fd00::2]:80" {
			t.Errorf("the second path leads to %s", got)
		}
	})
}

func TestFallbackObserved(t *testing.T) {
	var ev events
	bubble(t, setup{client: Config{OnPath: ev.add}, server: Config{TCPOnly: true}}, func(t *testing.T, p *pair) {
		c, s := p.bound()
		write(t, c, "ping")
		expect(t, s, "ping")
		if c.Fallback() != engine.PeerPlain {
			t.Errorf("fallback reason %d, want %d", c.Fallback(), engine.PeerPlain)
		}
		if got := ev.list(); !slices.Contains(got, "fallback") {
			t.Errorf("the observer was told %q", got)
		}
	})
}

// A connection survives the loss of each of its addresses in turn, and of all
// for a while.
func TestAddressesComeAndGo(t *testing.T) {
	first, second := netip.MustParseAddr("10.0.1.1"), netip.MustParseAddr("10.0.2.1")
	bubble(t, setup{pipe: twoLinks}, func(t *testing.T, p *pair) {
		c, s := p.bound()
		say := func(text string) {
			t.Helper()
			write(t, c, text)
			expect(t, s, text)
			write(t, s, text)
			expect(t, c, text)
		}
		say("both")
		awaitUp(t, c, 2)
		p.near.SetAddr(first, false)
		say("second only")
		p.near.SetAddr(first, true)
		awaitUp(t, c, 2)
		p.near.SetAddr(second, false)
		say("first only")
		p.near.SetAddr(first, false)
		time.Sleep(5 * time.Minute)
		write(t, c, "held")
		time.Sleep(5 * time.Minute)
		back := time.Now()
		p.near.SetAddr(second, true)
		expect(t, s, "held")
		if took := time.Since(back); took > time.Second {
			t.Errorf("what was held arrived %v after the address came back", took)
		}
		say("second again")
	})
}

// From LocalDown on nothing is sent with the address that is gone.
func TestSilentAfterAddressWent(t *testing.T) {
	gone := netip.MustParseAddr("10.0.1.1")
	var mu sync.Mutex
	var down time.Time
	set := setup{pipe: twoLinks}
	set.pipe.Filter = func(_, dir int, pkt []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		if src, _ := netip.AddrFromSlice(pkt[12:16]); dir == 0 && src == gone && !down.IsZero() && time.Now().After(down) {
			t.Errorf("a packet with the source %v, which is gone", src)
		}
		return false
	}
	bubble(t, set, func(t *testing.T, p *pair) {
		c, s := p.bound()
		write(t, c, "ping")
		expect(t, s, "ping")
		awaitUp(t, c, 2)
		p.near.SetAddr(gone, false)
		mu.Lock()
		down = time.Now()
		mu.Unlock()
		time.Sleep(time.Second)
		write(t, c, "pong")
		expect(t, s, "pong")
		time.Sleep(time.Minute)
	})
}

// Plain TCP waits for its address too, and does not wait out a back-off.
func TestPlainTCPHeld(t *testing.T) {
	addr := netip.MustParseAddr("10.0.0.1")
	bubble(t, setup{client: Config{TCPOnly: true}}, func(t *testing.T, p *pair) {
		c, s := p.bound()
		write(t, c, "before")
		expect(t, s, "before")
		p.near.SetAddr(addr, false)
		time.Sleep(time.Second)
		write(t, c, "held")
		time.Sleep(10 * time.Minute)
		back := time.Now()
		p.near.SetAddr(addr, true)
		expect(t, s, "held")
		if took := time.Since(back); took > time.Second {
			t.Errorf("what was held arrived %v after the address came back", took)
		}
	})
}

// The guards of all paths go with the connection.
func TestPathGuardsReleased(t *testing.T) {
	bubble(t, setup{pipe: twoLinks}, func(t *testing.T, p *pair) {
		c, s := p.bound()
		write(t, c, "ping")
		expect(t, s, "ping")
		awaitUp(t, c, 2)
		if n := p.client.Stats().Guards; n != 2 {
			t.Errorf("%d guards for two paths", n)
		}
		c.Close()
		expectEOF(t, s)
		s.Close()
		time.Sleep(5 * time.Minute)
		if a, b := p.client.Stats(), p.server.Stats(); a.Guards != 0 || b.Guards != 1 || a.Conns != 0 || b.Conns != 0 {
			t.Errorf("left: client %d guards, %d connections; server %d, %d", a.Guards, a.Conns, b.Guards, b.Conns)
		}
	})
}

// By rules the first path leaves where it is best, others where it is allowed,
// and one that has carried what it may is closed.
func TestPathRules(t *testing.T) {
	rules := pathmgr.Rules{{Iface: "pipe1", Backup: true, Max: 100_000}, {Iface: "pipe3", Never: true}}
	manager, err := pathmgr.New("fullmesh", rules...)
	if err != nil {
		t.Fatal(err)
	}
	pipe := twoLinks
	pipe.Links = 3
	// All of it is written while there is no path: the buffer takes it.
	bubble(t, setup{pipe: pipe, client: Config{PathManager: manager, PathRules: rules, TimeWait: time.Second, SendBuffer: 1 << 20}}, func(t *testing.T, p *pair) {
		c, s := p.bound()
		if got := c.LocalAddr().String(); got[:8] != "10.0.2.1" {
			t.Errorf("connected from %s", got)
		}
		write(t, c, "ping")
		expect(t, s, "ping")
		awaitUp(t, c, 2)
		p.near.SetAddr(netip.MustParseAddr("10.0.2.1"), false)
		received := make(chan int)
		go func() {
			n, buf := 0, make([]byte, 1<<10)
			for {
				m, err := s.Read(buf)
				if n += m; n >= 400_000 || err != nil {
					received <- n
					return
				}
			}
		}()
		write(t, c, string(make([]byte, 400_000)))
		awaitUp(t, c, 0)
		for _, sf := range c.Subflows() {
			// The quota, and what was under way: an initial window or two.
			if n := sf.BytesOut + sf.BytesRetrans; sf.Link == 1 && (n < 100_000 || n > 200_000 || sf.Reason != pathmgr.Spent) {
				t.Errorf("%d octets on the bounded link, ended for reason %d", n, sf.Reason)
			}
		}
		p.near.SetAddr(netip.MustParseAddr("10.0.2.1"), true)
		if n := <-received; n != 400_000 {
			t.Errorf("%d octets arrived", n)
		}
		for _, sf := range c.Subflows() {
			if sf.Link == 3 {
				t.Errorf("a path on a link that is forbidden: %v", sf.Tuple)
			}
		}
	})
	none := pathmgr.Rules{{Iface: "*", Never: true}}
	bubble(t, setup{client: Config{PathRules: none}}, func(t *testing.T, p *pair) {
		p.listen()
		if _, err := p.client.Dial(t.Context(), "tcp", p.address("80")); !errors.Is(err, errNoInterface) {
			t.Errorf("Dial: %v", err)
		}
	})
}
