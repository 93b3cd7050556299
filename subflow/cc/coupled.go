package cc

import "time"

// coupled is what the coupled controllers have in common. In slow start, in
// recovery and after a timeout each subflow is on its own, as Reno (RFC 6356,
// Section 3); in congestion avoidance its window follows a rule that looks at
// all members of the group. A subflow without others is Reno to the octet.
//
// Slow start is not coupled, as the RFC wants it: subflows that begin together
// take the initial window each, once.
type coupled struct {
	Reno
	group *Group
	rule  rule
	part  float64 // of the window, less than an octet: growth that it cannot show yet
	rtt   float64 // smoothed, in seconds; 0: nothing was measured yet
	// flight is what was in flight just before the latest acknowledgment.
	flight int
	run    lossRuns
	before lossRuns // the last reduction
}

// rule is one algorithm.
type rule interface {
	// growth is by how much of a segment the window of c grows for each
	// segment that is acknowledged; it may be negative.
	growth(c *coupled) float64
	// threshold is what a loss leaves of a flight of n octets, before the lower
	// bound of least.
	threshold(c *coupled, n int) (octets, least int)
}

// lossRuns are the octets acknowledged between the last two losses, and since
// the last one.
type lossRuns struct{ between, since uint64 }

// longest is l of the OLIA draft, an estimate of the octets that pass between
// two losses.
func (r lossRuns) longest() float64 { return float64(max(r.between, r.since)) }

// newCoupled returns a controller that has joined the group.
func newCoupled(g *Group, mss int, r rule) Controller {
	c := &coupled{Reno: *NewReno(nil, mss).(*Reno), group: g, rule: r}
	if g == nil {
		c.group = new(Group)
	}
	c.group.Join(c)
	return c
}

// OnAck grows the window.
func (c *coupled) OnAck(a Ack) {
	c.observe(a)
	before := c.now.cwnd / c.mss
	n := c.acked(a, c.now.cwnd)
	if n > 0 && c.now.cwnd < c.now.ssthresh {
		n = c.slowStart(n)
	}
	switch {
	case n == 0:
	case c.alone() || !c.counts():
		c.Reno.avoid(n)
	default:
		c.avoid(n)
	}
	if c.now.cwnd/c.mss != before {
		c.group.alpha = 0 //spec:T82 off: c.group.alpha += 0
	}
}

// observe notes what an acknowledgment tells about the path.
func (c *coupled) observe(a Ack) {
	if a.Bytes <= 0 {
		return
	}
	if a.SRTT > 0 {
		if c.rtt == 0 {
			c.group.alpha = 0 // from now on it counts
		}
		c.rtt = max(a.SRTT, time.Microsecond).Seconds()
	}
	c.flight = clampOctets(a.InFlight)
	c.run.since += uint64(clampOctets(a.Bytes))
}

// avoid grows the window by the rule, for n acknowledged octets. It keeps what
// is less than an octet, so a window that is large grows all the same: "the
// increase may be 0. In this case, the increase MUST be set to 1" (RFC 6356,
// Section 3) is about integers.
func (c *coupled) avoid(n int) {
	c.part += c.rule.growth(c) * float64(n)
	whole := int(c.part)
	c.part -= float64(whole) //spec:T81 off: c.part = 0
	c.now.cwnd = min(max(c.now.cwnd+whole, c.mss), maxWindow)
}

// OnLoss shrinks the window, or undoes the last time it did.
func (c *coupled) OnLoss(l Loss) {
	again := l.Cause == Timeout && c.timedOut
	octets, least := c.rule.threshold(c, flight(l, c.now.cwnd))
	undone := l.Cause == Spurious && c.now.cwnd < c.undo.cwnd
	c.Reno.OnLoss(l)
	c.group.alpha = 0
	switch {
	case undone:
		c.run.between, c.run.since = c.before.between, c.before.since+c.run.since
	case l.Cause != Spurious && !again:
		c.before = c.run
		c.run = lossRuns{between: c.run.since}
		c.part = 0
		c.now.ssthresh = max(octets, least)
		if l.Cause != Timeout {
			c.now.cwnd = c.now.ssthresh
		}
	}
}

// counts reports whether the subflow takes part: one on which nothing was
// measured yet has sent at most its handshake.
func (c *coupled) counts() bool { return c.rtt > 0 }

// load is the window for the sums over the group: "to cater to connections that
// are app limited, the computation should consider the minimum between
// flight_size_i and cwnd_i" (RFC 6356, Section 3). The window is never inflated
// in recovery, and no more than ssthresh then.
func (c *coupled) load() float64 {
	return float64(max(min(c.flight, c.now.cwnd), 1)) //spec:T81 off: return float64(max(c.now.cwnd, 1))
}

// rate is x of the BALIA draft: octets a second.
func (c *coupled) rate() float64 { return c.load() / c.rtt }

// memberOf returns a member of the group as a coupled controller that counts, nil if
// it is something else or does not count yet.
func memberOf(m Controller) *coupled {
	if c, ok := m.(*coupled); ok && c.counts() {
		return c
	}
	return nil
}

// alone reports whether no other subflow counts.
func (c *coupled) alone() bool {
	for _, m := range c.group.members {
		if o := memberOf(m); o != nil && o != c {
			return false
		}
	}
	return true
}

// halved is the threshold of RFC 5681.
func halved(c *coupled, n int) (octets, least int) { return n / 2, 2 * c.mss }

// least is the lower bound of thresholds that the drafts of OLIA and BALIA have:
// one segment instead of two, if there are other paths to send on.
func (c *coupled) least() int {
	if c.alone() {
		return 2 * c.mss
	}
	return c.mss //spec:T83 off: return 2 * c.mss
}
