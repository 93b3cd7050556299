package wire

import (
	"encoding/binary"

	"github.com/mpnc/mpnc/internal/seq"
)

// Option blocks are written so that every group of options takes a multiple of
// four octets, NOPs included: TCP's own first, then MPTCP's, and SACK last with
// what room is left.

// Len returns how many octets the options take as written, SACK blocks not
// counted: those get what the others leave (SACKRoom).
func (o *TCPOptions) Len() int {
	n := 0
	if o.MSS != 0 {
		n += 4
	}
	if o.HasTS {
		n += 12 // SACK-permitted goes into the two octets of padding
	} else if o.SACKPermitted {
		n += 4
	}
	if o.HasWScale {
		n += 4
	}
	if o.UserTimeout != 0 {
		n += 4
	}
	if o.HasFastOpen {
		n += FastOpenLen(o.FastOpen)
	}
	return n
}

// FastOpenLen returns how many octets a Fast Open option with cookie c takes as
// written.
func FastOpenLen(c Cookie) int { return (2 + c.Len() + 3) &^ 3 }

// SACKRoom returns how many SACK blocks fit beside other options that take
// used octets as written: s.Opt.Len() + s.MP.Len(). MPTCP's options go first.
func SACKRoom(used int) int {
	return max(0, min(4, (maxOpt-used-4)/8)) //spec:T48 off: return 4
}

// tsLen is a timestamps option without padding, and tsPad its padding.
const (
	tsLen = 10
	tsPad = 2
)

// tight reports whether the two options of a segment go without padding: an
// ADD_ADDR of an IPv6 address with a port has 30 octets, the timestamps 10.
func (s *Segment) tight() bool {
	o := &s.Opt
	return s.MP.Has == AddAddr && o.HasTS && !o.SACKPermitted && o.Len() == tsLen+tsPad &&
		o.Len()+s.MP.Len() > maxOpt && tsLen+s.MP.rawLen(AddAddr) <= maxOpt
}

// append writes the options but SACK to dst.
func (o *TCPOptions) append(dst []byte) []byte {
	if o.MSS != 0 {
		dst = append(dst, optMSS, 4, byte(o.MSS>>8), byte(o.MSS))
	}
	if o.SACKPermitted {
		if !o.HasTS {
			dst = append(dst, optNOP, optNOP)
		}
		dst = append(dst, optSACKPermitted, 2)
	}
	if o.HasTS {
		if !o.SACKPermitted {
			dst = append(dst, optNOP, optNOP)
		}
		dst = append(dst, optTimestamps, 10)
		dst = binary.BigEndian.AppendUint32(dst, o.TSVal)
		dst = binary.BigEndian.AppendUint32(dst, o.TSEcr)
	}
	if o.HasWScale {
		dst = append(dst, optNOP, optWScale, 3, o.WScale)
	}
	if o.UserTimeout != 0 {
		dst = append(dst, optUserTimeout, 4, byte(o.UserTimeout>>8), byte(o.UserTimeout))
	}
	if o.HasFastOpen {
		dst = append(dst, optFastOpen, byte(2+o.FastOpen.n))
		dst = append(dst, o.FastOpen.Bytes()...)
		for n := 2 + o.FastOpen.Len(); n&3 != 0; n++ {
			dst = append(dst, optNOP)
		}
	}
	return dst
}

// appendSACK writes the first n blocks.
func (o *TCPOptions) appendSACK(dst []byte, n int) []byte {
	if n == 0 {
		return dst
	}
	dst = append(dst, optNOP, optNOP, optSACK, byte(2+8*n))
	for _, r := range o.SACK[:n] {
		dst = binary.BigEndian.AppendUint32(dst, uint32(r.From))
		dst = binary.BigEndian.AppendUint32(dst, uint32(r.To))
	}
	return dst
}

// Len returns how many octets the options in Has take as written: each padded
// to a multiple of four.
func (o *MPOptions) Len() int {
	n := 0
	for left := o.Has; left != 0; left &= left - 1 {
		n += o.lenOf(left & -left)
	}
	return n
}

// fit returns the options that can be written into room octets: all in Has, or
// in the order of their subtypes those that find place.
func (o *MPOptions) fit(room int) (which MPKind, size int) {
	for left := o.Has; left != 0; left &= left - 1 {
		kind := left & -left
		if n := o.lenOf(kind); size+n <= room { //spec:W6 off: if n := o.lenOf(kind); true {
			which |= kind
			size += n
		}
	}
	return which, size
}

// lenOf returns the padded length of the option kind, 0 if there is none.
func (o *MPOptions) lenOf(kind MPKind) int { return (o.rawLen(kind) + 3) &^ 3 }

// rawLen returns the length of the option kind as its length field says it.
func (o *MPOptions) rawLen(kind MPKind) int {
	switch kind {
	case MPCapable:
		return o.capableLen()
	case MPJoin:
		return joinLen(o.Join.Form)
	case DSS:
		d := &o.DSS
		return dssLen(d.HasAck, d.Ack64, d.HasMap, d.Seq64, d.HasCsum)
	case AddAddr:
		return o.addLen()
	case RemoveAddr:
		return 3 + o.Remove.N
	case MPPrio:
		return 3
	case MPFail, FastClose:
		return 12
	case TCPReset:
		return 4
	}
	return 0
}

func (o *MPOptions) capableLen() int {
	c := &o.Capable
	switch {
	case c.Keys == 0:
		return 4
	case c.Keys == 1:
		return 12
	case !c.HasLength:
		return 20
	case !c.HasCsum:
		return 22
	}
	return 24
}

func joinLen(form JoinForm) int {
	switch form {
	case JoinSYN:
		return 12
	case JoinSYNACK:
		return 16
	}
	return 24
}

// dssLen is the length of a DSS option; a checksum goes with a mapping only.
func dssLen(hasAck, ack64, hasMap, seq64, hasCsum bool) int {
	n := 4
	if hasAck {
		n += dataLen(ack64)
	}
	if hasMap {
		n += dataLen(seq64) + 6
		if hasCsum {
			n += csumBytes
		}
	}
	return n
}

func dataLen(wide bool) int {
	if wide {
		return 8
	}
	return 4
}

func (o *MPOptions) addLen() int {
	n := 4 + 16
	if o.Add.Addr.Is4() {
		n = 4 + 4
	}
	if o.Add.Port != 0 {
		n += 2
	}
	if !o.Add.Echo {
		n += 8
	}
	return n
}

// append writes the options of which to dst.
func (o *MPOptions) append(dst []byte, which MPKind) []byte {
	for left := which; left != 0; left &= left - 1 {
		dst = o.appendKind(dst, left&-left)
		for len(dst)&3 != 0 {
			dst = append(dst, optNOP)
		}
	}
	return dst
}

// appendKind writes one option, without padding. RFC 8684, Section 3 and its
// parts: reserved bits are sent as zero.
func (o *MPOptions) appendKind(dst []byte, kind MPKind) []byte {
	dst = append(dst, optMPTCP, byte(o.rawLen(kind)))
	switch kind {
	case MPCapable:
		return o.appendCapable(dst)
	case MPJoin:
		return o.appendJoin(dst)
	case DSS:
		return o.appendDSS(dst)
	case AddAddr:
		return o.appendAdd(dst)
	case RemoveAddr:
		return append(append(dst, 4<<4), o.Remove.IDs[:o.Remove.N]...)
	case MPPrio:
		return append(dst, 5<<4|bit(o.Prio.Backup))
	case MPFail:
		return binary.BigEndian.AppendUint64(append(dst, 6<<4, 0), uint64(o.Fail.Seq))
	case FastClose:
		return binary.BigEndian.AppendUint64(append(dst, 7<<4, 0), o.Fast.Key)
	case TCPReset:
		return append(dst, 8<<4|bit(o.Rst.Transient), byte(o.Rst.Reason))
	}
	panic("BUG: MPTCP option of an unknown kind")
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func (o *MPOptions) appendCapable(dst []byte) []byte {
	c := &o.Capable
	dst = append(dst, 0<<4|c.Version&0x0f, c.Flags)
	if c.Keys > 0 {
		dst = binary.BigEndian.AppendUint64(dst, c.Sender)
	}
	if c.Keys > 1 {
		dst = binary.BigEndian.AppendUint64(dst, c.Receiver)
		if c.HasLength {
			dst = binary.BigEndian.AppendUint16(dst, c.Length)
			if c.HasCsum {
				dst = binary.BigEndian.AppendUint16(dst, c.Csum)
			}
		}
	}
	return dst
}

func (o *MPOptions) appendJoin(dst []byte) []byte {
	j := &o.Join
	switch j.Form {
	case JoinSYN:
		dst = append(dst, 1<<4|bit(j.Backup), j.AddrID)
		dst = binary.BigEndian.AppendUint32(dst, j.Token)
		return binary.BigEndian.AppendUint32(dst, j.Nonce)
	case JoinSYNACK:
		dst = append(dst, 1<<4|bit(j.Backup), j.AddrID)
		dst = append(dst, j.MAC[:8]...)
		return binary.BigEndian.AppendUint32(dst, j.Nonce)
	}
	dst = append(dst, 1<<4, 0)
	return append(dst, j.MAC[:]...)
}

func (o *MPOptions) appendDSS(dst []byte) []byte {
	d := &o.DSS
	var flags byte
	if d.HasAck {
		flags |= dssAck | bit(d.Ack64)*dssAck64
	}
	if d.HasMap {
		flags |= dssMap | bit(d.Seq64)*dssSeq64 | bit(d.Fin)*dssFin
	}
	dst = append(dst, 2<<4, flags)
	if d.HasAck {
		dst = appendData(dst, d.Ack, d.Ack64)
	}
	if d.HasMap {
		dst = appendData(dst, d.Seq, d.Seq64)
		dst = binary.BigEndian.AppendUint32(dst, d.SSN)
		dst = binary.BigEndian.AppendUint16(dst, d.Length)
		if d.HasCsum {
			dst = binary.BigEndian.AppendUint16(dst, d.Csum)
		}
	}
	return dst
}

// appendData writes a data sequence number in either width.
func appendData(dst []byte, n seq.Data, wide bool) []byte {
	if wide {
		return binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	return binary.BigEndian.AppendUint32(dst, uint32(n))
}

func (o *MPOptions) appendAdd(dst []byte) []byte {
	a := &o.Add
	dst = append(dst, 3<<4|bit(a.Echo), a.ID)
	if a.Addr.Is4() {
		b := a.Addr.As4()
		dst = append(dst, b[:]...)
	} else {
		b := a.Addr.As16()
		dst = append(dst, b[:]...)
	}
	if a.Port != 0 {
		dst = binary.BigEndian.AppendUint16(dst, a.Port)
	}
	if !a.Echo {
		dst = binary.BigEndian.AppendUint64(dst, a.MAC)
	}
	return dst
}
