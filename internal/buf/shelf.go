package buf

// Shelf keeps chunks for several stores, so that a connection that begins finds
// those that others have done with. Its methods may be called by any goroutine.
type Shelf interface {
	// Take returns a chunk that was given, nil if there is none. What is in it is
	// of no meaning.
	Take() *Chunk
	// Give takes a chunk that nobody uses.
	Give(*Chunk)
}

// Share has the store take its chunks from a shelf, and give those back to it that
// it lets go of. It is called before the store is used.
func (s *Send) Share(shelf Shelf) { s.pool.shelf = shelf }

// Share is as Send's.
func (r *Recv) Share(shelf Shelf) { r.pool.shelf = shelf }
