package engine

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// Buffers whose sizes the user did not set follow the need, between these and
// the bounds in Config. What they have too much is not only memory: octets that
// wait long are no longer in the processor's caches when their turn comes.
const (
	// leastWindow is the receive window that a connection begins with: more than
	// any initial congestion window, and for a short transfer all it needs.
	leastWindow = 256 << 10
	// leastAhead is how much the application may write ahead of what is sent,
	// where the congestion windows are small: some wake-ups' worth.
	leastAhead = 128 << 10
	// mostAhead is what a writer is ahead however large the windows are.
	mostAhead = 1 << 20
	// leastShare is a window that connections have however many they are: some
	// initial congestion windows, and enough for trains.
	leastShare = 64 << 10
)

// ahead is how many octets may wait to be sent: another flight, so that the
// scheduler always has what the windows allow. What is sent and not acknowledged
// does not count, for how much that is on several paths their round trips decide.
func (c *Conn) ahead() int {
	n := 0
	for _, p := range c.paths {
		if p.usable() {
			n += p.sf.Cwnd()
		}
	}
	if c.mode == multipath {
		n = min(n, c.tx.edge.Sub(c.snd.Una())) // where the peer's window is what bounds a flight
	}
	return min(max(n, leastAhead), mostAhead)
}

// room is how many octets the application may write.
func (c *Conn) room() int {
	free := c.snd.Free()
	if !c.cfg.tuneSend {
		return free
	}
	return min(free, max(0, c.ahead()-c.snd.End().Sub(c.tx.next)))
}

// windowTuning finds out how large the receive window has to be: several times
// what arrives, and is read, in a round trip. A reader who lags behind makes it
// no larger, and a sender whose congestion window doubles with each round trip
// never meets it: while one flight arrives the window grows to six, of which
// the sender needs two; the others are for what waits behind a hole.
type windowTuning struct {
	since         mono.Time // when the round trip began
	arrived, read int       // octets in it
}

// flights is how many of the flights that arrive the window holds.
const flights = 6

// tune notes what arrived in its window, or was read.
func (c *Conn) tune(now mono.Time, arrived, read int) {
	if !c.cfg.tuneRecv || c.rcv == nil {
		return
	}
	t := &c.rx.tuning
	if now.Sub(t.since) > c.flight() {
		*t = windowTuning{since: now}
	}
	t.arrived += arrived
	t.read += read
	if size := min(flights*min(t.arrived, t.read), c.mostWindow()); size > c.rcv.Size() {
		c.rcv.Resize(size)
	}
}

// mostWindow bounds the receive window.
func (c *Conn) mostWindow() int {
	if c.share == 0 {
		return c.cfg.RecvBuffer
	}
	return min(c.cfg.RecvBuffer, max(c.share, leastShare))
}

// ShareWindow tells of the octets that the device can hold for this connection,
// while others have as many under way: what would not fit there is lost. A window
// whose size the user chose stays.
func (c *Conn) ShareWindow(octets int) {
	if c.nearestTrip() > sharedTrip {
		octets = 0 // what is under way for long is not in the device
	}
	if c.share = octets; c.cfg.tuneRecv && c.rcv != nil && c.rcv.Size() > c.mostWindow() {
		c.rcv.Resize(c.mostWindow())
	}
}

// Where there are several paths, what the others carry while one of them is
// found to have lost something, which takes it up to the least retransmission
// timeout (200 ms), has to wait in the window. On local paths that is out of reach.
const (
	leastFlight = 200 * time.Millisecond / flights
	localTrip   = time.Millisecond
)

// flight is the time in which a flight is taken to arrive.
func (c *Conn) flight() time.Duration {
	trip := c.longestTrip()
	if c.joined && trip > localTrip {
		return max(trip, leastFlight)
	}
	return trip
}

// sharedTrip is the longest round trip for which what is under way counts as being
// in the device that it goes to.
const sharedTrip = 5 * time.Millisecond

// takeBeyond makes room for data up to end that lies beyond the window, but not
// beyond the largest that there may be. Linux sends such: it adds the window that a
// subflow showed when its own acknowledgment last moved to the newest DATA_ACK of
// all (mptcp_ack_update_msk), and while the window is small that is too much.
func (c *Conn) takeBeyond(end seq.Data) {
	if !c.cfg.tuneRecv || end.LessEq(c.rcv.Edge()) {
		return
	}
	if read := c.rcv.Next().Add(-c.rcv.Readable()); end.Sub(read) <= c.cfg.RecvBuffer {
		c.rcv.Extend(end)
	}
}

// nearestTrip is the least round trip there ever was of a path.
func (c *Conn) nearestTrip() time.Duration {
	trip := time.Duration(0)
	for _, p := range c.paths {
		if least := p.sf.MinRTT(); p.usable() && least > 0 && (trip == 0 || least < trip) {
			trip = least
		}
	}
	return trip
}

// longestTrip is the round trip of the slowest path, as who receives can tell.
func (c *Conn) longestTrip() time.Duration {
	trip := time.Duration(0)
	for _, p := range c.paths {
		trip = max(trip, p.sf.SRTT(), p.trip.rtt)
	}
	return trip
}

// tripMeter measures the round trip of a path by the timestamps that come back
// on data: who only receives has no other measure (RFC 7323, Section 4.1, is the
// sender's), and that of the handshake knows nothing of the queues that data
// makes.
type tripMeter struct {
	rtt    time.Duration // smoothed; 0: unknown
	last   mono.Time     // the last data
	offset uint32        // of our timestamps
}

// tick is the unit of our timestamps.
const tick = time.Millisecond

// onData takes the measure of a segment with payload. Only where data came in
// between does the time since the acknowledgment that it echoes tell of the way,
// and not of a sender who had nothing to send.
func (p *path) onData(now mono.Time, s *wire.Segment) {
	m := &p.trip
	if m.last == 0 {
		m.offset = p.c.secret.numbers(p.tuple).tsOffset
	}
	last := m.last
	m.last = now
	if !s.Opt.HasTS || !p.c.cfg.tuneRecv {
		return
	}
	ticks := int32(uint32(int64(now)/int64(tick)) + m.offset - s.Opt.TSEcr)
	trip := time.Duration(ticks-1) * tick // at least that
	switch {
	case trip <= 0 || now.Add(-trip) >= last:
	case m.rtt == 0:
		m.rtt = trip
	default:
		m.rtt += (trip - m.rtt) / 8
	}
}
