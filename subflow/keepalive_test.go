package subflow

import (
	"testing"
	"time"
)

// T73: "the default for keep-alives MUST be off" (MUST-25).
func TestT73_KeepAliveOffByDefault(t *testing.T) {
	b := established(t, Config{})
	b.advance(48 * time.Hour)
	b.expectNothing()
	b.expectState(StateEstablished)
}

// T73: a probe has no data, lies before the window, and leaves after an idle
// time; any word of the peer's starts that anew (RFC 9293, Section 3.8.4).
func TestT73_KeepAliveProbes(t *testing.T) {
	b := established(t, Config{KeepAlive: 2 * time.Hour})
	b.advance(2*time.Hour - 1)
	b.expectNothing()
	b.advance(1)
	b.expect(pkt{f: fA, seq: 0, ack: 1})
	b.advance(10 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 1})
	b.advance(2*time.Hour - 1)
	b.expectNothing()
	b.advance(1)
	b.expect(pkt{f: fA, seq: 0, ack: 1})
	b.send(pkt{f: fA, seq: 1, ack: 1})

	b.advance(time.Hour)
	b.send(pkt{f: fA, seq: 1, ack: 1, n: 10})
	b.advance(time.Second)
	b.expect(pkt{f: fA, seq: 1, ack: 11})
	b.advance(2*time.Hour - 2*time.Second)
	b.expectNothing()
	b.advance(time.Second)
	b.expect(pkt{f: fA, seq: 0, ack: 11})
	b.expectEvents(0)
}

// T73: it "MUST NOT interpret failure to respond to any specific probe as a dead
// connection" (MUST-29): all but the last may be lost.
func TestT73_KeepAliveToleratesLosses(t *testing.T) {
	b := established(t, Config{KeepAlive: time.Minute, KeepAliveInterval: 10 * time.Second, KeepAliveCount: 5})
	for range 3 {
		b.advance(time.Minute + 4*10*time.Second)
		for range 5 {
			b.expect(pkt{f: fA, seq: 0, ack: 1})
		}
		b.send(pkt{f: fA, seq: 1, ack: 1})
		b.expectEvents(0)
		b.expectNothing()
	}
	b.advance(time.Minute + 5*10*time.Second - 1)
	b.expectEvents(0)
	b.advance(1)
	b.expectEvents(Unanswered | Suspect)
	b.expectState(StateEstablished) // what follows from it is for others to say
	if got := b.sf.Info().State; got != StateEstablished || !b.sf.Stale() {
		t.Fatalf("state %v, stale %t", got, b.sf.Stale())
	}
	// It is said once, and asking goes on: the path may come back.
	b.out = nil
	b.advance(20 * time.Second)
	b.expectEvents(0)
	b.expect(pkt{f: fA, seq: 0, ack: 1})
	b.expect(pkt{f: fA, seq: 0, ack: 1})
	b.send(pkt{f: fA, seq: 1, ack: 1})
	b.expectEvents(Trusted)
	b.advance(time.Minute - 1)
	b.expectNothing()
}

// T73: "only be sent when no sent data is outstanding" (MUST-26): the
// retransmission timer asks then. A segment that fails the checks is no sign of
// life.
func TestT73_KeepAliveOnlyWhenIdle(t *testing.T) {
	b := established(t, Config{KeepAlive: 100 * ms})
	b.write(500)
	b.advance(10 * time.Second)
	for _, p := range b.out {
		if p.n == 0 {
			t.Fatalf("a keepalive beside data: %v", p)
		}
	}
	b.out = nil
	b.send(pkt{f: fA, seq: 1, ack: 501})
	b.advance(100*ms - 1)
	b.expectNothing()
	b.send(pkt{f: fA, seq: 900000, ack: 501})
	b.out = nil // the answer
	b.advance(1)
	b.expect(pkt{f: fA, seq: 500, ack: 1})
}

// T22, T74: nothing acknowledged for the user timeout, however often it was
// sent (RFC 9293, Section 3.8.3: R2, settable, MUST-21).
func TestT22_T74_UserTimeout(t *testing.T) {
	b := established(t, Config{UserTimeout: 30 * time.Second})
	b.advance(time.Minute) // idle time does not count
	b.write(500)
	b.advance(30*time.Second - 1)
	if b.events.Has(TimedOut) || !b.events.Has(Suspect) {
		t.Fatalf("events %b", b.events)
	}
	tries := b.sf.Info().Retries
	if tries < 5 || len(b.out) != tries+2 { // the first, and a tail loss probe
		t.Fatalf("%d retries, %d segments", tries, len(b.out))
	}
	b.events = 0
	b.advance(1)
	b.expectEvents(TimedOut)
	b.advance(time.Hour)
	b.expectEvents(0)

	// Whatever is acknowledged starts it anew.
	b = established(t, Config{UserTimeout: 30 * time.Second})
	b.write(3000)
	for i := range 3 {
		b.advance(29 * time.Second)
		b.send(pkt{f: fA, seq: 1, ack: 1 + 500*(i+1)})
	}
	if b.events.Has(TimedOut) {
		t.Fatal("timed out while data was acknowledged")
	}
	b.events = 0
	b.advance(30 * time.Second)
	if !b.events.Has(TimedOut) {
		t.Fatalf("events %b", b.events)
	}
}

// T22: without a user timeout what is unacknowledged is sent for ever; the
// connection has its own patience.
func TestT22_NoUserTimeout(t *testing.T) {
	b := established(t, Config{})
	b.write(500)
	b.advance(time.Hour)
	b.expectEvents(Suspect)
	if n := b.sf.Info().Retries; n < 60 {
		t.Fatalf("%d retries in an hour", n)
	}
}

// T72, T74: a closed window is not a timeout as long as the peer answers the
// probes: "the sending TCP peer MUST allow the connection to stay open" (RFC
// 9293, Section 3.8.6.1, MUST-37).
func TestT72_T74_UserTimeoutAndZeroWindow(t *testing.T) {
	b := established(t, Config{UserTimeout: 30 * time.Second})
	b.send(pkt{f: fA, seq: 1, ack: 1, zeroWin: true})
	b.write(500)
	for range 40 { // some half an hour
		for len(b.out) == 0 {
			b.advance(time.Second)
		}
		b.expect(pkt{f: fA, seq: 0, ack: 1})
		b.send(pkt{f: fA, seq: 1, ack: 1, zeroWin: true})
		b.expectEvents(0)
	}
	for len(b.out) == 0 {
		b.advance(time.Second)
	}
	b.advance(28 * time.Second) // a silent peer is another matter
	b.expectEvents(0)
	b.advance(2 * time.Second)
	b.expectEvents(TimedOut)
}
