package subflow

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/buf"
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// Packet scripts. A script plays the peer: send hands the subflow a segment,
// expect takes the oldest segment it sent, expectNothing says that there is
// none, advance lets time pass. Numbers are offsets: 0 is the SYN, 1 the first
// octet of data. Both initial sequence numbers are chosen so that the 32 bits
// wrap early on. The laws of polling are asserted after every step.

// Flags as tcpdump writes them.
const (
	fS  = wire.SYN
	fSA = wire.SYN | wire.ACK
	fA  = wire.ACK
	fPA = wire.PSH | wire.ACK
	fFA = wire.FIN | wire.ACK
	fR  = wire.RST
	fRA = wire.RST | wire.ACK
)

const (
	ourISS  seq.Num = 0xffffffff - 2000
	peerISS seq.Num = 0xffffffff - 3000
	ms              = time.Millisecond
)

// pkt is a segment by what a script says of it.
type pkt struct {
	f        wire.Flags
	seq, ack int
	n        int // octets of payload
	win      int // raw; send: 0 means the bench's window; expect: compared if not 0
	zeroWin  bool
	sack     [][2]int
	val, ecr uint32 // timestamps, if not 0: send uses them, expect compares them
	noTS     bool
	mp       wire.MPKind
	mss      int
	ws       int // shift+1, or 0 for none
	sackOK   bool
	ts       bool // of a SYN
	train    int  // of what was sent: segment size of a train, compared if there are lanes
}

func (p pkt) String() string {
	return fmt.Sprintf("%03b seq %d ack %d len %d sack %v win %d ts %d/%d", p.f, p.seq, p.ack, p.n, p.sack, p.win, p.val, p.ecr)
}

// scriptHost is a Host that a script sets up.
type scriptHost struct {
	wnd     int
	options func(*Outgoing, *wire.MPOptions)
	outs    []Outgoing
}

func (h *scriptHost) Options(o *Outgoing, mp *wire.MPOptions) {
	h.outs = append(h.outs, *o)
	if h.options != nil {
		h.options(o, mp)
	}
}
func (h *scriptHost) Window() int { return h.wnd }

// bench is one subflow and its script.
type bench struct {
	t       *testing.T
	now     mono.Time
	sf      *Subflow
	snd     *buf.Send
	host    scriptHost
	batch   *wire.Batch
	out     []pkt
	segs    []wire.Segment // of out, whole
	acc     Accepted       // of the last send, events of timeouts added
	events  Events         // all that was reported
	next    seq.Data       // first octet not assigned
	win     int            // the peer's window field
	ts      bool
	lastVal uint32 // last TSval of the subflow
}

const dataStart seq.Data = 1 << 40

// someData is what the subflow has to send.
var someData [1 << 20]byte

func newBench(t *testing.T, c Config) (*bench, Config) {
	b := &bench{t: t, now: mono.Time(time.Hour), win: 65535, next: dataStart}
	b.snd = buf.NewSend(dataStart, len(someData))
	b.snd.Write(someData[:])
	b.host.wnd = 60000
	b.batch = wire.NewBatch(256 << 10)
	c.ISS = ourISS
	c.TSOffset = 0xfffffff0 // wraps at once
	if c.Controller == nil {
		c.Controller = newFixed(1 << 30)
	}
	return b, c
}

// synSent returns a subflow whose SYN has left.
func synSent(t *testing.T, c Config) *bench {
	b, c := newBench(t, c)
	b.sf = Dial(b.now, wire.Tuple{Local: addrA, Remote: addrB}, c)
	b.poll()
	b.expect(pkt{f: fS})
	return b
}

// synReceived returns a subflow whose SYN/ACK has left.
func synReceived(t *testing.T, c Config, syn pkt) *bench {
	b, c := newBench(t, c)
	syn.f = fS
	b.ts = syn.ts
	seg := b.segment(syn)
	b.sf = Accept(b.now, seg, c)
	b.poll()
	b.expect(pkt{f: fSA, ack: 1})
	return b
}

// established returns a client in ESTABLISHED, with SACK and without
// timestamps, after a handshake of 10 ms.
func established(t *testing.T, c Config) *bench {
	c.NoTimestamps = true
	return connect(t, c, pkt{mss: 1000, sackOK: !c.NoSACK})
}

// withTimestamps is established, with timestamps.
func withTimestamps(t *testing.T, c Config) *bench {
	return connect(t, c, pkt{mss: 1012, sackOK: !c.NoSACK, ts: true})
}

func connect(t *testing.T, c Config, syn pkt) *bench {
	b := synSent(t, c)
	b.advance(10 * ms)
	b.ts = syn.ts
	syn.f, syn.ack = fSA, 1
	b.send(syn)
	b.expectEvents(Established)
	b.expect(pkt{f: fA, seq: 1, ack: 1})
	b.expectState(StateEstablished)
	// Most scripts are not about the first segments of a connection.
	b.sf.rcv.quick = 0
	return b
}

func (b *bench) segment(p pkt) *wire.Segment {
	seg := &wire.Segment{
		Tuple: wire.Tuple{Local: addrA, Remote: addrB},
		Seq:   peerISS.Add(p.seq), Flags: p.f, Window: uint16(b.win), At: b.now,
		Payload: make([]byte, p.n),
	}
	for i := range seg.Payload {
		seg.Payload[i] = byte(p.seq + i)
	}
	if p.f.Has(wire.ACK) {
		seg.Ack = ourISS.Add(p.ack)
	}
	if p.win != 0 || p.zeroWin {
		seg.Window = uint16(p.win)
	}
	seg.Opt.MSS = uint16(p.mss)
	seg.Opt.SACKPermitted = p.sackOK
	if p.ws != 0 {
		seg.Opt.HasWScale, seg.Opt.WScale = true, uint8(p.ws-1)
	}
	if b.ts && !p.noTS {
		seg.Opt.HasTS = true
		seg.Opt.TSVal, seg.Opt.TSEcr = b.clock(), b.lastVal
		if p.val != 0 {
			seg.Opt.TSVal = p.val
		}
		if p.ecr != 0 {
			seg.Opt.TSEcr = p.ecr
		}
	}
	for _, r := range p.sack {
		seg.Opt.SACK[seg.Opt.NSACK] = wire.SACKBlock{From: ourISS.Add(r[0]), To: ourISS.Add(r[1])}
		seg.Opt.NSACK++
	}
	seg.MP.Has = p.mp
	return seg
}

// clock is the peer's timestamp clock.
func (b *bench) clock() uint32 { return uint32(b.now/mono.Time(ms)) + 0x7fffffff }

// send hands the subflow a segment of the peer's.
func (b *bench) send(p pkt) Accepted {
	b.t.Helper()
	b.acc = b.sf.HandleSegment(b.now, b.segment(p))
	b.events |= b.acc.Events
	for _, r := range b.acc.Retired {
		b.snd.Unpin(r)
	}
	b.poll()
	return b.acc
}

// write assigns n octets, room or not.
func (b *bench) write(n int) {
	b.t.Helper()
	b.assign(n)
	b.poll()
}

func (b *bench) assign(n int) {
	r := seq.Range{From: b.next, To: b.next.Add(n)}
	b.snd.Pin(r)
	b.sf.Assign(r)
	b.next = r.To
}

// poll drains the subflow and asserts laws 1, 2, 4 and 7.
func (b *bench) poll() {
	b.t.Helper()
	if at := b.sf.PollTimeout(); at <= b.now {
		b.events |= b.sf.HandleTimeout(b.now)
	}
	for b.sf.WantsTransmit(b.now) {
		b.batch.Reset()
		n := b.sf.PollTransmit(b.now, b.snd, &b.host, b.batch)
		if n == 0 {
			b.t.Fatalf("wants to transmit and does not\n%s", b.sf.dump())
		}
		b.collect()
	}
	b.batch.Reset()
	if n := b.sf.PollTransmit(b.now, b.snd, &b.host, b.batch); n != 0 {
		b.t.Fatalf("law 4: %d packets more after a drain\n%s", n, b.sf.dump())
	}
	at := b.sf.PollTimeout()
	if at <= b.now {
		b.t.Fatalf("law 1: deadline %v, now %v\n%s", at, b.now, b.sf.dump())
	}
	if ev := b.sf.HandleTimeout(b.now); ev != 0 || b.sf.WantsTransmit(b.now) || b.sf.PollTimeout() != at {
		b.t.Fatalf("law 2: HandleTimeout before the deadline did something\n%s", b.sf.dump())
	}
	if err := b.sf.checkBooks(); err != nil {
		b.t.Fatalf("law 7: %v\n%s", err, b.sf.dump())
	}
}

func (b *bench) collect() {
	b.t.Helper()
	for i := range b.batch.Pkts {
		var seg wire.Segment
		if d := wire.Parse(append([]byte(nil), b.batch.Bytes(i)...), &seg, b.batch.Pkts[i].Csum); d != wire.None {
			b.t.Fatalf("own packet: %v", d)
		}
		p := pkt{
			f: seg.Flags, seq: seg.Seq.Sub(ourISS), n: len(seg.Payload), win: int(seg.Window),
			mss: int(seg.Opt.MSS), sackOK: seg.Opt.SACKPermitted, ts: seg.Opt.HasTS,
			val: seg.Opt.TSVal, ecr: seg.Opt.TSEcr, mp: seg.MP.Has, train: int(b.batch.Pkts[i].Seg),
		}
		if seg.Opt.HasWScale {
			p.ws = int(seg.Opt.WScale) + 1
		}
		if seg.Opt.HasTS {
			b.lastVal = seg.Opt.TSVal
		}
		if seg.Flags.Has(wire.ACK) {
			p.ack = seg.Ack.Sub(peerISS)
		}
		for _, r := range seg.Opt.SACK[:seg.Opt.NSACK] {
			p.sack = append(p.sack, [2]int{r.From.Sub(peerISS), r.To.Sub(peerISS)})
		}
		b.out = append(b.out, p)
		b.segs = append(b.segs, seg)
	}
}

// advance lets d pass, and every deadline in it.
func (b *bench) advance(d time.Duration) {
	b.t.Helper()
	end := b.now.Add(d)
	for steps := 0; ; steps++ {
		if steps > 100000 {
			b.t.Fatalf("no end of timeouts\n%s", b.sf.dump())
		}
		at := b.sf.PollTimeout()
		if at > end {
			break
		}
		b.now = at
		b.events |= b.sf.HandleTimeout(b.now)
		b.poll()
	}
	b.now = end
	b.poll()
}

// expect takes the oldest segment sent; flags, numbers, length and SACK blocks
// must be as said (PSH only if asked for), other fields if they are not zero.
func (b *bench) expect(want pkt) pkt {
	b.t.Helper()
	if len(b.out) == 0 {
		b.t.Fatalf("expected %v, got nothing\n%s", want, b.sf.dump())
	}
	got := b.out[0]
	b.out, b.segs = b.out[1:], b.segs[1:]
	cmp := got
	if !want.f.Has(wire.PSH) {
		cmp.f &^= wire.PSH
	}
	bad := cmp.f != want.f || got.seq != want.seq || got.ack != want.ack || got.n != want.n ||
		fmt.Sprint(got.sack) != fmt.Sprint(want.sack) ||
		want.win != 0 && got.win != want.win || want.zeroWin && got.win != 0 ||
		want.val != 0 && got.val != want.val || want.ecr != 0 && got.ecr != want.ecr ||
		want.mss != 0 && got.mss != want.mss || want.ws != 0 && got.ws != want.ws ||
		b.batch.Lane && got.train != want.train
	if bad {
		b.t.Fatalf("expected %v\n     got %v\n%s", want, got, b.sf.dump())
	}
	return got
}

// expectData expects segments of the given lengths that adjoin, from seq on.
func (b *bench) expectData(seq int, lens ...int) {
	b.t.Helper()
	ack := int(b.sf.RcvNxt())
	for _, n := range lens {
		b.expect(pkt{f: fA, seq: seq, ack: ack, n: n})
		seq += n
	}
}

func (b *bench) expectNothing() {
	b.t.Helper()
	if len(b.out) > 0 {
		var all []string
		for _, p := range b.out {
			all = append(all, p.String())
		}
		b.t.Fatalf("expected nothing, got\n%s\n%s", strings.Join(all, "\n"), b.sf.dump())
	}
}

func (b *bench) expectState(want State) {
	b.t.Helper()
	if got := b.sf.State(); got != want {
		b.t.Fatalf("state %v, expected %v", got, want)
	}
}

// expectEvents takes the events reported since the last time.
func (b *bench) expectEvents(want Events) {
	b.t.Helper()
	if b.events != want {
		b.t.Fatalf("events %09b, expected %09b", b.events, want)
	}
	b.events = 0
}

// expectPayload says what the last send delivered.
func (b *bench) expectPayload(off, n int) {
	b.t.Helper()
	if len(b.acc.Payload) != n || n > 0 && int(b.acc.Off) != off {
		b.t.Fatalf("payload of %d at %d, expected %d at %d", len(b.acc.Payload), b.acc.Off, n, off)
	}
	for i, c := range b.acc.Payload {
		if c != byte(off+i) {
			b.t.Fatalf("payload at %d is that of another place", off+i)
		}
	}
}

// expectDropped says that the last send was refused.
func (b *bench) expectDropped() {
	b.t.Helper()
	if b.acc.OK || b.acc.Payload != nil || b.acc.Events != 0 || b.acc.Retired != nil {
		b.t.Fatalf("not dropped: %+v", b.acc)
	}
}
