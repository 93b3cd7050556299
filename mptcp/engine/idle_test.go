package engine

import (
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/subflow"
)

// A connection that is idle keeps no memory for its stream, and no timer.
func TestIdleConnectionHasNoBuffers(t *testing.T) {
	s := accept(t)
	memory := func() int { return s.c.snd.Memory() + s.c.rcv.Memory() }
	s.write(5000)
	s.send(0, ". 1+1000 ack 5001 A5001 M1:1:1000")
	s.expectRead(1000)
	if memory() == 0 {
		t.Fatal("nothing to give back")
	}
	kept := memory()
	s.advance(idleAfter / 2)
	s.send(0, ". 1001+1000 ack 5001 A5001 M1001:1001:1000")
	s.advance(idleAfter)
	if memory() != kept {
		t.Errorf("%d octets of %d a second after the last were used", memory(), kept)
	}
	s.expectRead(1000)
	s.advance(2 * idleAfter)
	if memory() != 0 || s.c.timers.Next() != mono.Never {
		t.Errorf("%d octets, next timer %v", memory(), time.Duration(s.c.timers.Next()))
	}
	// What waits to be read, or acknowledged, stays.
	s.send(0, ". 2001+1000 ack 5001 A5001 M2001:2001:1000")
	s.ignore(0)
	s.write(2000)
	s.advance(5 * idleAfter)
	s.expectRead(1000)
	if out := s.ignore(0); len(out) < 3 {
		t.Errorf("sent %q", out)
	}
}

// A connection that both sides have finished keeps no memory for its stream,
// though its subflow be in TIME-WAIT.
func TestTimeWaitHasNoBuffers(t *testing.T) {
	s := dial(t)
	s.write(10)
	s.expectOne(0, ". 1+10 ack 1 A1 M1:1:10")
	s.send(0, ". 1+10 ack 11 A11 M1:1:10")
	s.ignore(0)
	s.expectRead(10)
	if s.c.snd.Memory() == 0 || s.c.rcv.Memory() == 0 {
		t.Fatal("nothing to give back")
	}
	s.closeWrite()
	s.ignore(0)
	s.send(0, ". 11 ack 11 A12 M11:0:1 F")
	s.ignore(0)
	s.send(0, "F. 11 ack 12 A12")
	s.ignore(0)
	s.expectState(0, subflow.StateTimeWait)
	if n := s.c.snd.Memory() + s.c.rcv.Memory(); n != 0 {
		t.Errorf("%d octets", n)
	}
}
