package engine

import (
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow"
)

// laneWorth is how much a path has to have delivered before its driver is asked
// for a fast lane: short connections are not worth the question.
const laneWorth = 128 << 10

// askLane asks the driver for a fast lane, once, when the path is worth one.
func (p *path) askLane(b *wire.Batch) {
	if b.Lane && !p.laneAsked && p.sf.Acked() >= laneWorth {
		p.laneAsked = true
		p.c.emit(WantLane{Tuple: p.tuple, Link: p.link})
	}
}

// SetLane answers WantLane: see subflow.SetLane. A subflow that is gone has no
// lane.
func (c *Conn) SetLane(t wire.Tuple, lane subflow.Lane) {
	if p := c.pathOf(t); p != nil {
		p.sf.SetLane(lane)
	}
}

// AskLanes asks again for the lanes that were asked for: something has changed
// on this host.
func (c *Conn) AskLanes() {
	for _, p := range c.paths {
		if p.laneAsked {
			c.emit(WantLane{Tuple: p.tuple, Link: p.link})
		}
	}
}
