package engine

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/trace"
	"github.com/mpnc/mpnc/scheduler"
)

// maxMapping bounds a grant: the data-level length is 16 bits and must leave
// room for a DATA_FIN (RFC 8684, Section 3.3.1).
const maxMapping = 65534

// schedule asks the scheduler and carries its grants out.
func (c *Conn) schedule(now mono.Time) {
	if c.phase != open || c.snd.End() == c.tx.next && c.tx.lost.Empty() {
		c.timers.Stop(tPersist)
		return
	}
	c.schedWake = mono.Never
	c.askUnheard(now)
	wake, fresh := c.lookAtPaths(now)
	if len(c.views) == 0 {
		c.timers.Stop(tPersist)
		return
	}
	end := c.offered()
	if end == c.tx.next && c.tx.lost.Empty() {
		// An acknowledgment lets go of what is held, or more data does.
		c.timers.Stop(tPersist)
		return
	}
	q := &c.queue
	*q = scheduler.Queue{
		Una: c.snd.Una(), Next: c.tx.next, End: end, Limit: c.sendLimit(),
	}
	if fresh {
		q.Lost = c.tx.lost.Spans()
		c.askSilent(now)
	}
	var asked mono.Time
	c.grants, asked = c.sched.Schedule(now, q, c.views, c.grants[:0])
	granted := false
	for _, g := range c.grants {
		if !c.grant(now, g) {
			c.stats.InvalidGrants++
			break
		}
		granted = true
	}
	c.armWake(now, wake.Earliest(asked), end)
	c.armPersist(now, granted)
}

// lookAtPaths fills c.views with the paths the scheduler may use. wake is when
// pacing lets one of them send again; fresh, whether a path that is not stale
// is among them, so that what others lost can be sent again.
func (c *Conn) lookAtPaths(now mono.Time) (wake mono.Time, fresh bool) {
	c.views = c.views[:0]
	wake = mono.Never
	for _, p := range c.paths {
		if !p.usable() {
			continue
		}
		room, at := p.sf.Room(now)
		wake = wake.Earliest(at)
		stale := p.silent()
		fresh = fresh || !stale
		c.views = append(c.views, scheduler.Path{
			ID: p.id, SRTT: p.sf.SRTT(), Cwnd: p.sf.Cwnd(), InFlight: p.sf.InFlight(),
			Room: room, Rate: p.sf.Rate(), MSS: p.sf.MSS(),
			Backup: p.low(), Stale: stale, //spec:J13 off: Stale: stale,
		})
	}
	return wake, fresh
}

// sendLimit is the right edge that new data must not pass. With less than a
// segment of window left and more data waiting it holds back, unless nothing
// is in flight (RFC 9293, Section 3.8.6.2.1).
func (c *Conn) sendLimit() seq.Data {
	if c.mode == plain {
		return c.snd.End() // the subflow's own window is the connection's
	}
	limit := c.tx.edge
	if c.snd.End().LessEq(limit) {
		return limit
	}
	inFlight, mss := 0, 0
	for _, v := range c.views {
		inFlight += v.InFlight
		mss = max(mss, v.MSS)
	}
	if limit.Sub(c.tx.next) < mss && inFlight > 0 {
		return c.tx.next
	}
	return limit.Max(c.tx.next)
}

// grant carries out one grant; false if it is not lawful.
func (c *Conn) grant(now mono.Time, g scheduler.Grant) bool {
	p := c.pathByID(g.Path)
	r := g.Data
	if p == nil || !p.usable() || r.Empty() || r.Len() > maxMapping {
		return false
	}
	v := c.viewOf(p.id)
	if v == nil || r.Len() > v.Room {
		return false
	}
	switch {
	case r.From == c.tx.next: // new data
		if c.snd.End().Less(r.To) || c.mode != plain && c.tx.edge.Less(r.To) {
			return false
		}
		c.tx.next = r.To
		c.noteShort(r, p.sf.MSS())
		c.trace(now, trace.Granted, p.id, uint64(r.From), uint64(r.To))
	case r.To.LessEq(c.tx.next) && c.snd.Una().LessEq(r.From) && c.mode == multipath:
		c.tx.lost.Remove(r)
		c.stats.Reinjections++
		c.stats.ReinjectedBytes += uint64(r.Len())
		c.trace(now, trace.Reinjected, p.id, uint64(r.From), uint64(r.To))
	default:
		return false
	}
	v.Room -= r.Len()
	c.snd.Pin(r) //spec:D15 off:
	c.assign(p, r)
	return true
}

// viewOf returns what the scheduler was shown of a path; nil if it was not.
// Its Room is what is left: the subflow's own counts whole segments, so that
// after a short grant it is less than what was promised.
func (c *Conn) viewOf(id scheduler.PathID) *scheduler.Path {
	for i := range c.views {
		if c.views[i].ID == id {
			return &c.views[i]
		}
	}
	return nil
}

// armWake arranges for the scheduler to be asked again, if it was offered more
// than it granted.
func (c *Conn) armWake(now, at mono.Time, offered seq.Data) {
	if offered == c.tx.next && c.tx.lost.Empty() {
		return
	}
	if at <= now {
		at = now.Add(time.Millisecond)
	}
	c.schedWake = at
}

// waiting reports whether data waits to be granted while nothing is in flight:
// only the clock can move the connection on then.
func (c *Conn) waiting() bool {
	if c.snd.End() == c.tx.next && c.tx.lost.Empty() {
		return false
	}
	for _, p := range c.paths {
		if p.usable() && !p.sf.Idle() {
			return false
		}
	}
	return true
}

// armPersist arms the timer for the probe that asks for a window
// (RFC 9293, Section 3.8.6.1).
func (c *Conn) armPersist(now mono.Time, granted bool) {
	if granted {
		c.tx.probes = 0
	}
	if granted || !c.waiting() {
		c.timers.Stop(tPersist)
		return
	}
	if !c.timers.Armed(tPersist) {
		c.timers.Set(tPersist, now.Add(min(c.RTO()<<min(c.tx.probes, 8), time.Minute)))
	}
}

// persist asks every usable path for the peer's window.
func (c *Conn) persist(now mono.Time) {
	if !c.waiting() {
		return
	}
	c.tx.probes++
	c.press(now)
	c.stats.WinProbes++
	c.trace(now, trace.WindowProbe, -1, uint64(c.tx.probes), 0)
	for _, p := range c.paths {
		if p.usable() {
			p.keepalive()
		}
	}
}
