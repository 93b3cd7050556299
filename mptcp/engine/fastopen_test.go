package engine

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow"
)

func fastOpens(c *Config) { c.FastOpen = true }
func tcpOnly(c *Config)   { c.TCPOnly = true }

// asks puts an empty Fast Open option on a segment of the peer's, and has(c, data)
// one with a cookie, and data.
func asks(s *wire.Segment) { s.Opt.HasFastOpen = true }

func has(c wire.Cookie, data []byte) mangler {
	return func(s *wire.Segment) {
		s.Opt.HasFastOpen, s.Opt.FastOpen = true, c
		s.Payload = data
	}
}

var request = []byte("twenty octets of data")[:20]

// askCookie has a client get the listener's cookie.
func askCookie(t *testing.T, s *script) wire.Cookie {
	t.Helper()
	n := s.addLeg(legTuple(0, 0, 80, 999))
	s.send(n, "S 0", asks)
	a := s.drop(n)
	if !a.Opt.HasFastOpen || a.Opt.FastOpen.Len() < wire.MinCookie || a.Ack != s.legs[n].peerISS+1 {
		t.Fatalf("asked for a cookie, got %v", a)
	}
	s.send(n, "R 1")
	s.c, s.events = nil, nil
	return a.Opt.FastOpen
}

// opened has a client with a good cookie send data on its SYN, and takes the
// answer's cookie option.
func opened(t *testing.T, s *script, syn, answer string) wire.Segment {
	t.Helper()
	k := askCookie(t, s)
	s.send(0, syn, has(k, request))
	if s.l.Accept() != s.c || s.c == nil {
		t.Fatal("not handed out")
	}
	return s.expectOne(0, answer)
}

func (s *script) expectRequest() {
	s.t.Helper()
	b := make([]byte, 100)
	if n := s.c.Read(s.now, b); !bytes.Equal(b[:n], request) {
		s.t.Fatalf("read %q", b[:n])
	}
}

// T35: a SYN with a good cookie: its data is acknowledged and read, and answered
// before the handshake is done (RFC 7413, Section 3).
func TestT35_ServerPlain(t *testing.T) {
	s := listening(t, fastOpens, tcpOnly)
	if a := opened(t, s, "S 0", "S. 0 ack 21"); a.Opt.HasFastOpen {
		t.Errorf("a good cookie is answered with %v", a)
	}
	s.expectRequest()
	s.write(3000)
	s.expect(0, ". 1+1460 ack 21")
	s.expect(0, ". 1461+1460 ack 21")
	s.expect(0, ". 2921+80 ack 21")
	s.expectState(0, subflow.StateSynReceived)
	if s.l.pending != 1 {
		t.Errorf("%d pending", s.l.pending)
	}
	s.send(0, "S 0", asks) // it missed the SYN/ACK
	s.expect(0, "S. 0 ack 21")
	s.send(0, ". 21 ack 1461")
	s.expectState(0, subflow.StateEstablished)
	s.send(0, ". 21+10 ack 3001")
	if s.l.pending != 0 || s.c.readable() != 10 || s.c.Err() != nil || s.c.Stats().FastOpenReceived != 20 {
		t.Errorf("pending %d, readable %d, error %v, %d on the SYN", s.l.pending, s.c.readable(), s.c.Err(), s.c.Stats().FastOpenReceived)
	}
	s.expectRead2(21, 10)
	s.close()
	s.ignore(0)
	s.send(0, "F. 31 ack 3002")
	s.expectState(0, subflow.StateTimeWait)
}

// expectRead2 reads n octets of the peer's pattern from subflow offset at on.
func (s *script) expectRead2(at, n int) {
	s.t.Helper()
	b := make([]byte, n+1)
	if got := s.c.Read(s.now, b); got != n || !bytes.Equal(b[:n], pattern(at, n, s.client)) {
		s.t.Fatalf("read %d octets", got)
	}
	s.poll()
}

// T35: off unless asked for; a bad cookie, none, one of another host, or one that
// has expired: only the SYN counts, and the data comes again.
func TestT35_ServerRefuses(t *testing.T) {
	fresh := func(t *testing.T, changes ...func(*Config)) (*script, wire.Cookie) {
		s := listening(t, append(changes, tcpOnly, fastOpens)...)
		return s, askCookie(t, s)
	}
	expectPlain := func(t *testing.T, s *script, why string, offers bool) {
		t.Helper()
		if s.l.Accept() != nil {
			t.Fatalf("%s: handed out", why)
		}
		if a := s.expectOne(0, "S. 0 ack 1"); a.Opt.HasFastOpen != offers {
			t.Errorf("%s: answered with %v", why, a)
		}
		s.send(0, ". 1+20 ack 1", func(g *wire.Segment) { g.Payload = request })
		if s.l.Accept() != s.c {
			t.Fatalf("%s: not accepted", why)
		}
		s.expectRequest()
	}

	s := listening(t, tcpOnly)
	k, _ := wire.MakeCookie([]byte("cookie"))
	s.send(0, "S 0", has(k, request))
	expectPlain(t, s, "off", false)

	s, _ = fresh(t)
	s.send(0, "S 0", has(k, request))
	expectPlain(t, s, "made up", true)

	s, k = fresh(t)
	s.legs[0].tuple.Remote = netip.AddrPortFrom(theirs[1], 1000)
	s.send(0, "S 0", has(k, request))
	expectPlain(t, s, "another host's", true)

	s, _ = fresh(t)
	s.send(0, "S 0", func(g *wire.Segment) { g.Payload = request })
	expectPlain(t, s, "no cookie", false)

	s, k = fresh(t)
	s.now = s.now.Add(2 * fastOpenPeriod)
	s.send(0, "S 0", has(k, request))
	expectPlain(t, s, "expired", true)

	// Of the period before it is good, and answered with one of this.
	s, k = fresh(t)
	s.now = s.now.Add(fastOpenPeriod)
	s.send(0, "S 0", has(k, request))
	if a := s.expectOne(0, "S. 0 ack 21"); !a.Opt.HasFastOpen || a.Opt.FastOpen == k || s.l.Accept() == nil {
		t.Errorf("of the period before: %v", a)
	}
}

// T35: PendingFastOpenRequests is bounded, and those over it are ordinary
// connections (RFC 7413, Section 4.2).
func TestT35_PendingIsBounded(t *testing.T) {
	s := listening(t, fastOpens, tcpOnly)
	s.l.backlog = 1000
	k := askCookie(t, s)
	for i := range fastOpenPending + 5 {
		s.c, s.events = nil, nil
		n := s.addLeg(legTuple(0, 0, 80, uint16(2000+i)))
		s.send(n, "S 0", has(k, request))
		want := "S. 0 ack 21"
		if i >= fastOpenPending {
			want = "S. 0 ack 1"
		}
		s.expectOne(n, want)
		if i == 0 {
			s.send(n, "R 21") // makes room
			if !errors.Is(s.c.Err(), syscall.ECONNRESET) || s.l.pending != 0 {
				t.Fatalf("error %v, %d pending", s.c.Err(), s.l.pending)
			}
			s.c, s.events = nil, nil
			s.legs[n].known = false
			s.send(n, "S 0", has(k, request))
			s.expectOne(n, want)
		}
	}
	// Nobody answers: they end, and make room.
	c := s.l.Accept()
	for c == nil || c.Err() != nil {
		c = s.l.Accept()
	}
	s.c, s.events = c, nil
	before := s.l.pending
	s.advance(time.Minute)
	if !errors.Is(c.Err(), syscall.ETIMEDOUT) || s.l.pending != before-1 {
		t.Errorf("error %v, %d pending", c.Err(), s.l.pending)
	}
}

// O1, O2: with MPTCP a SYN/ACK with a cookie has room for all, timestamps
// included; the SYN's data is in neither numbering, and an answer waits for the
// third packet.
func TestO1_O2_ServerMultipath(t *testing.T) {
	s := listening(t, fastOpens, func(c *Config) { c.NoTimestamps = false })
	n := s.addLeg(legTuple(0, 0, 80, 999))
	s.send(n, "S 0 mpc4", asks, func(g *wire.Segment) { g.Opt.HasWScale, g.Opt.WScale = true, 7 })
	a := s.expectOne(n, "S. 0 ack 1 mpc12")
	if !a.Opt.HasFastOpen || !a.Opt.HasTS || a.Opt.Len()+a.MP.Len() > 40 {
		t.Fatalf("%v", a)
	}
	k := a.Opt.FastOpen
	s.send(n, "R 1")
	s.c, s.events = nil, nil

	s.rand.next = []uint64{ourKey}
	s.send(0, "S 0 mpc4", has(k, request))
	s.expectOne(0, "S. 0 ack 21 mpc12")
	if s.l.Accept() != s.c || s.c == nil {
		t.Fatal("not handed out")
	}
	s.expectRequest()
	s.write(50)
	s.expectNothing()
	s.send(0, ". 21 ack 1 mpc20")
	s.expect(0, ". 1+50 ack 21 A1 M1:1:50")
	s.ignore(0)
	s.expectMultipath()
	s.send(0, ". 21+20 ack 51 A51 M1:1:20 @1")
	s.expectRead(20)
	s.send(0, ". 41+20 ack 51 A51 M21:21:20 @21")
	s.expectRead(20)
}

// O2: keys with the first data, after data on the SYN; and a third packet without
// keys is TCP.
func TestO2_ServerFirstData(t *testing.T) {
	s := listening(t, fastOpens)
	s.rand.next = nil
	k := askCookie(t, s)
	s.rand.next = []uint64{ourKey}
	s.key = ourKey
	s.send(0, "S 0 mpc4", has(k, request))
	s.expectOne(0, "S. 0 ack 21 mpc12")
	s.expectRequest()
	s.send(0, ". 21+10 ack 1 mpc22=10 @1")
	s.expectMultipath()
	s.expectRead(10)

	s = listening(t, fastOpens)
	opened(t, s, "S 0 mpc4", "S. 0 ack 21")
	s.expectRequest()
	s.send(0, ". 21+10 ack 1")
	s.expectPlain(ThirdAckPlain)
	s.expectRead2(21, 10)
}

// forget drops what we sent on leg n: data on a SYN is no part of the pattern.
func (s *script) forget(n int) { s.legs[n].out, s.legs[n].segs = nil, nil }

// dialingEarly starts an active open with data; cookie may be empty.
func dialingEarly(t *testing.T, data []byte, cookie string, changes ...func(*Config)) *script {
	t.Helper()
	s := newScript(t, append(changes, fastOpens)...)
	s.client = true
	s.addLeg(legTuple(0, 0, 1000, 80))
	s.e.LearnFastOpen([]FastOpenCookie{{Local: ours[0], Remote: s.legs[0].tuple.Remote, Cookie: []byte(cookie), MSS: 1460}})
	s.early(data)
	return s
}

func (s *script) early(data []byte) {
	s.t.Helper()
	c, err := s.e.DialEarly(s.now, s.legs[0].tuple, 1, 1500, false, data)
	if err != nil {
		s.t.Fatal(err)
	}
	s.c, s.key, s.wrote, s.read, s.events = c, c.key, 0, 0, nil
	s.poll()
}

// T35: the client asks for a cookie, and has it next time; a server that gives none
// is left alone for a while (RFC 7413, Sections 4.1.3 and 4.2.1).
func TestT35_ClientCookie(t *testing.T) {
	s := dialingEarly(t, request, "", tcpOnly)
	syn := s.drop(0)
	if !syn.Opt.HasFastOpen || syn.Opt.FastOpen.Len() != 0 || len(syn.Payload) > 0 {
		t.Fatalf("asked with %v", syn)
	}
	k, _ := wire.MakeCookie([]byte("fortune1"))
	s.send(0, "S. 0 ack 1", has(k, nil))
	if got := s.drop(0); !bytes.Equal(got.Payload, request) {
		t.Fatalf("the early data went as %v", got)
	}
	if all := s.e.FastOpenCookies(); len(all) != 1 || string(all[0].Cookie) != "fortune1" || all[0].MSS != 1460 {
		t.Fatalf("kept %v", all)
	}
	s.abort()
	s.forget(0)

	s.early(request)
	syn = s.drop(0)
	if syn.Opt.FastOpen != k || !bytes.Equal(syn.Payload, request) {
		t.Fatalf("with a cookie: %v", syn)
	}
	s.send(0, "S. 0 ack 21")
	s.expectOne(0, ". 21 ack 1")
	s.write(10)
	if got := s.drop(0); got.Seq != s.legs[0].ourISS.Add(21) || len(got.Payload) != 10 {
		t.Fatalf("after data on the SYN: %v", got)
	}
	if st := s.c.Stats(); st.FastOpenSent != 20 || st.BytesWritten != 30 || st.BytesAcked != 20 {
		t.Errorf("%d on the SYN, %d written, %d acknowledged", st.FastOpenSent, st.BytesWritten, st.BytesAcked)
	}
	s.abort()
	s.forget(0)

	// Refused without another cookie: not tried for an hour.
	s.early(request)
	s.forget(0)
	s.send(0, "S. 0 ack 1")
	if got := s.drop(0); got.Seq != s.legs[0].ourISS.Add(1) || !bytes.Equal(got.Payload, request) {
		t.Fatalf("refused data went as %v", got)
	}
	s.abort()
	s.forget(0)
	s.early(request)
	if syn = s.drop(0); syn.Opt.HasFastOpen || len(syn.Payload) > 0 || len(s.e.FastOpenCookies()) > 0 {
		t.Fatalf("after a refusal: %v", syn)
	}
	s.abort()
	s.now = s.now.Add(fastOpenRefused)
	s.early(request)
	if syn = s.drop(0); !syn.Opt.HasFastOpen {
		t.Fatalf("an hour later: %v", syn)
	}
}

// T35: the SYN is lost, or somebody drops SYNs with data: it goes again without
// data and option, and that is remembered (RFC 7413, Section 4.2.2).
func TestT35_ClientSYNLost(t *testing.T) {
	for name, c := range map[string]struct {
		ack     int
		refused bool
	}{"never arrived": {1, true}, "only the answer was lost": {21, false}, "part of it counts": {11, false}} {
		t.Run(name, func(t *testing.T) {
			s := dialingEarly(t, request, "fortune1", tcpOnly)
			if syn := s.drop(0); !bytes.Equal(syn.Payload, request) {
				t.Fatalf("%v", syn)
			}
			s.advance(time.Second)
			if syn := s.drop(0); syn.Opt.HasFastOpen || len(syn.Payload) > 0 || !syn.Flags.Has(wire.SYN) {
				t.Fatalf("again: %v", syn)
			}
			s.send(0, fmt.Sprint("S. 0 ack ", c.ack))
			got := s.drop(0)
			if got.Seq != s.legs[0].ourISS.Add(c.ack) || !bytes.Equal(got.Payload, request[c.ack-1:]) {
				t.Errorf("the rest went as %v", got)
			}
			if refused := len(s.e.FastOpenCookies()) == 0; refused != c.refused {
				t.Errorf("refused %t", refused)
			}
		})
	}
	// Never answered at all.
	s := dialingEarly(t, request, "fortune1", tcpOnly, userTimeout(5*time.Second))
	s.advance(6 * time.Second)
	if !errors.Is(s.c.Err(), syscall.ETIMEDOUT) || len(s.e.FastOpenCookies()) != 0 {
		t.Errorf("error %v, cookies %v", s.c.Err(), s.e.FastOpenCookies())
	}
	s.forget(0)
	// An acknowledgment of more than was sent is reset.
	s = dialingEarly(t, request, "fortune1", tcpOnly)
	s.forget(0)
	s.send(0, "S. 0 ack 22")
	s.expectOne(0, "R 22")
}

// O2, O3: with MPTCP, data on the SYN that the server took is in no mapping; what it
// did not take comes in one, from DSN 1 and SSN 1 on (RFC 8684, Appendix B.3,
// Figures 19 to 21).
func TestO2_O3_ClientMultipath(t *testing.T) {
	for _, taken := range []int{20, 10, 0} {
		s := dialingEarly(t, request, "fortune1")
		syn := s.drop(0)
		if syn.MP.Has != wire.MPCapable || syn.Opt.FastOpen.Len() != 8 || len(syn.Payload) != 20 {
			t.Fatalf("%v", syn)
		}
		at := 1 + taken
		s.send(0, fmt.Sprintf("S. 0 ack %d mpc12", at))
		rest := request[taken:]
		if len(rest) > 0 {
			got := s.drop(0)
			mc := got.MP.Capable
			if got.Seq != s.legs[0].ourISS.Add(at) || !bytes.Equal(got.Payload, rest) || mc.Keys != 2 || int(mc.Length) != len(rest) {
				t.Fatalf("%d taken: the rest went as %v", taken, got)
			}
		} else {
			s.expectOne(0, fmt.Sprintf(". %d ack 1 mpc20", at))
		}
		s.send(0, fmt.Sprintf(". 1+100 ack %d A%d M1:1:100", at+len(rest), 1+len(rest)))
		s.expectRead(100)
		s.forget(0)
		s.write(20)
		got := s.drop(0)
		d := got.MP.DSS
		if got.Seq != s.legs[0].ourISS.Add(21) || d.Seq != wire.IDSN(s.key).Add(1+len(rest)) || d.SSN != uint32(1+len(rest)) || d.Length != 20 {
			t.Errorf("%d taken: data after it went as %v", taken, got)
		}
		s.expectMultipath()
	}
}

// O4: what a server sends before the third packet has a mapping, and cannot have a
// DATA_ACK (erratum 6609).
func TestO4_ServerAnswersEarly(t *testing.T) {
	s := dialingEarly(t, request, "fortune1")
	s.forget(0)
	s.send(0, "S. 0 ack 21 mpc12")
	s.expectOne(0, ". 21 ack 1 mpc20")
	s.send(0, ". 1+100 ack 21 M1:1:100")
	s.expectRead(100)
	s.forget(0)
	s.expectMultipath()
	s.write(10) // it has shown no DATA_ACK: the keys go again
	if got := s.drop(0); got.MP.Capable.Keys != 2 || got.MP.Capable.Length != 10 {
		t.Errorf("%v", got)
	}
}

// T35: a cookie without room, beside all other options, is left out, and so is the
// data (RFC 7413, Section 4.2.2).
func TestT35_NoRoomForCookie(t *testing.T) {
	s := dialingEarly(t, request, "a cookie this long"[:16], func(c *Config) { c.NoTimestamps = false })
	if syn := s.drop(0); syn.Opt.HasFastOpen || len(syn.Payload) > 0 || syn.MP.Has != wire.MPCapable {
		t.Errorf("%v", syn)
	}
	s = dialingEarly(t, request, "a cookie this long"[:16], tcpOnly)
	if syn := s.drop(0); syn.Opt.FastOpen.Len() != 16 || len(syn.Payload) != 20 {
		t.Errorf("%v", syn)
	}
	// Data beyond a segment waits.
	s = dialingEarly(t, make([]byte, 5000), "fortune1", tcpOnly)
	if syn := s.drop(0); wire.HeaderLen(&syn)+len(syn.Payload) != 1500 {
		t.Errorf("a SYN of %d octets", wire.HeaderLen(&syn)+len(syn.Payload))
	}
}

// T35: what a client remembers is bounded.
func TestT35_CacheIsBounded(t *testing.T) {
	s := newScript(t, fastOpens)
	for i := range 3 * fastOpenHosts {
		s.e.LearnFastOpen([]FastOpenCookie{{ours[0], netip.AddrPortFrom(theirs[0], uint16(i+1)), []byte("fortune1"), 1460}})
	}
	if all := s.e.FastOpenCookies(); len(all) != fastOpenHosts || all[0].Remote.Port() != 2*fastOpenHosts+1 {
		t.Errorf("%d cookies", len(all))
	}
	s.e.LearnFastOpen([]FastOpenCookie{{ours[0], netip.AddrPortFrom(theirs[0], 1), []byte("odd"), 1460}})
	if all := s.e.FastOpenCookies(); len(all) != fastOpenHosts || all[0].Remote.Port() != 2*fastOpenHosts+1 {
		t.Error("what is no cookie was kept")
	}
}

// T4, T35: simultaneous open with data on our SYN.
func TestT4_T35_SimultaneousOpen(t *testing.T) {
	for _, ack := range []int{1, 21} {
		s := dialingEarly(t, request, "fortune1", tcpOnly, noDelay)
		s.forget(0)
		s.send(0, "S 0")
		s.expectOne(0, "S. 0 ack 1")
		s.send(0, fmt.Sprint("S. 0 ack ", ack))
		s.expectState(0, subflow.StateEstablished)
		if ack == 1 {
			if got := s.drop(0); got.Seq != s.legs[0].ourISS.Add(1) || !bytes.Equal(got.Payload, request) {
				t.Errorf("%v", got)
			}
		}
		s.forget(0)
		s.write(10)
		if got := s.drop(0); got.Seq != s.legs[0].ourISS.Add(21) {
			t.Errorf("%v", got)
		}
	}
}
