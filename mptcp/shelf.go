package mptcp

import (
	"sync"

	"github.com/mpnc/mpnc/mptcp/engine"
)

// shelf keeps the chunks of buffers that no connection needs for those that come:
// memory of 64 KiB is dear to make. The garbage collector clears it.
type shelf struct{ pool sync.Pool }

// Take implements engine.Shelf.
func (s *shelf) Take() *engine.Chunk {
	c, _ := s.pool.Get().(*engine.Chunk)
	return c
}

// Give implements engine.Shelf.
func (s *shelf) Give(c *engine.Chunk) { s.pool.Put(c) }
