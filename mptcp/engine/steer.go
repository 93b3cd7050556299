package engine

import (
	"errors"
	"net/netip"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/scheduler"
)

// What a person wants done with the paths of a connection, beside its manager.

// Errors of those who steer.
var (
	ErrNotMultipath = errors.New("the connection has one path only: it does not speak Multipath TCP (yet)")
	ErrNoSuchPath   = errors.New("the connection has no such path")
	ErrPathExists   = errors.New("the connection has such a path")
	ErrManyPaths    = errors.New("the connection has as many paths as it may")
	ErrLastPath     = errors.New("it is the last path that works")
	ErrNoJoin       = errors.New("the peer forbids further paths to this address")
	ErrFamily       = errors.New("the peer has told no address of this family")
	ErrLimits       = errors.New("limits out of range: there can be 1 to 32 subflows and 0 to 8 addresses")
)

// Limits bound what a connection may have.
type Limits struct {
	Subflows int // at once, in both directions together
	Peers    int // addresses that are learned from the peer's ADD_ADDRs
}

// MostSubflows and MostPeers are how far limits can be raised.
const (
	MostSubflows = 32
	MostPeers    = maxPeers
)

// Limits returns what holds now.
func (c *Conn) Limits() Limits { return c.limits }

// SetLimits changes what holds from now on; paths and addresses that there are
// stay.
func (c *Conn) SetLimits(l Limits) error {
	if l.Subflows < 1 || l.Subflows > MostSubflows || l.Peers < 0 || l.Peers > MostPeers {
		return ErrLimits
	}
	c.limits = l
	return nil
}

// steerable reports whether subflows may be added.
func (c *Conn) steerable() bool { return c.mode == multipath && c.phase == open && c.mgr.started }

// AddPath opens a subflow. The zero remote means the peer's first address that
// can be had from local. The request is named in a WantPath.
func (c *Conn) AddPath(local pathmgr.Local, remote netip.AddrPort, backup bool) (PathRequest, error) {
	if !c.steerable() || !c.rx.dssSeen && c.alive() { // RFC 8684, Section 3.1: see want
		return 0, ErrNotMultipath
	}
	if !remote.IsValid() {
		if remote = c.peerFor(local.Addr); !remote.IsValid() {
			return 0, ErrFamily
		}
	}
	if remote.Port() == 0 {
		remote = netip.AddrPortFrom(remote.Addr(), c.peerPort())
	}
	switch {
	case c.noJoinFirst && remote == c.remote:
		return 0, ErrNoJoin
	case c.hasPath(local.Addr, remote):
		return 0, ErrPathExists
	}
	before := c.mgr.nextReq
	c.want(pathmgr.Open{Local: local, Remote: remote, Backup: backup})
	if c.mgr.nextReq == before {
		return 0, ErrManyPaths
	}
	return c.mgr.nextReq, nil
}

// peerFor returns the peer's first address of a family that may be joined, the
// zero one if it has none.
func (c *Conn) peerFor(local netip.Addr) netip.AddrPort {
	if c.remote.Addr().Is4() == local.Is4() && !c.noJoinFirst {
		return c.remote
	}
	for _, p := range c.addrs.peers {
		if p.Addr.Addr().Is4() == local.Is4() {
			return p.Addr
		}
	}
	return netip.AddrPort{}
}

// RemovePath closes a subflow. What it had not delivered goes by the others;
// the last one that works stays.
func (c *Conn) RemovePath(now mono.Time, id scheduler.PathID) error {
	if !c.steerable() {
		return ErrNotMultipath
	}
	p := c.pathByID(id)
	if p == nil || p.closing {
		return ErrNoSuchPath
	}
	others := false
	for _, o := range c.paths {
		others = others || o != p && o.alive() && o.usable()
	}
	if !others && p.up {
		return ErrLastPath
	}
	c.carryOut(now, pathmgr.Close{ID: pathmgr.PathID(id)})
	c.reap(now)
	return nil
}

// SetBackup changes the priority of a subflow, and tells the peer (MP_PRIO).
func (c *Conn) SetBackup(now mono.Time, id scheduler.PathID, backup bool) error {
	if !c.steerable() {
		return ErrNotMultipath
	}
	p := c.pathByID(id)
	if p == nil || p.closing || !p.up {
		return ErrNoSuchPath
	}
	c.carryOut(now, pathmgr.SetBackup{ID: pathmgr.PathID(id), Backup: backup})
	return nil
}
