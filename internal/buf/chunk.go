package buf

import "sync/atomic"

// chunkSize is the unit of memory: about one train, and a whole number of
// pages, so that the allocator wastes nothing on it.
const chunkSize = 64 << 10

// Chunk is memory that goes round: taken, given back, taken again. The octets
// stand apart, so that they are whole pages.
type Chunk struct {
	mem *[chunkSize]byte // no pointers: the garbage collector does not look inside
	// lent counts the Pieces of it that somebody has. It grows under the
	// store's lock, and only while a store holds the chunk; it falls anywhere.
	lent atomic.Int32
}

// Piece is octets of a Send that are lent to somebody who reads them without
// its lock. They stay as they are until he returns them, whatever becomes of
// the Send. One that somebody else made belongs to no Send.
type Piece struct {
	Bytes []byte // not to be changed
	chunk *Chunk
}

// Return gives the piece back, once. It may be called by any goroutine, and
// needs no lock.
func (p Piece) Return() {
	if p.chunk != nil && p.chunk.lent.Add(-1) < 0 {
		panic("BUG: a piece was returned twice")
	}
}

// pool makes chunks and keeps those that came back, the one used last on top,
// where the processor's caches still have it. It belongs to one store. What it
// keeps is at most what was in use at one time; age and trim make it less.
type pool struct {
	shelf Shelf // nil: none
	spare []*Chunk
	lent  []*Chunk // came back, but somebody still has pieces of them
	out   int      // chunks taken and not given back
	low   int      // the least there was in spare since age was called
}

func (p *pool) take() *Chunk {
	p.out++
	if len(p.spare) == 0 {
		p.settle()
	}
	n := len(p.spare)
	if n == 0 {
		return p.fresh()
	}
	c := p.spare[n-1]
	p.spare[n-1] = nil
	p.spare = p.spare[:n-1]
	p.low = min(p.low, n-1)
	return c
}

// fresh returns a chunk that was not this store's.
func (p *pool) fresh() *Chunk {
	if p.shelf != nil {
		if c := p.shelf.Take(); c != nil {
			return c
		}
	}
	return &Chunk{mem: new([chunkSize]byte)}
}

func (p *pool) give(c *Chunk) {
	p.out--
	if c.lent.Load() == 0 {
		p.spare = append(p.spare, c)
	} else {
		p.lent = append(p.lent, c)
	}
}

// settle makes those spare whose pieces were all returned meanwhile. No piece
// of them is lent anew: no store holds them.
func (p *pool) settle() {
	still := p.lent[:0]
	for _, c := range p.lent {
		if c.lent.Load() == 0 {
			p.spare = append(p.spare, c)
		} else {
			still = append(still, c)
		}
	}
	clear(p.lent[len(still):])
	p.lent = still
}

// age lets go of as many chunks as there were to spare at all times since it
// was called last, those first that were not used for longest.
func (p *pool) age() {
	p.settle()
	n := min(p.low, len(p.spare))
	p.letGo(p.spare[:n])
	kept := copy(p.spare, p.spare[n:])
	clear(p.spare[kept:])
	p.spare = p.spare[:kept]
	p.low = kept
}

// trim lets go of the chunks that are not in use, and of those that are lent:
// they live until they are returned.
func (p *pool) trim() {
	p.settle()
	p.letGo(p.spare)
	p.spare, p.lent, p.low = nil, nil, 0
}

// letGo gives chunks to the others, if there are any.
func (p *pool) letGo(spare []*Chunk) {
	if p.shelf == nil {
		return
	}
	for _, c := range spare {
		p.shelf.Give(c)
	}
}

// close is trim for good. The chunks that are in use go, too, but to nobody else:
// somebody may still read or fill them.
func (p *pool) close() {
	p.trim()
	p.out = 0
}

// memory returns the octets of all chunks, in use, lent or spare.
func (p *pool) memory() int { return (p.out + len(p.spare) + len(p.lent)) * chunkSize }
