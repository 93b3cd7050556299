package cc

// Bounds that hold for every controller.
const (
	// maxWindow bounds a congestion window: the largest window that TCP can
	// advertise (RFC 7323, Section 2.2). More can never be in flight.
	maxWindow = 1 << 30
	// initialSegments is the initial window (RFC 6928, Section 2).
	initialSegments = 10
	// minMSS keeps the arithmetic sound if a caller has no idea yet; it is the
	// MSS that every IPv4 host takes (RFC 9293, Section 3.7.1).
	minMSS = 64
	maxMSS = 1 << 16
)

// clampMSS makes any value of a caller a usable segment size.
func clampMSS(mss int) int { return min(max(mss, minMSS), maxMSS) }

// episode remembers what the losses so far mean for growth. It is common to
// the loss-based controllers.
type episode struct {
	timedOut bool // a timeout, and nothing acknowledged since
	repair   bool // the recovery that runs began with a timeout
}

// acked notes an acknowledgment and returns how many octets of it may make a
// window of cwnd octets grow.
func (e *episode) acked(a Ack, cwnd int) int {
	if a.Bytes <= 0 {
		return 0
	}
	e.timedOut = false
	if !a.Recovery {
		e.repair = false
	}
	// In fast recovery the window holds still. After a timeout the same
	// repair runs in slow start (RFC 5681, Section 3.1).
	if a.Recovery && !e.repair {
		return 0
	}
	// A window that was not filled has not been tested, so its growth would
	// mean nothing (RFC 7661, Section 1). Half of it is enough in slow start,
	// which sends twice what is acknowledged, and covers senders held back by
	// the peer's window or by pacing.
	if a.AppLimited || 2*min(max(a.InFlight, 0), maxWindow) < cwnd {
		return 0
	}
	n := min(a.Bytes, cwnd)
	if e.repair {
		// One retransmission that fills a hole acknowledges what arrived
		// before the timeout as well; only what was sent since tells that
		// the network takes it (RFC 3465, Section 2.3).
		n = min(n, max(a.InFlight, 0))
	}
	return n
}

// flight returns the FlightSize of RFC 5681, Section 2, at a loss: what was in
// flight, the lost octets included. It is never above the window, so a caller
// may or may not count the lost octets as in flight.
func flight(l Loss, cwnd int) int {
	n := min(max(l.InFlight, 0), maxWindow) + min(max(l.Bytes, 0), maxWindow)
	return min(n, cwnd)
}
