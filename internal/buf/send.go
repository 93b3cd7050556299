// Package buf has the byte stores of a connection, addressed by data sequence
// number. They are the only copy of the application's bytes in the stack.
//
// Memory is taken in chunks as octets come and given back as they go: a store
// that has never been used holds none. Chunks that were given back wait for the
// next octets; those that were not needed between two calls of Age go, and all
// go with Trim.
//
// A store belongs to its connection: callers serialise. What is lent of it
// (Send.Lend) leaves the connection's lock, and comes back without it.
package buf

import (
	"fmt"
	"slices"

	"github.com/mpnc/mpnc/internal/seq"
)

// Send holds what the application wrote until it is acknowledged, and beyond
// that while a subflow's records refer to it: an octet may be freed only once
// it is acknowledged by DATA_ACK and on every subflow that sent it
// (RFC 8684, Section 3.3.6).
//
//	           una                    end
//	──┬─────────┼──────┬─────────┬─────┼───
//	  │ kept?   │ live │  live   │ live│
//	──┴─────────┴──────┴─────────┴─────┴───
//
// Chunks from the one with una in it to the one being filled are live and
// adjoin. Those before are kept only while pinned, so that a silent path pins
// its own flight and not everything that other paths have delivered since.
type Send struct {
	una, end seq.Data
	size     int
	kept     []sendChunk // wholly below una and pinned; ascending, with gaps
	live     []sendChunk // adjoining, all but the last full
	pool     pool
	reserved bool // somebody fills memory after end
	closed   bool
}

// sendChunk is a chunk with its place in the stream.
type sendChunk struct {
	from seq.Data // number of its first octet
	pins int      // pins of all its octets together
	*Chunk
}

func (c *sendChunk) to() seq.Data { return c.from.Add(chunkSize) }

// NewSend returns a store whose first octet will have number start; it takes
// at most size octets that are not acknowledged (by DATA_ACK).
func NewSend(start seq.Data, size int) *Send {
	return &Send{una: start, end: start, size: max(size, 0)}
}

// Write appends as much of p as fits and returns how much that was. It takes
// nothing after Close.
func (s *Send) Write(p []byte) int {
	p = p[:min(len(p), s.Free())]
	for rest := p; len(rest) > 0; {
		n := copy(s.space(), rest)
		s.end = s.end.Add(n)
		rest = rest[n:]
	}
	return len(p)
}

// space returns the memory of the next octets, as far as it lies together.
func (s *Send) space() []byte {
	if s.reserved {
		panic("BUG: memory that is reserved was written to")
	}
	if n := len(s.live); n == 0 || s.live[n-1].to() == s.end {
		s.live = append(s.live, sendChunk{from: s.end, Chunk: s.pool.take()})
	}
	last := &s.live[len(s.live)-1]
	return last.mem[s.end.Sub(last.from):]
}

// Reserve returns memory for the octets that come next, as much of n as lies
// together and as Write would take; nil if it would take none. It may be
// filled without the lock until Commit, which has to follow, and before which
// neither Write nor Reserve may be called. If the Send is closed meanwhile the
// memory is only good for nothing.
func (s *Send) Reserve(n int) []byte {
	n = min(n, s.Free())
	if n <= 0 {
		return nil
	}
	p := s.space()
	s.reserved = true
	n = min(n, len(p))
	return p[:n:n]
}

// Commit appends the first n octets of what Reserve returned, and ends the
// reservation. After Close nothing happens.
func (s *Send) Commit(n int) {
	if s.closed {
		return
	}
	s.reserved = false
	s.end = s.end.Add(n)
	s.freeLast()
}

// CopyAt copies len(dst) octets from number at; they must be held: written,
// and not yet acknowledged or else pinned.
func (s *Send) CopyAt(dst []byte, at seq.Data) {
	for len(dst) > 0 {
		c := s.find(at)
		have := s.end.Min(c.to()).Sub(at)
		n := copy(dst[:min(len(dst), have)], c.mem[at.Sub(c.from):])
		dst, at = dst[n:], at.Add(n)
	}
}

// At returns octets from number at on, as many of n as lie together in memory:
// one at least. They must be held, and are lent until the next change.
func (s *Send) At(at seq.Data, n int) []byte {
	c := s.find(at)
	have := s.end.Min(c.to()).Sub(at)
	return c.mem[at.Sub(c.from):][:min(n, have)]
}

// Lend appends to dst the pieces of memory that hold r, in order, and returns
// it: one, or two if r crosses from one chunk to the next and is not longer than
// a chunk. All of r must be held. The pieces may be read without the lock, by
// any goroutine, until each is returned, once (Piece.Return); until then their
// memory is not used for other octets, even if r is acknowledged meanwhile or
// the Send closed. Octets written later never share a piece.
func (s *Send) Lend(dst []Piece, r seq.Range) []Piece {
	for !r.Empty() {
		c := s.find(r.From)
		n := r.To.Min(c.to()).Min(s.end).Sub(r.From)
		off := r.From.Sub(c.from)
		c.lent.Add(1)
		dst = append(dst, Piece{Bytes: c.mem[off : off+n : off+n], chunk: c.Chunk})
		r.From = r.From.Add(n)
	}
	return dst
}

// find returns the chunk that holds octet at, until the next change.
func (s *Send) find(at seq.Data) *sendChunk {
	if len(s.live) > 0 && s.live[0].from.LessEq(at) && at.Less(s.end) {
		return &s.live[at.Sub(s.live[0].from)/chunkSize]
	}
	if i := s.search(at); i < len(s.kept) && s.kept[i].from.LessEq(at) {
		return &s.kept[i]
	}
	panic(fmt.Sprintf("BUG: octet %d is not held: una %d, end %d, closed %t", at, s.una, s.end, s.closed))
}

// search returns the index of the first kept chunk that ends after at.
func (s *Send) search(at seq.Data) int {
	lo, hi := 0, len(s.kept)
	for lo < hi {
		if mid := (lo + hi) / 2; at.Less(s.kept[mid].to()) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// Pin says that a subflow's records refer to r; octets below Una are kept
// while they are pinned. Pins count, octet by octet: the same range may be
// pinned by several subflows, and unpinned in other pieces than it was pinned.
// All of r must be held. After Close nothing happens.
func (s *Send) Pin(r seq.Range) { s.pin(r, 1) }

// Unpin takes one pin of r back. After Close nothing happens.
func (s *Send) Unpin(r seq.Range) { s.pin(r, -1) }

func (s *Send) pin(r seq.Range, count int) {
	for !s.closed && !r.Empty() {
		c := s.find(r.From)
		to := r.To.Min(c.to()).Min(s.end)
		c.pins += count * to.Sub(r.From)
		if c.pins < 0 {
			panic(fmt.Sprintf("BUG: unpinned more than was pinned, up to octet %d", to))
		}
		if c.pins == 0 {
			s.free(c)
		}
		r.From = to
	}
}

// free gives back the chunk c if nobody needs it any more; c is not pinned.
func (s *Send) free(c *sendChunk) {
	if c.from.Less(s.una) && c.to().LessEq(s.una) {
		i := s.search(c.from)
		s.pool.give(c.Chunk)
		s.kept = slices.Delete(s.kept, i, i+1)
		return
	}
	s.freeLast()
}

// freeLast gives back the chunk being filled if its octets are all
// acknowledged, none is pinned, and nobody fills it: the next Write starts
// another.
func (s *Send) freeLast() {
	if !s.reserved && s.una == s.end && len(s.live) == 1 && s.live[0].pins == 0 {
		s.pool.give(s.live[0].Chunk)
		s.live = slices.Delete(s.live, 0, 1)
	}
}

// Ack says that everything before una was acknowledged at connection level.
// What is older than Una changes nothing; what is beyond End (a DATA_FIN takes
// a number after the last octet) counts as End.
func (s *Send) Ack(una seq.Data) {
	una = una.Min(s.end)
	if s.closed || !s.una.Less(una) {
		return
	}
	s.una = una
	done := 0
	for done < len(s.live) && s.live[done].to().LessEq(una) {
		if c := s.live[done]; c.pins > 0 { //spec:D15 off: if c := s.live[done]; false {
			s.kept = append(s.kept, c)
		} else {
			s.pool.give(c.Chunk)
		}
		done++
	}
	s.live = slices.Delete(s.live, 0, done)
	s.freeLast()
}

// Una returns the first octet not acknowledged.
func (s *Send) Una() seq.Data { return s.una }

// End returns the number after the last octet written.
func (s *Send) End() seq.Data { return s.end }

// Free returns how many octets Write would take.
func (s *Send) Free() int {
	if s.closed {
		return 0
	}
	return s.size - s.end.Sub(s.una)
}

// Size returns how many octets may wait for their DATA_ACK.
func (s *Send) Size() int { return s.size }

// Pinned returns how many octets below Una are kept for their pins, rounded up
// to chunks. They do not count against what Write takes.
func (s *Send) Pinned() int { return len(s.kept) * chunkSize }

// Memory returns how many octets of memory the store holds, in whole chunks,
// spare ones and those that are only lent included.
func (s *Send) Memory() int { return s.pool.memory() }

// Age gives back the spare memory that was not needed since it was called
// last; to be called once in a while.
func (s *Send) Age() { s.pool.age() }

// Trim gives all spare memory back.
func (s *Send) Trim() { s.pool.trim() }

// Close gives all memory back, but for what is lent: that goes when it is
// returned. Una and End stay as they are.
func (s *Send) Close() {
	s.closed = true
	s.kept, s.live = nil, nil
	s.pool.close()
}
