package netio

import (
	"net"
	"net/netip"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
)

// Read implements Device.
func (p *PipeEnd) Read(b *wire.Batch) error {
	b.Reset()
	for {
		next, err := p.take(b)
		if err != nil {
			return err
		}
		p.refuse()
		if len(b.Pkts) > 0 {
			p.part(b)
			return nil
		}
		var alarm <-chan time.Time
		if !next.IsZero() {
			alarm = p.alarm(time.Until(next))
		}
		select {
		case <-p.wake:
		case <-alarm:
		case <-p.done:
		}
	}
}

// PlaceInto implements Placer.
func (p *PipeEnd) PlaceInto(into func() []byte, unused func()) { p.into, p.unused = into, unused }

// part puts payload where somebody waits for it, each packet's into a place as large as
// the largest.
func (p *PipeEnd) part(b *wire.Batch) {
	if p.into == nil {
		return
	}
	into := p.into()
	n, size := 0, 0
	for i := range b.Pkts {
		v, _ := viewOf(b.Bytes(i))
		size = max(size, v.payload)
	}
	for i := range b.Pkts {
		pkt := b.Bytes(i)
		if v, ok := viewOf(pkt); ok && v.payload > 0 && len(into) >= size {
			head := len(pkt) - v.payload
			b.Part(i, head, into[:copy(into, pkt[head:])])
			into = into[size:]
			n++
		}
	}
	if n == 0 {
		p.unused()
	}
}

// alarm is a timer of the one reader.
func (p *PipeEnd) alarm(d time.Duration) <-chan time.Time {
	if p.timer == nil {
		p.timer = time.NewTimer(d)
	} else {
		p.timer.Reset(d)
	}
	return p.timer.C
}

// take moves what has arrived to b, in order of arrival, and returns when the
// next packet arrives if nothing has (the zero time: nothing is on its way).
func (p *PipeEnd) take(b *wire.Batch) (next time.Time, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return next, net.ErrClosed
	}
	now, at := time.Now(), p.cfg.Now()
	for {
		l := p.earliest()
		if l == nil {
			return next, nil
		}
		f := l.first()
		if f.due.After(now) {
			return f.due, nil
		}
		f.pkt.At = at
		if !p.accept(f, b) {
			return next, nil // it waits for the next batch
		}
		l.pop()
	}
}

// accept hands a packet on, or has it refused. It returns false if the batch
// has no room. The lock is held.
func (p *PipeEnd) accept(f *flight, b *wire.Batch) bool {
	v, _ := viewOf(f.data)
	switch ours := v.ours(); {
	case !p.owns(ours.Addr()): // it went meanwhile
	case !p.held(ours):
		p.stats.Refused++
		p.strays = append(p.strays, stray{append([]byte(nil), f.data...), f.pkt})
	case b.AppendPacket(f.data, f.pkt):
		p.stats.Rx++
	case len(b.Pkts) > 0:
		return false
	default: // larger than the reader's whole slab
	}
	return true
}

// stray is a segment for a pair that nobody holds.
type stray struct {
	data []byte
	pkt  wire.Packet
}

// refuse answers segments that nobody holds the pair of, as a host's kernel
// does. Only the reader calls it.
func (p *PipeEnd) refuse() {
	if len(p.strays) == 0 {
		return
	}
	out := wire.NewBatch(len(p.strays) * (ipv6Len + tcpLen))
	for _, s := range p.strays {
		var seg wire.Segment
		if wire.Parse(s.data, &seg, s.pkt.Csum) != wire.None || seg.Flags.Has(wire.RST) {
			continue
		}
		rst := resetFor(&seg)
		out.Reset()
		if wire.AppendSegment(out, &rst, 0) {
			_ = p.Write(s.pkt.Link, out) // closed meanwhile: then nobody waits for an answer
		}
	}
	p.strays = p.strays[:0]
}

// resetFor is the answer of a closed port (RFC 9293, Section 3.5.2, group 1).
func resetFor(s *wire.Segment) wire.Segment {
	rst := wire.Segment{Tuple: s.Tuple, Flags: wire.RST}
	if s.Flags.Has(wire.ACK) {
		rst.Seq = s.Ack
	} else {
		rst.Flags |= wire.ACK
		rst.Ack = s.Seq.Add(s.Len())
	}
	return rst
}

// earliest returns the lane whose packet arrives first, the lower link if two
// are even; nil if nothing is on its way.
func (p *PipeEnd) earliest() (first *lane) {
	for i := range p.in {
		f := p.in[i].first()
		if f != nil && (first == nil || f.due.Before(first.first().due)) {
			first = &p.in[i]
		}
	}
	return first
}

// Write implements Device.
func (p *PipeEnd) Write(link int, b *wire.Batch) error {
	select {
	case <-p.done:
		return net.ErrClosed
	default:
	}
	lost := uint64(0)
	for i := range b.Pkts {
		if !p.send(link, b.Bytes(i), b.Pkts[i]) {
			lost++
		}
	}
	p.mu.Lock()
	p.stats.Tx += uint64(len(b.Pkts))
	p.stats.Dropped += lost
	p.mu.Unlock()
	p.peer.arouse()
	return nil
}

// send puts one packet on its way, and returns false if the pipe, the link or
// the filter loses it.
func (p *PipeEnd) send(link int, data []byte, pkt wire.Packet) bool {
	v, ok := viewOf(data)
	if !ok || !p.fits(&v, data, pkt) {
		return false
	}
	if pkt.Link, ok = p.leaves(&v, link); !ok {
		return false
	}
	if p.cfg.Filter != nil && p.cfg.Filter(pkt.Link, p.dir, data) {
		return false
	}
	return p.peer.push(data, pkt)
}

// fits reports whether a packet, or each of a train, is within the MTU.
func (p *PipeEnd) fits(v *view, data []byte, pkt wire.Packet) bool {
	if pkt.Seg == 0 {
		return len(data) <= p.cfg.MTU
	}
	return v.payload <= p.cfg.MaxTrain && len(data)-v.payload+int(pkt.Seg) <= p.cfg.MTU
}

// leaves returns the link by which a packet leaves: the one asked for, or if
// that is 0 the one that leads to the destination. As a host's kernel does, it
// refuses a source address that is not, or no more, this end's.
func (p *PipeEnd) leaves(v *view, link int) (int, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.owns(v.src) {
		return 0, false
	}
	r, ok := p.route(v.dst, netip.Addr{}, link)
	return r.Link, ok
}

// push takes a packet from the other end. What the queue cannot hold, or finds
// nobody of that address, is lost.
func (p *PipeEnd) push(data []byte, pkt wire.Packet) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := &p.in[pkt.Link-1]
	if p.closed || !p.up[pkt.Link-1] || l.len() >= p.cfg.Queue {
		return false
	}
	l.push(data, pkt, time.Now())
	return true
}

// arouse wakes the reader.
func (p *PipeEnd) arouse() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}
