package engine

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/subflow"
)

// plainDial is an active open of a peer that speaks TCP only.
func plainDial(t *testing.T, changes ...func(*Config)) *script {
	t.Helper()
	s := dialing(t, append(changes, func(c *Config) { c.TCPOnly = true })...)
	s.expect(0, "S 0")
	s.advance(10 * ms)
	s.send(0, "S. 0 ack 1")
	s.expect(0, ". 1 ack 1")
	return s
}

func userTimeout(d time.Duration) func(*Config) { return func(c *Config) { c.UserTimeout = d } }

// expectUnanswered says that the connection failed with an UnansweredError.
func (s *script) expectUnanswered(want UnansweredError) *UnansweredError {
	s.t.Helper()
	var got *UnansweredError
	if err := s.c.Err(); !errors.As(err, &got) || !errors.Is(err, syscall.ETIMEDOUT) || !got.Timeout() {
		s.t.Fatalf("error %v", err)
	}
	if got.Local != want.Local || got.Remote != want.Remote || got.After != want.After || got.Idle != want.Idle {
		s.t.Fatalf("error %+v, expected %+v", *got, want)
	}
	return got
}

// T22, T25, T74: plain TCP fails when nothing was acknowledged for the user
// timeout, and says on which path, for how long, after how many retries.
func TestT22_T25_T74_UserTimeoutPlain(t *testing.T) {
	s := plainDial(t, userTimeout(30*time.Second))
	s.advance(time.Hour) // idle time does not count
	s.write(10)
	s.advance(30*time.Second - 1)
	if s.c.Err() != nil {
		t.Fatal(s.c.Err())
	}
	s.advance(1)
	e := s.expectUnanswered(UnansweredError{Local: s.legs[0].tuple.Local, Remote: s.legs[0].tuple.Remote, After: 30 * time.Second})
	if e.Retries < 5 {
		t.Errorf("%d retries", e.Retries)
	}
	for _, part := range []string{"timed out", "10.0.0.1:1000", "10.0.0.2:80", "30s", "retries"} {
		if !strings.Contains(e.Error(), part) {
			t.Errorf("%q does not say %q", e, part)
		}
	}
	if out := s.ignore(0); !strings.HasPrefix(out[len(out)-1], "R.") || !s.gone() {
		t.Errorf("last sent %q, gone %t", out[len(out)-1], s.gone())
	}
}

// T74: the default is the connection's patience.
func TestT74_NoUserTimeout(t *testing.T) {
	s := plainDial(t)
	s.write(10)
	s.advance(14 * time.Minute)
	if s.c.Err() != nil {
		t.Fatal(s.c.Err())
	}
	s.advance(2 * time.Minute)
	if !errors.Is(s.c.Err(), syscall.ETIMEDOUT) {
		t.Fatal(s.c.Err())
	}
}

// T74: with MPTCP a path that acknowledges nothing is closed while another one
// lives, and the connection goes on.
func TestT74_UserTimeoutClosesPath(t *testing.T) {
	s := dial(t, userTimeout(20*time.Second))
	n := s.join(1, 1)
	s.write(10)
	s.expectOne(0, ". 1+10 ack 1")
	s.steer.to = 1
	s.advance(time.Second)
	s.expectOne(n, ". 0 ack 1 A1")            // asked whether the peer is there
	s.expectOne(n, ". 1+10 ack 1 A1 M1:1:10") // reinjected
	s.send(n, ". 1 ack 11 A11")
	s.advance(17 * time.Second)
	s.expectState(0, subflow.StateEstablished)
	s.ignore(0)
	s.advance(3 * time.Second)
	s.expectState(0, subflow.StateClosed)
	if out := s.ignore(0); !strings.Contains(strings.Join(out, "\n"), "rst=5") {
		t.Errorf("sent %q", out)
	}
	s.expectMultipath()
	var reason pathmgr.Reason
	for _, p := range s.c.Stats().Subflows {
		if p.Ended {
			reason = p.Reason
		}
	}
	if reason != pathmgr.TimedOut {
		t.Errorf("the path ended with reason %v", reason)
	}
	s.write(10)
	s.expectOne(n, ". 11+10 ack 1 A1 M11:11:10")
}

// T74: the last path's user timeout is the connection's end.
func TestT74_UserTimeoutLastPath(t *testing.T) {
	s := dial(t, userTimeout(20*time.Second))
	n := s.join(1, 1)
	s.write(10)
	s.steer.to = 1
	s.advance(10 * time.Second)
	s.expectMultipath()
	s.advance(11 * time.Second)
	s.expectUnanswered(UnansweredError{Local: s.legs[0].tuple.Local, Remote: s.legs[0].tuple.Remote, After: 20 * time.Second})
	s.ignore(n)
}

// T74: where no subflow can tell: no address is left, a window stays closed
// without an answer, the end of the stream is not acknowledged.
func TestT74_UserTimeoutWithoutData(t *testing.T) {
	at := UnansweredError{Local: legTuple(0, 0, 1000, 80).Local, Remote: legTuple(0, 0, 1000, 80).Remote, After: 20 * time.Second}

	s := dial(t, userTimeout(20*time.Second))
	s.localUp(0)
	s.localDown(0)
	s.advance(10 * time.Minute) // nothing waits: held
	s.expectMultipath()
	s.write(10)
	s.advance(19 * time.Second)
	s.expectMultipath()
	s.advance(time.Second)
	s.expectUnanswered(at)

	s = dial(t, userTimeout(20*time.Second))
	s.closeWrite()
	s.advance(19 * time.Second)
	s.expectMultipath()
	s.advance(2 * time.Second)
	s.expectUnanswered(at)

	s = dial(t, userTimeout(20*time.Second))
	s.send(0, ". 1 ack 1 win 0 A1")
	s.c.tx.edge = s.c.idsn + 1
	s.write(10)
	for range 10 { // answered probes, up to a minute apart
		for len(s.legs[0].out) == 0 {
			s.advance(time.Second)
		}
		s.ignore(0)
		s.send(0, ". 1 ack 1 win 0 A1")
	}
	s.expectMultipath()
	for len(s.legs[0].out) == 0 {
		s.advance(time.Second)
	}
	s.advance(18 * time.Second)
	s.expectMultipath()
	s.advance(2 * time.Second)
	s.expectUnanswered(at)
}

func keepAlive(c *Config) {
	c.KeepAlive, c.KeepAliveInterval, c.KeepAliveCount = time.Minute, 10*time.Second, 3
}

// T73: keepalives without an answer end a plain TCP connection with ETIMEDOUT.
func TestT73_KeepAlivePlain(t *testing.T) {
	s := plainDial(t, keepAlive)
	s.advance(time.Minute)
	s.expect(0, ". 0 ack 1")
	s.send(0, ". 1 ack 1")
	s.advance(time.Minute + 29*time.Second)
	for range 3 {
		s.expect(0, ". 0 ack 1")
	}
	s.expectNothing()
	if s.c.Err() != nil {
		t.Fatal(s.c.Err())
	}
	s.advance(time.Second)
	e := s.expectUnanswered(UnansweredError{Local: s.legs[0].tuple.Local, Remote: s.legs[0].tuple.Remote, After: time.Minute + 30*time.Second, Idle: true})
	if e.Retries != 3 || !strings.Contains(e.Error(), "keepalives") {
		t.Errorf("%v", e)
	}
}

// T73: off by default (MUST-25).
func TestT73_KeepAliveOffByDefaultConn(t *testing.T) {
	for _, s := range []*script{plainDial(t), dial(t)} {
		s.advance(24 * time.Hour)
		s.expectNothing()
		if s.c.Err() != nil {
			t.Error(s.c.Err())
		}
	}
}

// T73: a lone MPTCP path is put in doubt, and the connection held; a word of the
// peer's ends the doubt.
func TestT73_KeepAliveLonePath(t *testing.T) {
	s := dial(t, keepAlive)
	s.advance(time.Minute + 30*time.Second)
	s.expectMultipath()
	if p := s.c.paths[0]; !p.sf.Stale() || s.c.alive() {
		t.Fatal("the silent path counts as alive")
	}
	if got := s.mgr.told[len(s.mgr.told)-1]; got != "PathSuspect" {
		t.Fatalf("the manager was told of %s", got)
	}
	s.ignore(0)
	s.advance(10 * time.Second)
	s.expectOne(0, ". 0 ack 1") // it may come back
	s.send(0, ". 1 ack 1 A1")
	if got := s.mgr.told[len(s.mgr.told)-1]; got != "PathTrusted" || !s.c.alive() {
		t.Fatalf("the manager was told of %s; alive %t", got, s.c.alive())
	}
	s.ignore(0)
	s.advance(time.Minute + 30*time.Second + 15*time.Minute)
	var e *SilenceError
	if !errors.As(s.c.Err(), &e) || s.c.Stats().Held < 15*time.Minute {
		t.Fatalf("error %v, held %v", s.c.Err(), s.c.Stats().Held)
	}
}

// T73: beside another path, a path without an answer is closed.
func TestT73_KeepAliveBesideAnother(t *testing.T) {
	s := dial(t, keepAlive)
	n := s.join(1, 1)
	for range 10 {
		s.advance(10 * time.Second)
		s.send(n, ". 1 ack 1 A1")
	}
	s.expectState(0, subflow.StateClosed)
	s.expectState(n, subflow.StateEstablished)
	s.expectMultipath()
	s.ignore(n)
}

// T8: a SYN with a larger sequence number takes the place of a connection in
// TIME-WAIT, whose numbers the new one does not use again (RFC 9293, Section
// 3.6.1, MAY-2).
func TestT8_ReopenFromTimeWait(t *testing.T) {
	s := listening(t, func(c *Config) { c.TCPOnly = true })
	s.send(0, "S 0")
	s.expectOne(0, "S. 0 ack 1")
	s.advance(10 * ms)
	s.send(0, ". 1 ack 1")
	old := s.c
	if s.l.Accept() != old {
		t.Fatal("not accepted")
	}
	s.write(5000)
	s.close()
	s.ignore(0)
	s.send(0, "F. 1 ack 5002")
	s.expectState(0, subflow.StateTimeWait)
	s.ignore(0)

	// An old SYN gets an ACK.
	s.send(0, "S 0")
	s.expect(0, ". 5002 ack 2")
	s.expectState(0, subflow.StateTimeWait)
	// A join between these ends does not get the place either.
	s.send(0, "S 70000 mpj12")
	s.expect(0, ". 5002 ack 2")

	// What a driver does with a new SYN.
	syn := s.segment(0, "S 70000")
	if again := old.HandleSegment(s.now, syn); !again {
		t.Fatal("TIME-WAIT made no way")
	}
	s.poll()
	if !s.gone() || s.e.Lookup(syn.Tuple) != nil || s.e.Conns() != 0 {
		t.Fatalf("gone %t, %d connections", s.gone(), s.e.Conns())
	}
	last := s.legs[0].ourISS.Add(5002)
	s.events, s.wrote = nil, 0
	c, verdict := s.e.HandleSegment(s.now, syn)
	if verdict != Deliver || c == old {
		t.Fatalf("verdict %d", verdict)
	}
	s.c = c
	s.c.HandleSegment(s.now, syn)
	s.poll()
	answer := s.expectOne(0, "S. 0 ack 70001")
	if d := answer.Seq.Sub(last); d <= 0 {
		t.Fatalf("the new connection starts %d before the end of the old one", -d)
	}
	s.send(0, ". 70001 ack 1")
	if s.l.Accept() != c {
		t.Fatal("the new connection is not accepted")
	}
	s.send(0, ". 70001+10 ack 1")
	if s.c.Readable() == false {
		t.Fatal("no data")
	}
	if len(s.e.reopened) != 0 {
		t.Fatal("the tuple is remembered for ever")
	}
}

// T8: whoever opened the connection has no listener for another.
func TestT8_NotWhereWeOpened(t *testing.T) {
	s := plainDial(t)
	s.close()
	s.expect(0, "F. 1 ack 1")
	s.send(0, "F. 1 ack 2")
	s.expect(0, ". 2 ack 2")
	s.expectState(0, subflow.StateTimeWait)
	s.send(0, "S 70000")
	s.expect(0, ". 2 ack 2")
	s.expectState(0, subflow.StateTimeWait)
}

// T8: what the initial number is when the generator's is not larger.
func TestT8_FirstAfter(t *testing.T) {
	if got := firstAfter(1000, 2000); got != 2000 {
		t.Errorf("%d", got)
	}
	if got := firstAfter(1000, 900); !(got.Sub(1000) > 0) {
		t.Errorf("%d", got)
	}
	if got := firstAfter(0xffffff00, 0xfffffe00); got.Sub(0xffffff00) <= 0 {
		t.Errorf("%d", got)
	}
}
