package testenv

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/trace"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/mptcp/engine"
	"github.com/mpnc/mpnc/pathmgr"
)

// These simulations bound what a handover costs: how long the application waits,
// and how many octets are sent for those that arrive.

// handover is one event on a pair of links of 20 Mb/s with round trips of 20 and
// 60 ms.
type handover struct {
	manager string // fullmesh if empty
	lose    func(s *Sim)
	link    func(*LinkConfig)
	tracer  trace.Tracer // of the sender
}

// The first link dies, or the first address goes.
var (
	silence       = func(s *Sim) { s.SetSilent(0, true) }
	otherSilence  = func(s *Sim) { s.SetSilent(1, true) }
	linkAtSender  = func(s *Sim) { s.A.SetInterface(0, false) }
	linkAtPeer    = func(s *Sim) { s.B.SetInterface(0, false) }
	addressGoes   = func(s *Sim) { s.A.SetAddr(0, netip.Addr{}) }
	surviving     = 60 * time.Millisecond
	queueOfOther  = 60 * time.Millisecond // a bandwidth-delay product
	handoverAfter = 2500 * time.Millisecond
)

func (h *handover) sim(t *testing.T) *Sim {
	manager, err := pathmgr.New(h.manager)
	if err != nil {
		t.Fatal(err)
	}
	links := []SimLink{Symmetric(20e6, 20*time.Millisecond, 0, 0), Symmetric(20e6, surviving, 0, 0)}
	for i := range links {
		if h.link != nil {
			h.link(&links[i].There)
			h.link(&links[i].Back)
		}
	}
	return NewSim(SimConfig{Seed: 1, Links: links, Engine: func(name string, c *engine.Config) {
		c.Manager = manager
		if name == "A" {
			c.Tracer = h.tracer
		}
	}})
}

// handedOver is a transfer without end in the middle of a handover.
type handedOver struct {
	s              *Sim
	client, server *SimConn
	to             *SimStream
	sent           int // octets of payload, repeated ones too
}

// bulk runs a transfer from A to B until the event.
func (h *handover) bulk(t *testing.T) *handedOver {
	t.Helper()
	o := &handedOver{s: h.sim(t), to: &SimStream{Seed: 2, PeerSeed: 1, PeerSize: 1 << 40}}
	from := &SimStream{Seed: 1, PeerSeed: 2, Size: 1 << 40}
	o.client, o.server = dialSim(t, o.s, from.App, o.to.App)
	o.s.Trace = func(_ mono.Time, host *SimHost, _ int, seg *wire.Segment) {
		if host == o.s.A {
			o.sent += len(seg.Payload)
		}
	}
	o.run(handoverAfter)
	o.to.Gap, o.to.LastRead = 0, o.s.Now()
	if h.lose != nil {
		h.lose(o.s)
	}
	t.Cleanup(func() {
		lawful(t, o.s)
		if o.to.Err != nil {
			t.Error(o.to.Err)
		}
	})
	return o
}

// run goes on for d and returns how many octets arrived.
func (o *handedOver) run(d time.Duration) int {
	before := o.to.Received
	o.s.Run(o.s.Now().Add(d), nil)
	return o.to.Received - before
}

// A dead path in the middle of a transfer: how long nothing arrives. With a word
// of what happened (a link, an address) that is what the data takes to get there
// by the other path, behind the queue that it has; without one half a round trip
// more, and not the retransmission timer's 200 ms.
func TestSimHandoverSilence(t *testing.T) {
	told := surviving + queueOfOther + 20*time.Millisecond
	for _, tt := range []struct {
		name string
		lose func(s *Sim)
		most time.Duration
	}{
		{"silence", silence, told},
		{"silence of the other path", otherSilence, 160 * time.Millisecond},
		{"link down at the sender", linkAtSender, told},
		{"link down at the receiver", linkAtPeer, told},
		{"address removed", addressGoes, told},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := handover{lose: tt.lose}
			o := h.bulk(t)
			before := o.to.Received
			o.sent = 0
			o.run(1500 * time.Millisecond)
			if gap := time.Duration(o.to.Gap); gap > tt.most {
				t.Errorf("nothing arrived for %v, want %v at most", gap, tt.most)
			}
			if got := o.to.Received - before; float64(o.sent) > 1.05*float64(got) {
				t.Errorf("%d octets sent for %d that arrived", o.sent, got)
			}
		})
	}
}

// With a word of what happened (a link, an address) the data of the lost path is
// sent again in the same instant, the oldest octets first, and nothing new before
// the last of them.
func TestSimReinjectsAtOnceOldestFirst(t *testing.T) {
	for _, tt := range []struct {
		name string
		lose func(s *Sim)
	}{
		{"link down", linkAtSender},
		{"address removed", addressGoes},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var events grants
			o := (&handover{tracer: &events}).bulk(t)
			events = nil
			at := o.s.Now()
			tt.lose(o.s)
			o.run(100 * time.Millisecond)
			events.check(t, at)
		})
	}
}

// grants keeps what a sender grants to its paths.
type grants []trace.Event

func (g *grants) Trace(e trace.Event) {
	if e.Kind == trace.Granted || e.Kind == trace.Reinjected {
		*g = append(*g, e)
	}
}

// check holds what was granted since a path was lost against the rule.
func (g grants) check(t *testing.T, lost mono.Time) {
	t.Helper()
	copies := slices.IndexFunc(g, func(e trace.Event) bool { return e.Kind == trace.Granted })
	if copies < 1 {
		t.Fatalf("%d grants, new data first", len(g))
	}
	// At once is a segment's time on the wire, and what pacing may wait for.
	if after := g[0].At.Sub(lost); after > 2*time.Millisecond {
		t.Errorf("the first octet is sent again %v after the loss", after)
	}
	octets := 0
	for i, e := range g[:copies] {
		octets += int(e.B - e.A)
		if i > 0 && e.A < g[i-1].B {
			t.Errorf("%d to %d is sent again after %d", e.A, e.B, g[i-1].B)
		}
	}
	// The link that is lost held a bandwidth-delay product, and half its queue.
	if octets < 50_000 {
		t.Errorf("%d octets were sent again before new ones", octets)
	}
	if i := slices.IndexFunc(g[copies:], func(e trace.Event) bool { return e.Kind == trace.Reinjected }); i >= 0 {
		t.Errorf("%v, after new data", g[copies+i])
	}
}

// A path that was silent is used in full within two seconds of its return.
func TestSimFailBack(t *testing.T) {
	for _, gone := range []time.Duration{time.Second, 6 * time.Second} {
		t.Run(gone.String(), func(t *testing.T) {
			t.Parallel()
			h := handover{lose: silence}
			o := h.bulk(t)
			o.run(gone)
			o.s.SetSilent(0, false)
			o.run(reuseWithin)
			if rate := float64(o.run(time.Second)) * 8; rate < 0.85*40e6 {
				t.Errorf("%.1f Mb/s over both paths %v after the return", rate/1e6, reuseWithin)
			}
		})
	}
}

// Two healthy links whose delay varies by 30 ms, and which lose one packet in a
// hundred: the copies in a minute are those of the losses, and few are for a
// suspicion.
func TestSimNoCopiesWithoutNeed(t *testing.T) {
	h := handover{link: func(c *LinkConfig) { c.Jitter, c.Loss = 30*time.Millisecond, 0.01 }}
	o := h.bulk(t)
	o.run(time.Minute - handoverAfter)
	if float64(o.sent) > 1.02*float64(o.to.Received) {
		t.Errorf("%d octets sent for %d that arrived", o.sent, o.to.Received)
	}
	if n := o.client.Core.Stats().ReinjectedBytes; n > uint64(o.sent)/500 {
		t.Errorf("%d octets of %d were sent on another path", n, o.sent)
	}
	t.Logf("%.4f, %d reinjected", float64(o.sent)/float64(o.to.Received), o.client.Core.Stats().ReinjectedBytes)
}

// requests are 750 octets every 400 ms, that come back.
type requests struct {
	asked, answered int
	times           []mono.Time
	worst           time.Duration
	buf             [4096]byte
	out             int
}

const requestSize = 750

func (r *requests) App(now mono.Time, c *SimConn) {
	for r.out > 0 {
		n := c.Core.Write(now, r.buf[:r.out])
		if n == 0 {
			break
		}
		r.out -= n
	}
	for n := c.Core.Read(now, r.buf[:]); n > 0; n = c.Core.Read(now, r.buf[:]) {
		r.answered += n
	}
	for len(r.times) > 0 && r.answered >= (r.asked-len(r.times)+1)*requestSize {
		r.worst = max(r.worst, now.Sub(r.times[0]))
		r.times = r.times[1:]
	}
}

// A request every 400 ms, and the path that carries them dies: with a word of it
// the answer takes the round trip of the other path, without one a few more.
func TestSimHandoverRequests(t *testing.T) {
	for _, manager := range []string{"fullmesh", "backup"} {
		for _, tt := range []struct {
			name string
			lose func(s *Sim)
			most time.Duration
		}{
			{"silence", silence, 230 * time.Millisecond},
			{"silence at the answer", nil, 230 * time.Millisecond},
			{"address removed", addressGoes, surviving + 20*time.Millisecond},
			{"link down at the receiver", linkAtPeer, 230 * time.Millisecond},
		} {
			t.Run(manager+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				h := handover{manager: manager}
				s := h.sim(t)
				r := &requests{}
				client, _ := dialSim(t, s, r.App, echoSim())
				for i := range 20 {
					s.At(s.Now().Add(time.Duration(i)*400*time.Millisecond), func() {
						r.asked++
						r.out += requestSize
						r.times = append(r.times, s.Now())
						client.Poke()
					})
				}
				at := s.Now().Add(4 * time.Second) // just after the tenth request left
				s.At(at, func() {
					if tt.lose != nil {
						tt.lose(s)
						return
					}
					_, back := s.Link(0)
					back.SetSilent(true)
				})
				s.Run(at, nil)
				before := r.worst
				s.Run(at.Add(6*time.Second), nil)
				if before > 30*time.Millisecond || r.answered != 20*requestSize {
					t.Errorf("%v before, %d octets came back", before, r.answered)
				}
				if r.worst > tt.most {
					t.Errorf("an answer took %v, want %v at most", r.worst, tt.most)
				}
				t.Logf("%v", r.worst)
				lawful(t, s)
			})
		}
	}
}
