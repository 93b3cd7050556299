package subflow

import (
	"container/heap"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/buf"
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow/cc"
)

// plainHost is the Host of plain TCP: no options, the window of a buffer.
type plainHost struct{ rcv *buf.Recv }

func (h *plainHost) Options(*Outgoing, *wire.MPOptions) {}
func (h *plainHost) Window() int {
	if h.rcv == nil {
		return 65535
	}
	return h.rcv.Edge().Sub(h.rcv.Next())
}

// peer is one end of a simulated connection, with an application that writes a
// stream and reads the other's.
type peer struct {
	t     *testing.T
	name  string
	sf    *Subflow
	snd   *buf.Send
	rcv   *buf.Recv
	host  plainHost
	batch *wire.Batch
	next  seq.Data // first octet not assigned

	toWrite int // octets the application still has
	total   int // octets it wrote in all
	want    int // octets it expects from the other
	got     int
	slow    bool // reads now and then only
	seed    byte

	events  Events
	edge    seq.Offset // rightmost edge advertised, rounding apart
	wake    mono.Time  // of Room
	retired int
}

const loopBuffer = 256 << 10

func newPeer(t *testing.T, name string, write, want int) *peer {
	p := &peer{t: t, name: name, toWrite: write, total: write, want: want, seed: name[0]}
	p.snd = buf.NewSend(1, loopBuffer)
	p.rcv = buf.NewRecv(1, loopBuffer)
	p.host.rcv = p.rcv
	p.next = 1
	p.batch = wire.NewBatch(256 << 10)
	p.wake = mono.Never
	return p
}

func octet(seed byte, at int) byte { return byte(at*7+at>>8) ^ seed }

func (p *peer) fail(format string, args ...any) {
	p.t.Helper()
	p.t.Fatalf("%s: %s\n%s", p.name, fmt.Sprintf(format, args...), p.sf.dump())
}

// dump describes a subflow for a failure.
func (s *Subflow) dump() string {
	out := fmt.Sprintf("%v una %d nxt %d end %d edge %d | rcv nxt %d edge %d set %v | pipe %d sacked %d lost %d rec %+v tlp %+v\nlane %+v\n",
		s.state, s.snd.una, s.snd.nxt, s.snd.end, s.snd.edge, s.rcv.nxt, s.rcv.edge, s.rcv.set.Spans(),
		s.snd.pipe, s.snd.sacked, s.snd.lost, s.rec, s.tlp, s.lane)
	for _, r := range s.snd.recs.live() {
		out += fmt.Sprintf("  %+v\n", r)
	}
	return out + fmt.Sprintf("  %+v", s.Info())
}

// checkBooks asserts law 7: the records cover [una, nxt) without gaps, and
// the sums agree with them.
func (s *Subflow) checkBooks() error {
	d := &s.snd
	if mss := s.payloadOf(s.PathMTU()); s.MSS() != mss {
		return fmt.Errorf("MSS %d, should be %d", s.MSS(), mss)
	}
	var pipe, sacked, lost, segs int
	at := d.una
	for _, r := range d.recs.live() {
		if r.off != at || r.len <= 0 {
			return fmt.Errorf("record at %d, expected %d, length %d", r.off, at, r.len)
		}
		at = r.end()
		switch {
		case r.has(recSacked):
			sacked += int(r.len)
			segs += (int(r.len) + d.seg - 1) / d.seg
		case r.has(recLost):
			lost += int(r.len)
			if before(r.off, d.lostFrom) {
				return fmt.Errorf("lost at %d, before the hint %d", r.off, d.lostFrom)
			}
		default:
			pipe += int(r.len)
		}
		if !r.has(recFIN) && (r.off < r.m.Off || r.end() > r.m.Off+seq.Offset(r.m.Len)) {
			return fmt.Errorf("record %+v outside its mapping", r)
		}
	}
	if s.state.synchronized() && at != d.nxt {
		return fmt.Errorf("records end at %d, SND.NXT is %d", at, d.nxt)
	}
	if pipe != d.pipe || sacked != d.sacked || lost != d.lost || segs != d.sackedSegs {
		return fmt.Errorf("sums %d %d %d %d, counted %d %d %d %d", d.pipe, d.sacked, d.lost, d.sackedSegs, pipe, sacked, lost, segs)
	}
	for i, sp := range s.rcv.set.Spans() {
		if !after(sp.From, s.rcv.nxt) {
			return fmt.Errorf("span %d %v does not lie beyond RCV.NXT %d", i, sp, s.rcv.nxt)
		}
	}
	return nil
}

// settle runs the application and polls until nothing changes, then asserts
// the laws.
func (p *peer) settle(now mono.Time, deliver func(*wire.Batch)) {
	for round := 0; ; round++ {
		if round > 100 {
			p.fail("no end of polling at %v", now)
		}
		p.app(now)
		p.batch.Reset()
		n := p.sf.PollTransmit(now, p.snd, &p.host, p.batch)
		if n != len(p.batch.Pkts) {
			p.fail("PollTransmit says %d, appended %d", n, len(p.batch.Pkts))
		}
		p.checkOut()
		deliver(p.batch)
		if n == 0 && !p.due(now) {
			break
		}
		if p.due(now) {
			p.events |= p.sf.HandleTimeout(now)
		}
	}
	if p.sf.WantsTransmit(now) {
		p.fail("wants to transmit after a drain")
	}
	if at := p.sf.PollTimeout(); at <= now {
		p.fail("law 1: deadline %v not after %v", at, now)
	}
	if p.wake <= now {
		p.fail("wake %v not after %v", p.wake, now)
	}
	before := p.sf.PollTimeout()
	if ev := p.sf.HandleTimeout(now); ev != 0 || p.sf.PollTimeout() != before || p.sf.WantsTransmit(now) {
		p.fail("law 2: HandleTimeout before the deadline did something")
	}
	if err := p.sf.checkBooks(); err != nil {
		p.fail("law 7: %v", err)
	}
}

func (p *peer) due(now mono.Time) bool { return p.sf.PollTimeout() <= now }

// checkOut asserts law 6 on what was sent.
func (p *peer) checkOut() {
	for i := range p.batch.Pkts {
		var seg wire.Segment
		if d := wire.Parse(p.batch.Bytes(i), &seg, p.batch.Pkts[i].Csum); d != wire.None {
			p.fail("own packet: %v", d)
		}
		off := seq.Unwrap(seg.Seq, p.sf.snd.iss, p.sf.snd.nxt)
		if len(seg.Payload) > 0 && after(off+seq.Offset(len(seg.Payload)), 1+seq.Offset(p.sf.snd.maxWnd)+p.sf.snd.una) {
			p.fail("sent beyond the peer's window")
		}
		if has(&seg, wire.SYN) || !has(&seg, wire.ACK) || has(&seg, wire.RST) {
			continue
		}
		edge := seq.Unwrap(seg.Ack, p.sf.rcv.irs, p.sf.rcv.nxt) + seq.Offset(int(seg.Window)<<p.sf.rcv.shift)
		if before(edge+seq.Offset(1<<p.sf.rcv.shift), p.edge) {
			p.fail("law 6: edge %d after %d", edge, p.edge)
		}
		p.edge = later(p.edge, edge)
	}
}

// app reads, writes, assigns and closes.
func (p *peer) app(now mono.Time) {
	if !p.slow {
		p.read()
	}
	var chunk [4096]byte
	for p.toWrite > 0 {
		at := p.total - p.toWrite
		n := min(len(chunk), p.toWrite)
		for i := range n {
			chunk[i] = octet(p.seed, at+i)
		}
		n = p.snd.Write(chunk[:n])
		if n == 0 {
			break
		}
		p.toWrite -= n
	}
	p.wake = mono.Never
	for p.next != p.snd.End() {
		room, wake := p.sf.Room(now)
		p.wake = wake
		n := min(room, p.snd.End().Sub(p.next), maxMapping)
		if i := p.sf.Info(); n == 0 && p.sf.Idle() && i.SndWnd == 0 && i.State == StateCloseWait {
			n = 1 // the news of a window may be lost: somebody has to ask
		}
		if n == 0 {
			break
		}
		r := seq.Range{From: p.next, To: p.next.Add(n)}
		p.snd.Pin(r)
		p.sf.Assign(r)
		p.next = r.To
	}
	if p.toWrite == 0 && p.next == p.snd.End() && p.sf.State() != StateSynSent {
		p.sf.CloseWrite()
	}
}

func (p *peer) read() {
	var chunk [8192]byte
	before := p.host.Window()
	for n := p.rcv.Read(chunk[:]); n > 0; n = p.rcv.Read(chunk[:]) {
		for i, c := range chunk[:n] {
			if c != octet(p.seed^'A'^'B', p.got+i) {
				p.fail("law 5: octet %d is wrong", p.got+i)
			}
		}
		p.got += n
	}
	if p.host.Window() > before+loopBuffer/4 {
		p.sf.SendAck()
	}
}

// take processes an arrived packet.
func (p *peer) take(now mono.Time, pkt []byte, c wire.Csum) {
	var seg wire.Segment
	if d := wire.Parse(pkt, &seg, c); d != wire.None {
		p.fail("arrived packet: %v", d)
	}
	seg.At = now
	acc := p.sf.HandleSegment(now, &seg)
	p.events |= acc.Events
	if acc.Payload != nil {
		if !acc.OK {
			p.fail("payload of a segment that is not OK")
		}
		p.rcv.Place(seq.Data(acc.Off), acc.Payload)
	}
	if got, want := p.rcv.Next(), seq.Data(p.sf.RcvNxt()); got != want && (!p.sf.rcv.finDone() || got+1 != want) {
		p.fail("stream at %d, RCV.NXT at %d", got, want)
	}
	for _, r := range acc.Retired {
		if int(r.From) != p.retired+1 {
			p.fail("retired %v after %d", r, p.retired)
		}
		p.retired = int(r.To) - 1
		p.snd.Unpin(r)
		p.snd.Ack(r.To)
	}
	if err := p.sf.checkBooks(); err != nil {
		p.fail("law 7: %v", err)
	}
}

// flight is a packet on a link.
type flight struct {
	at   mono.Time
	n    int
	to   *peer
	pkt  []byte
	csum wire.Csum
}

type flights []flight

func (f flights) Len() int { return len(f) }
func (f flights) Less(i, j int) bool {
	return f[i].at < f[j].at || f[i].at == f[j].at && f[i].n < f[j].n
}
func (f flights) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *flights) Push(x any)   { *f = append(*f, x.(flight)) }
func (f *flights) Pop() any     { old := *f; x := old[len(old)-1]; *f = old[:len(old)-1]; return x }

// network joins two peers by a link with loss, duplication and reordering.
type network struct {
	rng            *rand.Rand
	now            mono.Time
	queue          flights
	n              int
	delay, jitter  time.Duration
	loss, dup      float64
	gbps           float64 // octets a nanosecond; 0: no limit
	busy           [2]mono.Time
	a, b           *peer
	dropped        int
	cut            *wire.Batch // scratch
	fixed          *Config     // of B, if not drawn
	drop           func(seg *wire.Segment, toB bool) bool
	outageAt, upAt mono.Time                 // nothing gets through between these
	spike          func(mono.Time) mono.Time // holds what leaves now until then
	box            *laneBox                  // of A's host; may be nil
}

func (n *network) carry(to *peer) func(*wire.Batch) {
	return func(b *wire.Batch) {
		cut := n.cut
		for i, p := range b.Pkts {
			if n.box != nil && to == n.b && !n.box.out(n, b.Bytes(i), p) {
				continue
			}
			cut.Reset()
			if n.rng.IntN(4) > 0 {
				if !cut.AppendCut(b.Bytes(i), p) {
					panic("cut")
				}
			} else {
				cut.AppendPacket(b.Bytes(i), p)
			}
			for j := range cut.Pkts {
				n.push(to, cut.Bytes(j), cut.Pkts[j].Csum)
			}
		}
	}
}

func (n *network) push(to *peer, pkt []byte, c wire.Csum) {
	for range 1 + b2i(n.rng.Float64() < n.dup) {
		if n.rng.Float64() < n.loss || n.now >= n.outageAt && n.now < n.upAt {
			n.dropped++
			continue
		}
		if n.drop != nil {
			var seg wire.Segment
			wire.Parse(pkt, &seg, c)
			if n.drop(&seg, to == n.b) {
				n.dropped++
				continue
			}
		}
		at := n.now
		if n.gbps > 0 {
			q := &n.busy[b2i(to == n.b)]
			if q.Sub(n.now) > 60*time.Millisecond {
				n.dropped++ // the queue is full
				continue
			}
			*q = q.Latest(n.now).Add(time.Duration(float64(len(pkt)) / n.gbps))
			at = *q
		}
		if n.spike != nil {
			at = at.Latest(n.spike(n.now))
		}
		at = at.Add(n.delay)
		if n.jitter > 0 {
			at = at.Add(time.Duration(n.rng.Int64N(int64(n.jitter))))
		}
		n.n++
		heap.Push(&n.queue, flight{at, n.n, to, append([]byte(nil), pkt...), c})
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// run runs until both are closed, or for limit of virtual time.
func (n *network) run(limit time.Duration) {
	readAt := n.now
	for steps := 0; n.now < mono.Time(limit); steps++ {
		if n.b.sf != nil {
			n.b.settle(n.now, n.carry(n.a))
		}
		n.a.settle(n.now, n.carry(n.b))
		if n.b.sf != nil && n.a.sf.State() == StateClosed && n.b.sf.State() == StateClosed {
			return
		}
		if n.b.sf == nil && n.a.sf.State() == StateClosed {
			return
		}
		next := min(n.a.sf.PollTimeout(), n.a.wake)
		if n.b.sf != nil {
			next = min(next, n.b.sf.PollTimeout(), n.b.wake)
		}
		if len(n.queue) > 0 {
			next = min(next, n.queue[0].at)
		}
		if n.a.slow || n.b.slow {
			if readAt <= n.now {
				readAt = n.now.Add(300 * time.Millisecond)
			}
			next = min(next, readAt)
		}
		if next == mono.Never {
			n.a.fail("deadlock at %v\nB: %s", n.now, n.b.sf.dump())
		}
		n.now = next
		for len(n.queue) > 0 && n.queue[0].at <= n.now {
			f := heap.Pop(&n.queue).(flight)
			switch {
			case n.box != nil && f.to == n.a && !n.box.in(n, f):
			case f.to.sf == nil:
				n.accept(f)
			case f.to.sf.State() == StateClosed:
				n.refuse(f)
			default:
				f.to.take(n.now, f.pkt, f.csum)
			}
		}
		for _, p := range []*peer{n.a, n.b} {
			if p.sf != nil && p.due(n.now) {
				p.events |= p.sf.HandleTimeout(n.now)
			}
			if p.slow && readAt <= n.now {
				p.read()
			}
		}
	}
	n.a.fail("not finished after %v\nB: %s", limit, n.b.sf.dump())
}

func (n *network) accept(f flight) {
	var syn wire.Segment
	if wire.Parse(f.pkt, &syn, f.csum) != wire.None || !has(&syn, wire.SYN) || has(&syn, wire.ACK) {
		return
	}
	syn.At = n.now
	if n.fixed != nil {
		f.to.sf = Accept(n.now, &syn, *n.fixed)
		return
	}
	f.to.sf = Accept(n.now, &syn, n.config())
	f.to.adopt(n)
}

// refuse answers a segment to a peer that has left TIME-WAIT: the last ACKs
// were lost and lost again. RFC 9293, Section 3.10.7.1.
func (n *network) refuse(f flight) {
	var seg wire.Segment
	wire.Parse(f.pkt, &seg, f.csum)
	if has(&seg, wire.RST) {
		return
	}
	b := wire.NewBatch(100)
	wire.AppendSegment(b, &wire.Segment{Tuple: seg.Tuple, Seq: seg.Ack, Flags: wire.RST}, 0)
	if f.to == n.a {
		n.push(n.b, b.Bytes(0), b.Pkts[0].Csum)
	} else {
		n.push(n.a, b.Bytes(0), b.Pkts[0].Csum)
	}
}

// adopt takes over choices that the configuration made.
func (p *peer) adopt(n *network) {
	if n.rng.IntN(2) == 0 {
		p.batch.MaxTrain = 1 << n.rng.IntN(17)
	}
	p.batch.Offload = n.rng.IntN(2) == 0
	p.slow = n.rng.IntN(5) == 0
}

func (n *network) config() Config {
	c := Config{
		ISS:          seq.Num(n.rng.Uint32()),
		TSOffset:     n.rng.Uint32(),
		WScale:       uint8(n.rng.IntN(9)),
		NoTimestamps: n.rng.IntN(4) == 0,
		NoSACK:       n.rng.IntN(4) == 0,
		TimeWait:     10 * time.Second,
		SynRetries:   20,
	}
	if n.rng.IntN(3) == 0 {
		c.MTU = 576 + n.rng.IntN(9000)
	}
	if n.rng.IntN(2) == 0 {
		c.Controller = cc.NewReno
	}
	return c
}

var (
	addrA = netip.MustParseAddrPort("192.0.2.1:1000")
	addrB = netip.MustParseAddrPort("192.0.2.2:2000")
)

func newNetwork(t *testing.T, seed uint64, ab, ba int) *network {
	n := &network{rng: rand.New(rand.NewPCG(seed, 1)), now: mono.Time(time.Second), cut: wire.NewBatch(256 << 10)}
	n.a = newPeer(t, "A", ab, ba)
	n.b = newPeer(t, "B", ba, ab)
	n.a.sf = Dial(n.now, wire.Tuple{Local: addrA, Remote: addrB}, n.config())
	n.a.adopt(n)
	return n
}

var loopSeeds = flag.Uint64("loop.seeds", 500, "how many seeds TestLoop runs")

// TestLoop joins two subflows by bad links: the streams arrive, both ends
// reach CLOSED, and the laws hold at every step.
func TestLoop(t *testing.T) {
	for seed := range *loopSeeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2))
			n := newNetwork(t, seed, r.IntN(300_000), r.IntN(100_000))
			n.delay = time.Duration(r.IntN(50_000)) * time.Microsecond
			if r.IntN(2) == 0 {
				n.jitter = time.Duration(1 + r.IntN(20_000_000))
			}
			if r.IntN(3) > 0 {
				n.loss = r.Float64() * 0.25
			}
			if r.IntN(3) == 0 {
				n.dup = r.Float64() * 0.2
			}
			if r.IntN(2) == 0 {
				n.gbps = []float64{0.00125, 0.0125, 0.125}[r.IntN(3)]
			}
			n.run(3 * time.Hour)
			for _, p := range []*peer{n.a, n.b} {
				if p.got != p.want {
					p.fail("got %d of %d", p.got, p.want)
				}
				if p.events.Has(ResetByPeer) {
					continue // the other had everything, and left TIME-WAIT
				}
				if p.retired != p.total || !p.events.Has(Established|FinReceived|FinAcked) {
					p.fail("%d of %d acknowledged, events %b", p.retired, p.total, p.events)
				}
			}
		})
	}
}
