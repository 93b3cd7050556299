package engine

import (
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow"
)

// Options fills in the MPTCP options of a segment that is being written
// (subflow.Host).
func (p *path) Options(out *subflow.Outgoing, mp *wire.MPOptions) {
	probe := p.probing && out.Kind == subflow.KindACK && !out.Fin
	switch {
	case out.Kind == subflow.KindSYN, out.Kind == subflow.KindSYNACK:
		p.synOptions(out, mp)
	case p.c.mode == plain:
		p.plainOptions(out, mp)
	case out.Kind == subflow.KindRST:
		if p.c.mode == multipath {
			p.rstOptions(mp)
		}
	case p.join == joinConfirmed:
		p.joinOptions(wire.JoinACK, mp)
	case p == p.c.closer && out.Kind == subflow.KindACK:
		p.closeOptions(mp)
	case p.c.mode == multipath && !p.capableOptions(out, mp):
		if probe {
			p.probeOptions(mp)
			return
		}
		p.dataOptions(out, mp)
	}
}

// synOptions: MP_CAPABLE or MP_JOIN of SYN and SYN/ACK.
func (p *path) synOptions(out *subflow.Outgoing, mp *wire.MPOptions) {
	c := p.c
	switch {
	case p.join == joinAsked && out.Kind == subflow.KindSYN:
		p.joinOptions(wire.JoinSYN, mp)
	case p.join == joinAnswered && out.Kind == subflow.KindSYNACK:
		p.joinOptions(wire.JoinSYNACK, mp)
	case !p.first || c.mode != undecided || p.simult:
	case out.Kind == subflow.KindSYN && (p.sentPlain || out.Retry >= plainSYN): //spec:H24 off: case false:
		p.sentPlain = true
	default:
		mp.Has |= wire.MPCapable
		mp.Capable.Version = 1
		mp.Capable.Flags = c.cfg.flags(c.csum) //spec:H9 off: mp.Capable.Flags = wire.CapSHA256 | 0x02
		if out.Kind == subflow.KindSYNACK {    //spec:H1 off: if true {
			mp.Capable.Keys = 1
			mp.Capable.Sender = c.key
		}
	}
}

// probeOptions: a DATA_ACK and nothing that would have to arrive.
func (p *path) probeOptions(mp *wire.MPOptions) {
	mp.Has |= wire.DSS
	mp.DSS.HasAck, mp.DSS.Ack64, mp.DSS.Ack = true, true, p.c.dataAck()
}

// plainOptions: nothing, but for the infinite mapping that tells the peer of
// our fallback, once, and the answer to MP_FAIL (RFC 8684, Section 3.7).
func (p *path) plainOptions(out *subflow.Outgoing, mp *wire.MPOptions) {
	c := p.c
	if (p.failing || p.sendFail > 0) && out.Kind == subflow.KindACK {
		mp.Has |= wire.DSS | wire.MPFail
		mp.Fail.Seq = p.failSeq
		if !p.failing {
			p.sendFail--
			mp.Fail.Seq = c.dataAck()
		}
		// What failed is not acknowledged (RFC 8684, Section 3.7).
		mp.DSS.HasAck, mp.DSS.Ack64, mp.DSS.Ack = true, true, mp.Fail.Seq
		c.stats.MPFailTx++
		return
	}
	if !c.tx.infinite || out.Kind != subflow.KindData || out.Room < optionSpace {
		return
	}
	c.tx.infinite = false
	mp.Has |= wire.DSS
	d := &mp.DSS
	d.HasAck, d.Ack64, d.Ack = true, true, c.dataAck()
	if c.reason == ChecksumFailed {
		d.Ack = p.failSeq
	}
	d.HasMap, d.Seq64, d.Seq, d.SSN = true, true, out.Map.Data, uint32(out.Map.Off)
	d.HasCsum = c.csum // of an infinite mapping it is 0: RFC 8684, Section 3.3.1
	c.stats.InfiniteMapTx++
}

// rstOptions: why (RFC 8684, Sections 3.5 and 3.6).
func (p *path) rstOptions(mp *wire.MPOptions) {
	if p.failed {
		mp.Has |= wire.MPFail
		mp.Fail.Seq = p.failSeq
		p.c.stats.MPFailTx++
	}
	if p.fastClose { //spec:E1 off: if true {
		mp.Has |= wire.FastClose
		mp.Fast.Key = p.c.peerKey //spec:R1 off: mp.Fast.Key = p.c.key
	}
	mp.Has |= wire.TCPReset
	mp.Rst.Reason = p.resetReason
	p.c.stats.MPRstTx++
}

// capableOptions: until the peer has shown a DSS, whatever starts the client's
// stream carries both keys (RFC 8684, Section 3.1): every segment of the first
// mapping, as if an offload had cut them. A peer that missed the third packet
// takes the first segment without keys for plain TCP.
func (p *path) capableOptions(out *subflow.Outgoing, mp *wire.MPOptions) bool {
	c := p.c
	if !c.client || !p.first || c.rx.dssSeen {
		return false
	}
	start := out.Kind == subflow.KindACK && p.sf.SndNxt() == 1 ||
		out.Kind == subflow.KindData && out.Map.Off == 1 //spec:H17,H18,H20 off: false
	if !start {
		return false
	}
	mp.Has |= wire.MPCapable
	mp.Capable.Version = 1
	mp.Capable.Flags = c.cfg.flags(c.csum)
	mp.Capable.Keys = 2
	mp.Capable.Sender, mp.Capable.Receiver = c.key, c.peerKey //spec:H2 off: mp.Capable.Sender, mp.Capable.Receiver = c.peerKey, c.key
	if out.Kind == subflow.KindData {
		p.optionOnly = p.waiting()
		mp.Capable.HasLength = true
		mp.Capable.Length = uint16(out.Map.Len)
		mp.Capable.HasCsum, mp.Capable.Csum = c.csum, c.checksum(&out.Map)
	}
	return true
}

// dataOptions: a DSS with DATA_ACK on every segment, for Linux takes one
// without for a fallback; the mapping with data; signals on pure ACKs.
func (p *path) dataOptions(out *subflow.Outgoing, mp *wire.MPOptions) {
	c, d := p.c, &mp.DSS
	if out.Kind == subflow.KindACK && p.aloneOptions(out, mp) {
		return
	}
	mp.Has |= wire.DSS
	d.HasAck, d.Ack64, d.Ack = true, true, c.dataAck() //spec:A11,F13 off: d.HasAck, d.Ack64, d.Ack = out.Kind != subflow.KindData, true, c.dataAck()
	if out.Kind == subflow.KindData {                  //spec:D13 off: if out.Kind == subflow.KindData && out.Off == out.Map.Off {
		// Data has no room for other options, and it is the acknowledgment
		// that was asked for to carry them.
		p.optionOnly = p.waiting()
		d.HasMap, d.Seq64 = true, true                                                  //spec:D4 off: d.HasMap, d.Seq64 = true, false
		d.Seq, d.SSN, d.Length = out.Map.Data, uint32(out.Map.Off), uint16(out.Map.Len) //spec:D6 off: d.Seq, d.SSN, d.Length = out.Map.Data.Add(out.Map.Len), uint32(out.Map.Off)+uint32(out.Map.Len), uint16(out.Map.Len)
		d.HasCsum, d.Csum = c.csum, c.checksum(&out.Map)                                //spec:D2 off:
		return
	}
	fin := c.tx.finSent && !c.tx.finAcked
	if p.signals() {
		p.signalOptions(out, mp)
		p.optionOnly = fin || p.signals() // what has no room goes on another ACK
		return
	}
	if fin {
		p.sendFin = false
		// Without payload: SSN 0, length 1 (RFC 8684, Section 3.3.3).
		d.HasMap, d.Seq64, d.Fin = true, true, true
		d.Seq, d.SSN, d.Length = c.snd.End(), 0, 1 //spec:X3 off: d.Seq, d.SSN, d.Length = c.snd.End(), uint32(p.sf.SndNxt()), 1
		if c.csum {
			d.HasCsum, d.Csum = true, wire.DSSChecksum(d.Seq, 0, 1, 0) //spec:X3 off: d.HasCsum, d.Csum = true, 0
		}
	}
}

// Window is the receive window to advertise: one for all subflows, relative to
// the DATA_ACK (subflow.Host; RFC 8684, Section 3.3.4).
func (p *path) Window() int {
	c := p.c
	if c.rcv == nil {
		return c.cfg.firstWindow()
	}
	edge := c.rcv.Edge() //spec:A4 off: edge := c.rcv.Edge().Add(-c.rcv.OutOfOrder())
	c.rx.shownEdge = edge
	c.rx.shownSize = edge.Sub(c.rcv.Next())
	return c.rx.shownSize
}
