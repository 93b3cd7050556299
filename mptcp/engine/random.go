package engine

import (
	"encoding/binary"
	"io"
)

// rand64 draws from the Endpoint's source; a source that fails leaves no safe
// way to go on.
func rand64(r io.Reader) uint64 {
	var b [8]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		panic("BUG: the source of randomness failed: " + err.Error())
	}
	return binary.BigEndian.Uint64(b[:])
}

func rand32(r io.Reader) uint32 { return uint32(rand64(r) >> 32) }
