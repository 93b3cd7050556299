package subflow

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/buf"
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// What textbooks show of TCP: two ends, A and B, 10 ms apart, and everything
// they send to each other, with relative numbers.

// duo is two subflows and what goes on between them.
type duo struct {
	t     *testing.T
	now   mono.Time
	a, b  *end
	trace []string
	air   []inAir
	cut   bool // nothing arrives any more
}

type end struct {
	name   string
	sf     *Subflow
	snd    *buf.Send
	host   scriptHost
	next   seq.Data
	got    string
	hears  func(string) // the application, told of all it has read so far
	states []State      // that it has been in
}

type inAir struct {
	at  mono.Time
	to  *end
	seg wire.Segment
}

const oneWay = 10 * time.Millisecond

func newDuo(t *testing.T) *duo {
	d := &duo{t: t, now: mono.Time(time.Hour)}
	d.a, d.b = d.end("A"), d.end("B")
	return d
}

func (d *duo) end(name string) *end {
	return &end{name: name, snd: buf.NewSend(1, 1<<16), host: scriptHost{wnd: 65535}, next: 1}
}

func duoConfig(iss seq.Num) Config {
	return Config{ISS: iss, NoTimestamps: true, TimeWait: time.Minute}
}

func (d *duo) dial(e *end) {
	t := wire.Tuple{Local: addrA, Remote: addrB}
	if e == d.b {
		t = wire.Tuple{Local: addrB, Remote: addrA}
	}
	e.sf = Dial(d.now, t, duoConfig(map[*end]seq.Num{d.a: ourISS, d.b: peerISS}[e]))
	d.poll(e)
}

// write is the application's SEND.
func (d *duo) write(e *end, text string) {
	e.snd.Write([]byte(text))
	r := seq.Range{From: e.next, To: e.next.Add(len(text))}
	e.snd.Pin(r)
	e.sf.Assign(r)
	e.next = r.To
	d.poll(e)
}

func (d *duo) close(e *end) {
	e.sf.CloseWrite()
	d.poll(e)
}

// poll puts what e sends in the air.
func (d *duo) poll(e *end) {
	d.t.Helper()
	if e.sf == nil {
		return
	}
	b := wire.NewBatch(64 << 10)
	e.sf.PollTransmit(d.now, e.snd, &e.host, b)
	other := d.a
	if e == d.a {
		other = d.b
	}
	for i := range b.Pkts {
		var seg wire.Segment
		if why := wire.Parse(append([]byte(nil), b.Bytes(i)...), &seg, b.Pkts[i].Csum); why != wire.None {
			d.t.Fatal(why)
		}
		d.note(e, &seg)
		if !d.cut {
			d.air = append(d.air, inAir{d.now.Add(oneWay), other, seg})
		}
	}
	e.remember()
}

func (e *end) remember() {
	if st := e.sf.State(); len(e.states) == 0 || e.states[len(e.states)-1] != st {
		e.states = append(e.states, st)
	}
}

// note writes a segment down.
func (d *duo) note(e *end, s *wire.Segment) {
	iss, irs := ourISS, peerISS
	if e == d.b {
		iss, irs = irs, iss
	}
	var f []string
	for _, x := range []struct {
		f    wire.Flags
		name string
	}{{wire.SYN, "SYN"}, {wire.FIN, "FIN"}, {wire.RST, "RST"}} {
		if s.Flags.Has(x.f) {
			f = append(f, x.name)
		}
	}
	line := fmt.Sprintf("%s: %s seq=%d", e.name, strings.Join(f, ","), s.Seq.Sub(iss))
	if s.Flags.Has(wire.ACK) {
		line += fmt.Sprintf(" ack=%d", s.Ack.Sub(irs))
	}
	if len(s.Payload) > 0 {
		line += fmt.Sprintf(" %q", s.Payload)
	}
	d.trace = append(d.trace, strings.Replace(line, ":  ", ": ", 1))
}

// until lets time pass until at.
func (d *duo) until(at mono.Time) {
	d.t.Helper()
	for range 10000 {
		next := at
		for _, e := range []*end{d.a, d.b} {
			if e.sf != nil {
				next = next.Earliest(e.sf.PollTimeout())
			}
		}
		for _, f := range d.air {
			next = next.Earliest(f.at)
		}
		d.now = next
		for len(d.air) > 0 && d.air[0].at <= d.now {
			f := d.air[0]
			d.air = d.air[1:]
			d.deliver(f.to, &f.seg)
		}
		for _, e := range []*end{d.a, d.b} {
			if e.sf != nil {
				e.sf.HandleTimeout(d.now)
				d.poll(e)
			}
		}
		if next == at {
			return
		}
	}
	d.t.Fatal("no end")
}

func (d *duo) after(t time.Duration) { d.t.Helper(); d.until(d.now.Add(t)) }

func (d *duo) deliver(e *end, s *wire.Segment) {
	s.At = d.now
	if e.sf == nil { // LISTEN
		e.sf = Accept(d.now, s, duoConfig(peerISS))
		d.poll(e)
		return
	}
	acc := e.sf.HandleSegment(d.now, s)
	e.remember()
	for _, r := range acc.Retired {
		e.snd.Unpin(r)
	}
	e.got += string(acc.Payload)
	if len(acc.Payload) > 0 && e.hears != nil {
		e.hears(e.got)
	}
	d.poll(e)
}

func (d *duo) expect(want ...string) {
	d.t.Helper()
	if !slices.Equal(d.trace, want) {
		d.t.Fatalf("got\n%s\nexpected\n%s", strings.Join(d.trace, "\n"), strings.Join(want, "\n"))
	}
	d.trace = nil
}

func (d *duo) expectStates(e *end, want ...State) {
	d.t.Helper()
	if !slices.Equal(e.states, want) {
		d.t.Fatalf("%s was in %v, expected %v", e.name, e.states, want)
	}
}

// T3, T7, T24: the conversation of the textbook: "abc", "defg" and "foobar" are
// acknowledged, the last by "hello", that by "goodbye"; A's FIN crosses the ACK
// of that. The sequence numbers are 1, 4, 8, 14, 21 and 22 on A's side, 1, 6 and
// 7 on B's.
func TestTextbook_Conversation(t *testing.T) {
	d := newDuo(t)
	a, b := d.a, d.b
	b.hears = func(got string) {
		if strings.HasSuffix(got, "foobar") {
			d.write(b, "hello")
		}
	}
	var goodbye mono.Time
	a.hears = func(string) { goodbye = d.now; d.write(a, "goodbye") }
	d.dial(a)
	d.after(50 * time.Millisecond)
	for _, text := range []string{"abc", "defg", "foobar"} {
		d.write(a, text)
		if text != "foobar" {
			d.after(30 * time.Millisecond)
		}
	}
	d.after(25 * time.Millisecond) // "goodbye" left 5 ms ago
	if d.now.Sub(goodbye) != 5*time.Millisecond {
		t.Fatalf("goodbye left %v ago", d.now.Sub(goodbye))
	}
	d.close(a)
	d.after(40 * time.Millisecond)
	d.close(b)
	d.after(40 * time.Millisecond)
	d.expect(
		`A: SYN seq=0`,
		`B: SYN seq=0 ack=1`,
		`A: seq=1 ack=1`,
		`A: seq=1 ack=1 "abc"`,
		`B: seq=1 ack=4`,
		`A: seq=4 ack=1 "defg"`,
		`B: seq=1 ack=8`,
		`A: seq=8 ack=1 "foobar"`,
		`B: seq=1 ack=14 "hello"`,
		`A: seq=14 ack=6 "goodbye"`,
		`A: FIN seq=21 ack=6`, // crosses
		`B: seq=6 ack=21`,
		`B: seq=6 ack=22`,
		`B: FIN seq=6 ack=22`,
		`A: seq=22 ack=7`,
	)
	d.expectStates(a, StateSynSent, StateEstablished, StateFinWait1, StateFinWait2, StateTimeWait)
	d.expectStates(b, StateSynReceived, StateEstablished, StateCloseWait, StateLastAck, StateClosed)
	if a.got != "hello" || b.got != "abcdefgfoobargoodbye" {
		t.Fatalf("read %q and %q", a.got, b.got)
	}
	d.after(time.Minute)
	d.expectStates(a, StateSynSent, StateEstablished, StateFinWait1, StateFinWait2, StateTimeWait, StateClosed)
	d.expect()
}

// T4: both open at once (RFC 9293, Section 3.5, Figure 7).
func TestT4_TextbookSimultaneousOpen(t *testing.T) {
	d := newDuo(t)
	d.dial(d.a)
	d.dial(d.b)
	d.after(30 * time.Millisecond)
	for _, e := range []*end{d.a, d.b} {
		d.expectStates(e, StateSynSent, StateSynReceived, StateEstablished)
	}
	d.expect("A: SYN seq=0", "B: SYN seq=0", "B: SYN seq=0 ack=1", "A: SYN seq=0 ack=1")
	d.write(d.a, "one")
	d.write(d.b, "two")
	d.after(100 * time.Millisecond)
	if d.a.got != "two" || d.b.got != "one" {
		t.Fatalf("read %q and %q", d.a.got, d.b.got)
	}
}

// T5: both close at once (RFC 9293, Section 3.6, Figure 13).
func TestT5_TextbookSimultaneousClose(t *testing.T) {
	d := newDuo(t)
	d.dial(d.a)
	d.after(100 * time.Millisecond)
	d.trace = nil
	d.close(d.a)
	d.close(d.b)
	d.after(100 * time.Millisecond)
	d.expectStates(d.a, StateSynSent, StateEstablished, StateFinWait1, StateClosing, StateTimeWait)
	d.expectStates(d.b, StateSynReceived, StateEstablished, StateFinWait1, StateClosing, StateTimeWait)
	d.expect("A: FIN seq=1 ack=1", "B: FIN seq=1 ack=1", "B: seq=2 ack=2", "A: seq=2 ack=2")
	d.after(time.Minute)
	if d.a.sf.State() != StateClosed || d.b.sf.State() != StateClosed {
		t.Fatal("not closed after 2 MSL")
	}
}

// T6: A has no more to say, and B goes on for long: "cat file | nc host sort".
func TestT6_TextbookHalfClose(t *testing.T) {
	d := newDuo(t)
	d.dial(d.a)
	d.after(100 * time.Millisecond)
	d.write(d.a, "c\nb\na\n")
	d.close(d.a)
	d.after(time.Hour)
	d.expectStates(d.b, StateSynReceived, StateEstablished, StateCloseWait)
	for range 100 {
		d.write(d.b, "a\nb\nc\n")
		d.after(time.Minute)
	}
	if d.a.got != strings.Repeat("a\nb\nc\n", 100) || d.a.sf.State() != StateFinWait2 {
		t.Fatalf("%d octets, state %v", len(d.a.got), d.a.sf.State())
	}
	d.close(d.b)
	d.after(100 * time.Millisecond)
	if d.a.sf.State() != StateTimeWait || d.b.sf.State() != StateClosed {
		t.Fatalf("states %v and %v", d.a.sf.State(), d.b.sf.State())
	}
}

// T3 to T7: every arc of RFC 9293, Section 3.3.2, Figure 5, that a subflow has:
// LISTEN is the Endpoint's, and from there SEND opens nothing.
func TestTextbook_Arcs(t *testing.T) {
	closeIt := func(b *bench) { b.sf.CloseWrite(); b.poll() }
	finWait1 := func(t *testing.T) *bench {
		b := established(t, Config{})
		closeIt(b)
		b.expect(pkt{f: fFA, seq: 1, ack: 1})
		return b
	}
	closeWait := func(t *testing.T) *bench {
		b := established(t, Config{})
		b.send(pkt{f: fFA, seq: 1, ack: 1})
		b.expect(pkt{f: fA, seq: 1, ack: 2})
		return b
	}
	peerSends := func(p pkt) func(*bench) { return func(b *bench) { b.send(p) } }
	for _, c := range []struct {
		name string
		from func(*testing.T) *bench
		in   State
		do   func(*bench)
		out  *pkt // what is sent
		to   State
	}{
		{"active OPEN", func(t *testing.T) *bench {
			b, c := newBench(t, Config{})
			b.sf = Dial(b.now, wire.Tuple{Local: addrA, Remote: addrB}, c)
			return b
		}, StateSynSent, (*bench).poll, &pkt{f: fS}, StateSynSent},
		{"CLOSE", func(t *testing.T) *bench { return synSent(t, Config{}) }, StateSynSent,
			func(b *bench) { b.sf.Abort(); b.poll() }, nil, StateClosed},
		{"rcv SYN", func(t *testing.T) *bench { return synSent(t, Config{}) }, StateSynSent,
			peerSends(pkt{f: fS}), &pkt{f: fSA, seq: 0, ack: 1}, StateSynReceived},
		{"rcv SYN,ACK", func(t *testing.T) *bench { return synSent(t, Config{}) }, StateSynSent,
			peerSends(pkt{f: fSA, ack: 1}), &pkt{f: fA, seq: 1, ack: 1}, StateEstablished},
		{"rcv ACK of SYN", func(t *testing.T) *bench { return synReceived(t, Config{}, pkt{}) }, StateSynReceived,
			peerSends(pkt{f: fA, seq: 1, ack: 1}), nil, StateEstablished},
		{"rcv RST", func(t *testing.T) *bench { return synReceived(t, Config{}, pkt{}) }, StateSynReceived,
			peerSends(pkt{f: fR, seq: 1}), nil, StateClosed}, // its listener is still in LISTEN
		{"CLOSE before the ACK of SYN", func(t *testing.T) *bench { return synReceived(t, Config{}, pkt{}) }, StateSynReceived,
			func(b *bench) { closeIt(b); b.send(pkt{f: fA, seq: 1, ack: 1}) }, &pkt{f: fFA, seq: 1, ack: 1}, StateFinWait1},
		{"CLOSE", func(t *testing.T) *bench { return established(t, Config{}) }, StateEstablished,
			closeIt, &pkt{f: fFA, seq: 1, ack: 1}, StateFinWait1},
		{"rcv FIN", func(t *testing.T) *bench { return established(t, Config{}) }, StateEstablished,
			peerSends(pkt{f: fFA, seq: 1, ack: 1}), &pkt{f: fA, seq: 1, ack: 2}, StateCloseWait},
		{"rcv ACK of FIN", finWait1, StateFinWait1,
			peerSends(pkt{f: fA, seq: 1, ack: 2}), nil, StateFinWait2},
		{"rcv FIN", finWait1, StateFinWait1,
			peerSends(pkt{f: fFA, seq: 1, ack: 1}), &pkt{f: fA, seq: 2, ack: 2}, StateClosing},
		{"rcv FIN with ACK of FIN", finWait1, StateFinWait1,
			peerSends(pkt{f: fFA, seq: 1, ack: 2}), &pkt{f: fA, seq: 2, ack: 2}, StateTimeWait},
		{"rcv FIN", func(t *testing.T) *bench {
			b := finWait1(t)
			b.send(pkt{f: fA, seq: 1, ack: 2})
			return b
		}, StateFinWait2, peerSends(pkt{f: fFA, seq: 1, ack: 2}), &pkt{f: fA, seq: 2, ack: 2}, StateTimeWait},
		{"rcv ACK of FIN", func(t *testing.T) *bench {
			b := finWait1(t)
			b.send(pkt{f: fFA, seq: 1, ack: 1})
			b.out = nil
			return b
		}, StateClosing, peerSends(pkt{f: fA, seq: 2, ack: 2}), nil, StateTimeWait},
		{"CLOSE", closeWait, StateCloseWait, closeIt, &pkt{f: fFA, seq: 1, ack: 2}, StateLastAck},
		{"rcv ACK of FIN", func(t *testing.T) *bench {
			b := closeWait(t)
			closeIt(b)
			b.out = nil
			return b
		}, StateLastAck, peerSends(pkt{f: fA, seq: 2, ack: 2}), nil, StateClosed},
		{"timeout of 2 MSL", timeWait, StateTimeWait,
			func(b *bench) { b.advance(time.Minute) }, nil, StateClosed},
	} {
		t.Run(c.in.String()+" "+c.name, func(t *testing.T) {
			b := c.from(t)
			b.expectState(c.in)
			c.do(b)
			if c.out != nil {
				b.expect(*c.out)
			}
			b.expectNothing()
			b.expectState(c.to)
		})
	}
}
