package engine

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/mpnc/mpnc/scheduler"
)

// The peer joins, and resets what we answer: somebody took the option out of our
// SYN/ACK. Who has just asked for a subflow has not forgotten the connection, though
// there is no other path.
func TestForgotten_NotByWhoJoins(t *testing.T) {
	s := accept(t)
	s.send(0, ". 1+10 ack 1 mpc22=10")
	s.write(100)
	s.advance(time.Second) // the only path falls silent
	s.ignore(0)
	n := s.addLeg(legTuple(0, 1, 80, 1000))
	s.send(n, "S 0 mpj12 id=1")
	s.expectOne(n, "S. 0 ack 1 mpj16")
	s.send(n, "R 1 rst=1")
	if err := s.c.Err(); err != nil {
		t.Errorf("error %v", err)
	}
}

// twoSilent is a connection on two paths that both fell silent. Its manager tries
// to join.
func twoSilent(t *testing.T) *script {
	t.Helper()
	s := dial(t, fullMesh, func(c *Config) { c.Scheduler = scheduler.NewMinRTT })
	s.localUp(0)
	s.localUp(1)
	s.wants = s.wants[:0]
	s.c.mgr.wanted = nil
	s.open2(1, 0)
	s.write(100)
	for range 60 {
		s.advance(50 * ms)
	}
	if s.c.alive() {
		t.Fatal("a path that answers nothing counts as alive")
	}
	return s
}

// refuseJoins answers joins with resets that have no reason, for a time.
func (s *script) refuseJoins(d time.Duration) (joins int) {
	for end := s.now.Add(d); s.now < end && s.c.Err() == nil; s.advance(50 * ms) {
		for len(s.wants) > 0 && s.c.Err() == nil {
			s.send(s.bind(), "R. 0 ack 1")
			joins++
		}
	}
	return joins
}

// Joins are refused without a reason while other paths are silent: that may be
// somebody on the way, and what is silent may come back. If an established subflow
// was reset as well, it is the peer, and that is told within three seconds.
func TestForgotten_ResetsBesideSilence(t *testing.T) {
	s := twoSilent(t)
	if n := s.refuseJoins(20 * time.Second); n < 3 || s.c.Err() != nil {
		t.Fatalf("%d joins refused, error %v", n, s.c.Err())
	}

	s = twoSilent(t)
	s.send(0, "R. 1 ack 1")
	if s.c.Err() != nil {
		t.Fatalf("one reset, error %v", s.c.Err())
	}
	s.refuseJoins(3 * time.Second)
	var r *ResetError
	if err := s.c.Err(); !errors.Is(err, syscall.ECONNRESET) || !errors.As(err, &r) || !r.Forgotten {
		t.Errorf("after three seconds: %v", err)
	}
}

// A word from the peer on the path that was silent makes void what was refused.
func TestForgotten_WordFromThePeer(t *testing.T) {
	s := twoSilent(t)
	s.send(0, "R. 1 ack 1")
	s.refuseJoins(700 * ms)
	s.send(1, ". 1 ack 1 A1")
	s.refuseJoins(20 * time.Second)
	if err := s.c.Err(); err != nil {
		t.Errorf("error %v", err)
	}
}
