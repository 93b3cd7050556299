package subflow

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// tsIdle is after how long without an update TS.Recent means nothing
// (RFC 7323, Section 5.5).
const tsIdle = 24 * 24 * time.Hour

// timestamps is the state of RFC 7323, Sections 3 to 5.
type timestamps struct {
	on       bool      // both SYNs had the option
	offset   uint32    // of our clock
	recent   uint32    // TS.Recent
	recentAt mono.Time // when it was set
}

// clock returns TSval for a segment sent at t: ticks of a millisecond.
func (ts *timestamps) clock(t mono.Time) uint32 {
	return uint32(int64(t)/int64(time.Millisecond)) + ts.offset
}

// since returns the time between the moment that ecr echoes and at; false if
// ecr was never sent, or too long ago to tell.
func (ts *timestamps) since(ecr uint32, at mono.Time) (time.Duration, bool) {
	ticks := int32(ts.clock(at) - ecr)
	return time.Duration(ticks) * time.Millisecond, ticks >= 0
}

// old reports whether PAWS rejects TSval (RFC 7323, Section 5.3, R1).
func (ts *timestamps) old(val uint32, now mono.Time) bool {
	return int32(val-ts.recent) < 0 && now.Sub(ts.recentAt) <= tsIdle //spec:T44 off: return int32(val-ts.recent) < 0
}

// update sets TS.Recent by the rule of RFC 7323, Section 4.3: only a segment
// that covers what the last ACK asked for, so that a delayed ACK echoes the
// first of the segments it acknowledges, and a hole's filling not the later ones.
func (ts *timestamps) update(seg *wire.Segment, off, lastAckSent seq.Offset, now mono.Time) {
	if !ts.on || !seg.Opt.HasTS || after(off, lastAckSent) || ts.old(seg.Opt.TSVal, now) { //spec:T43 off: if !ts.on || !seg.Opt.HasTS || ts.old(seg.Opt.TSVal, now) {
		return
	}
	ts.recent, ts.recentAt = seg.Opt.TSVal, now
}

// after and before compare offsets, which may lie before the SYN.
func after(a, b seq.Offset) bool  { return int64(a-b) > 0 }
func before(a, b seq.Offset) bool { return int64(a-b) < 0 }

func later(a, b seq.Offset) seq.Offset {
	if before(a, b) {
		return b
	}
	return a
}

func earlier(a, b seq.Offset) seq.Offset {
	if before(a, b) {
		return a
	}
	return b
}

// dist returns a-b, which may be negative.
func dist(a, b seq.Offset) int { return int(int64(a - b)) }
