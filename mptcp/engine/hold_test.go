package engine

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/subflow"
)

func fullMesh(c *Config) { c.Manager = pathmgr.NewFullMesh }

// No answer to data: held for fifteen minutes, then ETIMEDOUT.
func TestHold_SilenceEndsAfterFifteenMinutes(t *testing.T) {
	for _, plain := range []bool{false, true} {
		s := accept(t)
		if plain {
			s.send(0, ". 1+10 ack 1")
			s.expectPlain(DataPlain)
		}
		s.write(100)
		s.ignore(0)
		s.advance(14 * time.Minute)
		if s.c.Err() != nil {
			t.Fatalf("plain %t: %v after 14 minutes", plain, s.c.Err())
		}
		s.ignore(0)
		s.advance(2 * time.Minute)
		if !errors.Is(s.c.Err(), syscall.ETIMEDOUT) || !s.gone() {
			t.Errorf("plain %t: error %v, gone %t", plain, s.c.Err(), s.gone())
		}
		if s.c.Stats().Held < 15*time.Minute {
			t.Errorf("held %v", s.c.Stats().Held)
		}
	}
}

// Heard again within it: as if nothing had been.
func TestHold_EndsWithProgress(t *testing.T) {
	s := dial(t)
	s.write(100)
	s.advance(14 * time.Minute)
	s.ignore(0)
	s.send(0, ". 1 ack 101 A101")
	s.advance(time.Hour)
	s.expectMultipath()
	s.expectNothing()
	s.write(1)
	s.expectOne(0, ". 101+1")
}

// Silence after the DATA_FIN, and before a closed window, is silence too.
func TestHold_SilenceAfterDataFin(t *testing.T) {
	s := dial(t)
	s.advance(time.Hour)
	s.closeWrite()
	s.advance(14 * time.Minute)
	if s.c.Err() != nil {
		t.Fatalf("%v after 14 minutes", s.c.Err())
	}
	s.advance(3 * time.Minute)
	if !errors.Is(s.c.Err(), syscall.ETIMEDOUT) || !s.gone() {
		t.Errorf("error %v, gone %t", s.c.Err(), s.gone())
	}
}

func TestHold_SilenceBeforeClosedWindow(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1 ack 1 win 100 A1")
	s.c.tx.edge = s.c.idsn + 1
	s.write(100)
	s.send(0, ". 1 ack 1 win 0 A1")
	s.advance(14 * time.Minute)
	s.send(0, ". 1 ack 1 win 0 A1")
	s.advance(14 * time.Minute)
	if s.c.Err() != nil {
		t.Fatalf("%v though the peer answers", s.c.Err())
	}
	s.advance(3 * time.Minute)
	if !errors.Is(s.c.Err(), syscall.ETIMEDOUT) || !s.gone() {
		t.Errorf("error %v, gone %t", s.c.Err(), s.gone())
	}
}

// A connection with nothing to say is silent by right.
func TestHold_IdleConnectionLives(t *testing.T) {
	s := dial(t)
	s.advance(24 * time.Hour)
	s.expectMultipath()
	s.expectNothing()
}

// The window of the connection is closed: probes with back-off, for as long as
// they are answered, and data as soon as it opens.
func TestPersist_ConnectionWindow(t *testing.T) {
	s := dial(t)
	s.c.tx.edge = s.c.idsn + 1
	s.send(0, ". 1 ack 1 win 1000 A1")
	s.write(3000)
	s.expect(0, ". 1+1000 ack 1 A1 M1:1:1000")
	s.send(0, ". 1 ack 1001 win 0 A1001")
	s.expectNothing()
	probes := 0
	for range 120 {
		s.advance(time.Second)
		for _, l := range s.ignore(0) {
			if l != ". 1000 ack 1 A1" {
				t.Fatalf("sent %q", l)
			}
			probes++
			s.send(0, ". 1 ack 1001 win 0 A1001")
		}
	}
	if probes < 5 || probes > 20 {
		t.Errorf("%d probes in two minutes", probes)
	}
	s.send(0, ". 1 ack 1001 win 60000 A1001")
	s.expectOne(0, ". 1001+1432")
	if s.c.Stats().WinProbes == 0 {
		t.Error("not counted")
	}
}

// A window update is sent when the application has made room.
func TestPersist_WindowUpdate(t *testing.T) {
	s := dial(t)
	for at := 1; at < 60000; at += 1000 {
		s.send(0, ". "+itoa(at)+"+1000 ack 1 A1 M"+itoa(at)+":"+itoa(at)+":1000")
	}
	s.advance(time.Second)
	if out := s.legs[0].segs; out[len(out)-1].Window != 0 {
		t.Fatalf("window %d", out[len(out)-1].Window)
	}
	s.ignore(0)
	s.send(0, ". 60000 ack 1 A1") // a probe
	if g := s.expect(0, ". 1 ack 60001 A60001"); g.Window != 0 {
		t.Errorf("window %d", g.Window)
	}
	s.expectRead(60000)
	if g := s.expect(0, ". 1 ack 60001 A60001"); g.Window != 60000 {
		t.Errorf("window %d", g.Window)
	}
}

// The only subflow is reset: the side that can joins again at once.
func TestForgotten_RejoinAfterReset(t *testing.T) {
	s := dial(t, fullMesh)
	s.localUp(0)
	s.write(100)
	s.ignore(0)
	s.send(0, "R. 1 ack 1")
	s.expectMultipath()
	s.advance(100 * ms)
	n := s.bind()
	s.expect(n, "S 0 mpj12 id=0")
	s.send(n, "S. 0 ack 1 mpj16")
	s.ignore(n)
	s.send(n, ". 1 ack 1 A1")
	s.expectOne(n, ". 1+100 ack 1 A1 M1:1:100")
}

// RST(1) to the join: the peer no longer knows us.
func TestForgotten_ResetWithReasonOne(t *testing.T) {
	s := dial(t, fullMesh)
	s.localUp(0)
	s.send(0, "R. 1 ack 1")
	s.advance(100 * ms)
	n := s.bind()
	s.send(n, "R. 0 ack 1 rst=1")
	var r *ResetError
	if !errors.Is(s.c.Err(), syscall.ECONNRESET) || !errors.As(s.c.Err(), &r) || !r.Forgotten || !s.gone() {
		t.Errorf("error %v, gone %t", s.c.Err(), s.gone())
	}
}

// RST without a reason: believed the second time, within three seconds.
func TestForgotten_PlainResetTwice(t *testing.T) {
	s := dial(t, fullMesh)
	s.localUp(0)
	s.send(0, "R. 1 ack 1")
	began := s.now
	for s.c.Err() == nil {
		if s.now.Sub(began) > 3*time.Second {
			t.Fatal("three seconds, and it still hopes")
		}
		for len(s.wants) > 0 {
			n := s.bind()
			s.send(n, "R. 0 ack 1")
			if s.now == began && s.c.Err() != nil {
				t.Fatal("believed at once")
			}
		}
		s.advance(50 * ms)
	}
	if !errors.Is(s.c.Err(), syscall.ECONNRESET) || s.now.Sub(began) < 900*ms {
		t.Errorf("error %v after %v", s.c.Err(), s.now.Sub(began))
	}
}

// The peer forbids, or lacks room for, another subflow: that is no sign that it
// forgot us.
func TestForgotten_OtherReasons(t *testing.T) {
	s := dial(t, fullMesh)
	s.localUp(0)
	s.send(0, "R. 1 ack 1")
	s.advance(100 * ms)
	n := s.bind()
	s.send(n, "R. 0 ack 1 rst=2")
	if s.c.Err() != nil {
		t.Errorf("error %v", s.c.Err())
	}
}

// The address goes: nothing is sent from it. It comes back: at once.
func TestHold_AddressGoneAndBack(t *testing.T) {
	for _, plain := range []bool{false, true} {
		s := accept(t)
		s.localUp(0)
		if plain {
			s.send(0, ". 1+10 ack 1")
			s.expectPlain(DataPlain)
		} else {
			s.send(0, ". 1+10 ack 1 mpc22=10")
		}
		s.write(100)
		s.ignore(0)
		s.localDown(0)
		s.write(100)
		s.send(0, ". 1+10 ack 1") // still under way
		s.advance(10 * time.Minute)
		s.expectNothing()
		if s.c.Err() != nil {
			t.Fatalf("plain %t: %v", plain, s.c.Err())
		}
		s.localUp(0)
		out := s.ignore(0)
		if len(out) == 0 || !strings.HasPrefix(out[0], ". 1+100 ack 11") {
			t.Errorf("plain %t: sent %q", plain, out)
		}
		s.send(0, ". 11 ack 101 A101")
		s.send(0, ". 11 ack 201 A201")
		s.advance(time.Hour)
		if s.c.Err() != nil {
			t.Errorf("plain %t: %v", plain, s.c.Err())
		}

		// It goes for good.
		s.ignore(0)
		s.localDown(0)
		s.advance(16 * time.Minute)
		s.expectNothing()
		if !errors.Is(s.c.Err(), syscall.ETIMEDOUT) || !s.gone() {
			t.Errorf("plain %t: error %v, gone %t", plain, s.c.Err(), s.gone())
		}
	}
}

// One of two addresses goes: its data moves, its subflow ends, and the peer is
// told on the other.
func TestHold_OneOfTwoAddressesGoes(t *testing.T) {
	s := dial(t, fullMesh)
	s.localUp(0)
	s.localUp(1)
	s.wants = s.wants[:0]
	s.c.mgr.wanted = nil
	n := s.open2(1, 0)
	s.write(100)
	s.ignore(0)
	s.localDown(0)
	if len(s.legs[0].out) > 0 {
		t.Errorf("sent from an address that is gone: %q", s.legs[0].out)
	}
	all := strings.Join(s.ignore(n), "\n")
	if !strings.Contains(all, "+100 ack 1 A1 M1:1:100") || !strings.Contains(all, " rm=0") {
		t.Errorf("sent\n%s", all)
	}
	s.expectState(0, subflow.StateClosed)
	s.advance(time.Minute)
	if len(s.legs[0].out) > 0 {
		t.Errorf("sent from an address that is gone: %q", s.legs[0].out)
	}
}

// open2 is join for a script with a real manager.
func (s *script) open2(local, remote int) int {
	s.t.Helper()
	s.c.want(pathmgr.Open{Local: s.local(local), Remote: s.legs[0].tuple.Remote})
	s.poll()
	n := s.bind()
	s.expectOne(n, "S 0 mpj12")
	s.advance(10 * ms)
	s.send(n, "S. 0 ack 1 mpj16")
	s.send(n, ". 1 ack 1 A1")
	s.ignore(n)
	return n
}

// Muted before it was established: the SYN waits for the address.
func TestHold_AddressGoneDuringHandshake(t *testing.T) {
	s := dialing(t)
	s.localUp(0)
	s.ignore(0)
	s.localDown(0)
	s.advance(10 * time.Second)
	s.expectNothing()
	s.localUp(0)
	s.expect(0, "S 0 mpc4")
	s.localDown(0)
	s.advance(2 * time.Minute)
	if !errors.Is(s.c.Err(), syscall.ETIMEDOUT) || !s.gone() {
		t.Errorf("error %v", s.c.Err())
	}
}

// Everything was exchanged but our last DATA_ACK, and the peer is gone: no
// error.
func TestForgotten_NothingWasLost(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1+10 ack 1 A1 M1:1:11 F")
	s.expectRead(10)
	s.close()
	s.ignore(0)
	s.send(0, "R 11")
	if s.c.Err() != nil || !s.c.Done() || s.c.ReadErr() != io.EOF {
		t.Errorf("error %v, done %t", s.c.Err(), s.c.Done())
	}
}
