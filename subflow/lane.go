package subflow

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// The fast lane is a device's way out for trains that passes by this host's own
// output rules, address translation and connection tracking (wire.Batch.Lane).
// A path earns it, and loses it when its packets turn out to need those:
//
// One train leaves, and nothing new until it is acknowledged. A RST without a
// reason in that time ends the lane and not the subflow: a peer that knows this
// host by a translated address answers so to a train that was not translated, to
// each of its segments.
//
// Whatever is one segment only leaves the ordinary way, and so do the last one that
// there is to send, the tail loss probe, which is the highest segment sent, and one
// segment after each laneTrains trains or a quarter of the peer's window. A firewall
// on this host that tracks connections takes acknowledgments of what it did not see
// leave for invalid; it sees the highest segment, and lets the acknowledgment of
// everything in. So the highest segment is also sent again when the retransmission
// timer fires: the first one would be answered with an acknowledgment of all the
// rest. Where it is only such probes that are answered, the lane is of no use, and is
// shut for longer each time that is found out anew, and in the end for good. A timeout
// shuts it, too.
//
// Such a firewall knows the peer's window from acknowledgments that it took for
// valid, and what we send beyond that is invalid, too: once all is, nothing will
// get in ever again, and that may be long before a rule is loaded that drops it. So
// its view is kept here (plain, edge) where there may be one (Tracked), and nothing is sent from where the next
// segment could not be seen: at worst new data waits for an acknowledgment.
const (
	laneTrains = 64 // after so many one segment leaves the ordinary way
	laneProbes = 3  // only the probe was answered, so often in a row: the lane is shut
	laneGood   = 64 // acknowledgments of trains after which what went before is forgotten
	laneTries  = 8  // failures before that: the lane is lost

	laneRetry     = 100 * time.Millisecond // how long it is shut at first, and
	mostLaneRetry = 12 * time.Second       // at most
)

type laneState uint8

const (
	laneShut  laneState = iota // may be tried
	laneTried                  // one train is out
	laneOpen
	laneLost // for good
)

type probeKind uint8

const (
	noProbe  probeKind = iota
	newProbe           // of new data
	oldProbe           // the last segment again
)

// lane is what a subflow knows of its fast lane.
type lane struct {
	Lane
	state    laneState
	from     seq.Offset // of the train on probation
	arrived  bool       // some of that, before it left another way
	end      seq.Offset // of the newest train
	plain    seq.Offset // end of what left the ordinary way
	edge     seq.Offset // right edge of the peer's window, by acknowledgments of no more than that
	next     seq.Offset // no train is tried before this is acknowledged,
	until    mono.Time  // and not before that time
	retry    time.Duration
	trains   int        // since a segment left the ordinary way
	probe    probeKind  // the tail loss probe that left since something new was acknowledged
	probeEnd seq.Offset // of its segment
	probes   int        // those in a row that alone were answered
	good     int        // acknowledgments of trains since it was shut
	failures int        // since they were good for a while
	show     bool       // the highest segment is to leave the ordinary way
	deaf     mono.Time  // until then a RST may be the answer to the train on probation
}

// Lane is what a path's fast lane is like.
type Lane struct {
	// Limit is how many octets of payload a train may have; 0: there is no lane.
	Limit int
	// Via tells a lane from others of the path.
	Via uint64
	// Tracked says that this host may track the connection, as it has done since
	// the first SYN. (One that it begins to track later it judges mildly.)
	Tracked bool
	// Worth is how many octets have to leave in a millisecond where sending is paced,
	// before a lane is tried: on a slow link it saves nobody anything, and probation
	// takes a round trip.
	Worth int
}

// SetLane says what lane the path has from now on. One by another way than the one
// before has to be earned anew.
func (s *Subflow) SetLane(to Lane) {
	l := &s.lane
	if to == l.Lane {
		return
	}
	if to.Tracked && !l.Tracked && l.end > 0 {
		l.plain, l.edge = s.snd.nxt, s.snd.edge // it takes these as they are
	}
	anew := to.Limit != l.Limit || to.Via != l.Via
	l.Lane = to
	if !anew {
		return
	}
	if l.state == laneTried {
		l.next = s.snd.nxt // what answers that train says nothing of this lane
	}
	if l.state != laneLost {
		l.state = laneShut
	}
}

// TrainLimit returns the payload of the longest packet that b's device takes
// for this subflow at now; less than two segments if it takes no trains.
func (s *Subflow) TrainLimit(now mono.Time, b *wire.Batch) int {
	l := &s.lane
	switch {
	case !b.Lane:
		return b.MaxTrain
	case l.state == laneTried || l.state == laneLost || l.trains >= laneTrains:
		return 0
	case l.Tracked && l.trains > 0 && dist(s.snd.nxt, l.plain) > s.snd.wnd/4:
		return 0
	case l.state == laneShut && (now < l.until || before(s.snd.una, l.next) || s.rec.mode != open || !s.laneWorthIt()):
		return 0
	}
	if l.Tracked {
		return min(l.Limit, b.MaxTrain, dist(l.edge, s.snd.nxt)-s.MSS())
	}
	return min(l.Limit, b.MaxTrain)
}

// laneWorthIt reports whether enough leaves for a lane to be tried.
func (s *Subflow) laneWorthIt() bool {
	rate, _ := s.pacing()
	return rate == 0 || paceAhead(rate) >= s.lane.Worth
}

// laneWaits reports whether new data waits: for the answer to the train on
// probation, or for an acknowledgment that a firewall of this host takes for valid.
// One will come, because whatever is outstanding left the ordinary way at its end.
func (s *Subflow) laneWaits() bool {
	l := &s.lane
	return l.state == laneTried || s.snd.recs.len() > 0 && s.laneHides(s.MSS())
}

// laneHides reports whether n more octets are not wholly in the window that a
// firewall of this host knows of.
func (s *Subflow) laneHides(n int) bool {
	l := &s.lane
	return l.state == laneOpen && l.Tracked && before(l.edge, s.snd.nxt+seq.Offset(n))
}

// onWindow notes what an acknowledgment says of the peer's window. While no train
// has left, all are valid.
func (l *lane) onWindow(ack seq.Offset, wnd int) {
	if !l.Tracked || l.end == 0 || !after(ack, l.plain) {
		l.edge = later(l.edge, ack+seq.Offset(wnd))
	}
}

// sent notes that a packet with payload from from to end left at now.
func (l *lane) sent(now mono.Time, from, end seq.Offset, train bool, rto time.Duration) {
	if !train {
		switch {
		case !l.Tracked:
			l.plain = later(l.plain, end)
		case l.end == 0 || !after(from, l.edge):
			l.plain = later(l.plain, min(end, l.edge))
		}
		l.trains = 0
		return
	}
	l.trains++
	l.end = later(l.end, end)
	if l.state == laneShut {
		l.state, l.from, l.arrived, l.probe = laneTried, from, false, noProbe
		l.deaf = now.Add(rto)
	}
}

// delivered notes that the peer has what was last sent from off on.
func (l *lane) delivered(off seq.Offset, tries uint16) {
	if tries == 0 && !before(off, l.from) {
		l.arrived = true
	}
}

// probed notes that a tail loss probe has left, the last segment up to end.
func (l *lane) probed(end seq.Offset, again bool) {
	if l.probe, l.probeEnd = newProbe, end; again {
		l.probe = oldProbe
	}
}

// byProbe reports whether an acknowledgment of everything before una, which moved
// it there, answers the probe alone: whatever the probe was sent for had arrived,
// and the acknowledgment of that did not come. One that came too late for the probe
// not to be sent says nothing of it.
func (l *lane) byProbe(una seq.Offset, st *ackState) bool {
	switch l.probe {
	case oldProbe:
		return st.hasDSACK && st.dsack.To == l.probeEnd
	case newProbe:
		return una == l.probeEnd
	}
	return false
}

// laneOnAck draws conclusions from an acknowledgment that moved SND.UNA.
func (s *Subflow) laneOnAck(now mono.Time, st *ackState) {
	l, una := &s.lane, s.snd.una
	byProbe := l.byProbe(una, st)
	l.probe, l.show = noProbe, false
	switch {
	case l.state == laneTried && byProbe:
		s.shutLane(now)
	case l.state == laneTried && before(una, l.end):
	case l.state == laneTried && l.arrived:
		l.state, l.deaf, l.probes, l.good = laneOpen, 0, 0, 0
	case l.state == laneTried:
		s.shutLane(now) // it was sent again, and that is what arrived
	case l.state != laneOpen:
	case byProbe:
		if l.probes++; l.probes == laneProbes {
			s.shutLane(now)
		}
	case una != l.plain:
		l.probes = 0
		if l.good++; l.good == laneGood {
			l.retry, l.failures = 0, 0
		}
	}
	if l.state == laneOpen && s.snd.recs.len() == 0 && s.laneHides(0) {
		s.shutLane(now) // it went too far: no acknowledgment will show more
	}
}

// laneOnTimeout notes that the retransmission timer fired.
func (s *Subflow) laneOnTimeout(now mono.Time) {
	l := &s.lane
	l.show = before(s.snd.una, l.end)
	if l.state == laneTried || l.state == laneOpen && l.show {
		s.shutLane(now)
	}
}

// shutLane shuts the lane for some time, and until what was sent is acknowledged.
func (s *Subflow) shutLane(now mono.Time) {
	l := &s.lane
	l.retry = min(max(2*l.retry, laneRetry), mostLaneRetry)
	l.state, l.next, l.until = laneShut, s.snd.nxt, now.Add(l.retry)
	if l.failures++; l.failures == laneTries {
		l.state = laneLost
	}
}

// wantShow: not if the highest segment has just left for another reason.
func (s *Subflow) wantShow(now mono.Time) bool {
	if !s.lane.show || !s.state.sends() || s.snd.recs.len() == 0 {
		return false
	}
	live := s.snd.recs.live()
	return live[len(live)-1].sent != now
}

func (s *Subflow) sendShow(x *output) bool {
	if !s.resendLast(x) {
		return false
	}
	s.lane.show = false
	return true
}

// answersTrain reports whether a RST that passed the checks may answer the train
// on probation. A peer that ends an MPTCP subflow says why; one that does not, and
// means it, will say so again when that data comes again.
func (s *Subflow) answersTrain(now mono.Time, seg *wire.Segment) bool {
	l := &s.lane
	if l.state != laneTried && now >= l.deaf || seg.MP.Has != 0 {
		return false
	}
	if l.state == laneTried {
		l.deaf = now.Add(s.RTO())
	}
	l.state = laneLost
	return true
}

// TrainWorth is the least that is worth a train, in whole segments: a third of the
// congestion window and half the peer's, or all that a train takes, and where sending
// is paced no more than what leaves in a millisecond, for on a slow link more would
// only fill the queue at once; 0 without a lane, or if that is not two segments. A
// window is small where a device holds what many connections send: to each train its
// turn, then.
func (s *Subflow) TrainWorth() int {
	if s.lane.state != laneOpen {
		return 0
	}
	n := min(s.lane.Limit, s.Cwnd()/3, s.snd.wnd/2)
	if rate, _ := s.pacing(); rate > 0 {
		n = min(n, paceAhead(rate))
	}
	if n < 2*s.MSS() {
		return 0
	}
	return n - n%s.MSS()
}

// Cork is TrainWorth on a path so short that a train's acknowledgment comes as soon as
// anything could be sent: what does not fill one may wait for that. Elsewhere it is 0.
func (s *Subflow) Cork() int {
	if rate, _ := s.pacing(); rate > 0 {
		return 0
	}
	return s.TrainWorth()
}
