package engine

import (
	"fmt"
	"strings"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
)

// Stats returns a snapshot.
func (c *Conn) Stats() Stats {
	st := c.stats
	st.SendQueued = c.snd.End().Sub(c.snd.Una())
	if c.gone {
		st.SendQueued = 0
	}
	st.RecvQueued = c.readable()
	st.Subflows = append([]SubflowInfo(nil), c.ended...)
	for _, p := range c.paths {
		st.Subflows = append(st.Subflows, p.info())
	}
	return st
}

// Multipath reports whether the connection speaks MPTCP now.
func (c *Conn) Multipath() bool { return c.mode == multipath }

// Fallback says why it does not.
func (c *Conn) Fallback() FallbackReason { return c.reason }

// Opened returns when the connection was made.
func (c *Conn) Opened() mono.Time { return c.stats.Opened }

// Deadlines lists what PollTimeout looks at, for a person who wonders.
func (c *Conn) Deadlines() string {
	var b strings.Builder
	show := func(name string, at mono.Time) {
		if at != mono.Never {
			fmt.Fprintf(&b, "%s %v ", name, time.Duration(at))
		}
	}
	show("timers", c.timers.Next())
	show("scheduler", c.schedWake)
	show("hold", c.holdDeadline())
	for _, p := range c.paths {
		show(fmt.Sprintf("subflow %d (%v)", p.id, p.sf.State()), p.sf.PollTimeout())
		show(fmt.Sprintf("join %d", p.id), p.joinRepeat)
		show(fmt.Sprintf("patience %d", p.id), p.patience)
	}
	return b.String()
}

// Records returns how many records the connection keeps, octets of the stream
// not counted: ranges sent, lost and received out of order, mappings, addresses,
// ended subflows. It is for tests of their bounds.
func (c *Conn) Records() int {
	n := len(c.tx.lost.Spans()) + len(c.addrs.peers) + len(c.ended)
	if c.rcv != nil {
		n += c.rcv.Runs()
	}
	for _, p := range c.paths {
		n += 1 + p.sf.Records() + len(p.in.maps) + len(p.in.parts) + len(p.in.staged) + len(p.sendEcho) + len(p.sendRemove)
	}
	return n
}
