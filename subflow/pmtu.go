package subflow

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
)

// The path's MTU is believed to be the interface's until something says
// otherwise: an ICMP error (RFC 1191, RFC 8201), or full segments that are lost
// again and again while what is smaller arrives: a black hole, whose routers
// send no errors. Then packets of a base size are sent, and larger ones tried,
// one at a time (RFC 4821; RFC 8899, Sections 4 and 5, for what they share).
//
// Whatever is sent again is cut to the size that holds then, and carries the
// mapping that it always had.

const (
	probeCredit = 2 // segments of pacing credit that a probe waits for

	// floorMTU4 is the least MTU that an error is believed to name, as in Linux:
	// the RFC's 68 would be an invitation to make us send dust. Below IPv6's
	// minimum of 1280 "a node MUST NOT reduce its estimate" (RFC 8201,
	// Section 4).
	floorMTU4 = 552
	floorMTU6 = 1280
	// baseMTU4 has 1024 octets of payload and options: RFC 4821, Section 7.2.
	baseMTU4 = 1024 + 20 + tcpHeader
	baseMTU6 = 1280

	// Of these, black hole: a timeout of a large segment weighs 2, a
	// retransmission of one that RACK finds lost weighs 1. Any large segment that
	// arrives takes all back.
	weightRTO, weightRACK, weightHole = 2, 1, 4

	maxSizeProbes = 3                // MAX_PROBES of RFC 8899, Section 5.1.2
	raiseAfter    = 10 * time.Minute // PMTU_RAISE_TIMER of Section 5.1.1
	searchStep    = 16               // octets; the search need not be finer
)

// plateaus are the sizes to fall back to when an error of an old router names
// none (RFC 1191, Section 7.1).
var plateaus = [...]int{32000, 17914, 8166, 4352, 2002, 1492, 1006, floorMTU4}

// pathMTU is what is known of the path's MTU. The zero value: it takes what
// the interface takes.
type pathMTU struct {
	size  int // packets of up to this size are sent; 0: the interface's MTU
	high  int // a packet of this size would not pass
	try   int // size of the next probe
	fails int // probes of that size lost in a row

	probing  bool       // a probe is in flight:
	probeOff seq.Offset // its first octet
	probeEnd seq.Offset
	probeAt  mono.Time // no probe leaves before

	strikes int // evidence of a black hole
}

// maxMTU is the largest packet that interface and peer take.
func (s *Subflow) maxMTU() int {
	n := s.advertisedMSS()
	if s.peerMSS != 0 {
		n = min(n, s.peerMSS)
	}
	return n + s.ipTCP()
}

// resize computes what MSS returns, after something that it follows from has
// changed: it is asked for many times a segment.
func (s *Subflow) resize() { s.mss = s.payloadOf(s.PathMTU()) }

// PathMTU returns the size of the largest IP packet that is sent.
func (s *Subflow) PathMTU() int {
	if s.mtu.size == 0 {
		return s.maxMTU()
	}
	return min(s.mtu.size, s.maxMTU())
}

// payloadOf returns how many octets of payload a data segment has in a packet
// of mtu octets.
func (s *Subflow) payloadOf(mtu int) int {
	n := mtu - s.ipTCP() - s.cfg.OptionSpace
	if s.ts.on {
		n -= 12
	}
	return max(n, 1)
}

func (s *Subflow) baseMTU() int {
	if s.tuple.Is6() {
		return baseMTU6
	}
	return baseMTU4
}

// lowerMTU makes packets smaller, until a probe tells that larger ones pass.
func (s *Subflow) lowerMTU(size int, probeAt mono.Time) {
	top := s.maxMTU()
	s.mtu = pathMTU{size: size, high: top + 1, try: top, probeAt: probeAt}
	s.resize()
}

// tooBig is an error about a packet that holds off, which is in flight: the
// next hop takes mtu octets; 0 if it does not say.
func (s *Subflow) tooBig(now mono.Time, off seq.Offset, mtu int) {
	if !s.state.synchronized() {
		return // no SYN is that long
	}
	m, size := &s.mtu, s.PathMTU()
	if mtu == 0 && !s.tuple.Is6() {
		mtu = plateau(size) //spec:T77 off:
	}
	switch {
	case s.tuple.Is6() && mtu < floorMTU6:
		return // RFC 8201, Section 4: it cannot be
	case mtu >= size: //spec:T77 off: case mtu > 1<<20:
		if m.probing && off == m.probeOff && mtu < m.try {
			s.sizeProbeTooBig(now, mtu)
		}
		return // RFC 1191, Section 6.4: an error never raises the estimate
	}
	s.lowerMTU(max(mtu, floorMTU4), now.Add(raiseAfter)) //spec:T77 off: s.lowerMTU(mtu, now.Add(raiseAfter))
	s.resegment(off)
}

func plateau(size int) int {
	for _, p := range plateaus {
		if p < size {
			return p
		}
	}
	return floorMTU4
}

// resegment sends again what is in flight in segments that no longer pass, from
// that at off on; what left before it had an error of its own, or passed. The
// network is not congested, so the window stays as it is (RFC 1191, Section
// 6.4; RFC 8201, Section 5.4), and the controller is not told.
func (s *Subflow) resegment(off seq.Offset) {
	d, mss := &s.snd, s.MSS()
	i := d.recs.search(off)
	if r := &d.recs.live()[i]; before(r.off, off) {
		d.split(i, off)
		i++
	}
	was, first := d.lost, d.recs.live()[i]
	for i := range d.recs.live() {
		r := &d.recs.live()[i]
		if r.segment() > mss && !r.has(recSacked|recLost) && !sentAfter(first.sent, first.end(), r.sent, r.end()) {
			d.flag(r, recLost, recProbe)
		}
	}
	if d.lost == was {
		return
	}
	s.tlp.reset()
	if s.rec.mode == open {
		s.rec.begin(repair, d.nxt, d.flightSize())
	}
	s.rec.undoable, s.rec.force = false, true
}

// holeOnRTO looks at what the retransmission timer expires for.
func (s *Subflow) holeOnRTO() {
	if s.snd.recs.len() > 0 {
		s.strike(&s.snd.recs.live()[0], weightRTO)
	}
}

// strike notes the loss of r. If that makes a black hole, the next one is sent
// in packets of the base size. Should it have been an outage, the first probe
// is of the size that was given up, and sets all right.
func (s *Subflow) strike(r *record, weight int) {
	base := s.baseMTU()
	if s.PathMTU() <= base || r.segment() <= s.payloadOf(base) || r.has(recProbe) {
		return
	}
	if s.mtu.strikes += weight; s.mtu.strikes >= weightHole { //spec:T78 off: if s.mtu.strikes += weight; false {
		s.lowerMTU(base, 0)
		s.info.BlackHoles++
	}
}

// foundLost marks a record that RACK found lost, and returns how many octets
// of it are a sign of congestion: the loss of a probe alone is none (RFC 4821,
// Section 7.7; RFC 8899, Section 3, item 7).
func (s *Subflow) foundLost(now mono.Time, r *record) int {
	if r.has(recProbe) {
		s.snd.flag(r, recLost, recProbe)
		s.rec.undoable = false // a D-SACK might speak of the probe
		s.sizeProbeLost(now)
		return 0 //spec:T78 off: return int(r.len)
	}
	if r.tries > 0 {
		s.strike(r, weightRACK)
	}
	s.markLost(now, r, 0)
	return int(r.len)
}

// sizeDelivered notes that the first n octets of r arrived.
func (s *Subflow) sizeDelivered(now mono.Time, r *record, n int) {
	if m := &s.mtu; r.has(recProbe) && r.off == m.probeOff && r.off+seq.Offset(n) == m.probeEnd && m.probing {
		s.sizeProbeArrived(now)
		return
	}
	if s.mtu.strikes > 0 && n >= r.segment() && r.segment() > s.payloadOf(s.baseMTU()) {
		s.mtu.strikes = 0 //spec:T78 off:
	}
}

// sizeProbeDue reports whether a larger packet is to be tried: when all is
// well, and the windows are wide enough that waiting for room for it cannot
// keep everything else from leaving.
func (s *Subflow) sizeProbeDue(now mono.Time) bool {
	m := &s.mtu
	if m.size == 0 || m.probing {
		return false
	}
	if s.rec.mode != open || s.snd.lost > 0 || now < m.probeAt || !s.state.sends() {
		return false
	}
	room := 2 * s.sizeProbeRoom()
	return s.cwndAt(now) >= room && dist(s.snd.edge, s.snd.una) >= room
}

// sizeProbeRoom is how much data a probe needs: its own, and as much behind it
// that its loss shows; in whole segments.
func (s *Subflow) sizeProbeRoom() int {
	mss := s.MSS()
	n := s.payloadOf(s.mtu.try) + mss
	return (n + mss - 1) / mss * mss
}

// leastRoom is the least room worth telling of: a segment, or what a probe
// needs; credit is how much of it pacing has to grant.
func (s *Subflow) leastRoom(now mono.Time) (octets, credit int) {
	octets = s.MSS()
	if s.sizeProbeDue(now) {
		octets = s.sizeProbeRoom()
	}
	return octets, min(octets, probeCredit*s.MSS())
}

func (s *Subflow) wantSizeProbe(now mono.Time) bool {
	d := &s.snd
	if s.mtu.size == 0 || d.unsent() == 0 || !s.sizeProbeDue(now) {
		return false
	}
	n := s.payloadOf(s.mtu.try)
	m := d.todo.live()[0]
	return !s.laneHides(n) && dist(m.Off+seq.Offset(m.Len), d.nxt) >= n && d.unsent() >= n+s.MSS() &&
		dist(d.edge, d.nxt) >= n && s.Cwnd()-s.inFlight() >= n && s.credit(now) >= min(n, probeCredit*s.MSS())
}

// sendSizeProbe sends new data in a packet of the size that is tried.
func (s *Subflow) sendSizeProbe(x *output) bool {
	m := &s.mtu
	size, off := m.size, s.snd.nxt
	m.size = m.try
	s.resize()
	sent := s.sendFresh(x, s.MSS())
	m.size = size
	s.resize()
	if !sent {
		return false
	}
	recs := s.snd.recs.live()
	recs[len(recs)-1].flags |= recProbe
	m.probing, m.probeOff, m.probeEnd = true, off, s.snd.nxt
	s.info.SizeProbes++
	return true
}

// sizeProbeArrived: packets of that size pass.
func (s *Subflow) sizeProbeArrived(now mono.Time) {
	m := &s.mtu
	m.probing, m.fails = false, 0
	m.size = m.try
	s.resize()
	if m.size >= s.maxMTU() {
		s.mtu = pathMTU{}
		return
	}
	s.nextSize(now)
}

// sizeProbeSettled is called when SND.UNA has moved: if that is beyond the
// probe, and the probe did not arrive as it was sent, a smaller copy did.
func (s *Subflow) sizeProbeSettled(now mono.Time) {
	if s.mtu.probing && !before(s.snd.una, s.mtu.probeEnd) {
		s.sizeProbeLost(now)
	}
}

// sizeProbeLost: they may not pass, or it was chance.
func (s *Subflow) sizeProbeLost(now mono.Time) {
	m := &s.mtu
	m.probing = false
	if m.fails++; m.fails < maxSizeProbes {
		return
	}
	m.high, m.fails = m.try, 0
	s.nextSize(now)
}

// sizeProbeTooBig: a router says what passes.
func (s *Subflow) sizeProbeTooBig(now mono.Time, mtu int) {
	m, d := &s.mtu, &s.snd
	if i := d.recs.search(m.probeOff); i < d.recs.len() {
		if r := &d.recs.live()[i]; r.has(recProbe) && !r.has(recSacked|recLost) {
			d.flag(r, recLost, recProbe)
		}
	}
	m.probing, m.fails = false, 0
	m.high, m.try = mtu+1, mtu
	if mtu == m.size {
		s.nextSize(now)
	}
}

// nextSize halves the interval in which the path's MTU lies. When it is small
// enough the search rests, and begins anew from the top much later.
func (s *Subflow) nextSize(now mono.Time) {
	m := &s.mtu
	if m.try = (m.size + m.high) / 2; m.high-m.size > searchStep {
		return
	}
	m.high, m.try = s.maxMTU()+1, s.maxMTU()
	m.probeAt = now.Add(raiseAfter)
}

// segment is the payload of the largest segment that r left in.
func (r *record) segment() int { return min(int(r.len), int(r.size)) }
