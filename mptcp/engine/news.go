package engine

import (
	"net/netip"

	"github.com/mpnc/mpnc/internal/wire"
)

// News of a connection that speaks MPTCP, for those who watch: those events of
// the kernel's path managers that are not told otherwise.
type (
	// Created: the connection speaks MPTCP.
	Created struct{ Info SubflowInfo }
	// Confirmed: the peer has shown that it does, and subflows may be added.
	Confirmed struct{ Info SubflowInfo }
	// Announced: the peer advertised an address; Port 0 if it said none.
	Announced struct {
		ID   uint8
		Addr netip.Addr
		Port uint16
	}
	// Removed: the peer withdrew an address.
	Removed struct{ ID uint8 }
	// Departed: a subflow that was usable has exchanged FINs, or has ended.
	Departed struct{ Info SubflowInfo }
	// Priority: one side changed the priority of a subflow.
	Priority struct{ Info SubflowInfo }
)

func (Created) isEndpointEvent()   {}
func (Confirmed) isEndpointEvent() {}
func (Announced) isEndpointEvent() {}
func (Removed) isEndpointEvent()   {}
func (Departed) isEndpointEvent()  {}
func (Priority) isEndpointEvent()  {}

// tellNews emits what is only for those who watch.
func (c *Conn) tellNews(ev EndpointEvent) {
	if c.cfg.News {
		c.emit(ev)
	}
}

// tellDeparted tells of a path, once, that it carries nothing more.
func (p *path) tellDeparted() {
	if !p.c.cfg.News || p.departed || !p.up {
		return
	}
	p.departed = true
	info := p.info()
	info.Reason = p.downReason
	p.c.emit(Departed{info})
}

// firstInfo is the subflow that the connection began with, or its ends alone if
// that is no more.
func (c *Conn) firstInfo() SubflowInfo {
	for _, p := range c.paths {
		if p.first {
			return p.info()
		}
	}
	return SubflowInfo{Tuple: wire.Tuple{Local: c.local, Remote: c.remote}, First: true}
}
