package mptcp

import (
	"cmp"
	"math"
	"sync/atomic"
	"time"

	"github.com/mpnc/mpnc/internal/netio"
	"github.com/mpnc/mpnc/mptcp/engine"
	"github.com/mpnc/mpnc/subflow"
)

// laneEvery is how often all connections ask for their fast lanes again, at most,
// however often something changes on this host.
const laneEvery = 250 * time.Millisecond

// offloadFrom is what has to leave in a second for a lane to be tried: packets by
// themselves do not keep a processor busy with that.
const offloadFrom = 64 << 20

// laneWorth is subflow.Lane.Worth.
func (s *Stack) laneWorth() int {
	const milliseconds = uint64(time.Second / time.Millisecond)
	return int(min(cmp.Or(s.cfg.OffloadFrom, offloadFrom)/milliseconds, math.MaxInt))
}

// lanes is what a stack keeps of its connections' fast lanes.
type lanes struct {
	old   atomic.Bool // something changed, and the worker knows
	asked Time        // all connections did, last; the worker's
}

// watchLanes has the connections ask for their fast lanes again when those may
// have changed.
func (s *Stack) watchLanes() {
	s.lanes.asked = s.now().Add(-laneEvery)
	for _, d := range s.devs {
		if l, ok := d.Device.(netio.Laner); ok {
			l.OnLaneChange(func() {
				if !s.lanes.old.Swap(true) {
					s.worker.add(job{kind: jobLanes})
				}
			})
		}
	}
}

// OffloadTrouble says why packets of this stack leave one by one, if that can be
// helped: a privilege that is missing. It is nil where paths may send trains, and
// with Config.NoOffload.
func (s *Stack) OffloadTrouble() error {
	for _, d := range s.devs {
		if l, ok := d.Device.(netio.Laner); ok {
			if err := l.LaneTrouble(); err != nil {
				return err
			}
		}
	}
	return nil
}

// findLane asks the device whether a path may have a fast lane, and tells the
// connection.
func (s *Stack) findLane(c *Conn, w engine.WantLane) {
	var lane netio.Lane
	dev := s.deviceOf(w.Link)
	if l, ok := dev.Device.(netio.Laner); ok {
		lane = l.Lane(w.Tuple, w.Link-dev.base)
	}
	c.mu.Lock()
	c.core.SetLane(w.Tuple, subflow.Lane{Limit: lane.Train, Via: lane.Via, Tracked: lane.Tracked, Worth: s.laneWorth()})
	c.pollAndUnlock(s.now())
}

// lanesChanged has all connections ask for their lanes again, unless they just
// did: then in a moment.
func (s *Stack) lanesChanged() {
	now := s.now()
	if wait := s.lanes.asked.Add(laneEvery).Sub(now); wait > 0 {
		time.AfterFunc(wait, func() { s.worker.add(job{kind: jobLanes}) })
		return
	}
	s.lanes.asked = now
	s.lanes.old.Store(false)
	for _, c := range s.snapshot() {
		c.mu.Lock()
		c.core.AskLanes()
		c.pollAndUnlock(s.now())
	}
}
