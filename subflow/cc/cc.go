// Package cc has the congestion controllers: how many octets a subflow may
// have in flight. Loss detection is the subflow's; a controller is told what
// happened and answers with a window. Controllers are pure: no clock, no lock.
package cc

import (
	"slices"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
)

// Time is nanoseconds since the Stack's epoch.
type Time = mono.Time

// Ack says that data was newly acknowledged (cumulatively or selectively).
type Ack struct {
	Now        Time
	Bytes      int           // newly acknowledged; beyond a hole (but for a Model) when that is filled or known as a loss
	InFlight   int           // octets in flight before this acknowledgment
	RTT        time.Duration // latest sample; 0 if this one gave none
	SRTT       time.Duration
	MinRTT     time.Duration
	Rate       uint64 // delivery rate, octets a second; 0 if unknown
	AppLimited bool   // the sender had less to send than the window allowed
	Recovery   bool   // the subflow is in loss recovery

	// What a Model needs beyond that.
	Delivered uint64 // octets delivered ever, these included
	Pipe      int    // octets in flight after this acknowledgment and the losses that it showed
	Newest    Sent   // of what it acknowledges, the transmission that left last; Rate is its sample
	NoSACK    bool   // the peer does not acknowledge selectively
}

// Cause is the evidence for a loss.
type Cause uint8

const (
	// LossDetected: RACK or duplicate acknowledgments; once a recovery episode.
	LossDetected Cause = iota
	// Timeout: the retransmission timer; once until something new is acknowledged.
	Timeout
	// ECN: a congestion mark was echoed; at most once a window.
	ECN
	// Spurious: the last reduction was for nothing and is to be undone.
	Spurious
)

// Loss says that the network dropped or marked something.
type Loss struct {
	Now      Time
	Cause    Cause
	Bytes    int // octets found lost
	InFlight int // octets in flight when it was found

	// What a Model needs beyond that.
	Delivered uint64 // octets delivered ever
	Pipe      int    // octets in flight once what is lost is not counted
}

// Controller is one subflow's congestion controller. Its methods are called by
// one goroutine at a time.
type Controller interface {
	OnAck(Ack)
	OnLoss(Loss)
	// Window is the congestion window in octets.
	Window() int
	// PacingRate is in octets a second; 0 means unpaced.
	PacingRate() uint64
}

// SlowStarter is a Controller that says whether its window doubles in each round
// trip: what leaves is then paced at twice the window a round trip, so that
// pacing is not what slows its growth.
type SlowStarter interface {
	Controller
	SlowStart() bool
}

// Group is what the coupled controllers of one connection share (RFC 6356).
// The zero value is a group of none.
type Group struct {
	members []Controller
	alpha   float64 // of LIA; 0: to be computed anew
}

// Join adds c to the group.
func (g *Group) Join(c Controller) {
	g.members = append(g.members, c)
	g.alpha = 0
}

// Leave takes c out of the group, unless it is not in it.
func (g *Group) Leave(c Controller) {
	if i := slices.Index(g.members, c); i >= 0 {
		g.members = slices.Delete(g.members, i, i+1)
		g.alpha = 0
	}
}

// Members returns the controllers of the group; read only.
func (g *Group) Members() []Controller { return g.members }

// Factory makes the controller of a new subflow with the given maximum segment
// size in octets. The group is that of the subflow's connection, nil if it has
// none; a coupled controller joins it.
type Factory func(g *Group, mss int) Controller
