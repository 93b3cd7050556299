package mptcp

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"time"

	"github.com/mpnc/mpnc/internal/netio"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/mptcp/engine"
)

// reader is the goroutine that takes what arrives on a device to connections.
// Packets are borrowed from its batch; nothing keeps them.
type reader struct {
	stack *Stack
	dev   *device
	batch *wire.Batch
	seg   wire.Segment
	icmp  wire.ICMPError
	reply wire.Segment // to a SYN that is not kept
	ch    *chores

	share  share
	woke   bool  // somebody who waits for data
	steady Time  // no yield before that
	fed    *Conn // whose reader was woken last
	pinned *Conn // to whose reader's memory the device writes

	// The run of packets to one connection, which is locked meanwhile.
	conn  *Conn
	tuple wire.Tuple
	now   Time
}

func newReader(s *Stack, d *device) *reader {
	r := &reader{stack: s, dev: d, batch: wire.NewBatch(slabSize), share: share{holds: d.Caps().Holds}}
	if p, ok := d.Device.(netio.Placer); ok && s.cfg.Tap == nil {
		p.PlaceInto(r.pin, r.unpin)
	}
	return r
}

func (r *reader) loop() {
	for {
		err := r.dev.Read(r.batch)
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				r.stack.fail(err)
			}
			return
		}
		r.ch = r.stack.chores()
		r.now = r.stack.now() // once for the whole batch
		octets := 0
		for i, p := range r.batch.Pkts {
			octets += int(p.Len) + len(r.batch.Rest(i))
			r.packet(i)
		}
		r.unpin()
		r.endRun()
		r.stack.stats.rx.packets.Add(uint64(len(r.batch.Pkts)))
		r.stack.stats.rx.octets.Add(uint64(octets))
		r.ch.finish()
		poison(r.batch)
		if r.woke {
			r.yield()
		}
	}
}

// Where a yield took longer than longYield, others keep the processors busy, and there
// is none for as long as noYield: what would be gained is little beside what is lost.
const (
	longYield = time.Millisecond
	noYield   = 100 * time.Millisecond
)

// yield gives who waited his turn on this processor before it is asked for more: his
// answer is what comes next, and where much comes he takes it while it is in the caches,
// and offers his memory anew.
func (r *reader) yield() {
	r.woke = false
	before := r.stack.now()
	if before < r.steady {
		return
	}
	runtime.Gosched()
	if after := r.stack.now(); after.Sub(before) > longYield {
		r.steady = after.Add(noYield)
	}
}

func (r *reader) packet(i int) {
	p := r.batch.Pkts[i]
	b, rest := r.batch.Bytes(i), r.batch.Rest(i)
	link := r.dev.base | p.Link
	if tap := r.stack.cfg.Tap; tap != nil {
		tap(link, false, p.At, b)
	}
	r.seg.At, r.seg.Link, r.seg.MTU = p.At, link, 0
	if why := wire.ParseApart(b, rest, &r.seg, p.Csum); why != wire.None {
		r.unusable(b, why)
		return
	}
	if r.seg.TTL < r.stack.cfg.MinTTL {
		r.stack.stats.drop(wire.LowTTL)
		return
	}
	r.segment()
}

// unusable counts a packet without a segment, and takes an ICMP error to the
// connection whose segment it quotes.
func (r *reader) unusable(b []byte, why wire.Drop) {
	s := r.stack
	if why != wire.NotTCP || !wire.ParseICMP(b, &r.icmp) {
		s.stats.drop(why)
		return
	}
	s.stats.icmp.Add(1)
	s.mu.RLock()
	core := s.ep.Lookup(r.icmp.Tuple)
	s.mu.RUnlock()
	if core == nil {
		return
	}
	r.lock(core.Owner.(*Conn))
	core.HandleICMP(r.conn.at(r.now), &r.icmp)
}

// segment takes a segment to its connection. A run of segments to one
// connection takes its lock once.
func (r *reader) segment() {
	if r.conn == nil || r.tuple != r.seg.Tuple {
		c := r.find()
		if c == nil {
			return
		}
		r.begin(c)
	}
	if r.conn.core.HandleSegment(r.conn.at(r.now), &r.seg) {
		r.reopen()
	}
}

// reopen takes the segment, for which a connection in TIME-WAIT has made way, to
// a listener.
func (r *reader) reopen() {
	if c := r.unknown(); c != nil {
		r.begin(c)
		c.core.HandleSegment(c.at(r.now), &r.seg)
	}
}

// find returns the connection of the segment, nil if it is none's.
func (r *reader) find() *Conn {
	s := r.stack
	s.mu.RLock()
	core := s.ep.Lookup(r.seg.Tuple)
	s.mu.RUnlock()
	if core != nil {
		return core.Owner.(*Conn)
	}
	return r.unknown()
}

// begin starts a run, or goes on with that of another subflow of the same
// connection.
func (r *reader) begin(c *Conn) {
	r.lock(c)
	r.tuple = r.seg.Tuple
}

// lock takes the lock of a connection, unless the run holds it already. Which
// subflow's run it is, if any, is left open.
func (r *reader) lock(c *Conn) {
	if c != r.conn {
		r.endRun()
		c.mu.Lock()
		r.conn = c
	}
	r.tuple = Tuple{}
}

// endRun ends the run of packets to one connection.
func (r *reader) endRun() {
	if c := r.conn; c != nil {
		r.shareOut(c)
		if c.rwaits > 0 && !c.lent {
			c.core.DeferAcks(c.at(r.now))
			r.woke, r.fed = true, c
		}
		c.poll(r.now, nil, r.ch)
		c.mu.Unlock()
		r.conn = nil
	}
}

// unknown asks the endpoint about a segment that no connection had claimed. A
// connection may be about to claim it, so the run ends first.
func (r *reader) unknown() *Conn {
	r.endRun()
	s := r.stack
	if n, ok := s.mtus.Load(r.seg.Link); ok {
		r.seg.MTU = n.(int)
	} else if r.seg.Flags.Has(wire.SYN) {
		r.seg.MTU = s.mtu(r.dev, &r.seg)
	}
	c, verdict := r.decide()
	switch verdict {
	case engine.Ignore:
		s.stats.ignored.Add(1)
	case engine.Stray:
		r.stray()
	case engine.Answer:
		s.stats.cookies.Add(1)
		r.post(func(b *wire.Batch) { wire.AppendSegment(b, &r.reply, 0) })
	}
	return c
}

// post sends one small packet back to where the segment came from.
func (r *reader) post(packet func(*wire.Batch)) {
	if p := r.stack.port(r.seg.Link); p.post(packet) {
		r.ch.ports = append(r.ch.ports, p)
	}
}

func (r *reader) decide() (*Conn, engine.Verdict) {
	s := r.stack
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.only6(r.seg.Tuple) {
		return nil, engine.Stray
	}
	core, verdict := s.ep.HandleSegment(r.now, &r.seg)
	if verdict == engine.Answer {
		r.reply = s.ep.Answer(r.now, &r.seg)
	}
	if verdict != engine.Deliver {
		return nil, verdict
	}
	if core.Owner == nil {
		c := s.newConn(core)
		c.listener = s.listenerFor(r.seg.Local)
		c.cover(r.seg.Tuple)
		s.conns[c] = struct{}{}
	}
	return core.Owner.(*Conn), verdict
}

// only6 reports whether a segment of IPv4 is for a listener that is of IPv6
// only. Stack.mu is held.
func (s *Stack) only6(t wire.Tuple) bool {
	if t.Is6() {
		return false
	}
	l := s.listeners[netip.AddrPortFrom(netip.IPv6Unspecified(), t.Local.Port())]
	return l != nil && l.only6
}

// stray answers a segment for a pair that we hold but no connection: with a
// RST, unless the host's own TCP will answer it. The rate is limited, of
// asking too.
func (r *reader) stray() {
	s := r.stack
	s.stats.strays.Add(1)
	if r.seg.Flags.Has(wire.RST) || !s.strays.allow(r.now) {
		return
	}
	if r.dev.Foreign(r.seg.Tuple) {
		s.stats.foreign.Add(1)
		return
	}
	r.post(func(b *wire.Batch) { engine.AppendReset(b, &r.seg) })
}
