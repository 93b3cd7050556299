package engine

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/trace"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/scheduler"
	"github.com/mpnc/mpnc/subflow"
	"github.com/mpnc/mpnc/subflow/cc"
)

// path is one subflow of a connection with what MPTCP knows of it. It answers
// the subflow's questions (subflow.Host).
type path struct {
	c     *Conn
	id    scheduler.PathID
	sf    *subflow.Subflow
	tuple wire.Tuple
	link  int

	first     bool  // the subflow that the connection began with
	active    bool  // this side opened it
	simult    bool  // a SYN crossed ours
	sentPlain bool  // our SYN went without MP_CAPABLE at last
	up        bool  // its handshake, MP_JOIN included, is done
	shift     uint8 // the peer's window shift (RFC 7323, Section 2.3)

	join       joinState
	localID    uint8
	remoteID   uint8
	nonce      uint32 // ours
	peerNonce  uint32
	joinRepeat mono.Time // when the third packet of MP_JOIN is sent again; Never
	joinTries  int

	backup     bool // our wish
	peerBackup bool // the peer's
	gone       bool // its local address or link is gone: muted
	leaving    bool // the peer withdrew its address; see patience
	closing    bool // a FIN was seen or asked for
	lastWord   bool // our FIN acknowledges all that the peer has to say, its DATA_FIN too

	patience mono.Time // a leaving path without a word by then, or a closing one without a FIN, ends
	doubt    mono.Time // a leaving path is asked then: words before it may have been under way
	askAt    mono.Time // a silent path is asked then whether it works again

	late     lateness
	silentAt mono.Time // the path is silent since then; Never if it is not

	received uint64 // octets of payload, repeated ones too
	watch    uint64 // the manager is told when so many were carried; 0: never

	// Options to go out once, on a pure ACK.
	sendPrio   bool
	sendAdd    *advert
	sendEcho   []echo
	sendRemove []uint8
	optionOnly bool // the last ACK did not say all: another has to follow
	probing    bool // one of the next pure ACKs is a keepalive
	sendFin    bool // the DATA_FIN, in a repetition that is due
	sendFail   int  // how many pure ACKs are still to answer an MP_FAIL
	dssSeen    bool // a DSS with DATA_ACK arrived on this subflow

	failing  bool      // a checksum failed, the peer is told, and has not answered
	failed   bool      // the RST has MP_FAIL
	failSeq  seq.Data  // where the mapping began
	failAt   mono.Time // the peer is told again
	failures int       // how often it was

	train     int  // payload of the longest packet that the device takes; 0 if one segment
	laneAsked bool // the driver was asked for a fast lane

	resetReason wire.ResetReason // for the RST that Abort sends
	fastClose   bool
	downReason  pathmgr.Reason
	transient   bool
	hasReset    bool // the peer's RST said why:
	resetBy     wire.ResetReason

	in   inbound
	trip tripMeter

	departed bool // those who watch were told of the end

	traced subflow.State // the state that the tracer was told of
}

// joinState is how far the MP_JOIN handshake has come (RFC 8684, Section 3.2).
type joinState uint8

const (
	joinNone      joinState = iota // the first subflow
	joinAsked                      // our SYN is out
	joinAnswered                   // our SYN/ACK is out
	joinConfirmed                  // our third packet is out, not acknowledged yet
	joinDone
)

func (c *Conn) addPath(t wire.Tuple, link int) *path {
	p := &path{
		c: c, id: c.nextPath, tuple: t, link: link,
		first: c.nextPath == 0, joinRepeat: mono.Never,
		patience: mono.Never, doubt: mono.Never, askAt: mono.Never, failAt: mono.Never,
		late: lateness{askedAt: mono.Never}, silentAt: mono.Never,
	}
	c.nextPath++
	c.paths = append(c.paths, p)
	return p
}

// usable reports whether the scheduler may be shown the path.
func (p *path) usable() bool {
	if p.c.fast.passed && p.c.mode == plain {
		return !p.gone && p.sf.State() == subflow.StateSynReceived
	}
	if !p.up || p.gone || p.leaving || p.closing { //spec:J8 off: if p.gone || p.leaving || p.closing {
		return false
	}
	st := p.sf.State()
	return st == subflow.StateEstablished || st == subflow.StateCloseWait && p.c.mode == plain
}

// alive reports whether the path works as far as anyone can tell.
func (p *path) alive() bool {
	return p.up && !p.gone && !p.silent() && p.sf.State() != subflow.StateClosed
}

// handle processes a segment of this path.
func (p *path) handle(now mono.Time, s *wire.Segment) {
	c := p.c
	p.received += uint64(len(s.Payload))
	asking := p.sf.State() == subflow.StateSynSent
	acc := p.sf.HandleSegment(now, s)
	if asking && acc.OK && s.Flags.Has(wire.SYN) {
		// The answer to our SYN; a later one is a stray and means nothing.
		p.setShift(s)
		p.simult = p.first && !s.Flags.Has(wire.ACK)
	}
	if acc.Events.Has(subflow.ResetByPeer) || acc.Events.Has(subflow.Refused) {
		p.onReset(now, s, acc.Events)
		return
	}
	if acc.OK {
		c.heard()
		c.onUserTimeout(s)
		if s.Flags.Has(wire.URG) {
			c.stats.UrgentRx++ //spec:T23 off:
		}
	}
	if acc.Events.Has(subflow.Established) && !p.onEstablished(now, s) {
		return
	}
	if acc.Events.Has(subflow.Failed) {
		p.onFailed(now)
		return
	}
	p.retire(acc.Retired)
	if !acc.OK { //spec:W1 off: if false {
		return
	}
	p.onHeard(now)
	p.onTrust(now, acc.Events)
	if c.mode == multipath && !p.onOptions(now, s, &acc) || c.mode == plain && !p.onPlain(now, s, &acc) {
		return
	}
	if n := len(acc.Retired); n > 0 && c.mode == plain { //spec:A9 off: if n := len(acc.Retired); n > 0 {
		// With plain TCP the subflow's acknowledgment is the connection's.
		c.acked(acc.Retired[n-1].To)
	}
	if acc.Payload != nil && c.phase != over {
		p.onData(now, s)
		p.onPayload(now, s, &acc)
		if c.news.at == now {
			c.news.path = p
		}
	}
	if acc.Events.Has(subflow.FinReceived) {
		p.onFIN(now, s)
	}
	if acc.Events.Has(subflow.FinAcked) {
		c.tx.finAcked = c.tx.finAcked || c.mode == plain
		c.understood = c.understood || p.lastWord
	}
}

// retire forgets what the peer acknowledged on this subflow.
func (p *path) retire(ranges []seq.Range) {
	for _, r := range ranges {
		p.c.snd.Unpin(r)
	}
}

// onTrust acts on the subflow's change of health.
func (p *path) onTrust(now mono.Time, ev subflow.Events) {
	if p.leaving && p.doubt == mono.Never {
		// RFC 8684, Section 3.4.2: the subflow answered the probe, so the
		// withdrawn address still works; keep it. The option may have been
		// overtaken on another path by the ADD_ADDR after it.
		p.leaving, p.patience = false, mono.Never
		if p.active {
			p.c.learnPeer(now, pathmgr.Peer{ID: p.remoteID, Addr: p.tuple.Remote})
		}
	}
	if ev.Has(subflow.Trusted) {
		p.trust(now)
	}
}

func (p *path) handleTimeout(now mono.Time) {
	c := p.c
	ev := p.sf.HandleTimeout(now)
	if ev.Has(subflow.Failed) {
		p.onFailed(now)
	}
	if ev.Has(subflow.Suspect) {
		c.trace(now, trace.TimeoutRTO, p.id, 0, 0)
		p.fellSilent(now)
		c.lose(p)
		c.suspected(now)
		if !p.late.suspected {
			c.tell(now, pathmgr.PathSuspect{ID: pathmgr.PathID(p.id)})
		}
	}
	if p.lateAt() <= now {
		p.onLate(now)
	}
	if p.abandonAt() <= now {
		p.abandon()
	}
	if ev.Has(subflow.Unanswered) || ev.Has(subflow.TimedOut) {
		p.onSilence(now, ev)
	}
	if p.joinRepeat <= now {
		p.repeatJoin(now)
	}
	if p.doubt <= now {
		p.doubt = mono.Never
		if p.leaving && !p.gone {
			p.keepalive()
		}
	}
	if p.patience <= now {
		p.outOfPatience()
	}
	if p.askAt <= now {
		p.ask()
	}
	if p.failAt <= now {
		p.repeatFail(now)
	}
}

// askEvery is how often a silent path is asked whether it works again while
// another one carries data. Its own retransmission timer backs off to a minute;
// a path that answers again is to be used within two seconds.
const askEvery = time.Second

// ask sends a keepalive on a path that is still silent; the answer ends the
// back-off of its retransmission timer.
func (p *path) ask() {
	p.askAt = mono.Never
	if p.usable() && p.silent() {
		p.keepalive()
	}
}

// askSilent arranges for the silent paths to be asked; called as long as there
// is more to send and another path for it.
func (c *Conn) askSilent(now mono.Time) {
	for _, p := range c.paths {
		if p.askAt == mono.Never && p.usable() && p.silent() {
			p.askAt = now.Add(askEvery)
		}
	}
}

// outOfPatience ends a path that nothing more is to be expected of.
func (p *path) outOfPatience() {
	p.patience = mono.Never
	switch {
	case p.leaving:
		// As a courtesy to what stands on the way (RFC 8684, Section 3.4.2).
		p.reset(wire.ResetUnspecified) //spec:P11 off: p.end(pathmgr.PeerGone)
		p.downReason = pathmgr.PeerGone
	case p.gone:
		p.end(pathmgr.Closed)
	case p.sf.State() != subflow.StateTimeWait:
		p.reset(wire.ResetUnspecified)
		p.downReason = pathmgr.Closed
	}
}

func (p *path) pollTimeout() mono.Time {
	return p.sf.PollTimeout().Earliest(p.joinRepeat).Earliest(p.patience).Earliest(p.doubt).
		Earliest(p.askAt).Earliest(p.failAt).Earliest(p.lateAt()).Earliest(p.abandonAt())
}

// transmit appends what the subflow has to say.
func (p *path) transmit(now mono.Time, b *wire.Batch) int {
	p.train = p.sf.TrainLimit(now, b)
	p.askLane(b)
	n := p.sf.PollTransmit(now, p.c.snd, p, b)
	if p.probing {
		p.probing = false
		p.optionOnly = p.optionOnly || p.waiting()
	}
	for p.optionOnly {
		// RFC 8684, Section 3.4.1: an ADD_ADDR that had no room beside the
		// DSS went alone; the DATA_ACK follows.
		p.optionOnly = false
		p.sf.SendAck()
		n += p.sf.PollTransmit(now, p.c.snd, p, b)
	}
	return n
}

// keepalive asks the peer for an answer. The segment lies outside the peer's
// window, so that it must not act on options there (RFC 8684, Section 3).
func (p *path) keepalive() {
	p.probing = true
	p.sf.SendProbe()
}

// abort resets the subflow as the connection's failure asks.
func (p *path) abort() {
	p.fastClose = p.c.mode == multipath && p.up && p.c.closer == nil
	if p.gone || p.sf.State() == subflow.StateTimeWait {
		p.sf.Kill() // nothing leaves from an address that is not ours; nobody waits for a RST
		return
	}
	p.sf.Abort()
}

// reset sends a RST with an MPTCP reason; the connection lives on.
func (p *path) reset(reason wire.ResetReason) {
	p.resetReason = reason
	p.downReason = pathmgr.Refused
	p.sf.Abort()
}

// end closes the subflow without a word.
func (p *path) end(reason pathmgr.Reason) {
	p.downReason = reason
	p.sf.Kill()
}

// pathEnded settles what a path leaves behind.
func (c *Conn) pathEnded(now mono.Time, p *path) {
	info := p.info()
	info.Ended, info.Reason = true, p.downReason
	c.flushed = c.flushed || p.up && p.closing && c.settled()
	c.lose(p)
	p.sf.Outstanding(func(r seq.Range) { c.snd.Unpin(r) })
	p.forgetMappings()
	if p == c.closer {
		c.closer, c.closeAt = nil, mono.Never
	}
	if len(c.ended) < maxEnded {
		c.ended = append(c.ended, info)
	}
	if m, ok := p.sf.Controller().(cc.Controller); ok {
		c.group.Leave(m)
	}
	c.emit(Unregister{p.tuple})
	p.tellDeparted()
	c.emit(PathDown{info})
	c.trace(now, trace.SubflowDown, p.id, uint64(p.downReason), 0)
	if c.phase == open && c.mode != plain { // plain TCP ends with its one path
		c.suspected(now)
	}
	c.tell(now, pathmgr.SubflowDown{Subflow: p.view(), Reason: p.downReason, Transient: p.transient})
}

// maxEnded bounds the ended subflows that statistics remember.
const maxEnded = 64

// info is the path in statistics.
func (p *path) info() SubflowInfo {
	id := p.localID
	if !p.active {
		id = p.remoteID
	}
	return SubflowInfo{
		ID: p.id, Tuple: p.tuple, Link: p.link, AddrID: id, Active: p.active,
		LocalID: p.localID, RemoteID: p.remoteID,
		Backup: p.backup || p.peerBackup, Up: p.up, Gone: p.gone, Info: p.sf.Info(),
		First: p.first, HasReset: p.hasReset, ResetReason: p.resetBy, ResetTransient: p.transient,
	}
}

// view is the path as a manager sees it.
func (p *path) view() pathmgr.Subflow {
	return pathmgr.Subflow{
		ID: pathmgr.PathID(p.id), Local: p.tuple.Local, Remote: p.tuple.Remote,
		Link: p.link, Backup: p.backup, PeerBackup: p.peerBackup,
		Established: p.up, Suspect: p.silent() || p.gone, Carried: p.carried(),
	}
}

// carried is how many octets of payload the path carried, both ways, repeated
// ones too.
func (p *path) carried() uint64 {
	info := p.sf.Info()
	return p.received + info.BytesOut + info.BytesRetrans
}

// becameUp marks the path usable and tells everybody.
func (p *path) becameUp(now mono.Time) {
	if p.up {
		return
	}
	p.up = true
	p.c.trace(now, trace.SubflowUp, p.id, uint64(p.localID), 0)
	p.c.emit(PathUp{p.info()})
	p.c.revived(now)
	if !p.first {
		p.c.dropSilent()
		p.c.readvertise(now)
		p.c.tell(now, pathmgr.SubflowUp{Subflow: p.view()})
		p.c.retireGone(now)
	}
}
