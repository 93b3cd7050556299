package main

import (
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/mpnc/mpnc/internal/control"
)

// kernelSockets are those that this process has open.
type kernelSockets struct {
	mu     sync.Mutex
	lastID uint32
	conns  []*kernelConn
	ls     []*kernelListener
}

func (k *kernelSockets) addConn(c *kernelConn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lastID++
	c.id = k.lastID
	k.conns = append(k.conns, c)
}

func (k *kernelSockets) dropConn(c *kernelConn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.conns = slices.DeleteFunc(k.conns, func(o *kernelConn) bool { return o == c })
}

func (k *kernelSockets) addListener(l *kernelListener) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ls = append(k.ls, l)
}

func (k *kernelSockets) dropListener(l *kernelListener) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ls = slices.DeleteFunc(k.ls, func(o *kernelListener) bool { return o == l })
}

func (k *kernel) listeners() (all []control.Listener) {
	k.sockets.mu.Lock()
	defer k.sockets.mu.Unlock()
	for _, l := range k.sockets.ls {
		c := control.Listener{Local: addrPort(l.Addr()), MPTCP: k.mptcp}
		if t, ok := l.Listener.(*net.TCPListener); ok {
			c.Waiting, c.Backlog = kernelBacklog(t)
		}
		all = append(all, c)
	}
	return all
}

func (k *kernel) connections() (all []control.Conn) {
	k.sockets.mu.Lock()
	defer k.sockets.mu.Unlock()
	for _, c := range k.sockets.conns {
		all = append(all, c.describe())
	}
	return all
}

// describe puts what the kernel tells of a connection into the words of ss.
func (c *kernelConn) describe() control.Conn {
	mp, err := c.MultipathTCP()
	d := control.Conn{
		ID: c.id, MPTCP: c.offered && mp && err == nil, State: "ESTABLISHED", Client: c.client,
		Local: addrPort(c.LocalAddr()), Peer: addrPort(c.RemoteAddr()),
	}
	if c.offered && !d.MPTCP && err == nil {
		d.Fallback = kernelFallback
	}
	kernelDescribe(c.TCPConn, &d)
	if len(d.Subflows) == 0 {
		d.Subflows = []control.Subflow{{State: d.State, Local: d.Local, Peer: d.Peer}}
	}
	for i := range d.Subflows {
		s := &d.Subflows[i]
		s.Interface = interfaceOf(s.Local.Addr())
	}
	return d
}

// interfaceOf returns the name of the interface that has an address, nothing if
// none has.
func interfaceOf(a netip.Addr) string {
	all, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, n := range addrs {
			if p, err := netip.ParsePrefix(n.String()); err == nil && p.Addr().Unmap() == a {
				return i.Name
			}
		}
	}
	return ""
}
