package mptcp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/mpnc/mpnc/mptcp/engine"
)

// backlog is how many connections may wait for Accept if nothing is said: as
// many as Linux allows.
const backlog = 4096

// ListenConfig has the options of listening.
type ListenConfig struct {
	Stack *Stack
	// Backlog is how many connections may wait for Accept. If zero, 4096.
	Backlog int
}

// Listener accepts connections; it is a net.Listener.
type Listener struct {
	stack  *Stack
	at     netip.AddrPort
	addr   *net.TCPAddr
	guards []*guard
	core   *engine.Listener
	only6  bool

	// All below is guarded by Stack.mu.
	cond     sync.Cond
	deadline deadline
	closed   bool
}

var _ net.Listener = (*Listener)(nil)

// Listen accepts connections at a local address, which is like that of
// net.Listen: without a host it means all addresses, and port 0 a free one.
// network is "tcp", "tcp4" or "tcp6".
func (s *Stack) Listen(network, address string) (*Listener, error) {
	lc := ListenConfig{Stack: s}
	return lc.Listen(context.Background(), network, address)
}

// Listen is Stack.Listen with lc's options; ctx bounds the look-up of a name.
func (lc *ListenConfig) Listen(ctx context.Context, network, address string) (*Listener, error) {
	at, err := localAddr(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	size := lc.Backlog
	if size <= 0 {
		size = backlog
	}
	l, err := lc.Stack.listen(at, size, network == "tcp6")
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: net.TCPAddrFromAddrPort(at), Err: err}
	}
	return l, nil
}

func (s *Stack) listen(at netip.AddrPort, size int, only6 bool) (*Listener, error) {
	gs, err := s.acquireAll(at)
	if err != nil {
		return nil, err
	}
	if at.Addr().IsUnspecified() {
		at = gs[0].pair // of IPv4 on a host without IPv6
	}
	at = netip.AddrPortFrom(at.Addr(), gs[0].pair.Port())
	l := &Listener{stack: s, at: at, addr: net.TCPAddrFromAddrPort(at), guards: gs, only6: only6}
	l.cond.L = &s.mu
	l.deadline.init(s.now, &l.cond)

	ch := s.chores()
	defer ch.finish()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		err = net.ErrClosed
	case only6 && at.Addr().Is4():
		err = os.NewSyscallError("bind", syscall.EAFNOSUPPORT)
	case s.listeners[at] != nil:
		err = os.NewSyscallError("bind", syscall.EADDRINUSE)
	default:
		l.core, err = s.ep.Listen(at, size)
	}
	if err != nil {
		s.dropAll(gs, ch)
		return nil, err
	}
	s.listeners[at] = l
	s.tellListener(ListenerCreated, l)
	return l, nil
}

// acquireAll takes a local address and port on every device that has the
// address.
func (s *Stack) acquireAll(at netip.AddrPort) (gs []*guard, err error) {
	ch := s.chores()
	defer ch.finish()
	for _, d := range s.devs {
		g, e := s.acquire(d, at, true, true)
		if e == nil {
			gs = append(gs, g)
			at = netip.AddrPortFrom(at.Addr(), g.pair.Port())
			continue
		}
		err = e
		if !errors.Is(e, syscall.EADDRNOTAVAIL) {
			s.mu.Lock()
			s.dropAll(gs, ch)
			s.mu.Unlock()
			return nil, e
		}
	}
	if len(gs) == 0 {
		return nil, err
	}
	return gs, nil
}

// listenerFor returns the listener that the endpoint took a SYN to local for:
// the one at this address rather than one at all. Stack.mu is held.
func (s *Stack) listenerFor(local netip.AddrPort) *Listener {
	if l := s.listeners[local]; l != nil {
		return l
	}
	for _, any := range wildcards {
		if l := s.listeners[netip.AddrPortFrom(any, local.Port())]; l != nil && covers(any, local.Addr()) {
			return l
		}
	}
	return nil
}

// Accept waits for the next connection; its handshake is done.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.AcceptContext(context.Background())
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AcceptContext is Accept that ends when ctx is done.
func (l *Listener) AcceptContext(ctx context.Context) (*Conn, error) {
	c, err := l.accept(ctx)
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: err}
	}
	return c, nil
}

func (l *Listener) accept(ctx context.Context) (*Conn, error) {
	s := l.stack
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		l.cond.Broadcast()
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case l.closed:
			return nil, net.ErrClosed
		case l.deadline.passed():
			return nil, os.ErrDeadlineExceeded
		case ctx.Err() != nil:
			return nil, contextError(ctx)
		}
		if core := l.core.Accept(); core != nil {
			return core.Owner.(*Conn), nil
		}
		l.cond.Wait()
	}
}

// SetDeadline sets the deadline of Accept; the zero time means none.
func (l *Listener) SetDeadline(t time.Time) error {
	l.stack.mu.Lock()
	defer l.stack.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "set", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
	l.deadline.set(t)
	return nil
}

// Addr returns the address listened at, a *net.TCPAddr.
func (l *Listener) Addr() net.Addr { return l.addr }

// Close stops listening. Connections that were not accepted are aborted; those
// that were live on, and keep the port from others until their last subflow
// has left TIME-WAIT.
func (l *Listener) Close() error {
	s := l.stack
	ch := s.chores()
	s.mu.Lock()
	if l.closed {
		s.mu.Unlock()
		ch.finish()
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
	l.closed = true
	l.deadline.stop()
	l.cond.Broadcast()
	delete(s.listeners, l.at)
	s.tellListener(ListenerClosed, l)
	pending := l.core.Close()
	s.dropAll(l.guards, ch)
	s.mu.Unlock()
	for _, core := range pending {
		core.Owner.(*Conn).Abort()
	}
	ch.finish()
	return nil
}

func (s *Stack) closeListeners() {
	s.mu.RLock()
	all := make([]*Listener, 0, len(s.listeners))
	for _, l := range s.listeners {
		all = append(all, l)
	}
	s.mu.RUnlock()
	for _, l := range all {
		l.Close()
	}
}
