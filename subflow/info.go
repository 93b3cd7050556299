package subflow

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// MSS returns the payload octets of a full data segment: what the peer and the
// path take, less the options (RFC 9293, Section 3.7.1).
func (s *Subflow) MSS() int { return s.mss }

// segLimit returns how many octets of options and payload a segment may have.
func (s *Subflow) segLimit() int {
	return s.PathMTU() - s.ipTCP()
}

// advertisedMSS returns what our SYN says: the path's MTU less fixed headers,
// or less if the user wants so.
func (s *Subflow) advertisedMSS() int { return s.cfg.advertisedMSS(s.tuple) }

func (c *Config) advertisedMSS(t wire.Tuple) int {
	n := min(c.MTU, 65535) - ipTCP(t)
	if c.MSS != 0 {
		n = min(n, c.MSS) //spec:T18 off:
	}
	return n
}

func (s *Subflow) ipTCP() int { return ipTCP(s.tuple) }

// ipTCP returns how long the headers of a tuple's packets are without options.
func ipTCP(t wire.Tuple) int {
	if t.Is6() {
		return 40 + tcpHeader
	}
	return 20 + tcpHeader
}

// SRTT returns the smoothed round-trip time; 0 before the first sample.
func (s *Subflow) SRTT() time.Duration { return s.rtt.srtt }

// MinRTT returns the least round-trip time of the last minutes; 0 before the first
// sample.
func (s *Subflow) MinRTT() time.Duration { return s.rtt.minimum() }

// Expected returns when the oldest outstanding segment should be acknowledged by
// the smoothed round trip, and the mean deviation of that; Never if nothing is
// outstanding or no round trip was measured yet.
func (s *Subflow) Expected() (at mono.Time, deviation time.Duration) {
	if s.snd.recs.len() == 0 || s.rtt.srtt == 0 || s.muted || !s.state.synchronized() {
		return mono.Never, 0
	}
	return s.snd.recs.live()[0].sent.Add(s.rtt.srtt), s.rtt.rttvar
}

// InFlight returns the octets in flight.
func (s *Subflow) InFlight() int { return s.inFlight() }

// Stale reports whether the retransmission timer fired and no progress
// followed.
func (s *Subflow) Stale() bool { return s.stale }

// Acked returns how many octets of payload the peer has acknowledged.
func (s *Subflow) Acked() uint64 { return s.info.BytesAcked }

// Idle reports whether nothing is assigned, unsent or unacknowledged.
func (s *Subflow) Idle() bool { return s.snd.idle() }

// SndNxt returns the offset of SND.NXT.
func (s *Subflow) SndNxt() seq.Offset { return s.snd.nxt }

// RcvNxt returns the offset of RCV.NXT.
func (s *Subflow) RcvNxt() seq.Offset { return s.rcv.nxt }

// Controller returns the congestion controller; nil before the peer's SYN.
func (s *Subflow) Controller() any {
	if s.ctrl == nil {
		return nil
	}
	return s.ctrl
}

// Info returns a snapshot.
func (s *Subflow) Info() Info {
	i := s.info
	i.State = s.state
	i.SRTT, i.RTTVar, i.MinRTT = s.rtt.srtt, s.rtt.rttvar, s.rtt.minimum()
	i.RTO, i.Backoff, i.Retries = s.rtt.timeout(), s.rtt.backoff, s.retries
	i.Cwnd, i.InFlight = s.Cwnd(), s.inFlight()
	i.SndWnd, i.RcvWnd = s.snd.wnd, s.rcv.wnd
	i.MSS = s.MSS()
	i.PathMTU, i.ECN = s.PathMTU(), s.ecn.on
	i.Lane = s.lane.state == laneOpen
	return i
}

// Records returns how many records a subflow keeps of what it sent, is to send,
// and received out of order: for tests of their bounds.
func (s *Subflow) Records() int {
	return s.snd.recs.len() + len(s.snd.todo.live()) + len(s.rcv.set.Spans())
}
