package testenv

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The kernel's generic netlink family "mptcp_pm", as in linux/mptcp_pm.h.
const (
	pmFamily = "mptcp_pm"

	pmAddAddr    = 1
	pmDelAddr    = 2
	pmFlushAddrs = 4
	pmSetLimits  = 5
	pmSetFlags   = 7
	pmAnnounce   = 8
	pmRemove     = 9
	pmCreate     = 10
	pmDestroy    = 11

	pmAttrAddr        = 1
	pmAttrRcvAddAddrs = 2
	pmAttrSubflows    = 3
	pmAttrToken       = 4
	pmAttrLocID       = 5
	pmAttrAddrRemote  = 6

	pmAddrFamily = 1
	pmAddrID     = 2
	pmAddr4      = 3
	pmAddr6      = 4
	pmAddrPort   = 5
	pmAddrFlags  = 6
	pmAddrIfIdx  = 7

	pmFlagSignal   = 1
	pmFlagSubflow  = 2
	pmFlagBackup   = 4
	pmFlagFullMesh = 8
)

// SetMPTCPLimits sets how many subflows beside the first the host's kernel
// makes or accepts for one connection, and how many announced addresses it
// joins. A lab starts with 8 and 8.
func (h *Host) SetMPTCPLimits(subflows, addAddrAccepted int) error {
	return h.pathManager(pmSetLimits,
		nl.NewRtAttr(pmAttrRcvAddAddrs, nl.Uint32Attr(uint32(addAddrAccepted))),
		nl.NewRtAttr(pmAttrSubflows, nl.Uint32Attr(uint32(subflows))))
}

// AddEndpoint gives the host's kernel path manager an address to use.
func (h *Host) AddEndpoint(e Endpoint) error {
	addr, err := h.pmAddr(pmAttrAddr, e)
	if err != nil {
		return err
	}
	return h.pathManager(pmAddAddr, addr)
}

// ChangeEndpoint makes the endpoint with e's address a backup, or no longer, and
// has it join every address of the peer, or no longer.
func (h *Host) ChangeEndpoint(e Endpoint) error {
	e.Signal, e.Subflow = false, false // these cannot be changed
	addr, err := h.pmAddr(pmAttrAddr, e)
	if err != nil {
		return err
	}
	return h.pathManager(pmSetFlags, addr)
}

// pmAddr is an endpoint as an attribute.
func (h *Host) pmAddr(kind int, e Endpoint) (*nl.RtAttr, error) {
	addr := nl.NewRtAttr(kind|unix.NLA_F_NESTED, nil)
	if e.Addr.Is6() {
		addr.AddRtAttr(pmAddrFamily, nl.Uint16Attr(unix.AF_INET6))
		addr.AddRtAttr(pmAddr6, e.Addr.AsSlice())
	} else {
		addr.AddRtAttr(pmAddrFamily, nl.Uint16Attr(unix.AF_INET))
		addr.AddRtAttr(pmAddr4, e.Addr.AsSlice())
	}
	if e.ID != 0 {
		addr.AddRtAttr(pmAddrID, nl.Uint8Attr(e.ID))
	}
	if e.Port != 0 {
		addr.AddRtAttr(pmAddrPort, nl.Uint16Attr(e.Port))
	}
	addr.AddRtAttr(pmAddrFlags, nl.Uint32Attr(e.flags()))
	if e.Link != "" {
		index, err := h.ifIndex(e.Link)
		if err != nil {
			return nil, err
		}
		addr.AddRtAttr(pmAddrIfIdx, nl.Uint32Attr(uint32(index)))
	}
	return addr, nil
}

func (e Endpoint) flags() (f uint32) {
	for _, b := range []struct {
		set bool
		bit uint32
	}{{e.Signal, pmFlagSignal}, {e.Subflow, pmFlagSubflow}, {e.Backup, pmFlagBackup}, {e.FullMesh, pmFlagFullMesh}} {
		if b.set {
			f |= b.bit
		}
	}
	return f
}

// AddEndpoints adds one endpoint for each link with the host's address of the
// family, otherwise like e.
func (h *Host) AddEndpoints(family int, e Endpoint) error {
	for _, link := range h.Links() {
		e.Addr, e.Link = h.Addr(link, family), link
		if err := h.AddEndpoint(e); err != nil {
			return err
		}
	}
	return nil
}

// RemoveEndpoint takes an endpoint away by its identifier.
func (h *Host) RemoveEndpoint(id uint8) error {
	addr := nl.NewRtAttr(pmAttrAddr|unix.NLA_F_NESTED, nil)
	addr.AddRtAttr(pmAddrID, nl.Uint8Attr(id))
	return h.pathManager(pmDelAddr, addr)
}

// RemoveInitial has the connections that began at the address close their first
// subflow, and say that the address is gone.
func (h *Host) RemoveInitial(a netip.Addr) error {
	addr, err := h.pmAddr(pmAttrAddr, Endpoint{Addr: a})
	if err != nil {
		return err
	}
	addr.AddRtAttr(pmAddrID, nl.Uint8Attr(0))
	return h.pathManager(pmDelAddr, addr)
}

// Announce has a connection of a host with net.mptcp.pm_type 1, named by its
// token there, tell its peer of an address: e's Addr, ID and Port.
func (h *Host) Announce(token uint32, e Endpoint) error {
	e.Signal = true
	addr, err := h.pmAddr(pmAttrAddr, e)
	if err != nil {
		return err
	}
	return h.pathManager(pmAnnounce, nl.NewRtAttr(pmAttrToken, nl.Uint32Attr(token)), addr)
}

// Withdraw takes an announced address, or one that subflows came from, back
// again. Subflows stay.
func (h *Host) Withdraw(token uint32, id uint8) error {
	return h.pathManager(pmRemove,
		nl.NewRtAttr(pmAttrToken, nl.Uint32Attr(token)), nl.NewRtAttr(pmAttrLocID, nl.Uint8Attr(id)))
}

// CreateSubflow has such a connection join from e's Addr, under its ID, to remote.
func (h *Host) CreateSubflow(token uint32, e Endpoint, remote netip.AddrPort) error {
	return h.subflow(pmCreate, token, e, remote)
}

// DestroySubflow has it close the subflow between e's Addr and Port, and remote.
func (h *Host) DestroySubflow(token uint32, e Endpoint, remote netip.AddrPort) error {
	return h.subflow(pmDestroy, token, e, remote)
}

// SubflowPriority has it make that subflow a backup, if e says so, or none.
func (h *Host) SubflowPriority(token uint32, e Endpoint, remote netip.AddrPort) error {
	return h.subflow(pmSetFlags, token, e, remote)
}

func (h *Host) subflow(command uint8, token uint32, e Endpoint, remote netip.AddrPort) error {
	local, err := h.pmAddr(pmAttrAddr, e)
	if err != nil {
		return err
	}
	far, err := h.pmAddr(pmAttrAddrRemote, Endpoint{Addr: remote.Addr(), Port: remote.Port()})
	if err != nil {
		return err
	}
	return h.pathManager(command, nl.NewRtAttr(pmAttrToken, nl.Uint32Attr(token)), local, far)
}

// FlushEndpoints takes all endpoints away.
func (h *Host) FlushEndpoints() error { return h.pathManager(pmFlushAddrs) }

func (h *Host) ifIndex(name string) (index int, err error) {
	err = h.Do(func() error {
		link, err := netlink.LinkByName(name)
		if err == nil {
			index = link.Attrs().Index
		}
		return err
	})
	return index, err
}

// pathManager sends one command to the kernel's path manager.
func (h *Host) pathManager(command uint8, attrs ...*nl.RtAttr) error {
	err := h.Do(func() error {
		family, err := netlink.GenlFamilyGet(pmFamily)
		if err != nil {
			return err
		}
		req := nl.NewNetlinkRequest(int(family.ID), unix.NLM_F_ACK)
		req.AddData(&nl.Genlmsg{Command: command, Version: 1})
		for _, a := range attrs {
			req.AddData(a)
		}
		_, err = req.Execute(unix.NETLINK_GENERIC, 0)
		return err
	})
	if err != nil {
		return fmt.Errorf("testenv: MPTCP path manager of the %s, command %d: %w", h.name, command, err)
	}
	return nil
}
