package cc

import (
	"math/rand/v2"
	"time"
)

// link is a bottleneck in virtual time that flows share: a rate, a queue, a
// two-way delay, random loss. Every flow has the same delay.
type link struct {
	now   Time
	rate  float64 // octets a second
	delay time.Duration
	queue int // octets that may wait; the rest is dropped
	loss  float64
	slot  time.Duration // acknowledgments arrive at multiples of it only
	// bucket, if not zero, makes the link a policer: what exceeds the rate by
	// more than bucket octets is dropped, nothing waits.
	bucket float64
	tokens float64
	filled Time

	rng   *rand.Rand
	free  Time // the wire has sent everything
	flows []*flow
	drops int
	peak  int // longest queue, octets
}

func newLink(mbps float64, delay time.Duration, queueBDP float64) *link {
	l := &link{rate: mbps * 1e6 / 8, delay: delay, rng: rand.New(rand.NewPCG(11, 12))}
	l.queue = max(int(queueBDP*l.bdp()), 10*mss)
	return l
}

func (l *link) bdp() float64 { return l.rate * l.delay.Seconds() }

func (l *link) backlog() int { return int(max(l.free.Sub(l.now), 0).Seconds() * l.rate) }

// push puts a packet on the link and returns when its acknowledgment arrives.
func (l *link) push() (at Time, ok bool) {
	if l.bucket > 0 {
		l.tokens = min(l.bucket, l.tokens+l.now.Sub(l.filled).Seconds()*l.rate)
		l.filled = l.now
		if l.tokens < mss {
			l.drops++
			return 0, false
		}
		l.tokens -= mss
		return l.now.Add(l.delay), true
	}
	if l.backlog()+mss > l.queue {
		l.drops++
		return 0, false
	}
	l.free = max(l.free, l.now).Add(time.Duration(mss / l.rate * 1e9))
	l.peak = max(l.peak, l.backlog())
	if l.rng.Float64() < l.loss {
		return 0, false
	}
	at = l.free.Add(l.delay)
	if l.slot > 0 {
		at += Time(l.slot) - at%Time(l.slot)
	}
	return at, true
}

// flow is a sender without an end of data: what TCP is to its controller. All
// its packets have mss octets; what is lost is sent again as something new.
type flow struct {
	c    Controller
	link *link
	out  []packet // in the order sent, from head on
	head int
	acks []ackAt

	ids       int
	delivered uint64
	at, first Time // as in the draft, Section 4.1.2.1
	lost      int
	pipe      int
	bubble    uint64
	next      Time // pacing
	lastSend  Time
	srtt      time.Duration
	minRTT    time.Duration
	point     int // the recovery that runs ends when this packet is settled; 0: none

	app    float64 // octets a second that the application has; 0: no limit
	paused bool
	appAt  Time
	data   float64
	idle   bool // nothing is in flight because there was no data

	onAck func()
}

type packet struct {
	id      int
	sent    Time
	at      Time
	first   Time
	snap    Sent
	lostAll int // octets lost ever, when it left
	settled bool
}

type ackAt struct {
	at Time
	id int
}

func (l *link) add(f Factory) *flow {
	s := &flow{c: f(new(Group), mss), link: l, srtt: l.delay, minRTT: l.delay, ids: 1}
	s.appAt, s.next = l.now, l.now
	l.flows = append(l.flows, s)
	return s
}

// run goes on until t, or until done is true after an event.
func (l *link) run(t Time, done func() bool) bool {
	for {
		if done != nil && done() {
			return true
		}
		at, act := t, func() {}
		for _, s := range l.flows {
			if when, f := s.event(); when < at {
				at, act = when, f
			}
		}
		l.now = max(l.now, at)
		if at == t {
			return false
		}
		act()
	}
}

// event is what the flow does next and when.
func (s *flow) event() (at Time, act func()) {
	at, act = 1<<62, nil
	if len(s.acks) > 0 {
		at, act = s.acks[0].at, s.arrive
	} else if s.pipe > 0 {
		at, act = s.lastSend.Add(max(2*s.srtt, 200*ms)), s.timeout
	}
	if s.pipe+mss > s.c.Window() {
		return at, act
	}
	when := max(s.link.now, s.next)
	if s.paused {
		s.appAt = s.link.now
		if when == s.link.now {
			s.limit()
		}
		return at, act
	}
	if s.app > 0 {
		lack := mss - s.ready(s.link.now)
		if have := s.link.now.Add(time.Duration(lack / s.app * 1e9)); lack > 0 && have > when {
			s.limit()
			when = have.Add(1)
		}
	}
	if when < at {
		return when, s.send
	}
	return at, act
}

// limit notes that the application has less than could leave.
func (s *flow) limit() {
	s.bubble = max(s.delivered+uint64(s.pipe), 1)
	s.idle = s.idle || s.pipe == 0
}

// ready returns how much the application has at now.
func (s *flow) ready(now Time) float64 {
	s.data = min(s.data+now.Sub(s.appAt).Seconds()*s.app, 1e6)
	s.appAt = now
	return s.data
}

func (s *flow) send() {
	now := s.link.now
	if s.app > 0 {
		if s.ready(now) < mss {
			return
		}
		s.data -= mss
	}
	if s.pipe == 0 {
		s.at, s.first = now, now
		if m, ok := s.c.(Model); ok && s.idle {
			m.OnRestart(now)
		}
	}
	s.idle = false
	s.pipe += mss
	s.out = append(s.out, packet{
		id: s.ids, sent: now, at: s.at, first: s.first, lostAll: s.lost,
		snap: Sent{Delivered: s.delivered, InFlight: s.pipe, AppLimited: s.bubble > 0},
	})
	if at, ok := s.link.push(); ok {
		s.acks = append(s.acks, ackAt{at, s.ids})
	}
	s.ids++
	s.lastSend = now
	rate := float64(s.c.PacingRate())
	if rate == 0 {
		rate = 2 * float64(s.c.Window()) / s.srtt.Seconds()
	}
	s.next = max(s.next, now).Add(time.Duration(mss / rate * 1e9))
}

// arrive processes all the acknowledgments of this instant as one.
func (s *flow) arrive() {
	now, flight := s.link.now, s.pipe
	bytes := 0
	var p packet
	for len(s.acks) > 0 && s.acks[0].at <= now {
		q := s.get(s.acks[0].id)
		s.acks = s.acks[1:]
		if q.settled {
			continue // taken for lost
		}
		q.settled = true
		bytes += mss
		s.pipe -= mss
		p = *q
	}
	if bytes == 0 {
		return
	}
	s.delivered += uint64(bytes)
	s.at, s.first = now, p.sent
	if s.bubble > 0 && s.delivered > s.bubble {
		s.bubble = 0
	}
	s.lose(p.id - 3)
	rtt := now.Sub(p.sent)
	s.srtt += (rtt - s.srtt) / 8
	s.minRTT = min(s.minRTT, rtt)
	a := Ack{
		Now: now, Bytes: bytes, InFlight: flight, RTT: rtt, SRTT: s.srtt, MinRTT: s.minRTT,
		Delivered: s.delivered, Pipe: s.pipe, Newest: p.snap,
	}
	a.Newest.Lost = s.lost - p.lostAll
	if d := max(p.sent.Sub(p.first), now.Sub(p.at)); d >= s.minRTT {
		a.Rate = uint64(float64(s.delivered-p.snap.Delivered) / d.Seconds())
	}
	for s.head < len(s.out) && s.out[s.head].settled {
		s.head++
	}
	if s.point > 0 && (s.head == len(s.out) || s.out[s.head].id >= s.point) {
		s.point = 0
	}
	a.Recovery = s.point > 0
	s.c.OnAck(a)
	if s.onAck != nil {
		s.onAck()
	}
}

func (s *flow) get(id int) *packet { return &s.out[id-s.out[0].id] }

// lose takes everything up to packet id that is not settled for lost.
func (s *flow) lose(id int) (n int) {
	last := -1
	for i := s.head; i < len(s.out) && s.out[i].id <= id; i++ {
		p := &s.out[i]
		if p.settled {
			continue
		}
		p.settled = true
		s.pipe -= mss
		s.lost += mss
		n += mss
		if m, ok := s.c.(Model); ok {
			snap := p.snap
			snap.Lost = s.lost - p.lostAll
			m.OnLost(Lost{Now: s.link.now, Bytes: mss, Sent: snap, Delivered: s.delivered, Adjoins: p.id == last+1})
		}
		last = p.id
	}
	if n > 0 && s.point == 0 {
		s.point = s.ids
		s.c.OnLoss(Loss{Now: s.link.now, Cause: LossDetected, Bytes: n, InFlight: s.pipe + n, Delivered: s.delivered, Pipe: s.pipe})
	}
	return n
}

func (s *flow) timeout() {
	s.point = s.ids // the episode that lose would begin is this one
	n := s.lose(s.ids)
	s.c.OnLoss(Loss{Now: s.link.now, Cause: Timeout, Bytes: n, InFlight: n, Delivered: s.delivered, Pipe: s.pipe})
}
