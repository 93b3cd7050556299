package engine

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow"
)

// X1, L62: the peer's FIN closes its subflow and not the connection.
func TestX1_FINClosesItsSubflowOnly(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.send(0, "F. 1 ack 1 A1")
	s.expectOne(0, "F. 1 ack 2 A1")
	s.send(0, ". 2 ack 2 A1")
	s.expectState(0, subflow.StateClosed)
	s.expectMultipath()
	if s.c.ReadErr() != nil || s.c.WriteErr() != nil {
		t.Errorf("read %v, write %v", s.c.ReadErr(), s.c.WriteErr())
	}
	s.write(10)
	s.expectOne(n, ". 1+10 ack 1 A1 M1:1:10")
	// W8: the application still sees the first pair.
	if s.c.LocalAddr() != s.legs[0].tuple.Local || s.c.RemoteAddr() != s.legs[0].tuple.Remote {
		t.Error("the addresses changed")
	}
}

// A subflow whose peer never ends its half does not stay for ever.
func TestX1_HalfClosedSubflowEnds(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.send(0, "F. 1 ack 1 A1")
	s.advance(5 * time.Minute)
	s.expectState(0, subflow.StateClosed)
	s.expectMultipath()
	s.expectState(n, subflow.StateEstablished)
}

// X2, X3: DATA_FIN takes one number and no octet, here behind ten octets.
func TestX2_DataFinWithPayload(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1+79 ack 1 A1 M1:1:79")
	s.ignore(0)
	s.send(0, ". 80+10 ack 1 A1 M80:80:11 F")
	s.expect(0, ". 1 ack 90 A91")
	s.expectRead(89)
	if s.c.ReadErr() != io.EOF {
		t.Errorf("read: %v", s.c.ReadErr())
	}
}

func TestX3_DataFinAlone(t *testing.T) {
	s := dial(t)
	s.write(10)
	s.ignore(0)
	s.closeWrite()
	seg := s.expect(0, ". 11 ack 1 A1 M11:0:1 F")
	if got := raw(seg); !strings.HasPrefix(got, "1e1a201f") || !strings.Contains(got, "00000000"+"0001") {
		t.Errorf("option %s", got)
	}
	s.send(0, ". 1 ack 11 A12")
	if !s.c.tx.finAcked {
		t.Error("not acknowledged")
	}
	s.send(0, ". 1 ack 11 A12 M1:0:1 F")
	s.expectOne(0, "F. 11 ack 1 A2")
}

// X4: acknowledged once everything before it has arrived.
func TestX4_DataFinBeforeHole(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.send(n, ". 1 ack 1 A1 M11:0:1 F")
	s.expectAck(n, "1 A1")
	if s.c.ReadErr() != nil {
		t.Error("end of stream before the data")
	}
	s.send(0, ". 1+10 ack 1 A1 M1:1:10")
	s.expectAck(0, "11 A12")
	s.expectRead(10)
	if s.c.ReadErr() != io.EOF {
		t.Errorf("read: %v", s.c.ReadErr())
	}
}

// A DATA_FIN before octets that have arrived already, beyond a hole: it is not
// valid, and the stream goes on to its end.
func TestX4_DataFinBeforeWhatHasArrived(t *testing.T) {
	s := dial(t)
	s.send(0, ". 11+10 ack 1 A1 M11:11:10")
	s.send(0, ". 21 ack 1 A1 M6:0:1 F")
	s.send(0, ". 1+10 ack 1 A1 M1:1:10")
	s.expectRead(20)
	if err := s.c.ReadErr(); err != nil {
		t.Fatalf("read: %v", err)
	}
	s.send(0, ". 21 ack 1 A1 M21:0:1 F")
	if err := s.c.ReadErr(); err != io.EOF {
		t.Errorf("read: %v", err)
	}
}

// X5, X6: no FIN while data or DATA_FIN is unacknowledged; then on every
// subflow.
func TestX5_X6_FINComesLast(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.write(100)
	s.close()
	for _, l := range append(s.ignore(0), s.ignore(n)...) {
		if strings.HasPrefix(l, "F") {
			t.Errorf("FIN before the data was acknowledged: %q", l)
		}
	}
	s.send(0, ". 1 ack 101 A101")
	s.ignore(0)
	s.send(0, ". 1 ack 101 A102")
	s.expectNothing() // the peer's direction is open: design, wait for both
	s.send(0, ". 1 ack 101 A102 M1:0:1 F")
	s.expectOne(0, "F. 101 ack 1 A2")
	s.expectOne(n, "F. 1 ack 1 A2")
	s.send(0, "F. 1 ack 102 A102")
	s.send(n, "F. 1 ack 2 A102")
	s.expect(0, ". 102 ack 2 A2")
	s.expect(n, ". 2 ack 2 A2")
	s.expectState(0, subflow.StateTimeWait)
	if !s.c.Done() || !s.c.Flushed() || s.c.Err() != nil {
		t.Errorf("done %t, flushed %t, error %v", s.c.Done(), s.c.Flushed(), s.c.Err())
	}
	s.advance(61 * time.Second)
	s.expectNothing()
	if !s.gone() || s.e.Conns() != 0 {
		t.Error("not gone")
	}
	for _, lg := range s.legs {
		if s.e.Lookup(lg.tuple) != nil {
			t.Error("a tuple is still claimed")
		}
	}
}

// X7: DATA_FIN is sent again, with back-off, on every subflow.
func TestX7_DataFinIsRepeated(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.closeWrite()
	s.expect(0, ". 1 ack 1 A1 M1:0:1 F")
	s.expect(n, ". 1 ack 1 A1 M1:0:1 F")
	s.advance(10 * time.Second)
	first := len(s.legs[0].out)
	s.expect(0, ". 1 ack 1 A1 M1:0:1 F")
	s.expect(n, ". 1 ack 1 A1 M1:0:1 F")
	s.ignore(0)
	s.advance(10 * time.Second)
	second := len(s.ignore(n))
	if first < 3 || first > 8 || second == 0 || second >= first {
		t.Errorf("sent %d and then %d times", first, second)
	}
	if s.c.Stats().DataFinRetrans == 0 {
		t.Error("not counted")
	}
	s.send(n, ". 1 ack 1 A2")
	s.advance(5 * time.Minute)
	s.expectNothing()
}

// X8, L65: all subflows reset: the connection waits, and a join revives it.
func TestX8_L65_JoinRevives(t *testing.T) {
	s := accept(t)
	s.send(0, ". 1+10 ack 1 mpc22=10")
	s.write(100)
	s.ignore(0)
	s.send(0, "R 11")
	s.expectState(0, subflow.StateClosed)
	s.expectMultipath()
	s.advance(10 * time.Minute)
	s.expectNothing()
	n := s.addLeg(legTuple(0, 0, 80, 1001))
	s.send(n, "S 0 mpj12 id=0")
	s.expect(n, "S. 0 ack 1 mpj16 id=0")
	s.send(n, ". 1 ack 1 mpj24")
	out := s.ignore(n)
	if !contains(out, ". 1+100 ack 1 A11 M1:1:100") {
		t.Errorf("the data did not come again: %q", out)
	}
	s.expectRead(10)
	if s.c.Stats().Held < 10*time.Minute {
		t.Errorf("held %v", s.c.Stats().Held)
	}
}

// X9: the four ways through the states of the connection.
func TestX9_States(t *testing.T) {
	t.Run("active", func(t *testing.T) {
		s := dial(t)
		s.close()
		s.expect(0, ". 1 ack 1 A1 M1:0:1 F")
		s.send(0, ". 1 ack 1 A2")
		s.send(0, ". 1 ack 1 A2 M1:0:1 F")
		s.expect(0, "F. 1 ack 1 A2")
	})
	t.Run("passive", func(t *testing.T) {
		s := dial(t)
		s.send(0, ". 1 ack 1 A1 M1:0:1 F")
		s.expect(0, ". 1 ack 1 A2")
		if s.c.ReadErr() != io.EOF {
			t.Error("no end of stream")
		}
		s.write(10)
		s.expect(0, ". 1+10 ack 1 A2 M1:1:10")
		s.close()
		s.expect(0, ". 11 ack 1 A2 M11:0:1 F")
		s.send(0, ". 1 ack 11 A12")
		s.expect(0, "F. 11 ack 1 A2")
		s.send(0, "F. 1 ack 12 A12")
		s.expect(0, ". 12 ack 2 A2")
	})
	t.Run("simultaneous", func(t *testing.T) {
		s := dial(t)
		s.close()
		s.expect(0, ". 1 ack 1 A1 M1:0:1 F")
		s.send(0, ". 1 ack 1 A1 M1:0:1 F")
		s.expectOne(0, ". 1 ack 1 A2 M1:0:1 F")
		s.send(0, ". 1 ack 1 A2 M1:0:1 F")
		s.expectOne(0, "F. 1 ack 1 A2")
	})
	t.Run("FIN and acknowledgment in one", func(t *testing.T) {
		s := dial(t)
		s.close()
		s.expect(0, ". 1 ack 1 A1 M1:0:1 F")
		s.send(0, ". 1 ack 1 A2 M1:0:1 F")
		s.expect(0, "F. 1 ack 1 A2")
	})
}

// X10: half close: the other direction goes on.
func TestX10_HalfClose(t *testing.T) {
	s := dial(t)
	s.closeWrite()
	s.ignore(0)
	s.send(0, ". 1 ack 1 A2")
	for at := 1; at < 1<<20; at += 1000 {
		s.send(0, ". "+itoa(at)+"+1000 ack 1 A2 M"+itoa(at)+":"+itoa(at)+":1000")
		s.ignore(0)
		s.expectRead(1000)
	}
	s.expectMultipath()
	if s.c.WriteErr() != syscall.EPIPE || s.c.Write(s.now, []byte{1}) != 0 {
		t.Error("it takes data after CloseWrite")
	}
}

// X11: nothing counts after the DATA_FIN, nor does another one.
func TestX11_AfterDataFin(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1+10 ack 1 A1 M1:1:11 F")
	s.ignore(0)
	s.send(0, ". 11+10 ack 1 A1 M12:11:10")
	s.expectAck(0, "21 A12")
	s.send(0, ". 21+10 ack 1 A1 M11:21:10")
	s.expectAck(0, "31 A12")
	s.send(0, ". 31 ack 1 A1 M20:0:1 F")
	s.expectRead(10)
	s.expectRead(0)
	if s.c.ReadErr() != io.EOF {
		t.Errorf("read: %v", s.c.ReadErr())
	}
	// The right one again: our DATA_ACK was lost.
	s.ignore(0)
	s.send(0, ". 31 ack 1 A1 M11:0:1 F")
	s.expect(0, ". 1 ack 31 A12")
}

// R1: closed with unread data: RST with MP_FASTCLOSE on every subflow.
func TestR1_CloseWithUnreadData(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.send(0, ". 1+10 ack 1 A1 M1:1:10")
	s.ignore(0)
	s.close()
	if got := raw(s.expect(0, "R. 1 ack 11 fast rst=0")); !strings.HasPrefix(got, "1e0c7000"+"25243dfc4d59d3e9"+"1e048000") {
		t.Errorf("options %s", got)
	}
	s.expect(n, "R. 1 ack 1 fast rst=0")
	s.expectNothing()
	if !s.gone() || !errors.Is(s.c.Err(), syscall.ECONNABORTED) || s.c.Stats().MPFastcloseTx != 1 {
		t.Errorf("gone %t, error %v", s.gone(), s.c.Err())
	}
}

// … and with data that comes later.
func TestR1_DataAfterClose(t *testing.T) {
	s := dial(t)
	s.close()
	s.expect(0, ". 1 ack 1 A1 M1:0:1 F")
	s.send(0, ". 1 ack 1 A2")
	s.send(0, ". 1+10 ack 1 A2 M1:1:10")
	s.expect(0, "R. 1 ack 11 fast rst=0")
	if !s.gone() {
		t.Error("not gone")
	}
	// The peer's next segment finds nobody.
	s.send(0, ". 11+10 ack 1 A2 M11:11:10")
	s.expect(0, "R 1")
}

// A peer that never ends its direction does not keep a closed connection.
func TestX7_ClosedAndPeerStaysOpen(t *testing.T) {
	s := dial(t)
	s.close()
	s.ignore(0)
	s.send(0, ". 1 ack 1 A2")
	s.advance(16 * time.Minute)
	s.expectOne(0, "R. 1 ack 1 fast")
	if !s.gone() {
		t.Error("not gone")
	}
}

// R2: MP_FASTCLOSE on an ACK: RST everywhere, and the application hears of it.
func TestR2_R3_FastCloseReceived(t *testing.T) {
	for _, form := range []string{". 1 ack 1 fast", "R. 1 ack 1 fast", "R 1 fast rst=0"} {
		s := dial(t)
		s.localUp(1)
		n := s.join(1, 0)
		s.send(0, ". 1+10 ack 1 A1 M1:1:10")
		s.ignore(0)
		s.send(n, form)
		s.expectOne(0, "R. 1 ack 11")
		if form[0] == '.' {
			s.expectOne(n, "R. 1 ack 1")
		}
		s.expectNothing()
		if !errors.Is(s.c.Err(), syscall.ECONNRESET) || !s.gone() || s.c.Stats().MPFastcloseRx != 1 {
			t.Errorf("%s: error %v, gone %t", form, s.c.Err(), s.gone())
		}
	}
}

// R4: a wrong key counts for nothing; on a RST, the RST does.
func TestR4_WrongKey(t *testing.T) {
	wrong := func(g *wire.Segment) { g.MP.Fast.Key++ }
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.send(n, ". 1 ack 1 fast", wrong)
	s.expectMultipath()
	s.expectState(n, subflow.StateEstablished)
	s.expectNothing()
	s.send(n, "R. 1 ack 1 fast", wrong)
	s.expectMultipath()
	s.expectState(n, subflow.StateClosed)
	s.expectState(0, subflow.StateEstablished)
	s.expectNothing()
}

// R6: both sides end it at once, by RSTs.
func TestR6_CrossingFastClose(t *testing.T) {
	s := dial(t)
	s.abort()
	s.expect(0, "R. 1 ack 1 fast rst=0")
	s.send(0, "R. 1 ack 1 fast rst=0")
	s.advance(time.Minute)
	s.expectNothing()
}

func closeByACK(c *Config) { c.FastCloseACK = true }

// R1, R5: MP_FASTCLOSE on an ACK of one subflow, RST on the others; it is
// repeated each RTO, three times, and a RST ends it.
func TestR1_R5_FastCloseOnACK(t *testing.T) {
	s := dial(t, closeByACK)
	s.localUp(1)
	n := s.join(1, 0)
	s.abort()
	s.expect(0, ". 1 ack 1 A1 fast")
	s.expect(n, "R. 1 ack 1 rst=0")
	s.expectNothing()
	if err := s.c.Err(); !errors.Is(err, syscall.ECONNABORTED) {
		t.Errorf("error %v", err)
	}
	if st := s.c.Stats(); st.MPFastcloseTx != 1 {
		t.Errorf("%d MP_FASTCLOSE counted", st.MPFastcloseTx)
	}
	for range 3 {
		s.advance(200 * ms)
		s.expect(0, ". 1 ack 1 A1 fast")
		s.expectNothing()
	}
	s.advance(200 * ms)
	s.expect(0, "R. 1 ack 1 fast rst=0")
	if !s.gone() {
		t.Error("something is left")
	}
}

// R1: the peer's RST is the answer.
func TestR1_FastCloseAnswered(t *testing.T) {
	s := accept(t, closeByACK)
	s.write(100)
	s.ignore(0)
	s.send(0, ". 1+10 ack 1 A1 M1:1:10")
	s.ignore(0)
	s.close() // with data that nobody read
	s.expect(0, ". 101 ack 11 A11 fast")
	s.send(0, "R 11")
	s.expectNothing()
	if !s.gone() {
		t.Error("something is left")
	}
}

// R6: the same, and the peer's MP_FASTCLOSE crosses ours.
func TestR6_CrossingFastCloseOnACK(t *testing.T) {
	for _, reset := range []bool{false, true} {
		s := dial(t, closeByACK)
		s.abort()
		s.expect(0, ". 1 ack 1 A1 fast")
		if reset {
			s.send(0, "R. 1 ack 1 fast")
		} else {
			s.send(0, ". 1 ack 1 A1 fast")
			s.expect(0, "R. 1 ack 1 rst=0")
		}
		s.expectNothing()
		if !s.gone() {
			t.Error("something is left")
		}
	}
}

// With no path that works there is nobody to ask: nothing is waited for.
func TestR1_FastCloseWithoutPath(t *testing.T) {
	s := dial(t, closeByACK)
	s.localUp(0)
	s.localDown(0)
	s.abort()
	s.expectNothing()
	if !s.gone() {
		t.Error("something is left")
	}
}

// R7: a RST ends its subflow, its data goes elsewhere, and the application
// does not notice.
func TestR7_ResetOfOneSubflow(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.write(100)
	s.ignore(0)
	s.send(0, "R. 1 ack 1")
	s.expectOne(n, ". 1+100 ack 1 A1 M1:1:100")
	s.expectMultipath()
	s.send(n, ". 1+10 ack 101 A101 M1:1:10")
	s.expectRead(10)
}

// R8: the peer's reason is counted and handed to the manager.
func TestR8_ReasonIsKept(t *testing.T) {
	s := dial(t)
	s.localUp(1)
	n := s.join(1, 0)
	s.send(n, "R. 1 ack 1 rst=5")
	if st := s.c.Stats(); st.MPRstRx != 1 {
		t.Errorf("%+v", st)
	}
	if got := s.mgr.told[len(s.mgr.told)-1]; got != "SubflowDown" {
		t.Errorf("the manager was told %v", s.mgr.told)
	}
}

// R9: MP_TCPRST is nothing on an ACK.
func TestR9_ReasonWithoutReset(t *testing.T) {
	s := dial(t)
	s.send(0, ". 1 ack 1 A1 rst=1")
	s.expectNothing()
	s.expectState(0, subflow.StateEstablished)
	if s.c.Stats().MPRstRx != 0 {
		t.Error("counted")
	}
}

// An aborted dial and an aborted plain connection.
func TestAbortOfPlainTCP(t *testing.T) {
	s := dialing(t, func(c *Config) { c.TCPOnly = true })
	s.expect(0, "S 0")
	s.send(0, "S. 0 ack 1")
	s.expect(0, ". 1 ack 1")
	s.send(0, ". 1+10 ack 1")
	s.ignore(0)
	s.close()
	s.expect(0, "R. 1 ack 11")
	if !s.gone() {
		t.Error("not gone")
	}
}

// W1: what TCP does not accept changes nothing, whatever options it has.
func TestW1_OptionsOfUnacceptableSegments(t *testing.T) {
	for _, opt := range []string{"fast", "A2", "A1 M1:0:1 F", "add5=10.0.2.2", "rm=0", "prio+", "fail=1"} {
		for _, head := range []string{". 100001 ack 1 ", ". -5 ack 1 ", ". 1 ack 100001 ", "R 100001 ", "R 100 "} {
			s := dial(t)
			s.localUp(1)
			n := s.join(1, 0)
			s.closeWrite()
			s.ignore(0)
			s.send(n, head+opt)
			s.expectMultipath()
			if s.c.tx.finAcked || s.c.rx.finSeen || len(s.c.addrs.peers) > 0 || s.c.paths[0].leaving || s.c.paths[1].peerBackup {
				t.Errorf("%s%s changed something", head, opt)
			}
			for _, l := range s.ignore(n) {
				if !strings.HasPrefix(l, ". 1 ack 1 A1") {
					t.Errorf("%s%s: answered %q", head, opt, l)
				}
			}
		}
	}
}

// W2: a duplicate ACK with another option than DSS is no sign of loss.
func TestW2_OptionBearingDuplicates(t *testing.T) {
	s := dial(t)
	s.write(14000)
	s.ignore(0)
	cwnd := s.c.Stats().Subflows[0].Cwnd
	for i := 0; i < 4; i++ {
		s.send(0, ". 1 ack 1 A1 add"+itoa(3+i)+"=10.0.2."+itoa(3+i))
	}
	st := s.c.Stats().Subflows[0]
	if st.Retransmits != 0 || st.Cwnd != cwnd {
		t.Errorf("%d retransmissions, window %d, was %d", st.Retransmits, st.Cwnd, cwnd)
	}
}

// W4: reserved bits are for others to use. W5: so are unknown subtypes.
func TestW4_W5_ReservedBitsAndUnknownSubtypes(t *testing.T) {
	s := dial(t)
	var b wire.Batch
	b.Slab = make([]byte, 0, 2000)
	g := s.segment(0, ". 1+10 ack 1 A1 M1:1:10")
	g.Tuple = wire.Tuple{Local: g.Remote, Remote: g.Local}
	g.Opt.MSS = 1 // four octets to put something else in
	wire.AppendSegment(&b, g, 0)
	pkt := b.Bytes(0)
	for i := 40; i < len(pkt)-10; i++ {
		if pkt[i] == 2 && pkt[i+1] == 4 && pkt[i+2] == 0 && pkt[i+3] == 1 {
			copy(pkt[i:], []byte{30, 4, 0x9f, 0xff}) // subtype 9
		}
		if pkt[i] == 30 && pkt[i+2] == 0x20 {
			pkt[i+2] |= 0x0f
			pkt[i+3] |= 0xe0
		}
	}
	fixChecksum(pkt)
	s.deliverPacket(pkt, 1)
	s.poll()
	s.expectAck(0, "11 A11")
	s.expectRead(10)
}

// fixChecksum makes the TCP checksum of an IPv4 packet right.
func fixChecksum(pkt []byte) {
	pkt[36], pkt[37] = 0, 0
	sum := 6 + len(pkt) - 20
	add := func(b []byte) {
		for i := 0; i+1 < len(b); i += 2 {
			sum += int(b[i])<<8 | int(b[i+1])
		}
		if len(b)%2 == 1 {
			sum += int(b[len(b)-1]) << 8
		}
	}
	add(pkt[12:20])
	add(pkt[20:])
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	pkt[36], pkt[37] = byte(^sum>>8), byte(^sum)
}

// W6: MPTCP goes before SACK: with timestamps a data segment has none, a pure
// ACK one block.
func TestW6_SACKYieldsToMPTCP(t *testing.T) {
	s := dial(t, func(c *Config) { c.NoTimestamps = false })
	for at := 11; at < 200; at += 20 {
		s.send(0, ". "+itoa(at)+"+10 ack 1 A1 M"+itoa(at)+":"+itoa(at)+":10")
	}
	last := s.legs[0].segs[len(s.legs[0].segs)-1]
	if last.Opt.NSACK != 1 || !last.Opt.HasTS || last.MP.Has != wire.DSS {
		t.Errorf("%+v", last)
	}
	s.ignore(0)
	s.write(10)
	data := s.expectOne(0, ". 1+10 ack 1 A1 M1:1:10")
	if data.Opt.NSACK != 0 {
		t.Errorf("%+v", data)
	}
}

// The DATA_FIN does not wait for its timer because data leaves first.
func TestX3_DataFinRightAfterData(t *testing.T) {
	s := dial(t)
	s.c.Write(s.now, pattern(1, 10, false))
	s.closeWrite()
	s.expect(0, ". 1+10 ack 1 A1 M1:1:10")
	s.expect(0, ". 11 ack 1 A1 M11:0:1 F")
	s.expectNothing()
}

// A server that resets before it showed a DSS never had the connection.
func TestX8_ServerResetBeforeDSS(t *testing.T) {
	s := dialing(t)
	s.expect(0, "S 0 mpc4")
	s.send(0, "S. 0 ack 1 mpc12")
	s.write(10)
	s.ignore(0)
	s.send(0, "R 1")
	if !errors.Is(s.c.Err(), syscall.ECONNRESET) || !s.gone() {
		t.Errorf("error %v, gone %t", s.c.Err(), s.gone())
	}
}
