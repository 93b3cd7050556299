package testenv

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mpnc/mpnc/mptcp"
)

// The interoperability tests move data between our stack and the kernels of
// two hosts. None depends on how fast that is: each has a deadline that no
// working stack comes near, and says on failure what its connections were at.

// interopPatience bounds one case. hangPatience is how much later even its
// cleanup must have ended: then the process stops and shows its goroutines.
const (
	interopPatience = 60 * time.Second
	hangPatience    = 60 * time.Second
)

// labsAtOnce is how many cases run side by side, unless they are slow by nature
// and not for want of a processor.
const labsAtOnce = 4

// interopLinks is the pair of links of most cases, with queues of one
// bandwidth-delay product.
func interopLinks() LabConfig {
	return LabConfig{Seed: uint64(rand.Uint32()), Links: []LabLink{
		{Name: "wifi", Rate: 50e6, RTT: 20 * time.Millisecond},
		{Name: "cell", Rate: 20e6, RTT: 80 * time.Millisecond},
	}}
}

// peerKind is what speaks at one end.
type peerKind uint8

const (
	ourMPTCP peerKind = iota
	ourTCP
	kernelMPTCP
	kernelTCP
)

func (k peerKind) String() string {
	return [...]string{"mpnc", "mpnc-tcp", "kernel", "kernel-tcp"}[k]
}

func (k peerKind) ours() bool { return k <= ourTCP }

// flow is which way the data goes.
type flow uint8

const (
	up   = flow(ToServer)
	down = flow(ToClient)
	both = flow(BothWays)
)

func (f flow) String() string {
	return map[flow]string{up: "up", down: "down", both: "both ways"}[f]
}

// modes returns what client and server do.
func (f flow) modes() (client, server PeerMode) {
	switch f {
	case up:
		return Source, Sink
	case down:
		return Sink, Source
	default:
		return Duplex, Duplex
	}
}

// interopCase is one transfer.
type interopCase struct {
	client, server peerKind
	flow           flow
	family         int
	size           int64
	// exits: our ends stop their stacks as soon as they have written, or read,
	// the last octet, without having seen the peer's end.
	exits bool
	// joins: all but the first data waits until a further path is there. A
	// kernel's program that has written everything has soon ended its direction,
	// and from then on its kernel accepts no joins; on a busy machine that is
	// before the first one comes.
	joins bool
	// falls: data waits until both ends know that the connection becomes TCP.
	falls bool
}

func (c interopCase) String() string {
	name := fmt.Sprintf("%v to %v, %v, IPv%d", c.client, c.server, c.flow, c.family)
	if c.exits {
		name += ", exits"
	}
	return name
}

// sideBySide runs cases as subtests, n at a time, and checks that nothing of
// them is left afterwards.
func sideBySide(t *testing.T, n int, cases []func(t *testing.T), name func(i int) string) {
	t.Helper()
	needLab(t)
	before, goroutines := traces(t), goroutineCount()
	slots := make(chan struct{}, n)
	var work sync.WaitGroup
	for i, run := range cases {
		work.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			t.Run(name(i), run)
		})
	}
	work.Wait()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("traces before: %q, after: %q", before, traces(t))
		}
	})
	until(t, "the labs' namespaces gone", func() bool { return slices.Equal(traces(t), before) })
	until(t, "the labs' goroutines gone", func() bool { return goroutineCount() <= goroutines })
}

func goroutineCount() int { return pprof.Lookup("goroutine").Count() }

// world is the lab of one case with the stacks and connections in it.
type world struct {
	t   *testing.T
	lab *Lab
	ctx context.Context // ends with the case's patience

	config func(*mptcp.Config) // changes that of our stacks, if not nil

	mu     sync.Mutex
	conns  []worldConn
	stacks []*mptcp.Stack
	fell   map[*mptcp.Conn]mptcp.FallbackReason // as OnPath told
}

type worldConn struct {
	name string
	conn *mptcp.Conn
}

func newWorld(t *testing.T, c LabConfig) *world {
	t.Helper()
	return newWorldFor(t, c, interopPatience)
}

// fallbackAfter is how many SYNs more a kernel sends with MP_CAPABLE.
const fallbackAfter = "net.mptcp.syn_retrans_before_tcp_fallback"

// newWorldFor is newWorld for a case with a patience of its own.
func newWorldFor(t *testing.T, c LabConfig, patience time.Duration) *world {
	t.Helper()
	lab := newTestLab(t, c)
	for _, h := range []*Host{lab.Client, lab.Server} {
		// A kernel takes a peer that is silent for three seconds for a link that
		// swallows MPTCP, and goes on without; it may as well be a busy machine.
		if err := h.Sysctl(fallbackAfter, "5"); !errors.Is(err, fs.ErrNotExist) {
			must(t, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	w := &world{t: t, lab: lab, ctx: ctx, fell: make(map[*mptcp.Conn]mptcp.FallbackReason)}
	if dir := os.Getenv("MPNC_CAPTURE"); dir != "" { // to see what a failure was
		for _, link := range lab.Client.Links() {
			name := strings.NewReplacer("/", "-", " ", "-", ",", "").Replace(t.Name())
			_, err := lab.Capture(lab.Client, link, filepath.Join(dir, name+"-"+link+".pcap"))
			must(t, err)
		}
	}
	hang := time.AfterFunc(patience+hangPatience, func() {
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		panic("hangs: " + t.Name())
	})
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			w.dump()
		}
		hang.Stop()
	})
	return w
}

// dump logs what the connections are at.
func (w *world) dump() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		st := c.conn.Stats()
		subflows := st.Subflows
		st.Subflows = nil
		w.t.Logf("%s: %+v", c.name, st)
		for _, sf := range subflows {
			w.t.Logf("%s: subflow %+v", c.name, sf)
		}
	}
	for _, h := range []*Host{w.lab.Client, w.lab.Server} {
		counters, _ := h.CountersSince(nil)
		for name := range counters {
			if !strings.HasPrefix(name, "MPTcpExt") && !strings.HasPrefix(name, "Tcp") {
				delete(counters, name)
			}
		}
		w.t.Logf("%s: %v", h.Name(), counters)
		sockets, _ := tcpSockets(h)
		w.t.Logf("%s: sockets %q", h.Name(), sockets)
	}
	for _, l := range w.lab.Client.Links() {
		w.t.Logf("%s: %+v, back %+v", l, w.lab.Stats(l, ToServer), w.lab.Stats(l, ToClient))
	}
	w.t.Logf("the emulator lost %d frames", w.lab.Lost())
}

// stack starts our stack in a host, whose own TCP must have no part in
// anything from then on: checked at the end.
func (w *world) stack(h *Host, cfg mptcp.Config) (s *mptcp.Stack) {
	w.t.Helper()
	must(w.t, h.Sysctl("net.mptcp.enabled", "0"))
	cfg.Logf = w.t.Logf
	if w.config != nil {
		w.config(&cfg)
	}
	cfg.OnPath = func(c *mptcp.Conn, ev mptcp.PathEvent) {
		if ev.Kind == mptcp.FellBack {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.fell[c] = ev.Fallback
		}
	}
	must(w.t, h.Do(func() (err error) {
		s, err = mptcp.NewRaw(cfg)
		return err
	}))
	w.mu.Lock()
	w.stacks = append(w.stacks, s)
	w.mu.Unlock()
	w.t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, net.ErrClosed) { // closed by Shutdown
			w.t.Errorf("%s: closing the stack: %v", h.Name(), err)
		}
		kernelIdle(w.t, h)
	})
	return s
}

// kernelIdle checks that a host's own TCP opened nothing.
func kernelIdle(t *testing.T, h *Host) {
	t.Helper()
	if on, err := h.ReadSysctl("net.mptcp.enabled"); on != "0" || err != nil {
		t.Errorf("%s: net.mptcp.enabled is %q (%v)", h.Name(), on, err)
	}
	counters, err := h.Counters()
	must(t, err)
	for _, name := range []string{"TcpActiveOpens", "TcpPassiveOpens"} {
		if n, ok := counters[name]; n != 0 || !ok {
			t.Errorf("%s: the kernel's %s is %d (%v)", h.Name(), name, n, ok)
		}
	}
}

// known remembers a connection for dump.
func (w *world) known(name string, c *mptcp.Conn) {
	deadline, _ := w.ctx.Deadline()
	_ = c.SetDeadline(deadline)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, worldConn{name, c})
}

// end is one end of a case's connection.
type end struct {
	w    *world
	host *Host
	kind peerKind
	cfg  PeerConfig
	exit bool

	kernel *KernelPeer
	stack  *mptcp.Stack
	conn   *mptcp.Conn // ours, once there is one
	done   chan PeerResult
}

// interopPort is where servers listen.
const interopPort = 4000

// transfer is what the two ends of a case saw.
type transferred struct {
	client, server *end
	atClient       PeerResult
	atServer       PeerResult
}

// run does the transfer of a case, checks that all arrived as it was sent, and
// returns once every stack of ours is shut down and the kernels are done.
func (w *world) run(c interopCase) transferred {
	w.t.Helper()
	clientMode, serverMode := c.flow.modes()
	const clientSeed, serverSeed = 11, 22
	var gate chan struct{}
	if c.joins {
		gate = make(chan struct{})
	}
	server := w.newEnd(w.lab.Server, c.server, PeerConfig{Mode: serverMode, Bytes: c.size, Seed: serverSeed, Gate: gate}, c.exits)
	client := w.newEnd(w.lab.Client, c.client, PeerConfig{Mode: clientMode, Bytes: c.size, Seed: clientSeed, Gate: gate}, c.exits)
	at := netip.AddrPortFrom(w.lab.Server.Addr("wifi", c.family), interopPort)
	server.listen(at)
	client.dial(at)
	if c.joins {
		w.open(gate, "further path", func() bool { return w.joined(c) })
	}
	tr := transferred{client: client, server: server}
	tr.atClient, tr.atServer = client.wait(), server.wait()
	w.arrived("server", tr.atServer, c.flow&up != 0, clientSeed, c.size)
	w.arrived("client", tr.atClient, c.flow&down != 0, serverSeed, c.size)
	for _, e := range []*end{client, server} {
		if e.kernel != nil {
			must(w.t, e.kernel.Close())
			w.kernelDone(e.host)
		}
	}
	return tr
}

// open opens the gate once ok, or when that does not come.
func (w *world) open(gate chan struct{}, what string, ok func() bool) {
	w.t.Helper()
	defer close(gate) // the ends go on, and end
	for late := time.Now().Add(interopPatience / 2); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(late) {
			w.t.Errorf("still no %s", what)
			return
		}
	}
}

// joined reports whether both ends have a further path.
func (w *world) joined(c interopCase) bool {
	w.mu.Lock()
	conns := slices.Clone(w.conns)
	w.mu.Unlock()
	ours := 0
	for _, k := range []peerKind{c.client, c.server} {
		if k.ours() {
			ours++
		}
	}
	if len(conns) < ours {
		return false
	}
	for _, wc := range conns {
		if st := wc.conn.Stats(); st.MPJoinSynAckRx+st.MPJoinAckRx == 0 {
			return false
		}
	}
	for h, counter := range map[*Host]string{w.lab.Client: "MPTcpExtMPJoinSynAckRx", w.lab.Server: "MPTcpExtMPJoinAckRx"} {
		if kind := map[*Host]peerKind{w.lab.Client: c.client, w.lab.Server: c.server}[h]; kind == kernelMPTCP {
			counters, err := h.Counters()
			must(w.t, err)
			if counters[counter] == 0 {
				return false
			}
		}
	}
	return true
}

// arrived checks what one end received.
func (w *world) arrived(who string, r PeerResult, data bool, seed uint64, size int64) {
	w.t.Helper()
	if !data {
		size = 0
	}
	if r.Err != nil {
		w.t.Errorf("%s: %v", who, r.Err)
	}
	if r.Received != size {
		w.t.Errorf("%s: %d octets arrived, want %d", who, r.Received, size)
	} else if r.ReceivedSum != RandomSum(seed, size) {
		w.t.Errorf("%s: %d octets arrived, other ones than were sent", who, size)
	}
}

func (w *world) newEnd(h *Host, k peerKind, cfg PeerConfig, exit bool) *end {
	w.t.Helper()
	e := &end{w: w, host: h, kind: k, cfg: cfg, exit: exit, done: make(chan PeerResult, 1)}
	e.cfg.MPTCP = k == kernelMPTCP
	if k.ours() {
		e.stack = w.stack(h, mptcp.Config{TCPOnly: k == ourTCP})
	}
	return e
}

func (e *end) listen(at netip.AddrPort) {
	e.w.t.Helper()
	if !e.kind.ours() {
		var err error
		e.kernel, err = KernelServer(e.host, at, e.cfg)
		must(e.w.t, err)
		e.w.t.Cleanup(func() { _ = e.kernel.Close() })
		return
	}
	// At all addresses, so that the others are advertised.
	ln, err := e.stack.Listen("tcp", fmt.Sprint(":", at.Port()))
	must(e.w.t, err)
	go func() {
		c, err := ln.AcceptContext(e.w.ctx)
		if err != nil {
			e.done <- PeerResult{Err: fmt.Errorf("accept: %w", err)}
			return
		}
		e.talk(c)
	}()
}

func (e *end) dial(to netip.AddrPort) {
	e.w.t.Helper()
	if !e.kind.ours() {
		var err error
		e.kernel, err = KernelClient(e.host, to, e.cfg)
		must(e.w.t, err)
		e.w.t.Cleanup(func() { _ = e.kernel.Close() })
		return
	}
	c, err := e.stack.Dial(e.w.ctx, "tcp", to.String())
	must(e.w.t, err)
	go e.talk(c)
}

// wait returns the end's result.
func (e *end) wait() PeerResult {
	if e.kernel != nil {
		deadline, _ := e.w.ctx.Deadline()
		return e.kernel.Wait(time.Until(deadline))
	}
	return <-e.done // its connection has a deadline
}

// talk uses a connection of ours as a KernelPeer uses one of the kernel's, and
// then shuts its stack down, as a program that ends.
func (e *end) talk(c *mptcp.Conn) {
	e.w.known(e.host.Name(), c)
	e.conn = c
	var r PeerResult
	sent, received := sha256.New(), sha256.New()
	send := func() error {
		data, to := RandomStream(e.cfg.Seed), io.MultiWriter(c, sent)
		head := int64(0)
		if e.cfg.Gate != nil {
			var err error
			if head, err = io.CopyN(to, data, e.cfg.head()); err != nil {
				return fmt.Errorf("after %d octets: %w", head, err)
			}
			<-e.cfg.Gate
		}
		n, err := io.CopyN(to, data, e.cfg.Bytes-head)
		n += head
		r.Sent = n
		if err != nil {
			return fmt.Errorf("after %d octets: %w", n, err)
		}
		if e.exit {
			return nil
		}
		return c.CloseWrite()
	}
	receive := func() error {
		n, err := io.Copy(received, c)
		r.Received = n
		if err != nil {
			return fmt.Errorf("after %d octets: %w", n, err)
		}
		return nil
	}
	switch e.cfg.Mode {
	case Source:
		if r.Err = send(); r.Err == nil && !e.exit {
			r.Err = receive()
		}
	case Sink:
		if r.Err = receive(); r.Err == nil && !e.exit {
			r.Err = c.CloseWrite()
		}
	case Duplex:
		errs := make(chan error, 1)
		go func() {
			err := send()
			if err == nil && e.exit {
				err = c.CloseWrite() // the other end reads to the end, too
			}
			errs <- err
		}()
		r.Err = errors.Join(receive(), <-errs)
	}
	r.MPTCP = c.Multipath()
	if !e.exit {
		r.Err = errors.Join(r.Err, c.Close())
	}
	if err := e.stack.Shutdown(e.w.ctx); err != nil {
		r.Err = errors.Join(r.Err, fmt.Errorf("shutdown: %w", err))
	}
	sent.Sum(r.SentSum[:0])
	received.Sum(r.ReceivedSum[:0])
	e.done <- r
}

// kernelDone waits until no connection of a host's kernel is left but those in
// TIME-WAIT: only then its counters are final.
func (w *world) kernelDone(h *Host) {
	w.t.Helper()
	for {
		busy, err := tcpSockets(h)
		must(w.t, err)
		if len(busy) == 0 {
			return
		}
		if w.ctx.Err() != nil {
			w.t.Errorf("%s: the kernel still has %q", h.Name(), busy)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// tcpSockets lists the TCP sockets of a host that neither listen nor are in
// TIME-WAIT.
func tcpSockets(h *Host) (busy []string, err error) {
	const timeWait, listen = "06", "0A"
	err = h.Do(func() error {
		for _, name := range []string{"tcp", "tcp6"} {
			b, err := os.ReadFile("/proc/thread-self/net/" + name)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			for line := range bytes.Lines(b) {
				f := strings.Fields(string(line))
				if len(f) > 4 && f[0] != "sl" && f[3] != timeWait && f[3] != listen {
					busy = append(busy, strings.Join(f[1:5], " "))
				}
			}
		}
		return nil
	})
	return busy, err
}

// badNames are parts of the names of the kernel's counters that say that
// something went wrong with MPTCP (net/mptcp/mib.c).
var badNames = []string{
	"Fallback", "Infinite", // it became plain TCP
	"Corruption", "CsumErr", "NotMatching", "NoMatch", "MPFail", "NoDSSInWindow",
	"HMacFailure", "NoTokenFound", "Rejected", "Mismatch",
	"MPRst", "Fastclose",
}

// healthyKernel checks a kernel peer's counters: nothing of badNames, but for
// refusals and resets of at most late joins. It returns how many joins they show.
func healthyKernel(t *testing.T, h *Host, joinCounter string, late int) (joins int64) {
	t.Helper()
	counters, err := h.Counters()
	must(t, err)
	joins, ok := counters[joinCounter]
	if !ok {
		t.Errorf("%s: the kernel has no %s", h.Name(), joinCounter)
	}
	seen := 0
	for name, n := range counters {
		for _, bad := range badNames {
			if strings.HasPrefix(name, "MPTcpExt") && strings.Contains(name, bad) {
				seen++
				if n != 0 && (bad != "MPRst" && bad != "Rejected" || n > int64(late)) {
					t.Errorf("%s: the kernel's %s is %d", h.Name(), name, n)
				}
			}
		}
	}
	if seen < len(badNames) {
		t.Errorf("%s: the kernel has only %d of the counters that would tell", h.Name(), seen)
	}
	if n := counters["TcpEstabResets"]; n != 0 {
		t.Errorf("%s: the kernel counted %d connections reset", h.Name(), n)
	}
	return joins
}
