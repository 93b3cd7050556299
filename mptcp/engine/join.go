package engine

import (
	"crypto/subtle"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/trace"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/subflow"
)

// joinSynRetries bounds the SYNs of a join: 1+2+4+8 seconds.
const joinSynRetries = 3

// OpenPath answers WantPath: the port is bound and the route known.
func (c *Conn) OpenPath(now mono.Time, r PathRequest, t wire.Tuple, link, mtu int) {
	w, ok := c.mgr.take(r)
	if c.pathOf(t) != nil {
		return // the tuple is in use: it stays registered
	}
	if !ok || c.phase != open || c.mode != multipath {
		c.emit(Unregister{t})
		return
	}
	cfg := c.subflowConfig(now, t, mtu)
	cfg.SynRetries = joinSynRetries
	p := c.addPath(t, link)
	p.active = true
	p.join = joinAsked
	p.backup = w.backup
	p.localID = c.localID(t.Local.Addr()) //spec:J2 off: p.localID = 0
	p.remoteID = w.remoteID
	p.nonce = rand32(c.cfg.Rand) //spec:J1 off: p.nonce = 1
	p.sf = subflow.Dial(now, t, cfg)
	c.stats.MPJoinSynTx++
	c.trace(now, trace.Rejoin, p.id, uint64(p.localID), 0)
	c.emit(Register{t})
}

// PathRefused answers WantPath: no port or no route.
func (c *Conn) PathRefused(now mono.Time, r PathRequest) {
	w, ok := c.mgr.take(r)
	if !ok || c.phase != open {
		return
	}
	c.tell(now, pathmgr.SubflowDown{
		Subflow: pathmgr.Subflow{ID: -1, Local: w.localPort(), Remote: w.remote, Link: w.link, Backup: w.backup},
		Reason:  pathmgr.Refused, Transient: true,
	})
}

// fourthPackets is how many ACKs finish a join that we accepted, before any
// data. RFC 8684, Section 3.2, wants one; but if that is lost, and the first
// data with it, then Linux resets the subflow on the data that follows, and
// never opens another in its stead.
const fourthPackets = 2

// acceptJoin answers a SYN with MP_JOIN whose token is ours
// (RFC 8684, Section 3.2).
func (c *Conn) acceptJoin(now mono.Time, s *wire.Segment) {
	if s.MP.Has&wire.MPJoin == 0 || s.MP.Join.Form != wire.JoinSYN {
		return
	}
	c.stats.MPJoinSynRx++
	p := c.addPath(s.Tuple, s.Link)
	c.emit(Register{s.Tuple})
	p.answerJoin(now, s)
}

// crossed reports whether a segment is the peer's SYN for the subflow that our
// SYN is under way for.
func (p *path) crossed(s *wire.Segment) bool {
	return p.join == joinAsked && p.sf.State() == subflow.StateSynSent && s.Flags.Has(wire.SYN) && !s.Flags.Has(wire.ACK) &&
		s.MP.Has&wire.MPJoin != 0 && s.MP.Join.Form == wire.JoinSYN && s.MP.Join.Token == p.c.token
}

// onCrossing settles two joins of one pair of addresses and ports, for which TCP
// would open both at once, with no room for the HMACs: the one of the side that
// opened the connection holds (RFC 8684, Section 3.9.2, wants one subflow).
func (p *path) onCrossing(now mono.Time, s *wire.Segment) {
	if p.c.client {
		return // the peer drops its own
	}
	p.c.stats.MPJoinSynRx++
	p.active, p.sentPlain = false, false
	p.answerJoin(now, s)
}

// answerJoin makes the path's subflow of the SYN of a join.
func (p *path) answerJoin(now mono.Time, s *wire.Segment) {
	c := p.c
	cfg := c.subflowConfig(now, s.Tuple, s.MTU)
	cfg.SynRetries = joinSynRetries
	p.setShift(s)
	p.sf = subflow.Accept(now, s, cfg)
	p.join = joinAnswered
	p.remoteID = s.MP.Join.AddrID //spec:J2 off:
	p.localID = c.localID(s.Local.Addr())
	p.peerBackup = s.MP.Join.Backup //spec:J13 off:
	p.peerNonce = s.MP.Join.Nonce
	p.nonce = rand32(c.cfg.Rand)
	switch {
	case c.mode != multipath || c.phase != open: //spec:F10 off: case false:
		// After a fallback there is one subflow for ever (RFC 8684, Section 3.7).
		c.stats.MPJoinRejected++
		p.reset(wire.ResetMPTCPError)
	case c.cfg.NoJoinFirst && p.tuple.Local == c.local: //spec:H12 off: case false:
		c.stats.MPJoinRejected++
		p.reset(wire.ResetProhibited)
	case len(c.paths) > maxLeaving+c.limits.Subflows || c.livePaths() > c.limits.Subflows && !c.dropHalfOpen(p): //spec:J17,E2 off: case false:
		c.stats.MPJoinRejected++
		p.reset(wire.ResetProhibited)
	}
}

// dropHalfOpen makes room for p: the oldest join that its opener has not proved
// yet goes without a word. Whoever has seen the token can send SYNs from any
// address, and those must not keep out who can prove more (RFC 8684, Section 5).
// False: all are proved.
func (c *Conn) dropHalfOpen(p *path) bool {
	for _, q := range c.paths {
		if q != p && q.join == joinAnswered && q.sf.State() == subflow.StateSynReceived {
			q.end(pathmgr.Refused)
			return true
		}
	}
	return false
}

// maxLeaving bounds the subflows that are exchanging FINs or in TIME-WAIT and
// so do not count against Config.MaxSubflows.
const maxLeaving = 32

// livePaths returns how many paths there are, less those on their way out and
// those that are silent: a peer that went through many addresses is not kept out
// by what it left behind.
func (c *Conn) livePaths() int {
	n := 0
	for _, p := range c.paths {
		if p.counts() && !p.silent() {
			n++
		}
	}
	return n
}

// counts reports whether the path is one of those that Config.MaxSubflows bounds.
func (p *path) counts() bool { return !p.closing && p.sf.State() != subflow.StateClosed }

// dropSilent gives up the path that was silent for longest, of those that the
// peer opened, if there are more than there may be. The peer has proved a new one.
func (c *Conn) dropSilent() {
	n := 0
	var oldest *path
	for _, p := range c.paths {
		if !p.counts() {
			continue
		}
		n++
		if !p.active && p.up && p.silent() && (oldest == nil || p.silentAt < oldest.silentAt) {
			oldest = p
		}
	}
	if n > c.limits.Subflows && oldest != nil {
		oldest.abandon()
	}
}

// onJoinEstablished reads the SYN/ACK or the third packet of a join. A wrong
// one is answered with a RST and the connection lives on.
func (p *path) onJoinEstablished(now mono.Time, s *wire.Segment) bool {
	c, j := p.c, &s.MP.Join
	has := s.MP.Has&wire.MPJoin != 0
	switch {
	case p.join == joinAsked && has && j.Form == wire.JoinSYNACK:
		p.peerNonce = j.Nonce
		p.peerBackup = j.Backup
		p.remoteID = j.AddrID
		want := wire.JoinMAC(c.peerKey, c.key, p.peerNonce, p.nonce)
		if subtle.ConstantTimeCompare(want[:8], j.MAC[:8]) != 1 { //spec:J6 off: if len(want) == 0 {
			c.stats.MPJoinHMACFail++
			p.reset(wire.ResetMPTCPError)
			return false
		}
		c.stats.MPJoinSynAckRx++
		p.join, c.joined = joinConfirmed, true
		p.armJoin(now) //spec:J8 off:
		p.sf.SendAck()
		return true
	case p.join == joinAnswered && has && j.Form == wire.JoinACK:
		want := wire.JoinMAC(c.peerKey, c.key, p.peerNonce, p.nonce)
		if subtle.ConstantTimeCompare(want[:20], j.MAC[:]) != 1 { //spec:J10,J12 off: if len(want) == 0 {
			c.stats.MPJoinHMACFail++
			p.reset(wire.ResetMPTCPError)
			return false
		}
		c.stats.MPJoinAckRx++
		p.join, c.joined = joinDone, true
		p.sf.SendAcksFirst(fourthPackets) //spec:J9 off:
		p.becameUp(now)
		return true
	}
	p.reset(wire.ResetMPTCPError)
	return false
}

// onJoinProgress looks for what ends, or repeats, a join's handshake. False:
// the path is finished.
func (p *path) onJoinProgress(now mono.Time, s *wire.Segment) bool {
	switch {
	case p.join == joinConfirmed && s.Flags.Has(wire.SYN):
		p.sf.SendAck() // the SYN/ACK again: our third packet was lost
	case p.join == joinConfirmed && s.Flags.Has(wire.ACK):
		if s.MP.Has == 0 && len(s.Payload) > 0 { //spec:J11 off: if false {
			p.reset(wire.ResetMPTCPError) // no plain TCP on a joined subflow
			return false
		}
		p.join, p.joinRepeat = joinDone, mono.Never
		p.becameUp(now)
	case p.join == joinDone && s.MP.Has&wire.MPJoin != 0 && s.MP.Join.Form == wire.JoinACK:
		p.sf.SendAcksFirst(1) // our fourth packet was lost
	}
	return true
}

// armJoin arranges for the third packet of MP_JOIN to be sent again: it is
// retransmitted until it is acknowledged (RFC 8684, Section 3.2).
func (p *path) armJoin(now mono.Time) {
	d := max(p.sf.RTO(), 200*time.Millisecond) << min(p.joinTries, 5)
	p.joinRepeat = now.Add(d)
}

// maxJoinRepeats bounds the copies of the third packet.
const maxJoinRepeats = 6

func (p *path) repeatJoin(now mono.Time) {
	p.joinRepeat = mono.Never
	if p.join != joinConfirmed {
		return
	}
	p.joinTries++
	if p.joinTries > maxJoinRepeats {
		p.reset(wire.ResetMPTCPError)
		p.downReason = pathmgr.TimedOut
		return
	}
	p.sf.SendAck()
	p.armJoin(now)
}

// joinOptions fills in the three forms of MP_JOIN that we send.
func (p *path) joinOptions(form wire.JoinForm, mp *wire.MPOptions) {
	c := p.c
	mp.Has |= wire.MPJoin
	mp.Join.Form = form
	mp.Join.Backup = p.backup
	mp.Join.AddrID = p.localID
	switch form {
	case wire.JoinSYN:
		mp.Join.Token = c.peerToken
		mp.Join.Nonce = p.nonce
	case wire.JoinSYNACK:
		mac := wire.JoinMAC(c.key, c.peerKey, p.nonce, p.peerNonce)
		copy(mp.Join.MAC[:8], mac[:8]) //spec:J4 off: copy(mp.Join.MAC[:8], mac[24:])
		mp.Join.Nonce = p.nonce
	case wire.JoinACK:
		mac := wire.JoinMAC(c.key, c.peerKey, p.nonce, p.peerNonce)
		copy(mp.Join.MAC[:], mac[:20]) //spec:J7 off: copy(mp.Join.MAC[:], mac[12:])
		mp.Join.Backup, mp.Join.AddrID = false, 0
	}
}
