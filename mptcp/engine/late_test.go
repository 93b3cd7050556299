package engine

import (
	"testing"
	"time"

	"github.com/mpnc/mpnc/scheduler"
)

// lateStart is a connection with two paths of 10 ms, of which the first has been
// given a lone segment.
func lateStart(t *testing.T) (s *script, n int) {
	t.Helper()
	s = dial(t)
	n = s.join(1, 1)
	s.write(10)
	s.expectOne(0, ". 1+10 ack 1")
	s.steer.to = 1
	return s, n
}

// due is when the acknowledgment of a segment that left at the end of lateStart
// is late: a round trip of 10 ms, whose deviation is 5; and grace, how long the
// answer to the question may take.
const (
	due   time.Duration = 10*ms + ackDelay
	grace time.Duration = 10*ms + leastLate
)

// A path that does not acknowledge in time is asked, and an idle one beside it.
// If that answers, and the first does not, what is on the first goes to the other
// long before the retransmission timer would have fired.
func TestLate_AskedThenSuspected(t *testing.T) {
	s, n := lateStart(t)
	s.advance(due - 1)
	s.expectNothing()
	s.advance(1)
	s.expectOne(0, ". 0 ack 1 A1")
	s.expectOne(n, ". 0 ack 1 A1")
	s.advance(10 * ms)
	s.send(n, ". 1 ack 1 A1")
	s.advance(grace - 10*ms - 1)
	s.expectNothing()
	s.advance(1)
	s.expectOne(n, ". 1+10 ack 1 A1 M1:1:10")
	if !s.c.paths[0].silent() || s.c.paths[0].sf.Stale() {
		t.Error("not suspected, or not before its time")
	}
	s.send(n, ". 1 ack 11 A11")
	s.write(10)
	s.expectOne(n, ". 11+10 ack 1 A1 M11:11:10")

	// With the first word it is trusted again.
	s.send(0, ". 1 ack 11 A11")
	if s.c.paths[0].silent() {
		t.Error("heard, and not trusted")
	}
	s.send(n, ". 1 ack 21 A21")
	s.expectNothing()
}

// The other's answer may come after that.
func TestLate_WitnessIsWaitedFor(t *testing.T) {
	s, n := lateStart(t)
	s.advance(due)
	s.expectOne(0, ". 0 ack 1 A1")
	s.expectOne(n, ". 0 ack 1 A1")
	s.advance(grace + 20*ms)
	s.expectNothing()
	s.send(n, ". 1 ack 1 A1")
	s.expectOne(n, ". 1+10 ack 1 A1 M1:1:10")
}

// Where nobody answers there is no suspicion: the peer, or this host, stood still.
func TestLate_NobodyAnswers(t *testing.T) {
	s, n := lateStart(t)
	s.advance(due)
	s.expectOne(0, ". 0 ack 1 A1")
	s.expectOne(n, ". 0 ack 1 A1")
	s.advance(200*ms - due - 1)
	s.expectNothing()
	if s.c.paths[0].silent() {
		t.Error("suspected")
	}
}

// A path that answers is not suspected, whatever else was lost.
func TestLate_Answered(t *testing.T) {
	s, n := lateStart(t)
	s.advance(due)
	s.expectOne(0, ". 0 ack 1 A1")
	s.expectOne(n, ". 0 ack 1 A1")
	s.advance(10 * ms)
	s.send(0, ". 1 ack 1 A1")
	s.send(n, ". 1 ack 1 A1")
	s.advance(due - 10*ms - 1)
	s.expectNothing()
	if s.c.paths[0].silent() {
		t.Error("suspected")
	}
}

// A path that is alone is not asked: there is nothing else to do.
func TestLate_AloneIsLeftToTCP(t *testing.T) {
	s := dial(t)
	s.write(10)
	s.expectOne(0, ". 1+10 ack 1")
	s.advance(200*ms - 1)
	s.expectNothing()
}

// Where much is under way, half a round trip without a word is enough.
func TestLate_MuchUnderWay(t *testing.T) {
	s := dial(t, func(c *Config) { c.Scheduler = scheduler.NewMinRTT })
	n := s.join(1, 1)
	s.write(manySegments * s.c.paths[0].sf.MSS())
	if out := s.ignore(0); len(out) != manySegments {
		t.Fatalf("%q", out)
	}
	s.ignore(n)
	s.advance(10*ms + leastLate)
	s.ignore(0) // a tail-loss probe, too
	s.ignore(n)
	s.advance(1)
	s.send(n, ". 1 ack 1 A1")
	s.advance(5*ms - 2)
	s.ignore(n)
	if s.c.paths[0].silent() {
		t.Error("too early")
	}
	s.advance(1)
	if !s.c.paths[0].silent() {
		t.Error("not suspected")
	}
}

// A suspicion that turns out wrong makes this path's silences count for half.
func TestLate_WrongSuspicion(t *testing.T) {
	s, n := lateStart(t)
	silence := func(late, answer time.Duration) {
		t.Helper()
		s.advance(late)
		s.ignore(0)
		s.ignore(n)
		s.advance(1)
		s.send(n, ". 1 ack 1 A1")
		s.advance(answer - 2)
		if s.c.paths[0].silent() {
			t.Fatal("too early")
		}
		s.advance(1)
		if !s.c.paths[0].silent() {
			t.Fatal("not suspected")
		}
		s.ignore(n)
		s.send(0, ". 1 ack 1 A1") // it was the network's delay
		s.ignore(0)
		if s.c.paths[0].silent() {
			t.Fatal("not trusted")
		}
	}
	silence(due, grace)
	silence(2*ackDelay, 2*grace)
}
