package netio

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/netio/nstest"
	"github.com/mpnc/mpnc/internal/wire"
)

// patience bounds waits for what must happen.
const patience = 30 * time.Second

// pair is two namespaces with two links between them: a has a1 and a2, b has b1
// and b2, with 10.0.1.0/24 and fd00:1::/64 on the first, .2 on the second.
type pair struct{ a, b *nstest.NS }

func newPair(t testing.TB) pair {
	t.Helper()
	p := pair{nstest.New(t), nstest.New(t)}
	for _, n := range []string{"1", "2"} {
		nstest.Veth(p.a, "a"+n, p.b, "b"+n)
		p.a.AddAddr("a"+n, "10.0."+n+".1/24")
		p.b.AddAddr("b"+n, "10.0."+n+".2/24")
		p.a.AddAddr("a"+n, "fd00:"+n+"::1/64")
		p.b.AddAddr("b"+n, "fd00:"+n+"::2/64")
	}
	return p
}

// station is a Raw in a namespace with a reader.
type station struct {
	*Raw
	t    testing.TB
	ns   *nstest.NS
	rx   chan received
	logs chan string
	told atomic.Int64 // how often lanes may have changed
}

type received struct {
	seg  wire.Segment
	drop wire.Drop
	raw  []byte
	pkt  wire.Packet
}

func open(t *testing.T, ns *nstest.NS) *station {
	t.Helper()
	s := openDeaf(t, ns)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.read()
	}()
	t.Cleanup(func() {
		s.Close()
		<-ended
	})
	return s
}

// openDeaf opens a Raw without a reader.
func openDeaf(t testing.TB, ns *nstest.NS) *station {
	t.Helper()
	s := &station{t: t, ns: ns, rx: make(chan received, 1000), logs: make(chan string, 100)}
	epoch := time.Now()
	var err error
	ns.Do(func() {
		s.Raw, err = NewRaw(RawConfig{
			Now:  func() mono.Time { return mono.Time(time.Since(epoch)) },
			Logf: func(format string, args ...any) { s.logs <- fmt.Sprintf(format, args...) },
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	s.OnLaneChange(func() { s.told.Add(1) })
	t.Cleanup(func() { s.Close() })
	return s
}

func (s *station) read() {
	b := wire.NewBatch(128 << 10)
	for {
		if err := s.Read(b); err != nil {
			if !errors.Is(err, net.ErrClosed) {
				s.t.Errorf("Read: %v", err)
			}
			return
		}
		for i, p := range b.Pkts {
			r := received{pkt: p, raw: append([]byte(nil), b.Bytes(i)...)}
			r.drop = wire.Parse(r.raw, &r.seg, p.Csum)
			select {
			case s.rx <- r:
			default:
			}
		}
	}
}

func (s *station) bind(local string, passive bool) Guard {
	s.t.Helper()
	g, err := s.Bind(netip.MustParseAddrPort(local), passive)
	if err != nil {
		s.t.Fatalf("Bind(%s): %v", local, err)
	}
	return g
}

// expect returns the next segment.
func (s *station) expect() received {
	s.t.Helper()
	select {
	case r := <-s.rx:
		if r.drop != wire.None {
			s.t.Fatalf("received a packet that parses as %v: %x", r.drop, r.raw)
		}
		return r
	case <-time.After(patience):
		s.t.Fatalf("nothing received; %+v", s.Stats())
	}
	panic("unreachable")
}

// silent fails if anything was received. Whatever was sent before has been
// received when a later packet of the same path has, so a mark is sent first.
func (s *station) silent(mark func()) {
	s.t.Helper()
	mark()
	if r := s.expect(); !r.seg.Flags.Has(wire.URG) {
		s.t.Errorf("received %v", &r.seg)
		s.silent(func() {})
	}
}

// segment is one from one pair to another.
func segment(from, to string, flags wire.Flags, payload []byte) *wire.Segment {
	return &wire.Segment{
		Tuple: wire.Tuple{Local: netip.MustParseAddrPort(from), Remote: netip.MustParseAddrPort(to)},
		Seq:   1000, Ack: 1, Flags: flags, Window: 1000, Payload: payload,
	}
}

// send sends one segment by a link.
func (s *station) send(link string, seg *wire.Segment) {
	s.t.Helper()
	b := wire.NewBatch(70000)
	if !wire.AppendSegment(b, seg, 0) {
		s.t.Fatal("no room")
	}
	index := 0
	if link != "" {
		index = s.ns.Link(link)
	}
	if err := s.Write(index, b); err != nil {
		s.t.Fatal(err)
	}
}

// listen starts a kernel listener in ns.
func listen(t *testing.T, ns *nstest.NS, addr string) net.Listener {
	t.Helper()
	var l net.Listener
	var err error
	ns.Do(func() {
		var c net.ListenConfig
		c.SetMultipathTCP(false)
		l, err = c.Listen(t.Context(), "tcp", addr)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// dial starts a kernel connection from ns.
func dial(ns *nstest.NS, to string, limit time.Duration) (c net.Conn, err error) {
	ns.Do(func() {
		d := net.Dialer{Timeout: limit}
		d.SetMultipathTCP(false)
		c, err = d.Dial("tcp", to)
	})
	return c, err
}

// syn is one SYN of the kernel: a connection attempt given up at once.
func syn(t *testing.T, ns *nstest.NS, to string) {
	t.Helper()
	c, err := dial(ns, to, 200*time.Millisecond)
	if err == nil {
		c.Close()
		t.Fatalf("connected to %s, which nobody answers", to)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("%s refused: the kernel answered with a RST", to)
	}
}
