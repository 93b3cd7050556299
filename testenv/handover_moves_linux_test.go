package testenv

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mpnc/mpnc/mptcp"
)

// A connection goes through changes of the network in random order, with data in
// both directions: every octet arrives, and nothing is left of it, neither ports
// nor guards nor goroutines.
func TestHandoverManyMoves(t *testing.T) {
	moves := 5
	if _, rotates := rotation(t); rotates {
		moves = 15
	}
	if full() {
		moves = 50
	}
	before := runtime.NumGoroutine()
	t.Run(fmt.Sprint(moves), func(t *testing.T) { manyMoves(t, moves) })
	for range 500 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

func manyMoves(t *testing.T, moves int) {
	w := newWorldFor(t, LabConfig{Links: []LabLink{
		{Name: "wifi", Rate: 20e6, RTT: 20 * time.Millisecond},
		{Name: "cell", Rate: 10e6, RTT: 60 * time.Millisecond},
	}}, interopPatience+time.Duration(moves)*2*time.Second)
	w.config = func(c *mptcp.Config) { c.TimeWait = 200 * time.Millisecond }
	l := w.connect(ourMPTCP, ourMPTCP, 4)
	client, server := l.client.(*mptcp.Conn), l.server.(*mptcp.Conn)
	up, down := newOneWay(client, server, 1), newOneWay(server, client, 2)
	m := &shaker{w: w, rng: rand.New(rand.NewPCG(1, 2))}
	for _, link := range []string{"wifi", "cell"} {
		m.links = append(m.links, shaken{name: link, addr: w.lab.Client.Addr(link, 4)})
	}
	for range moves {
		m.move()
		time.Sleep(time.Duration(50+m.rng.IntN(200)) * time.Millisecond)
	}
	m.calm()
	a, b := up.received.Load(), down.received.Load()
	w.until("both directions move again", func() bool {
		return up.received.Load() > a+1<<20 && down.received.Load() > b+1<<20
	})
	for _, f := range []*oneWay{up, down} {
		close(f.stop)
	}
	for _, f := range []*oneWay{up, down} {
		for range 2 {
			if err := <-f.errs; err != nil {
				t.Error(err)
			}
		}
	}
	client.Close()
	server.Close()
	for _, s := range w.stacks {
		w.until("nothing is left", func() bool {
			st := s.Stats()
			return st.Conns == 0 && st.Guards == st.Listeners
		})
	}
}

// oneWay is pseudo-random data one way, until stop is closed; both of its ends tell
// how they ended.
type oneWay struct {
	stop     chan struct{}
	errs     chan error
	received atomic.Int64
}

func newOneWay(from, to *mptcp.Conn, seed uint64) *oneWay {
	f := &oneWay{stop: make(chan struct{}), errs: make(chan error, 2)}
	go func() { f.errs <- f.send(from, RandomStream(seed)) }()
	go func() { f.errs <- f.check(to, RandomStream(seed)) }()
	return f
}

func (f *oneWay) send(c *mptcp.Conn, data io.Reader) error {
	buf := make([]byte, 16<<10)
	for {
		select {
		case <-f.stop:
			return c.CloseWrite()
		default:
		}
		_, _ = io.ReadFull(data, buf) // it never fails
		if _, err := c.Write(buf); err != nil {
			return err
		}
	}
}

func (f *oneWay) check(c *mptcp.Conn, data io.Reader) error {
	buf, want := make([]byte, 32<<10), make([]byte, 32<<10)
	for {
		n, err := c.Read(buf)
		_, _ = io.ReadFull(data, want[:n])
		if !bytes.Equal(buf[:n], want[:n]) {
			return fmt.Errorf("other octets than were sent, around %d", f.received.Load())
		}
		f.received.Add(int64(n))
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// shaker changes the client's network.
type shaker struct {
	w     *world
	rng   *rand.Rand
	links []shaken
	fresh int
}

// shaken is a link and what was done to it.
type shaken struct {
	name         string
	addr         netip.Addr // the client's; zero: none
	down, silent bool
}

func (m *shaker) move() {
	lab, t := m.w.lab, m.w.t
	l := &m.links[m.rng.IntN(len(m.links))]
	switch m.rng.IntN(5) {
	case 0, 1:
		m.readdress(l, time.Duration(m.rng.IntN(3))*150*time.Millisecond)
	case 2:
		l.down = !l.down
		must(t, lab.Client.SetUp(l.name, !l.down))
	case 3:
		l.silent = !l.silent
		must(t, lab.SetSilent(l.name, BothWays, l.silent))
	case 4: // nothing at all for a while
		for i := range m.links {
			must(t, lab.SetSilent(m.links[i].name, BothWays, true))
		}
		time.Sleep(time.Duration(m.rng.IntN(500)) * time.Millisecond)
		for i := range m.links {
			m.links[i].silent = false
			must(t, lab.SetSilent(m.links[i].name, BothWays, false))
		}
	}
}

// readdress replaces a link's address, after a gap.
func (m *shaker) readdress(l *shaken, gap time.Duration) {
	if l.down {
		return
	}
	h, t := m.w.lab.Client, m.w.t
	must(t, h.RemoveAddr(l.name, l.addr))
	time.Sleep(gap)
	m.fresh++
	b := l.addr.As4()
	b[3] = byte(10 + m.fresh)
	l.addr = netip.AddrFrom4(b)
	must(t, h.AddAddr(l.name, netip.PrefixFrom(l.addr, 24)))
}

// calm gives everything back.
func (m *shaker) calm() {
	for i := range m.links {
		l := &m.links[i]
		if l.down {
			must(m.w.t, m.w.lab.Client.SetUp(l.name, true))
		}
		must(m.w.t, m.w.lab.SetSilent(l.name, BothWays, false))
	}
}
