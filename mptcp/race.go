//go:build race

package mptcp

import "github.com/mpnc/mpnc/internal/wire"

// poison overwrites a batch that was worked off, so that whoever kept a
// borrowed packet shows.
func poison(b *wire.Batch) {
	for i := range b.Pkts {
		pkt := b.Bytes(i)
		for j := range pkt {
			pkt[j] = 0xdb
		}
	}
}
