package wire

import (
	"encoding/hex"
	"fmt"
	"strings"
)

var flagNames = [...]struct {
	flag Flags
	name byte
}{{SYN, 'S'}, {FIN, 'F'}, {RST, 'R'}, {PSH, 'P'}, {ACK, '.'}, {URG, 'U'}, {ECE, 'E'}, {CWR, 'W'}}

// String returns the flags in the manner of tcpdump: "S.", "P.", "none".
func (f Flags) String() string {
	var buf []byte
	for _, n := range flagNames {
		if f.Has(n.flag) {
			buf = append(buf, n.name)
		}
	}
	if len(buf) == 0 {
		return "none"
	}
	return string(buf)
}

var kindNames = [...]string{
	"mp_capable", "mp_join", "dss", "add_addr", "remove_addr", "mp_prio", "mp_fail", "mp_fastclose", "mp_tcprst",
}

// String returns the names of the options in k, "none" if there are none.
func (k MPKind) String() string {
	var names []string
	for i, name := range kindNames {
		if k&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, "+")
}

var dropNames = [...]string{
	None: "none", TooShort: "too short", NotIP: "not IP", BadIPHeader: "bad IP header", Fragment: "fragment",
	NotTCP: "not TCP", BadOffset: "bad data offset", BadChecksum: "bad checksum", BadAddress: "bad address",
	BadPort: "bad port",
	LowTTL:  "TTL too low",
}

// String returns the reason in words.
func (d Drop) String() string {
	if int(d) < len(dropNames) {
		return dropNames[d]
	}
	return fmt.Sprintf("Drop(%d)", uint8(d))
}

var icmpNames = [...]string{
	ICMPOther: "unreachable", ICMPNetwork: "network unreachable", ICMPHost: "host unreachable",
	ICMPProtocol: "protocol unreachable", ICMPPort: "port unreachable", ICMPProhibited: "prohibited",
	ICMPTooBig: "packet too big", ICMPTimeExceeded: "time exceeded",
}

// String returns the error in words.
func (k ICMPKind) String() string {
	if int(k) < len(icmpNames) {
		return icmpNames[k]
	}
	return fmt.Sprintf("ICMPKind(%d)", uint8(k))
}

// String returns the tuple, the local end first.
func (t Tuple) String() string { return t.Local.String() + " ~ " + t.Remote.String() }

// String returns the error on one line.
func (e ICMPError) String() string {
	s := fmt.Sprintf("%v: icmp %d/%d %v, seq %d", e.Tuple, e.Type, e.Code, e.Kind, e.Seq)
	if e.Kind == ICMPTooBig {
		s += fmt.Sprintf(", mtu %d", e.MTU)
	}
	return s
}

// String returns the segment on one line, in the manner of tcpdump: its ends,
// the local one first whichever sent it, flags, numbers as on the wire,
// options. It is for people; it allocates.
func (s Segment) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v [%v] seq %d", s.Tuple, s.Flags, s.Seq)
	if n := len(s.Payload); n > 0 {
		fmt.Fprintf(&b, ":%d", s.Seq.Add(n))
	}
	if s.Flags.Has(ACK) {
		fmt.Fprintf(&b, " ack %d", s.Ack)
	}
	fmt.Fprintf(&b, " win %d", s.Window)
	if s.Flags.Has(URG) {
		fmt.Fprintf(&b, " urg %d", s.Urgent)
	}
	if s.ECN != 0 {
		fmt.Fprintf(&b, " ecn %d", s.ECN)
	}
	fmt.Fprintf(&b, " len %d", len(s.Payload))
	s.Opt.print(&b)
	s.MP.print(&b)
	return b.String()
}

func (o *TCPOptions) print(b *strings.Builder) {
	if o.MSS != 0 {
		fmt.Fprintf(b, " mss %d", o.MSS)
	}
	if o.SACKPermitted {
		b.WriteString(" sackOK")
	}
	if o.HasTS {
		fmt.Fprintf(b, " ts %d:%d", o.TSVal, o.TSEcr)
	}
	if o.HasWScale {
		fmt.Fprintf(b, " wscale %d", o.WScale)
	}
	if o.UserTimeout != 0 {
		fmt.Fprintf(b, " uto %v", ParseUserTimeout(o.UserTimeout))
	}
	if o.HasFastOpen {
		fmt.Fprintf(b, " fastopen %x", o.FastOpen.Bytes())
	}
	if o.NSACK > 0 {
		b.WriteString(" sack")
		for _, r := range o.SACK[:min(o.NSACK, len(o.SACK))] {
			fmt.Fprintf(b, " %d:%d", r.From, r.To)
		}
	}
}

// String returns the MPTCP options as Segment.String writes them.
func (o MPOptions) String() string {
	var b strings.Builder
	o.print(&b)
	return strings.TrimPrefix(b.String(), " ")
}

func (o *MPOptions) print(b *strings.Builder) {
	for left := o.Has; left != 0; left &= left - 1 {
		kind := left & -left
		fmt.Fprintf(b, " <%v", kind)
		o.printKind(b, kind)
		b.WriteByte('>')
	}
	if o.Bad != 0 {
		fmt.Fprintf(b, " <bad %v>", o.Bad)
	}
}

func (o *MPOptions) printKind(b *strings.Builder, kind MPKind) {
	switch kind {
	case MPCapable:
		o.printCapable(b)
	case MPJoin:
		o.printJoin(b)
	case DSS:
		o.printDSS(b)
	case AddAddr:
		o.printAdd(b)
	case RemoveAddr:
		for _, id := range o.Remove.IDs[:min(o.Remove.N, len(o.Remove.IDs))] {
			fmt.Fprintf(b, " %d", id)
		}
	case MPPrio:
		printIf(b, o.Prio.Backup, " backup")
	case MPFail:
		fmt.Fprintf(b, " dsn %d", o.Fail.Seq)
	case FastClose:
		fmt.Fprintf(b, " key %016x", o.Fast.Key)
	case TCPReset:
		fmt.Fprintf(b, " reason %d", o.Rst.Reason)
		printIf(b, o.Rst.Transient, " transient")
	}
}

func printIf(b *strings.Builder, yes bool, text string) {
	if yes {
		b.WriteString(text)
	}
}

func (o *MPOptions) printCapable(b *strings.Builder) {
	c := &o.Capable
	fmt.Fprintf(b, " v%d flags %02x", c.Version, c.Flags)
	if c.Keys > 0 {
		fmt.Fprintf(b, " key %016x", c.Sender)
	}
	if c.Keys > 1 {
		fmt.Fprintf(b, " %016x", c.Receiver)
	}
	if c.HasLength {
		fmt.Fprintf(b, " len %d", c.Length)
	}
	if c.HasCsum {
		fmt.Fprintf(b, " csum %04x", c.Csum)
	}
}

func (o *MPOptions) printJoin(b *strings.Builder) {
	j := &o.Join
	switch j.Form {
	case JoinSYN:
		fmt.Fprintf(b, " id %d token %08x nonce %08x", j.AddrID, j.Token, j.Nonce)
	case JoinSYNACK:
		fmt.Fprintf(b, " id %d hmac %s nonce %08x", j.AddrID, hex.EncodeToString(j.MAC[:8]), j.Nonce)
	default:
		fmt.Fprintf(b, " hmac %s", hex.EncodeToString(j.MAC[:]))
	}
	printIf(b, j.Backup, " backup")
}

func (o *MPOptions) printDSS(b *strings.Builder) {
	d := &o.DSS
	if d.HasAck {
		fmt.Fprintf(b, " ack%d %d", 8*dataLen(d.Ack64), d.Ack)
	}
	if d.HasMap {
		fmt.Fprintf(b, " dsn%d %d ssn %d len %d", 8*dataLen(d.Seq64), d.Seq, d.SSN, d.Length)
	}
	if d.HasCsum {
		fmt.Fprintf(b, " csum %04x", d.Csum)
	}
	printIf(b, d.Fin, " fin")
}

func (o *MPOptions) printAdd(b *strings.Builder) {
	a := &o.Add
	fmt.Fprintf(b, " id %d %v", a.ID, a.Addr)
	if a.Port != 0 {
		fmt.Fprintf(b, " port %d", a.Port)
	}
	if a.Echo {
		b.WriteString(" echo")
	} else {
		fmt.Fprintf(b, " hmac %016x", a.MAC)
	}
}
