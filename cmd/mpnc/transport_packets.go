package main

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// largestDatagram is what one write sends at most, as nc has it: 16 KiB go
// through a datagram socket of either kind.
const largestDatagram = 16 << 10

// packets is the kernel's datagrams: UDP, and those of Unix sockets.
type packets struct {
	options socketOptions
	source  string        // path of our own end, of Unix sockets; empty: a new one
	probe   time.Duration // look so long whether anybody is there before a dial is a success; 0: do not
	// Of a listener: sessions one after the other or at once, each with one
	// peer, or one session with all.
	several, everybody bool
	leave              bool // a Unix socket's file when the listener goes, as nc does
}

func (o *options) openPackets() transport {
	p := &packets{options: o.socket, source: o.sourcePath, several: o.keep && o.maxConns > 1, everybody: o.keep && o.maxConns == 1, leave: o.leavesSockets()}
	if o.scan {
		p.probe = probeTime
		if o.timeout > 0 {
			p.probe = min(p.probe, o.timeout*3/4) // the rest is for the dial
		}
	}
	return p
}

func (p *packets) name() string { return "packets" }

func (p *packets) multipath() bool { return false }

func (p *packets) shutdown(context.Context) error { return nil }

// takesNames: paths are not looked up.
func (p *packets) takesNames() bool { return false }

func (p *packets) dial(ctx context.Context, network string, local netip.AddrPort, address string) (conn, error) {
	d := net.Dialer{Control: p.options.control}
	remove := func() {}
	if network == "unixgram" {
		path, cleanup, err := p.ownPath()
		if err != nil {
			return nil, err
		}
		remove = cleanup
		d.LocalAddr = &net.UnixAddr{Name: path, Net: network}
		d.Control = nil
	} else if local.Addr().IsValid() || local.Port() != 0 {
		d.LocalAddr = net.UDPAddrFromAddrPort(local)
	}
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		remove()
		return nil, err
	}
	pc := &packetConn{Conn: c, remove: remove}
	if p.probe > 0 {
		if err := pc.probe(ctx, p.probe); err != nil {
			pc.Close()
			return nil, err
		}
	}
	return pc, nil
}

// ownPath is where a peer's answers to a Unix datagram come.
func (p *packets) ownPath() (path string, remove func(), err error) {
	if p.source != "" {
		return p.source, func() { os.Remove(p.source) }, nil
	}
	dir, err := os.MkdirTemp("", "mpnc-")
	if err != nil {
		return "", nil, err
	}
	return filepath.Join(dir, "recv.sock"), func() { os.RemoveAll(dir) }, nil
}

func (p *packets) listen(ctx context.Context, network, address string) (listener, error) {
	lc := net.ListenConfig{Control: p.options.control}
	if strings.HasPrefix(network, "unix") {
		lc.Control = nil
		if err := makeWay(network, address); err != nil {
			return nil, err
		}
	}
	s, err := lc.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l := &packetListener{
		s: s, remove: func() {}, several: p.several, everybody: p.everybody,
		sessions: map[string]*packetSession{}, fresh: make(chan *packetSession, freshPackets), dead: make(chan struct{}),
	}
	if network == "unixgram" && !strings.HasPrefix(address, "@") && !p.leave {
		l.remove = func() { os.Remove(address) }
	}
	go l.run()
	return l, nil
}

const (
	// probeTime is how long a scan waits for a sign that a datagram's port is
	// closed. There is none that it is open, but for an answer.
	probeTime = 3 * time.Second
	// probes are sent in this time.
	probeCount = 4
)

// packetConn is our end of datagrams with one peer.
type packetConn struct {
	net.Conn
	remove func()
}

// probe sends something and reports the error that comes back, if one does.
func (c *packetConn) probe(ctx context.Context, d time.Duration) error {
	defer c.SetDeadline(time.Time{})
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	var answer [1]byte
	for range probeCount {
		c.SetReadDeadline(time.Now().Add(d / probeCount))
		if _, err := c.Write([]byte{'X'}); err != nil {
			return err
		}
		_, err := c.Read(answer[:])
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !os.IsTimeout(err):
			return err
		}
	}
	return nil
}

func (c *packetConn) Close() error {
	defer c.remove()
	return c.Conn.Close()
}

// CloseWrite does nothing: datagrams have no end.
func (c *packetConn) CloseWrite() error { return nil }

// Abort closes: nobody is told of that.
func (c *packetConn) Abort() error { return c.Close() }

// lost knows nothing: datagrams may always be.
func (c *packetConn) lost() error { return nil }

func (c *packetConn) status() status { return statusOfEnds(c.LocalAddr(), c.RemoteAddr()) }

// statusOfEnds is the status of a connection that has one path, or none.
func statusOfEnds(local, remote net.Addr) status {
	from, to := addrPort(local), addrPort(remote)
	if !from.IsValid() || !to.IsValid() {
		return status{Paths: []path{}}
	}
	return status{Paths: []path{{Local: from, Remote: to, Up: true}}}
}

const (
	// freshPackets is how many new peers may wait to be accepted.
	freshPackets = 16
	// mostWaiting bounds what a session keeps that nobody reads, in octets and
	// datagrams; what comes then is lost, as datagrams may be.
	mostWaiting, mostWaitingCount = 1 << 20, 1024
)

// packetListener makes sessions of the datagrams that come to one socket. One
// goroutine reads.
type packetListener struct {
	s                  net.PacketConn
	remove             func() // what it has left in the file system
	several, everybody bool

	mu       sync.Mutex
	sessions map[string]*packetSession // by the peer's address; "" with everybody
	taken    bool                      // without several: the session is somebody's
	closed   bool
	fresh    chan *packetSession
	dead     chan struct{} // closed when reading failed
	err      error         // why
}

func (l *packetListener) Addr() net.Addr { return l.s.LocalAddr() }

// Close takes no new peers. The socket goes with the last session.
func (l *packetListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return l.release()
}

// release closes the socket once nobody uses it.
func (l *packetListener) release() error {
	if l.closed && len(l.sessions) == 0 {
		l.remove()
		return l.s.Close()
	}
	return nil
}

func (l *packetListener) accept(ctx context.Context) (conn, error) {
	select {
	case s := <-l.fresh:
		return s, nil
	case <-l.dead:
		return nil, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *packetListener) run() {
	p := make([]byte, 64<<10)
	for {
		n, from, err := l.s.ReadFrom(p)
		if err != nil {
			l.fail(err)
			return
		}
		if s := l.sessionOf(from); s != nil {
			s.deliver(append([]byte(nil), p[:n]...), from)
		}
	}
}

// sessionOf is the session of a peer, a new one if it may have one, or nil.
func (l *packetListener) sessionOf(from net.Addr) *packetSession {
	key := ""
	if !l.everybody && from != nil {
		key = from.String()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.sessions[key]; s != nil || l.closed || l.taken && !l.several && !l.everybody {
		return s
	}
	s := newPacketSession(l, key, from)
	select {
	case l.fresh <- s:
	default:
		return nil
	}
	l.sessions[key], l.taken = s, true
	if !l.several && !l.everybody {
		connectPackets(l.s, from)
	}
	return s
}

// fail ends all sessions with what ended the socket.
func (l *packetListener) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
	close(l.dead)
	for _, s := range l.sessions {
		s.fail(err)
	}
}

// leave is called when a session is closed.
func (l *packetListener) leave(s *packetSession) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sessions[s.key] == s {
		delete(l.sessions, s.key)
	}
	return l.release()
}

// packetSession is the datagrams of one peer, or of everybody: then what is
// written goes to whoever was heard last.
type packetSession struct {
	l   *packetListener
	key string

	mu      sync.Mutex
	peer    net.Addr
	waiting [][]byte
	octets  int
	err     error
	until   time.Time     // read deadline
	alarm   *time.Timer   // at until
	changed chan struct{} // closed, and replaced, whenever a reader has to look again
}

func newPacketSession(l *packetListener, key string, peer net.Addr) *packetSession {
	return &packetSession{l: l, key: key, peer: peer, changed: make(chan struct{})}
}

// wake makes readers look again. The mutex is held.
func (s *packetSession) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *packetSession) deliver(p []byte, from net.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) >= mostWaitingCount || s.octets+len(p) > mostWaiting {
		return
	}
	s.waiting, s.octets, s.peer = append(s.waiting, p), s.octets+len(p), from
	s.wake()
}

func (s *packetSession) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		s.wake()
	}
}

// Read reads a datagram, or as much of it as fits.
func (s *packetSession) Read(p []byte) (int, error) {
	for {
		s.mu.Lock()
		switch {
		case !s.until.IsZero() && !time.Now().Before(s.until):
			s.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case len(s.waiting) > 0:
			n := copy(p, s.waiting[0])
			s.octets -= len(s.waiting[0])
			s.waiting = s.waiting[1:]
			s.mu.Unlock()
			return n, nil
		case s.err != nil:
			s.mu.Unlock()
			return 0, s.err
		}
		changed := s.changed
		s.mu.Unlock()
		<-changed
	}
}

func (s *packetSession) Write(p []byte) (int, error) {
	s.mu.Lock()
	to, err := s.peer, s.err
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if to == nil || to.String() == "" {
		return len(p), nil // a peer without a name: nobody can answer it
	}
	return s.l.s.WriteTo(p, to)
}

// SetDeadline sets that of reads. Writes do not wait.
func (s *packetSession) SetDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.alarm != nil {
		s.alarm.Stop()
	}
	if s.until = t; !t.IsZero() {
		s.alarm = time.AfterFunc(time.Until(t), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.wake()
		})
	}
	s.wake()
	return nil
}

func (s *packetSession) SetReadDeadline(t time.Time) error { return s.SetDeadline(t) }
func (s *packetSession) SetWriteDeadline(time.Time) error  { return nil }

func (s *packetSession) Close() error {
	s.fail(net.ErrClosed)
	return s.l.leave(s)
}

func (s *packetSession) Abort() error      { return s.Close() }
func (s *packetSession) CloseWrite() error { return nil }

func (s *packetSession) LocalAddr() net.Addr { return s.l.s.LocalAddr() }

func (s *packetSession) RemoteAddr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peer == nil {
		return &net.UnixAddr{Net: "unixgram"}
	}
	return s.peer
}

// lost knows nothing: datagrams may always be.
func (s *packetSession) lost() error { return nil }

func (s *packetSession) status() status { return statusOfEnds(s.LocalAddr(), s.RemoteAddr()) }
