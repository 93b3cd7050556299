package testenv

import (
	"errors"
	"net/netip"
	"time"
)

// ErrNoLab says that this system cannot run a Lab: it is not Linux.
var ErrNoLab = errors.New("testenv: labs need Linux network namespaces")

// ErrDirect says that a Lab's links are not emulated (LabConfig.Direct).
var ErrDirect = errors.New("testenv: the link is direct")

// LabConfig describes a Lab: two hosts joined by emulated links.
type LabConfig struct {
	Links []LabLink

	// Congestion is the hosts' congestion control. If zero, cubic. Where the
	// system does not allow it, Lab.Congestion tells what is in force.
	Congestion string
	// RPFilter is net.ipv4.conf.*.rp_filter of both hosts: 0, 1 (strict) or 2.
	RPFilter int
	// NoSourceRules leaves out the client's "ip rule from ADDRESS", so that
	// only who asks for an interface gets another than the main table's.
	NoSourceRules bool
	// Seed starts the links' generators.
	Seed uint64
	// Direct joins the hosts by nothing but a veth pair for each link, as fast as
	// the machine is: of a link only its name and its MTU count, and what the
	// emulator does (SetLink, SetSilent, SetCarrier, Stats, Capture) cannot be had.
	Direct bool
	// Offloads leaves the interfaces' offloads on, so that trains cross them
	// uncut. Only with Direct: the emulator needs real packets.
	Offloads bool
}

// LabLink is one emulated path between the hosts. Both ends' interfaces bear
// its name.
type LabLink struct {
	Name   string        // at most 15 octets
	Rate   float64       // bits a second each way, frames counted whole; 0: infinite
	RTT    time.Duration // half of it each way
	Jitter time.Duration // each way, as in LinkConfig
	Queue  int           // octets each way, as in LinkConfig
	Loss   float64       // each way, as in LinkConfig
	MTU    int           // if zero, 1500

	// Box, if not nil, is a middlebox that sees both directions.
	Box Box
	// Tune, if not nil, changes the configuration of each direction.
	Tune func(d Direction, c *LinkConfig)
}

// Direction is one of a link's two, or both.
type Direction uint8

// Directions of a link.
const (
	ToServer Direction = 1 << iota
	ToClient
	BothWays = ToServer | ToClient
)

// Event is something to happen on a Timeline.
type Event struct {
	At time.Duration // after the timeline's start
	Do func()
}

// Timeline is a series of events, in any order.
type Timeline []Event

// Endpoint is an address that the kernel's MPTCP path manager of a Host may
// use (ip-mptcp(8)).
type Endpoint struct {
	Addr     netip.Addr
	Port     uint16 // only with Signal; 0: the connection's
	Link     string // bind subflows to this link's interface; "": do not
	ID       uint8  // 0: the kernel chooses
	Signal   bool   // announce it with ADD_ADDR
	Subflow  bool   // join from it
	Backup   bool
	FullMesh bool // join from it to every address of the peer
}

// Addresses of the hosts within a link's networks, 10.x.i.0/24 and
// fd00:x:i::/64, where x numbers the lab and i the link.
const (
	clientHost = 1
	serverHost = 2
)

func labPrefix4(lab, link, host int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(lab), byte(link), byte(host)}), 24)
}

func labPrefix6(lab, link, host int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0, 2: byte(lab >> 8), 3: byte(lab), 4: byte(link >> 8), 5: byte(link), 15: byte(host)}), 64)
}
