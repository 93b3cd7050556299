package control

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// pipes is a listener whose clients are at the other ends of pipes.
type pipes struct {
	ch   chan net.Conn
	done chan struct{}
	once sync.Once
}

func newPipes() *pipes { return &pipes{ch: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.ch:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

// connect returns a client's end.
func (p *pipes) connect(t *testing.T) net.Conn {
	near, far := net.Pipe()
	p.ch <- far
	t.Cleanup(func() { near.Close() })
	return near
}

// host has one listener and one connection.
type host struct{}

var someReport = Report{
	Program: "mpnc", Transport: "mptcp",
	Listeners: []Listener{{Local: netip.MustParseAddrPort("[::]:4000"), MPTCP: true, Backlog: 4096}},
	Conns: []Conn{{
		ID: 7, MPTCP: true, State: "ESTABLISHED", SendQ: 12, Token: "0123abcd", Held: time.Second,
		Local: netip.MustParseAddrPort("10.0.0.1:5000"), Peer: netip.MustParseAddrPort("10.0.0.2:4000"),
		Subflows: []Subflow{{ID: 1, State: "ESTABLISHED", Interface: "wifi", RTT: 3 * time.Millisecond}},
	}},
}

func (host) Report() Report { return someReport }

func (host) Steer(ctx context.Context, s Steer) error {
	if s.Do == "wait" {
		<-ctx.Done()
		return ctx.Err()
	}
	return fmt.Errorf("conn %d, %s", s.Conn, s.Do)
}

func serving(t *testing.T) (*Server, *pipes) {
	p := newPipes()
	s := serve(host{}, p)
	t.Cleanup(func() { s.Close() })
	return s, p
}

func TestReport(t *testing.T) {
	_, p := serving(t)
	c := p.connect(t)
	for range 2 { // one after the other, on one connection
		a, err := roundTrip(c, request{Version: Version, Do: doReport})
		if err != nil {
			t.Fatal(err)
		}
		if a.Report.PID == 0 {
			t.Error("the report does not say whose it is")
		}
		a.Report.PID, a.Report.UID = 0, 0
		if got, want := fmt.Sprintf("%+v", *a.Report), fmt.Sprintf("%+v", someReport); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
}

// What is not understood is answered with an error, and the next request is
// heard.
func TestBadRequests(t *testing.T) {
	_, p := serving(t)
	c := p.connect(t)
	lines := bufio.NewScanner(c)
	for _, test := range []struct{ line, words string }{
		{"hello", "not understood"},
		{`{"version":2,"do":"report"}`, "version 2 of the control protocol is not spoken"},
		{`{"version":1,"do":"fly"}`, `"fly" cannot be done here`},
		{`{}`, "version 0"},
	} {
		fmt.Fprintln(c, test.line)
		if _, err := readAnswer(lines); err == nil || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s: %v, want %q", test.line, err, test.words)
		}
	}
	fmt.Fprintln(c, `{"version":1,"do":"report","news":"of a later version"}`)
	if a, err := readAnswer(lines); err != nil || a.Report == nil {
		t.Errorf("%+v, %v", a, err)
	}
}

// A client cannot make the server keep much.
func TestLongRequest(t *testing.T) {
	_, p := serving(t)
	c := p.connect(t)
	n := 0
	for n < 2*maxRequest {
		k, err := c.Write(make([]byte, 1024))
		n += k
		if err != nil {
			return
		}
	}
	t.Errorf("it took %d octets of a line", n)
}

// Clients beyond the limit are turned away, and there is room again when others
// go.
func TestTooManyClients(t *testing.T) {
	_, p := serving(t)
	ask := func(c net.Conn) error {
		_, err := roundTrip(c, request{Version: Version, Do: doReport})
		return err
	}
	var all []net.Conn
	for range maxClients {
		all = append(all, p.connect(t))
	}
	if ask(all[maxClients-1]) != nil {
		t.Error("the last of those who are allowed gets no answer")
	}
	if ask(p.connect(t)) == nil {
		t.Error("one more gets an answer")
	}
	all[0].Close()
	for end := time.Now().Add(30 * time.Second); ask(p.connect(t)) != nil; {
		if time.Now().After(end) {
			t.Fatal("no room after one has gone")
		}
	}
}

func TestAnswers(t *testing.T) {
	for _, test := range []struct{ line, words string }{
		{"", "it has ended"},
		{"garbage\n", "not understood"},
		{`{"version":1,"error":"no"}` + "\n", "no"},
		{`{"version":9}` + "\n", "speaks version 9"},
	} {
		_, err := readAnswer(bufio.NewScanner(strings.NewReader(test.line)))
		if err == nil || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%q: %v, want %q", test.line, err, test.words)
		}
	}
}

func TestServerCloses(t *testing.T) {
	s, p := serving(t)
	c := p.connect(t)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != net.ErrClosed {
		t.Errorf("again: %v", err)
	}
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("the client reads %d octets", n)
	}
}
