package subflow

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/subflow/cc"
)

// rate estimates the delivery rate: how much was acknowledged between two
// acknowledgments a flight apart, over the longer of the times it took to send
// and to acknowledge (draft-cheng-iccrg-delivery-rate-estimation).
type rate struct {
	delivered uint64    // octets, ever
	at        mono.Time // when that last grew
	first     mono.Time // when the oldest segment of the present sample left
	last      uint64    // octets a second, the latest sample; 0 if none
	best      uint64    // the latest one worth reporting

	lost    uint64     // octets found lost, ever
	lostEnd seq.Offset // where what was found lost last ends
	// bubble is, while not 0, the count of delivered octets beyond which samples
	// show the network again: those before it were sent, or followed what was
	// sent, while the application had too little.
	bubble uint64
}

// snapshot is the state of a rate when a record was sent.
type snapshot struct {
	delivered uint64
	lost      uint64
	at, first mono.Time
	inFlight  int32 // octets, once it had left
	valid     bool
}

// onSend returns the snapshot for n octets that leave now, with pipe octets in
// flight before them.
func (r *rate) onSend(now mono.Time, pipe, n int) snapshot {
	if pipe == 0 {
		r.at, r.first = now, now
	}
	return snapshot{
		delivered: r.delivered, lost: r.lost, at: r.at, first: r.first,
		inFlight: int32(min(pipe+n, 1<<31-1)), valid: true,
	}
}

// limit notes that the application had too little to send, with pipe octets in
// flight.
func (r *rate) limit(pipe int) { r.bubble = max(r.delivered+uint64(pipe), 1) }

// sent is a snapshot as a congestion controller sees it now.
func (r *rate) sent(snap snapshot, limited bool) cc.Sent {
	return cc.Sent{
		Delivered: snap.delivered, InFlight: int(snap.inFlight),
		Lost: int(r.lost - snap.lost), AppLimited: limited,
	}
}

// update takes a sample from an acknowledgment that delivered something.
func (r *rate) update(st *ackState, minRTT time.Duration) {
	r.last = 0
	if st.acked == 0 {
		return
	}
	r.at = st.at
	if r.delivered > r.bubble {
		r.bubble = 0
	}
	if !st.prior.valid {
		return
	}
	interval := max(st.sentFor, st.at.Sub(st.prior.at))
	// Less than a round trip cannot be right: an ACK was compressed.
	if interval <= 0 || interval < minRTT {
		return
	}
	n := float64(r.delivered - st.prior.delivered)
	r.last = uint64(n / interval.Seconds())
	if !st.limited || r.last > r.best {
		r.best = r.last
	}
}

// Rate returns the delivery rate or, failing that, cwnd/SRTT, octets a second.
func (s *Subflow) Rate() uint64 {
	if s.rate.best > 0 {
		return s.rate.best
	}
	if s.rtt.srtt == 0 {
		return 0
	}
	return uint64(float64(s.Cwnd()) / s.rtt.srtt.Seconds())
}
