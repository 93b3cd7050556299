package engine

import (
	"errors"
	"net/netip"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow"
	"github.com/mpnc/mpnc/subflow/cc"
)

// Endpoint sorts packets into connections. Its methods need one lock of the
// driver's (a read lock is enough for Lookup).
type Endpoint struct {
	cfg       Config
	secret    secret
	tuples    map[wire.Tuple]*Conn
	tokens    map[uint32]*Conn
	held      map[netip.AddrPort]int
	reopened  map[wire.Tuple]seq.Num // of tuples that made way for the SYN at hand
	listeners []*Listener
	fast      fastOpenCache
	nextID    uint32
}

// Defaults of Config.
const (
	defaultBuffer      = 65535 << 7 // 8 MiB, or all that a window shift of 7 can tell
	defaultHold        = 15 * time.Minute
	defaultMaxSubflows = 8
	defaultHalfOpen    = 128
)

// NewEndpoint returns an Endpoint that holds nothing yet.
func NewEndpoint(c *Config) *Endpoint {
	e := &Endpoint{
		cfg:    *c,
		secret: newSecret(c.Rand),
		tuples: make(map[wire.Tuple]*Conn),
		tokens: make(map[uint32]*Conn),
		held:   make(map[netip.AddrPort]int),

		reopened: make(map[wire.Tuple]seq.Num),
	}
	e.cfg.tuneRecv, e.cfg.tuneSend = c.RecvBuffer == 0, c.SendBuffer == 0
	orInt(&e.cfg.RecvBuffer, defaultBuffer)
	// "The send buffer MUST, at a minimum, be as big as the receive buffer"
	// (RFC 8684, Section 3.3.5); who sets it knows why.
	orInt(&e.cfg.SendBuffer, max(e.cfg.RecvBuffer, defaultBuffer)) //spec:A8 off: orInt(&e.cfg.SendBuffer, 4<<20)
	orInt(&e.cfg.MaxSubflows, defaultMaxSubflows)
	orInt(&e.cfg.HalfOpen, defaultHalfOpen)
	if e.cfg.Hold == 0 {
		e.cfg.Hold = defaultHold
	}
	orInt(&e.cfg.KeepAliveCount, defaultKeepAliveCount)
	if e.cfg.CC == nil {
		e.cfg.CC = cc.NewCUBIC
	}
	return e
}

// firstWindow is the receive window that a connection begins with.
func (c *Config) firstWindow() int {
	if c.tuneRecv {
		return min(leastWindow, c.RecvBuffer)
	}
	return c.RecvBuffer
}

func orInt(v *int, d int) {
	if *v == 0 {
		*v = d
	}
}

// Hold says that the stack holds the guard of this pair (the address may be
// unspecified). Pairs are counted.
func (e *Endpoint) Hold(ap netip.AddrPort) { e.held[ap]++ }

// Release takes one Hold back.
func (e *Endpoint) Release(ap netip.AddrPort) {
	if e.held[ap]--; e.held[ap] <= 0 {
		delete(e.held, ap)
	}
}

// holds reports whether a guard covers ap.
func (e *Endpoint) holds(ap netip.AddrPort) bool {
	if e.held[ap] > 0 || e.held[netip.AddrPortFrom(netip.IPv6Unspecified(), ap.Port())] > 0 {
		return true
	}
	return ap.Addr().Is4() && e.held[netip.AddrPortFrom(netip.IPv4Unspecified(), ap.Port())] > 0
}

// Listener is a passive open.
type Listener struct {
	e       *Endpoint
	at      netip.AddrPort
	backlog int
	halfway int // connections whose handshake runs
	ready   []*Conn
	pending int // connections handed out whose handshake runs (fastopen.go)

	cookiesUntil mono.Time // the last cookie sent is good until then
}

// Listen makes the endpoint accept connections at at, whose guard it holds.
func (e *Endpoint) Listen(at netip.AddrPort, backlog int) (*Listener, error) {
	for _, l := range e.listeners {
		if l.at == at {
			return nil, errors.New("already listening at " + at.String())
		}
	}
	l := &Listener{e: e, at: at, backlog: max(backlog, 1)}
	e.listeners = append(e.listeners, l)
	return l, nil
}

// Close ends listening. Connections not yet accepted are returned, to be
// aborted by the driver.
func (l *Listener) Close() (pending []*Conn) {
	for i, o := range l.e.listeners {
		if o == l {
			l.e.listeners = append(l.e.listeners[:i], l.e.listeners[i+1:]...)
			break
		}
	}
	pending, l.ready = l.ready, nil
	return pending
}

// Accept returns the next connection whose handshake is done, nil if none is.
func (l *Listener) Accept() *Conn {
	if len(l.ready) == 0 {
		return nil
	}
	c := l.ready[0]
	l.ready = l.ready[1:]
	return c
}

// Waiting returns how many connections wait for Accept, and Backlog how many
// may.
func (l *Listener) Waiting() int { return len(l.ready) }

// Backlog is said with Waiting.
func (l *Listener) Backlog() int { return l.backlog }

// matches reports whether a SYN to local is for this listener.
func (l *Listener) matches(local netip.AddrPort) bool {
	if l.at.Port() != local.Port() {
		return false
	}
	a := l.at.Addr()
	return a == local.Addr() || a == netip.IPv6Unspecified() || a == netip.IPv4Unspecified() && local.Addr().Is4()
}

// listener returns the listener for local: the one bound to its address
// rather than a wildcard.
func (e *Endpoint) listener(local netip.AddrPort) *Listener {
	var found *Listener
	for _, l := range e.listeners {
		if l.matches(local) && (found == nil || l.at.Addr() == local.Addr()) {
			found = l
		}
	}
	return found
}

// Dial makes a connection whose SYN leaves with the next PollTransmit.
// mtu is that of the path; bound says the application chose the local address.
func (e *Endpoint) Dial(now mono.Time, t wire.Tuple, link, mtu int, bound bool) (*Conn, error) {
	return e.DialEarly(now, t, link, mtu, bound, nil)
}

// DialEarly is Dial with the data that is to go first: with the SYN as far as it
// may (Config.FastOpen), else when the handshake is done. All of it must fit in
// the send buffer.
func (e *Endpoint) DialEarly(now mono.Time, t wire.Tuple, link, mtu int, bound bool, data []byte) (*Conn, error) {
	if e.tuples[t] != nil {
		return nil, errors.New("a connection from " + t.Local.String() + " to " + t.Remote.String() + " exists")
	}
	c := e.newConn(now, true, t, e.newKey())
	c.bound = bound
	p := c.addPath(t, link)
	p.active = true
	c.fast.early = append([]byte(nil), data...)
	cfg := c.subflowConfig(now, t, mtu)
	cfg.FastOpen = e.activeFastOpen(now, t, c.fast.early)
	c.fast.asked = cfg.FastOpen.Offer
	p.sf = subflow.Dial(now, t, cfg)
	return c, nil
}

// newKey draws a key whose token is unique (RFC 8684, Section 3.1). It comes to
// an end with a source of random numbers, too, that repeats itself.
func (e *Endpoint) newKey() uint64 {
	key := rand64(e.cfg.Rand)
	for tries := uint64(0); e.tokens[wire.Token(key)] != nil; tries++ { //spec:H13,H14 off: for tries := uint64(0); false; tries++ {
		key = rand64(e.cfg.Rand)
		if tries >= 16 { // chance does not do that
			key += tries
		}
	}
	return key
}

// newConn makes a connection and claims its tuple and token.
func (e *Endpoint) newConn(now mono.Time, client bool, t wire.Tuple, key uint64) *Conn {
	c := newConn(&e.cfg, &e.secret, client, t.Local, t.Remote, key)
	e.nextID++
	c.id = e.nextID
	c.stats.Opened = now
	c.localID(t.Local.Addr())
	e.tokens[c.token] = c
	e.tuples[t] = c
	return c
}

// Lookup returns the connection that claimed the tuple, nil if none did.
func (e *Endpoint) Lookup(t wire.Tuple) *Conn { return e.tuples[t] }

// Conns returns how many connections there are.
func (e *Endpoint) Conns() int { return len(e.tokens) }

// Subflows returns how many subflows are registered, those in TIME-WAIT included.
func (e *Endpoint) Subflows() int { return len(e.tuples) }

// HandleSegment decides on a segment whose tuple Lookup does not know.
func (e *Endpoint) HandleSegment(now mono.Time, s *wire.Segment) (*Conn, Verdict) {
	defer delete(e.reopened, s.Tuple)
	if !e.holds(s.Local) || s.Flags.Has(wire.RST) {
		return nil, Ignore
	}
	if !s.Flags.Has(wire.SYN) || s.Flags.Has(wire.ACK) {
		return e.fromCookie(now, s)
	}
	if s.MP.Has&wire.MPJoin != 0 && s.MP.Has&wire.MPCapable == 0 {
		// Joins find their connection by token, on any pair that we hold.
		if s.MP.Join.Form == wire.JoinSYN {
			if c := e.tokens[s.MP.Join.Token]; c != nil && !(c.bound && s.Local.Addr() != c.local.Addr()) {
				return c, Deliver
			}
		}
		return nil, Stray //spec:J5 off: return nil, Ignore
	}
	l := e.listener(s.Local)
	if l == nil {
		return nil, Stray
	}
	switch {
	case len(l.ready) >= l.backlog:
		return nil, Ignore // the client's SYN comes again
	case l.halfway >= e.cfg.HalfOpen, l.halfway+len(l.ready) >= l.backlog: //spec:T32,T34 off: case false:
		l.cookiesUntil = now.Add(cookieLife)
		return nil, Answer
	}
	return e.passive(now, l, s, e.newKey()), Deliver
}

// passive makes a connection that a listener accepts.
func (e *Endpoint) passive(now mono.Time, l *Listener, s *wire.Segment, key uint64) *Conn {
	c := e.newConn(now, false, s.Tuple, key)
	c.bound = l.at.Addr() == s.Local.Addr()
	c.listener = l
	c.startAfter, c.reopens = e.reopened[s.Tuple]
	l.halfway++
	c.fast.passive = e.passiveFastOpen(now, l, s)
	return c
}

// HandleEvent carries out what a connection asked (all events are passed,
// WantPath too, which is ignored).
func (e *Endpoint) HandleEvent(c *Conn, ev EndpointEvent) {
	switch ev := ev.(type) {
	case Register:
		e.tuples[ev.Tuple] = c
	case Unregister:
		if e.tuples[ev.Tuple] == c {
			delete(e.tuples, ev.Tuple)
		}
	case Reopen:
		e.reopened[ev.Tuple] = ev.Last
	case Ready:
		if l := c.listener; l != nil {
			c.listener = nil
			l.halfway--
			l.ready = append(l.ready, c)
			if c.fast.passed {
				c.fast.listener = l
				l.pending++
			}
		}
	case FastOpened:
		if l := c.fast.listener; l != nil {
			c.fast.listener = nil
			l.pending--
		}
	case FastOpenNews:
		e.onFastOpenNews(ev)
	case Gone:
		if e.tokens[c.token] == c {
			delete(e.tokens, c.token)
		}
		if l := c.listener; l != nil {
			c.listener = nil
			l.halfway--
		}
	}
}

// AppendReset appends the RST that answers a stray segment
// (RFC 9293, Section 3.10.7.1); nothing if the segment is a RST itself.
func AppendReset(b *wire.Batch, s *wire.Segment) {
	if s.Flags.Has(wire.RST) {
		return
	}
	r := wire.Segment{Tuple: s.Tuple, Flags: wire.RST}
	if s.Flags.Has(wire.ACK) {
		r.Seq = s.Ack
	} else {
		r.Flags |= wire.ACK
		r.Ack = s.Seq + seq.Num(s.Len())
	}
	if s.MP.Has&wire.MPJoin != 0 && s.MP.Join.Form == wire.JoinSYN {
		// An unknown token (RFC 8684, Section 3.2).
		r.MP.Has = wire.TCPReset
		r.MP.Rst.Reason = wire.ResetMPTCPError
	}
	wire.AppendSegment(b, &r, 0)
}
