package testenv

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mpnc/mpnc/mptcp"
)

// These tests are about everything on a host that is not our stack's business.

// resets counts the RSTs on the links of a lab, both ways. Those that a segment
// drew which came again after its receiver was through with the connection are
// apart: on a busy machine an acknowledgment may be so late that one is sent.
type resets struct {
	n    atomic.Int64
	late [BothWays]atomic.Int64 // by Direction

	mu    sync.Mutex
	flows map[oneSided]*passed
}

// oneSided is a direction of a connection.
type oneSided struct{ from, to netip.AddrPort }

// passed is what was seen of one.
type passed struct {
	next       uint32 // behind what has been sent so far
	began      bool
	again, fin bool // something was sent again; the end was sent
}

func (r *resets) watch(c *LabConfig) {
	r.flows = make(map[oneSided]*passed)
	for i := range c.Links {
		c.Links[i].Tune = func(d Direction, lc *LinkConfig) {
			lc.Filter = func(pkt []byte) bool {
				if t, ok := viewTCP(pkt); ok {
					r.see(d, pkt, t)
				}
				return false
			}
		}
	}
}

// see takes note of a segment over IPv4.
func (r *resets) see(d Direction, pkt []byte, t tcpView) {
	const fin, syn, rst = 0x01, 0x02, 0x04
	r.mu.Lock()
	defer r.mu.Unlock()
	port := func(at int) uint16 { return binary.BigEndian.Uint16(t.seg[at:]) }
	f := oneSided{
		netip.AddrPortFrom(netip.AddrFrom4([4]byte(pkt[12:])), port(0)),
		netip.AddrPortFrom(netip.AddrFrom4([4]byte(pkt[16:])), port(2)),
	}
	there, back := r.of(f), r.of(oneSided{f.to, f.from})
	switch flags := t.flags(); {
	case flags&rst != 0 && there.fin && (there.again || back.again):
		r.late[d].Add(1)
	case flags&rst != 0:
		r.n.Add(1)
	case flags&(fin|syn) != 0 || len(t.payload()) > 0:
		end := binary.BigEndian.Uint32(t.seg[4:]) + uint32(len(t.payload())) + uint32(flags&fin) + uint32(flags&syn>>1)
		if there.began && int32(end-there.next) <= 0 {
			there.again = true
		} else {
			there.next, there.began = end, true
		}
		there.fin = there.fin || flags&fin != 0
	}
}

func (r *resets) of(f oneSided) *passed {
	if r.flows[f] == nil {
		r.flows[f] = &passed{}
	}
	return r.flows[f]
}

// rawStack starts our stack beside the host's own TCP, which is in use.
func (w *world) rawStack(h *Host, cfg mptcp.Config) (s *mptcp.Stack) {
	w.t.Helper()
	cfg.Logf = w.t.Logf
	must(w.t, h.Do(func() (err error) {
		s, err = mptcp.NewRaw(cfg)
		return err
	}))
	w.t.Cleanup(func() { _ = s.Close() }) // some are closed already
	return s
}

// pair is a connection with both ends.
type pair struct {
	name string
	a, b net.Conn
}

// join connects dial with a listener, and sees to it that both end.
func (w *world) join(name string, ln net.Listener, dial func() (net.Conn, error)) pair {
	w.t.Helper()
	a, err := dial()
	if err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
	w.keep(name+", client", a)
	b, err := ln.Accept()
	if err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
	w.keep(name+", server", b)
	return pair{name, a, b}
}

// ourListener and kernelListener listen in a host.
func (w *world) ourListener(s *mptcp.Stack, at string) net.Listener {
	w.t.Helper()
	ln, err := s.Listen("tcp", at)
	must(w.t, err)
	return ln
}

func (w *world) kernelListener(h *Host, at string) (ln net.Listener) {
	w.t.Helper()
	must(w.t, h.Do(func() (err error) {
		var lc net.ListenConfig
		lc.SetMultipathTCP(false)
		ln, err = lc.Listen(context.Background(), "tcp", at)
		return err
	}))
	w.t.Cleanup(func() { ln.Close() })
	return ln
}

func (w *world) kernelDial(h *Host, to string) func() (net.Conn, error) {
	return func() (c net.Conn, err error) {
		d := net.Dialer{Timeout: dialTimeout}
		d.SetMultipathTCP(false)
		err = h.Do(func() (err error) {
			c, err = d.Dial("tcp", to)
			return err
		})
		return c, err
	}
}

func (w *world) ourDial(s *mptcp.Stack, to string) func() (net.Conn, error) {
	return func() (net.Conn, error) { return s.Dial(w.ctx, "tcp", to) }
}

// exchange moves data both ways over all pairs at once, and ends each in good
// order.
func (w *world) exchange(n int64, pairs ...pair) {
	w.t.Helper()
	errs := make(chan error)
	work := 0
	for i, p := range pairs {
		for j, ends := range [][2]net.Conn{{p.a, p.b}, {p.b, p.a}} {
			seed := uint64(2*i + j)
			name := fmt.Sprintf("%s, direction %d", p.name, j)
			work += 2
			go func() {
				_, err := io.CopyN(ends[0], RandomStream(seed), n)
				if err == nil {
					err = ends[0].(halfCloser).CloseWrite()
				}
				errs <- wrap(name+", sending", err)
			}()
			go func() {
				h := sha256.New()
				got, err := io.Copy(h, ends[1])
				if err == nil && (got != n || [sha256.Size]byte(h.Sum(nil)) != RandomSum(seed, n)) {
					err = fmt.Errorf("%d octets arrived, other ones than the %d sent", got, n)
				}
				errs <- wrap(name+", receiving", err)
			}()
		}
	}
	for range work {
		if err := <-errs; err != nil {
			w.t.Error(err)
		}
	}
}

// settles waits until no end has anything more to send, and what was sent too
// often, or late, has arrived: on a busy machine that is some time after everybody
// has had the peer's end of stream. A stack that is shut down before then leaves
// it to the kernel, which resets it.
func (w *world) settles() {
	w.t.Helper()
	over := func(state string) bool { return state == "TIME-WAIT" || state == "CLOSED" }
	w.until("all connections over", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, wc := range w.conns {
			for _, sf := range wc.conn.Stats().Subflows {
				if !over(fmt.Sprint(sf.State)) {
					return false
				}
			}
		}
		return true
	})
	for _, h := range []*Host{w.lab.Client, w.lab.Server} {
		w.kernelDone(h)
	}
	w.until("links empty", func() bool {
		for _, link := range w.lab.Client.Links() {
			for _, d := range []Direction{ToServer, ToClient} {
				if st := w.lab.Stats(link, d); st.Pushed+st.Duplicated != st.Delivered+st.Dropped() {
					return false
				}
			}
		}
		return true
	})
}

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// The kernel's connections on a host, with the same port at another address and
// with others, live beside ours: each gets its octets, and nobody a RST.
func TestNeighboursOfKernelTCP(t *testing.T) {
	needLab(t)
	// The queues hold everything. Where a last segment is lost, one may come again
	// after its receiver is through with the connection, and draws a RST.
	cfg := LabConfig{Links: []LabLink{
		{Name: "wifi", Rate: 100e6, RTT: 4 * time.Millisecond, Queue: 4 << 20},
		{Name: "cell", Rate: 100e6, RTT: 4 * time.Millisecond, Queue: 4 << 20},
	}}
	var rsts resets
	rsts.watch(&cfg)
	w := newWorld(t, cfg)
	client, server := w.lab.Client, w.lab.Server
	ours := server.Addr("wifi", 4).String() + ":4000"
	theirs := server.Addr("cell", 4).String() + ":4000" // the same port
	aside := server.Addr("wifi", 4).String() + ":4001"  // the same address
	there := client.Addr("wifi", 4).String() + ":4000"
	stackC, stackS := w.rawStack(client, mptcp.Config{}), w.rawStack(server, mptcp.Config{})

	kernelBefore := w.kernelListener(server, theirs)
	ourLn := w.ourListener(stackS, ours)
	kernelAfter := w.kernelListener(server, aside)
	kernelBack := w.kernelListener(client, there)
	pairs := []pair{
		w.join("kernel to kernel, same port", kernelBefore, w.kernelDial(client, theirs)),
		w.join("ours to ours", ourLn, w.ourDial(stackC, ours)),
		w.join("kernel to ours", ourLn, w.kernelDial(client, ours)),
		w.join("ours to kernel", kernelBefore, w.ourDial(stackC, theirs)),
		w.join("kernel to kernel, same address", kernelAfter, w.kernelDial(client, aside)),
		w.join("kernel back to kernel", kernelBack, w.kernelDial(server, there)),
		w.join("ours back to kernel", kernelBack, w.ourDial(stackS, there)),
	}
	w.exchange(1<<20, pairs...)
	w.settles()
	must(t, stackC.Shutdown(w.ctx))
	must(t, stackS.Shutdown(w.ctx))
	if n := rsts.n.Load(); n != 0 {
		t.Errorf("%d RSTs on the links", n)
	}
	for h, d := range map[*Host]Direction{client: ToServer, server: ToClient} {
		w.until(h.Name()+": the kernel's RSTs are those for late segments", func() bool {
			counters, err := h.Counters()
			must(t, err)
			n, ok := counters["TcpOutRsts"]
			return ok && n == rsts.late[d].Load()
		})
		counters, err := h.Counters()
		must(t, err)
		// The last: an older time stamped on a newer segment.
		for _, name := range []string{"TcpEstabResets", "TcpAttemptFails", "TcpExtPAWSEstab"} {
			if n, ok := counters[name]; n != 0 || !ok {
				t.Errorf("%s: the kernel's %s is %d (%v)", h.Name(), name, n, ok)
			}
		}
	}
}

// A kernel's connection of before our stack came lives on while it is there,
// and after it is gone; and what our stack held is the kernel's again then.
func TestNeighboursComeAndGo(t *testing.T) {
	needLab(t)
	w := newWorld(t, handoverLinks())
	at := w.lab.Server.Addr("wifi", 4).String()
	ln := w.kernelListener(w.lab.Server, at+":4001")
	old := w.join("kernel's", ln, w.kernelDial(w.lab.Client, at+":4001"))
	say := func(text string) {
		t.Helper()
		for _, ends := range [][2]net.Conn{{old.a, old.b}, {old.b, old.a}} {
			got := make([]byte, len(text))
			_, err := io.WriteString(ends[0], text)
			must(t, err)
			if _, err = io.ReadFull(ends[1], got); err != nil || string(got) != text {
				t.Fatalf("%q, %v", got, err)
			}
		}
	}
	say("before")
	for range 2 {
		stackC, stackS := w.rawStack(w.lab.Client, mptcp.Config{}), w.rawStack(w.lab.Server, mptcp.Config{})
		say("beside")
		w.exchange(100<<10, w.join("ours", w.ourListener(stackS, at+":4000"), w.ourDial(stackC, at+":4000")))
		must(t, stackC.Shutdown(w.ctx))
		must(t, stackS.Shutdown(w.ctx))
		say("after")
	}
	w.exchange(100<<10, w.join("kernel's in our place", w.kernelListener(w.lab.Server, at+":4000"), w.kernelDial(w.lab.Client, at+":4000")))
}

// What listens on 127.0.0.1 is not reachable from the network: the answer there
// is the kernel's, be it a refusal or another program's.
func TestNeighboursLoopbackListener(t *testing.T) {
	needLab(t)
	w := newWorld(t, handoverLinks())
	client, server := w.lab.Client, w.lab.Server
	stack := w.rawStack(server, mptcp.Config{})
	local := w.ourListener(stack, "127.0.0.1:4000")
	from := w.rawStack(client, mptcp.Config{})
	accepted := func() uint64 { return stack.Stats().Accepted }
	for _, link := range server.Links() {
		to := server.Addr(link, 4).String() + ":4000"
		before, err := server.Counters()
		must(t, err)
		for name, dial := range map[string]func() (net.Conn, error){"kernel": w.kernelDial(client, to), "ours": w.ourDial(from, to)} {
			if c, err := dial(); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s to %s: %v, %v", name, to, c, err)
			}
		}
		grown, err := server.CountersSince(before)
		must(t, err)
		if grown["TcpOutRsts"] < 2 {
			t.Errorf("the kernel sent %d RSTs: the refusals were somebody else's", grown["TcpOutRsts"])
		}
		p := w.join("another program's", w.kernelListener(server, to), w.kernelDial(client, to))
		w.exchange(100<<10, p)
	}
	if n := accepted(); n != 0 {
		t.Errorf("our listener accepted %d connections", n)
	}
	w.exchange(100<<10, w.join("from the host itself", local, w.ourDial(stack, "127.0.0.1:4000")))
}

// Two stacks in one host, each with a listener and connections of its own, to
// each other and to the same places.
func TestNeighboursTwoStacks(t *testing.T) {
	needLab(t)
	w := newWorld(t, LabConfig{Links: []LabLink{{Name: "wifi", Rate: 100e6, RTT: 4 * time.Millisecond}, {Name: "cell", Rate: 100e6, RTT: 4 * time.Millisecond}}})
	client, server := w.lab.Client, w.lab.Server
	at := server.Addr("wifi", 4).String()
	c1, c2 := w.stack(client, mptcp.Config{}), w.stack(client, mptcp.Config{})
	s1, s2 := w.stack(server, mptcp.Config{}), w.stack(server, mptcp.Config{})
	l1, l2 := w.ourListener(s1, ":4000"), w.ourListener(s2, ":4001")
	if _, err := s2.Listen("tcp", ":4000"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("listening where the other stack does: %v", err)
	}
	pairs := []pair{
		w.join("1 to 1", l1, w.ourDial(c1, at+":4000")),
		w.join("2 to 1", l1, w.ourDial(c2, at+":4000")),
		w.join("1 to 2", l2, w.ourDial(c1, at+":4001")),
		w.join("2 to 2", l2, w.ourDial(c2, at+":4001")),
		w.join("1 to 2 within the host", l2, w.ourDial(s1, at+":4001")),
		w.join("2 to 1 over loopback", l1, w.ourDial(s2, "127.0.0.1:4000")),
		w.join("1 to itself", l1, w.ourDial(s1, "127.0.0.1:4000")),
	}
	w.exchange(1<<20, pairs...)
	for _, p := range pairs {
		for _, end := range []net.Conn{p.a, p.b} {
			if st := end.(*mptcp.Conn).Stats(); !st.Multipath || st.MPRstRx+st.MPRstTx != 0 {
				t.Errorf("%s: MPTCP %v, resets %d and %d", p.name, st.Multipath, st.MPRstRx, st.MPRstTx)
			}
		}
	}
	for _, s := range []*mptcp.Stack{c1, c2, s1, s2} {
		must(t, s.Shutdown(w.ctx))
	}
}

// mpnc -l and mpnc localhost on one host, twice at once, beside two sessions
// over the network.
func TestNeighboursProcesses(t *testing.T) {
	needLab(t)
	w := newWorld(t, handoverLinks())
	client, server := w.lab.Client, w.lab.Server
	for _, h := range []*Host{client, server} {
		must(t, h.Sysctl("net.mptcp.enabled", "0"))
	}
	type session struct {
		from, to *mpncProcess
		text     string
	}
	var sessions []session
	for i, to := range []string{"localhost", "127.0.0.1", server.Addr("wifi", 4).String(), server.Addr("cell", 6).String()} {
		port := fmt.Sprint(4000 + i)
		from := server
		if i >= 2 {
			from = client
		}
		l := w.mpnc(server, "-v", "-l", "-d", port).listens()
		c := w.mpnc(from, "-v", "-N", to, port)
		text := fmt.Sprintf("hello %d\n", i)
		_, err := io.WriteString(c.in, text)
		must(t, err)
		l.prints(text)
		sessions = append(sessions, session{c, l, text})
	}
	for _, s := range sessions { // all are open now
		_, err := io.WriteString(s.from.in, "and more\n")
		must(t, err)
		must(t, s.from.in.Close())
	}
	for _, s := range sessions {
		if status := s.from.exits(); status != 0 {
			t.Errorf("client of %q: exit status %d", s.text, status)
		}
		if status := s.to.exits(); status != 0 {
			t.Errorf("server of %q: exit status %d", s.text, status)
		}
		if got := s.to.out.String(); got != s.text+"and more\n" {
			t.Errorf("%q arrived", got)
		}
	}
	kernelIdle(t, client)
	kernelIdle(t, server)
}
