package mptcp

import (
	"github.com/mpnc/mpnc/internal/netio"
	"github.com/mpnc/mpnc/mptcp/engine"
)

// watchLanes has the connections ask for their fast lanes again when those may
// have changed.
func (s *Stack) watchLanes() {
	for _, d := range s.devs {
		if l, ok := d.Device.(netio.Laner); ok {
			l.OnLaneChange(func() { s.worker.add(job{kind: jobLanes}) })
		}
	}
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
	c.core.SetLane(w.Tuple, lane.Train, lane.Via)
	c.pollAndUnlock(s.now())
}

// lanesChanged has all connections ask for their lanes again.
func (s *Stack) lanesChanged() {
	for _, c := range s.snapshot() {
		c.mu.Lock()
		c.core.AskLanes()
		c.pollAndUnlock(s.now())
	}
}
