package subflow

import (
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
)

// sender is the send sequence space (RFC 9293, Section 3.3.1), unwrapped: the
// SYN has offset 0, the first octet of data 1, the FIN comes at end.
//
//	 0 1          una             nxt           end
//	─┬─┬───────────┬───────────────┬─────────────┬──────
//	 │S│   acked   │    records    │ assigned,   │ may be
//	 │Y│           │ flying/sacked │ unsent      │ assigned
//	 │N│           │ /lost         │ (todo)      │
//	─┴─┴───────────┴───────────────┴─────────────┴──────
//	               ├────── snd.wnd ─────────┤edge
//
// una is SND.UNA and nxt SND.NXT. edge is the right edge of the peer's window,
// SND.WL2+SND.WND; wl1 and wl2 are the sequence and acknowledgment number of
// the segment that set it.
type sender struct {
	iss    seq.Num
	una    seq.Offset
	nxt    seq.Offset
	end    seq.Offset
	edge   seq.Offset
	wl1    seq.Offset
	wl2    seq.Offset
	wnd    int // octets, as last advertised
	maxWnd int // MAX.SND.WND (RFC 5961, Section 5)
	wndAt  mono.Time
	// waitsFrom is when something left, data or a probe, and nothing else was
	// without an answer.
	waitsFrom mono.Time
	shift     uint8

	finQueued bool
	finSent   bool

	todo mappings // assigned and not wholly sent; the first may be sent in part
	recs records  // what was sent and is not acknowledged, in order

	// Octets of the records by what is believed of them: in the network, held
	// by the peer beyond a hole, or lost and not sent again yet.
	pipe, sacked, lost int
	sackedSegs         int
	seg                int        // full segment, for counting sackedSegs; fixed
	lostFrom           seq.Offset // no record before it is lost
}

// unsent returns how many octets are assigned and were never sent.
func (d *sender) unsent() int { return max(0, dist(d.end, later(d.nxt, 1))) }

// flightSize returns the FlightSize of RFC 5681, Section 2: what was sent and
// is not cumulatively acknowledged.
func (d *sender) flightSize() int { return dist(d.nxt, d.una) }

// idle reports whether nothing of ours is on its way or waits.
func (d *sender) idle() bool {
	return d.recs.len() == 0 && d.unsent() == 0 && d.finQueued == d.finSent
}

// finDone reports whether the peer acknowledged our FIN.
func (d *sender) finDone() bool { return d.finSent && after(d.una, d.end) }

// Flags of a record.
type recordFlags uint8

const (
	recSacked    recordFlags = 1 << iota // the peer said it has it
	recLost                              // believed lost, and not sent again yet
	recDelivered                         // was counted as delivered (sacked once)
	recFIN                               // the FIN: one octet of sequence space
	recLimited                           // sent while the application was the limit
	recProbe                             // a segment larger than the path is known to take
)

// record is a range of sequence space that left in one go: one segment, a
// train, or a burst of segments of one mapping. It is split only when an
// acknowledgment, SACK block or retransmission covers a part of it.
type record struct {
	off   seq.Offset
	m     Mapping   // zero for the FIN
	sent  mono.Time // the last time
	snap  snapshot  // for the delivery rate, when it was sent
	len   int32
	tries uint16 // retransmissions
	size  uint16 // payload of a full segment when it left
	flags recordFlags
}

func (r *record) end() seq.Offset { return r.off + seq.Offset(r.len) }

// has reports whether r has any of f.
func (r *record) has(f recordFlags) bool { return r.flags&f != 0 }

func (r *record) data(o seq.Offset) seq.Data { return r.m.Data + seq.Data(o-r.m.Off) }

// follows reports whether a transmission of m at off, now, is of the same kind
// as r and adjoins it, so that they can be one record.
func (r *record) follows(off seq.Offset, m Mapping, now mono.Time, tries, size uint16) bool {
	return r.end() == off && r.m == m && r.sent == now && r.tries == tries && r.size == size &&
		r.flags&(recSacked|recLost|recFIN|recDelivered|recProbe) == 0
}

// account adds (sign 1) or takes away (-1) a record from the sums.
func (d *sender) account(r *record, sign int) {
	n := sign * int(r.len)
	switch {
	case r.has(recSacked):
		d.sacked += n
		d.sackedSegs += sign * ((int(r.len) + d.seg - 1) / d.seg)
	case r.has(recLost):
		d.lost += n
	default:
		d.pipe += n
	}
}

// flag changes the flags of a record.
func (d *sender) flag(r *record, set, clear recordFlags) {
	d.account(r, -1)
	r.flags = r.flags&^clear | set
	d.account(r, 1)
	if set&recLost != 0 {
		d.lostFrom = earlier(d.lostFrom, r.off)
	}
}

// nextLost returns the index of the first record that is lost; there is one.
func (d *sender) nextLost() int {
	recs := d.recs.live()
	for i := d.recs.search(d.lostFrom); i < len(recs); i++ {
		if recs[i].has(recLost) {
			d.lostFrom = recs[i].off
			return i
		}
	}
	panic("BUG: octets are lost but no record is")
}

// split cuts record i at off, inside it: it keeps the front, and i+1 gets the
// rest.
func (d *sender) split(i int, off seq.Offset) {
	d.recs.insert(i + 1)
	recs := d.recs.live()
	front, back := &recs[i], &recs[i+1]
	*back = *front
	d.account(front, -1)
	front.len = int32(dist(off, front.off))
	front.snap.inFlight -= back.len - front.len
	back.off = off
	back.len -= front.len
	d.account(front, 1)
	d.account(back, 1)
}

// splitBudget bounds the records that SACK blocks may make: two for each
// segment in flight. Honest blocks end where segments do and never need more;
// others are used as far as they cover whole records.
func (d *sender) splitBudget() bool {
	return d.recs.len() < 64+2*(dist(d.nxt, d.una)/d.seg)
}

// push notes the first transmission of n octets at SND.NXT.
func (d *sender) push(r record) {
	if k := d.recs.len(); k > 0 {
		last := &d.recs.live()[k-1]
		if r.flags&recFIN == 0 && last.follows(r.off, r.m, r.sent, r.tries, r.size) {
			last.len += r.len
			last.snap.inFlight = r.snap.inFlight
			last.flags |= r.flags
			d.pipe += int(r.len)
			d.nxt = r.end()
			return
		}
	} else {
		d.waitsFrom = r.sent
	}
	d.recs.push(r)
	d.account(&r, 1)
	d.nxt = r.end()
}

// pop takes n octets off the front of the first record.
func (d *sender) pop(n int) {
	r := &d.recs.live()[0]
	d.account(r, -1)
	if n == int(r.len) {
		d.recs.pop()
		return
	}
	r.off += seq.Offset(n)
	r.len -= int32(n)
	d.account(r, 1)
}

// records is a deque of records without pointers: appended at the back,
// retired from the front.
type records struct {
	buf  []record
	head int
}

func (q *records) live() []record { return q.buf[q.head:] }
func (q *records) len() int       { return len(q.buf) - q.head }

func (q *records) push(r record) {
	q.compact()
	q.buf = append(q.buf, r)
}

func (q *records) pop() {
	q.head++
	if q.head == len(q.buf) {
		q.buf, q.head = q.buf[:0], 0
	}
}

// insert makes room for a record at index i.
func (q *records) insert(i int) {
	q.compact()
	q.buf = append(q.buf, record{})
	live := q.live()
	copy(live[i+1:], live[i:])
}

// remove takes record i out.
func (q *records) remove(i int) {
	live := q.live()
	copy(live[i:], live[i+1:])
	q.buf = q.buf[:len(q.buf)-1]
}

// compact moves the live part to the front when the slice is full and the
// retired part is worth it, so that the slice does not grow for ever.
func (q *records) compact() {
	if len(q.buf) == cap(q.buf) && q.head > len(q.buf)/2 {
		n := copy(q.buf, q.buf[q.head:])
		q.buf, q.head = q.buf[:n], 0
	}
}

// search returns the index of the first record that ends after off.
func (q *records) search(off seq.Offset) int {
	live := q.live()
	lo, hi := 0, len(live)
	for lo < hi {
		if mid := (lo + hi) / 2; after(live[mid].end(), off) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// mappings is a queue of mappings.
type mappings struct {
	buf  []Mapping
	head int
}

func (q *mappings) live() []Mapping { return q.buf[q.head:] }

func (q *mappings) push(m Mapping) {
	if len(q.buf) == cap(q.buf) && q.head > len(q.buf)/2 {
		n := copy(q.buf, q.buf[q.head:])
		q.buf, q.head = q.buf[:n], 0
	}
	q.buf = append(q.buf, m)
}

func (q *mappings) pop() {
	q.head++
	if q.head == len(q.buf) {
		q.buf, q.head = q.buf[:0], 0
	}
}
