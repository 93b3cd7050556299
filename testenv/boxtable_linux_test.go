package testenv

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mpnc/mpnc/mptcp"
	"github.com/mpnc/mpnc/mptcp/engine"
	"github.com/vishvananda/netlink"
)

const (
	// boxPatience bounds a case; whoever has not ended then hangs. Our ends hold a
	// connection without a path for boxHold, the kernels give up after as much.
	boxPatience = 45 * time.Second
	boxHold     = 6 * time.Second
	// boxDial is how long a connection may take to begin.
	boxDial = 10 * time.Second
	// boxRest is what the other end has after one has failed.
	boxRest = 12 * time.Second
)

// boxPair is who speaks with whom.
type boxPair struct{ client, server peerKind }

func (p boxPair) String() string { return fmt.Sprintf("%v–%v", p.client, p.server) }

var kernelPairs = []boxPair{{ourMPTCP, kernelMPTCP}, {kernelMPTCP, ourMPTCP}}

// labBox is a case with the kernel at one end.
type labBox struct {
	boxCase
	pair   boxPair
	layout layout
}

func (c labBox) String() string {
	return fmt.Sprintf("%s, %v, %s", strings.ReplaceAll(c.name, "/", "-"), c.pair, c.layout.name)
}

// TestMiddleboxesKernel: through every box, between us and the kernel, over one
// path and two: what arrives is what was sent, or one end says that it failed.
func TestMiddleboxesKernel(t *testing.T) {
	var cases []labBox
	for _, c := range boxCases() {
		for _, p := range kernelPairs {
			for _, l := range layouts[:2] {
				cases = append(cases, labBox{c, p, l})
			}
		}
	}
	cases = chosen(t, 2, cases)
	var mu sync.Mutex
	results := make(map[string]string)
	var tests []func(*testing.T)
	for _, c := range cases {
		tests = append(tests, func(t *testing.T) {
			o := c.run(t)
			t.Log(o)
			mu.Lock()
			results[c.key()] = o.String()
			mu.Unlock()
			// What the kernel passes on, and whether it ends, is its own affair.
			theirs := o.theirs && kernelDefects()[c.key()] != ""
			if bad := o.verdict == hangs || o.verdict == wrong && !c.alters; bad && !theirs {
				t.Errorf("%v: %s", o, o.err)
			}
		})
	}
	sideBySide(t, 2*labsAtOnce, tests, func(i int) string { return cases[i].String() })
	recordBoxes(t, results)
}

func (c labBox) key() string { return boxKey(c.name, c.pair.String(), c.layout) }

// run does the transfer.
func (c labBox) run(t *testing.T) boxOutcome {
	lc := LabConfig{Seed: 7}
	for i := range c.layout.paths {
		l := LabLink{Name: []string{"wifi", "cell"}[i], Rate: 20e6, RTT: 10 * time.Millisecond, Queue: boxQueue}
		lc.Links = append(lc.Links, l)
	}
	number := new(int) // of the lab, for the addresses; known only once it is there
	for i := range lc.Links {
		lc.Links[i].Box = &lateBox{make: func() Box {
			return c.make(c.layout.paths, func(d Direction, path int) netip.Addr {
				host := clientHost
				if d == ToServer {
					host = serverHost
				}
				return labPrefix4(*number, path, host).Addr()
			})
		}}
	}
	w := newWorldFor(t, lc, boxPatience)
	*number = w.lab.number
	w.natNeighbours()
	w.config = func(cfg *mptcp.Config) {
		cfg.Hold = boxHold
		if c.checksums {
			cfg.Checksum = mptcp.ChecksumAsk
		}
	}
	kernel := w.lab.Server
	if c.pair.client == kernelMPTCP {
		kernel = w.lab.Client
		must(t, kernel.AddEndpoints(4, Endpoint{Subflow: true}))
	}
	must(t, kernel.Sysctl("net.ipv4.tcp_retries2", "5"))
	if err := kernel.Sysctl(fallbackAfter, "2"); !errors.Is(err, fs.ErrNotExist) { // as usual
		must(t, err)
	}
	must(t, kernel.Sysctl("net.mptcp.close_timeout", "6"))
	if c.checksums {
		must(t, kernel.Sysctl("net.mptcp.checksum_enabled", "1"))
	}
	return w.throughBox(c.pair, kernelDefects()[c.key()] != "")
}

// lateBox makes its box when the first packet comes.
type lateBox struct {
	make func() Box
	box  Box
}

// Pass implements Box.
func (l *lateBox) Pass(d Direction, pkt []byte, emit func(Direction, []byte)) {
	if l.box == nil {
		l.box = l.make()
	}
	l.box.Pass(d, pkt, emit)
}

// natNeighbours makes the server find the client behind the addresses that a
// NAT gives it.
func (w *world) natNeighbours() {
	for _, link := range w.lab.Client.Links() {
		var mac net.HardwareAddr
		must(w.t, w.lab.Client.Do(func() error {
			l, err := netlink.LinkByName(link)
			if err == nil {
				mac = l.Attrs().HardwareAddr
			}
			return err
		}))
		addr := w.lab.Client.Addr(link, 4).AsSlice()
		addr[3] = NATHost
		must(w.t, w.lab.Server.Do(func() error {
			l, err := netlink.LinkByName(link)
			if err != nil {
				return err
			}
			return netlink.NeighSet(&netlink.Neigh{
				LinkIndex: l.Attrs().Index, State: netlink.NUD_PERMANENT, IP: addr, HardwareAddr: mac,
			})
		}))
	}
}

// throughBox moves boxSize octets each way and says what became of them. Of a
// defect that is known nobody waits for the end.
func (w *world) throughBox(p boxPair, known bool) boxOutcome {
	server := w.newEnd(w.lab.Server, p.server, PeerConfig{Mode: Duplex, Bytes: boxSize, Seed: 22}, false)
	client := w.newEnd(w.lab.Client, p.client, PeerConfig{Mode: Duplex, Bytes: boxSize, Seed: 11}, false)
	at := netip.AddrPortFrom(w.lab.Server.Addr("wifi", 4), interopPort)
	server.listen(at)
	if err := client.tryDial(at); err != nil {
		return boxOutcome{verdict: failed, err: plainError(err)}
	}
	type result struct {
		PeerResult
		client bool
	}
	results := make(chan result, 2)
	go func() { results <- result{client.wait(), true} }()
	go func() { results <- result{server.wait(), false} }()
	o := boxOutcome{mptcp: true}
	patience := time.After(boxPatience)
	var first *peerKind // who has ended
	for range 2 {
		var r result
		select {
		case r = <-results:
		case <-patience:
			if o.verdict == identical {
				o.verdict, o.theirs = hangs, first != nil && first.ours()
			}
			return o
		}
		seed := uint64(22)
		if !r.client {
			seed = 11
		}
		w.t.Logf("client %v: %d octets arrived, MPTCP %v, %v", r.client, r.Received, r.MPTCP, r.Err)
		kind := p.server
		if r.client {
			kind = p.client
		}
		o.add(r.PeerResult, seed, kind)
		first = &kind
		if r.Err != nil || known {
			patience = time.After(boxRest)
		}
	}
	for _, e := range []*end{client, server} {
		if e.conn != nil {
			if f := e.conn.Fallback(); f != engine.NoFallback && o.fallback == "" {
				o.fallback = reasons[f]
			}
		}
	}
	return o
}

// add takes account of what one end has seen.
func (o *boxOutcome) add(r PeerResult, seed uint64, kind peerKind) {
	o.mptcp = o.mptcp && r.MPTCP
	noSum := r.ReceivedSum == [sha256.Size]byte{} // it had not ended
	switch {
	case !noSum && r.ReceivedSum != RandomSum(seed, r.Received), r.Err == nil && r.Received != boxSize:
		o.theirs = !kind.ours() && (o.theirs || o.verdict != wrong)
		o.verdict, o.err = wrong, fmt.Sprintf("%d octets", r.Received)
	case errors.Is(r.Err, os.ErrDeadlineExceeded):
		if o.verdict == identical {
			o.verdict, o.theirs = hangs, !kind.ours()
		}
	case r.Err != nil && o.verdict != wrong && (o.verdict != failed || len(plainError(r.Err)) > len(o.err)):
		o.verdict, o.err = failed, plainError(r.Err)
	}
}

// plainError is an error without what differs from one run to the next.
func plainError(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	if i := strings.LastIndex(text, "->"); i >= 0 {
		if _, after, ok := strings.Cut(text[i:], ": "); ok {
			text = after
		}
	}
	if _, after, ok := strings.Cut(text, " octets: "); ok {
		text = after
	}
	if strings.HasPrefix(text, "dial tcp ") {
		_, text, _ = strings.Cut(text, ": ")
	}
	return text
}

// tryDial is dial that may fail.
func (e *end) tryDial(to netip.AddrPort) (err error) {
	if !e.kind.ours() {
		e.kernel, err = KernelClient(e.host, to, e.cfg)
		if err == nil {
			e.w.t.Cleanup(func() { _ = e.kernel.Close() })
		}
		return err
	}
	ctx, cancel := context.WithTimeout(e.w.ctx, boxDial)
	defer cancel()
	c, err := e.stack.Dial(ctx, "tcp", to.String())
	if err == nil {
		go e.talk(c)
	}
	return err
}

// The sums that judge a transfer are of what arrived.
func TestBoxOutcome(t *testing.T) {
	sum := func(n int64) [sha256.Size]byte { return RandomSum(22, n) }
	for _, tt := range []struct {
		name string
		r    PeerResult
		want verdict
	}{
		{"all", PeerResult{Received: boxSize, ReceivedSum: sum(boxSize)}, identical},
		{"too little, without an error", PeerResult{Received: 5, ReceivedSum: sum(5)}, wrong},
		{"too little, with an error", PeerResult{Received: 5, ReceivedSum: sum(5), Err: net.ErrClosed}, failed},
		{"other octets, with an error", PeerResult{Received: 5, ReceivedSum: sum(6), Err: net.ErrClosed}, wrong},
		{"other octets", PeerResult{Received: boxSize, ReceivedSum: sum(6)}, wrong},
		{"no end", PeerResult{Err: fmt.Errorf("no result: %w", os.ErrDeadlineExceeded)}, hangs},
	} {
		o := boxOutcome{}
		o.add(tt.r, 22, ourMPTCP)
		if o.verdict != tt.want {
			t.Errorf("%s: verdict %d, want %d", tt.name, o.verdict, tt.want)
		}
	}
	if got := plainError(errors.New("dial tcp 1.2.3.4:5: i/o timeout")); got != "i/o timeout" {
		t.Errorf("%q", got)
	}
	if got := plainError(errors.New("after 12 octets: read tcp 1.2.3.4:5->6.7.8.9:10: connection reset by peer")); got != "connection reset by peer" {
		t.Errorf("%q", got)
	}
}
