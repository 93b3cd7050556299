package testenv

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
)

// A connection goes through a thousand changes of the network in random order, of
// which a few hundred are new addresses, with data in both directions all the
// time: every octet arrives, and at the end there are as many subflows as there
// are paths, and nothing is left of the others.
func TestSimThousandMoves(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			m := newMoves(t, seed)
			defer dumpSim(t, m.s)
			for m.n < 1000 && !t.Failed() {
				m.next()
			}
			m.finish()
		})
	}
}

// moves is a connection whose network changes.
type moves struct {
	t              *testing.T
	s              *Sim
	rng            *rand.Rand
	client, server *SimConn
	a, b           *SimStream
	n              int // changes so far
	fresh          int // addresses used
	nat            [2]*forgetful
}

func newMoves(t *testing.T, seed uint64) *moves {
	m := &moves{t: t, rng: rand.New(rand.NewPCG(seed, 7))}
	m.a = &SimStream{Seed: 1, PeerSeed: 2, Size: 1 << 40, PeerSize: 1 << 40, Chunk: 2000}
	m.b = &SimStream{Seed: 2, PeerSeed: 1, Size: 1 << 40, PeerSize: 1 << 40, Chunk: 2000}
	m.s = NewSim(SimConfig{Seed: seed, Links: []SimLink{
		Symmetric(1e6, 20*time.Millisecond, 15_000, 0.002),
		Symmetric(0.5e6, 60*time.Millisecond, 15_000, 0.002),
	}})
	m.client, m.server = dialSim(t, m.s, m.a.App, m.b.App)
	for i := range m.nat {
		m.nat[i] = &forgetful{}
		there, back := m.s.Link(i)
		there.Set(m.s.Now(), func(c *LinkConfig) { c.Filter = m.nat[i].out })
		back.Set(m.s.Now(), func(c *LinkConfig) { c.Filter = m.nat[i].in })
	}
	return m
}

// next lets something happen, and then some time pass.
func (m *moves) next() {
	m.n++
	i := m.rng.IntN(2)
	switch m.rng.IntN(10) {
	case 0, 1, 8, 9: // another address, at once or after a while
		m.s.A.SetAddr(i, netip.Addr{})
		m.wait(time.Duration(m.rng.IntN(3)) * 100 * time.Millisecond)
		m.fresh++
		m.s.A.SetAddr(i, netip.AddrFrom4([4]byte{10, 9, byte(m.fresh >> 8), byte(m.fresh)}))
	case 2:
		m.s.A.SetInterface(i, m.rng.IntN(2) == 0)
	case 3:
		m.s.B.SetInterface(i, m.rng.IntN(2) == 0)
	case 4, 5:
		m.s.SetSilent(i, m.rng.IntN(2) == 0)
	case 6:
		m.nat[i].forget()
	case 7: // no network at all for a while
		m.s.A.SetInterface(0, false)
		m.s.A.SetInterface(1, false)
		m.wait(time.Duration(m.rng.IntN(2000)) * time.Millisecond)
		m.s.A.SetInterface(i, true)
	}
	m.wait(time.Duration(m.rng.IntN(400)) * time.Millisecond)
}

func (m *moves) wait(d time.Duration) {
	m.s.Run(m.s.Now().Add(d), nil)
	lawful(m.t, m.s)
}

// finish gives everything back, and looks at what is left.
func (m *moves) finish() {
	t := m.t
	for i := range 2 {
		m.s.A.SetInterface(i, true)
		m.s.B.SetInterface(i, true)
		m.s.SetSilent(i, false)
	}
	m.wait(4 * time.Minute) // the longest back-off, and the patience with silent subflows
	if a, b := liveTuples(m.client, false), liveTuples(m.server, true); len(a) != 4 || fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("after %d moves A has the subflows %v, B %v", m.n, a, b)
	}
	m.a.Size, m.b.PeerSize = m.a.Sent, m.a.Sent
	m.b.Size, m.a.PeerSize = m.b.Sent, m.b.Sent
	m.client.Poke()
	m.server.Poke()
	if !m.s.Run(m.s.Now().Add(time.Minute), func() bool { return m.a.Done() && m.b.Done() }) {
		t.Errorf("stalled: %d of %d and %d of %d octets arrived", m.b.Received, m.a.Sent, m.a.Received, m.b.Sent)
	}
	if m.a.Err != nil || m.b.Err != nil {
		t.Errorf("A: %v, B: %v", m.a.Err, m.b.Err)
	}
	if m.a.Received < 1<<20 || m.b.Received < 1<<20 {
		t.Errorf("only %d and %d octets: no test", m.a.Received, m.b.Received)
	}
	m.wait(3 * time.Minute) // TIME-WAIT
	for _, h := range []*SimHost{m.s.A, m.s.B} {
		if n := h.ep.Subflows(); n != 0 {
			t.Errorf("%s still has %d subflows", h.Name, n)
		}
	}
	if !m.client.Gone() || !m.server.Gone() {
		t.Error("the connection is still there")
	}
}

// forgetful is a NAT that can lose its table: what belonged to it then goes
// nowhere, until a SYN makes a new entry.
type forgetful struct {
	known map[netip.AddrPort]bool // the clients' ends; nil: all
}

func (f *forgetful) forget() { f.known = map[netip.AddrPort]bool{} }

func (f *forgetful) out(pkt []byte) bool {
	var s wire.Segment
	if wire.Parse(pkt, &s, wire.CsumFull) != wire.None {
		return true
	}
	if s.Flags.Has(wire.SYN) && f.known != nil {
		f.known[s.Remote] = true // Parse is the receiver's view
	}
	return f.known != nil && !f.known[s.Remote]
}

func (f *forgetful) in(pkt []byte) bool {
	var s wire.Segment
	if wire.Parse(pkt, &s, wire.CsumFull) != wire.None {
		return true
	}
	return f.known != nil && !f.known[s.Local]
}
