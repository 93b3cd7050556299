package ladder

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/trace"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow"
)

const (
	ourISS   seq.Num = 4294967290 // wraps at once
	theirISS seq.Num = 700
	ourKey           = 0x1111111111111111
	theirKey         = 0x2222222222222222
)

var tuple = wire.Tuple{Local: netip.MustParseAddrPort("10.0.0.1:5000"), Remote: netip.MustParseAddrPort("10.0.0.2:80")}

// script draws segments one after the other, a second apart.
type script struct {
	t     *testing.T
	l     *Ladder
	out   strings.Builder
	now   mono.Time
	tuple wire.Tuple
}

func newScript(t *testing.T) *script {
	s := &script{t: t, tuple: tuple}
	s.l = New(&s.out, Config{Width: 100})
	return s
}

// segment puts a segment on the wire: out or in, with relative numbers.
func (s *script) segment(out bool, flags wire.Flags, at, ack, n int, more ...func(*wire.Segment)) {
	s.t.Helper()
	seg := wire.Segment{Tuple: s.tuple, Flags: flags, Window: 1000, Payload: make([]byte, n)}
	from, to := ourISS, theirISS
	if !out {
		from, to = to, from
		seg.Local, seg.Remote = seg.Remote, seg.Local
	}
	seg.Seq = from.Add(at)
	if flags.Has(wire.ACK) {
		seg.Ack = to.Add(ack)
	}
	for _, f := range more {
		f(&seg)
	}
	b := wire.NewBatch(4096)
	if !wire.AppendSegment(b, &seg, 0) {
		s.t.Fatal("no room")
	}
	s.packet(out, b.Bytes(0))
}

func (s *script) packet(out bool, pkt []byte) {
	s.l.Packet(1, out, s.now, pkt)
	s.now = s.now.Add(time.Second)
}

func (s *script) send(flags wire.Flags, at, ack, n int, more ...func(*wire.Segment)) {
	s.t.Helper()
	s.segment(true, flags, at, ack, n, more...)
}

func (s *script) recv(flags wire.Flags, at, ack, n int, more ...func(*wire.Segment)) {
	s.t.Helper()
	s.segment(false, flags, at, ack, n, more...)
}

func (s *script) connect() {
	s.send(fS, 0, 0, 0)
	s.recv(fSA, 0, 1, 0)
	s.send(fA, 1, 1, 0)
}

const (
	fS  = wire.SYN
	fSA = wire.SYN | wire.ACK
	fA  = wire.ACK
	fFA = wire.FIN | wire.ACK
	fR  = wire.RST
)

// expect closes the ladder and compares its last rows, without times, with
// want.
func (s *script) expect(want ...string) {
	s.t.Helper()
	if err := s.l.Close(); err != nil {
		s.t.Error(err)
	}
	var got []string
	for line := range strings.Lines(s.out.String()) {
		line = regexp.MustCompile(`^ *[\d.]* *`).ReplaceAllString(strings.TrimSpace(line), "")
		line = regexp.MustCompile(`--+>?\|`).ReplaceAllString(line, "|")
		got = append(got, regexp.MustCompile(` +`).ReplaceAllString(line, " "))
	}
	if got = got[max(len(got)-len(want), 0):]; fmt.Sprint(got) != fmt.Sprint(want) {
		s.t.Errorf("got\n%s\nwant\n%s\nof\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"), s.out.String())
	}
}

// What was sent before is marked, in both directions; so is what comes out of
// order.
func TestRetransmissions(t *testing.T) {
	s := newScript(t)
	s.send(fS, 0, 0, 0)
	s.send(fS, 0, 0, 0)
	s.recv(fSA, 0, 1, 0)
	s.recv(fSA, 0, 1, 0)
	s.send(fA, 1, 1, 10)
	s.send(fA, 11, 1, 10)
	s.send(fA, 1, 1, 10)
	s.recv(fA, 11, 1, 10)
	s.recv(fA, 1, 1, 10)
	s.recv(fA, 1, 1, 10)
	s.send(fA, 20, 21, 0)
	s.expect(
		"#0 SYN-SENT |--- SYN seq 0 |",
		"#0 SYN-SENT |--- SYN seq 0 [retransmission] |",
		"#0 SYN-SENT |<-- SYN,ACK seq 0 ack 1 | (SYN-RECEIVED)",
		"#0 SYN-SENT |<-- SYN,ACK seq 0 ack 1 [retransmission] | (SYN-RECEIVED)",
		"#0 ESTABLISHED |--- ACK seq 1 ack 1 len 10 | (ESTABLISHED)",
		"#0 ESTABLISHED |--- ACK seq 11 ack 1 len 10 | (ESTABLISHED)",
		"#0 ESTABLISHED |--- ACK seq 1 ack 1 len 10 [retransmission] | (ESTABLISHED)",
		"#0 ESTABLISHED |<-- ACK seq 11 ack 1 len 10 [out of order] | (ESTABLISHED)",
		"#0 ESTABLISHED |<-- ACK seq 1 ack 1 len 10 [fills a gap] | (ESTABLISHED)",
		"#0 ESTABLISHED |<-- ACK seq 1 ack 1 len 10 [retransmission] | (ESTABLISHED)",
		"#0 ESTABLISHED |--- ACK seq 20 ack 21 [are you there?] | (ESTABLISHED)",
	)
}

// The states of both sides as the segments show them, without a tracer.
func TestStatesAreInferred(t *testing.T) {
	t.Run("the peer closes first", func(t *testing.T) {
		s := newScript(t)
		s.connect()
		s.recv(fFA, 1, 1, 0)
		s.send(fA, 1, 2, 0)
		s.send(fFA, 1, 2, 0)
		s.recv(fA, 2, 2, 0)
		s.expect(
			"#0 ESTABLISHED |<-- FIN,ACK seq 1 ack 1 | (FIN-WAIT-1)",
			"#0 CLOSE-WAIT |--- ACK seq 1 ack 2 | (FIN-WAIT-2)",
			"#0 LAST-ACK |--- FIN,ACK seq 1 ack 2 | (FIN-WAIT-2)",
			"#0 CLOSED |<-- ACK seq 2 ack 2 | (TIME-WAIT)",
		)
	})
	t.Run("both close at once", func(t *testing.T) {
		s := newScript(t)
		s.connect()
		s.send(fFA, 1, 1, 0)
		s.recv(fFA, 1, 1, 0)
		s.send(fA, 2, 2, 0)
		s.recv(fA, 2, 2, 0)
		s.expect(
			"#0 FIN-WAIT-1 |--- FIN,ACK seq 1 ack 1 | (ESTABLISHED)",
			"#0 FIN-WAIT-1 |<-- FIN,ACK seq 1 ack 1 | (FIN-WAIT-1)",
			"#0 CLOSING |--- ACK seq 2 ack 2 | (FIN-WAIT-2)",
			"#0 TIME-WAIT |<-- ACK seq 2 ack 2 | (TIME-WAIT)",
		)
	})
	t.Run("our last ACK is lost", func(t *testing.T) {
		s := newScript(t)
		s.connect()
		s.send(fFA, 1, 1, 0)
		s.recv(fFA, 1, 2, 0)
		s.send(fA, 2, 2, 0)
		s.recv(fFA, 1, 2, 0)
		s.expect(
			"#0 FIN-WAIT-2 |<-- FIN,ACK seq 1 ack 2 | (LAST-ACK)",
			"#0 TIME-WAIT |--- ACK seq 2 ack 2 | (CLOSED)",
			"#0 TIME-WAIT |<-- FIN,ACK seq 1 ack 2 [retransmission] | (LAST-ACK)",
		)
	})
	t.Run("both open at once", func(t *testing.T) {
		s := newScript(t)
		s.send(fS, 0, 0, 0)
		s.recv(fS, 0, 0, 0)
		s.send(fSA, 0, 1, 0)
		s.recv(fSA, 0, 1, 0)
		s.send(fA, 1, 1, 0)
		s.expect(
			"#0 SYN-SENT |--- SYN seq 0 |",
			"#0 SYN-SENT |<-- SYN seq 0 | (SYN-SENT)",
			"#0 SYN-RECEIVED |--- SYN,ACK seq 0 ack 1 | (SYN-SENT)",
			"#0 ESTABLISHED |<-- SYN,ACK seq 0 ack 1 | (SYN-RECEIVED)",
			"#0 ESTABLISHED |--- ACK seq 1 ack 1 | (ESTABLISHED)",
		)
	})
	t.Run("refused", func(t *testing.T) {
		s := newScript(t)
		s.send(fS, 0, 0, 0)
		s.recv(fR|fA, 0, 1, 0, func(s *wire.Segment) { s.Seq = 0 })
		s.expect(
			"#0 SYN-SENT |--- SYN seq 0 |",
			"#0 CLOSED |<-- RST,ACK seq 0 ack 1 | (CLOSED)",
		)
	})
	t.Run("from the middle", func(t *testing.T) {
		s := newScript(t)
		s.recv(fA, 5000, 5000, 10)
		s.send(fA, 5000, 5010, 0)
		s.expect(
			"#0 |<-- ACK seq 1 ack 4994 len 10 | (ESTABLISHED)",
			"#0 ESTABLISHED |--- ACK seq 1 ack 11 | (ESTABLISHED)",
		)
	})
}

// Our own state is the stack's word, also of what it did with a segment that
// has just arrived.
func TestStatesAreTraced(t *testing.T) {
	s := newScript(t)
	state := func(now, before subflow.State) {
		s.l.Trace(trace.Event{Conn: 9, Subflow: 4, Kind: trace.SubflowState, A: uint64(now), B: uint64(before), C: tuple.Hash()})
	}
	state(subflow.StateSynSent, subflow.StateClosed)
	s.send(fS, 0, 0, 0)
	s.recv(fSA, 0, 1, 0)
	state(subflow.StateEstablished, subflow.StateSynSent)
	s.send(fA, 1, 1, 0)
	s.recv(fR, 1, 0, 0) // of which the stack thinks nothing
	s.l.Trace(trace.Event{At: s.now, Conn: 9, Subflow: 4, Kind: trace.TimeoutRTO})
	s.l.Trace(trace.Event{At: s.now, Conn: 9, Subflow: -1, Kind: trace.HoldStart})
	s.l.Trace(trace.Event{At: s.now, Conn: 8, Subflow: 4, Kind: trace.TimeoutRTO})
	s.expect(
		"#4 10.0.0.1:5000 - 10.0.0.2:80",
		"#4 SYN-SENT |--- SYN seq 0 |",
		"#4 ESTABLISHED |<-- SYN,ACK seq 0 ack 1 | (SYN-RECEIVED)",
		"#4 ESTABLISHED |--- ACK seq 1 ack 1 | (ESTABLISHED)",
		"#4 ESTABLISHED |<-- RST seq 1 | (CLOSED)",
		"#4 * the retransmission timer fires",
		"#4 * no path works: the connection is held",
	)
}

// Data sequence numbers are relative to the keys, on joined subflows too, and
// what goes again by another path is marked.
func TestMultipathNumbers(t *testing.T) {
	keys := func(n int) func(*wire.Segment) {
		return func(s *wire.Segment) {
			s.MP.Has = wire.MPCapable
			s.MP.Capable.Version, s.MP.Capable.Flags, s.MP.Capable.Keys = 1, wire.CapSHA256|wire.CapNoJoin, n
			s.MP.Capable.Sender, s.MP.Capable.Receiver = ourKey, theirKey
			if n == 1 {
				s.MP.Capable.Sender = theirKey
			}
		}
	}
	dss := func(dsn, dack, length int, fin bool) func(*wire.Segment) {
		return func(s *wire.Segment) {
			s.MP.Has = wire.DSS
			d := &s.MP.DSS
			d.HasAck, d.Ack = true, seq.Data(uint32(wire.IDSN(theirKey).Add(dack)))
			if length > 0 {
				d.HasMap, d.Seq64, d.Seq, d.SSN, d.Length, d.Fin = true, true, wire.IDSN(ourKey).Add(dsn), 1, uint16(length), fin
			}
		}
	}
	s := newScript(t)
	s.l = New(&s.out, Config{Width: fixedWidth + mostArrow})
	s.send(fS, 0, 0, 0, keys(0))
	s.recv(fSA, 0, 1, 0, keys(1))
	s.send(fA, 1, 1, 0, keys(2))
	s.send(fA, 1, 1, 100, dss(1, 1, 100, false))
	s.tuple.Local = netip.MustParseAddrPort("10.0.1.1:6000")
	s.send(fS, 0, 0, 0, func(s *wire.Segment) {
		s.MP.Has = wire.MPJoin
		s.MP.Join.Form, s.MP.Join.AddrID, s.MP.Join.Backup, s.MP.Join.Token = wire.JoinSYN, 2, true, wire.Token(theirKey)
	})
	s.recv(fSA, 0, 1, 0)
	s.send(fA, 1, 1, 100, dss(1, 6, 100, false))
	s.send(fA, 101, 1, 20, dss(101, 6, 21, true))
	s.send(fA, 121, 1, 20, dss(121, 6, 2000, false))
	s.recv(fA, 1, 1, 0, func(s *wire.Segment) {
		s.MP.Has = wire.AddAddr | wire.MPPrio
		s.MP.Add.ID, s.MP.Add.Addr, s.MP.Add.Port, s.MP.Prio.Backup = 3, netip.MustParseAddr("10.0.7.2"), 99, true
	})
	s.expect(
		"#0 ESTABLISHED |--- ACK seq 1 ack 1 MP_CAPABLE nojoin | (ESTABLISHED)",
		"#0 ESTABLISHED |--- ACK seq 1 ack 1 len 100 dsn 1 dack 1 | (ESTABLISHED)",
		"#1 10.0.1.1:6000 - 10.0.0.2:80",
		"#1 SYN-SENT |--- SYN seq 0 MP_JOIN id 2 backup |",
		"#1 SYN-SENT |<-- SYN,ACK seq 0 ack 1 | (SYN-RECEIVED)",
		"#1 ESTABLISHED |--- ACK seq 1 ack 1 len 100 dsn 1 dack 6 [reinjected] | (ESTABLISHED)",
		"#1 ESTABLISHED |--- ACK seq 101 ack 1 len 20 dsn 101 dack 6 DATA_FIN | (ESTABLISHED)",
		"#1 ESTABLISHED |--- ACK seq 121 ack 1 len 20 dsn 121+2000 dack 6 | (ESTABLISHED)",
		"#1 ESTABLISHED |<-- ACK seq 1 ack 1 ADD_ADDR id 3 10.0.7.2 port 99 MP_PRIO backup | (ESTABLISHED)",
	)
}

// A row is never wider than asked, and the arrow never shorter than its text.
func TestWidth(t *testing.T) {
	for _, width := range []int{0, 40, 80, 100, 119, 400} {
		s := newScript(t)
		s.out.Reset()
		s.l = New(&s.out, Config{Width: width})
		s.connect()
		s.send(fA, 1, 1, 7, func(s *wire.Segment) {
			s.MP.Has = wire.AddAddr
			s.MP.Add.Echo, s.MP.Add.Addr = true, netip.MustParseAddr("2001:db8:1111:2222:3333:4444:5555:6666")
		})
		s.send(0xff&^wire.RST, 8, 1, 7)
		s.l.Close()
		bars := -1
		for line := range strings.Lines(s.out.String()) {
			line = strings.TrimSuffix(line, "\n")
			if i := strings.LastIndexByte(line, '|'); i >= 0 && !strings.Contains(line, "2001:") && !strings.Contains(line, "URG") {
				if bars >= 0 && bars != i {
					t.Errorf("width %d: %q", width, line)
				}
				bars = i
			}
		}
		if limit := max(min(width, fixedWidth+mostArrow), leastWidth); bars+2+stateWidth+2 != limit {
			t.Errorf("width %d: the bar is at %d", width, bars)
		}
	}
}

// Whatever arrives, it is drawn or not, and little is kept of it.
func TestHostileInput(t *testing.T) {
	s := newScript(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 3 * maxFlows {
		s.tuple.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 80)
		s.recv(wire.Flags(rnd.Uint32()), int(rnd.Int32()), int(rnd.Int32()), rnd.IntN(100), func(s *wire.Segment) {
			s.MP.Has = wire.DSS
			s.MP.DSS.HasAck, s.MP.DSS.HasMap, s.MP.DSS.Seq = true, true, seq.Data(rnd.Uint64())
		})
		s.l.Trace(trace.Event{Kind: trace.SubflowState, C: rnd.Uint64(), A: rnd.Uint64()})
	}
	if len(s.l.flows.all) > maxFlows || len(s.l.flows.byHash) > maxFlows || len(s.l.told) > maxTold {
		t.Errorf("%d flows, %d by hash, %d told", len(s.l.flows.all), len(s.l.flows.byHash), len(s.l.told))
	}
	s.tuple = tuple
	s.connect()
	for range 1000 {
		s.recv(fA, rnd.IntN(1<<20), 1, 1)
	}
	f := s.l.flows.get(tuple)
	if n := len(f.far.sent.Spans()); n > maxPieces {
		t.Errorf("%d pieces", n)
	}
	for range 1000 {
		pkt := make([]byte, rnd.IntN(120))
		for i := range pkt {
			pkt[i] = byte(rnd.Uint32())
		}
		s.packet(rnd.IntN(2) == 0, pkt)
	}
	s.l.Close()
}

// A damaged segment is drawn and changes nothing; an ICMP error is a note.
func TestDamageAndICMP(t *testing.T) {
	s := newScript(t)
	s.connect()
	b := wire.NewBatch(4096)
	seg := wire.Segment{Tuple: tuple, Flags: fFA, Seq: theirISS.Add(1), Ack: ourISS.Add(1), Payload: []byte("x")}
	seg.Local, seg.Remote = seg.Remote, seg.Local
	wire.AppendSegment(b, &seg, 0)
	pkt := b.Bytes(0)
	pkt[len(pkt)-1] ^= 0x55
	s.packet(false, pkt)
	s.recv(fA, 1, 1, 0)
	s.packet(false, tooBig(tuple, 1400))
	s.expect(
		"#0 ESTABLISHED |<-- FIN,ACK seq 1 ack 1 len 1 win 0 [damaged] | (ESTABLISHED)",
		"#0 ESTABLISHED |<-- ACK seq 1 ack 1 | (ESTABLISHED)",
		"#0 * ICMP: packet too big, mtu 1400",
	)
}

// tooBig is the ICMP error about a packet of t's that was too big.
func tooBig(t wire.Tuple, mtu int) []byte {
	ip := func(proto byte, src, dst netip.Addr, payload []byte) []byte {
		h := make([]byte, 20, 20+len(payload))
		h[0], h[8], h[9] = 0x45, 64, proto
		binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
		copy(h[12:], src.AsSlice())
		copy(h[16:], dst.AsSlice())
		binary.BigEndian.PutUint16(h[10:], checksum(h))
		return append(h, payload...)
	}
	tcp := make([]byte, 8)
	binary.BigEndian.PutUint16(tcp[0:], t.Local.Port())
	binary.BigEndian.PutUint16(tcp[2:], t.Remote.Port())
	msg := append([]byte{3, 4, 0, 0, 0, 0, byte(mtu >> 8), byte(mtu)}, ip(6, t.Local.Addr(), t.Remote.Addr(), tcp)...)
	binary.BigEndian.PutUint16(msg[2:], checksum(msg))
	return ip(1, netip.MustParseAddr("10.0.0.254"), t.Local.Addr(), msg)
}

func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// A disk that is full is told of at the end, and nothing after the end is
// drawn.
func TestErrorsAndEnd(t *testing.T) {
	l := New(full{}, Config{})
	s := &script{t: t, l: l, tuple: tuple}
	s.connect()
	if err := l.Close(); !errors.Is(err, errFull) {
		t.Errorf("%v", err)
	}
	s.send(fA, 1, 1, 1)
	l.Trace(trace.Event{Kind: trace.HoldStart})
	if err := l.Close(); err != nil {
		t.Errorf("again: %v", err)
	}
}

var errFull = errors.New("full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }
