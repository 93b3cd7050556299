package subflow

import (
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// sacker chooses the blocks of outgoing SACK options (RFC 2018, Section 4;
// RFC 2883).
type sacker struct {
	sackOK bool // both SYNs permitted it
	// recent are places in the runs that changed last, the newest first.
	recent  [4]seq.Offset
	nrecent int
	dup     seq.Span[seq.Offset] // to be reported by D-SACK, once; empty if none
}

// touch makes the run that holds off the most recently changed one.
func (r *receiver) touch(off seq.Offset) {
	run, _ := r.runOf(off)
	kept := 0
	var list [len(r.recent)]seq.Offset
	for _, at := range r.recent[:r.nrecent] {
		if !run.Contains(at) && kept < len(list)-1 {
			list[kept] = at
			kept++
		}
	}
	r.recent[0] = off
	copy(r.recent[1:], list[:kept])
	r.nrecent = kept + 1
}

// runOf returns the run of received data beyond nxt that holds off.
func (r *receiver) runOf(off seq.Offset) (seq.Span[seq.Offset], bool) {
	for _, sp := range r.set.Spans() {
		if sp.Contains(off) {
			return sp, true
		}
	}
	return seq.Span[seq.Offset]{}, false
}

// reportDuplicate makes the next SACK option start with [from, to): data that
// arrived before.
func (r *receiver) reportDuplicate(from, to seq.Offset) {
	if before(from, to) && int64(from) > 0 {
		r.dup = seq.Span[seq.Offset]{From: from, To: to}
	}
}

// reportOverlap is reportDuplicate for what part has in common with data
// beyond a hole; the run around it follows as the second block.
func (r *receiver) reportOverlap(part seq.Span[seq.Offset]) {
	for _, sp := range r.set.Spans() {
		if both := sp.Intersect(part); !both.Empty() {
			r.reportDuplicate(both.From, both.To)
			r.touch(both.From)
			return
		}
	}
}

// blocks fills in the SACK option of a segment, as far as room blocks go.
//
// "The first SACK block MUST specify the contiguous block of data containing
// the segment which triggered this ACK", unless a D-SACK comes before it; then
// the most recently reported ones are repeated.
func (r *receiver) blocks(o *wire.TCPOptions, room int) {
	if !r.sackOK || room == 0 || r.dup.Empty() && r.set.Empty() { //spec:T46 off: if room == 0 || r.dup.Empty() && r.set.Empty() {
		return
	}
	n := 0
	if !r.dup.Empty() {
		o.SACK[0] = r.block(r.dup)
		r.dup = seq.Span[seq.Offset]{}
		n = 1
	}
	first := n
	for _, at := range r.recent[:r.nrecent] {
		run, ok := r.runOf(at)
		if n == room || n == len(o.SACK) {
			break
		}
		if b := r.block(run); ok && !listed(o.SACK[first:n], b) {
			o.SACK[n] = b
			n++
		}
	}
	o.NSACK = n
}

func (r *receiver) block(sp seq.Span[seq.Offset]) wire.SACKBlock {
	return wire.SACKBlock{From: sp.From.Num(r.irs), To: sp.To.Num(r.irs)}
}

func listed(list []wire.SACKBlock, b wire.SACKBlock) bool {
	for _, x := range list {
		if x == b {
			return true
		}
	}
	return false
}
