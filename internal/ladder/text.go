package ladder

import (
	"fmt"
	"strings"

	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/trace"
	"github.com/mpnc/mpnc/internal/wire"
)

// words are put on an arrow; lines are broken between them.
type words []string

func (w *words) add(ok bool, format string, args ...any) {
	if ok {
		*w = append(*w, fmt.Sprintf(format, args...))
	}
}

// join makes one of them all.
func (w words) join() string { return strings.Join(w, " ") }

var flagNames = [...]struct {
	flag wire.Flags
	name string
}{
	{wire.SYN, "SYN"}, {wire.FIN, "FIN"}, {wire.RST, "RST"}, {wire.PSH, "PSH"}, {wire.URG, "URG"},
	{wire.ECE, "ECE"}, {wire.CWR, "CWR"}, {wire.ACK, "ACK"},
}

func flagText(f wire.Flags) string {
	var names []string
	for _, n := range flagNames {
		if f.Has(n.flag) {
			names = append(names, n.name)
		}
	}
	if len(names) == 0 {
		return "no flags"
	}
	return strings.Join(names, ",")
}

// segmentText is what stands on the arrow of a segment from x to y.
func segmentText(f *flow, s *wire.Segment, off seq.Offset, x, y *side) words {
	var w words
	w.add(true, "%s", flagText(s.Flags))
	w.add(true, "seq %d", int64(off))
	if s.Flags.Has(wire.ACK) {
		w.add(y.known, "ack %d", int64(seq.Unwrap(s.Ack, y.iss, y.next)))
		w.add(!y.known, "ack %d", s.Ack)
	}
	w.add(len(s.Payload) > 0, "len %d", len(s.Payload))
	w.add(s.Window == 0 && !s.Flags.Has(wire.RST), "win 0")
	w.add(s.Opt.MSS != 0, "mss %d", s.Opt.MSS)
	w.add(s.Opt.HasWScale, "wscale %d", s.Opt.WScale)
	w.add(s.Opt.SACKPermitted, "sackOK")
	w.add(s.Opt.HasTS && s.Flags.Has(wire.SYN), "ts")
	for _, b := range s.Opt.SACK[:min(s.Opt.NSACK, len(s.Opt.SACK))] {
		w.add(y.known, "sack %d-%d", int64(seq.Unwrap(b.From, y.iss, y.next)), int64(seq.Unwrap(b.To, y.iss, y.next)))
	}
	w.add(s.ECN == 3, "CE")
	w.multipath(f.stream, s, x.us)
	return w
}

// multipath adds the options of Multipath TCP: what they do, and no secrets.
func (w *words) multipath(st *stream, s *wire.Segment, out bool) {
	mp := &s.MP
	for left := mp.Has; left != 0; left &= left - 1 {
		if text := optionText(st, s, left&-left, out); text != "" {
			*w = append(*w, text)
		}
	}
	w.add(mp.Bad != 0, "malformed %v", mp.Bad)
}

func optionText(st *stream, s *wire.Segment, kind wire.MPKind, out bool) string {
	var w words
	switch mp := &s.MP; kind {
	case wire.MPCapable:
		w.add(true, "MP_CAPABLE")
		w.add(mp.Capable.Flags&wire.CapChecksum != 0, "checksums")
		w.add(mp.Capable.Flags&wire.CapNoJoin != 0, "nojoin")
		w.add(mp.Capable.HasLength, "dsn 1")
	case wire.MPJoin:
		w.add(true, "MP_JOIN")
		w.add(mp.Join.Form != wire.JoinACK, "id %d", mp.Join.AddrID)
		w.add(mp.Join.Backup, "backup")
	case wire.DSS:
		w = dssText(st, s, out)
	case wire.AddAddr:
		w.add(true, "ADD_ADDR")
		w.add(mp.Add.Echo, "echo")
		w.add(true, "id %d %v", mp.Add.ID, mp.Add.Addr)
		w.add(mp.Add.Port != 0, "port %d", mp.Add.Port)
	case wire.RemoveAddr:
		w.add(true, "REMOVE_ADDR id")
		for _, id := range mp.Remove.IDs[:min(mp.Remove.N, len(mp.Remove.IDs))] {
			w.add(true, "%d", id)
		}
	case wire.MPPrio:
		w.add(true, "MP_PRIO")
		w.add(mp.Prio.Backup, "backup")
	case wire.MPFail:
		w.add(true, "MP_FAIL")
	case wire.FastClose:
		w.add(true, "MP_FASTCLOSE")
	case wire.TCPReset:
		w.add(true, "MP_TCPRST reason %d", mp.Rst.Reason)
		w.add(mp.Rst.Transient, "transient")
	}
	return w.join()
}

func dssText(st *stream, s *wire.Segment, out bool) (w words) {
	d := &s.MP.DSS
	if sender := st.sender(out); d.HasMap {
		n := fmt.Sprint(uint64(d.Seq))
		if sender.known {
			n = fmt.Sprint(sender.relative(d.Seq, d.Seq64))
		}
		length := len(s.Payload)
		if d.Fin {
			length++
		}
		if int(d.Length) != length {
			n += fmt.Sprintf("+%d", d.Length)
		}
		w.add(true, "dsn %s", n)
	}
	if peer := st.sender(!out); d.HasAck {
		w.add(peer.known, "dack %d", peer.relative(d.Ack, d.Ack64))
	}
	w.add(d.Fin, "DATA_FIN")
	return w
}

// noteText is what is told of an event between the arrows; most are to be seen
// in them.
func noteText(e trace.Event) string {
	switch e.Kind {
	case trace.TimeoutRTO:
		return "the retransmission timer fires"
	case trace.ProbeTLP:
		return "no answer: a tail loss probe"
	case trace.Fallback:
		return "plain TCP from here on"
	case trace.Reinjected:
		return "takes over what another path did not deliver"
	case trace.HoldStart:
		return "no path works: the connection is held"
	case trace.HoldEnd:
		return "a path works again"
	case trace.Failed:
		return "the connection has failed"
	}
	return ""
}
