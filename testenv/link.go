package testenv

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
)

// LinkConfig describes one direction of a path. The zero value is a wire that
// delivers everything at once.
type LinkConfig struct {
	Rate   float64       // bits a second; 0: infinite
	Delay  time.Duration // propagation, after the last bit has left the queue
	Jitter time.Duration // added to Delay, uniform in [0, Jitter); never reorders

	// Queue is how many octets may wait for the wire, the packet being sent
	// included. If zero, one bandwidth-delay product of a round trip (twice
	// Delay), at least 32 packets of 1514 octets. Unused if Rate is 0.
	Queue int

	// Mark is the queue, in octets, beyond which packets that can bear a mark of
	// congestion (RFC 3168) get one: what an active queue management does instead
	// of dropping early. If zero, none does. Unused if Rate is 0.
	Mark int

	// MTU is the largest packet taken; larger ones are dropped and counted,
	// as cutting them is the sender's business. 0: no limit.
	MTU int
	// Header is how many octets of each packet come before the IP header (14
	// on Ethernet). They count for Rate and Queue, not for MTU, and Filter and
	// Middlebox do not see them.
	Header int
	// Overhead is added to each packet's length for Rate and Queue: the
	// framing that the caller does not carry.
	Overhead int

	Loss      float64         // probability that a packet is lost after it took its time on the wire
	Burst     *GilbertElliott // if not nil, losses in bursts, beside Loss
	DataLoss  *DataLoss       // if not nil, losses decided by the number of the data packet, beside Loss
	Duplicate float64         // probability that a packet arrives twice
	Reorder   float64         // probability that a packet is held back, so that later ones overtake it
	// ReorderBy is for how long. If zero, a quarter of Delay and 1 ms.
	ReorderBy time.Duration

	// Filter, if not nil, decides what the network drops. It must not change
	// or keep the packet.
	Filter func(pkt []byte) (drop bool)
	// Middlebox, if not nil, rewrites what enters the link. It may change the
	// packet in place, return another one, or nil to drop it.
	Middlebox func(pkt []byte) []byte

	// Seed starts the link's own generator: equal seeds and equal pushes give
	// equal results, however often Next and Pop are called between.
	Seed uint64
}

// GilbertElliott is a loss model with two states, stepped once a packet.
type GilbertElliott struct {
	ToBad, ToGood float64 // probabilities of changing state; mean burst 1/ToGood packets
	LossBad       float64 // probability of loss in the bad state; 0 means 1
	LossGood      float64 // in the good state
}

// LinkStats counts packets. Pushed is the sum of Delivered, every kind of
// drop and what is under way, less Duplicated. Behind a Box it is what leaves the
// box, and what the box keeps for itself.
type LinkStats struct {
	Pushed, Delivered         uint64
	PushedOctets              uint64
	DeliveredOctets           uint64
	Duplicated, Reordered     uint64
	Marked                    uint64 // of those pushed: LinkConfig.Mark
	DropQueue, DropLoss       uint64 // no room; Loss, Burst or DataLoss
	DropFilter, DropMiddlebox uint64
	DropSilent, DropTooBig    uint64
	DropFlushed               uint64 // were under way at Flush or SetSilent
}

// Dropped is the sum of all drops.
func (s LinkStats) Dropped() uint64 {
	return s.DropQueue + s.DropLoss + s.DropFilter + s.DropMiddlebox +
		s.DropSilent + s.DropTooBig + s.DropFlushed
}

// minQueue is the least default queue: 32 full Ethernet frames.
const minQueue = 32 * 1514

// Link is one direction of an emulated path: a value without a clock, for the
// simulator as for the live emulator. One goroutine at a time may use it, and
// the times it is called with must not decrease.
type Link struct {
	cfg    LinkConfig
	rng    rand.PCG
	silent bool
	bad    bool   // state of Burst
	data   uint64 // packets that DataLoss has numbered

	box     boxPort   // Interpose
	entered mono.Time // when the last packet came
	free    mono.Time // when the wire is free: all that was pushed has left the queue
	lastDue mono.Time // of the packets that keep their order
	seq     uint64

	heap  []flight // by (due, seq)
	spare [][]byte
	stats LinkStats
}

// flight is a packet under way.
type flight struct {
	due  mono.Time // arrives
	sent mono.Time // its last bit leaves the queue
	seq  uint64
	// What the dice said when it was pushed.
	jitter  float64       // share of Jitter
	held    time.Duration // not 0: held back, later ones may overtake it
	payload []byte
}

func (f *flight) before(g *flight) bool {
	if f.due != g.due {
		return f.due < g.due
	}
	return f.seq < g.seq
}

// NewLink returns an empty link.
func NewLink(c LinkConfig) *Link {
	l := &Link{cfg: c}
	l.rng.Seed(c.Seed, 0x9e3779b97f4a7c15)
	return l
}

// Config returns the parameters in force.
func (l *Link) Config() LinkConfig { return l.cfg }

// Stats returns the counters.
func (l *Link) Stats() LinkStats { return l.stats }

// Len returns how many packets are under way, queued or in flight.
func (l *Link) Len() int { return len(l.heap) }

// Backlog returns how many octets wait for the wire at now.
func (l *Link) Backlog(now mono.Time) int {
	if l.free <= now || l.cfg.Rate <= 0 {
		return 0
	}
	return int(math.Round(float64(l.free-now) * l.cfg.Rate / 8e9))
}

// QueueLimit returns the octets that may wait, with Queue's default resolved.
func (l *Link) QueueLimit() int {
	if l.cfg.Queue > 0 {
		return l.cfg.Queue
	}
	return max(minQueue, int(2*l.cfg.Delay.Seconds()*l.cfg.Rate/8))
}

// dice are the random numbers of one packet. All are drawn for every packet,
// so that changing one probability does not shift the others' outcomes.
type dice struct{ loss, burst, burstLoss, duplicate, reorder, jitter float64 }

func (l *Link) roll() dice {
	return dice{l.float(), l.float(), l.float(), l.float(), l.float(), l.float()}
}

func (l *Link) float() float64 { return float64(l.rng.Uint64()>>11) / (1 << 53) }

// Push puts a copy of pkt on the link. It returns false if the packet will
// not arrive; Stats says why.
func (l *Link) Push(now mono.Time, pkt []byte) bool {
	if l.box.box != nil && !l.silent && len(pkt) > l.cfg.Header {
		return l.throughBox(now, pkt)
	}
	return l.enterPath(now, pkt)
}

// enterPath is Push behind the box.
func (l *Link) enterPath(now mono.Time, pkt []byte) bool {
	l.entered = now
	l.stats.Pushed++
	l.stats.PushedOctets += uint64(len(pkt))
	if l.silent {
		l.stats.DropSilent++
		return false
	}
	d := l.roll()
	if l.cfg.Filter != nil && l.cfg.Filter(pkt[min(l.cfg.Header, len(pkt)):]) {
		l.stats.DropFilter++
		return false
	}
	p := l.rewrite(append(l.buffer(), pkt...))
	if p == nil {
		return false
	}
	lost := l.loseData(p[min(l.cfg.Header, len(p)):]) // which numbers what the queue will drop, too
	if !l.transmit(now, len(p)) || l.lose(d, lost) {
		l.release(p)
		return false
	}
	if l.cfg.Mark > 0 && l.Backlog(now) > l.cfg.Mark && mark(p[min(l.cfg.Header, len(p)):]) {
		l.stats.Marked++
	}
	f := flight{sent: l.free, jitter: d.jitter, payload: p}
	if d.reorder < l.cfg.Reorder {
		f.held = l.holdBack()
		l.stats.Reordered++
	}
	l.enter(f)
	if d.duplicate < l.cfg.Duplicate {
		f.payload = append(l.buffer(), p...)
		l.enter(f)
		l.stats.Duplicated++
	}
	return true
}

// rewrite runs the middlebox and checks the size of what comes out; nil if
// nothing is left to send.
func (l *Link) rewrite(p []byte) []byte {
	if m := l.cfg.Middlebox; m != nil && len(p) > l.cfg.Header {
		out := m(p[l.cfg.Header:])
		if out == nil {
			l.stats.DropMiddlebox++
			l.release(p)
			return nil
		}
		p = append(p[:l.cfg.Header], out...)
	}
	if l.cfg.MTU > 0 && len(p)-l.cfg.Header > l.cfg.MTU {
		l.stats.DropTooBig++
		l.release(p)
		return nil
	}
	return p
}

// transmit takes the wire for a packet of n octets, if the queue has room.
func (l *Link) transmit(now mono.Time, n int) bool {
	n += l.cfg.Overhead
	if l.cfg.Rate <= 0 {
		l.free = now
		return true
	}
	if l.Backlog(now)+n > l.QueueLimit() {
		l.stats.DropQueue++
		return false
	}
	onWire := time.Duration(math.Round(float64(n) * 8e9 / l.cfg.Rate))
	l.free = l.free.Latest(now).Add(onWire)
	return true
}

// mark sets the mark of congestion in an IP packet, if it may have one, and
// reports whether it has it now.
func mark(p []byte) bool {
	const ce = 3
	switch {
	case len(p) >= 20 && p[0]>>4 == 4 && p[1]&ce != 0:
		sum := uint32(^binary.BigEndian.Uint16(p[10:])) + uint32(^binary.BigEndian.Uint16(p))
		p[1] |= ce
		sum += uint32(binary.BigEndian.Uint16(p)) // RFC 1624
		for sum > 0xffff {
			sum = sum>>16 + sum&0xffff
		}
		binary.BigEndian.PutUint16(p[10:], ^uint16(sum))
	case len(p) >= 40 && p[0]>>4 == 6 && p[1]>>4&ce != 0:
		p[1] |= ce << 4
	default:
		return false
	}
	return true
}

// lose decides whether the wire loses the packet, as the caller may know already.
func (l *Link) lose(d dice, lost bool) bool {
	lost = lost || d.loss < l.cfg.Loss
	if g := l.cfg.Burst; g != nil {
		lost = l.burstLoses(g, d) || lost
	}
	if lost {
		l.stats.DropLoss++
	}
	return lost
}

func (l *Link) burstLoses(g *GilbertElliott, d dice) bool {
	if l.bad {
		l.bad = d.burst >= g.ToGood
	} else {
		l.bad = d.burst < g.ToBad
	}
	if !l.bad {
		return d.burstLoss < g.LossGood
	}
	return g.LossBad == 0 || d.burstLoss < g.LossBad
}

func (l *Link) holdBack() time.Duration {
	if l.cfg.ReorderBy > 0 {
		return l.cfg.ReorderBy
	}
	return l.cfg.Delay/4 + time.Millisecond
}

// enter times a packet and puts it in flight.
func (l *Link) enter(f flight) {
	f.seq = l.seq
	l.seq++
	l.time(&f)
	l.heap = append(l.heap, f)
	l.up(len(l.heap) - 1)
}

// time computes when f arrives. Jitter and a Delay that shrank keep the order;
// only a packet held back is overtaken.
func (l *Link) time(f *flight) {
	f.due = f.sent.Add(l.cfg.Delay + time.Duration(f.jitter*float64(l.cfg.Jitter)))
	if f.held > 0 {
		f.due = f.due.Latest(l.lastDue).Add(f.held)
		return
	}
	f.due = f.due.Latest(l.lastDue)
	l.lastDue = f.due
}

// Next returns when the next packet arrives, mono.Never if none is under way.
func (l *Link) Next() mono.Time {
	if len(l.heap) == 0 {
		return mono.Never
	}
	return l.heap[0].due
}

// Pop appends the next packet that has arrived by now to dst. It returns
// false, and dst as it was, if there is none.
func (l *Link) Pop(now mono.Time, dst []byte) ([]byte, bool) {
	if len(l.heap) == 0 || l.heap[0].due > now {
		return dst, false
	}
	p := l.heap[0].payload
	last := len(l.heap) - 1
	l.heap[0] = l.heap[last]
	l.heap[last] = flight{}
	l.heap = l.heap[:last]
	l.down(0)
	l.stats.Delivered++
	l.stats.DeliveredOctets += uint64(len(p))
	dst = append(dst, p...)
	l.release(p)
	return dst, true
}

// Set changes parameters at now. What is still queued leaves at the new Rate
// and takes the new Delay and Jitter; what has left the queue arrives as it
// would have. A smaller Queue drops nothing that waits already. Seed has no
// effect any more. Another DataLoss counts from the start.
func (l *Link) Set(now mono.Time, change func(*LinkConfig)) {
	old, numbered := l.cfg.Rate, l.cfg.DataLoss
	change(&l.cfg)
	if l.cfg.DataLoss != numbered {
		l.data = 0
	}
	// The wire is busy without a gap from now until l.free, so a new rate
	// stretches all the waiting packets' times alike.
	scale := 0.0
	if l.cfg.Rate > 0 {
		scale = old / l.cfg.Rate
	}
	stretch := func(t mono.Time) mono.Time {
		if t <= now {
			return t
		}
		return now.Add(time.Duration(math.Round(float64(t-now) * scale)))
	}
	l.free = stretch(l.free)
	slices.SortFunc(l.heap, func(a, b flight) int { return cmp.Compare(a.seq, b.seq) })
	l.lastDue = 0
	for i := range l.heap {
		f := &l.heap[i]
		if f.sent > now {
			f.sent = stretch(f.sent)
			l.time(f)
		} else if f.held == 0 {
			l.lastDue = l.lastDue.Latest(f.due)
		}
	}
	for i := len(l.heap)/2 - 1; i >= 0; i-- {
		l.down(i)
	}
}

// SetSilent makes the link swallow everything, what is under way included, as
// a radio does that lost its network without noticing; or ends that.
func (l *Link) SetSilent(silent bool) {
	l.silent = silent
	if silent {
		l.Flush()
	}
}

// Silent reports whether the link swallows everything.
func (l *Link) Silent() bool { return l.silent }

// Flush drops all that is under way.
func (l *Link) Flush() {
	l.stats.DropFlushed += uint64(len(l.heap))
	for i := range l.heap {
		l.release(l.heap[i].payload)
		l.heap[i] = flight{}
	}
	l.heap = l.heap[:0]
	l.free, l.lastDue = 0, 0
}

// buffer returns an empty buffer that release got back.
func (l *Link) buffer() []byte {
	if n := len(l.spare); n > 0 {
		b := l.spare[n-1]
		l.spare = l.spare[:n-1]
		return b[:0]
	}
	return make([]byte, 0, 2048)
}

func (l *Link) release(b []byte) { l.spare = append(l.spare, b) }

func (l *Link) up(i int) {
	h := l.heap
	for i > 0 {
		parent := (i - 1) / 2
		if !h[i].before(&h[parent]) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

func (l *Link) down(i int) {
	h := l.heap
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].before(&h[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
