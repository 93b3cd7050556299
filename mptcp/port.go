package mptcp

import (
	"sync"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/netio"
	"github.com/mpnc/mpnc/internal/wire"
)

const (
	// slabSize bounds the queue of a port, and so the packets that stand
	// before a write: four trains of the largest size.
	slabSize = 256 << 10
	// turnSize is how much of a queue one source may fill when others wait
	// in line: three trains of the largest size with their headers. What a
	// connection does at once it does with its state in the processor's caches.
	turnSize = 198 << 10
	// postSize is the room that a small packet is sure to find enough.
	postSize = 512
)

// A source has packets for ports. It is a connection, or whoever answers
// strays.
type source interface {
	// pull appends packets for link to b as far as it has room, and returns
	// how many. It is called by port.send, under the source's own lock.
	pull(now mono.Time, link int, b *wire.Batch) int
	// turn is called without locks when a source in line may send by p: it
	// calls p.send(…, true), under its own lock, if it still wants to.
	turn(p *port, ch *chores)
}

// A port is the way out of one link of one device: a queue that combines what
// several sources send. A source appends under the port's lock; whoever finds
// the port idle becomes its drainer and writes for everybody, so that load
// makes its own batches and the writes to one link are never concurrent.
//
// The queue is bounded. A source whose packets did not fit stands in line and
// gets its turn after the next write; while there is a line, new sources join
// its end. That is the fair queue between connections.
type port struct {
	dev  netio.Device
	caps netio.Caps
	own  int // the link's number in its device
	link int // its number in the stack
	tap  func(link int, out bool, at mono.Time, pkt []byte)
	now  func() mono.Time
	tx   *counters

	ttl, class uint8 // of what is sent; 0: the defaults

	mu       sync.Mutex // leaf
	idle     sync.Cond  // with mu: draining has ended
	queue    *wire.Batch
	line     []source    // in order of arrival; empty unless draining
	draining bool        // somebody has the duty to call round until it returns false
	leaving  []*farewell // behind what is queued; empty unless draining

	// The drainer's.
	spare  *wire.Batch
	rounds int // writes since it took the duty
}

func newPort(d *device, link int, s *Stack) *port {
	p := &port{
		dev: d.Device, caps: d.Caps(),
		own: link - d.base, link: link,
		tap: s.cfg.Tap, now: s.now, tx: &s.stats.tx,
		ttl: s.cfg.TTL, class: s.cfg.TrafficClass,
	}
	p.idle.L = &p.mu
	return p
}

// sent is what came of port.send.
type sent struct {
	n     int  // packets appended
	drain bool // the caller has become the drainer
	line  bool // the source stands in line now
}

// send lets src append its packets; src's own lock is held. The caller has to
// drain the port, once it holds no lock, if the result says so. turn is true
// if p gave the source its turn.
func (p *port) send(now mono.Time, src source, turn bool) sent {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.line) > 0 && !turn {
		p.line = append(p.line, src)
		return sent{line: true}
	}
	q := p.room()
	if turn && len(p.line) > 0 {
		q.Limit = q.Octets() + turnSize
	}
	n := src.pull(now, p.link, q)
	if n == 0 {
		// No room, unless the queue is empty: then the source was wrong to
		// think that it had something, and standing in line would not help.
		if len(q.Pkts) == 0 {
			return sent{}
		}
		p.line = append(p.line, src)
		return sent{line: true}
	}
	return sent{n: n, drain: p.duty()}
}

// post appends one small packet, of which nothing depends that it leaves: if
// there is no room it is lost. The result says whether the caller has to
// drain.
func (p *port) post(packet func(*wire.Batch)) (drain bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.room()
	before := len(q.Pkts)
	if q.Room() >= postSize {
		packet(q)
	}
	return len(q.Pkts) > before && p.duty()
}

// duty gives the duty to drain to the caller, unless somebody has it.
func (p *port) duty() bool {
	idle := !p.draining
	if idle {
		p.draining, p.rounds = true, 0
	}
	return idle
}

// room returns the queue, all of it open.
func (p *port) room() *wire.Batch {
	if p.queue == nil {
		p.queue, p.spare = p.batch(), p.batch()
	}
	p.queue.Limit = 0
	return p.queue
}

func (p *port) batch() *wire.Batch {
	b := wire.NewBatch(slabSize)
	b.MaxTrain, b.Offload, b.Lane = p.caps.MaxTrain, p.caps.Checksum, p.caps.Lane
	b.Lend = p.caps.Gather && p.tap == nil
	b.TTL, b.Class = p.ttl, p.class
	return b
}

// round writes what is queued and gives the sources in line their turns. Only
// the drainer calls it, without locks, until it returns false: then the port
// is idle and the duty has ended.
func (p *port) round(ch *chores) bool {
	p.mu.Lock()
	leaving := p.leaving
	p.leaving = nil
	if len(p.queue.Pkts) == 0 && len(p.line) == 0 {
		p.draining = false
		p.idle.Broadcast()
		p.mu.Unlock()
		p.bid(leaving, ch)
		return false
	}
	out := p.queue
	p.queue, p.spare = p.spare, nil
	p.mu.Unlock()

	p.write(out)
	out.Reset()
	p.spare = out
	p.rounds++
	p.bid(leaving, ch)
	for src := p.next(); src != nil; src = p.next() {
		src.turn(p, ch)
	}
	return true
}

// behind has f wait for what is queued now, or being written.
func (p *port) behind(f *farewell) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.draining {
		f.busy.Add(1)
		p.leaving = append(p.leaving, f)
	}
}

func (p *port) bid(leaving []*farewell, ch *chores) {
	for _, f := range leaving {
		f.written(ch.stack)
	}
}

// next takes the first source out of the line if the queue has room for its
// turn.
func (p *port) next() source {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue.Limit = 0
	if len(p.line) == 0 || p.queue.Room() < turnSize {
		return nil
	}
	src := p.line[0]
	n := copy(p.line, p.line[1:])
	p.line[n] = nil
	p.line = p.line[:n]
	return src
}

func (p *port) write(b *wire.Batch) {
	if len(b.Pkts) == 0 {
		return
	}
	p.tx.packets.Add(uint64(len(b.Pkts)))
	p.tx.octets.Add(uint64(b.Octets()))
	if p.tap != nil {
		at := p.now()
		for i := range b.Pkts {
			p.tap(p.link, true, at, b.Bytes(i))
		}
	}
	if err := p.dev.Write(p.own, b); err != nil {
		p.tx.errors.Add(1)
	}
}

// await returns when the port is idle, so that all that was queued has been
// written. The caller must not be its drainer.
func (p *port) await() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.draining {
		p.idle.Wait()
	}
}

// trim gives the memory of an idle port back.
func (p *port) trim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.draining {
		p.queue, p.spare = nil, nil
	}
}
