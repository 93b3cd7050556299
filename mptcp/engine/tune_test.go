package engine

import (
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/seq"
)

// tuned is a receiver with a path whose round trip is known, and whose buffers
// follow the need.
func tuned(t *testing.T) *script {
	t.Helper()
	s := accept(t, func(c *Config) { c.SendBuffer, c.RecvBuffer = 0, 0 })
	s.c.paths[0].trip.rtt = 100 * time.Millisecond
	return s
}

// arrive has n octets arrive in pieces, and the application read part of it.
func arrive(s *script, n, read int) {
	s.t.Helper()
	p := make([]byte, 10_000)
	for ; n > 0; n -= len(p) {
		p = p[:min(len(p), n)]
		s.c.place(s.now, s.c.rcv.Next(), p)
		if k := min(read, len(p)); k > 0 {
			read -= s.c.Read(s.now, p[:k])
		}
	}
}

// The window grows with what arrives and is read in a round trip, at once, up to
// its bound, and its edge never retreats (law 6).
func TestWindowFollowsTheNeed(t *testing.T) {
	s := tuned(t)
	edge := s.c.rcv.Edge()
	if got := s.c.rcv.Size(); got != leastWindow {
		t.Fatalf("a window of %d octets at the beginning", got)
	}
	flight, most := 14_000, 0
	for range 12 { // as in slow start
		arrive(s, min(flight, 2_000_000), min(flight, 2_000_000))
		if s.c.rcv.Edge().Less(edge) {
			t.Fatal("the edge retreated")
		}
		edge = s.c.rcv.Edge()
		if size := s.c.rcv.Size(); size < min(2*flight, defaultBuffer) {
			t.Fatalf("%d octets arrived in a round trip, and the window is %d", flight, size)
		}
		most = max(most, s.c.rcv.Size())
		s.advance(101 * time.Millisecond)
		flight *= 2
	}
	if most != defaultBuffer {
		t.Errorf("it grew to %d octets, want the bound, %d", most, defaultBuffer)
	}
}

// A little at a time needs no more, however long it goes on; nor does a reader
// who lets it lie, or takes it all at once.
func TestWindowStaysSmall(t *testing.T) {
	for name, step := range map[string]func(s *script){
		"slow sender": func(s *script) { arrive(s, 40_000, 40_000) },
		"bursty reader": func(s *script) {
			arrive(s, 200_000, 0)
			s.advance(time.Second)
			s.c.Read(s.now, make([]byte, 200_000))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := tuned(t)
			for range 50 {
				step(s)
				s.advance(101 * time.Millisecond)
			}
			if got := s.c.rcv.Size(); got != leastWindow {
				t.Errorf("a window of %d octets", got)
			}
		})
	}
}

// Sizes that the user has set stay.
func TestSetBuffersStay(t *testing.T) {
	s := accept(t, func(c *Config) { c.SendBuffer, c.RecvBuffer = 3<<20, 1<<20 })
	arrive(s, 900_000, 900_000)
	if got := s.c.rcv.Size(); got != 1<<20 {
		t.Errorf("a window of %d octets", got)
	}
	if got := s.c.Write(s.now, make([]byte, 4<<20)); got != 3<<20 {
		t.Errorf("%d octets were taken", got)
	}
}

// The application may write a little ahead of what is sent; what is on its way
// does not count.
func TestWriteAhead(t *testing.T) {
	s := tuned(t)
	large := make([]byte, 2<<20)
	if got := s.c.Write(s.now, large); got != leastAhead {
		t.Errorf("%d octets were taken, want %d", got, leastAhead)
	}
	if s.c.Write(s.now, large) != 0 || s.c.Writable() || s.c.Reserve() != nil {
		t.Error("there is room all the same")
	}
	s.c.tx.next = s.c.tx.next.Add(mostWorth - 1)
	if s.c.Writable() {
		t.Error("woken for little room")
	}
	s.c.tx.next++
	if !s.c.Writable() || len(s.c.Reserve()) == 0 {
		t.Error("no room for what was sent")
	}
	s.c.Commit(s.now, 0)
	if got := s.c.Write(s.now, large); got != mostWorth {
		t.Errorf("%d octets were taken, want %d", got, mostWorth)
	}
	s.c.tx.next = s.c.snd.End()
	s.c.snd.Ack(seq.Data(s.c.tx.next))
}

// The round trip is measured by what comes back on data, unless the sender had
// nothing to send.
func TestTripByTimestamps(t *testing.T) {
	s := accept(t, withTS, func(c *Config) { c.RecvBuffer = 0 })
	p := s.c.paths[0]
	seg := func(sent time.Duration) {
		x := s.segment(0, ". 1+10 ack 1 A1 M1:1:10")
		x.Opt.HasTS = true
		x.Opt.TSEcr = uint32(int64(s.now)/int64(tick)) + s.c.secret.numbers(p.tuple).tsOffset - uint32(sent/tick)
		p.onData(s.now, x)
	}
	s.advance(time.Second)
	seg(50 * time.Millisecond) // the first
	s.advance(30 * time.Millisecond)
	seg(20 * time.Millisecond) // after a silence
	if p.trip.rtt != 0 {
		t.Fatalf("%v was measured where there is no measure", p.trip.rtt)
	}
	for range 100 {
		s.advance(10 * time.Millisecond)
		seg(81 * time.Millisecond)
	}
	if got := p.trip.rtt; got != 80*time.Millisecond {
		t.Errorf("%v was measured, want 80ms", got)
	}
}

// Linux sends a little beyond a window that is small: that is taken, up to the
// largest window that there may be, and the edge stays where it is then.
func TestD11_BeyondTunedWindow(t *testing.T) {
	s := tuned(t)
	first, p := s.c.rcv.Next(), make([]byte, 1000)
	s.c.place(s.now, s.c.rcv.Edge().Add(-400), p)
	if st := s.c.Stats(); st.NoDSSInWindow != 0 || s.c.rcv.OutOfOrder() != 1000 || s.c.rcv.Edge() != first.Add(leastWindow+600) {
		t.Errorf("counted %d, %d octets taken, edge at %d", st.NoDSSInWindow, s.c.rcv.OutOfOrder(), s.c.rcv.Edge().Sub(first))
	}
	s.c.place(s.now, first.Add(defaultBuffer-400), p)
	if st := s.c.Stats(); st.NoDSSInWindow != 1 || s.c.rcv.OutOfOrder() != 1000 || s.c.rcv.Edge() != first.Add(leastWindow+600) {
		t.Errorf("counted %d, %d octets taken, edge at %d", st.NoDSSInWindow, s.c.rcv.OutOfOrder(), s.c.rcv.Edge().Sub(first))
	}
}
