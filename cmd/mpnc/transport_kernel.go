package main

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
)

// kernel is the host's own TCP, with MPTCP or without.
type kernel struct {
	mptcp   bool
	options socketOptions
	sockets kernelSockets
}

func openKernel(o *options, mptcp bool) (transport, error) {
	if mptcp {
		if err := probeKernelMPTCP(); err != nil {
			return nil, err
		}
	}
	k := &kernel{mptcp: mptcp, options: o.socket}
	o.tellOpened(k)
	return k, nil
}

func (k *kernel) name() string {
	if k.mptcp {
		return "kernel"
	}
	return "kernel-tcp"
}

func (k *kernel) multipath() bool { return k.mptcp }

func (k *kernel) dial(ctx context.Context, network string, local netip.AddrPort, address string) (conn, error) {
	d := net.Dialer{Control: k.options.control}
	d.SetMultipathTCP(k.mptcp)
	if local.Addr().IsValid() || local.Port() != 0 {
		d.LocalAddr = net.TCPAddrFromAddrPort(local)
	}
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return k.wrap(c, true), nil
}

func (k *kernel) listen(ctx context.Context, network, address string) (listener, error) {
	lc := net.ListenConfig{Control: k.options.control}
	lc.SetMultipathTCP(k.mptcp)
	l, err := lc.Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	kl := &kernelListener{Listener: l, k: k}
	k.sockets.addListener(kl)
	return kl, nil
}

// shutdown has nothing to wait for: the kernel goes on when we have ended.
func (k *kernel) shutdown(context.Context) error { return nil }

func (k *kernel) wrap(c net.Conn, client bool) conn {
	kc := &kernelConn{TCPConn: c.(*net.TCPConn), k: k, client: client, offered: k.mptcp, opened: time.Now()}
	k.sockets.addConn(kc)
	return kc
}

type kernelListener struct {
	net.Listener
	k *kernel
}

func (l *kernelListener) accept(ctx context.Context) (conn, error) {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	c, err := l.Accept()
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	return l.k.wrap(c, false), nil
}

func (l *kernelListener) Close() error {
	l.k.sockets.dropListener(l)
	return l.Listener.Close()
}

// kernelConn is a connection of the kernel's.
type kernelConn struct {
	*net.TCPConn
	k       *kernel
	id      uint32
	client  bool
	offered bool // MPTCP was
	opened  time.Time

	mu   sync.Mutex
	last status // what is known of paths: the kernel forgets those that ended
}

func (c *kernelConn) status() status {
	c.mu.Lock()
	defer c.mu.Unlock()
	mp, err := c.MultipathTCP()
	if err != nil {
		return c.last // closed
	}
	c.last.Multipath = c.offered && mp
	if c.offered && !mp {
		c.last.Fallback = kernelFallback
	}
	if now := kernelPaths(c.TCPConn, mp); now != nil {
		c.last.Paths = mergePaths(c.last.Paths, now)
	}
	if len(c.last.Paths) == 0 {
		c.last.Paths = []path{{Local: addrPort(c.LocalAddr()), Remote: addrPort(c.RemoteAddr()), Up: true}}
	}
	s := c.last
	s.Paths = append([]path(nil), s.Paths...)
	return s
}

// kernelFallback is all that the kernel tells.
const kernelFallback = "the peer or the network does not do MPTCP"

// mergePaths brings what is known of paths up to date with those that are
// there now.
func mergePaths(known, now []path) []path {
	for i := range known {
		known[i].Up, known[i].Ended = false, true
	}
	for _, p := range now {
		found := false
		for i := range known {
			if known[i].Local == p.Local && known[i].Remote == p.Remote {
				p.ID = known[i].ID
				known[i], found = p, true
			}
		}
		if !found {
			p.ID = len(known)
			known = append(known, p)
		}
	}
	return known
}

// lost is what the kernel tells of without being asked to do something.
func (c *kernelConn) lost() error { return kernelLost(c.TCPConn) }

// Close keeps the last status for those who ask afterwards.
func (c *kernelConn) Close() error {
	c.status()
	c.k.sockets.dropConn(c)
	return c.TCPConn.Close()
}

// Abort makes the kernel send a RST.
func (c *kernelConn) Abort() error {
	c.SetLinger(0)
	return c.Close()
}

func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
