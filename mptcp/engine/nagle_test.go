package engine

import (
	"testing"

	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/scheduler"
	"github.com/mpnc/mpnc/subflow"
)

// T71: RFC 9293, Section 3.7.4. Of many small writes the first leaves at once
// and the others together when it is acknowledged; a full segment waits for
// nothing.
func TestT71_Nagle(t *testing.T) {
	s := dial(t)
	s.write(10)
	s.expectOne(0, ". 1+10 ack 1")
	for range 5 {
		s.write(10)
	}
	s.expectNothing()
	s.send(0, ". 1 ack 11 A11")
	s.expectOne(0, ". 11+50 ack 1")
	s.write(10)
	s.expectNothing()
	s.write(1440)
	if got := s.drop(0); len(got.Payload) < 1400 {
		t.Fatalf("a full segment waited: %d octets left", len(got.Payload))
	}
	s.expectNothing()
	s.send(0, ". 1 ack 61 A61")
	s.drop(0)
	s.expectNothing()
}

// T71: an idle connection sends a line at once, every time.
func TestT71_NagleIdle(t *testing.T) {
	s := dial(t)
	for i := range 20 {
		s.write(7)
		s.expectOne(0, ". ")
		s.expectNothing()
		s.advance(10 * ms)
		s.send(0, ". 1 ack "+itoa(8+7*i)+" A"+itoa(8+7*i))
	}
}

// T71: the end of a long write does not wait for the acknowledgment of its own
// full segments (RFC 9293, Appendix A.3), which the peer would delay.
func TestT71_NagleEndOfWrite(t *testing.T) {
	s := dial(t)
	s.write(2000)
	sent := 0
	for len(s.legs[0].out) > 0 {
		sent += len(s.drop(0).Payload)
	}
	if sent != 2000 {
		t.Fatalf("%d of 2000 octets left at once", sent)
	}
	s.write(100)
	s.expectNothing() // that one waits: a short segment is unacknowledged
}

// T71: "there MUST be a way for an application to disable the Nagle algorithm
// on an individual connection" (MUST-17).
func TestT71_NoDelay(t *testing.T) {
	s := dial(t, func(c *Config) { c.NoDelay = true })
	for i := range 5 {
		s.write(10)
		s.expectOne(0, ". "+itoa(1+10*i)+"+10 ack 1")
	}
	s.c.SetNoDelay(false)
	s.write(10)
	s.expectNothing()
	s.c.SetNoDelay(true)
	s.poll()
	s.expectOne(0, ". 51+10 ack 1")
}

// T71: what is held leaves with the end of the stream: nothing can join it.
func TestT71_NagleBeforeFIN(t *testing.T) {
	s := dial(t)
	s.write(10)
	s.expectOne(0, ". 1+10 ack 1")
	s.write(10)
	s.expectNothing()
	s.closeWrite()
	s.expectOne(0, ". 11+10 ack 1")
}

// T71: holding is the connection's: that another path is idle is no reason to
// send a short segment there.
func TestT71_NagleIsOfTheConnection(t *testing.T) {
	s := dial(t)
	n := s.join(1, 1)
	s.write(10)
	s.expectOne(0, ". 1+10 ack 1")
	s.steer.to = 1
	s.write(10)
	s.expectNothing()
	s.send(0, ". 1 ack 11 A11")
	s.expectOne(n, ". 1+10 ack 1")
	s.expectNothing()
}

// T71: what is held does not wait for ever if the path of what it waits for
// goes away; that is sent elsewhere, and its acknowledgment counts.
func TestT71_NaglePathDies(t *testing.T) {
	s := dial(t)
	n := s.join(1, 1)
	s.write(10)
	s.expectOne(0, ". 1+10 ack 1")
	s.write(10)
	s.expectNothing()
	s.steer.to = 1
	s.c.HandleLocal(s.now, pathmgr.LocalUp{Local: s.local(1)})
	s.localDown(0)
	s.expectOne(n, ". 1 ack 1 A1 rm=0")
	s.expectOne(n, ". 1+10 ack 1 A1 M1:1:10")
	s.ignore(n)
	s.send(n, ". 1 ack 11 A11")
	s.expectOne(n, ". 11+10 ack 1 A1 M11:11:10")
}

// T71: with plain TCP too, where the subflow's acknowledgment counts.
func TestT71_NaglePlain(t *testing.T) {
	s := dialing(t, func(c *Config) { c.TCPOnly = true })
	s.expect(0, "S 0")
	s.advance(10 * ms)
	s.send(0, "S. 0 ack 1")
	s.expect(0, ". 1 ack 1")
	s.write(10)
	s.expect(0, ". 1+10 ack 1")
	s.write(10)
	s.write(10)
	s.expectNothing()
	s.advance(10 * ms)
	s.send(0, ". 1 ack 11")
	s.expect(0, ". 11+20 ack 1")
}

// T71: where trains leave by a fast lane, what does not fill one waits for the
// acknowledgment of those that are under way, and for that of nothing less.
func TestT71_NagleOnLane(t *testing.T) {
	s := dial(t, func(c *Config) { c.Scheduler = scheduler.NewMinRTT })
	s.batch.Lane, s.batch.MaxTrain = true, wire.MaxPacket
	p := s.c.paths[0]
	p.sf.SetLane(subflow.Lane{Limit: 20_000, Via: 1})
	at := 1
	// sent is how many octets left, in so many packets.
	sent := func(n, packets int) {
		t.Helper()
		before := at
		for range packets {
			at += len(s.drop(0).Payload)
		}
		s.expectNothing()
		if at-before != n {
			t.Fatalf("%d octets left, expected %d", at-before, n)
		}
	}
	acked := func() { s.send(0, ". 1 ack "+itoa(at)+" A"+itoa(at)) }

	s.write(3000)
	sent(3000, 1) // on probation
	acked()
	train := p.sf.TrainWorth()
	if train < 3000 || train > 7000 {
		t.Fatalf("a train is worth %d", train)
	}
	s.write(1000)
	sent(1000, 1)
	s.write(2 * p.sf.MSS())
	sent(2*p.sf.MSS(), 1) // what is under way is no train
	acked()
	s.write(train)
	sent(train, 1)
	s.write(2500)
	sent(0, 0)
	acked()
	sent(2500, 1)
	acked()
	s.write(train)
	sent(train, 1)
	s.write(2500)
	s.closeWrite()
	if got := s.drop(0); len(got.Payload) != 2500 {
		t.Fatalf("%d octets left with the end", len(got.Payload))
	}
}

// T71: on a path where an acknowledgment takes its time nothing but the Nagle
// algorithm holds anything back, whether trains leave or not.
func TestT71_NagleOnLongLane(t *testing.T) {
	s := dial(t, func(c *Config) { c.Scheduler = scheduler.NewMinRTT })
	s.batch.Lane, s.batch.MaxTrain = true, wire.MaxPacket
	p := s.c.paths[0]
	p.sf.SetLane(subflow.Lane{Limit: 20_000, Via: 1})
	s.write(3000)
	s.drop(0)
	s.expectNothing()
	s.advance(10 * ms)
	s.send(0, ". 1 ack 3001 A3001")
	if !p.sf.Info().Lane || p.sf.Cork() != 0 {
		t.Fatalf("lane %t, cork %d", p.sf.Info().Lane, p.sf.Cork())
	}
	for range 3 {
		s.advance(5 * ms)
		s.write(2900)
		sent := 0
		for len(s.legs[0].out) > 0 {
			sent += len(s.drop(0).Payload)
		}
		if sent < 2800 {
			t.Fatalf("%d octets left", sent)
		}
	}
}
