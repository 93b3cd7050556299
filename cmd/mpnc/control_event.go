package main

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/mpnc/mpnc/internal/control"
	"github.com/mpnc/mpnc/mptcp"
)

// eventNames are those of ip mptcp monitor.
var eventNames = map[mptcp.EventKind]string{
	mptcp.ConnCreated: "CREATED", mptcp.ConnEstablished: "ESTABLISHED", mptcp.ConnClosed: "CLOSED",
	mptcp.AddrAnnounced: "ANNOUNCED", mptcp.AddrRemoved: "REMOVED",
	mptcp.SubflowEstablished: "SF_ESTABLISHED", mptcp.SubflowClosed: "SF_CLOSED", mptcp.SubflowPriority: "SF_PRIO",
	mptcp.ListenerCreated: "LISTENER_CREATED", mptcp.ListenerClosed: "LISTENER_CLOSED",
}

// resetTransient is the T flag of MP_TCPRST, as the kernel tells of it.
const resetTransient = 1

// watch has f called with what happens to connections. f must return at once.
func (t *own) watch(f func(control.Event)) { t.observer.Store(&f) }

// observe is called by the stack, with its locks held.
func (t *own) observe(e mptcp.Event) {
	if f := t.observer.Load(); f != nil {
		(*f)(describeEvent(e))
	}
}

// describeEvent puts an event into the words of ip mptcp monitor, with the
// fields that it has there.
func describeEvent(e mptcp.Event) control.Event {
	d := control.Event{Time: time.Now(), Conn: e.Conn, Event: eventNames[e.Kind]}
	if e.Conn != 0 {
		d.Token = fmt.Sprintf("%08x", e.Token)
	}
	switch e.Kind {
	case mptcp.ConnClosed:
		return d
	case mptcp.AddrAnnounced:
		d.RemID = &e.RemoteID
		setAddr(e.Remote, &d.DAddr4, &d.DAddr6, &d.DPort)
		return d
	case mptcp.AddrRemoved:
		d.RemID = &e.RemoteID
		return d
	case mptcp.ListenerCreated, mptcp.ListenerClosed:
		setAddr(e.Local, &d.SAddr4, &d.SAddr6, &d.SPort)
		return d
	}
	d.RemID, d.LocID = &e.RemoteID, &e.LocalID
	setAddr(e.Local, &d.SAddr4, &d.SAddr6, &d.SPort)
	setAddr(e.Remote, &d.DAddr4, &d.DAddr6, &d.DPort)
	d.ServerSide = e.ServerSide && (e.Kind == mptcp.ConnCreated || e.Kind == mptcp.ConnEstablished)
	if e.Kind == mptcp.ConnCreated || e.Kind == mptcp.ConnEstablished {
		return d
	}
	d.IfIndex, d.Error = e.Link, uint8(e.Error)
	d.Backup = flagOf(e.Backup, 1)
	if e.HasReset {
		d.ResetReason, d.ResetFlags = &e.ResetReason, flagOf(e.ResetTransient, resetTransient)
	}
	return d
}

func setAddr(a netip.AddrPort, four, six *string, port *uint16) {
	*port = a.Port()
	if a.Addr().Is4() {
		*four = a.Addr().String()
	} else {
		*six = a.Addr().String()
	}
}

func flagOf(set bool, value uint8) *uint8 {
	if !set {
		value = 0
	}
	return &value
}

// eventText is a line of ip mptcp monitor, and the process that it is of.
func eventText(e *control.Event) string {
	var w words
	w.add(true, "[%16s]", printable(e.Event))
	w.add(e.Token != "", "token=%s", printable(e.Token))
	number := func(name string, v *uint8) {
		if v != nil {
			w.add(true, "%s=%d", name, *v)
		}
	}
	number("remid", e.RemID)
	number("locid", e.LocID)
	for _, a := range []struct{ name, addr string }{
		{"saddr4", e.SAddr4}, {"daddr4", e.DAddr4}, {"saddr6", e.SAddr6}, {"daddr6", e.DAddr6},
	} {
		w.add(a.addr != "", "%s=%s", a.name, printable(a.addr))
	}
	w.add(e.SPort != 0, "sport=%d", e.SPort)
	w.add(e.DPort != 0, "dport=%d", e.DPort)
	number("backup", e.Backup)
	w.add(e.Error != 0, "error=%d", e.Error)
	w.add(e.Timeout != 0, "timeout=%d", e.Timeout)
	w.add(e.IfIndex != 0, "ifindex=%d", e.IfIndex)
	number("reset_reason", e.ResetReason)
	if e.ResetFlags != nil {
		w.add(true, "reset_flags=0x%x", *e.ResetFlags)
	}
	w.add(e.ServerSide, "server_side")
	w.add(true, "pid=%d", e.PID)
	w.add(e.Lost > 0, "lost=%d", e.Lost)
	return w.join()
}
