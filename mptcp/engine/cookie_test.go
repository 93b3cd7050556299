package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/scheduler"
	"github.com/mpnc/mpnc/subflow"
)

// stateless is a configuration that keeps no half-open connection.
func stateless(c *Config) { c.HalfOpen = -1 }

func withTS(c *Config) { c.NoTimestamps = false }

// nothingKept says that the Endpoint knows of no connection.
func (s *script) nothingKept() {
	s.t.Helper()
	if s.c != nil || len(s.e.tuples)+len(s.e.tokens) != 0 || s.l.halfway != 0 {
		s.t.Fatalf("kept: %d tuples, %d tokens, %d half open", len(s.e.tuples), len(s.e.tokens), s.l.halfway)
	}
}

// cookied is a listener that has answered a SYN with a cookie.
func cookied(t *testing.T, options string, changes ...func(*Config)) *script {
	t.Helper()
	s := listening(t, append(changes, stateless)...)
	s.send(0, "S 0 "+options)
	if s.verdict != Answer {
		t.Fatalf("verdict %d", s.verdict)
	}
	s.nothingKept()
	s.advance(10 * ms)
	return s
}

// RFC 8684, Section 3.1: the server keeps nothing, and verifies the key that
// it made of the tuple, the sequence number and a secret.
func TestH26_T34_KeyOfTheEcho(t *testing.T) {
	s := cookied(t, "mpc4")
	s.expect(0, "S. 0 ack 1 mpc12")
	s.send(0, ". 1 ack 1 mpc20")
	s.expect(0, ". 1 ack 1 A1")
	s.expectMultipath()
	if s.l.Accept() != s.c {
		t.Fatal("not accepted")
	}
	s.send(0, ". 1+100 ack 1 A1 M1:1:100")
	s.expectRead(100)
	s.ignore(0)
	s.write(50)
	s.expect(0, ". 1+50 ack 101 A101 M1:1:50")
	if s.joined(1, 1); len(s.c.paths) != 2 {
		t.Errorf("%d paths", len(s.c.paths))
	}
}

// A key that is not ours is no MPTCP, and the connection goes on without.
func TestH26_T34_WrongEchoIsTCP(t *testing.T) {
	for name, spoil := range map[string]func(*wire.Segment){
		"key of the server": func(s *wire.Segment) { s.MP.Capable.Receiver ^= 1 << 63 },
		"no keys":           func(s *wire.Segment) { s.MP = wire.MPOptions{} },
		"version":           func(s *wire.Segment) { s.MP.Capable.Version = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			s := cookied(t, "mpc4")
			s.expect(0, "S. 0 ack 1 mpc12")
			s.send(0, ". 1 ack 1 mpc20", spoil)
			s.expectPlain(ThirdAckPlain)
			s.send(0, ". 1+100 ack 1 @1")
			s.expectRead(100)
			s.write(10)
			s.ignore(0)
			s.expectState(0, subflow.StateEstablished)
		})
	}
}

// The ACK was lost: the first data has the keys too.
func TestH26_T34_FirstDataCompletes(t *testing.T) {
	s := cookied(t, "mpc4")
	s.expect(0, "S. 0 ack 1 mpc12")
	// What is not the first says nothing of the keys, and must not be taken
	// for TCP.
	s.send(0, ". 1+100 ack 1 A1 M1:1:100")
	if s.verdict != Ignore {
		t.Fatalf("verdict %d", s.verdict)
	}
	s.nothingKept()
	s.send(0, ". 1+100 ack 1 @1 mpc22=100")
	s.expectMultipath()
	s.expectRead(100)
	if out := s.ignore(0); out[0] != ". 1 ack 101 A101" {
		t.Errorf("answered %q", out)
	}
}

// An Endpoint that was restarted has another secret: cookies of before are of
// no use (the row's "restart mid-handshake").
func TestT33_H26_RestartMidHandshake(t *testing.T) {
	s := cookied(t, "mpc4")
	s.expect(0, "S. 0 ack 1 mpc12")
	again := listening(t, stateless, func(c *Config) { c.Rand = &scriptRand{n: 77} })
	again.send(0, "S 0 mpc4") // so that it takes cookies at all
	again.legs[0].ourISS, again.legs[0].out = s.legs[0].ourISS, nil
	again.send(0, ". 1 ack 1 mpc20")
	again.expect(0, "R 1")
	again.nothingKept()
}

// H14: a key whose token a connection has is not shown, and there is no other
// to choose; if the connection came in between, this one is TCP.
func TestH14_T34_TokenClash(t *testing.T) {
	probe := cookied(t, "mpc4") // the same secret as all scripts here
	key := probe.key

	s := listening(t, stateless)
	s.rand.next = []uint64{key}
	if _, err := s.e.Dial(s.now, legTuple(1, 0, 1000, 80), 2, 1500, false); err != nil {
		t.Fatal(err)
	}
	s.send(0, "S 0 mpc4")
	s.expect(0, "S. 0 ack 1")
	s.send(0, ". 1 ack 1")
	s.expectPlain(TokenClash)

	s = cookied(t, "mpc4")
	s.expect(0, "S. 0 ack 1 mpc12")
	s.rand.next = []uint64{s.key}
	if _, err := s.e.Dial(s.now, legTuple(1, 0, 1000, 80), 2, 1500, false); err != nil {
		t.Fatal(err)
	}
	s.send(0, ". 1 ack 1 mpc20")
	s.expectPlain(TokenClash)
	s.send(0, ". 1+100 ack 1 @1 mpc22=100")
	s.expectRead(100)
	s.expect(0, ". 1 ack 101")
}

// Plain TCP with cookies; the options are there if there are timestamps.
func TestT33_OptionsOfTheSYN(t *testing.T) {
	for _, ts := range []bool{false, true} {
		t.Run(fmt.Sprintf("timestamps %t", ts), func(t *testing.T) {
			s := listening(t, stateless, func(c *Config) { c.NoTimestamps, c.RecvBuffer = !ts, 1<<20 })
			s.send(0, "S 0 mpc4", func(s *wire.Segment) { s.Opt.HasWScale, s.Opt.WScale, s.Opt.MSS = true, 3, 1410 })
			o := s.expect(0, "S. 0 ack 1 mpc12").Opt
			if o.HasWScale != ts || o.SACKPermitted != ts || o.HasTS != ts || ts && o.WScale != 5 || o.MSS != 1460 {
				t.Fatalf("answered %+v", o)
			}
			s.advance(10 * ms)
			s.send(0, ". 1 ack 1 mpc20 win 2000")
			s.expectMultipath()
			shift := 0
			if ts {
				shift = 3
			}
			if p := s.c.paths[0]; int(p.shift) != shift || s.c.tx.edge != s.c.idsn.Add(1+2000<<shift) {
				t.Errorf("shift %d, edge %d", p.shift, s.c.tx.edge.Sub(s.c.idsn))
			}
			// 1400, the next below 1410, less the options; 12 of them timestamps.
			if got, want := s.c.paths[0].sf.MSS(), 1400-28-map[bool]int{true: 12}[ts]; got != want {
				t.Errorf("MSS %d, want %d", got, want)
			}
		})
	}
}

// The peer's MSS is never exceeded, whatever it is.
func TestT33_MSSIndex(t *testing.T) {
	for mss := range 9001 {
		got := cookieMSS[mssIndex(&wire.Segment{Opt: wire.TCPOptions{MSS: uint16(mss)}})]
		if got > max(mss, 88) || mss == 0 != (got == 0) || mss >= 1460 && got != 1460 {
			t.Fatalf("MSS %d is remembered as %d", mss, got)
		}
	}
}

// A cookie is good for one to two periods of 64 s.
func TestT33_CookiesExpire(t *testing.T) {
	for _, tc := range []struct {
		after time.Duration
		good  bool
	}{{0, true}, {63 * time.Second, true}, {128 * time.Second, false}, {33 * time.Minute, false}, {34*time.Minute + 8*time.Second, false}} {
		s := cookied(t, "mpc4")
		s.expect(0, "S. 0 ack 1 mpc12")
		ack := s.segment(0, ". 1 ack 1 mpc20")
		s.advance(tc.after)
		if tc.after > time.Minute {
			// Others keep the listener taking cookies.
			n := s.addLeg(legTuple(1, 1, 80, 1000))
			key := s.key
			s.send(n, "S 0 mpc4")
			s.drop(n)
			s.key = key
		}
		s.deliver(ack)
		s.poll()
		if good := s.c != nil; good != tc.good {
			t.Errorf("after %v: connected %t", tc.after, good)
		}
		if !tc.good {
			s.expect(0, "R 1")
		}
	}
}

// A listener that sent no cookie lately believes in none.
func TestT33_NoCookieUnlessSent(t *testing.T) {
	s := cookied(t, "mpc4")
	s.expect(0, "S. 0 ack 1 mpc12")
	l := listening(t) // the same secret
	l.now = s.now
	l.legs[0].ourISS, l.legs[0].known, l.key = s.legs[0].ourISS, true, s.key
	l.send(0, ". 1 ack 1 mpc20")
	l.expect(0, "R 1")
	l.nothingKept()
}

// What is forged does not connect: of a hundred thousand guesses, of which
// each is right with a chance of 3/2^29, and with any number of the answer that
// does not fit the tuple or the SYN.
func TestT33_ForgedCookie(t *testing.T) {
	forge := func(t *testing.T, name string, change func(*wire.Segment)) {
		t.Helper()
		s := cookied(t, "mpc4")
		s.expect(0, "S. 0 ack 1 mpc12")
		seg := s.segment(0, ". 1 ack 1 mpc20")
		change(seg)
		if c, v := s.e.HandleSegment(s.now, seg); c != nil || v == Deliver {
			t.Errorf("%s: connected", name)
		}
		s.nothingKept()
	}
	forge(t, "port", func(s *wire.Segment) { s.Remote = legTuple(0, 0, 80, 1001).Remote })
	forge(t, "address", func(s *wire.Segment) { s.Remote = legTuple(0, 1, 80, 1000).Remote })
	forge(t, "our address", func(s *wire.Segment) { s.Local = legTuple(1, 0, 80, 1000).Local })
	forge(t, "sequence number", func(s *wire.Segment) { s.Seq++ })
	forge(t, "both numbers", func(s *wire.Segment) { s.Seq++; s.Ack++ })
	for bit := range 32 {
		forge(t, fmt.Sprint("bit ", bit), func(s *wire.Segment) { s.Ack ^= 1 << bit })
	}
	s := cookied(t, "mpc4")
	seg := s.segment(0, ". 1 ack 1 mpc20")
	state := uint64(1)
	for range 100000 {
		state = state*6364136223846793005 + 1442695040888963407
		seg.Ack = s.legs[0].ourISS + 1
		if guess := uint32(state >> 32); guess != 0 {
			seg.Ack = seg.Ack.Add(int(guess))
		}
		if c, _ := s.e.HandleSegment(s.now, seg); c != nil {
			t.Fatalf("connected by %d", seg.Ack)
		}
	}
}

// Data that overtakes the ACK is not answered with a RST: it comes again.
func TestT33_DataOvertakesTheACK(t *testing.T) {
	for _, at := range []int{2, 1461, 14601, 65535} {
		s := cookied(t, "")
		s.expect(0, "S. 0 ack 1")
		s.send(0, fmt.Sprintf(". %d+500 ack 1", at))
		if s.verdict != Ignore {
			t.Errorf("at %d: verdict %d", at, s.verdict)
		}
		if at > 60000 {
			continue
		}
		s.send(0, ". 1 ack 1")
		s.send(0, fmt.Sprintf(". 1+%d ack 1", at-1))
		s.send(0, fmt.Sprintf(". %d+500 ack 1", at))
		s.expectRead(at + 499)
	}
}

// A full accept queue answers no SYN, kept or not.
func TestT32_FullBacklog(t *testing.T) {
	s := listening(t, stateless)
	connect := func(n int) {
		s.addLeg(legTuple(0, 0, 80, uint16(2000+n)))
		s.c = nil
		if s.send(1+n, "S 0 mpc4"); s.verdict == Answer {
			s.send(1+n, ". 1 ack 1 mpc20")
		}
	}
	for n := range 20 {
		connect(n)
	}
	if len(s.l.ready) != 16 || len(s.e.tokens) != 16 {
		t.Errorf("%d ready, %d connections", len(s.l.ready), len(s.e.tokens))
	}
	s.l.Accept()
	if connect(20); len(s.l.ready) != 16 {
		t.Errorf("%d ready after one was taken", len(s.l.ready))
	}
}

// Those who hold a cookie believe to be connected; some more of them than the
// backlog get in.
func TestT32_BacklogOfCookies(t *testing.T) {
	const n = 200
	s := listening(t, stateless)
	for i := range n {
		s.addLeg(legTuple(0, 0, 80, uint16(2000+i)))
		s.send(1+i, "S 0 mpc4")
	}
	s.nothingKept()
	for i := range n {
		s.c = nil
		s.send(1+i, ". 1 ack 1")
	}
	if got, want := len(s.l.ready), 16+cookieSlack; got != want || len(s.e.tokens) != want || s.verdict != Ignore {
		t.Errorf("%d ready, %d connections, verdict %d", got, len(s.e.tokens), s.verdict)
	}
}

// T18: a listener's MSS holds for what it answers with a cookie, too.
func TestT18_T32_MSSOfTheUsersInCookies(t *testing.T) {
	for _, halfOpen := range []int{-1, 0} {
		s := listening(t, func(c *Config) { c.HalfOpen, c.MSS = halfOpen, 700 })
		s.send(0, "S 0")
		if got := s.drop(0); got.Opt.MSS != 700 {
			t.Errorf("half open %d: the SYN/ACK says %d", halfOpen, got.Opt.MSS)
		}
	}
}

// A source of random numbers that repeats itself: keys still differ.
func TestH14_RandomNumbersRepeat(t *testing.T) {
	e := NewEndpoint(&Config{Rand: zeros{}, TCPOnly: true, Scheduler: scheduler.NewMinRTT})
	keys := make(map[uint64]bool)
	for port := uint16(1); port <= 20; port++ {
		c, err := e.Dial(0, legTuple(0, 0, port, 80), 1, 1500, false)
		if err != nil || keys[c.key] {
			t.Fatalf("connection %d: %v, key %x", port, err, c.key)
		}
		keys[c.key] = true
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
