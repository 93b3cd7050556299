package cc

import "time"

// Constants of RFC 9406, Section 4.3.
const (
	minRTTThresh     = 4 * time.Millisecond
	maxRTTThresh     = 16 * time.Millisecond
	minRTTDivisor    = 8
	nRTTSample       = 8
	cssGrowthDivisor = 4
	cssRounds        = 5
)

// unknownRTT is longer than any round-trip time.
const unknownRTT = time.Duration(1<<63 - 1)

// hystart decides from round-trip times when the first slow start ends
// (HyStart++, RFC 9406). A rise of the smallest time of a round starts
// conservative slow start (CSS); if that smallest time falls again it was
// jitter and slow start resumes, otherwise CSS ends slow start after five
// rounds. The zero value is ready for the first acknowledgment.
type hystart struct {
	started  bool
	css      bool
	rounds   int           // of CSS, the one in which it began included
	left     int           // octets to be acknowledged until the round ends
	samples  int           // round-trip times seen in this round
	last     time.Duration // lastRoundMinRTT
	current  time.Duration // currentRoundMinRTT
	baseline time.Duration // cssBaselineMinRtt
}

// sample takes an acknowledgment in slow start and reports whether slow start
// is over.
//
// A controller sees no sequence numbers, so a round, which ends when what was
// in flight at its beginning is acknowledged (RFC 9406, Section 4.2), is
// counted in octets: each octet is acknowledged once.
func (h *hystart) sample(a Ack) (done bool) {
	if !h.started {
		h.started = true
		h.last, h.current = unknownRTT, unknownRTT
		h.begin(a)
		return false
	}
	if a.RTT > 0 {
		h.samples++
		h.current = min(h.current, a.RTT)
		h.judge()
	}
	h.left -= max(a.Bytes, 0)
	if h.left > 0 {
		return false
	}
	if h.css {
		h.rounds++
	}
	h.last, h.current = h.current, unknownRTT
	h.begin(a)
	return h.css && h.rounds >= cssRounds
}

// begin starts a round with what is in flight once a is taken off.
func (h *hystart) begin(a Ack) {
	h.samples = 0
	h.left = max(min(max(a.InFlight, 0), maxWindow)-max(a.Bytes, 0), 1)
}

// judge enters and leaves CSS (RFC 9406, Section 4.2).
func (h *hystart) judge() {
	if h.samples < nRTTSample {
		return
	}
	if h.css {
		if h.current < h.baseline { //spec:T80 off: if false {
			h.css, h.rounds = false, 0
		}
		return
	}
	if h.last == unknownRTT {
		return
	}
	thresh := min(max(h.last/minRTTDivisor, minRTTThresh), maxRTTThresh)
	if h.current-h.last >= thresh { //spec:T80 off: if h.current-h.last >= 100*thresh {
		h.css, h.rounds, h.baseline = true, 0, h.current
	}
}

// growth returns how much of n acknowledged octets the window grows by.
// A sender that paces has no limit L (RFC 9406, Section 4.3).
func (h *hystart) growth(n int) int {
	if h.css {
		return n / cssGrowthDivisor
	}
	return n
}
