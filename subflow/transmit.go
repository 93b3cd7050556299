package subflow

import (
	"github.com/mpnc/mpnc/internal/buf"
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// output is what one PollTransmit works with. It lives in the Subflow so that
// handing its parts to a Host costs no allocation.
type output struct {
	now  mono.Time
	src  *buf.Send
	host Host
	b    *wire.Batch
	seg  wire.Segment
	out  Outgoing

	fresh bool // what is sent now was never sent before
	alone bool // it is to be one segment
}

// transmitters are what can leave, in the order in which it does. want says
// whether it would now; send appends one packet and reports whether there was
// room for it.
var transmitters = [...]struct {
	want func(*Subflow, mono.Time) bool
	send func(*Subflow, *output) bool
}{
	{(*Subflow).wantReset, (*Subflow).sendReset},
	{(*Subflow).wantSYN, (*Subflow).sendSYN},
	{(*Subflow).wantFirstAck, (*Subflow).sendFirstAck},
	{(*Subflow).wantRetransmit, (*Subflow).sendRetransmit},
	{(*Subflow).wantTLP, (*Subflow).sendTLP},
	{(*Subflow).wantShow, (*Subflow).sendShow},
	{(*Subflow).wantSizeProbe, (*Subflow).sendSizeProbe},
	{(*Subflow).wantData, (*Subflow).sendData},
	{(*Subflow).wantFIN, (*Subflow).sendFIN},
	{(*Subflow).wantProbe, (*Subflow).sendProbe},
	{(*Subflow).wantAck, (*Subflow).sendAck},
}

// PollTransmit appends the packets that may leave now to b, as far as it has
// room, and returns how many. src gives the payload of data ranges.
func (s *Subflow) PollTransmit(now mono.Time, src *buf.Send, h Host, b *wire.Batch) int {
	if s.muted {
		return 0
	}
	n := len(b.Pkts)
	s.tx.now, s.tx.src, s.tx.host, s.tx.b = now, src, h, b
	for s.transmitOne(now) {
	}
	s.tx.src, s.tx.host, s.tx.b = nil, nil, nil
	return len(b.Pkts) - n
}

func (s *Subflow) transmitOne(now mono.Time) bool {
	for i := range transmitters {
		if t := &transmitters[i]; t.want(s, now) {
			return t.send(s, &s.tx)
		}
	}
	return false
}

// WantsTransmit reports whether PollTransmit(now) would append something,
// given room.
func (s *Subflow) WantsTransmit(now mono.Time) bool {
	if s.muted {
		return false
	}
	for i := range transmitters {
		if transmitters[i].want(s, now) {
			return true
		}
	}
	return false
}

// header starts a segment with its TCP options.
func (s *Subflow) header(x *output, flags wire.Flags, off seq.Offset) *wire.Segment {
	seg := &x.seg
	*seg = wire.Segment{Tuple: s.tuple, Seq: off.Num(s.snd.iss), Flags: flags | s.ecnFlags(flags)}
	if has(seg, wire.ACK) {
		seg.Ack = s.rcv.nxt.Num(s.rcv.irs)
	}
	if s.ts.on || s.state == StateSynSent && !s.cfg.NoTimestamps {
		seg.Opt.HasTS = true
		seg.Opt.TSVal = s.ts.clock(x.now)
		if has(seg, wire.ACK) {
			seg.Opt.TSEcr = s.ts.recent
		}
	}
	return seg
}

// complete asks the Host for its options and the window, and uses what is left
// of the option block for SACK.
func (s *Subflow) complete(x *output, out Outgoing) {
	seg := &x.seg
	x.out = out
	x.out.Room = maxOptions - seg.Opt.Len()
	x.host.Options(&x.out, &seg.MP)
	wnd := max(x.host.Window(), 0)
	if has(seg, wire.SYN) {
		seg.Window = uint16(min(wnd, 65535))
		wnd = int(seg.Window)
	} else {
		seg.Window = uint16(min(wnd>>s.rcv.shift, 65535))
		wnd = int(seg.Window) << s.rcv.shift
	}
	s.tellUserTimeout(seg)
	if !has(seg, wire.SYN) {
		s.rcv.blocks(&seg.Opt, wire.SACKRoom(seg.Opt.Len()+seg.MP.Len()))
	}
	if wnd == 0 && s.rcv.wnd != 0 {
		s.info.ZeroWindows++
	}
	if has(seg, wire.ACK) {
		s.rcv.shown(wnd)
		s.ackSent()
	} else {
		s.rcv.wnd = wnd
	}
}

// bare appends a segment without payload; there is room, the caller has seen to
// that.
func (s *Subflow) bare(x *output, flags wire.Flags, off seq.Offset, out Outgoing) {
	s.header(x, flags, off)
	s.complete(x, out)
	s.emit(x)
}

func (s *Subflow) emit(x *output) {
	if !wire.AppendSegment(x.b, &x.seg, 0) {
		panic("BUG: no room for a segment that was seen to fit")
	}
	s.sentOne(x.now, 1)
}

func (s *Subflow) sentOne(now mono.Time, segs int) {
	s.info.SegsOut += uint64(segs)
	s.info.LastSend = now
}

// fits reports whether a segment with n octets of payload has room for sure.
func (x *output) fits(n int) bool { return x.b.Room() >= maxHeaders+n }

func (s *Subflow) wantReset(mono.Time) bool { return s.reply.pending }

func (s *Subflow) sendReset(x *output) bool {
	if !x.fits(0) {
		return false
	}
	r := s.reply
	s.reply.pending = false
	if r.own {
		s.header(x, wire.RST|wire.ACK, 0)
		x.seg.Seq = r.seq
		s.complete(x, Outgoing{Kind: KindRST})
		s.emit(x)
		return true
	}
	x.seg = wire.Segment{Tuple: s.tuple, Seq: r.seq, Flags: wire.RST}
	s.emit(x)
	return true
}

func (s *Subflow) wantSYN(mono.Time) bool { return s.syn.pending && s.state.handshaking() }

func (s *Subflow) sendSYN(x *output) bool {
	if !x.fits(0) {
		return false
	}
	flags, kind := wire.SYN, KindSYN
	if s.state == StateSynReceived {
		flags, kind = wire.SYN|wire.ACK, KindSYNACK
	}
	seg := s.header(x, flags|s.ecnSYNFlags(kind == KindSYNACK), 0)
	seg.Opt.MSS = uint16(s.advertisedMSS())
	// A SYN/ACK has the options that the SYN had: RFC 7323, Sections 2.2 and
	// 3.2; RFC 2018, Section 2.
	answer := kind == KindSYNACK && s.passive
	if !answer || s.syn.scale {
		seg.Opt.HasWScale, seg.Opt.WScale = true, s.cfg.WScale
	}
	seg.Opt.SACKPermitted = !s.cfg.NoSACK && (!answer || s.rcv.sackOK)
	retry := s.syn.sent
	s.complete(x, Outgoing{Kind: kind, Retry: retry})
	s.offerFastOpen(x)
	s.synSent(x.now)
	s.emit(x)
	return true
}

func (s *Subflow) wantRetransmit(now mono.Time) bool {
	n := s.lostBudget()
	return n > 0 && (s.rec.force || s.credit(now) >= min(n, s.MSS()))
}

// lostBudget returns how many octets of what is lost the congestion window lets
// go. The peer's window does not count: it covered them once (RFC 9293, Section
// 3.8.6, SHLD-15: retransmit even if the window has shrunk).
func (s *Subflow) lostBudget() int {
	if s.snd.lost == 0 || !s.state.synchronized() {
		return 0
	}
	n := s.Cwnd() - s.inFlight()
	if n < min(s.MSS(), s.snd.lost) {
		if !s.rec.force && s.inFlight() > 0 {
			return 0
		}
		n = s.MSS()
	}
	return min(n, s.snd.lost)
}

func (s *Subflow) sendRetransmit(x *output) bool {
	i := s.snd.nextLost()
	limit := s.lostBudget()
	if !s.rec.force {
		limit = min(limit, max(s.credit(x.now), s.MSS()))
	}
	return s.resend(x, i, limit)
}

// resend sends the front of record i again, at most limit octets.
func (s *Subflow) resend(x *output, i, limit int) bool {
	d := &s.snd
	r := d.recs.live()[i]
	n := min(int(r.len), limit)
	if r.has(recFIN) {
		if !x.fits(0) {
			return false
		}
		s.bare(x, wire.FIN|wire.ACK, r.off, Outgoing{Kind: KindACK, Fin: true})
	} else if n = s.sendText(x, r.m, r.off, n); n == 0 { //spec:T79 off: } else if n = s.sendText(x, Mapping{Data: r.data(r.off), Off: r.off, Len: n}, r.off, n); n == 0 {
		return false
	}
	segs := s.segments(n)
	s.info.Retransmits += uint64(segs)
	s.info.BytesRetrans += uint64(n)
	s.rec.sentAgain(x.now, n)
	if s.rec.mode == fast {
		s.rec.out += n
	}
	s.spend(x.now, n)
	s.noteResent(i, n, x.now)
	return true
}

// noteResent changes record i, whose first n octets have left again, joining
// them to the record before if that left in the same burst.
func (s *Subflow) noteResent(i, n int, now mono.Time) {
	d := &s.snd
	r := &d.recs.live()[i]
	if i > 0 && !r.has(recFIN) && r.tries < 1<<16-1 {
		if prev := &d.recs.live()[i-1]; prev.follows(r.off, r.m, now, r.tries+1, uint16(s.MSS())) {
			d.account(r, -1)
			d.account(prev, -1)
			prev.len += int32(n)
			prev.snap.inFlight += int32(n)
			r.off += seq.Offset(n)
			r.len -= int32(n)
			d.account(prev, 1)
			d.account(r, 1)
			if r.len == 0 {
				d.recs.remove(i)
			}
			return
		}
	}
	snap := s.rate.onSend(now, d.pipe, n)
	if n < int(r.len) {
		d.split(i, r.off+seq.Offset(n))
		r = &d.recs.live()[i]
	}
	d.flag(r, 0, recLost|recProbe)
	r.sent, r.snap, r.size = now, snap, uint16(s.MSS())
	if r.flags &^= recLimited; s.rate.bubble > 0 {
		r.flags |= recLimited
	}
	if r.tries < 1<<16-1 {
		r.tries++
	}
}

func (s *Subflow) wantTLP(mono.Time) bool {
	if !s.tlp.pending || !s.state.sends() || s.snd.recs.len() == 0 {
		return false
	}
	live := s.snd.recs.live()
	return s.probeBudget() > 0 || !live[len(live)-1].has(recSacked|recLost)
}

// sendTLP sends the probe: new data if there is some and the peer's window
// allows, else the last segment again (RFC 8985, Section 7.3). Neither the
// congestion window nor pacing stops it.
func (s *Subflow) sendTLP(x *output) bool {
	if n := s.probeBudget(); n > 0 { //spec:T54 off: if n := s.probeBudget(); n < 0 {
		x.alone = true
		sent := s.sendFresh(x, min(n, s.MSS()))
		if x.alone = false; sent {
			s.tlpSent(false)
		}
		return sent
	}
	if !s.resendLast(x) {
		return false
	}
	s.rec.undoable = false // a D-SACK now speaks of the probe
	s.tlpSent(true)
	return true
}

// maxSACK is how many octets SACK blocks take at most, with their padding.
const maxSACK = 36

// resendLast sends the last segment again, by itself.
func (s *Subflow) resendLast(x *output) bool {
	d := &s.snd
	i := d.recs.len() - 1
	r := &d.recs.live()[i]
	if !x.fits(s.MSS()) {
		return false
	}
	last := s.MSS()
	if !s.rcv.set.Empty() {
		last -= maxSACK // in room that was planned for payload; the end has to be in it
	}
	if int(r.len) > last {
		d.split(i, r.end()-seq.Offset(last))
		i++
	}
	x.alone = true
	defer func() { x.alone = false }()
	return s.resend(x, i, s.MSS())
}

// probeBudget is how much new data a tail loss probe may have.
func (s *Subflow) probeBudget() int {
	n := min(s.windowBudget(), s.MSS())
	if s.laneHides(n) {
		return 0
	}
	return n
}

func (s *Subflow) wantData(now mono.Time) bool {
	n := s.freshBudget()
	return n > 0 && s.credit(now) >= min(n, s.MSS())
}

// windowBudget returns how many octets of the next mapping the peer's window
// lets go. Less than a segment, and less than is there, only if nothing is in
// flight: RFC 9293, Section 3.8.6.2.1.
func (s *Subflow) windowBudget() int {
	d := &s.snd
	if d.unsent() == 0 || !s.state.sends() && !s.answersEarly() {
		return 0
	}
	m := d.todo.live()[0]
	rest := dist(m.Off+seq.Offset(m.Len), d.nxt)
	n := min(rest, dist(d.edge, d.nxt))
	if n <= 0 || n < min(rest, s.MSS()) && d.recs.len() > 0 { //spec:T71 off: if n <= 0 {
		return 0
	}
	return n
}

// freshBudget returns how many octets of the next mapping both windows let go.
// What is lost goes first.
func (s *Subflow) freshBudget() int {
	n := s.windowBudget()
	if n == 0 || s.snd.lost > 0 || s.laneWaits() {
		return 0
	}
	room := s.Cwnd() - s.inFlight()
	if full := min(n, s.MSS()); room < full {
		if s.inFlight() > 0 {
			return 0
		}
		room = full
	}
	return min(n, room)
}

func (s *Subflow) sendData(x *output) bool {
	n := min(s.freshBudget(), max(s.credit(x.now), s.MSS()))
	if s.model == nil && s.idleSince(x.now) {
		if iw := s.initialWindow(); iw < s.ctrl.Window() {
			s.pace.restart = iw //spec:T58 off: _ = iw
		}
		n = min(n, s.Cwnd())
	}
	return s.sendFresh(x, n)
}

// sendFresh sends at most n octets of the next mapping.
func (s *Subflow) sendFresh(x *output, n int) bool {
	d := &s.snd
	m := d.todo.live()[0]
	off := d.nxt
	if d.recs.len() == 0 {
		s.restart(x.now)
	}
	x.fresh = true
	n = s.sendText(x, m, off, n)
	if x.fresh = false; n == 0 {
		return false
	}
	r := record{off: off, m: m, sent: x.now, snap: s.rate.onSend(x.now, d.pipe, n), len: int32(n), size: uint16(s.MSS())}
	if s.limited = s.appLimited(x.now, n); s.limited {
		s.rate.limit(d.pipe + n)
	}
	if s.rate.bubble > 0 {
		r.flags |= recLimited
	}
	d.push(r)
	if d.nxt == m.Off+seq.Offset(m.Len) {
		d.todo.pop()
	}
	s.info.BytesOut += uint64(n)
	s.newDataAt = x.now
	if s.rec.mode == fast {
		s.rec.out += n
	}
	s.spend(x.now, n)
	return true
}

// restart is for data that is about to leave while nothing is in flight. If
// pacing and both windows could have let it go well before, it was not there.
func (s *Subflow) restart(now mono.Time) {
	open := max(s.creditAt(0), s.rate.at, s.snd.wndAt)
	if _, burst := s.pacing(); now.Sub(open) >= max(burst, paceBurst) {
		s.rate.limit(0)
	}
	if s.model != nil && s.rate.bubble > 0 {
		s.model.OnRestart(now)
	}
}

// appLimited reports whether, once n more octets have left at now, both the
// window and pacing have room for another segment and nothing is there to fill
// it. (If pacing has not, what the application has next was not asked for, nor if
// the window has not room for another train.)
func (s *Subflow) appLimited(now mono.Time, n int) bool {
	return s.snd.unsent() == n && s.snd.lost == 0 &&
		s.inFlight()+n+max(s.MSS(), s.TrainWorth()) <= s.Cwnd() && s.credit(now) >= n+s.MSS()
}

// sendText appends a packet with at most n octets of mapping m from off on, and
// returns how many it has; 0 if there was no room. With a device that takes
// trains they may be many segments.
//
// The mapping is the same however the data is cut (RFC 8684, Section 3.3.1).
func (s *Subflow) sendText(x *output, m Mapping, off seq.Offset, n int) int {
	mss := s.MSS()
	most := s.TrainLimit(x.now, x.b)
	if x.alone {
		most = 0
	}
	if !x.fits(min(n, max(mss, most))) && (len(x.b.Pkts) > 0 || !x.fits(min(n, mss))) {
		return 0 // a train that would have to be cut waits for the next batch
	}
	seg := s.header(x, wire.ACK, off)
	s.complete(x, Outgoing{Kind: KindData, Map: m, Off: off}) //spec:D5 off: s.complete(x, Outgoing{Kind: KindData, Map: Mapping{Data: m.Data + seq.Data(off-m.Off), Off: off, Len: n}, Off: off})
	headers := wire.HeaderLen(seg)
	// Options may take more than was planned for (SACK blocks, for one):
	// T18 of the MSS rules, "the effective send MSS ... options included".
	mss = min(mss, s.PathMTU()-headers, s.segLimit()-(headers-s.ipTCP())) //spec:T18 off:
	n = cut(n, mss, min(most, x.b.Room()-headers, wire.MaxPacket-headers))
	if x.b.Lane && s.lane.Tracked && n > mss && m.Data+seq.Data(off-m.Off)+seq.Data(n) == x.src.End() {
		n = (n - 1) / mss * mss // the last segment leaves the ordinary way: see lane
	}
	if x.fresh { //spec:T75 off: {
		s.ecnFresh(seg)
	}
	if m.Data+seq.Data(off-m.Off)+seq.Data(n) == x.src.End() {
		// "A TCP implementation MUST set the PSH bit in the last buffered
		// segment": RFC 9293, Section 3.9.1.2 (MUST-60). The last one assigned
		// is another matter: a receiver that acknowledges at once what was
		// pushed would do so for every segment of a filled window.
		seg.Flags |= wire.PSH //spec:T24 off:
	} else if off+seq.Offset(n) == s.snd.end && s.Cwnd() <= s.initialWindow() {
		// Unless the window is so small that it should: there is nothing more
		// to come before an acknowledgment, which a receiver would delay if the
		// window is odd.
		seg.Flags |= wire.PSH
	}
	train := 0
	if n > mss {
		train = mss
	}
	x.text(m.Data+seq.Data(off-m.Off), n, train)
	if train != 0 {
		s.info.Trains++
	}
	if x.b.Lane {
		s.lane.sent(x.now, off, off+seq.Offset(n), train != 0, s.RTO())
	}
	s.sentOne(x.now, (n+mss-1)/mss)
	return n
}

// text appends the segment with n octets of data from at on, as a train of
// segments of that size if train is not 0.
func (x *output) text(at seq.Data, n, train int) {
	if train != 0 && x.b.Lend {
		if !wire.AppendLent(x.b, &x.seg, x.src, seq.Range{From: at, To: at.Add(n)}, train) {
			panic("BUG: no room for a train that was seen to fit")
		}
		return
	}
	payload := wire.AppendHeader(x.b, &x.seg, n, train)
	if payload == nil {
		panic("BUG: no room for a segment that was seen to fit")
	}
	x.src.CopyAt(payload, at)
	x.b.Finish()
}

// cut returns how many of n octets go into one packet of segments of mss
// octets: one segment, or whole segments up to limit, or all.
func cut(n, mss, limit int) int {
	switch {
	case n <= mss || limit < 2*mss:
		return min(n, mss)
	case n <= limit:
		return n
	}
	return limit - limit%mss
}

func (s *Subflow) segments(n int) int { return (n + s.MSS() - 1) / s.MSS() }

// wantFIN: the FIN follows what was assigned, and takes an octet of the peer's
// window as all of sequence space does.
func (s *Subflow) wantFIN(mono.Time) bool {
	d := &s.snd
	return d.finQueued && !d.finSent && d.unsent() == 0 && s.state.sends() && after(d.edge, d.nxt)
}

func (s *Subflow) sendFIN(x *output) bool {
	if !x.fits(0) {
		return false
	}
	d := &s.snd
	s.bare(x, wire.FIN|wire.ACK, d.end, Outgoing{Kind: KindACK, Fin: true})
	d.push(record{off: d.end, len: 1, sent: x.now, snap: s.rate.onSend(x.now, d.pipe, 1), flags: recFIN})
	d.finSent = true
	s.newDataAt = x.now
	return true
}

func (s *Subflow) wantProbe(mono.Time) bool {
	return s.probe && s.state.synchronized() && s.state != StateTimeWait
}

func (s *Subflow) sendProbe(x *output) bool {
	if !x.fits(0) {
		return false
	}
	s.probe = false
	s.bare(x, wire.ACK, s.snd.una-1, Outgoing{Kind: KindACK})
	return true
}

func (s *Subflow) wantFirstAck(mono.Time) bool { return s.rcv.first > 0 && s.state.synchronized() }

func (s *Subflow) sendFirstAck(x *output) bool {
	if !s.sendAck(x) {
		return false
	}
	s.rcv.first--
	return true
}

func (s *Subflow) wantAck(mono.Time) bool {
	return (s.rcv.ackNow || s.rcv.ackSoon) && (s.state.synchronized() || s.state == StateSynReceived && s.syn.sent > 0)
}

func (s *Subflow) sendAck(x *output) bool {
	if !x.fits(0) {
		return false
	}
	s.bare(x, wire.ACK, s.snd.ackFrom(), Outgoing{Kind: KindACK})
	return true
}

// ackFrom returns the sequence number of a segment without text: SND.NXT, or,
// if the peer took its window back, the edge of that, where it is acceptable.
func (d *sender) ackFrom() seq.Offset { return later(d.una, earlier(d.nxt, d.edge)) } //spec:T15 off: func (d *sender) ackFrom() seq.Offset { return d.nxt }
