package mptcp

import (
	"sync"

	"github.com/mpnc/mpnc/mptcp/engine"
)

// maxSpare is how many chunks the shelf keeps: 1 MiB. A sync.Pool would keep all
// that a thousand connections had until the garbage collector has run twice, which
// in a process that is idle takes minutes.
const maxSpare = 16

// shelf keeps some of the chunks of buffers that no connection needs for those that
// come: memory of 64 KiB is dear to make.
type shelf struct {
	mu    sync.Mutex // leaf
	spare []*engine.Chunk
}

// Take implements engine.Shelf.
func (s *shelf) Take() *engine.Chunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.spare)
	if n == 0 {
		return nil
	}
	c := s.spare[n-1]
	s.spare[n-1] = nil
	s.spare = s.spare[:n-1]
	return c
}

// Give implements engine.Shelf.
func (s *shelf) Give(c *engine.Chunk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.spare) < maxSpare {
		s.spare = append(s.spare, c)
	}
}
