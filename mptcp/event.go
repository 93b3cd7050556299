package mptcp

import (
	"net/netip"
	"syscall"

	"github.com/mpnc/mpnc/mptcp/engine"
	"github.com/mpnc/mpnc/pathmgr"
)

// Event is news of a connection that speaks MPTCP, or of a listener, in the
// terms of the kernel's path managers (linux/mptcp_pm.h). Which fields count
// depends on the kind.
type Event struct {
	Kind EventKind
	At   Time
	// Conn and Token are the connection's number in its Stack and its local
	// token. Of a listener, 0.
	Conn, Token uint32
	// Local and Remote are the ends of the subflow that it is about, LocalID and
	// RemoteID their address identifiers. Of ConnClosed only Local and Remote
	// count, those of the first subflow. Of AddrAnnounced only Remote and
	// RemoteID do (its port is 0 if the peer said none), of AddrRemoved only
	// RemoteID, of listeners only Local.
	Local, Remote     netip.AddrPort
	LocalID, RemoteID uint8
	Link              int
	Backup            bool
	ServerSide        bool // this side accepted the connection
	// Error is why a subflow closed, 0 if in good order. HasReset says that the
	// peer's RST told more (MP_TCPRST): its reason, and whether that is transient.
	Error          syscall.Errno
	HasReset       bool
	ResetReason    uint8
	ResetTransient bool
}

// EventKind is what sort of thing happened.
type EventKind uint8

// Kinds of Event.
const (
	// ConnCreated: a connection speaks MPTCP.
	ConnCreated EventKind = iota + 1
	// ConnEstablished: its peer has shown that it does, so that it may have more
	// subflows.
	ConnEstablished
	// ConnClosed: this side has closed it, or it is over.
	ConnClosed
	// AddrAnnounced: the peer advertised an address.
	AddrAnnounced
	// AddrRemoved: the peer withdrew one.
	AddrRemoved
	// SubflowEstablished: a further subflow is usable.
	SubflowEstablished
	// SubflowClosed: a subflow has ended while the connection goes on.
	SubflowClosed
	// SubflowPriority: this side or the peer made a subflow a backup, or no more.
	SubflowPriority
	// ListenerCreated and ListenerClosed: a Listener began and ended to listen.
	ListenerCreated
	ListenerClosed
)

// newEvent begins an event about the connection. c.mu is held.
func (c *Conn) newEvent(now Time, kind EventKind) Event {
	token, _ := c.core.Token()
	return Event{Kind: kind, At: now, Conn: c.core.ID(), Token: token, ServerSide: !c.core.Client()}
}

func (c *Conn) tellSubflow(now Time, kind EventKind, i *engine.SubflowInfo) {
	e := c.newEvent(now, kind)
	e.Local, e.Remote, e.Link = i.Tuple.Local, i.Tuple.Remote, i.Link
	e.LocalID, e.RemoteID, e.Backup = i.LocalID, i.RemoteID, i.Backup
	if kind == SubflowClosed {
		e.Error = errnoOf(i.Reason)
		e.HasReset, e.ResetReason, e.ResetTransient = i.HasReset, uint8(i.ResetReason), i.ResetTransient
	}
	c.stack.cfg.OnEvent(e)
}

// errnoOf is a reason in the terms of the kernel.
func errnoOf(r pathmgr.Reason) syscall.Errno {
	switch r {
	case pathmgr.Reset:
		return syscall.ECONNRESET
	case pathmgr.TimedOut:
		return syscall.ETIMEDOUT
	case pathmgr.Refused:
		return syscall.ECONNREFUSED
	case pathmgr.LocalGone:
		return syscall.ENETUNREACH
	case pathmgr.PeerGone:
		return syscall.EHOSTUNREACH
	}
	return 0
}

// tellEvent tells the observer of an event of the core's. c.mu and Stack.mu are
// held.
func (c *Conn) tellEvent(now Time, ev engine.EndpointEvent) {
	if c.stack.cfg.OnEvent == nil || c.toldClosed {
		return
	}
	switch ev := ev.(type) {
	case engine.Created:
		c.tellSubflow(now, ConnCreated, &ev.Info)
	case engine.Confirmed:
		c.tellSubflow(now, ConnEstablished, &ev.Info)
	case engine.PathUp:
		if !ev.Info.First {
			c.tellSubflow(now, SubflowEstablished, &ev.Info)
		}
	case engine.Departed:
		if c.core.Multipath() && !c.core.Settled() && !c.core.Done() {
			c.tellSubflow(now, SubflowClosed, &ev.Info)
		}
	case engine.Priority:
		c.tellSubflow(now, SubflowPriority, &ev.Info)
	case engine.Announced:
		e := c.newEvent(now, AddrAnnounced)
		e.RemoteID, e.Remote = ev.ID, netip.AddrPortFrom(ev.Addr, ev.Port)
		c.stack.cfg.OnEvent(e)
	case engine.Removed:
		e := c.newEvent(now, AddrRemoved)
		e.RemoteID = ev.ID
		c.stack.cfg.OnEvent(e)
	case engine.Gone:
		c.tellClosed(now)
	}
}

// tellClosed tells the observer, once, that a connection that spoke MPTCP is
// over for this side. c.mu is held.
func (c *Conn) tellClosed(now Time) {
	if c.stack.cfg.OnEvent == nil || c.toldClosed || !c.core.Multipath() || !c.core.Established() {
		return
	}
	c.toldClosed = true
	e := c.newEvent(now, ConnClosed)
	e.Local, e.Remote = c.core.LocalAddr(), c.core.RemoteAddr()
	c.stack.cfg.OnEvent(e)
}

// tellListener tells the observer of a listener.
func (s *Stack) tellListener(kind EventKind, l *Listener) {
	if s.cfg.OnEvent != nil {
		s.cfg.OnEvent(Event{Kind: kind, At: s.now(), Local: l.at})
	}
}
