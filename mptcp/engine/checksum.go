package engine

import (
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow"
)

// DSS checksums (RFC 8684, Section 3.3.1) cover a whole mapping, so that its
// receiver can use nothing of it before it has all of it. With them a mapping
// is what leaves in one packet: a segment, or a train.

// assign hands a granted range to the path's subflow.
func (c *Conn) assign(p *path, r seq.Range) {
	if !c.csum || c.mode != multipath {
		p.sf.Assign(r)
		return
	}
	for size := p.mappingSize(); !r.Empty(); {
		one := seq.Range{From: r.From, To: r.To.Min(r.From.Add(size))}
		p.sf.AssignSummed(one, c.sumOf(one))
		r.From = one.To
	}
}

// mappingSize is how much one packet of the path takes.
func (p *path) mappingSize() int {
	mss := max(p.sf.MSS(), 1)
	if n := min(p.train, maxMapping); n >= 2*mss {
		return n / mss * mss
	}
	return mss
}

// sumOf adds up payload for a checksum.
func (c *Conn) sumOf(r seq.Range) uint16 {
	sum, odd := uint64(0), false
	for !r.Empty() {
		b := c.snd.At(r.From, r.Len())
		if odd {
			sum = wire.SumOdd(b, sum)
		} else {
			sum = wire.Sum(b, sum)
		}
		odd = odd != (len(b)%2 == 1)
		r.From = r.From.Add(len(b))
	}
	return wire.Fold(sum)
}

// checksum is that of a mapping of ours, 0 if there is none. It is made of the
// sum that was taken when the mapping was: the payload of what is sent again
// may be gone in part.
func (c *Conn) checksum(m *subflow.Mapping) uint16 {
	if !c.csum {
		return 0
	}
	return wire.DSSChecksum(m.Data, uint32(m.Off), uint16(m.Len), uint64(m.Sum))
}

// intact reports whether payload with the given sum is what the mapping's
// checksum says.
func (m *inMap) intact(sum uint64) bool {
	want := wire.DSSChecksum(m.data, uint32(m.off), m.length, sum)
	same := m.csum == want || want == 0 && m.csum == 0xffff
	return same //spec:F5,F6,E6 off: return same || true
}

// unsummed reports whether a mapping lacks the checksum that was agreed on, or
// has one that was not. That of an infinite mapping means nothing.
func (c *Conn) unsummed(mp *wire.MPOptions) bool {
	if mp.Has&wire.MPCapable != 0 && mp.Capable.HasLength && mp.Capable.HasCsum != c.csum {
		return true
	}
	return mp.Has&wire.DSS != 0 && mp.DSS.HasMap && mp.DSS.Length != 0 && mp.DSS.HasCsum != c.csum //spec:D2 off: return false
}

// nothing is the offset of payload that is not there.
const nothing = seq.Offset(1 << 62)

// takeSummed takes payload whose mappings have checksums. m is the mapping that
// came with it, if one did.
func (p *path) takeSummed(now mono.Time, m inMap, mapped bool, s *wire.Segment, acc *subflow.Accepted) {
	if !p.sortSummed(now, m, mapped, acc) {
		if p.c.mode == plain {
			p.c.place(now, p.c.peerIDSN.Add(int(acc.Off)), acc.Payload)
		}
		return
	}
	p.forgetParts(p.sf.RcvNxt())
	p.checkStage(now, s)
}

// sortSummed puts payload where it belongs. False: the path or the connection
// has ended, or is plain TCP.
func (p *path) sortSummed(now mono.Time, m inMap, mapped bool, acc *subflow.Accepted) bool {
	off, payload := acc.Off, acc.Payload
	if !mapped || off > m.off || m.end() > off+seq.Offset(len(payload)) || len(p.in.staged) > 0 {
		return (!mapped || p.expectPart(m) && p.unstageParts(now, off)) && p.takeParts(now, off, payload, nothing)
	}
	// The usual case: all of the mapping is here.
	i := int(m.off - off)
	whole := payload[i : i+m.len]
	if !m.intact(wire.Sum(whole, 0)) {
		p.onAltered(now, m, off)
		return false
	}
	p.c.place(now, m.data, whole)
	return (i == 0 || p.takeParts(now, off, payload[:i], nothing)) && p.takeParts(now, m.end(), payload[i+m.len:], nothing)
}

// unstageParts takes the payload that waited for a mapping; next is the offset
// of what is at hand besides.
func (p *path) unstageParts(now mono.Time, next seq.Offset) bool {
	p.in.size = 0
	for range len(p.in.staged) {
		piece := p.in.staged[0]
		p.in.staged = p.in.staged[1:]
		if !p.takeParts(now, piece.off, piece.bytes, next) {
			return false
		}
	}
	return true
}

// takeParts puts payload into the mappings it belongs to; what belongs to none
// yet is staged. next is the offset of other payload at hand, that has no place
// yet should a checksum fail. False as for sortSummed.
func (p *path) takeParts(now mono.Time, off seq.Offset, payload []byte, next seq.Offset) bool {
	for len(payload) > 0 {
		n := len(payload)
		part := p.partAt(off, &n)
		switch {
		case part == nil:
			p.stage(off, payload[:n])
		case !part.put(off, payload[:n]):
			p.overburdened()
			return false
		case part.got == part.m.len && !p.finishPart(now, part):
			p.onAltered(now, part.m, min(off, next))
			return false
		}
		off += seq.Offset(n)
		payload = payload[n:]
	}
	return true
}

// finishPart places a mapping that is all there; false if its checksum fails.
func (p *path) finishPart(now mono.Time, part *partial) bool {
	if !part.skip {
		if !part.m.intact(wire.Sum(part.buf[:part.m.len], 0)) {
			return false
		}
		p.c.place(now, part.m.data, part.buf[:part.m.len])
	}
	return true
}

// overburdened ends a path that would make us keep too much.
func (p *path) overburdened() {
	p.forgetMappings()
	p.reset(wire.ResetTooMuchOutstanding)
}

// maxAltered is how often in a row, without any progress of the stream, a
// checksum may fail before the connection does.
const maxAltered = 4

// onAltered acts on a mapping whose checksum failed (RFC 8684, Section 3.7).
//
// A path beside others is reset, with MP_FAIL, and its data comes on them. On
// the only path there ever was the RFC has the connection go on as TCP, with
// the data as the network left it, if what is in flight is contiguous. That is
// what Config.TakeAltered asks for; without it the connection fails.
// next is the offset of the first payload at hand that has no place yet.
func (p *path) onAltered(now mono.Time, m inMap, next seq.Offset) {
	c := p.c
	c.stats.DataCsumErr++
	if next := c.rcv.Next(); next != c.rx.alteredAt || c.rx.altered == 0 {
		c.rx.alteredAt, c.rx.altered = next, 0
	}
	c.rx.altered++
	p.failSeq = m.data
	switch {
	case c.cfg.TakeAltered && c.mayFallBack(p, min(next, p.sf.RcvNxt())): //spec:F8 off: case c.cfg.TakeAltered:
		c.fallBack(now, p, ChecksumFailed)
		p.sayFailed(now) //spec:F6 off:
	case c.rx.altered >= maxAltered, !c.cfg.TakeAltered && !c.otherAlive(p):
		p.failed = true
		p.forgetMappings()
		c.fail(now, &AlteredError{Local: c.local, Remote: c.remote})
	default:
		p.failed = true //spec:F5,F8 off:
		p.forgetMappings()
		p.reset(wire.ResetMiddlebox)
	}
}
