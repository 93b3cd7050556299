package testenv

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mpnc/mpnc/mptcp"
)

// addressCase is a change of the client's only address while lines are echoed.
type addressCase struct {
	client, server peerKind
	gone           time.Duration
	same           bool // the same address comes back
	family         int
}

func (c addressCase) String() string {
	return fmt.Sprintf("%v to %v, IPv%d, %v, same %v", c.client, c.server, c.family, c.gone, c.same)
}

func addressCases() (cases []addressCase) {
	gaps := []time.Duration{0, 500 * time.Millisecond, 2 * time.Second}
	if full() {
		gaps = append(gaps, 90*time.Second)
	}
	for i, gone := range gaps {
		family := []int{4, 6}[i%2]
		for _, server := range []peerKind{ourMPTCP, kernelMPTCP} {
			cases = append(cases, addressCase{ourMPTCP, server, gone, false, family})
		}
		for _, server := range []peerKind{ourTCP, kernelTCP, ourMPTCP} {
			client := ourTCP
			if server == ourMPTCP {
				client = server
			}
			if gone > 0 {
				cases = append(cases, addressCase{client, server, gone, true, 10 - family})
			}
		}
	}
	return cases
}

// One interface, whose address is removed; another one comes, or with plain TCP
// the same: the session goes on, no line is lost or comes twice, and meanwhile
// nothing is sent from the address that is gone.
func TestHandoverOnlyAddressChanges(t *testing.T) {
	cases := chosen(t, 4, addressCases())
	var tests []func(*testing.T)
	for _, c := range cases {
		tests = append(tests, func(t *testing.T) { changeOnlyAddress(t, c) })
	}
	sideBySide(t, labsAtOnce, tests, func(i int) string { return cases[i].String() })
}

func changeOnlyAddress(t *testing.T, c addressCase) {
	cfg := LabConfig{Links: []LabLink{{Name: "wifi", Rate: 20e6, RTT: 20 * time.Millisecond}}}
	var from sources
	from.watch(&cfg, ToServer)
	w := newWorldFor(t, cfg, interopPatience+2*c.gone)
	l := w.connect(c.client, c.server, c.family)
	e := l.echo()
	ours := l.client.(*mptcp.Conn)
	h := w.lab.Client
	bits := map[int]int{4: 24, 6: 64}[c.family]
	old := h.Addr("wifi", c.family)
	next := netip.PrefixFrom(old, bits)
	if !c.same {
		next = netip.PrefixFrom(old.Next().Next().Next(), bits)
	}

	e.returns("before anything happens", 10)
	from.follow(old)
	must(t, h.RemoveAddr("wifi", old))
	if c.gone == 0 {
		must(t, h.AddAddr("wifi", next))
		from.quiet(w, ours)
	} else {
		from.quiet(w, ours)
		select {
		case <-time.After(c.gone):
		case <-w.ctx.Done():
		}
		from.none(t)
		meanwhile := e.written.Load()
		must(t, h.AddAddr("wifi", next))
		e.hears("what was written meanwhile", meanwhile)
	}
	e.returns("with the address back", 10)
	if !c.same {
		from.none(t)
	}
	e.finish()
	if ours.LocalAddr().(*net.TCPAddr).AddrPort().Addr() != old {
		t.Errorf("the connection's own address became %v", ours.LocalAddr())
	}
}

// echo is a user at the client's end who types lines, and a server that sends
// them back.
type echo struct {
	*link
	stop            chan struct{}
	written         atomic.Int64 // lines
	heard, returned atomic.Int64 // at the server, and back at the client
	errs            chan error
}

// echo starts them.
func (l *link) echo() *echo {
	e := &echo{link: l, stop: make(chan struct{}), errs: make(chan error, 3)}
	go func() { e.errs <- e.write() }()
	go func() { e.errs <- e.read() }()
	go func() { e.errs <- e.serve() }()
	return e
}

func (e *echo) write() error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-e.stop:
			return e.client.(halfCloser).CloseWrite()
		case <-tick.C:
		}
		if _, err := fmt.Fprintf(e.client, "line %d\n", e.written.Load()); err != nil {
			return fmt.Errorf("client, writing: %w", err)
		}
		e.written.Add(1)
	}
}

func (e *echo) read() error {
	r := bufio.NewReader(e.client)
	for {
		got, err := r.ReadString('\n')
		if err == io.EOF && got == "" {
			return nil
		}
		if err != nil {
			return fmt.Errorf("client, after %d lines and %q: %w", e.returned.Load(), got, err)
		}
		if want := fmt.Sprintf("line %d\n", e.returned.Load()); got != want {
			return fmt.Errorf("client: %q came back, want %q", got, want)
		}
		e.returned.Add(1)
	}
}

func (e *echo) serve() error {
	buf := make([]byte, 4096)
	for {
		n, err := e.server.Read(buf)
		e.heard.Add(int64(strings.Count(string(buf[:n]), "\n")))
		if _, werr := e.server.Write(buf[:n]); werr != nil {
			return fmt.Errorf("server, writing: %w", werr)
		}
		if err == io.EOF {
			return e.server.(halfCloser).CloseWrite()
		}
		if err != nil {
			return fmt.Errorf("server, after %d lines: %w", e.heard.Load(), err)
		}
	}
}

// returns waits until n lines more that are written from now on came back.
func (e *echo) returns(when string, n int64) {
	e.w.t.Helper()
	target := e.written.Load() + n
	e.w.until("lines come back "+when, func() bool { return e.returned.Load() >= target })
}

// hears waits until the server got the first n lines.
func (e *echo) hears(what string, n int64) {
	e.w.t.Helper()
	e.w.until(what+" arrives", func() bool { return e.heard.Load() >= n })
}

// finish ends the session in good order.
func (e *echo) finish() {
	e.w.t.Helper()
	close(e.stop)
	if err := errors.Join(<-e.errs, <-e.errs, <-e.errs); err != nil {
		e.w.t.Error(err)
	}
	if w, r := e.written.Load(), e.returned.Load(); w != r {
		e.w.t.Errorf("%d lines written, %d came back", w, r)
	}
}
