package engine

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/trace"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
)

// A connection whose last path is gone, or silent, lives for Config.Hold (or
// longer, if the peer asks for it: usertimeout.go). A
// connection whose peer answers joins with resets has been forgotten, and
// fails at once.

// refusals counts the answers that say the peer does not know us.
//
// What is evidence of that? Only an answer to a join of our own: a peer that joins
// knows us, whatever it says to our answer, and a NAT that has lost its table resets
// what belongs to an old subflow but lets a SYN pass. Nor is it any when the peer
// answers a join as plain TCP: somebody on the way took the option out.
//
// A reset with MP_TCPRST 1 is the peer's own word, whatever other paths do. One
// without a reason may be a kernel's, for a port where nobody listens, or somebody's
// on the way of that path. It is believed if it comes twice, a second apart, from
// every path. A path that is silent is no witness for the peer either: of those that
// answer it is enough then, if an established subflow was reset, too. Somebody who
// resets all of that on one path while another is silent is rarer than a peer that
// was restarted.
type refusals struct {
	plain int // resets without a reason, since an answer is due or no path is left
	first mono.Time
	cut   bool // an established subflow was reset
}

// forgottenAfter is how far apart two resets without a reason must lie.
const forgottenAfter = 900 * time.Millisecond

// heard notes a segment of the peer's.
func (c *Conn) heard() {
	c.asked, c.pressed = mono.Never, mono.Never
	c.forgotten = refusals{}
}

// watchSilence notes since when an answer is due: data or the end of stream is
// not acknowledged, and the peer has said nothing. That is the only measure of
// silence before a closed window and after a DATA_FIN, for neither probes nor
// pure ACKs start a subflow's retransmission timer.
func (c *Conn) watchSilence(now mono.Time) {
	due := c.snd.Una() != c.snd.End() || c.tx.finSent && !c.tx.finAcked
	switch {
	case !due:
		c.asked = mono.Never
	case c.asked == mono.Never:
		c.asked = now
	}
}

// alive reports whether a path works as far as anyone can tell.
func (c *Conn) alive() bool {
	for _, p := range c.paths {
		if p.alive() {
			return true
		}
	}
	return false
}

// suspected starts the hold if no path is alive any more.
func (c *Conn) suspected(now mono.Time) {
	if c.phase == open && c.holdSince == mono.Never && !c.alive() && !c.settled() {
		c.holdSince = now
		c.trace(now, trace.HoldStart, -1, 0, 0)
	}
}

// revived ends the hold.
func (c *Conn) revived(now mono.Time) {
	c.forgotten = refusals{}
	if c.holdSince == mono.Never {
		return
	}
	held := now.Sub(c.holdSince)
	c.stats.Held = max(c.stats.Held, held)
	c.holdSince = mono.Never
	c.trace(now, trace.HoldEnd, -1, uint64(held), 0)
}

func (c *Conn) holdDeadline() mono.Time {
	if c.phase == opening && len(c.paths) > 0 && c.paths[0].gone {
		if t := c.cfg.UserTimeout; t > 0 {
			return c.stats.Opened.Add(min(t, openPatience))
		}
		return c.stats.Opened.Add(openPatience)
	}
	if since := c.silentSince(); since != mono.Never {
		return since.Add(c.hold)
	}
	return mono.Never
}

// silentSince is when the last path was lost, or the answer that did not come
// was due; Never if neither is so.
func (c *Conn) silentSince() mono.Time {
	if c.phase != open {
		return mono.Never
	}
	return c.holdSince.Earliest(c.asked)
}

// openPatience is how long a connection whose local address went before its
// handshake was done waits for the address, about as long as SYNs are repeated.
const openPatience = time.Minute

func (c *Conn) holdTimeout(now mono.Time) {
	if c.holdDeadline() <= now {
		if c.phase == opening {
			c.fail(now, &SilenceError{Handshake: true})
			return
		}
		c.stats.Held = max(c.stats.Held, now.Sub(c.silentSince()))
		c.timeOut(now, &SilenceError{After: c.hold})
	}
}

// refused acts on a subflow that the peer reset while the connection lives:
// the side that can connects again at once, and if the peer's answer is that
// it does not know the connection, that is believed.
func (c *Conn) refused(now mono.Time, p *path, hasReason bool, reason wire.ResetReason) {
	c.forgotten.cut = c.forgotten.cut || p.up
	switch {
	case !p.active && !p.first:
		return // the peer, who asked for it, has not forgotten us
	case p.up && !p.first || p.up && c.rx.dssSeen:
		return // pathEnded tells the manager, which opens another
	case !hasReason && (c.asked != mono.Never || !c.alive()):
		c.forgotten.count(now)
	}
	if c.alive() {
		return
	}
	for _, q := range c.paths {
		if q != p && q.active && !q.up {
			return // another path may still do better
		}
	}
	// A server that resets the first subflow before it showed a DSS never had
	// the connection. A client has shown that with the keys.
	gone := p.first && c.client || hasReason && reason == wire.ResetMPTCPError ||
		!hasReason && c.forgotten.twice(now) && (c.forgotten.cut || !c.hasSilent(p))
	if gone {
		c.fail(now, &ResetError{Peer: true, Forgotten: true, Reason: reason, Local: c.local, Remote: c.remote})
	}
}

// count notes a reset without a reason.
func (r *refusals) count(now mono.Time) {
	if r.plain == 0 {
		r.first = now
	}
	r.plain++
}

// twice reports whether there were two, far enough apart.
func (r *refusals) twice(now mono.Time) bool {
	return r.plain > 1 && now.Sub(r.first) >= forgottenAfter
}

// hasSilent reports whether there is a silent path that was not reset, beside p.
func (c *Conn) hasSilent(p *path) bool {
	for _, q := range c.paths {
		if q != p && q.up && !q.gone {
			return true
		}
	}
	return false
}

// HandleLocal tells of this host's addresses: pathmgr.LocalUp, LocalDown,
// RouteChanged. After Ready a driver calls it with a LocalUp for each address
// that is usable towards the peer.
func (c *Conn) HandleLocal(now mono.Time, ev pathmgr.Event) {
	switch ev := ev.(type) {
	case pathmgr.LocalUp:
		c.addrs.addLocal(ev.Local)
		c.localUp(now)
	case pathmgr.LocalDown:
		c.removeLocal(ev.Local)
		c.localDown(now)
	}
	c.tell(now, ev)
	c.reap(now)
}

// localUp resumes the paths that waited for their address or link: at once,
// instead of waiting out a back-off.
func (c *Conn) localUp(now mono.Time) {
	for _, p := range c.paths {
		if !p.gone || !c.addrs.works(p) {
			continue
		}
		p.gone = false
		p.sf.Mute(now, false)
		if p.up {
			c.revived(now)
			if !p.sf.Stale() {
				// It sends again itself, and tells if that fails.
				p.sf.Outstanding(func(r seq.Range) { c.tx.lost.Remove(r) })
			}
			c.repeatUnheard(p)
		}
	}
}

// repeatUnheard sends what the peer may have missed while a path was away.
func (c *Conn) repeatUnheard(p *path) {
	p.keepalive()
	if c.tx.finSent && !c.tx.finAcked && c.mode == multipath {
		p.sf.SendAck()
	}
}

// localDown silences the paths from an address or link that is gone: from here
// on nothing is sent with that source. Their data moves to the others.
func (c *Conn) localDown(now mono.Time) {
	for _, p := range c.paths {
		if p.gone || c.addrs.works(p) {
			continue
		}
		if p.first || p.up {
			p.gone = true
			p.sf.Mute(now, true)
			c.lose(p)
		} else {
			p.end(pathmgr.LocalGone)
		}
	}
	c.suspected(now)
	if c.mode == multipath && !c.alive() {
		// RFC 8684, Section 3.1, wants a DSS before other subflows are opened;
		// but now there is nothing left to hear one on.
		c.established(now)
	}
	c.retireGone(now)
}

// retireGone ends the paths whose address is gone once another path carries
// the connection; until then they wait, for the address may come back. The
// peer is told (REMOVE_ADDR) by the manager's Withdraw. A path whose link alone
// is gone waits on: the peer cannot be told, for the address serves others, and
// would hold on to a subflow that nobody answers.
func (c *Conn) retireGone(now mono.Time) {
	if c.mode != multipath || !c.alive() {
		return
	}
	for _, p := range c.paths {
		if addr := p.tuple.Local.Addr(); p.gone && c.addrs.isDown(addr) {
			c.withdraw(now, addr)
			p.end(pathmgr.LocalGone)
		}
	}
}
