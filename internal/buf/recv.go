package buf

import (
	"slices"

	"github.com/mpnc/mpnc/internal/seq"
)

// MaxSpans is how many separate runs of octets a Recv keeps beyond its first
// hole. An octet here and there is cheap to send and dear to keep, so what
// would start one more run is refused. A subflow of plain TCP whose peer never
// repeats what the subflow acknowledged must bound its own runs below this.
const MaxSpans = 4096

// maxEdgeStep is the least movement of the right edge worth telling, where
// half the buffer is not less: some segments of an ordinary path.
const maxEdgeStep = 4096

// Recv holds what arrived, in its place in the stream, until it is read.
//
//	 read          next                       edge = read+size, or a little less
//	   ├─ readable ─┼─ hole ─┬─ late ─┬─ hole ──┤
//	───┴────────────┴────────┴────────┴─────────┴──
type Recv struct {
	read, next, edge seq.Data
	size             int
	late             seq.Set[seq.Data] // what arrived beyond next
	lateLen          int               // octets in late
	from             seq.Data          // number of the first octet of chunks[0]
	chunks           []*Chunk          // adjoining; nil where nothing has arrived
	pool             pool
	closed           bool

	offer  []byte // what is left of a reader's memory
	handed int    // octets in the part before
	pinned bool   // what is left may be written to elsewhere
}

// NewRecv returns a store that expects next and buffers at most size octets.
func NewRecv(next seq.Data, size int) *Recv {
	size = max(size, 0)
	return &Recv{read: next, next: next, edge: next.Add(size), size: size}
}

// Place copies p to its place; octets already there (the first copy wins),
// already read, or beyond the edge are left out. It returns how many were new.
// It takes nothing after Close, nor what would make more than MaxSpans runs.
func (r *Recv) Place(at seq.Data, p []byte) (fresh int) {
	at, p = r.clip(at, p)
	if len(p) == 0 {
		return 0
	}
	if at == r.next && r.late.Empty() {
		n := r.hand(p)
		r.store(at.Add(n), p[n:])
		r.next = r.next.Add(len(p) - n)
		return len(p)
	}
	all := seq.Range{From: at, To: at.Add(len(p))}
	if r.crowded(all) {
		return 0
	}
	for gap := r.late.Gap(all); !gap.Empty(); gap = r.late.Gap(seq.Range{From: gap.To, To: all.To}) { //spec:D9 off: for gap := all; !gap.Empty(); gap = (seq.Range{}) {
		r.store(gap.From, p[gap.From.Sub(at):gap.To.Sub(at)])
	}
	fresh = r.late.Add(all)
	r.lateLen += fresh
	r.advance()
	return fresh
}

// Offer has what arrives next go straight to p, the memory of a reader who waits,
// until Taken: as far as it is in order and nothing is readable that came before.
func (r *Recv) Offer(p []byte) { r.offer, r.handed = p, 0 }

// Pin returns what is left of the memory that was offered, if what arrives next would
// go there, for somebody to write octets to that have yet to be placed: where they lie
// already, Place need not copy. Until Unpin, nothing but such goes there.
func (r *Recv) Pin() []byte {
	if r.closed || r.pinned || r.read != r.next || !r.late.Empty() {
		return nil
	}
	if r.pinned = len(r.offer) > 0; !r.pinned {
		return nil
	}
	return r.offer
}

// Unpin ends what Pin began.
func (r *Recv) Unpin() { r.pinned = false }

// Taken ends what Offer began and returns how many octets went to the reader's
// memory. For the peer they count as read from then on. It may not be called while
// that memory is pinned.
func (r *Recv) Taken() int {
	if r.pinned {
		panic("BUG: memory was taken that is written to")
	}
	n := r.handed
	r.offer, r.handed = nil, 0
	if n > 0 && !r.closed {
		r.openEdge()
	}
	return n
}

// Handed returns how many octets are in the reader's memory and were not Taken.
func (r *Recv) Handed() int { return r.handed }

// hand gives the front of p, which lies at next with nothing beyond it, to the
// reader who waits, and returns how much that was.
func (r *Recv) hand(p []byte) int {
	if len(r.offer) == 0 || r.read != r.next || r.pinned && !within(p, r.offer) {
		return 0
	}
	n := min(len(p), len(r.offer))
	if &p[0] != &r.offer[0] {
		copy(r.offer, p) // which may overlap, but never what comes after p
	}
	r.offer = r.offer[n:]
	r.handed += n
	r.read, r.next = r.read.Add(n), r.next.Add(n)
	return n
}

// within reports whether p, not empty, is a part of q, cut from it with all of the
// capacity behind.
func within(p, q []byte) bool {
	p, q = p[:cap(p)], q[:cap(q)]
	return len(p) <= len(q) && &p[len(p)-1] == &q[len(q)-1]
}

// clip returns the part of p, an octet string at number at, that lies between
// next and the edge. The number comes from the network: it may be anything.
func (r *Recv) clip(at seq.Data, p []byte) (seq.Data, []byte) {
	to := at.Add(len(p))
	if r.closed || !r.next.Less(to) || !at.Less(r.edge) {
		return at, nil
	}
	if r.edge.Less(to) { //spec:D11 off: if false {
		p = p[:r.edge.Sub(at)]
	}
	if at.Less(r.next) {
		return r.next, p[r.next.Sub(at):]
	}
	return at, p
}

// crowded reports whether a would be one run too many: it fills no hole at
// next and touches nothing that is there.
func (r *Recv) crowded(a seq.Range) bool {
	if len(r.late.Spans()) < MaxSpans || a.From == r.next {
		return false
	}
	wider := seq.Range{From: a.From - 1, To: a.To + 1}
	return r.late.Gap(wider) == wider
}

// store copies p into the chunks.
func (r *Recv) store(at seq.Data, p []byte) {
	if len(r.chunks) == 0 {
		r.from = r.next // what fills the hole before at will come here too
	}
	for len(p) > 0 {
		off := at.Sub(r.from)
		i := off / chunkSize
		for i >= len(r.chunks) {
			r.chunks = append(r.chunks, nil)
		}
		if r.chunks[i] == nil {
			r.chunks[i] = r.pool.take()
		}
		n := copy(r.chunks[i].mem[off%chunkSize:], p)
		p, at = p[n:], at.Add(n)
	}
}

// advance moves next over the run that begins there, if any.
func (r *Recv) advance() {
	if r.late.Empty() || r.late.Spans()[0].From != r.next {
		return
	}
	first := r.late.Spans()[0]
	r.late.Remove(first)
	r.lateLen -= first.Len()
	r.next = first.To
}

// Read moves readable octets to p and returns how many.
func (r *Recv) Read(p []byte) int {
	p = p[:min(len(p), r.Readable())]
	for rest := p; len(rest) > 0; {
		off := r.read.Sub(r.from)
		n := copy(rest, r.chunks[off/chunkSize].mem[off%chunkSize:])
		rest, r.read = rest[n:], r.read.Add(n)
	}
	if len(p) > 0 {
		r.release()
		r.openEdge()
	}
	return len(p)
}

// Peek returns the readable octets, as many as lie together in memory. They
// may be read without the lock, not changed, until Read or Discard takes them;
// what arrives meanwhile, and Close, leave them as they are.
func (r *Recv) Peek() []byte {
	n := r.Readable()
	if n == 0 {
		return nil
	}
	off := r.read.Sub(r.from)
	p := r.chunks[off/chunkSize].mem[off%chunkSize:]
	n = min(n, len(p))
	return p[:n:n]
}

// Discard takes the first n octets, which are readable: Read without the copy.
// After Close nothing happens.
func (r *Recv) Discard(n int) {
	if r.closed || n == 0 {
		return
	}
	if n > r.Readable() {
		panic("BUG: more was discarded than is readable")
	}
	r.read = r.read.Add(n)
	r.release()
	r.openEdge()
}

// release gives back the chunks that were read, and also the one that octets
// are still arriving in if there is nothing in it to keep.
func (r *Recv) release() {
	done := r.read.Sub(r.from) / chunkSize
	if r.read == r.next && r.late.Empty() {
		done = len(r.chunks)
	}
	for _, c := range r.chunks[:done] {
		r.pool.give(c) // never nil: what was read had arrived
	}
	r.chunks = slices.Delete(r.chunks, 0, done)
	r.from = r.from.Add(done * chunkSize)
}

// openEdge moves the right edge as far as the buffer allows, once that is
// worth telling the peer: the receiver's avoidance of the silly window
// syndrome (RFC 9293, Section 3.8.6.2.2). Nothing else moves it.
func (r *Recv) openEdge() {
	to := r.read.Add(r.size)
	if to.Sub(r.edge) >= min(r.size/2, maxEdgeStep) { //spec:T71 off: if true {
		r.edge = to
	}
}

// Extend makes room for all before to, even if that is more than the size: for
// what was allowed, or taken, elsewhere. The edge waits there until the size
// reaches beyond it.
func (r *Recv) Extend(to seq.Data) { r.edge = r.edge.Max(to) }

// Resize has the store buffer size octets from now on. If that is less than it
// did, what the peer may send already stays allowed: the right edge waits.
func (r *Recv) Resize(size int) {
	if r.closed || size == r.size {
		return
	}
	r.size = size
	r.openEdge()
}

// Size returns how many octets are buffered at most.
func (r *Recv) Size() int { return r.size }

// Next returns the first octet that has not arrived: everything before it has.
func (r *Recv) Next() seq.Data { return r.next }

// Readable returns how many octets Read could move now.
func (r *Recv) Readable() int { return r.next.Sub(r.read) }

// Edge returns the right edge: numbers at or beyond it are refused. It never
// moves left, and moves right as the application reads and with Grow (in steps that avoid
// the silly window syndrome: RFC 9293, Section 3.8.6.2.2).
func (r *Recv) Edge() seq.Data { return r.edge }

// End returns the number after the last octet that has arrived, beyond holes too.
func (r *Recv) End() seq.Data {
	if spans := r.late.Spans(); len(spans) > 0 {
		return spans[len(spans)-1].To
	}
	return r.next
}

// OutOfOrder returns how many octets wait beyond a hole.
func (r *Recv) OutOfOrder() int { return r.lateLen }

// Runs returns how many separate runs of octets wait beyond a hole: at most
// MaxSpans.
func (r *Recv) Runs() int { return len(r.late.Spans()) }

// Memory returns how many octets of memory the store holds, in whole chunks,
// spare ones included.
func (r *Recv) Memory() int { return r.pool.memory() }

// Age gives back the spare memory that was not needed since it was called
// last; to be called once in a while.
func (r *Recv) Age() { r.pool.age() }

// Trim gives all spare memory back.
func (r *Recv) Trim() { r.pool.trim() }

// Close gives all memory back; what was readable is gone. Next and Edge stay
// as they are.
func (r *Recv) Close() {
	r.closed = true
	r.offer = nil
	r.read = r.next
	r.late, r.lateLen = seq.Set[seq.Data]{}, 0
	r.chunks = nil
	r.pool.close()
}
