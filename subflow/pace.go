package subflow

import (
	"math"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
)

const (
	paceBurst    = 2 * time.Millisecond // how much credit may pile up
	paceSegments = 10                   // or this many segments, if they are more
	paceQuantum  = time.Millisecond     // credit to wait for before sending again
	// initialSegments is the initial window and the restart window
	// (RFC 6928, Section 2; RFC 5681, Section 4.1).
	initialSegments = 10
)

// pacer spreads what leaves over the round trip: sending spends credit, which
// comes back with time. What is owed is kept in octets, not in the time that it
// takes to earn them: a debt that was made while the rate was that of one segment
// a round trip is paid at the rate of the window that comes back. Asking changes
// nothing.
type pacer struct {
	owed    float64   // octets that were sent beyond credit at that time; below 0, credit
	at      mono.Time // when something was sent last
	lossy   bool      // something was lost: no longer the first slow start
	floor   int       // least window after Mute(false), until the next loss
	restart int       // most window after an idle time, while it grows back; 0: no bound
}

// pacing returns the rate in octets a second and the longest time for which
// credit piles up; 0 if sending is not paced yet.
//
// If the controller leaves it to us: not on a path so short that the clock cannot
// space anything out on it, where acknowledgments come as often. Else twice what the window amounts to while it
// doubles in each round trip, and a quarter above it afterwards. In fast recovery
// the acknowledgments are the clock (RFC 9937), and the window that counts is the
// one that is aimed at.
//
// Above slow start it is the acknowledgments that pace, and credit only keeps
// apart what they let go in one lump: what is spread more evenly than the flow
// beside it, whose lumps fill the queue, takes far more than its share of the
// bottleneck, 1.7 of it with credit for two segments, about 1 with this.
func (s *Subflow) pacing() (rate uint64, burst time.Duration) {
	if s.rtt.srtt == 0 {
		return 0, 0
	}
	if rate = s.ctrl.PacingRate(); rate == 0 {
		if s.rtt.minimum() < paceQuantum {
			return 0, 0
		}
		gain, w := 1.25, s.Cwnd()
		if s.slowStart() {
			gain = 2
		}
		if s.rec.mode == fast {
			w = max(w, s.ctrl.Window())
		}
		rate = uint64(gain * float64(w) / s.rtt.srtt.Seconds())
	}
	// No path is so slow that a segment takes longer than a timeout may.
	rate = max(rate, uint64(s.MSS()), 1)
	burst = max(paceBurst, timeFor(paceSegments*s.MSS(), rate))
	return rate, burst
}

// slowStart reports whether the window grows in slow start. A controller that
// does not tell is taken to until something is lost.
func (s *Subflow) slowStart() bool {
	if s.slow != nil {
		return s.slow.SlowStart()
	}
	return !s.pace.lossy
}

// timeFor returns how long n octets take at a rate, rounded up.
func timeFor(n int, rate uint64) time.Duration {
	return time.Duration((uint64(n)*uint64(time.Second) + rate - 1) / rate)
}

// paceAhead is what leaves in the time that credit is waited for.
func paceAhead(rate uint64) int { return int(float64(rate) * paceQuantum.Seconds()) }

// credit returns how many octets pacing lets go at now.
func (s *Subflow) credit(now mono.Time) int {
	rate, burst := s.pacing()
	if rate == 0 {
		return 1 << 30
	}
	return int(max(0, -s.pace.owedAt(now, rate, burst)))
}

// owedAt returns what is owed at now: it is paid off at the rate, and credit
// piles up for as long as burst takes.
func (p *pacer) owedAt(now mono.Time, rate uint64, burst time.Duration) float64 {
	paid := float64(rate) * max(now.Sub(p.at), 0).Seconds()
	return max(p.owed-paid, -float64(rate)*burst.Seconds())
}

// creditAt returns when credit for n octets will be there.
func (s *Subflow) creditAt(n int) mono.Time {
	rate, _ := s.pacing()
	if rate == 0 {
		return 0
	}
	// One octet more than asked for covers the rounding.
	need := max(0, s.pace.owed+float64(n+1))
	return s.pace.at.Add(time.Duration(math.Ceil(need / float64(rate) * float64(time.Second))))
}

// spend takes credit for n octets that leave at now.
func (s *Subflow) spend(now mono.Time, n int) {
	rate, burst := s.pacing()
	if rate == 0 {
		return
	}
	s.pace.owed = s.pace.owedAt(now, rate, burst) + float64(n)
	s.pace.at = s.pace.at.Latest(now)
}

// quantum returns how much credit to wait for, if n octets wait: a
// millisecond's worth, so that trains are worth the name and a timer is not
// needed for each segment; a segment at least and what can pile up at most.
func (s *Subflow) quantum(n int) int {
	rate, _ := s.pacing()
	return min(n, max(s.MSS(), paceAhead(rate)))
}

// paceDeadline is when pacing lets go of what is assigned or lost and held
// back by nothing else.
func (s *Subflow) paceDeadline() mono.Time {
	if n := s.paceable(); n > 0 {
		return s.creditAt(s.quantum(n))
	}
	return mono.Never
}

// paceable returns how many octets could leave if pacing let them.
func (s *Subflow) paceable() int {
	if s.snd.lost > 0 {
		return s.lostBudget()
	}
	return s.freshBudget()
}

// initialWindow returns IW in octets.
func (s *Subflow) initialWindow() int { return initialSegments * s.MSS() }

// Cwnd returns the congestion window in octets; 0 before the peer is known.
func (s *Subflow) Cwnd() int {
	if s.ctrl == nil {
		return 0
	}
	w := s.ctrl.Window()
	if s.rec.mode == fast && s.model == nil {
		return max(s.rec.cwnd, s.MSS())
	}
	w = max(w, s.pace.floor)
	if s.pace.restart > 0 {
		w = min(w, s.pace.restart)
	}
	return max(w, s.MSS())
}

// cwndAt is Cwnd for new data at now: after an idle time it is the restart
// window (RFC 5681, Section 4.1: "when TCP has not received a segment for more
// than one retransmission timeout, cwnd is reduced to the value of the restart
// window before transmission begins").
func (s *Subflow) cwndAt(now mono.Time) int {
	if s.model == nil && s.idleSince(now) {
		return min(s.Cwnd(), s.initialWindow())
	}
	return s.Cwnd()
}

func (s *Subflow) idleSince(now mono.Time) bool {
	return s.snd.recs.len() == 0 && s.newDataAt > 0 && now.Sub(s.newDataAt.Latest(s.progressAt)) > s.rtt.timeout()
}

// growRestart lets the restart window grow as in slow start, until the
// controller's is reached.
func (s *Subflow) growRestart(n int) {
	p := &s.pace
	if p.restart == 0 {
		return
	}
	if p.restart += n; p.restart >= s.ctrl.Window() {
		p.restart = 0
	}
}

// Room returns how many octets of new data may be assigned and leave at now:
// bounded by the congestion window, the peer's window on this subflow, pacing
// credit, less what is assigned already. wake is when pacing alone will allow
// more; Never if pacing is not what limits.
//
// Whole segments are counted only, to avoid the silly window syndrome
// (RFC 9293, Section 3.8.6.2.1), except that a window smaller than a segment is
// used when nothing is in flight.
func (s *Subflow) Room(now mono.Time) (octets int, wake mono.Time) {
	if s.muted || s.laneWaits() || s.snd.finQueued || s.state != StateEstablished && s.state != StateCloseWait && !s.answersEarly() {
		return 0, mono.Never
	}
	waiting := s.snd.unsent() + s.snd.lost
	wnd := dist(s.snd.edge, s.snd.nxt) - s.snd.unsent()
	n := min(s.cwndAt(now)-s.inFlight()-waiting, wnd)
	mss := s.MSS()
	least, credit := s.leastRoom(now)
	if n < least {
		if wnd > 0 && wnd < mss && s.snd.recs.len() == 0 && waiting == 0 {
			return wnd, mono.Never
		}
		return 0, mono.Never
	}
	if worth := s.TrainWorth(); worth > 0 && n >= worth {
		n = max(n-n%worth, min(n, least))
	} else if n < worth && s.inFlight()+waiting > 0 {
		return 0, mono.Never // the acknowledgments that are under way make it worth a train
	}
	if paced := s.credit(now) - waiting; paced < credit {
		return 0, s.creditAt(waiting + max(s.quantum(n), credit)).Latest(now + 1)
	} else if paced < n {
		n = max(paced, least)
	}
	return n - n%mss, mono.Never
}
