package engine

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/trace"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
)

// A path is suspected before its retransmission timer fires, where another one
// lives to carry its data. TCP waits 200 ms at least, for on a single path too
// early a timeout costs throughput and cures nothing; here it costs a few copies.
//
// It goes in two steps. A path is late when the oldest of what it carries is not
// acknowledged by the time that the round trip and its deviation let expect. It
// is asked then (a keepalive, which is answered at once), and so is an idle path
// beside it. If it does not answer in time, while another path does, it is
// suspected: its data goes to the others, and it is trusted again with the first
// word from it. The other path's answer shows that neither the peer nor this host
// stood still. Where much is under way, and every segment of it is a question that
// should have been answered, half a round trip is time enough.

// lateness is what a path knows of its silence.
type lateness struct {
	heardAt   mono.Time // the last segment that passed the checks
	askedAt   mono.Time // it is late, and was asked; Never if it is not
	overdue   bool      // the answer did not come in time
	suspected bool
	since     mono.Time // of the suspicion
	hunch     bool      // it is for what another path did, not for this one's silence

	// Suspicions that were wrong make the path's silences count for less.
	wrong   uint8
	wrongAt mono.Time
}

const (
	// leastLate is how late an acknowledgment has to be, at least, for a host may
	// be busy for a while; ackDelay that of one or two segments, for Linux and we
	// delay it by 40 ms.
	leastLate = 25 * time.Millisecond
	ackDelay  = 45 * time.Millisecond
	// manySegments are enough to tell silence from the loss of a few.
	manySegments = 10
	// Of wrong suspicions so many count, for so long.
	maxWrong    = 4
	wrongCounts = 30 * time.Second
)

// silent reports whether the path is not to be relied on: its retransmission
// timer fired, or it is suspected.
func (p *path) silent() bool { return p.sf.Stale() || p.late.suspected }

// watched reports whether the path's silence matters before its retransmission
// timer says so.
func (p *path) watched() bool {
	return p.usable() && !p.silent() && p.c.mode == multipath && p.c.phase == open && p.c.otherAlive(p)
}

// lateAt returns when the next step is due.
func (p *path) lateAt() mono.Time {
	l := &p.late
	if l.overdue || !p.watched() {
		return mono.Never
	}
	expected, deviation := p.sf.Expected()
	if expected == mono.Never {
		return mono.Never
	}
	if l.askedAt == mono.Never {
		least := leastLate
		if p.sf.InFlight() <= 2*p.sf.MSS() {
			least = ackDelay
		}
		return expected.Latest(l.heardAt).Add(max(4*deviation, least) << l.wrong)
	}
	if p.sf.InFlight() >= manySegments*p.sf.MSS() {
		return l.askedAt.Add(p.sf.SRTT() / 2 << l.wrong)
	}
	// A keepalive is answered at once: the delays of ordinary acknowledgments, which
	// are in the round trip's average and deviation, do not count.
	least := p.sf.MinRTT()
	answer := min(p.sf.SRTT(), 2*least) + min(max(4*deviation, leastLate), least+leastLate)
	return l.askedAt.Add(answer << l.wrong)
}

// onLate takes the step that is due.
func (p *path) onLate(now mono.Time) {
	l := &p.late
	if l.askedAt != mono.Never {
		l.overdue = true
		p.judge(now)
		return
	}
	if l.wrong > 0 && now.Sub(l.wrongAt) > wrongCounts {
		l.wrong = 0
	}
	l.askedAt = now
	p.keepalive()
	for _, q := range p.c.paths {
		if q != p && q.usable() && q.sf.InFlight() == 0 {
			q.keepalive() // a busy one is heard of anyway
		}
	}
}

// judge suspects the path if another one was heard since it was asked.
func (p *path) judge(now mono.Time) {
	if !p.late.overdue || !p.watched() {
		return
	}
	for _, q := range p.c.paths {
		if q != p && q.alive() && q.usable() && q.late.heardAt > p.late.askedAt {
			p.suspect(now)
			return
		}
	}
}

// suspect moves the path's data to the others. Those that share an end with it,
// and were not heard since it was asked either, share its fate.
func (p *path) suspect(now mono.Time) {
	for _, q := range p.c.paths {
		if q != p && q.shares(p) && q.usable() && !q.silent() && q.late.heardAt <= p.late.askedAt {
			q.distrust(now, true)
		}
	}
	p.distrust(now, false)
}

// shares reports whether the paths have an end in common.
func (p *path) shares(q *path) bool {
	return p.link == q.link || p.tuple.Remote.Addr() == q.tuple.Remote.Addr()
}

// distrust begins a suspicion.
func (p *path) distrust(now mono.Time, hunch bool) {
	p.late.suspected, p.late.since, p.late.hunch = true, now, hunch
	p.fellSilent(now)
	p.c.trace(now, trace.TimeoutRTO, p.id, 1, 0)
	p.c.lose(p)
	p.c.tell(now, pathmgr.PathSuspect{ID: pathmgr.PathID(p.id)})
}

// onHeard notes that the path was heard, which may tell of another one that it
// is silent. A suspected path is trusted again, unless its retransmission timer
// fired: then it takes an acknowledgment of what it carries.
func (p *path) onHeard(now mono.Time) {
	l := &p.late
	l.heardAt, l.askedAt, l.overdue = now, mono.Never, false
	if l.suspected && !p.sf.Stale() {
		p.trust(now)
	}
	for _, q := range p.c.paths {
		if q.late.overdue {
			q.judge(now)
		}
	}
}

// trust ends a suspicion. One that ends within two retransmission timeouts was
// wrong, as far as anyone can tell.
func (p *path) trust(now mono.Time) {
	l := &p.late
	if l.suspected && !l.hunch && now.Sub(l.since) < 2*p.sf.RTO() {
		l.wrong, l.wrongAt = min(l.wrong+1, maxWrong), now
	}
	l.suspected, l.hunch = false, false
	p.silentAt = mono.Never
	p.c.revived(now)
	p.sf.Outstanding(func(r seq.Range) { p.c.tx.lost.Remove(r) })
	p.c.tell(now, pathmgr.PathTrusted{ID: pathmgr.PathID(p.id)})
}

// abandonAfter is how long a path that the peer opened may be silent while another
// one lives. Its peer may have lost the address, and the REMOVE_ADDR with it: then
// nobody ever answers. A peer that still has it learns so by a reset, and joins
// again. What this side opened is its path manager's to replace.
const abandonAfter = 3 * time.Minute

// fellSilent notes since when the path is not to be relied on.
func (p *path) fellSilent(now mono.Time) { p.silentAt = p.silentAt.Earliest(now) }

// abandonAt returns when the path is given up.
func (p *path) abandonAt() mono.Time {
	if p.active || p.silentAt == mono.Never || !p.usable() || p.c.mode != multipath || !p.c.otherAlive(p) {
		return mono.Never
	}
	return p.silentAt.Add(abandonAfter)
}

// abandon gives the path up.
func (p *path) abandon() {
	p.reset(wire.ResetBadPerformance)
	p.downReason = pathmgr.TimedOut
}

// Where little is sent, the peer tells of a dead path before our own data does: it
// speaks on another one. news is when and where it last did so.
type news struct {
	path *path
	at   mono.Time
}

// mistrusts reports whether something new came by another path since this one was
// heard, and this one could have been heard long before that. Then it is asked
// before it is used: until it answers, the others are.
func (p *path) mistrusts(now mono.Time) bool {
	n := &p.c.news
	if n.path == nil || n.path == p || !n.path.alive() || !n.path.usable() || !p.watched() || p.sf.InFlight() > 0 {
		return false
	}
	// It must be clearly the better one, which a peer would have used, too.
	if p.low() != n.path.low() {
		if p.low() {
			return false
		}
	} else if p.sf.SRTT()+p.sf.SRTT()/4 >= n.path.sf.SRTT() {
		return false
	}
	return p.late.heardAt.Add(2*p.sf.SRTT()+leastLate) <= n.at
}

// low reports whether either side wishes the path to be a backup.
func (p *path) low() bool { return p.backup || p.peerBackup }

// askUnheard distrusts paths for that reason; called when there is something to
// send.
func (c *Conn) askUnheard(now mono.Time) {
	for _, p := range c.paths {
		if p.mistrusts(now) {
			p.distrust(now, true)
			p.keepalive()
		}
	}
}
