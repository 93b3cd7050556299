package mptcp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
)

// attemptDelay is how long a connection attempt runs alone before the next
// address is tried beside it (RFC 8305, Section 5).
const attemptDelay = 250 * time.Millisecond

// Dialer has the options of dialing. All but Stack may be zero.
type Dialer struct {
	Stack *Stack
	// LocalAddr chooses the source address, the source port, or both. An
	// address keeps the path manager from leaving by others. If zero, the
	// host's routing chooses the address, and any free port is taken.
	LocalAddr netip.AddrPort
	// Timeout bounds a Dial, all addresses together. If zero, only the
	// context and the patience of TCP do.
	Timeout time.Duration
	// Early is data to send first. With Config.FastOpen, and a cookie of the
	// server's from an earlier connection, up to a segment of it goes with the
	// SYN, and may be answered with the SYN/ACK; else it is as if it were written
	// first. What went with a SYN can arrive twice, so it must not matter if it
	// does (RFC 7413, Section 6.1); of several addresses of a name only the first
	// one's SYN has it, and its server may have got it though another is the
	// first to answer. Statistics tell how much went (FastOpenSent).
	Early []byte
	// Resolver resolves names. If nil, net.DefaultResolver.
	Resolver *net.Resolver
}

// Dial connects to an address like that of net.Dial; network is "tcp", "tcp4"
// or "tcp6". If a name has several addresses they are tried in order, the next
// one when the one before fails or lets 250 ms pass; the first that answers
// wins. It returns when the handshake is done. Once it has returned, ctx has
// no effect on the connection.
func (s *Stack) Dial(ctx context.Context, network, address string) (*Conn, error) {
	d := Dialer{Stack: s}
	return d.Dial(ctx, network, address)
}

// DialContext is Dial for those who want the net.Conn, such as
// http.Transport.DialContext.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Dial is Stack.Dial with d's options.
func (d *Dialer) Dial(ctx context.Context, network, address string) (*Conn, error) {
	if d.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Timeout)
		defer cancel()
	}
	resolver := d.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	addrs, err := remoteAddrs(ctx, resolver, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	if len(addrs) == 1 {
		return d.dialOne(ctx, network, addrs[0], len(d.Early))
	}
	return d.race(ctx, network, addrs)
}

// race tries several addresses.
func (d *Dialer) race(ctx context.Context, network string, addrs []netip.AddrPort) (*Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		c   *Conn
		err error
	}
	results := make(chan result, len(addrs))
	var errs []error
	running, early := 0, len(d.Early)
	delay := time.NewTimer(attemptDelay)
	defer delay.Stop()
	for len(addrs) > 0 || running > 0 {
		if len(addrs) > 0 {
			to := addrs[0]
			addrs = addrs[1:]
			running++
			go func(early int) {
				c, err := d.dialOne(ctx, network, to, early)
				results <- result{c, err}
			}(early)
			early = 0
			delay.Reset(attemptDelay)
		}
		more := delay.C
		if len(addrs) == 0 {
			more = nil
		}
		select {
		case <-more:
		case r := <-results:
			running--
			if r.err != nil {
				errs = append(errs, r.err)
				continue
			}
			cancel()
			for ; running > 0; running-- {
				if r := <-results; r.c != nil {
					r.c.Abort()
				}
			}
			return r.c, nil
		}
	}
	return nil, errors.Join(errs...)
}

// mostEarly is how much of Dialer.Early can go with a SYN, at most.
const mostEarly = 1460

// dialOne connects to one address. early octets of Early may go with the SYN; the
// rest is written when the connection stands.
func (d *Dialer) dialOne(ctx context.Context, network string, to netip.AddrPort, early int) (*Conn, error) {
	early = min(early, mostEarly)
	c, err := d.Stack.dial(ctx, to, d.LocalAddr, d.Early[:early])
	if err == nil {
		if _, err = c.Write(d.Early[early:]); err == nil {
			return c, nil
		}
		c.Abort()
	}
	e := &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: err}
	if d.LocalAddr.IsValid() {
		e.Source = net.TCPAddrFromAddrPort(d.LocalAddr)
	}
	return nil, e
}

// dial connects to one address: route, guard, SYN, in this order, so that
// nobody else answers what the SYN brings back.
func (s *Stack) dial(ctx context.Context, to, from netip.AddrPort, early []byte) (*Conn, error) {
	if ctx.Err() != nil {
		return nil, contextError(ctx)
	}
	link, err := zoneLink(to.Addr())
	if err != nil {
		return nil, err
	}
	remote := netip.AddrPortFrom(to.Addr().WithZone(""), to.Port())
	src := from.Addr().Unmap().WithZone("")
	bound := src.IsValid() && !src.IsUnspecified()
	if !bound {
		if src, link, err = s.source(remote.Addr(), link); err != nil {
			return nil, err
		}
	}
	dev, route, err := s.route(remote.Addr(), src, link)
	if err != nil {
		return nil, err
	}
	local := netip.AddrPortFrom(onLink(route.Local, route.Link), from.Port())
	g, err := s.acquire(dev, local, false, local.Port() != 0)
	if err != nil {
		return nil, err
	}
	t := wire.Tuple{Local: netip.AddrPortFrom(route.Local, g.pair.Port()), Remote: remote}
	c, err := s.connect(t, g, dev.base|route.Link, route.MTU, bound, early)
	if err != nil {
		return nil, err
	}
	if err := c.waitEstablished(ctx); err != nil {
		c.Abort()
		return nil, err
	}
	return c, nil
}

// connect makes the connection and sends its SYN. The reference to g passes to
// it.
func (s *Stack) connect(t wire.Tuple, g *guard, link, mtu int, bound bool, early []byte) (*Conn, error) {
	ch := s.chores()
	defer ch.finish()
	now := s.now()
	c, err := s.open(now, t, g, link, mtu, bound, early, ch)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock() // before the chores
	c.poll(now, nil, ch)
	return c, nil
}

func (s *Stack) open(now Time, t wire.Tuple, g *guard, link, mtu int, bound bool, early []byte, ch *chores) (*Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		s.drop(g, ch)
		return nil, net.ErrClosed
	}
	if s.ep.Lookup(t) != nil {
		s.drop(g, ch)
		return nil, os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)
	}
	core, err := s.ep.DialEarly(now, t, link, mtu, bound, early)
	if err != nil {
		s.drop(g, ch)
		return nil, err
	}
	c := s.newConn(core)
	c.hold(t, g)
	s.conns[c] = struct{}{}
	s.stats.dialed.Add(1)
	c.wantLocals(now) // should the address go while the handshake runs
	return c, nil
}

// route asks the devices in order how packets to remote leave. link is 0, or
// one of the stack's numbers.
func (s *Stack) route(remote, local netip.Addr, link int) (*device, Route, error) {
	var errs []error
	for i, d := range s.devs {
		if link != 0 && link>>linkBits != i {
			continue
		}
		r, err := d.Route(remote, local, link-link>>linkBits<<linkBits)
		if err == nil {
			return d, r, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 1 {
		return nil, Route{}, errs[0]
	}
	return nil, Route{}, errors.Join(errs...)
}
