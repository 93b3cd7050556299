package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mpnc/mpnc/mptcp"
)

// link is a connection of a world with both its ends, whoever speaks at each:
// for tests that do something to the network while data moves.
type link struct {
	w              *world
	client, server net.Conn
}

// halfCloser is what our connections and the kernel's have beyond net.Conn.
type halfCloser interface{ CloseWrite() error }

// connect joins two ends over the wifi addresses. Everything ends with the
// test.
func (w *world) connect(client, server peerKind, family int) *link {
	w.t.Helper()
	return w.connectTo(client, server, netip.AddrPortFrom(w.lab.Server.Addr("wifi", family), interopPort))
}

func (w *world) connectTo(client, server peerKind, at netip.AddrPort) *link {
	w.t.Helper()
	ln := w.listener(w.lab.Server, server, fmt.Sprint(":", at.Port()))
	c := w.dialer(w.lab.Client, client, at)
	s, err := ln.Accept()
	must(w.t, err)
	w.keep("server", s)
	return &link{w, c, s}
}

// listener listens as k does in a host.
func (w *world) listener(h *Host, k peerKind, at string) (ln net.Listener) {
	w.t.Helper()
	var err error
	if k.ours() {
		ln, err = w.stack(h, mptcp.Config{TCPOnly: k == ourTCP}).Listen("tcp", at)
	} else {
		var lc net.ListenConfig
		lc.SetMultipathTCP(k == kernelMPTCP)
		err = h.Do(func() (err error) {
			ln, err = lc.Listen(context.Background(), "tcp", at)
			return err
		})
	}
	must(w.t, err)
	w.t.Cleanup(func() { ln.Close() })
	return ln
}

// dialer connects as k does from a host.
func (w *world) dialer(h *Host, k peerKind, to netip.AddrPort) (c net.Conn) {
	w.t.Helper()
	var err error
	if k.ours() {
		c, err = w.stack(h, mptcp.Config{TCPOnly: k == ourTCP}).Dial(w.ctx, "tcp", to.String())
	} else {
		d := net.Dialer{Timeout: dialTimeout}
		d.SetMultipathTCP(k == kernelMPTCP)
		err = h.Do(func() (err error) {
			c, err = d.Dial("tcp", to.String())
			return err
		})
	}
	must(w.t, err)
	w.keep("client", c)
	return c
}

// keep gives a connection the case's deadline, and remembers ours for dump.
func (w *world) keep(name string, c net.Conn) {
	if ours, ok := c.(*mptcp.Conn); ok {
		w.known(name, ours)
	} else {
		deadline, _ := w.ctx.Deadline()
		_ = c.SetDeadline(deadline)
	}
	w.t.Cleanup(func() { c.Close() })
}

// stream is pseudo-random data on its way from one end to the other, until it
// is told to end.
type stream struct {
	w        *world
	stop     chan struct{}
	received atomic.Int64
	errs     chan error
}

// stream starts sending at least least octets.
func (w *world) stream(from, to net.Conn, least int64) *stream {
	const seed = 33
	s := &stream{w: w, stop: make(chan struct{}), errs: make(chan error, 2)}
	go func() { s.errs <- s.send(from, RandomStream(seed), least) }()
	go func() { s.errs <- s.check(to, RandomStream(seed)) }()
	return s
}

// send writes until stop is closed, then waits for the other end to finish.
func (s *stream) send(c net.Conn, data io.Reader, least int64) error {
	buf := make([]byte, 32<<10)
	for n := int64(0); ; n += int64(len(buf)) {
		select {
		case <-s.stop:
			if n >= least {
				if err := c.(halfCloser).CloseWrite(); err != nil {
					return fmt.Errorf("sender, closing: %w", err)
				}
				_, err := c.Read(buf)
				if err != io.EOF {
					return fmt.Errorf("sender, after its end: %w", err)
				}
				return nil
			}
		default:
		}
		_, _ = io.ReadFull(data, buf) // it never fails
		if _, err := c.Write(buf); err != nil {
			return fmt.Errorf("sender, after %d octets: %w", n, err)
		}
	}
}

// check reads to the end, and holds it against what was sent.
func (s *stream) check(c net.Conn, data io.Reader) error {
	buf, want := make([]byte, 32<<10), make([]byte, 32<<10)
	for {
		n, err := c.Read(buf)
		_, _ = io.ReadFull(data, want[:n])
		if !bytes.Equal(buf[:n], want[:n]) {
			return fmt.Errorf("receiver: other octets than were sent, around %d", s.received.Load())
		}
		s.received.Add(int64(n))
		if err == io.EOF {
			return c.(halfCloser).CloseWrite()
		}
		if err != nil {
			return fmt.Errorf("receiver, after %d octets: %w", s.received.Load(), err)
		}
	}
}

// moves waits until n octets more have arrived.
func (s *stream) moves(why string, n int64) {
	s.w.t.Helper()
	target := s.received.Load() + n
	s.w.until(why, func() bool { return s.received.Load() >= target })
}

// finish ends the stream and fails the test if it was not all there.
func (s *stream) finish() {
	s.w.t.Helper()
	close(s.stop)
	if err := errors.Join(<-s.errs, <-s.errs); err != nil {
		s.w.t.Error(err)
	}
}

// until polls until ok, and fails at the case's deadline.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for ; !ok(); time.Sleep(2 * time.Millisecond) {
		if w.ctx.Err() != nil {
			w.t.Fatal("still not: ", what)
		}
	}
}

// carried returns how many octets a link delivered in one direction.
func (w *world) carried(link string, d Direction) int64 {
	return int64(w.lab.Stats(link, d).DeliveredOctets)
}

// sources counts the TCP segments with one source address that a host sends.
type sources struct {
	addr atomic.Pointer[netip.Addr]
	n    atomic.Int64
	base int64 // sent before the address was known to be gone
}

// watch installs the counter in a lab's configuration, for one direction.
func (s *sources) watch(c *LabConfig, d Direction) {
	for i := range c.Links {
		c.Links[i].Tune = func(dir Direction, lc *LinkConfig) {
			if dir == d {
				lc.Filter = s.filter
			}
		}
	}
}

func (s *sources) filter(pkt []byte) bool {
	a := s.addr.Load()
	if a == nil || len(pkt) < 40 {
		return false
	}
	at, proto := pkt[12:16], pkt[9]
	if pkt[0]>>4 == 6 {
		at, proto = pkt[8:24], pkt[6]
	}
	const tcp = 6
	if src, _ := netip.AddrFromSlice(at); proto == tcp && src == *a {
		s.n.Add(1)
	}
	return false
}

// follow counts from now on.
func (s *sources) follow(a netip.Addr) { s.addr.Store(&a) }

// quiet returns once our connection has been told that the address is gone:
// what its monitor has not heard of yet nobody can know. From then on there is
// to be nothing.
func (s *sources) quiet(w *world, c *mptcp.Conn) {
	w.t.Helper()
	a := *s.addr.Load()
	w.until(fmt.Sprint("the connection gives up ", a), func() bool {
		for _, sf := range c.Subflows() {
			if sf.Tuple.Local.Addr() == a && !sf.Gone && !sf.Ended {
				return false
			}
		}
		return true
	})
	// What was handed to the interface before that may still be on the way.
	w.until(fmt.Sprint("the interface is through with ", a), func() bool {
		s.base = s.n.Load()
		time.Sleep(100 * time.Millisecond)
		return s.n.Load() == s.base
	})
}

// none checks that there was nothing since.
func (s *sources) none(t *testing.T) {
	t.Helper()
	if n := s.n.Load() - s.base; n != 0 {
		t.Errorf("%d segments from %v after it was removed", n, *s.addr.Load())
	}
}
