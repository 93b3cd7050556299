package mptcp

import (
	"sync/atomic"

	"github.com/mpnc/mpnc/internal/wire"
)

// drops is how many reasons of wire.Drop are counted apart; others together.
const drops = 16

// counters are those of one direction.
type counters struct{ packets, octets, errors atomic.Uint64 }

// stackCounters are written by all goroutines of the stack.
type stackCounters struct {
	rx, tx           counters
	dropped          [drops]atomic.Uint64
	ignored          atomic.Uint64
	strays, foreign  atomic.Uint64
	dialed, accepted atomic.Uint64
	refusedPaths     atomic.Uint64
	cookies          atomic.Uint64
	icmp             atomic.Uint64
}

func (st *stackCounters) drop(why wire.Drop) { st.dropped[min(int(why), drops-1)].Add(1) }

// StackStats is a snapshot of a Stack's counters. A train counts as one packet.
type StackStats struct {
	RxPackets, RxBytes uint64
	TxPackets, TxBytes uint64
	TxErrors           uint64 // batches that a device did not take

	// Dropped counts packets that did not reach TCP, by reason.
	Dropped map[string]uint64
	// Ignored counts segments for addresses and ports that are not this
	// stack's, or refused at a listener.
	Ignored uint64
	// Strays counts segments for an address and port of this stack, but no
	// connection; Foreign those of them that the host's own TCP answers.
	Strays, Foreign uint64

	// ICMP counts errors about this stack's segments.
	ICMP uint64

	Dialed, Accepted uint64 // connections tried and handed to listeners
	Conns            int    // in the stack now, in any state
	Listeners        int
	Guards           int    // local addresses and ports held
	RefusedPaths     uint64 // paths that found no route or port
	Cookies          uint64 // SYNs answered without keeping anything
}

// Stats returns a snapshot.
func (s *Stack) Stats() StackStats {
	st := &s.stats
	out := StackStats{
		RxPackets: st.rx.packets.Load(), RxBytes: st.rx.octets.Load(),
		TxPackets: st.tx.packets.Load(), TxBytes: st.tx.octets.Load(),
		TxErrors: st.tx.errors.Load(),
		Dropped:  make(map[string]uint64),
		Ignored:  st.ignored.Load(),
		Strays:   st.strays.Load(), Foreign: st.foreign.Load(),
		Dialed: st.dialed.Load(), Accepted: st.accepted.Load(),
		ICMP:         st.icmp.Load(),
		RefusedPaths: st.refusedPaths.Load(),
		Cookies:      st.cookies.Load(),
	}
	for i := range st.dropped {
		if n := st.dropped[i].Load(); n > 0 {
			out.Dropped[wire.Drop(i).String()] = n
		}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	out.Conns, out.Listeners, out.Guards = len(s.conns), len(s.listeners), len(s.guards)
	return out
}
