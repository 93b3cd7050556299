package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mpnc/mpnc/internal/control"
	"github.com/mpnc/mpnc/internal/ladder"
	"github.com/mpnc/mpnc/internal/trace/tracefile"
	"github.com/mpnc/mpnc/mptcp"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/scheduler"
)

// own is our stack, with MPTCP or without.
type own struct {
	stack   *mptcp.Stack
	tcpOnly bool

	congestion string          // its name
	trace      *tracefile.Pcap // nil: none
	ladder     *ladder.Ladder  // nil: none

	cookies *cookieJar           // nil: no Fast Open as a client
	early   func() []byte        // what to send first; nil: nothing is known yet
	say     func(string, ...any) // with early

	observer atomic.Pointer[func(control.Event)] // nil: nobody watches

	// late is told of what is lost when a session is over and others go on; nil if
	// none do.
	late      func(error)
	finishing atomic.Bool // shutdown was called

	mu    sync.Mutex
	conns []*mptcp.Conn // that may still have something to deliver
}

// openOwn makes a stack on this host's own addresses.
func openOwn(o *options, tcpOnly bool) (transport, error) {
	cfg := mptcp.Config{
		TCPOnly:     tcpOnly,
		Scheduler:   o.scheduler,
		PathManager: o.pathManager,
		PathRules:   o.pathRules,
		LocalAddrs:  o.sources,
		Congestion:  o.congestion,
		Hold:        o.hold,
		TimeWait:    o.timeWait,
		UserTimeout: o.userTimeout,
		KeepAlive:   o.keepAlive,
		NoDelay:     o.noDelay,
		FastOpen:    o.fastOpen,
		NoOffload:   o.noOffload,

		UserTimeoutOption: o.tellTimeout,

		MSS:         o.mss,
		TakeAltered: o.takeAltered,
		SendBuffer:  o.sendBuffer,
		RecvBuffer:  o.recvBuffer,
		Logf:        o.logf,
	}
	cfg.TTL, cfg.MinTTL, cfg.TrafficClass = octet(o.socket.ttl), octet(o.socket.minTTL), octet(o.socket.tos)
	if o.checksum {
		cfg.Checksum = mptcp.ChecksumAsk
	}
	t := &own{tcpOnly: tcpOnly, congestion: o.congestionName}
	cfg.OnEvent = t.observe
	if err := t.openTrace(o.tracePath, &cfg); err != nil {
		return nil, err
	}
	if err := t.openLadder(o.ladderPath, o.stderr, &cfg); err != nil {
		t.closeTrace()
		return nil, err
	}
	var err error
	if t.stack, err = mptcp.NewRaw(cfg); err != nil {
		t.closeTrace()
		t.closeLadder()
		return nil, err
	}
	if o.fastOpen && !o.listen {
		t.cookies = openCookieJar()
		t.stack.LearnFastOpen(t.cookies.load())
	}
	o.tellOpened(t)
	return t, nil
}

// tellOffload says why no path will send trains, if the user can change that.
func (m *command) tellOffload() {
	t, ok := m.base.(*own)
	if !ok {
		return
	}
	if err := t.stack.OffloadTrouble(); err != nil {
		m.log.Infof("packets leave one by one and not in trains: %v (try: sudo setcap cap_net_raw,cap_net_admin+ep %s)", err, executable())
	}
}

// octet is a value of socketOptions; not given is 0, which means the default.
func octet(n int) uint8 { return uint8(max(n, 0)) }

// openTrace has the stack write its packets to a file, and what it made of
// them as comments.
func (t *own) openTrace(path string, cfg *mptcp.Config) (err error) {
	if path == "" {
		return nil
	}
	epoch := time.Now()
	cfg.Now = func() mptcp.Time { return mptcp.Time(time.Since(epoch)) }
	t.trace, err = tracefile.CreatePcap(path, tracefile.PcapConfig{Epoch: epoch, LinkName: interfaceName})
	if err != nil {
		return &failure{code: exitOutput, what: "cannot write the trace: " + err.Error()}
	}
	cfg.Tap, cfg.Tracer = t.trace.Packet, t.trace
	return nil
}

func interfaceName(link int) string {
	if i, err := net.InterfaceByIndex(link); err == nil {
		return i.Name
	}
	return fmt.Sprintf("interface %d", link)
}

// closeTrace ends the trace; a disk that became full is told of now.
func (t *own) closeTrace() error {
	if t.trace == nil {
		return nil
	}
	if err := t.trace.Close(); err != nil {
		return &failure{code: exitOutput, what: "the trace is not complete: " + err.Error()}
	}
	return nil
}

func isOwn(t inspector) bool {
	_, is := t.(*own)
	return is
}

func (t *own) name() string {
	if t.tcpOnly {
		return "tcp"
	}
	return "mptcp"
}

func (t *own) multipath() bool { return !t.tcpOnly }

func (t *own) dial(ctx context.Context, network string, local netip.AddrPort, address string) (conn, error) {
	d := mptcp.Dialer{Stack: t.stack, LocalAddr: local}
	if t.early != nil {
		d.Early = t.early()
	}
	c, err := d.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if len(d.Early) == 0 {
		return t.adopt(c), nil
	}
	if n := c.Stats().FastOpenSent; n > 0 {
		t.say("%d octets went with the SYN (TCP Fast Open)", n)
	}
	return &earlyConn{t.adopt(c), len(d.Early)}, nil
}

// adopt remembers a connection for shutdown, and forgets those that are over.
func (t *own) adopt(c *mptcp.Conn) conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns = append(slices.DeleteFunc(t.conns, over), c)
	return ownConn{c, t}
}

func over(c *mptcp.Conn) bool { return c.Stats().Closed != scheduler.Never }

func (t *own) listen(ctx context.Context, network, address string) (listener, error) {
	lc := mptcp.ListenConfig{Stack: t.stack}
	l, err := lc.Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return ownListener{l, t}, nil
}

const (
	// peerPatience is how long shutdown waits for the end of a peer that has
	// acknowledged everything.
	peerPatience = 2 * time.Second
	// endPatience is the same for one that has not acknowledged our end.
	endPatience = 10 * time.Second
	// deliveryPeriod is how often it looks whether it has.
	deliveryPeriod = 50 * time.Millisecond
)

// shutdown waits for the peers, but not long for those that have everything
// and only do not end their own direction: the session is over for us.
func (t *own) shutdown(ctx context.Context) error {
	err := t.finish(ctx)
	if t.cookies != nil {
		if err := t.cookies.save(t.stack.FastOpenCookies()); err != nil && t.say != nil {
			t.say("the cookies of TCP Fast Open are not kept: %v", err)
		}
	}
	for _, end := range []func() error{t.closeTrace, t.closeLadder} {
		if eerr := end(); err == nil {
			err = eerr
		}
	}
	return err
}

func (t *own) finish(ctx context.Context) error {
	t.finishing.Store(true)
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	done := make(chan error, 1)
	go func() { done <- t.stack.Shutdown(ctx) }()
	tick := time.NewTicker(deliveryPeriod)
	defer tick.Stop()
	var since time.Time
	for {
		select {
		case err := <-done:
			return cmp.Or(err, t.lost())
		case <-tick.C:
		}
		switch {
		case !t.delivered():
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > endPatience, t.endsHeard() && time.Since(since) > peerPatience:
			giveUp()
			<-done
			return t.lost()
		}
	}
}

// delivered reports whether the peers have acknowledged all that was written.
func (t *own) delivered() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.conns {
		if !t.acked(c) {
			return false
		}
	}
	return true
}

// endsHeard reports whether the peers have acknowledged our ends, too: a peer
// that has not would take it for a reset if we left now.
func (t *own) endsHeard() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !slices.ContainsFunc(t.conns, func(c *mptcp.Conn) bool {
		return slices.Contains([]string{"FIN-WAIT-1", "CLOSING", "LAST-ACK"}, c.Info().State.String())
	})
}

// acked reports whether nothing of a connection is on its way any more: it was
// acknowledged, or is lost.
func (t *own) acked(c *mptcp.Conn) bool {
	s := c.Stats()
	return s.Closed != scheduler.Never || s.BytesAcked >= s.BytesWritten
}

// lost is the first loss of a connection that may have had something to deliver
// when its session was over.
func (t *own) lost() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.conns {
		if err := lostBy(c); err != nil {
			return err
		}
	}
	return nil
}

type ownListener struct {
	*mptcp.Listener
	t *own
}

func (l ownListener) accept(ctx context.Context) (conn, error) {
	c, err := l.AcceptContext(ctx)
	if err != nil {
		return nil, err
	}
	return l.t.adopt(c), nil
}

type ownConn struct {
	*mptcp.Conn
	t *own
}

func (c ownConn) status() status { return statusOf(c.Stats()) }

// lost needs not be asked before Close.
func (c ownConn) lost() error { return lostBy(c.Conn) }

// lostBy is why a connection has ended before all that was written was
// acknowledged; nil if it lives, or lost nothing.
func lostBy(c *mptcp.Conn) error {
	if s := c.Stats(); s.Closed == scheduler.Never || s.BytesAcked >= s.BytesWritten {
		return nil
	}
	return cmp.Or(c.Err(), error(syscall.ECONNRESET))
}

// Close has the listener of a connection that outlives its session told if
// something is lost then, or was since the session asked: had it been lost
// before, it would not be closed but aborted.
func (c ownConn) Close() error {
	err := c.Conn.Close()
	if s := c.Stats(); c.t.late != nil && s.BytesAcked < s.BytesWritten {
		go c.t.follow(c.Conn)
	}
	return err
}

// follow waits for the end of a connection whose session is over.
func (t *own) follow(c *mptcp.Conn) {
	tick := time.NewTicker(deliveryPeriod)
	defer tick.Stop()
	for range tick.C {
		if t.finishing.Load() {
			return // then it is finish that tells
		}
		if err := lostBy(c); err != nil {
			t.late(err)
			return
		}
		if t.acked(c) {
			return
		}
	}
}

// statusOf is what the command tells of a connection of our stack.
func statusOf(st mptcp.Stats) status {
	s := status{Multipath: st.Multipath, Fallback: fallbackText(st.Fallback), Paths: []path{}}
	for i := range st.Subflows {
		s.Paths = append(s.Paths, pathOf(&st.Subflows[i]))
	}
	return s
}

func pathOf(f *mptcp.SubflowStats) path {
	p := path{
		ID: int(f.ID), Local: f.Tuple.Local, Remote: f.Tuple.Remote,
		Up: f.Up && !f.Ended, Ended: f.Ended, Backup: f.Backup,
		Lane: f.Lane, Trains: f.Trains,
		Sent: f.BytesOut, Received: f.BytesIn, Retransmitted: f.BytesRetrans, RTT: f.SRTT,
	}
	if f.Ended {
		p.Reason = reasonText(f.Reason)
	}
	if i, err := net.InterfaceByIndex(f.Link); err == nil {
		p.Interface = i.Name
	}
	return p
}

func reasonText(r pathmgr.Reason) string {
	switch r {
	case pathmgr.Closed:
		return ""
	case pathmgr.Reset:
		return "reset by the peer"
	case pathmgr.TimedOut:
		return "not heard for too long"
	case pathmgr.Refused:
		return "refused"
	case pathmgr.LocalGone:
		return "its address or interface went"
	case pathmgr.PeerGone:
		return "the peer withdrew its address"
	case pathmgr.Spent:
		return "its interface has carried what it may"
	}
	return fmt.Sprintf("reason %d", r)
}

// fallbackTexts are for people, in the order of mptcp.FallbackReason. What was
// configured needs no telling.
var fallbackTexts = [...]string{
	"", // no fallback
	"", // configured
	"the peer did not answer with MPTCP, or the network removed it",
	"the peer answered only a SYN without MPTCP",
	"the network removed MPTCP from the handshake",
	"the network removes MPTCP after the handshake",
	"the peer and the network do not agree with us on checksums",
	"the peer saw data that the network had changed",
	"the peer asked for it",
	"the network changed data",
	"another connection has the key that was promised",
}

func fallbackText(r mptcp.FallbackReason) string {
	if int(r) < len(fallbackTexts) {
		return fallbackTexts[r]
	}
	return fmt.Sprintf("reason %d", r)
}

// ownDescription says what our stack was made of.
func ownDescription(o *options, tcpOnly bool) string {
	if tcpOnly {
		return fmt.Sprintf("TCP over raw sockets (congestion control %s, hold %v)", o.congestionName, o.hold)
	}
	return fmt.Sprintf("MPTCP over raw sockets (scheduler %s, congestion control %s, hold %v)", o.schedulerName, o.congestionName, o.hold)
}

// ownTrouble says why our own stack cannot be had, and what to do.
func ownTrouble(err error) *failure {
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		return &failure{code: exitConnect, what: "raw sockets need CAP_NET_RAW", hint: "try: sudo setcap cap_net_raw+ep " + executable()}
	}
	return &failure{code: exitConnect, what: "no raw sockets: " + err.Error()}
}
