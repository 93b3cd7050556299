package engine

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
)

func userTimeoutOption(c *Config) { c.UserTimeoutOption = true }

// tells puts a user timeout option on a segment of the peer's.
func tells(d time.Duration) mangler {
	return func(s *wire.Segment) { s.Opt.UserTimeout = wire.FormatUserTimeout(d) }
}

// T74: what the peer tells is adopted if the option is enabled and the
// application set nothing, within limits; else it is only told of (RFC 5482,
// Section 3.1).
func TestT74_OptionAdopted(t *testing.T) {
	for name, c := range map[string]struct {
		changes []func(*Config)
		tells   []time.Duration
		hold    time.Duration
		stats   time.Duration
	}{
		"enabled":                  {[]func(*Config){userTimeoutOption}, []time.Duration{time.Hour}, time.Hour, time.Hour},
		"the last one counts":      {[]func(*Config){userTimeoutOption}, []time.Duration{2 * time.Hour, time.Hour}, time.Hour, time.Hour},
		"the longer of both sides": {[]func(*Config){userTimeoutOption}, []time.Duration{time.Minute}, 15 * time.Minute, time.Minute},
		"not without bound":        {[]func(*Config){userTimeoutOption}, []time.Duration{300 * time.Hour}, 4 * time.Hour, 300 * time.Hour},
		"off by default":           {nil, []time.Duration{time.Hour}, 15 * time.Minute, 0},
		"the application's word":   {[]func(*Config){userTimeoutOption, userTimeout(30 * time.Second)}, []time.Duration{time.Hour}, 15 * time.Minute, time.Hour},
		"at least 100 s":           {[]func(*Config){userTimeoutOption, func(c *Config) { c.Hold = time.Second }}, []time.Duration{time.Second}, 100 * time.Second, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := plainDial(t, c.changes...)
			for _, d := range c.tells {
				s.send(0, ". 1 ack 1", tells(d))
			}
			if s.c.hold != c.hold || s.c.Stats().PeerUserTimeout != c.stats {
				t.Errorf("hold %v, told %v", s.c.hold, s.c.Stats().PeerUserTimeout)
			}
			s.send(0, ". 1 ack 1", func(g *wire.Segment) { g.Opt.UserTimeout = 0x8000 })
			if s.c.hold != c.hold {
				t.Errorf("a reserved value counts: %v", s.c.hold)
			}
		})
	}
}

// T74: what was adopted is how long the connection lives without an answer; and
// both handshakes tell.
func TestT74_OptionExtendsHold(t *testing.T) {
	s := listening(t, userTimeoutOption)
	s.send(0, "S 0 mpc4", tells(time.Hour))
	if got := s.expectOne(0, "S. 0 ack 1 mpc12"); got.Opt.UserTimeout != 15*60 {
		t.Errorf("told %d", got.Opt.UserTimeout)
	}
	s.send(0, ". 1 ack 1 mpc20")
	if got := s.expectOne(0, ". 1 ack 1 A1"); got.Opt.UserTimeout != 15*60 {
		t.Errorf("told %d", got.Opt.UserTimeout)
	}
	s.write(10)
	s.advance(59 * time.Minute)
	s.expectMultipath()
	s.advance(2 * time.Minute)
	if !errors.Is(s.c.Err(), syscall.ETIMEDOUT) {
		t.Fatal(s.c.Err())
	}
}

// T74: keepalives do not end what the user timeout would keep (RFC 5482, Section
// 4.2).
func TestT73_T74_OptionOutlastsKeepAlive(t *testing.T) {
	s := plainDial(t, keepAlive, userTimeoutOption)
	s.send(0, ". 1 ack 1", tells(time.Hour))
	s.advance(time.Hour)
	s.expectNothing()
	s.advance(2 * time.Second)
	s.expect(0, ". 0 ack 1")
}

// T22, T25: a dial fails after the user timeout, and says on which path, for how
// long, after how many retries.
func TestT22_T25_UserTimeoutOfDial(t *testing.T) {
	s := dialing(t, userTimeout(10*time.Second))
	s.advance(10*time.Second - 1)
	if s.c.Err() != nil {
		t.Fatal(s.c.Err())
	}
	s.advance(1)
	e := s.expectUnanswered(UnansweredError{Local: s.legs[0].tuple.Local, Remote: s.legs[0].tuple.Remote, After: 10 * time.Second})
	if e.Retries != 3 || !e.Handshake || !s.gone() {
		t.Errorf("%+v, gone %t", *e, s.gone())
	}
	if want := "connection timed out: no answer from 10.0.0.1:1000 to 10.0.0.2:80 for 10s (3 retries)"; e.Error() != want {
		t.Errorf("%q", e)
	}
	for _, l := range s.ignore(0) {
		if !strings.HasPrefix(l, "S 0") {
			t.Errorf("sent %q", l)
		}
	}

	// While the address is away nothing is sent, but the time runs.
	s = dialing(t, userTimeout(10*time.Second))
	s.localUp(0)
	s.localDown(0)
	s.advance(11 * time.Second)
	if !errors.Is(s.c.Err(), syscall.ETIMEDOUT) {
		t.Fatal(s.c.Err())
	}
}

// T74: a join that nobody answers ends; the connection does not.
func TestT74_UserTimeoutOfJoin(t *testing.T) {
	s := dial(t, userTimeout(10*time.Second))
	n := s.open(1, 1)
	s.advance(11 * time.Second)
	s.expectMultipath()
	ended := s.c.Stats().Subflows[0]
	if !ended.Ended || ended.Reason != pathmgr.TimedOut || ended.Tuple != s.legs[n].tuple {
		t.Errorf("%+v", ended)
	}
	s.ignore(n)
}

// T22: all paths are silent: the user timeout ends the connection, whatever was
// sent where, joins that are under way included.
func TestT22_UserTimeoutAllSilent(t *testing.T) {
	s := dial(t, userTimeout(20*time.Second))
	n := s.join(1, 1)
	s.write(3000)
	s.advance(5 * time.Second) // both have tried
	s.expectMultipath()
	s.advance(16 * time.Second)
	if !errors.Is(s.c.Err(), syscall.ETIMEDOUT) {
		t.Fatalf("after 21 s of silence: %v", s.c.Err())
	}
	s.ignore(n)

	// The only path's address went, and a join from another is not answered.
	s = dial(t, userTimeout(20*time.Second))
	s.localUp(0)
	s.localUp(1)
	s.write(10)
	s.localDown(0)
	n = s.open(1, 0)
	s.advance(19 * time.Second)
	s.expectMultipath()
	s.advance(time.Second)
	if !errors.Is(s.c.Err(), syscall.ETIMEDOUT) {
		t.Fatalf("after 20 s of silence: %v", s.c.Err())
	}
	s.ignore(n)
}

// T22, T25: unplugged in FIN-WAIT-1 after Close: a timeout, with MPTCP too; a peer
// that only does not finish is what this side ends.
func TestT22_T25_UnpluggedAfterClose(t *testing.T) {
	for name, s := range map[string]*script{"plain": plainDial(t), "MPTCP": dial(t)} {
		s.write(10)
		s.close()
		s.advance(16 * time.Minute)
		if !s.gone() || !errors.Is(s.c.Err(), syscall.ETIMEDOUT) {
			t.Errorf("%s: gone %t, error %v", name, s.gone(), s.c.Err())
		}
	}
	s := plainDial(t)
	s.close()
	s.ignore(0)
	s.send(0, ". 1 ack 2")
	s.advance(16 * time.Minute)
	if !s.gone() || !errors.Is(s.c.Err(), syscall.ECONNABORTED) {
		t.Errorf("FIN-WAIT-2: gone %t, error %v", s.gone(), s.c.Err())
	}
}
