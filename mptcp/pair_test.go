package mptcp

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/mpnc/mpnc/internal/netio"
)

// pair is two stacks at the ends of a pipe: a client and a server.
type pair struct {
	t              testing.TB
	client, server *Stack
	near, far      *netio.PipeEnd
	lossy          atomic.Bool // everything is lost while it is set
}

// setup is what a test wants different from the defaults.
type setup struct {
	pipe           netio.PipeConfig
	client, server Config
	monitor        func(Monitor) Monitor // of the server
}

// newPair makes the stacks. The caller closes them, in the bubble if there is
// one.
func newPair(t testing.TB, set setup) *pair {
	t.Helper()
	p := &pair{t: t}
	now := clock()
	set.pipe.Now = now
	filter := set.pipe.Filter
	set.pipe.Filter = func(link, dir int, pkt []byte) bool {
		return p.lossy.Load() || filter != nil && filter(link, dir, pkt)
	}
	p.near, p.far = netio.NewPipe(set.pipe)
	set.client.Now, set.client.Monitor = now, p.near.Monitor()
	set.server.Now, set.server.Monitor = now, p.far.Monitor()
	if set.monitor != nil {
		set.server.Monitor = set.monitor(set.server.Monitor)
	}
	var err error
	if p.client, err = New(set.client, p.near); err != nil {
		t.Fatal(err)
	}
	if p.server, err = New(set.server, p.far); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *pair) close() {
	p.client.Close()
	p.server.Close()
}

// bubble runs a test with a pair in virtual time. That it returns at all shows
// that no goroutine is left after the stacks were closed.
func bubble(t *testing.T, set setup, f func(t *testing.T, p *pair)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, set)
		defer p.close()
		f(t, p)
	})
}

// address is where the server is reached.
func (p *pair) address(port string) string {
	return net.JoinHostPort(p.far.Addrs()[0].String(), port)
}

// listen listens at all of the server's addresses.
func (p *pair) listen() *Listener {
	p.t.Helper()
	l, err := p.server.Listen("tcp", ":80")
	if err != nil {
		p.t.Fatal(err)
	}
	return l
}

// connect returns the two ends of a new connection.
func (p *pair) connect(l *Listener) (client, server *Conn) {
	p.t.Helper()
	client, err := p.client.Dial(context.Background(), "tcp", p.address("80"))
	if err != nil {
		p.t.Fatal(err)
	}
	server, err = l.AcceptContext(context.Background())
	if err != nil {
		p.t.Fatal(err)
	}
	return client, server
}

// conns returns the two ends of a connection, for tests of one.
func (p *pair) conns() (client, server *Conn) {
	p.t.Helper()
	return p.connect(p.listen())
}

// bound is conns with a listener at the server's first address only, so that
// the paths are as many as the client's addresses.
func (p *pair) bound() (client, server *Conn) {
	p.t.Helper()
	l, err := p.server.Listen("tcp", p.address("80"))
	if err != nil {
		p.t.Fatal(err)
	}
	return p.connect(l)
}

func write(t testing.TB, c io.Writer, s string) {
	t.Helper()
	if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("Write(%q): %d, %v", s, n, err)
	}
}

func expect(t testing.TB, c io.Reader, s string) {
	t.Helper()
	b := make([]byte, len(s))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != s {
		t.Fatalf("read %q, %v, want %q", b, err, s)
	}
}

func expectEOF(t testing.TB, c io.Reader) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("Read: %d, %v, want EOF", n, err)
	}
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
