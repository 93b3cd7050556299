package buf

// chunkSize is the unit of memory: about one train, and a whole number of
// pages, so that the allocator wastes nothing on it.
const chunkSize = 64 << 10

// maxSpare is how many unused chunks a store keeps for its next octets: enough
// that a store that breathes by a few trains does not allocate, and little
// enough that one that stopped costs no more than this.
const maxSpare = 4

// chunk has no pointers: the garbage collector does not look inside.
type chunk [chunkSize]byte

// pool makes chunks and keeps a few that came back. It belongs to one store.
type pool struct {
	spare []*chunk
	out   int // chunks taken and not given back
}

func (p *pool) take() *chunk {
	p.out++
	if n := len(p.spare); n > 0 {
		c := p.spare[n-1]
		p.spare[n-1] = nil
		p.spare = p.spare[:n-1]
		return c
	}
	return new(chunk)
}

func (p *pool) give(c *chunk) {
	p.out--
	if len(p.spare) < maxSpare {
		p.spare = append(p.spare, c)
	}
}

// trim lets go of the chunks that are not in use.
func (p *pool) trim() {
	clear(p.spare)
	p.spare = p.spare[:0]
}

// memory returns the octets of all chunks, in use or spare.
func (p *pool) memory() int { return (p.out + len(p.spare)) * chunkSize }
