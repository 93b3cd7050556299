package mptcp

import (
	"slices"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/mptcp/engine"
)

const never = mono.Never

// pollAndUnlock polls after an application's call, unlocks, and does the
// chores.
func (c *Conn) pollAndUnlock(now Time) {
	ch := c.stack.chores()
	c.poll(now, nil, ch)
	c.mu.Unlock()
	ch.finish()
}

// poll carries out what the core wants after an input: events, packets, its
// next deadline, and waking those who wait. turn is the port that gave the
// connection its turn, nil otherwise. c.mu is held.
func (c *Conn) poll(now Time, turn *port, ch *chores) {
	now = c.at(now)
	for {
		events := c.pollEvents(now, ch)
		packets := c.pollTransmit(now, turn, ch)
		if !events && !packets {
			break
		}
		if packets {
			turn = nil
		}
	}
	c.pollTimeout(now, ch)
	c.pollFlushed()
	if c.rwaits > 0 && (c.dialing || c.core.Readable()) {
		c.rcond.Broadcast()
	}
	if c.wwaits > 0 && c.core.Writable() {
		c.wcond.Broadcast()
	}
}

// at returns the time to tell the core. A reader, or the alarm, reads the clock
// once for a batch and then waits for locks, while others read it later and get
// their locks sooner; but for a connection time never goes back, for what it
// stamped would look like a duplicate of long ago to the peer (RFC 7323,
// Section 5). c.mu is held.
func (c *Conn) at(now Time) Time {
	c.latest = max(c.latest, now)
	return c.latest
}

// pollEvents carries out events and reports whether there were any. They go
// before packets: a subflow is registered before its SYN leaves.
func (c *Conn) pollEvents(now Time, ch *chores) bool {
	ev, ok := c.core.PollEndpoint()
	if !ok {
		return false
	}
	s := c.stack
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; ok; ev, ok = c.core.PollEndpoint() {
		s.ep.HandleEvent(c.core, ev)
		c.carryOut(now, ev, ch)
	}
	return true
}

// carryOut does the driver's part of an event. Stack.mu is held.
func (c *Conn) carryOut(now Time, ev engine.EndpointEvent, ch *chores) {
	s := c.stack
	c.tellEvent(now, ev)
	c.answerEvent(ev)
	switch ev := ev.(type) {
	case engine.Register:
		c.cover(ev.Tuple)
	case engine.Unregister:
		c.uncover(ev.Tuple, ch)
	case engine.Ready:
		c.wantLocals(now)
		c.ready(now)
	case engine.WantPath:
		s.worker.add(job{conn: c, kind: jobPath, want: ev})
	case engine.WantLane:
		s.worker.add(job{conn: c, kind: jobLane, lane: ev})
	case engine.PeerAddress:
		if c.learn(ev.Addr) {
			c.wantLocals(now)
		}
	case engine.PathUp:
		c.note(ch, PathEvent{Kind: PathUp, Path: ev.Info})
	case engine.PathDown:
		c.note(ch, PathEvent{Kind: PathDown, Path: ev.Info})
	case engine.FellBack:
		c.note(ch, PathEvent{Kind: FellBack, Fallback: ev.Reason})
	case engine.Gone:
		c.gone(ch)
	}
}

// ready offers an accepted connection to its listener. Stack.mu is held.
func (c *Conn) ready(now Time) {
	l := c.listener
	if l == nil {
		return
	}
	c.stack.stats.accepted.Add(1)
	if l.closed {
		c.core.Abort(now) // it closed while the handshake ran
		return
	}
	l.cond.Broadcast()
}

// gone forgets the connection. Stack.mu is held.
func (c *Conn) gone(ch *chores) {
	c.ended = true
	delete(c.stack.conns, c)
	for _, h := range c.holds {
		c.stack.drop(h.guard, ch)
	}
	c.holds = nil
}

// note is a call of the observer to be made.
type note struct {
	conn *Conn
	ev   PathEvent
}

func (c *Conn) note(ch *chores, ev PathEvent) {
	if c.stack.cfg.OnPath != nil {
		ch.notes = append(ch.notes, note{c, ev})
	}
}

// pollTransmit moves packets to the ports and reports whether there were any.
// Ports that have no room give the connection a turn later.
func (c *Conn) pollTransmit(now Time, turn *port, ch *chores) bool {
	progress := false
	c.links = c.core.PollReady(now, c.links[:0])
	for _, link := range c.links {
		p := c.stack.port(link)
		if slices.Contains(c.inLine, p) {
			continue
		}
		res := p.send(now, c, p == turn)
		if res.drain {
			ch.ports = append(ch.ports, p)
		}
		if res.line {
			c.inLine = append(c.inLine, p)
		}
		progress = progress || res.n > 0
	}
	return progress
}

// pull is of source: called by port.send, which pollTransmit called.
func (c *Conn) pull(now Time, link int, b *wire.Batch) int {
	return c.core.PollTransmit(now, link, b)
}

// turn is of source: p has room for this connection now.
func (c *Conn) turn(p *port, ch *chores) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.inLine, p); i >= 0 {
		c.inLine = slices.Delete(c.inLine, i, i+1)
	}
	now := c.at(c.stack.now())
	if c.core.PollTimeout() <= now {
		c.core.HandleTimeout(now) // the alarm does not ring for who stands in line
	}
	c.poll(now, p, ch)
}

// pollTimeout arms the timer if the deadline is earlier than when the heap
// will look anyway.
func (c *Conn) pollTimeout(now Time, ch *chores) {
	if c.ended {
		c.stack.timers.stop(&c.timer)
		c.armed = never
		return
	}
	// A connection that stands in line has not sent what is due; it gets its
	// turn without the alarm, which must not spin meanwhile.
	at := c.core.PollTimeout()
	switch {
	case at > now:
	case len(c.inLine) > 0:
		return
	default:
		at = now.Add(time.Millisecond)
	}
	if at >= c.armed {
		return
	}
	c.armed = at
	if c.stack.timers.arm(&c.timer, at) {
		ch.rearm = true
	}
}

// ring is the alarm's call.
func (c *Conn) ring(now Time, ch *chores) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = never
	if c.ended {
		return
	}
	now = c.at(now)
	if c.core.PollTimeout() > now {
		c.pollTimeout(now, ch) // armed lazily, it rang for what is not due any more
		return
	}
	c.core.HandleTimeout(now)
	c.poll(now, nil, ch)
}
