package wire

import (
	"encoding/binary"
	"net/netip"

	"github.com/mpnc/mpnc/internal/seq"
)

// Flags of the DSS option (RFC 8684, Section 3.3).
const (
	dssAck    = 0x01
	dssAck64  = 0x02
	dssMap    = 0x04
	dssSeq64  = 0x08
	dssFin    = 0x10
	csumBytes = 2
)

// Verdicts on one MPTCP option.
type verdict uint8

const (
	good verdict = iota
	mangled
	ignored
)

// parse reads one MPTCP option, all of it from its kind on. Which form of it
// may be there depends on the flags of the segment.
func (o *MPOptions) parse(opt []byte, flags Flags) {
	if len(opt) < 3 || opt[2]>>4 > 8 { //spec:W5 off: if len(opt) < 3 {
		return // no subtype, or one that RFC 8684 does not know
	}
	kind := MPKind(1) << (opt[2] >> 4)
	if (o.Has|o.Bad)&kind != 0 {
		return // the first counts
	}
	switch o.parseKind(kind, opt, flags) {
	case good:
		o.Has |= kind
	case mangled:
		o.Bad |= kind
	}
}

func (o *MPOptions) parseKind(kind MPKind, opt []byte, flags Flags) verdict {
	switch kind {
	case MPCapable:
		return o.parseCapable(opt, flags)
	case MPJoin:
		return o.parseJoin(opt, flags)
	case DSS:
		return o.parseDSS(opt)
	case AddAddr:
		return o.parseAdd(opt)
	case RemoveAddr:
		return o.parseRemove(opt)
	case MPPrio:
		return o.parsePrio(opt)
	case MPFail:
		if len(opt) != 12 {
			return mangled
		}
		o.Fail.Seq = seq.Data(binary.BigEndian.Uint64(opt[4:]))
	case FastClose:
		if len(opt) != 12 {
			return mangled
		}
		o.Fast.Key = binary.BigEndian.Uint64(opt[4:])
	case TCPReset:
		return o.parseReset(opt, flags)
	}
	return good
}

// shake is the place of a segment in the handshake, by its flags.
func shake(flags Flags) JoinForm {
	switch flags & (SYN | ACK | RST) {
	case SYN:
		return JoinSYN
	case SYN | ACK:
		return JoinSYNACK
	case ACK:
		return JoinACK
	}
	return 0
}

// parseCapable reads MP_CAPABLE. RFC 8684, Section 3.1: what it holds follows
// from the flags of the segment and its length; a length that does not fit is
// an invalid option. So the SYN of version 0, with its key, is none.
func (o *MPOptions) parseCapable(opt []byte, flags Flags) verdict {
	c := &o.Capable
	switch form := shake(flags); {
	case form == JoinSYN && len(opt) == 4: //spec:H6 off: case form == JoinSYN:
	case form == JoinSYNACK && len(opt) == 12: //spec:H3 off: case form == JoinSYNACK && len(opt) >= 12:
		c.Keys = 1
	case form == JoinACK && (len(opt) == 20 || len(opt) == 22 || len(opt) == 24):
		c.Keys = 2
	default:
		return mangled
	}
	c.Version = opt[2] & 0x0f
	c.Flags = opt[3]
	if c.Keys > 0 {
		c.Sender = binary.BigEndian.Uint64(opt[4:])
	}
	if c.Keys > 1 {
		c.Receiver = binary.BigEndian.Uint64(opt[12:])
	}
	if len(opt) >= 22 {
		c.HasLength = true
		c.Length = binary.BigEndian.Uint16(opt[20:])
	}
	if len(opt) == 24 {
		c.HasCsum = true
		c.Csum = binary.BigEndian.Uint16(opt[22:])
	}
	return good
}

// parseJoin reads MP_JOIN, whose three forms have three lengths
// (RFC 8684, Section 3.2).
func (o *MPOptions) parseJoin(opt []byte, flags Flags) verdict {
	j := &o.Join
	switch form := shake(flags); {
	case form == JoinSYN && len(opt) == 12:
		j.Token = binary.BigEndian.Uint32(opt[4:])
		j.Nonce = binary.BigEndian.Uint32(opt[8:])
	case form == JoinSYNACK && len(opt) == 16:
		copy(j.MAC[:8], opt[4:])
		j.Nonce = binary.BigEndian.Uint32(opt[12:])
	case form == JoinACK && len(opt) == 24:
		copy(j.MAC[:], opt[4:])
		j.Form = form
		return good // backup and address identifier are reserved here
	default:
		return mangled
	}
	j.Form = shake(flags)
	j.Backup = opt[2]&1 != 0
	j.AddrID = opt[3]
	return good
}

// parseDSS reads a DSS option. RFC 8684, Section 3.3: a and m mean nothing
// without A and M, and whether there is a checksum follows from the length.
func (o *MPOptions) parseDSS(opt []byte) verdict {
	if len(opt) < 4 {
		return mangled
	}
	d := &o.DSS
	flags := opt[3]
	hasAck, ack64 := flags&dssAck != 0, flags&dssAck64 != 0 //spec:D1 off: hasAck, ack64 := flags&(dssAck|dssAck64) != 0, flags&dssAck64 != 0
	hasMap, seq64 := flags&dssMap != 0, flags&dssSeq64 != 0
	want := dssLen(hasAck, ack64, hasMap, seq64, false)
	hasCsum := hasMap && len(opt) == want+csumBytes //spec:D2 off: hasCsum := false
	if len(opt) != want && !hasCsum {
		return mangled
	}
	at := opt[4:]
	if hasAck {
		d.HasAck, d.Ack64 = true, ack64
		d.Ack, at = parseData(at, ack64)
	}
	if hasMap {
		d.HasMap, d.Seq64 = true, seq64
		d.Seq, at = parseData(at, seq64)
		d.SSN = binary.BigEndian.Uint32(at)
		d.Length = binary.BigEndian.Uint16(at[4:])
		d.Fin = flags&dssFin != 0
	}
	if hasCsum {
		d.HasCsum = true
		d.Csum = binary.BigEndian.Uint16(at[6:])
	}
	return good
}

// parseData reads a data sequence number of either width.
func parseData(b []byte, wide bool) (seq.Data, []byte) {
	if wide {
		return seq.Data(binary.BigEndian.Uint64(b)), b[8:]
	}
	return seq.Data(binary.BigEndian.Uint32(b)), b[4:]
}

// parseAdd reads ADD_ADDR (RFC 8684, Section 3.4.1). Family and port follow
// from the length, which differs by the HMAC that an echo does not have.
func (o *MPOptions) parseAdd(opt []byte) verdict {
	if len(opt) < 4 {
		return mangled
	}
	a := &o.Add
	echo := opt[2]&1 != 0 //spec:W4 off: echo := opt[2]&0x0f != 0
	n := len(opt)
	if !echo {
		n -= 8
	}
	at := opt[4:]
	var addr netip.Addr
	switch n {
	case 8, 10:
		addr, at = netip.AddrFrom4([4]byte(at)), at[4:]
	case 20, 22:
		addr, at = netip.AddrFrom16([16]byte(at)), at[16:]
	default:
		return mangled
	}
	a.Echo, a.ID, a.Addr = echo, opt[3], addr
	if n == 10 || n == 22 {
		a.Port, at = binary.BigEndian.Uint16(at), at[2:]
	}
	if !echo {
		a.MAC = binary.BigEndian.Uint64(at)
	}
	return good
}

// parseRemove reads REMOVE_ADDR with all its identifiers
// (RFC 8684, Section 3.4.2).
func (o *MPOptions) parseRemove(opt []byte) verdict {
	ids := opt[3:]
	if len(ids) == 0 || len(ids) > len(o.Remove.IDs) {
		return mangled
	}
	o.Remove.N = copy(o.Remove.IDs[:], ids) //spec:P12 off: o.Remove.N = copy(o.Remove.IDs[:1], ids)
	return good
}

// parsePrio reads MP_PRIO. RFC 8684, Section 3.3.8: version 0 had a form with
// an address identifier; that one is ignored.
func (o *MPOptions) parsePrio(opt []byte) verdict {
	switch len(opt) {
	case 3:
		o.Prio.Backup = opt[2]&1 != 0
		return good
	case 4:
		return ignored //spec:P15 off: return good
	}
	return mangled
}

// parseReset reads MP_TCPRST, which counts on a RST only
// (RFC 8684, Section 3.6).
func (o *MPOptions) parseReset(opt []byte, flags Flags) verdict {
	if !flags.Has(RST) { //spec:R9 off: if false {
		return ignored
	}
	if len(opt) != 4 {
		return mangled
	}
	o.Rst.Transient = opt[2]&1 != 0
	o.Rst.Reason = ResetReason(opt[3])
	return good
}
