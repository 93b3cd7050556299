package subflow

import (
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow/cc"
)

// synState is the life of our SYN or SYN/ACK.
type synState struct {
	pending bool // it is to be sent (again)
	sent    int  // how many times it was
	backoff int  // expiries since it first left, or since Mute(false)
	at      mono.Time
	scale   bool // the peer's SYN had the window scale option

	forgotten bool // when the SYN/ACK left is not known (Resume)

	data  int  // octets that our SYN carried (fastopen.go)
	taken int  // how many of them the peer took; of a passive open, we of the peer's
	open  bool // a SYN with a good cookie was taken
}

// Dial makes a subflow in SYN-SENT; its SYN leaves with the next PollTransmit.
func Dial(now mono.Time, t wire.Tuple, c Config) *Subflow {
	s := newSubflow(now, t, c)
	s.state = StateSynSent
	s.syn.pending = true
	return s
}

// Accept makes a subflow in SYN-RECEIVED from a SYN to a listener.
func Accept(now mono.Time, syn *wire.Segment, c Config) *Subflow {
	s := newSubflow(now, syn.Tuple, c)
	s.passive = true
	s.info.SegsIn++
	s.info.LastRecv = now
	s.takeSYN(now, syn)
	s.takeSYNData(syn)
	s.state = StateSynReceived
	s.syn.pending = true
	return s
}

func newSubflow(now mono.Time, t wire.Tuple, c Config) *Subflow {
	c.fill()
	s := &Subflow{
		cfg:        c,
		tuple:      t,
		rtt:        newRTT(c.MinRTO, c.MaxRTO),
		rack:       newRACK(),
		progressAt: now,
	}
	s.snd.iss = c.ISS
	s.snd.end = 1
	s.snd.seg = leastRcvMSS
	s.ts.offset = c.TSOffset
	s.rcv.quick = quickSegments
	s.rcv.rcvMSS = leastRcvMSS
	s.resize()
	return s
}

// takeSYN learns from the peer's SYN, with or without ACK: its initial
// sequence number and options (RFC 9293, Section 3.7.1; RFC 7323; RFC 2018).
func (s *Subflow) takeSYN(now mono.Time, syn *wire.Segment) {
	s.rcv.irs = syn.Seq
	s.rcv.nxt, s.rcv.lastAck = 1, 1
	s.rcv.edge = 1 + seq.Offset(s.rcv.wnd) // our SYN's, if it has left

	o := &syn.Opt
	s.peerMSS = int(o.MSS)
	if o.MSS == 0 {
		// MUST-15: "If an MSS Option is not received at connection setup, TCP
		// implementations MUST assume a default send MSS of 536 (576 - 40) for
		// IPv4 or 1220 (1280 - 60) for IPv6".
		s.peerMSS = defaultMSS(s.tuple)
	}
	s.peerMSS = max(s.peerMSS, leastPeerMSS)
	if o.HasWScale { //spec:T40 off: if true {
		// "If a Window Scale option is received with a shift.cnt value larger
		// than 14, the TCP SHOULD log the error but MUST use 14":
		// RFC 7323, Section 2.3.
		s.snd.shift = min(o.WScale, maxWScale) //spec:T40 off: s.snd.shift = o.WScale
		s.rcv.shift = s.cfg.WScale
		s.syn.scale = true
	}
	s.ts.on = o.HasTS && !s.cfg.NoTimestamps //spec:T42 off: s.ts.on = !s.cfg.NoTimestamps
	if s.ts.on {
		s.ts.recent, s.ts.recentAt = o.TSVal, now
	}
	s.rcv.sackOK = o.SACKPermitted && !s.cfg.NoSACK //spec:T46 off: s.rcv.sackOK = !s.cfg.NoSACK
	s.ecnTakeSYN(syn)
	s.resize()
	s.snd.seg = s.MSS()
	s.ctrl = s.cfg.Controller(s.cfg.Group, s.MSS())
	s.model, _ = s.ctrl.(cc.Model)
	s.slow, _ = s.ctrl.(cc.SlowStarter)
	// The window field of a SYN is never scaled: RFC 7323, Section 2.2.
	s.setWindow(now, int(syn.Window), 0, 0) //spec:T40 off: s.setWindow(now, int(syn.Window)<<s.snd.shift, 0, 0)
}

// defaultMSS is what a peer that does not say takes.
func defaultMSS(t wire.Tuple) int {
	if t.Is6() {
		return 1220 //spec:T18 off: return 1440
	}
	return 536 //spec:T18 off: return 1460
}

// handleSynSent is RFC 9293, Section 3.10.7.3.
func (s *Subflow) handleSynSent(now, at mono.Time, seg *wire.Segment, acc *Accepted) {
	acked := has(seg, wire.ACK)
	if acked {
		// "If SEG.ACK =< ISS or SEG.ACK > SND.NXT, send a reset (unless the
		// RST bit is set ...)".
		ack := seq.Unwrap(seg.Ack, s.snd.iss, s.snd.una)
		if !after(ack, 0) || after(ack, s.snd.nxt) { //spec:T3 off: if false && after(ack, 0) {
			if has(seg, wire.RST) {
				s.info.Dropped++
			} else {
				s.refuse(seg.Ack) //spec:T3 off:
			}
			return
		}
	}
	switch {
	case has(seg, wire.RST):
		// "If the ACK was acceptable, then signal to the user ...; otherwise
		// (no ACK), drop the segment".
		if !acked { //spec:T3 off: if false {
			s.info.Dropped++
			return
		}
		s.resetBy(acc)
	case !has(seg, wire.SYN):
		s.info.Dropped++
	case acked:
		s.takeSYN(now, seg)
		acc.OK = true
		s.synAcked(seq.Unwrap(seg.Ack, s.snd.iss, s.snd.una))
		s.snd.wl2 = s.snd.una
		s.snd.edge = s.snd.una + seq.Offset(s.snd.wnd)
		s.sampleSYN(at, seg)
		s.rcv.ackNow = true
		s.establish(now, acc)
	default:
		// Simultaneous open: both have sent a SYN, and each answers the
		// other's with a SYN/ACK (RFC 9293, Section 3.5, Figure 7).
		s.takeSYN(now, seg)
		acc.OK = true
		s.state = StateSynReceived //spec:T4 off:
		s.syn.pending = true
	}
}

// sampleSYN takes the first measurement of the round trip: from the SYN if it
// was sent once (Karn's rule), else from the timestamp.
func (s *Subflow) sampleSYN(at mono.Time, seg *wire.Segment) {
	if s.syn.forgotten {
		return // and what its timestamp echoes is not the time either
	}
	s.tlp.sampled = true
	if s.syn.sent == 1 { //spec:T51 off: if true {
		s.rtt.sample(at.Sub(s.syn.at), at)
		return
	}
	if d, ok := s.ts.since(seg.Opt.TSEcr, at); s.ts.on && seg.Opt.HasTS && ok {
		s.rtt.sample(max(d, granularity), at)
		return
	}
	// "If the timer expires awaiting the ACK of a SYN segment and the TCP
	// implementation is using an RTO less than 3 seconds, the RTO MUST be
	// re-initialized to 3 seconds when data transmission begins":
	// RFC 6298, Section 5.7.
	s.rtt.rto = synLostRTO //spec:T51 off:
	s.tlp.sampled = false
}

// handleSynAgain is for a SYN in SYN-RECEIVED. It returns true if the segment
// carries on as an acknowledgment.
func (s *Subflow) handleSynAgain(now mono.Time, seg *wire.Segment, off seq.Offset) bool {
	if s.passive {
		off += seq.Offset(s.syn.taken) // the SYN itself lies before what came with it
	}
	switch {
	case off != 0:
		s.info.Dropped++
		s.challenge(now)
	case has(seg, wire.ACK): //spec:T4 off: case false:
		// The SYN/ACK of a simultaneous open: its SYN is old and its ACK is
		// what we wait for. RFC 9293, Appendix A.2, notes that the acceptability
		// test alone would drop it.
		return true
	case s.passive:
		// The peer has not seen our SYN/ACK, and tells so.
		if s.ts.on && seg.Opt.HasTS && !s.ts.old(seg.Opt.TSVal, now) {
			s.ts.recent, s.ts.recentAt = seg.Opt.TSVal, now
		}
		s.syn.pending = true
		s.ecnSYNAgain(seg)
	default:
		s.info.Dropped++
		s.challenge(now)
	}
	return false
}

// ackOfSYN is the fifth check in SYN-RECEIVED (RFC 9293, Section 3.10.7.4):
// true if our SYN is acknowledged, and then the state is ESTABLISHED.
func (s *Subflow) ackOfSYN(now, at mono.Time, seg *wire.Segment, off, ack seq.Offset, acc *Accepted) bool {
	if !after(ack, s.snd.una) || after(ack, s.snd.nxt) {
		s.refuse(seg.Ack)
		return false
	}
	s.synAcked(ack)
	wnd := int(seg.Window)
	if !has(seg, wire.SYN) {
		wnd <<= s.snd.shift
	}
	s.setWindow(now, wnd, off, ack)
	s.sampleSYN(at, seg)
	s.establish(now, acc)
	return true
}

// onSynTimeout sends the SYN or SYN/ACK again, or gives up.
func (s *Subflow) onSynTimeout() Events {
	if s.syn.backoff >= s.cfg.SynRetries { //spec:T22 off: if false {
		s.shut()
		return Failed
	}
	s.syn.backoff++
	s.retries++
	s.syn.pending = true
	return 0
}

// synSent notes that the SYN or SYN/ACK leaves.
func (s *Subflow) synSent(now mono.Time) {
	if s.syn.sent == 0 {
		s.snd.waitsFrom = now
	}
	s.syn.pending = false
	s.syn.sent++
	s.syn.at = now
	s.snd.nxt = later(s.snd.nxt, 1+seq.Offset(s.syn.data))
	s.timers.Set(timerSYN, now.Add(s.rtt.backedOff(s.syn.backoff)))
}
