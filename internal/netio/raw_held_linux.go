package netio

import (
	"net/netip"
	"sync"
)

// maxExact is how many pairs a receive filter lists. The filter is walked for
// every TCP packet of the host; beyond this it only bounds the ports, and the
// rest is looked up when the packet is read.
const maxExact = 64

const maxPort = 65535

// held is the set of address and port pairs whose guards we hold. An
// unspecified address stands for all of its family, and :: for both. The zero
// value holds nothing.
type held struct {
	mu    sync.RWMutex
	pairs map[netip.AddrPort]struct{}
	n4    int // pairs of IPv4, :: included
	n6    int // pairs of IPv6
}

func (h *held) add(p netip.AddrPort) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pairs == nil {
		h.pairs = make(map[netip.AddrPort]struct{})
	}
	h.pairs[p] = struct{}{}
	h.count(p, 1)
}

func (h *held) remove(p netip.AddrPort) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.pairs, p)
	h.count(p, -1)
}

func (h *held) count(p netip.AddrPort, by int) {
	if p.Addr().Is4() || p.Addr().IsUnspecified() {
		h.n4 += by
	}
	if p.Addr().Is6() {
		h.n6 += by
	}
}

// wanted returns what a receive filter has to let in: the pairs of its family,
// not nil, or if they are too many the range of their ports.
func (h *held) wanted(v6 bool) (pairs []netip.AddrPort, lo, hi uint32) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	n := h.n4
	if v6 {
		n = h.n6
	}
	if n <= maxExact {
		pairs = make([]netip.AddrPort, 0, n)
	}
	lo = maxPort
	for p := range h.pairs {
		if p.Addr().Is6() != v6 && p.Addr() != netip.IPv6Unspecified() {
			continue
		}
		lo, hi = min(lo, uint32(p.Port())), max(hi, uint32(p.Port()))
		if pairs != nil {
			pairs = append(pairs, p)
		}
	}
	return pairs, lo, hi
}

// has reports whether segments for p are ours.
func (h *held) has(p netip.AddrPort) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if _, ok := h.pairs[p]; ok {
		return true
	}
	if _, ok := h.pairs[netip.AddrPortFrom(netip.IPv6Unspecified(), p.Port())]; ok {
		return true
	}
	if !p.Addr().Is4() {
		return false
	}
	_, ok := h.pairs[netip.AddrPortFrom(netip.IPv4Unspecified(), p.Port())]
	return ok
}
