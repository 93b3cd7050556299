package engine

import (
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/subflow"
)

// plainSYN is the retransmission of the SYN from which on it goes without
// MP_CAPABLE, in case a middlebox drops the option (RFC 8684, Section 3.1).
const plainSYN = 3

// passiveRetries bounds the copies of a SYN/ACK: 1+2+4+8+16 seconds in all, so
// that what a spoofed SYN has taken is soon given back.
const passiveRetries = 4

// acceptSYN makes a subflow from a SYN: the connection's first, or a join.
func (c *Conn) acceptSYN(now mono.Time, s *wire.Segment) {
	if len(c.paths) > 0 || c.nextPath > 0 {
		c.acceptJoin(now, s)
		return
	}
	if c.mode == undecided {
		if c.cfg.offered(s) { //spec:H15 off: if true {
			c.csum = c.csum || s.MP.Capable.Flags&wire.CapChecksum != 0 //spec:H10 off:
		} else {
			c.becomePlain(refusalOf(s))
		}
	}
	cfg := c.subflowConfig(now, s.Tuple, s.MTU)
	cfg.SynRetries = passiveRetries
	p := c.addPath(s.Tuple, s.Link)
	p.setShift(s)
	if c.reopens {
		cfg.ISS = firstAfter(c.startAfter, cfg.ISS)
	}
	cfg.FastOpen = c.fast.passive
	p.sf = subflow.Accept(now, s, cfg)
	c.onUserTimeout(s)
	c.takeEarly(now, p, s)
}

// setShift notes the window shift of the peer's SYN.
func (p *path) setShift(s *wire.Segment) {
	if s.Opt.HasWScale {
		p.shift = min(s.Opt.WScale, 14)
	}
}

// offered reports whether a SYN offers an MPTCP that we speak: version 1 or
// later, and the flags.
func (cfg *Config) offered(s *wire.Segment) bool {
	// An MP_JOIN beside it makes both meaningless.
	if s.MP.Has&wire.MPJoin != 0 { //spec:H23 off: if false {
		return false
	}
	return s.MP.Has&wire.MPCapable != 0 && s.MP.Capable.Version >= 1 && cfg.usable(s.MP.Capable.Flags) //spec:H4 off: return s.MP.Has&wire.MPCapable != 0 && s.MP.Capable.Version == 1 && cfg.usable(s.MP.Capable.Flags)
}

// usable reports whether the flags of an MP_CAPABLE are ones that we can agree
// to: HMAC-SHA256 and no extension. A host that refuses checksums ignores an
// MP_CAPABLE that requires them (RFC 8684, Section 3.1).
func (cfg *Config) usable(f uint8) bool {
	if f&wire.CapChecksum != 0 && cfg.Checksum == ChecksumRefuse { //spec:H11 off: if false {
		return false
	}
	return f&wire.CapSHA256 != 0 && f&wire.CapExtensible == 0 //spec:H7,H8 off: return true
}

// flags are those of our MP_CAPABLE.
func (cfg *Config) flags(csum bool) uint8 {
	f := uint8(wire.CapSHA256)
	if csum {
		f |= wire.CapChecksum //spec:H10 off:
	}
	if cfg.NoJoinFirst {
		f |= wire.CapNoJoin //spec:H12 off:
	}
	return f
}

// refusalOf says why the MP_CAPABLE of a segment cannot be used.
func refusalOf(s *wire.Segment) FallbackReason {
	if s.MP.Has&wire.MPCapable != 0 && s.MP.Capable.Flags&wire.CapChecksum != 0 {
		return ChecksumsWanted
	}
	return PeerPlain
}

// onEstablished decides what the connection, or the join, is, on the segment
// that finished the three-way handshake. False: the path is finished.
func (p *path) onEstablished(now mono.Time, s *wire.Segment) bool {
	c := p.c
	if !p.first {
		return p.onJoinEstablished(now, s)
	}
	if c.mode == undecided {
		switch {
		case p.simult:
			c.becomePlain(PeerPlain) // crossing SYNs: no room for the keys
		case p.active:
			p.onAnswer(s)
		default:
			p.onThirdPacket(s)
		}
	}
	c.settleFastOpen()
	if p.active {
		p.onFastOpenAnswer(now, s)
	}
	if c.mode == plain {
		if c.rcv == nil {
			c.expect(0)
		}
		p.sf.SetOptionSpace(0)
		p.sf.SetAccept(0)
		c.emit(FellBack{c.reason})
	}
	shift := p.shift
	if s.Flags.Has(wire.SYN) {
		shift = 0 // RFC 7323, Section 2.2: the window of a SYN is not scaled
	}
	c.tx.edge = c.idsn.Add(1 + int(s.Window)<<shift)
	c.ready(now)
	p.becameUp(now)
	if c.mode == multipath {
		c.tellNews(Created{p.info()})
	}
	c.startConfirm(now, p)
	return true
}

// onAnswer reads the SYN/ACK to our SYN.
func (p *path) onAnswer(s *wire.Segment) {
	c, mc := p.c, &s.MP.Capable
	switch {
	case p.sentPlain: //spec:H24 off: case false:
		// The last word is ours: the third packet goes without MP_CAPABLE.
		c.becomePlain(SynUnanswered)
	case s.MP.Has&wire.MPCapable == 0 || mc.Version != 1 || !c.cfg.usable(mc.Flags): //spec:H5 off: case false:
		c.becomePlain(refusalOf(s))
	default:
		// Either side's wish is enough (RFC 8684, Section 3.1).
		c.csum = c.csum || mc.Flags&wire.CapChecksum != 0 //spec:H10 off:
		c.learnKey(mc.Sender, mc.Flags)
	}
}

// early reports whether a segment with a DSS overtook, or outlived, the one
// with the keys. It counts as lost; the keys are sent again with the first data
// (RFC 8684, Section 3.1), while taking it would end MPTCP for good.
func (p *path) early(s *wire.Segment) bool {
	return p.c.mode == undecided && !p.active && p.sf.State() == subflow.StateSynReceived &&
		s.MP.Has&wire.DSS != 0 && s.MP.Has&wire.MPCapable == 0 && !s.Flags.Has(wire.RST)
}

// onThirdPacket reads the ACK that finishes a passive open: the keys, or
// plain TCP for good (RFC 8684, Section 3.1).
func (p *path) onThirdPacket(s *wire.Segment) {
	c, mc := p.c, &s.MP.Capable
	csum := mc.Flags&wire.CapChecksum != 0
	if s.MP.Has&wire.MPCapable == 0 || mc.Keys != 2 || mc.Version != 1 || !c.cfg.usable(mc.Flags) || //spec:H16 off: if false &&
		c.csum && !csum || //spec:H10,H27 off: false ||
		mc.Receiver != c.key { //spec:H26,H27 off: false {
		c.becomePlain(ThirdAckPlain)
		return
	}
	// The initiator repeats what both SYNs have led to; a SYN that a cookie
	// answered is forgotten, so that its word is the one that counts.
	c.csum = csum
	c.learnKey(mc.Sender, mc.Flags)
	// An ACK with a DSS shows the peer that we speak MPTCP before there is
	// data, so that it may add subflows (RFC 8684, Section 3.1).
	p.sf.SendAck()
}

// learnKey starts MPTCP with the peer's key.
func (c *Conn) learnKey(key uint64, flags uint8) {
	c.mode = multipath
	c.peerKey = key
	c.peerToken = wire.Token(key)
	c.noJoinFirst = flags&wire.CapNoJoin != 0 //spec:H12 off: c.noJoinFirst = false
	c.stats.Multipath, c.stats.Checksums = true, c.csum
	c.expect(wire.IDSN(key))
}

// startConfirm arranges for a probe should the peer stay silent: no subflow
// may be added before a DSS was received (RFC 8684, Section 3.1).
func (c *Conn) startConfirm(now mono.Time, p *path) {
	if c.mode != multipath {
		return
	}
	if !c.client { //spec:H22 off: if true {
		c.established(now)
		return
	}
	c.timers.Set(tConfirm, now.Add(2*p.sf.SRTT()+confirmAfter))
}

// established tells the manager that subflows may be added.
func (c *Conn) established(now mono.Time) {
	if !c.mgr.started {
		c.mgr.started = true
		c.tellNews(Confirmed{c.firstInfo()})
		c.tell(now, pathmgr.Established{})
	}
}

// onReset acts on a RST that killed the subflow.
func (p *path) onReset(now mono.Time, s *wire.Segment, ev subflow.Events) {
	c := p.c
	p.downReason = pathmgr.Reset
	if ev.Has(subflow.Refused) || p.join == joinConfirmed { // Linux refuses a join at its third packet
		p.downReason = pathmgr.Refused
	}
	var reason wire.ResetReason
	hasReason := s.MP.Has&wire.TCPReset != 0
	if hasReason {
		c.stats.MPRstRx++
		reason = s.MP.Rst.Reason
		p.hasReset, p.resetBy = true, reason
		p.transient = s.MP.Rst.Transient //spec:R8 off:
	}
	failure := &ResetError{Peer: true, Reason: reason, Local: c.local, Remote: c.remote}
	failed := s.MP.Has&wire.MPFail != 0 && c.mode == multipath && c.phase == open
	if failed {
		c.stats.MPFailRx++
		c.loseFrom(p, s.MP.Fail.Seq) //spec:F5 off:
	}
	switch {
	case c.phase == over:
	case c.phase == opening:
		failure.Refused = ev.Has(subflow.Refused)
		c.fail(now, failure)
	case c.mode == plain: //spec:R7 off: case true:
		c.fail(now, failure)
	case s.MP.Has&wire.FastClose != 0 && s.MP.Fast.Key == c.key: //spec:R3 off: case false:
		c.stats.MPFastcloseRx++
		if failed {
			c.fail(now, &AlteredError{Peer: true, Local: c.local, Remote: c.remote})
			return
		}
		c.fail(now, failure)
	case c.settled():
		// Both directions were finished: nothing is lost.
	case !c.alive() && c.delivered():
		// The peer finished and is gone; of ours only the DATA_ACK of the
		// DATA_FIN is missing.
		c.tx.finAcked = true
	default:
		c.refused(now, p, hasReason, reason)
	}
}

// delivered reports whether the peer has finished, and has everything but our
// end of stream.
func (c *Conn) delivered() bool {
	return c.tx.finSent && c.peerFinished() && c.snd.Una() == c.snd.End()
}

// onFailed: the handshake got no answer.
func (p *path) onFailed(now mono.Time) {
	p.downReason = pathmgr.TimedOut
	p.fastOpenFailed(now)
	if p.c.phase == opening || p.c.fast.passed {
		p.c.fail(now, p.c.unanswered(now))
	}
}
