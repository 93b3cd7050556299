package mptcp

import (
	"testing"

	"github.com/mpnc/mpnc/mptcp/engine"
)

// What comes in first goes out last, and no more is kept than is worth it.
func TestShelf(t *testing.T) {
	var s shelf
	if s.Take() != nil {
		t.Fatal("something from nothing")
	}
	all := make([]*engine.Chunk, 2*maxSpare)
	for i := range all {
		all[i] = new(engine.Chunk)
		s.Give(all[i])
	}
	for i := maxSpare - 1; i >= 0; i-- {
		if s.Take() != all[i] {
			t.Fatalf("chunk %d is not the one that was given", i)
		}
	}
	if s.Take() != nil {
		t.Errorf("more than %d were kept", maxSpare)
	}
}
