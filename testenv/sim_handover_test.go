package testenv

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/mptcp/engine"
)

// These simulations are about life with fewer paths than before, or none:
// handover, hold, and a peer that has forgotten the connection.

// reuseWithin bounds how long a path that answers again stays unused while
// there is something to send, and forgetWithin how long a peer that has lost a
// connection can stay unnoticed after a write.
const (
	reuseWithin  = 2 * time.Second
	forgetWithin = 3 * time.Second
)

// simPaths are a faster and a slower path.
func simPaths(n int) []SimLink {
	return []SimLink{
		Symmetric(2e6, 20*time.Millisecond, 0, 0),
		Symmetric(1e6, 60*time.Millisecond, 0, 0),
	}[:n]
}

// dialSim starts a connection from A to B, each end with its application, and
// returns both ends once the handshake is done.
func dialSim(t *testing.T, s *Sim, a, b func(mono.Time, *SimConn)) (client, server *SimConn) {
	t.Helper()
	s.B.Listen(9000)
	s.B.Accepted = func(c *SimConn) { server = c; c.App = b }
	client = s.A.Dial(0, 0, 9000, a)
	if !s.Run(mono.Time(5*time.Second), func() bool { return server != nil && client.Core.Established() }) {
		t.Fatalf("no connection: %v", s.Violations())
	}
	return client, server
}

// lawful fails the test if the simulation broke a law.
func lawful(t *testing.T, s *Sim) {
	t.Helper()
	for _, v := range s.Violations() {
		t.Error(v)
	}
}

// dumpSim logs what both ends know, if the test failed.
func dumpSim(t *testing.T, s *Sim) {
	t.Helper()
	if !t.Failed() {
		return
	}
	t.Logf("ended at %v", time.Duration(s.Now()))
	for _, h := range []*SimHost{s.A, s.B} {
		for _, c := range h.Conns {
			t.Logf("%s: %+v", h.Name, c.Core.Stats())
		}
	}
}

// fault is a way to lose a path, and to get it back.
type fault struct {
	name string
	set  func(s *Sim, path int, broken bool)
}

var simFaults = []fault{
	{"silence", func(s *Sim, i int, broken bool) { s.SetSilent(i, broken) }},
	{"client's interface", func(s *Sim, i int, broken bool) { s.A.SetInterface(i, !broken) }},
	{"server's interface", func(s *Sim, i int, broken bool) { s.B.SetInterface(i, !broken) }},
	{"client's address", func(s *Sim, i int, broken bool) { toggleAddr(s.A, i, 1, broken) }},
	{"server's address", func(s *Sim, i int, broken bool) { toggleAddr(s.B, i, 2, broken) }},
}

func toggleAddr(h *SimHost, i, host int, gone bool) {
	a := simAddr(i, host, false)
	if gone {
		a = netip.Addr{}
	}
	h.SetAddr(i, a)
}

// A path lost in mid-transfer: the rest goes on over the other one, and when
// the path answers again it is used again within two seconds.
func TestSimPathLostAndBack(t *testing.T) {
	for _, f := range simFaults {
		for path := range 2 {
			for _, up := range []bool{true, false} {
				for _, gone := range []time.Duration{200 * time.Millisecond, time.Second, 4 * time.Second, 20 * time.Second} {
					name := fmt.Sprintf("%s/path %d/up %v/%v", f.name, path, up, gone)
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						pathLostAndBack(t, f, path, up, gone)
					})
				}
			}
		}
	}
}

func pathLostAndBack(t *testing.T, f fault, path int, up bool, gone time.Duration) {
	s := NewSim(SimConfig{Seed: 1, Links: simPaths(2)})
	defer dumpSim(t, s)
	from, to := &SimStream{Seed: 1, PeerSeed: 2, Size: 1 << 30, Chunk: 2000}, &SimStream{Seed: 2, PeerSeed: 1, PeerSize: 1 << 30}
	a, b, sender := from, to, s.A
	if !up {
		a, b, sender = to, from, s.B
	}
	client, server := dialSim(t, s, a.App, b.App)
	data := countData(s, sender)

	lost := s.Now().Add(2 * time.Second)
	back := lost.Add(gone)
	var before, other int
	s.At(lost, func() { before = data[path]; f.set(s, path, true) })
	s.At(back, func() { other = data[1-path]; f.set(s, path, false); data[path] = 0 })
	s.At(lost+1, func() { data[1-path] = 0 })
	s.Run(back.Add(reuseWithin), nil)
	if before < 20 {
		t.Errorf("%d segments on the path before it was lost: no test", before)
	}
	if data[path] < usedSegments {
		t.Errorf("%d segments with data on the path in the %v after its return", data[path], reuseWithin)
	}
	// In a second the slower path carries 80 segments. The first RTO may pass
	// before the loss shows, and what was in flight comes first.
	if least := int(gone.Seconds() * 80 / 2); gone >= 4*time.Second && other < least {
		t.Errorf("%d segments with data on the other path meanwhile, want %d", other, least)
	}

	s.Run(back.Add(meshWithin), nil)
	if a, b := liveTuples(client, false), liveTuples(server, true); len(a) != 4 || !slices.Equal(a, b) {
		t.Errorf("%v after the return A has the subflows %v, B %v", meshWithin, a, b)
	}

	from.Size = from.Sent
	to.PeerSize = from.Sent
	client.Poke()
	server.Poke()
	if !s.Run(s.Now().Add(time.Minute), func() bool { return from.Done() && to.Done() }) {
		t.Errorf("stalled: %d octets of %d arrived", to.Received, from.Size)
	}
	if from.Err != nil || to.Err != nil {
		t.Errorf("sender: %v, receiver: %v", from.Err, to.Err)
	}
	lawful(t, s)
}

// meshWithin is when every subflow is back, those that were tried in vain
// meanwhile included.
const meshWithin = 6 * time.Second

// liveTuples are the subflows that an end believes in, as the client sees them.
func liveTuples(c *SimConn, swap bool) (all []string) {
	for _, sf := range c.Core.Stats().Subflows {
		if t := sf.Tuple; sf.Up && !sf.Ended && !sf.Gone {
			if swap {
				t.Local, t.Remote = t.Remote, t.Local
			}
			all = append(all, t.String())
		}
	}
	slices.Sort(all)
	return all
}

// usedSegments is how many segments with data make a path used: more than the
// copies of old data that ask whether it works.
const usedSegments = 10

// countData counts the segments with data that a host sends, by path.
func countData(s *Sim, h *SimHost) *[2]int {
	var n [2]int
	s.Trace = func(_ mono.Time, from *SimHost, link int, seg *wire.Segment) {
		if from == h && len(seg.Payload) > 0 {
			n[link-1]++
		}
	}
	return &n
}

// lines is the application of a user who types a line now and then: they come
// back from echo, each once and in order.
type lines struct {
	n        int // written
	out      []byte
	want     []byte
	in       []byte
	err      error
	received mono.Time // last time that something came back
	wrong    bool
}

func (l *lines) App(now mono.Time, c *SimConn) {
	l.out = l.out[c.Core.Write(now, l.out):]
	var buf [4 << 10]byte
	for n := c.Core.Read(now, buf[:]); n > 0; n = c.Core.Read(now, buf[:]) {
		l.in = append(l.in, buf[:n]...)
		l.received = now
	}
	l.wrong = l.wrong || len(l.in) > len(l.want) || string(l.in) != string(l.want[:len(l.in)])
	if err := c.Core.ReadErr(); err != nil && l.err == nil {
		l.err = err
	}
}

// say writes the next line.
func (l *lines) say(c *SimConn) {
	l.n++
	line := fmt.Sprintf("line %d\n", l.n)
	l.out, l.want = append(l.out, line...), append(l.want, line...)
	c.Poke()
}

func (l *lines) complete() bool { return len(l.in) == len(l.want) }

// every says a line each time d passes, until the end.
func (l *lines) every(d time.Duration, end mono.Time, c *SimConn) {
	s := c.Host.sim
	var next func()
	next = func() {
		if l.say(c); s.Now() < end {
			s.At(s.Now().Add(d), next)
		}
	}
	s.At(s.Now().Add(d), next)
}

// echoSim writes back what it reads.
func echoSim() func(mono.Time, *SimConn) {
	var pending []byte
	return func(now mono.Time, c *SimConn) {
		var buf [4 << 10]byte
		for n := c.Core.Read(now, buf[:]); n > 0; n = c.Core.Read(now, buf[:]) {
			pending = append(pending, buf[:n]...)
		}
		pending = pending[c.Core.Write(now, pending):]
	}
}

// One interface only, whose address goes, and another or the same comes: the
// session goes on, nothing lost, nothing doubled, and what was written
// meanwhile arrives at once. (That nothing is sent from the removed address is
// a law of Sim.)
func TestSimOnlyAddressChanges(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		for _, same := range []bool{false, true} {
			if tcp && !same {
				continue // TCP is bound to its addresses
			}
			for _, gone := range []time.Duration{0, 1, 500 * time.Millisecond, 2 * time.Second, 90 * time.Second, 10 * time.Minute} {
				for _, quiet := range []bool{false, true} {
					t.Run(fmt.Sprintf("TCP %v/same %v/%v/quiet %v", tcp, same, gone, quiet), func(t *testing.T) {
						t.Parallel()
						onlyAddressChanges(t, tcp, same, gone, quiet)
					})
				}
			}
		}
	}
}

func onlyAddressChanges(t *testing.T, tcp, same bool, gone time.Duration, quiet bool) {
	s := NewSim(SimConfig{Seed: 3, Links: simPaths(1), Engine: func(_ string, c *engine.Config) { c.TCPOnly = tcp }})
	defer dumpSim(t, s)
	l := &lines{}
	client, _ := dialSim(t, s, l.App, echoSim())
	lost := s.Now().Add(1010 * time.Millisecond)
	back := lost.Add(gone)
	end := back.Add(5 * time.Second)
	if quiet { // one line only, while there is no address
		s.At(lost.Add(gone/2), func() { l.say(client) })
	} else {
		l.every(100*time.Millisecond, end, client)
	}
	s.At(lost, func() { s.A.SetAddr(0, netip.Addr{}) })
	written := 0
	s.At(back, func() {
		s.A.SetAddr(0, simAddr(0, map[bool]int{true: 1, false: 77}[same], false))
		written = len(l.want)
	})
	s.Run(back, nil)
	// What the user typed until then comes back within a few round trips: a
	// join takes two before there is data, slow start a few more for the lines
	// of ten minutes, the wire 240 ms for them.
	if !s.Run(back.Add(time.Second), func() bool { return len(l.in) >= written }) {
		t.Errorf("%v after the address came, %d of %d octets are back", s.Now().Sub(back), len(l.in), written)
	}
	s.Run(end, nil)
	if !s.Run(end.Add(time.Second), l.complete) || l.wrong {
		t.Errorf("%d of %d octets came back, wrong: %v", len(l.in), len(l.want), l.wrong)
	}
	if l.err != nil {
		t.Error(l.err)
	}
	lawful(t, s)
}

// An idle connection that never carried data survives a change of address.
func TestSimIdleConnectionChangesAddress(t *testing.T) {
	for _, gone := range []time.Duration{0, time.Second, 10 * time.Minute} {
		for _, at := range []time.Duration{0, time.Millisecond, 30 * time.Millisecond, time.Second, time.Hour} {
			for _, speaks := range []string{"A", "B"} {
				t.Run(fmt.Sprintf("after %v for %v, %s speaks", at, gone, speaks), func(t *testing.T) {
					t.Parallel()
					s := NewSim(SimConfig{Seed: 4, Links: simPaths(1)})
					defer dumpSim(t, s)
					a, b := &SimStream{Seed: 1, PeerSeed: 2}, &SimStream{Seed: 2, PeerSeed: 1}
					a.KeepOpen, b.KeepOpen = true, true
					var client, server *SimConn
					if at == 0 {
						s.B.Listen(9000)
						s.B.Accepted = func(c *SimConn) { server = c; c.App = b.App }
						client = s.A.Dial(0, 0, 9000, a.App)
						s.Run(mono.Time(time.Second), func() bool { return client.Core.Established() })
					} else {
						client, server = dialSim(t, s, a.App, b.App)
					}
					lost := s.Now().Add(at)
					s.At(lost, func() { s.A.SetAddr(0, netip.Addr{}) })
					back := lost.Add(gone)
					s.At(back, func() { s.A.SetAddr(0, simAddr(0, 77, false)) })
					s.Run(back.Add(3*time.Second), nil)
					if server == nil {
						t.Fatal("the server has no connection")
					}
					first, second, c, d := a, b, client, server
					if speaks == "B" {
						first, second, c, d = b, a, server, client
					}
					first.Size, second.PeerSize, first.KeepOpen = 1000, 1000, false
					c.Poke()
					s.Run(s.Now().Add(5*time.Second), func() bool { return second.Ended })
					second.Size, first.PeerSize, second.KeepOpen = 1000, 1000, false
					d.Poke()
					if !s.Run(s.Now().Add(5*time.Second), func() bool { return a.Done() && b.Done() }) || a.Err != nil || b.Err != nil {
						t.Errorf("A received %d: %v, B received %d: %v", a.Received, a.Err, b.Received, b.Err)
					}
					lawful(t, s)
				})
			}
		}
	}
}

// A connection without a path lives for fifteen minutes from the moment that
// shows, and fails with ETIMEDOUT.
func TestSimHoldEnds(t *testing.T) {
	tests := []struct {
		name string
		lose func(s *Sim)
		ends string // which ends notice by themselves
		idle bool   // nothing is being sent
	}{
		{"silence", func(s *Sim) { s.SetSilent(0, true); s.SetSilent(1, true) }, "AB", false},
		{"client's interfaces", func(s *Sim) { s.A.SetInterface(0, false); s.A.SetInterface(1, false) }, "AB", false},
		{"client's interfaces, idle", func(s *Sim) { s.A.SetInterface(0, false); s.A.SetInterface(1, false) }, "A", true},
		{"server's addresses", func(s *Sim) { s.B.SetAddr(0, netip.Addr{}); s.B.SetAddr(1, netip.Addr{}) }, "AB", false},
		{"server's addresses, idle", func(s *Sim) { s.B.SetAddr(0, netip.Addr{}); s.B.SetAddr(1, netip.Addr{}) }, "B", true},
	}
	for _, tcp := range []bool{false, true} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("TCP %v/%s", tcp, tt.name), func(t *testing.T) {
				t.Parallel()
				s := NewSim(SimConfig{Seed: 5, Links: simPaths(2), Engine: func(_ string, c *engine.Config) { c.TCPOnly = tcp }})
				defer dumpSim(t, s)
				size := 1 << 30
				if tt.idle {
					size = 1 << 10
				}
				a := &SimStream{Seed: 1, PeerSeed: 2, Size: size, Chunk: 2000}
				b := &SimStream{Seed: 2, PeerSeed: 1, Size: size, Chunk: 2000}
				a.KeepOpen, b.KeepOpen = true, true
				client, server := dialSim(t, s, a.App, b.App)
				s.Run(s.Now().Add(2*time.Second), nil)
				lost := s.Now()
				tt.lose(s)
				// Silence counts from the last thing heard.
				s.Run(lost.Add(15*time.Minute-time.Second), nil)
				if client.Core.Err() != nil || server.Core.Err() != nil {
					t.Errorf("early: A %v, B %v", client.Core.Err(), server.Core.Err())
				}
				// The retransmission timer tells that a path is silent.
				s.Run(lost.Add(15*time.Minute+5*time.Second), nil)
				for _, end := range []struct {
					name   string
					c      *SimConn
					stream *SimStream
				}{{"A", client, a}, {"B", server, b}} {
					notices := tt.ends == "AB" || tt.ends == end.name
					if err := end.c.Core.Err(); notices && !errors.Is(err, syscall.ETIMEDOUT) || !notices && err != nil {
						t.Errorf("%s: after 15 minutes: %v", end.name, err)
					}
					if notices && !errors.Is(end.stream.Err, syscall.ETIMEDOUT) {
						t.Errorf("%s: reading says %v", end.name, end.stream.Err)
					}
				}
				lawful(t, s)
			})
		}
	}
}

// Fourteen minutes of nothing end well.
func TestSimHoldSurvives(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		for _, f := range simFaults {
			t.Run(fmt.Sprintf("TCP %v/%s", tcp, f.name), func(t *testing.T) {
				t.Parallel()
				s := NewSim(SimConfig{Seed: 6, Links: simPaths(2), Engine: func(_ string, c *engine.Config) { c.TCPOnly = tcp }})
				defer dumpSim(t, s)
				const size = 3 << 20
				a := &SimStream{Seed: 1, PeerSeed: 2, Size: size, PeerSize: size}
				b := &SimStream{Seed: 2, PeerSeed: 1, Size: size, PeerSize: size}
				dialSim(t, s, a.App, b.App)
				s.Run(s.Now().Add(2*time.Second), nil)
				f.set(s, 0, true)
				f.set(s, 1, true)
				s.Run(s.Now().Add(14*time.Minute), nil)
				if a.Done() || b.Done() {
					t.Error("the transfer had ended before")
				}
				f.set(s, 0, false)
				f.set(s, 1, false)
				// A back-off that has grown to a minute may run on with silence.
				if !s.Run(s.Now().Add(2*time.Minute), func() bool { return a.Done() && b.Done() }) || a.Err != nil || b.Err != nil {
					t.Errorf("A received %d: %v, B received %d: %v", a.Received, a.Err, b.Received, b.Err)
				}
				lawful(t, s)
			})
		}
	}
}

// A peer that has lost the connection is reported within three seconds of
// writing: a restarted mpnc, which says so in MP_TCPRST, and a kernel, whose
// resets for what it does not know have no option.
func TestSimForgotten(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		for _, paths := range []int{1, 2} {
			for _, kernel := range []bool{false, true} {
				for _, when := range []string{"idle", "in mid-transfer", "with one path silent", "after a path was lost"} {
					if (paths == 1 || tcp) && when != "idle" && when != "in mid-transfer" {
						continue // there would be no path left
					}
					t.Run(fmt.Sprintf("TCP %v/%d paths/kernel %v/%s", tcp, paths, kernel, when), func(t *testing.T) {
						t.Parallel()
						forgotten(t, tcp, paths, kernel, when)
					})
				}
			}
		}
	}
}

func forgotten(t *testing.T, tcp bool, paths int, kernel bool, when string) {
	engines := func(_ string, c *engine.Config) { c.TCPOnly = tcp }
	s := NewSim(SimConfig{Seed: 7, Links: simPaths(paths), Engine: engines})
	defer dumpSim(t, s)
	a := &SimStream{Seed: 1, PeerSeed: 2, Size: 10000, Chunk: 2000, KeepOpen: true}
	b := &SimStream{Seed: 2, PeerSeed: 1, PeerSize: 1 << 30, KeepOpen: true}
	client, _ := dialSim(t, s, a.App, b.App)
	if when == "in mid-transfer" {
		a.Size = 1 << 30
		client.Poke()
	}
	s.Run(s.Now().Add(2*time.Second), nil)
	switch when {
	case "with one path silent":
		s.SetSilent(1, true)
	case "after a path was lost":
		s.A.SetInterface(0, false)
		s.Run(s.Now().Add(2*time.Second), nil)
	}
	restart(s, kernel)
	s.Run(s.Now().Add(time.Second), nil)
	wrote := s.Now()
	a.Size += 1000
	client.Poke()
	s.Run(wrote.Add(forgetWithin), func() bool { return a.Err != nil })
	if !errors.Is(a.Err, syscall.ECONNRESET) {
		t.Errorf("%v after writing: %v", s.Now().Sub(wrote), a.Err)
	}
	lawful(t, s)
}

// restart makes B lose its connections and listen again.
func restart(s *Sim, kernel bool) {
	cfg := engine.Config{Rand: zeros{}, TCPOnly: true}
	s.B.Forget(cfg)
	s.B.Listen(9000)
	if !kernel {
		return
	}
	for _, p := range s.B.ports {
		p.out.Set(s.Now(), func(c *LinkConfig) { c.Middlebox = StripMPTCP(InRest) })
	}
}

// zeros is a source of randomness for a host that is not to need any.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A subflow that a middlebox resets is joined again at once, though it was
// the only one.
func TestSimResetSubflowIsRejoined(t *testing.T) {
	for _, end := range []string{"client", "server", "both"} {
		for _, paths := range []int{1, 2} {
			for _, busy := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%d paths/busy %v", end, paths, busy), func(t *testing.T) {
					t.Parallel()
					rejoined(t, end, paths, busy)
				})
			}
		}
	}
}

func rejoined(t *testing.T, end string, paths int, busy bool) {
	s := NewSim(SimConfig{Seed: 8, Links: simPaths(paths)})
	defer dumpSim(t, s)
	l := &lines{}
	client, _ := dialSim(t, s, l.App, echoSim())
	for range 20 {
		l.say(client)
		s.Run(s.Now().Add(100*time.Millisecond), nil)
	}
	joins, subflows := client.Core.Stats().MPJoinSynTx, upSubflows(client)
	there, back := s.Link(0)
	if end != "server" {
		back.Set(s.Now(), func(c *LinkConfig) { c.Middlebox = resetter() })
	}
	if end != "client" {
		there.Set(s.Now(), func(c *LinkConfig) { c.Middlebox = resetter() })
	}
	cut := s.Now()
	if busy {
		l.every(50*time.Millisecond, cut.Add(3*time.Second), client)
	} else {
		l.say(client)
	}
	// The reset comes at the first segment each way, the join right after it.
	if !s.Run(cut.Add(time.Second), func() bool { return client.Core.Stats().MPJoinSynTx > joins }) {
		t.Error("no join within a second")
	}
	s.Run(cut.Add(3*time.Second), nil)
	if !s.Run(cut.Add(5*time.Second), l.complete) || l.wrong {
		t.Errorf("%d of %d octets came back, wrong: %v", len(l.in), len(l.want), l.wrong)
	}
	if l.err != nil {
		t.Error(l.err)
	}
	if up := upSubflows(client); up != subflows {
		t.Errorf("%d subflows in the end, want %d", up, subflows)
	}
	lawful(t, s)
}

func upSubflows(c *SimConn) (n int) {
	for _, sf := range c.Core.Stats().Subflows {
		if sf.Up && !sf.Ended {
			n++
		}
	}
	return n
}

// resetter is a middlebox that ends a connection: it turns the next segment
// into a RST.
func resetter() Middlebox {
	done := false
	return func(pkt []byte) []byte {
		var seg wire.Segment
		if done || wire.Parse(pkt, &seg, wire.CsumFull) != wire.None {
			return pkt
		}
		done = true
		// Parse is the receiver's view.
		rst := wire.Segment{
			Tuple: wire.Tuple{Local: seg.Remote, Remote: seg.Local},
			Seq:   seg.Seq, Ack: seg.Ack, Flags: wire.RST | wire.ACK,
		}
		b := wire.NewBatch(2048)
		wire.AppendSegment(b, &rst, 0)
		return b.Bytes(0)
	}
}
