package engine

import (
	"net/netip"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow"
)

// TCP Fast Open (RFC 7413), off unless Config.FastOpen.
//
// A client that has a server's cookie sends its first data with the SYN. With
// Multipath TCP that data is outside of the data sequence space, and outside of
// the subflow's numbering for DSS (RFC 8684, Appendix B.2), and the subflow does not
// count it. Whatever of it the server did not take is sent after the handshake, as
// if it had never left, in a mapping like any other.
//
// A server hands a connection whose cookie is good to the application with its
// data. As plain TCP it may answer before the handshake is done. With Multipath
// TCP an answer waits for the third packet: it could have no DATA_ACK, for the
// client's key is not known, and a segment without one is what the Linux client
// takes for the end of MPTCP (net/mptcp/options.c, check_fully_established).
const (
	// fastOpenPeriod is how long one key makes cookies; they are good for the
	// rest of it and all of the next.
	fastOpenPeriod = time.Hour
	// fastOpenCookie is the length of our cookies: 48 bits of a keyed hash. With
	// timestamps and MP_CAPABLE a SYN/ACK has room for no more (RFC 8684,
	// Appendix B.1).
	fastOpenCookie = 6
	// fastOpenPending is PendingFastOpenRequests' limit (RFC 7413, Section 5.1):
	// connections of one listener that were handed out and whose handshake runs.
	fastOpenPending = 64
	// fastOpenHosts bounds what a client remembers, and fastOpenRefused is how
	// long it leaves a server alone that did not like it (RFC 7413, Section
	// 4.1.3.1).
	fastOpenHosts   = 1024
	fastOpenRefused = time.Hour
)

// fastOpenCookie is GetCookie of RFC 7413, Section 4.1.2: a keyed hash of the
// client's address, and of ours, for it is ours that a client asked.
func (k *secret) fastOpenCookie(t wire.Tuple, period uint32) wire.Cookie {
	ends := wire.Tuple{Local: netip.AddrPortFrom(t.Local.Addr(), 0), Remote: netip.AddrPortFrom(t.Remote.Addr(), 0)}
	h := k.derive(useFastOpen, ends, period, 0)
	c, _ := wire.MakeCookie(h[:fastOpenCookie])
	return c
}

func fastOpenPeriodOf(now mono.Time) uint32 { return uint32(now / mono.Time(fastOpenPeriod)) }

// passiveFastOpen is what a listener does with the Fast Open option of a SYN
// (RFC 7413, Section 4.2.2): a good cookie has the data taken, and any that is not
// of this period is answered with one that is.
func (e *Endpoint) passiveFastOpen(now mono.Time, l *Listener, s *wire.Segment) (f subflow.FastOpen) {
	if !e.cfg.FastOpen || !s.Opt.HasFastOpen { //spec:T35 off: if !s.Opt.HasFastOpen {
		return f
	}
	period := fastOpenPeriodOf(now)
	f.Cookie = e.secret.fastOpenCookie(s.Tuple, period)
	current := s.Opt.FastOpen == f.Cookie
	good := current || period > 0 && s.Opt.FastOpen == e.secret.fastOpenCookie(s.Tuple, period-1) //spec:T35 off: good := true
	f.Offer = !current
	f.Take = good && len(s.Payload) > 0 && l.pending < fastOpenPending //spec:T35 off: f.Take = good && len(s.Payload) > 0
	return f
}

// fastOpenHost is what a client knows of a server: "the client should cache at
// most one (most recently received) cookie per client and server IP address
// pair", with the port, for what is refused is refused at one.
type fastOpenHost struct {
	local  netip.Addr
	remote netip.AddrPort
}

func fastOpenHostOf(t wire.Tuple) fastOpenHost { return fastOpenHost{t.Local.Addr(), t.Remote} }

type fastOpenEntry struct {
	cookie  wire.Cookie
	mss     int
	refused mono.Time // until then nothing is tried
}

// fastOpenCache forgets what came in first.
type fastOpenCache struct {
	hosts map[fastOpenHost]fastOpenEntry
	order []fastOpenHost
}

func (f *fastOpenCache) set(h fastOpenHost, e fastOpenEntry) {
	if f.hosts == nil {
		f.hosts = make(map[fastOpenHost]fastOpenEntry)
	}
	if _, known := f.hosts[h]; !known {
		if len(f.order) == fastOpenHosts {
			delete(f.hosts, f.order[0])
			f.order = append(f.order[:0], f.order[1:]...)
		}
		f.order = append(f.order, h)
	}
	f.hosts[h] = e
}

// FastOpenCookie is a server's cookie, for a program that keeps them from one run
// to the next.
type FastOpenCookie struct {
	Local  netip.Addr
	Remote netip.AddrPort
	Cookie []byte
	MSS    int // the largest segment that the server takes
}

// FastOpenCookies returns the cookies that are known.
func (e *Endpoint) FastOpenCookies() (all []FastOpenCookie) {
	for _, h := range e.fast.order {
		if k := e.fast.hosts[h]; k.cookie.Len() > 0 {
			all = append(all, FastOpenCookie{h.local, h.remote, append([]byte(nil), k.cookie.Bytes()...), k.mss})
		}
	}
	return all
}

// LearnFastOpen adds cookies; those that cannot be are left out.
func (e *Endpoint) LearnFastOpen(all []FastOpenCookie) {
	for _, k := range all {
		if c, ok := wire.MakeCookie(k.Cookie); ok {
			e.fast.set(fastOpenHost{k.Local, k.Remote}, fastOpenEntry{cookie: c, mss: min(max(k.MSS, 0), 65535)})
		}
	}
}

// FastOpenNews is what a handshake taught of a server's Fast Open. It is for the
// Endpoint.
type FastOpenNews struct {
	Tuple   wire.Tuple
	Cookie  wire.Cookie // empty: none came
	MSS     int
	Refused bool // it does not work there
	At      mono.Time
}

// FastOpened: the handshake of a connection that was handed out before is done,
// or never will be. It is for the Endpoint.
type FastOpened struct{}

func (FastOpenNews) isEndpointEvent() {}
func (FastOpened) isEndpointEvent()   {}

// onFastOpenNews keeps it.
func (e *Endpoint) onFastOpenNews(ev FastOpenNews) {
	h := fastOpenHostOf(ev.Tuple)
	k := e.fast.hosts[h]
	switch {
	case ev.Refused:
		k = fastOpenEntry{refused: ev.At.Add(fastOpenRefused)}
	case ev.Cookie.Len() > 0:
		k = fastOpenEntry{cookie: ev.Cookie, mss: ev.MSS}
	}
	e.fast.set(h, k)
}

// activeFastOpen is what a client puts on its SYN.
func (e *Endpoint) activeFastOpen(now mono.Time, t wire.Tuple, data []byte) (f subflow.FastOpen) {
	k := e.fast.hosts[fastOpenHostOf(t)]
	if !e.cfg.FastOpen || now < k.refused || k.cookie.Len() > 0 && len(data) == 0 { //spec:T35 off: if k.cookie.Len() > 0 && len(data) == 0 {
		return f
	}
	return subflow.FastOpen{Offer: true, Cookie: k.cookie, Data: data, MSS: k.mss}
}

// fastOpen is a connection's part in it.
type fastOpen struct {
	early []byte // to be sent first, until the handshake is done
	asked bool   // our SYN had the option

	passive  subflow.FastOpen // what to do with the peer's SYN
	syn      []byte           // what came with it and was not read yet
	passed   bool             // handed to the application, and the handshake runs
	listener *Listener        // the Endpoint's: it counts this connection as pending
}

// onFastOpenAnswer draws the conclusions from the SYN/ACK (RFC 7413, Sections
// 4.1.3.1 and 4.2.2), and queues what of the early data the server did not take.
func (p *path) onFastOpenAnswer(now mono.Time, s *wire.Segment) {
	c := p.c
	_, taken := p.sf.SYNData()
	if n := len(c.fast.early); n > 0 {
		c.stats.BytesWritten += uint64(n)
		c.stats.BytesAcked += uint64(taken)
		c.stats.FastOpenSent = taken
		c.snd.Write(c.fast.early[taken:]) //spec:O3 off:
		c.fast.early = nil
	}
	if !c.fast.asked {
		return
	}
	news := FastOpenNews{Tuple: p.tuple, MSS: int(s.Opt.MSS), At: now}
	if s.Opt.HasFastOpen {
		news.Cookie = s.Opt.FastOpen
	}
	if taken > 0 && news.Cookie.Len() == 0 {
		return // the cookie is still good
	}
	// Without a cookie: data was not taken, or none was given, be it that the
	// answer came to a SYN without the option only.
	news.Refused = news.Cookie.Len() == 0
	c.emit(news)
}

// fastOpenFailed is for a dial that nobody, or only ICMP, answered.
func (p *path) fastOpenFailed(now mono.Time) {
	if c := p.c; p.first && c.fast.asked {
		c.emit(FastOpenNews{Tuple: p.tuple, Refused: true, At: now})
	}
}

// takeEarly keeps the data of the peer's SYN and hands the connection out.
func (c *Conn) takeEarly(now mono.Time, p *path, s *wire.Segment) {
	_, n := p.sf.SYNData()
	if n == 0 {
		return
	}
	c.fast.syn = append([]byte(nil), s.Payload[:n]...)
	c.fast.passed = true
	c.stats.FastOpenReceived = n
	c.wasReady = true
	if c.mode == plain {
		c.phase = open // an answer may leave
	}
	c.used(now)
	c.emit(Ready{})
}

// settleFastOpen says, once, that the handshake is done or never will be.
func (c *Conn) settleFastOpen() {
	if c.fast.passed {
		c.fast.passed = false
		c.emit(FastOpened{})
	}
}

// readEarly moves what came with the SYN.
func (c *Conn) readEarly(p []byte) int {
	n := copy(p, c.fast.syn)
	c.dropEarly(n)
	return n
}

// dropEarly takes n octets of what came with the SYN.
func (c *Conn) dropEarly(n int) {
	if c.fast.syn = c.fast.syn[n:]; len(c.fast.syn) == 0 {
		c.fast.syn = nil
	}
}
