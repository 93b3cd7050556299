package engine

import (
	"net/netip"
	"time"

	"github.com/mpnc/mpnc/internal/buf"
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/trace"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/scheduler"
	"github.com/mpnc/mpnc/subflow"
	"github.com/mpnc/mpnc/subflow/cc"
)

// phase is how far a connection's life has come.
type phase uint8

const (
	opening phase = iota // the first handshake runs
	open                 // data may flow
	over                 // failed, aborted or closed; RSTs and TIME-WAIT may remain
)

// mode is what the connection speaks.
type mode uint8

const (
	undecided mode = iota // MP_CAPABLE offered, no verdict yet
	multipath             // RFC 8684
	plain                 // TCP, with an implied mapping
)

// timerKind names the deadlines of a connection that do not follow from its
// state.
type timerKind uint8

const (
	tDataFin timerKind = iota // send DATA_FIN again
	tDataAck                  // data acknowledged on subflows but not by DATA_ACK
	tPersist                  // data waits and nothing is in flight
	tAddAddr                  // ADD_ADDR not echoed
	tManager                  // the path manager's Wake
	tConfirm                  // nothing with a DSS heard since the handshake
	tLinger                   // closed by the application, the peer does not finish
	tIdle                     // look whether the stream is idle
)

// Conn is one connection: MPTCP, or plain TCP with an implied mapping. Its
// methods need one lock of the driver's, another than the Endpoint's.
type Conn struct {
	// Owner is the driver's.
	Owner any

	cfg    *Config
	secret *secret
	id     uint32
	client bool
	bound  bool // the application chose the one local address

	listener *Listener // the Endpoint's: until the handshake is done

	reopens    bool    // a connection between the same ends was in TIME-WAIT,
	startAfter seq.Num // and used sequence numbers up to this one

	phase  phase
	mode   mode
	reason FallbackReason
	err    error

	local, remote netip.AddrPort // of the first subflow, for ever
	key, peerKey  uint64
	idsn          seq.Data // our initial data sequence number
	peerIDSN      seq.Data // the peer's; 0 with plain TCP
	token         uint32   // ours: the peer's joins carry it
	peerToken     uint32
	noJoinFirst   bool // the peer's C flag: no joins to its first address
	csum          bool // mappings carry checksums: asked for, until the handshake has agreed on it

	noDelay bool // no Nagle algorithm

	snd *buf.Send
	rcv *buf.Recv
	tx  sendState
	rx  recvState

	joined   bool    // a subflow was added to the first
	paths    []*path // live ones, in the order they were made
	nextPath scheduler.PathID
	ended    []SubflowInfo
	group    cc.Group

	sched     scheduler.Scheduler
	schedWake mono.Time
	queue     scheduler.Queue   // reused
	views     []scheduler.Path  // reused
	grants    []scheduler.Grant // reused

	stage    stage
	mgr      managerState
	limits   Limits
	addrs    addrState
	timers   mono.Timers[timerKind]
	events   []EndpointEvent
	eventPos int

	confirms  int       // probes sent because nothing with a DSS was heard
	pressed   mono.Time // a probe or DATA_FIN left and nothing was heard since; Never
	asked     mono.Time // since then an answer of the peer's is due; Never if none is
	holdSince mono.Time // no path is alive since then; Never while one is
	forgotten refusals
	advice    *UnreachableError // what ICMP said of a handshake that has no answer
	closer    *path             // carries our MP_FASTCLOSE on ACKs; nil if none does
	closes    int               // how often it has,
	closeAt   mono.Time         // and when it does again
	wasReady  bool              // the first handshake was finished
	appClosed bool              // the application closed both directions
	lender    bool              // a reader waits and lends his memory
	news      news
	gone      bool
	flushed   bool // a path exchanged FINs and has ended
	hold      time.Duration
	share     int // octets that the device can hold of what the peer sends; 0: no bound
	fast      fastOpen
	busy      bool // the stream was used since tIdle was set
	stats     Stats
}

// sendState is our direction of the stream.
type sendState struct {
	next seq.Data // the first octet never granted to a path
	edge seq.Data // right edge of the peer's window: only moves right (RFC 8684, Section 3.3.5)
	lost seq.Set[seq.Data]

	fin      bool // the application closed our direction
	finSent  bool // DATA_FIN (or FIN) is on its way; it takes number snd.End()
	finAcked bool
	finTries int

	finSecond bool // the peer had finished when the DATA_FIN left

	infinite bool      // an infinite mapping is still to be announced (RFC 8684, Section 3.7)
	probes   int       // consecutive persist probes
	resends  int       // consecutive expiries of tDataAck
	bare     mono.Time // since then what answers has no DATA_ACK; Never

	short seq.Data // end of the last new data granted whose last segment was not full
}

// recvState is the peer's direction of the stream.
type recvState struct {
	dssSeen   bool // a DSS with DATA_ACK arrived: the peer is fully established
	shifted   bool // a mapping was another than fallback implies
	bare      bool // data was acknowledged on the only subflow, and no option came since
	finSeen   bool
	fin       seq.Data // number of the peer's DATA_FIN, valid if finSeen
	shownEdge seq.Data // right edge last advertised
	shownSize int      // the window it was advertised with
	lent      int      // octets that Peek lent
	tuning    windowTuning

	altered   int      // checksums that failed in a row,
	alteredAt seq.Data // with this as the next octet expected
}

func newConn(cfg *Config, secret *secret, client bool, local, remote netip.AddrPort, key uint64) *Conn {
	c := &Conn{
		cfg: cfg, secret: secret, client: client, local: local, remote: remote,
		key: key, token: wire.Token(key), idsn: wire.IDSN(key),
		holdSince: mono.Never, asked: mono.Never, pressed: mono.Never, schedWake: mono.Never, closeAt: mono.Never,
	}
	c.limits = Limits{Subflows: cfg.MaxSubflows, Peers: maxPeers}
	c.stats.Closed = mono.Never
	c.tx.bare = mono.Never
	c.hold = cfg.Hold
	c.snd = buf.NewSend(c.idsn+1, cfg.SendBuffer)
	c.snd.Share(cfg.Shelf)
	c.tx.next, c.tx.edge = c.idsn+1, c.idsn+1
	c.tx.short = c.tx.next
	c.noDelay = cfg.NoDelay
	c.csum = cfg.Checksum == ChecksumAsk
	if cfg.Scheduler != nil {
		c.sched = cfg.Scheduler()
	}
	if cfg.TCPOnly {
		c.becomePlain(Configured)
	}
	return c
}

// expect sets where the peer's stream starts.
func (c *Conn) expect(idsn seq.Data) {
	c.peerIDSN = idsn
	c.rcv = buf.NewRecv(idsn+1, c.cfg.firstWindow()) //spec:H25 off: c.rcv = buf.NewRecv(idsn, c.cfg.firstWindow())
	c.rcv.Share(c.cfg.Shelf)
	c.rx.shownEdge = idsn + 1
}

// subflowConfig is what a new subflow of this connection is made with.
func (c *Conn) subflowConfig(now mono.Time, t wire.Tuple, mtu int) subflow.Config {
	n := c.secret.numbers(t)
	cfg := subflow.Config{
		ISS:          n.initial(now),
		TSOffset:     n.tsOffset,
		MTU:          mtu,
		MSS:          c.cfg.MSS,
		WScale:       windowShift(c.cfg.RecvBuffer),
		NoTimestamps: c.cfg.NoTimestamps,
		Controller:   c.cfg.CC,
		Group:        &c.group,
		TimeWait:     c.cfg.TimeWait,
		UserTimeout:  c.cfg.UserTimeout,
		KeepAlive:    c.keepAlive(),

		KeepAliveInterval: c.cfg.KeepAliveInterval,
		KeepAliveCount:    c.cfg.KeepAliveCount,
		ECN:               c.cfg.ECN,
		TellUserTimeout:   c.tellUserTimeout(),
	}
	if c.mode != plain {
		cfg.OptionSpace = optionSpace
		cfg.Accept = c.cfg.RecvBuffer //spec:A5 off:
	}
	if c.mode != plain && c.cfg.TakeAltered && cfg.MSS == 0 {
		cfg.MSS = roomyMSS(t, mtu)
	}
	return cfg
}

// roomyMSS is an MSS that leaves room for a DSS beside segments that are full
// without one. A Linux that falls back makes such segments, and sends the first
// with an infinite mapping all the same: larger than the path takes, it would
// never leave that host.
func roomyMSS(t wire.Tuple, mtu int) int {
	headers := 40
	if t.Is6() {
		headers = 60
	}
	return max(mtu-headers-optionSpace, 536)
}

// optionSpace is what a DSS with 64-bit numbers takes, padded
// (RFC 8684, Section 3.3).
const optionSpace = 28

// windowShift is the smallest shift that can tell of a window of size octets
// (RFC 7323, Section 2.3).
func windowShift(size int) uint8 {
	shift := uint8(0)
	for size>>shift > 65535 && shift < 14 {
		shift++
	}
	return shift
}

// pathOf returns the live path of a tuple.
func (c *Conn) pathOf(t wire.Tuple) *path {
	for _, p := range c.paths {
		if p.tuple == t {
			return p
		}
	}
	return nil
}

// pathByID returns the live path with the given number.
func (c *Conn) pathByID(id scheduler.PathID) *path {
	for _, p := range c.paths {
		if p.id == id {
			return p
		}
	}
	return nil
}

// HandleSegment processes a segment that Lookup or Endpoint.HandleSegment
// found to be this connection's. True: the segment is the SYN of a new
// connection, and a subflow in TIME-WAIT made way for it; once the events of
// this connection are carried out the segment is for Endpoint.HandleSegment.
func (c *Conn) HandleSegment(now mono.Time, s *wire.Segment) (again bool) {
	p := c.pathOf(s.Tuple)
	if p != nil && p.crossed(s) { //spec:J15 off: if false {
		p.onCrossing(now, s)
	} else if p != nil && p.makesWay(now, s) {
		again = true
	} else if p != nil {
		if !p.early(s) {
			p.handle(now, s)
		}
	} else if c.phase != over && s.Flags.Has(wire.SYN) && !s.Flags.Has(wire.ACK) {
		c.acceptSYN(now, s)
	}
	c.reap(now)
	return again
}

// HandleTimeout acts on deadlines that are due.
func (c *Conn) HandleTimeout(now mono.Time) {
	for _, p := range c.paths {
		p.handleTimeout(now)
	}
	c.finishTimeouts(now)
	c.dataTimeouts(now)
	c.addrTimeouts(now)
	c.idleTimeout(now)
	c.fastCloseTimeout(now)
	c.holdTimeout(now)
	c.userTimeout(now)
	if c.timers.Expired(tManager, now) {
		c.tell(now, pathmgr.Alarm{})
	}
	if c.schedWake <= now {
		c.schedWake = mono.Never
	}
	c.reap(now)
}

// PollTimeout returns the next deadline; later than now once PollTransmit was
// drained for every link.
func (c *Conn) PollTimeout() mono.Time {
	next := c.timers.Next().Earliest(c.schedWake).Earliest(c.holdDeadline()).Earliest(c.userDeadline()).Earliest(c.bareDeadline()).Earliest(c.closeAt)
	for _, p := range c.paths {
		next = next.Earliest(p.pollTimeout())
	}
	return next
}

// PollReady appends the links that have something to send. It runs the
// scheduler: call it before PollTransmit.
func (c *Conn) PollReady(now mono.Time, links []int) []int {
	c.finish(now)
	c.tellCarried(now)
	c.reap(now)
	c.schedule(now)
	for _, p := range c.paths {
		if p.sf.WantsTransmit(now) {
			links = addLink(links, p.link)
		}
	}
	return links
}

func addLink(links []int, link int) []int {
	for _, l := range links {
		if l == link {
			return links
		}
	}
	return append(links, link)
}

// PollTransmit appends packets for link to b, as far as it has room, and
// returns how many.
func (c *Conn) PollTransmit(now mono.Time, link int, b *wire.Batch) int {
	n := 0
	for _, p := range c.paths {
		if p.link == link {
			n += p.transmit(now, b)
		}
	}
	c.reap(now)
	return n
}

// PollEndpoint returns the next event for the Endpoint or the driver.
func (c *Conn) PollEndpoint() (EndpointEvent, bool) {
	if c.eventPos == len(c.events) {
		c.events, c.eventPos = c.events[:0], 0
		return nil, false
	}
	ev := c.events[c.eventPos]
	c.events[c.eventPos] = nil
	c.eventPos++
	return ev, true
}

func (c *Conn) emit(ev EndpointEvent) { c.events = append(c.events, ev) }

// trace tells the tracer, if there is one. path is -1 for the connection.
func (c *Conn) trace(now mono.Time, k trace.Kind, path scheduler.PathID, a, b uint64) {
	if c.cfg.Tracer != nil {
		c.cfg.Tracer.Trace(trace.Event{At: now, Conn: c.id, Subflow: int16(path), Kind: k, A: a, B: b})
	}
}

// traceStates tells the tracer, if there is one, which subflows have changed
// their states.
func (c *Conn) traceStates(now mono.Time) {
	if c.cfg.Tracer == nil {
		return
	}
	for _, p := range c.paths {
		if st := p.sf.State(); st != p.traced {
			c.cfg.Tracer.Trace(trace.Event{
				At: now, Conn: c.id, Subflow: int16(p.id), Kind: trace.SubflowState,
				A: uint64(st), B: uint64(p.traced), C: p.tuple.Hash(),
			})
			p.traced = st
		}
	}
}

// ready says that the first handshake is done.
func (c *Conn) ready(now mono.Time) {
	if c.phase != opening {
		return
	}
	c.phase = open
	if !c.wasReady {
		c.wasReady = true
		c.emit(Ready{})
	}
	c.trace(now, trace.ConnState, -1, uint64(open), 0)
}

// fail ends the connection with an error, once. Live subflows are reset.
func (c *Conn) fail(now mono.Time, err error) {
	if c.phase == over {
		return
	}
	c.err = err
	c.phase = over
	c.settleFastOpen()
	c.stats.Closed = now
	for _, p := range c.paths {
		if p != c.closer {
			p.abort() //spec:R2 off: _ = p
		}
	}
	c.timers = mono.Timers[timerKind]{}
	c.trace(now, trace.Failed, -1, 0, 0)
}

// reap takes out the paths that are closed, and ends the connection with the
// last of them once it is over.
func (c *Conn) reap(now mono.Time) {
	c.traceStates(now)
	for i := 0; i < len(c.paths); {
		p := c.paths[i]
		if p.sf.State() == subflow.StateTimeWait {
			p.tellDeparted()
		}
		if p.sf.State() != subflow.StateClosed || p.sf.WantsTransmit(now) {
			i++
			continue
		}
		c.paths = append(c.paths[:i], c.paths[i+1:]...)
		c.pathEnded(now, p)
	}
	if len(c.paths) > 0 || c.gone {
		return
	}
	if c.phase == open && c.settled() || c.phase == open && c.mode == plain { //spec:X8 off: if c.phase == open {
		c.phase = over
		c.stats.Closed = now
	}
	if c.phase == over {
		c.gone = true
		c.timers = mono.Timers[timerKind]{}
		c.snd.Close()
		if c.rcv != nil {
			c.rcv.Trim()
		}
		c.emit(Gone{})
	}
}

// Established reports whether the handshake is done (it stays true).
func (c *Conn) Established() bool {
	return c.wasReady
}

// Done reports whether the connection is over: failed, aborted, or closed both
// ways with everything acknowledged and every subflow past its FIN exchange
// (TIME-WAIT may still run).
func (c *Conn) Done() bool {
	return c.phase == over || c.settled() && c.Flushed()
}

// Flushed reports whether all that was written, and the DATA_FIN, are
// acknowledged and every subflow of the connection has exchanged FINs (our
// last ACK may still have to be repeated).
func (c *Conn) Flushed() bool {
	if c.phase == over {
		return true
	}
	if !c.tx.fin || !c.settled() {
		return false
	}
	waiting, through := 0, len(c.paths) == 0
	for _, p := range c.paths {
		switch st := p.sf.State(); {
		case st == subflow.StateTimeWait || st == subflow.StateClosed:
			through = through || p.up
		case p.alive():
			waiting++
		}
	}
	// A dead path is not waited for, but one has to have told the peer.
	return waiting == 0 && (through || c.flushed)
}

// RTO returns the largest retransmission timeout of the live paths, 200 ms at
// least: how long a peer may take to ask again for what was lost.
func (c *Conn) RTO() time.Duration {
	rto := 200 * time.Millisecond
	for _, p := range c.paths {
		if p.up && !p.gone && p.sf.RTO() > rto {
			rto = p.sf.RTO()
		}
	}
	return rto
}

// Err returns the failure, nil while there is none.
func (c *Conn) Err() error { return c.err }

// LocalAddr and RemoteAddr are those of the first subflow, for ever
// (RFC 8684, Section 4).
func (c *Conn) LocalAddr() netip.AddrPort { return c.local } //spec:W8 off: func (c *Conn) LocalAddr() netip.AddrPort { return c.paths[0].tuple.Local }

// RemoteAddr is the peer's first address.
func (c *Conn) RemoteAddr() netip.AddrPort { return c.remote } //spec:W8 off: func (c *Conn) RemoteAddr() netip.AddrPort { return c.paths[0].tuple.Remote }
