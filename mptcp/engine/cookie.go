package engine

import (
	"encoding/binary"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow"
)

// SYN cookies (RFC 4987, Section 3.6 and Appendix A): when a listener has as
// many half-open connections as it may keep, a SYN is answered and forgotten,
// and all that is needed comes back with the ACK. The initial sequence number
// of such an answer is
//
//	a number of the tuple + the SYN's sequence number + the cookie
//
//	 5 bits                3 bits              24 bits
//	┌─────────────────────┬───────────────────┬──────────────────────────────────┐
//	│ period of 64 s,     │ index of the MSS  │ keyed hash of the tuple, the     │
//	│ modulo 32           │                   │ SYN's number and what stands left│
//	└─────────────────────┴───────────────────┴──────────────────────────────────┘
//
// so that, as the SYN's number and the period grow, so does ours. Our key for
// Multipath TCP is another part of the same hash: "a hash of the 4-tuple,
// sequence number, and a local secret" (RFC 8684, Section 3.1). Timestamps
// carry the options (subflow.Answer).
const (
	cookiePeriod = 64 * time.Second
	cookieAges   = 2                         // periods in which a cookie is good: its own and the next
	cookieLife   = cookieAges * cookiePeriod // at most
	// cookieFlight is the most that a peer may have sent before it heard from
	// us again: the window of a SYN/ACK is not scaled.
	cookieFlight = 65535
	// cookieSlack is how many connections may wait beyond the backlog: what a
	// cookie was sent for believes to be connected already, and no SYN/ACK of
	// ours will come again. Beyond the backlog itself no more cookies are sent.
	cookieSlack = 128
)

// cookieMSS are the sizes that a cookie can tell of: none said, less than any
// host should say, the defaults of both families, and usual ones of Ethernet
// and its tunnels.
var cookieMSS = [8]int{0, 88, 536, 1220, 1340, 1400, 1440, 1460}

// mssIndex returns the largest of cookieMSS that a SYN allows.
func mssIndex(s *wire.Segment) uint32 {
	if s.Opt.MSS == 0 {
		return 0
	}
	i := len(cookieMSS) - 1
	for i > 1 && cookieMSS[i] > int(s.Opt.MSS) {
		i--
	}
	return uint32(i)
}

// cookie is what is derived for one SYN.
type cookie struct {
	iss seq.Num
	key uint64
	mss int
}

func periodOf(now mono.Time) uint32 { return uint32(now / mono.Time(cookiePeriod)) }

// makeCookie derives the cookie of a SYN with number irs, for one period and
// one MSS.
func (k *secret) makeCookie(t wire.Tuple, n numbers, irs seq.Num, period, mss uint32) cookie {
	h := k.derive(useCookie, t, uint32(irs), period<<3|mss)
	value := (period<<3|mss)<<24 | uint32(h[0])<<16 | uint32(h[1])<<8 | uint32(h[2])
	return cookie{
		iss: irs + seq.Num(n.cookie+value),
		key: binary.BigEndian.Uint64(h[8:]),
		mss: cookieMSS[mss],
	}
}

// takeCookie returns the cookie that a segment acknowledges, if it is one of
// ours and good. early: it is none, but may be of a connection that a cookie
// of ours stands for: something that overtook the ACK.
func (k *secret) takeCookie(now mono.Time, s *wire.Segment) (c cookie, ok, early bool) {
	irs, n := s.Seq-1, k.numbers(s.Tuple)
	value := uint32(s.Ack-1-irs) - n.cookie
	age := func(v uint32) uint32 { return (periodOf(now) - v>>27) % 32 }
	if a := age(value); a < cookieAges { //spec:T33 off: if a := uint32(0); true {
		c = k.makeCookie(s.Tuple, n, irs, periodOf(now)-a, value>>24&7)
		if c.iss == s.Ack-1 { //spec:T33 off: if true {
			return c, true, false
		}
	}
	return cookie{}, false, len(s.Payload) > 0 && (age(value) < cookieAges || age(value+cookieFlight) < cookieAges)
}

// Answer returns the SYN/ACK to a SYN of which HandleSegment said so. Nothing
// is kept.
func (e *Endpoint) Answer(now mono.Time, s *wire.Segment) wire.Segment {
	n := e.secret.numbers(s.Tuple)
	c := e.secret.makeCookie(s.Tuple, n, s.Seq, periodOf(now), mssIndex(s))
	a := subflow.Answer(now, s, e.cfg.firstWindow(), subflow.Config{
		ISS:          c.iss,
		TSOffset:     n.tsOffset,
		MTU:          s.MTU,
		MSS:          e.cfg.MSS,
		WScale:       windowShift(e.cfg.RecvBuffer),
		NoTimestamps: e.cfg.NoTimestamps,
		ECN:          e.cfg.ECN,
	})
	// "If uniqueness is not met and there is no way to generate an alternative
	// verifiable key, then the connection MUST fall back to using regular TCP
	// by not sending an MP_CAPABLE in the SYN/ACK" (RFC 8684, Section 3.1).
	if !e.cfg.TCPOnly && e.cfg.offered(s) && e.tokens[wire.Token(c.key)] == nil { //spec:T34,H14 off: if !e.cfg.TCPOnly && e.cfg.offered(s) {
		a.MP.Has = wire.MPCapable
		a.MP.Capable.Version = 1
		a.MP.Capable.Flags = e.cfg.flags(e.cfg.Checksum == ChecksumAsk || s.MP.Capable.Flags&wire.CapChecksum != 0)
		a.MP.Capable.Keys = 1
		a.MP.Capable.Sender = c.key
	}
	return a
}

// fromCookie makes the connection that a segment to nobody acknowledges a
// cookie for.
func (e *Endpoint) fromCookie(now mono.Time, s *wire.Segment) (*Conn, Verdict) {
	l := e.listener(s.Local)
	if l == nil || now >= l.cookiesUntil || !s.Flags.Has(wire.ACK) || s.Flags.Has(wire.SYN) {
		return nil, Stray
	}
	c, ok, early := e.secret.takeCookie(now, s)
	switch {
	case early:
		return nil, Ignore // the first octets come again
	case !ok:
		return nil, Stray
	case len(l.ready) >= l.backlog+cookieSlack:
		return nil, Ignore
	case s.MP.Has&wire.DSS != 0 && s.MP.Has&wire.MPCapable == 0:
		return nil, Ignore // the keys come again, with the first data (see path.early)
	}
	return e.resume(now, l, s, c), Deliver
}

// resume makes a connection of its cookie and of the ACK, which is to be
// delivered to it.
func (e *Endpoint) resume(now mono.Time, l *Listener, s *wire.Segment, k cookie) *Conn {
	key, clash := k.key, e.tokens[wire.Token(k.key)] != nil
	if clash {
		key = e.newKey()
	}
	c := e.passive(now, l, s, key)
	if clash && c.mode == undecided {
		c.becomePlain(TokenClash)
	}
	syn := subflow.Recall(s, k.mss)
	cfg := c.subflowConfig(now, s.Tuple, s.MTU)
	cfg.ISS, cfg.SynRetries = k.iss, passiveRetries
	p := c.addPath(s.Tuple, s.Link)
	p.setShift(&syn)
	p.sf = subflow.Resume(now, &syn, e.cfg.firstWindow(), cfg)
	return c
}
