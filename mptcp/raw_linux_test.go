package mptcp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/mpnc/mpnc/internal/netio/nstest"
)

// lab is two hosts with two links between them.
type lab struct {
	t    testing.TB
	a, b *nstest.NS
}

func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{t: t, a: nstest.New(t), b: nstest.New(t)}
	for _, link := range []struct{ name, net4, net6 string }{
		{"first", "10.77.1.", "fd77:1::"}, {"second", "10.77.2.", "fd77:2::"},
	} {
		nstest.Veth(l.a, link.name, l.b, link.name)
		l.a.AddAddr(link.name, link.net4+"1/24")
		l.b.AddAddr(link.name, link.net4+"2/24")
		l.a.AddAddr(link.name, link.net6+"1/64")
		l.b.AddAddr(link.name, link.net6+"2/64")
		// Each link leads everywhere, as the uplinks of a real host do.
		l.a.Route("0.0.0.0/0", link.net4+"2", link.name)
		l.b.Route("0.0.0.0/0", link.net4+"1", link.name)
	}
	return l
}

// stack returns a stack on the raw sockets of one host.
func (l *lab) stack(ns *nstest.NS, cfg Config) (s *Stack) {
	l.t.Helper()
	cfg.Logf = l.t.Logf
	var err error
	ns.Do(func() { s, err = NewRaw(cfg) })
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

// kernel runs f in a host's namespace, for sockets of its own TCP.
func (l *lab) kernel(ns *nstest.NS, f func() error) {
	l.t.Helper()
	var err error
	ns.Do(func() { err = f() })
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) close(stacks ...*Stack) {
	for _, s := range stacks {
		if err := s.Close(); err != nil {
			l.t.Errorf("Close: %v", err)
		}
	}
}

func TestRawNettest(t *testing.T) {
	tests := []struct {
		name, address  string
		client, server Config
	}{
		{"MPTCP", "10.77.1.2:80", Config{}, Config{}},
		{"MPTCP over IPv6", "[fd77:1::2]:80", Config{}, Config{}},
		{"fallback", "10.77.1.2:80", Config{}, Config{TCPOnly: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			client, server := l.stack(l.a, tt.client), l.stack(l.b, tt.server)
			defer l.close(client, server)
			ln, err := server.Listen("tcp", tt.address)
			if err != nil {
				t.Fatal(err)
			}
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				if c1, err = client.Dial(context.Background(), "tcp", tt.address); err != nil {
					return nil, nil, nil, err
				}
				if c2, err = ln.Accept(); err != nil {
					return nil, nil, nil, err
				}
				return c1, c2, func() { c1.(*Conn).Abort(); c2.(*Conn).Abort() }, nil
			})
		})
	}
}

// The peer is the kernel's TCP or its MPTCP, in either role.
func TestRawWithKernel(t *testing.T) {
	for _, multipath := range []bool{false, true} {
		name := map[bool]string{false: "TCP", true: "MPTCP"}[multipath]
		t.Run("to "+name, func(t *testing.T) {
			l := newLab(t)
			var ln net.Listener
			l.kernel(l.b, func() (err error) {
				lc := net.ListenConfig{}
				lc.SetMultipathTCP(multipath)
				ln, err = lc.Listen(context.Background(), "tcp", "10.77.1.2:80")
				return err
			})
			defer ln.Close()
			client := l.stack(l.a, Config{})
			defer l.close(client)
			c, err := client.Dial(context.Background(), "tcp", "10.77.1.2:80")
			if err != nil {
				t.Fatal(err)
			}
			k, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			exchange(t, c, k)
			if c.Multipath() != multipath {
				t.Errorf("Multipath is %v", c.Multipath())
			}
		})
		t.Run("from "+name, func(t *testing.T) {
			l := newLab(t)
			server := l.stack(l.b, Config{})
			defer l.close(server)
			ln, err := server.Listen("tcp", "10.77.1.2:80")
			if err != nil {
				t.Fatal(err)
			}
			var k net.Conn
			l.kernel(l.a, func() (err error) {
				d := net.Dialer{Timeout: 30 * time.Second}
				d.SetMultipathTCP(multipath)
				k, err = d.Dial("tcp", "10.77.1.2:80")
				return err
			})
			defer k.Close()
			s, err := ln.AcceptContext(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			exchange(t, s, k)
			if s.Multipath() != multipath {
				t.Errorf("Multipath is %v", s.Multipath())
			}
		})
	}
}

// exchange sends a megabyte each way and closes each direction.
func exchange(t *testing.T, a *Conn, b net.Conn) {
	t.Helper()
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	errs := make(chan error, 2)
	send := func(c interface {
		io.Writer
		CloseWrite() error
	}) {
		_, err := c.Write(data)
		errs <- errors.Join(err, c.CloseWrite())
	}
	deadline := time.Now().Add(60 * time.Second)
	a.SetDeadline(deadline)
	b.SetDeadline(deadline)
	go send(a)
	go send(b.(*net.TCPConn))
	for _, c := range []io.Reader{a, b} {
		go func() {
			got, err := io.ReadAll(c)
			if err == nil && !bytes.Equal(got, data) {
				err = errors.New("data differs")
			}
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// What the kernel answers on its own account is an error as usual.
func TestRawRefused(t *testing.T) {
	l := newLab(t)
	client := l.stack(l.a, Config{})
	defer l.close(client)
	if _, err := client.Dial(context.Background(), "tcp", "10.77.1.2:81"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Dial: %v, want ECONNREFUSED", err)
	}
	if _, err := client.Dial(context.Background(), "tcp", "[2001:db8::1]:81"); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("Dial: %v, want ENETUNREACH", err)
	}
	if _, err := client.Listen("tcp", "10.77.1.2:80"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("Listen: %v, want EADDRNOTAVAIL", err)
	}
}

// A connection outlives the address, and then the link, it was opened on.
func TestRawPathLoss(t *testing.T) {
	l := newLab(t)
	client, server := l.stack(l.a, Config{}), l.stack(l.b, Config{})
	defer l.close(client, server)
	ln, err := server.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(context.Background(), "tcp", "10.77.1.2:80")
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.AcceptContext(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	say := func(text string) {
		t.Helper()
		deadline := time.Now().Add(60 * time.Second)
		c.SetDeadline(deadline)
		s.SetDeadline(deadline)
		write(t, c, text)
		expect(t, s, text)
		write(t, s, text)
		expect(t, c, text)
	}
	say("hello")
	awaitPath := func(net4 string) {
		t.Helper()
		for range 1200 {
			for _, sf := range c.Subflows() {
				if sf.Up && !sf.Ended && !sf.Gone && sf.Tuple.Remote.Addr().String() == net4+"2" && sf.Tuple.Local.Addr().String() == net4+"1" {
					return
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatalf("no path on %s: %+v", net4, c.Subflows())
	}
	awaitPath("10.77.2.")
	l.a.DelAddr("first", "10.77.1.1/24")
	say("address gone")
	l.a.AddAddr("first", "10.77.1.1/24")
	awaitPath("10.77.1.")
	l.b.Down("second")
	say("link gone")
	l.b.Up("second")
	l.b.Route("0.0.0.0/0", "10.77.2.1", "second") // it went with the link
	awaitPath("10.77.2.")
	say("all back")
}

// Both ends may be on one host, on one stack or on two, at the loopback
// address or another of its own.
func TestRawSameHost(t *testing.T) {
	for _, address := range []string{"127.0.0.1:80", "[::1]:80", "10.77.1.1:80"} {
		for _, stacks := range []string{"one stack", "two stacks"} {
			t.Run(address+" "+stacks, func(t *testing.T) {
				l := newLab(t)
				server := l.stack(l.a, Config{})
				defer l.close(server)
				client := server
				if stacks == "two stacks" {
					client = l.stack(l.a, Config{})
					defer l.close(client)
				}
				ln, err := server.Listen("tcp", ":80")
				if err != nil {
					t.Fatal(err)
				}
				c, err := client.Dial(context.Background(), "tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				s, err := ln.AcceptContext(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				write(t, c, "ping")
				expect(t, s, "ping")
				write(t, s, "pong")
				expect(t, c, "pong")
				if !c.Multipath() || !s.Multipath() {
					t.Errorf("Multipath: %v, %v", c.Multipath(), s.Multipath())
				}
				c.Close()
				expectEOF(t, s)
			})
		}
	}
}

// Link-local addresses, which both hosts have on both links: the zone says which is
// meant, towards the kernel and between our stacks.
func TestRawLinkLocal(t *testing.T) {
	l := newLab(t)
	for _, link := range []string{"first", "second"} {
		l.a.AddAddr(link, "fe80::a/64")
		l.b.AddAddr(link, "fe80::b/64")
	}
	client, server := l.stack(l.a, Config{TCPOnly: true}), l.stack(l.b, Config{})
	defer l.close(client, server)
	var ln net.Listener
	l.kernel(l.b, func() (err error) {
		ln, err = net.Listen("tcp6", "[::]:80")
		return err
	})
	defer ln.Close()
	own, err := server.Listen("tcp6", "[::]:81")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for _, link := range []string{"second", "first"} {
		index := l.a.Link(link)
		c, err := client.Dial(ctx, "tcp", fmt.Sprintf("[fe80::b%%%d]:80", index))
		if err != nil {
			t.Fatal(err)
		}
		k, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c, k)
		if got := c.Stats().Subflows[0]; got.Tuple.Local.Addr() != netip.MustParseAddr("fe80::a") || got.Link != index {
			t.Errorf("%s: from %v by link %d", link, got.Tuple.Local, got.Link)
		}
		if c, err = client.Dial(ctx, "tcp", fmt.Sprintf("[fe80::b%%%d]:81", index)); err != nil {
			t.Fatal(err)
		}
		s, err := own.AcceptContext(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Read(make([]byte, 10)); n != 1 || err != nil {
			t.Fatalf("read %d octets, %v", n, err)
		}
	}
}
