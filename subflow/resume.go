package subflow

import (
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/wire"
)

// A passive open without state (RFC 4987, Section 3.6 and Appendix A): Answer
// makes the SYN/ACK and keeps nothing; Recall makes what matters of the SYN of
// the ACK that comes back; Resume goes on from there. What the options of the
// SYN were travels in the low bits of our timestamp, which the peer echoes. A
// peer without timestamps gets neither window scaling nor SACK nor ECN. The size of its
// segments is the caller's to remember, in c.ISS.

// The low bits of such a timestamp.
const (
	recallShift = 0x0f // the peer's window shift; noShift: the option was absent
	noShift     = 0x0f // more than maxWScale
	recallSACK  = 0x10
	recallECN   = 0x20
	recallBits  = 0x3f
)

// Answer returns the SYN/ACK to a SYN, without MPTCP options. wnd is the window
// to show, in octets.
func Answer(now mono.Time, syn *wire.Segment, wnd int, c Config) wire.Segment {
	c.fill()
	seg := wire.Segment{
		Tuple: syn.Tuple, Link: syn.Link,
		Seq: c.ISS, Ack: syn.Seq + 1, Flags: wire.SYN | wire.ACK,
		Window: uint16(min(wnd, 65535)),
	}
	seg.Opt.MSS = uint16(c.advertisedMSS(syn.Tuple))
	if !syn.Opt.HasTS || c.NoTimestamps {
		return seg
	}
	bits := uint32(noShift)
	if syn.Opt.HasWScale {
		bits = uint32(min(syn.Opt.WScale, maxWScale))
		seg.Opt.HasWScale, seg.Opt.WScale = true, c.WScale
	}
	if syn.Opt.SACKPermitted && !c.NoSACK {
		bits |= recallSACK
		seg.Opt.SACKPermitted = true
	}
	if ecnSetup(syn) && c.ECN != ECNOff {
		bits |= recallECN
		seg.Flags |= wire.ECE
	}
	ts := timestamps{offset: c.TSOffset}
	seg.Opt.HasTS, seg.Opt.TSVal, seg.Opt.TSEcr = true, marked(ts.clock(now), bits), syn.Opt.TSVal
	return seg
}

// marked returns the last value of the timestamp clock up to val that ends in
// bits: our timestamps never go back.
func marked(val, bits uint32) uint32 {
	v := val&^recallBits | bits
	if int32(v-val) > 0 {
		v -= recallBits + 1
	}
	return v
}

// Recall returns the SYN that an Answer was for, as far as it matters, of the
// ACK of that Answer (or the first data, which has the same numbers). mss is
// what the SYN said.
func Recall(ack *wire.Segment, mss int) wire.Segment {
	syn := wire.Segment{
		Tuple: ack.Tuple, Link: ack.Link, MTU: ack.MTU, At: ack.At,
		Seq: ack.Seq - 1, Flags: wire.SYN, Window: ack.Window,
	}
	syn.Opt.MSS = uint16(mss)
	if !ack.Opt.HasTS {
		return syn
	}
	syn.Opt.HasTS, syn.Opt.TSVal = true, ack.Opt.TSVal
	bits := ack.Opt.TSEcr
	if shift := uint8(bits & recallShift); shift != noShift {
		syn.Opt.HasWScale, syn.Opt.WScale = true, shift
	}
	syn.Opt.SACKPermitted = bits&recallSACK != 0
	if bits&recallECN != 0 {
		syn.Flags |= wire.ECE | wire.CWR
	}
	return syn
}

// Resume makes a subflow in SYN-RECEIVED whose SYN/ACK, an Answer with window
// wnd to syn, has left with c.ISS. The ACK is to be handled next.
func Resume(now mono.Time, syn *wire.Segment, wnd int, c Config) *Subflow {
	s := Accept(now, syn, c)
	s.syn.forgotten = true
	s.synSent(now)
	s.rcv.shown(min(wnd, 65535))
	s.sentOne(now, 1)
	return s
}
