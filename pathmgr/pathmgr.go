// Package pathmgr decides which subflows a connection has. A manager maps one
// event to commands; the engine carries them out and keeps what the protocol
// needs (address identifiers, limits, echoes, retransmissions of RFC 8684,
// Section 3.4). Managers keep policy only, and are pure.
package pathmgr

import (
	"net/netip"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
)

// Time is nanoseconds since the Stack's epoch.
type Time = mono.Time

// PathID names a subflow within its connection.
type PathID int

// Local is an address of this host that could reach the peer. The host's
// monitor has already left out loopback (unless the peer is on loopback),
// link-local, tentative, deprecated and duplicate addresses, addresses
// without carrier and those without a route to the peer.
type Local struct {
	Addr netip.Addr
	Link int    // interface index
	Name string // interface name
	Kind LinkKind
	// Best is set on the address that the host's own routing would use
	// towards the peer.
	Best bool
}

// LinkKind is a coarse sort of network interface.
type LinkKind uint8

// Kinds of interface that a policy treats differently.
const (
	Ordinary LinkKind = iota // Ethernet, Wi-Fi, cellular
	Tunnel                   // tun, wireguard, ipip, gre …: a VPN
	Bridge                   // a bridge, container bridges included
	Loopback
)

// Peer is an address that the peer advertised with ADD_ADDR, or the one that
// was first connected to (ID 0).
type Peer struct {
	ID   uint8
	Addr netip.AddrPort
}

// Subflow is a subflow as a manager sees it.
type Subflow struct {
	ID            PathID
	Local, Remote netip.AddrPort
	Link          int
	Backup        bool   // this side wishes it to carry only when no other can
	PeerBackup    bool   // the peer does
	Established   bool   // false while its handshake runs
	Suspect       bool   // silent, or its address is gone
	Carried       uint64 // octets of payload, both directions, repeated ones too
}

// View is the state of one connection and its host at the time of the event;
// read only, valid during the call.
type View struct {
	Client   bool           // this side opened the connection
	Local    netip.AddrPort // ends of the first subflow
	Remote   netip.AddrPort
	NoJoin   bool // the peer forbade joins to its first address (C flag, RFC 8684, Section 3.1)
	Bound    bool // the listener or dialer is bound to the one address Local
	Locals   []Local
	Peers    []Peer
	Subflows []Subflow
}

// Reason says why a subflow went down.
type Reason uint8

// Reasons of SubflowDown.
const (
	Closed    Reason = iota // with FINs, as asked
	Reset                   // by the peer
	TimedOut                // nothing heard for too long
	Refused                 // its handshake was refused, or its local port could not be had
	LocalGone               // its local address or link went
	PeerGone                // the peer withdrew its address
	Spent                   // the octets that its interface may carry are
)

// Event is one of the types below.
type Event interface{ isEvent() }

type (
	// Established: the connection speaks MPTCP and may have more subflows.
	Established struct{}
	// LocalUp: an address became usable; View.Locals already has it.
	LocalUp struct{ Local Local }
	// LocalDown: an address or its link went; View.Locals no longer has it.
	LocalDown struct{ Local Local }
	// RouteChanged: routing changed; View.Locals is as it is now.
	RouteChanged struct{}
	// PeerAdded: the peer advertised an address.
	PeerAdded struct{ Peer Peer }
	// PeerRemoved: the peer withdrew an address.
	PeerRemoved struct{ Peer Peer }
	// SubflowUp: a subflow finished its handshake.
	SubflowUp struct{ Subflow Subflow }
	// SubflowDown: a subflow is gone, or could not be had.
	SubflowDown struct {
		Subflow   Subflow
		Reason    Reason
		Transient bool // the peer says that trying again may work (MP_TCPRST, T)
	}
	// PathSuspect: a subflow's retransmission timer fired.
	PathSuspect struct{ ID PathID }
	// PathTrusted: a suspect subflow was heard again.
	PathTrusted struct{ ID PathID }
	// PeerPriority: the peer said which of the subflows are its backups.
	PeerPriority struct{ ID PathID }
	// Carried: a subflow has carried as many octets as Watch named.
	Carried struct{ ID PathID }
	// Alarm: the time asked for with Wake has come.
	Alarm struct{}
)

func (Established) isEvent()  {}
func (LocalUp) isEvent()      {}
func (LocalDown) isEvent()    {}
func (RouteChanged) isEvent() {}
func (PeerAdded) isEvent()    {}
func (PeerRemoved) isEvent()  {}
func (SubflowUp) isEvent()    {}
func (SubflowDown) isEvent()  {}
func (PathSuspect) isEvent()  {}
func (PathTrusted) isEvent()  {}
func (PeerPriority) isEvent() {}
func (Carried) isEvent()      {}
func (Alarm) isEvent()        {}

// Command is one of the types below.
type Command interface{ isCommand() }

type (
	// Open starts a subflow from Local to Remote. The engine refuses a pair
	// that already has one, unless it is to have one more, and joins beyond its
	// limits.
	Open struct {
		Local  Local
		Remote netip.AddrPort
		Backup bool
		More   bool // beside one between the same addresses
	}
	// Close ends a subflow with FIN, for the reason TimedOut with RST, and
	// one whose handshake runs without a word.
	Close struct {
		ID     PathID
		Reason Reason
	}
	// Watch asks for one Carried when a subflow has carried so many octets.
	Watch struct {
		ID     PathID
		Octets uint64
	}
	// SetBackup changes the priority of a subflow (MP_PRIO).
	SetBackup struct {
		ID     PathID
		Backup bool
	}
	// Advertise tells the peer of an address (ADD_ADDR). Port 0: the port of
	// the first subflow.
	Advertise struct {
		Local Local
		Port  uint16
	}
	// Withdraw tells the peer that an address is gone (REMOVE_ADDR).
	Withdraw struct{ Addr netip.Addr }
	// Wake asks for an Alarm at the given time; a later Wake replaces it.
	Wake struct{ At Time }
)

func (Open) isCommand()      {}
func (Close) isCommand()     {}
func (Watch) isCommand()     {}
func (SetBackup) isCommand() {}
func (Advertise) isCommand() {}
func (Withdraw) isCommand()  {}
func (Wake) isCommand()      {}

// Manager is the policy of one connection; it may keep state. It is called by
// one goroutine at a time and appends commands to do.
type Manager interface {
	Handle(now Time, ev Event, v *View, do []Command) []Command
}

// Backoff bounds: how long a manager waits before it tries a lost path again.
const (
	MinBackoff = time.Second
	MaxBackoff = 60 * time.Second
)
