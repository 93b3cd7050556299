package netio

import (
	"net/netip"
	"sync"
)

// maxExact is how many pairs a receive filter lists. The filter is walked for
// every TCP packet of the host; beyond this it only bounds the ports, and the
// rest is looked up when the packet is read.
const maxExact = 64

// maxChanges is how often the filter lists pairs anew for ports that come and go:
// to translate a filter takes the kernel longer than all the rest of a new
// connection. After that it bounds the ports, which seldom needs a change.
const maxChanges = 16

const maxPort = 65535

// held is the set of address and port pairs whose guards we hold. An
// unspecified address stands for all of its family, and :: for both. The zero
// value holds nothing.
type held struct {
	mu     sync.RWMutex
	pairs  map[netip.AddrPort]struct{}
	v4, v6 ports // :: counts as both
}

// ports bounds the ports of the pairs of one family.
type ports struct {
	n      int    // pairs
	lo, hi uint32 // of all that were held since bound; hi is 0 if none was
}

func (p *ports) add(port uint32) {
	p.n++
	if p.hi == 0 {
		p.lo = port
	}
	p.lo, p.hi = min(p.lo, port), max(p.hi, port)
}

func (h *held) add(p netip.AddrPort) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pairs == nil {
		h.pairs = make(map[netip.AddrPort]struct{})
	}
	h.pairs[p] = struct{}{}
	h.count(p)
}

func (h *held) count(p netip.AddrPort) {
	if within(p, false) {
		h.v4.add(uint32(p.Port()))
	}
	if within(p, true) {
		h.v6.add(uint32(p.Port()))
	}
}

func (h *held) remove(p netip.AddrPort) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.pairs, p)
	if within(p, false) {
		h.v4.n--
	}
	if within(p, true) {
		h.v6.n--
	}
}

// bound takes the ranges of ports anew, of what is held now.
func (h *held) bound() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.v4, h.v6 = ports{}, ports{}
	for p := range h.pairs {
		h.count(p)
	}
}

// within reports whether segments of a family may be for p.
func within(p netip.AddrPort, v6 bool) bool {
	return p.Addr().Is6() == v6 || p.Addr() == netip.IPv6Unspecified()
}

// wanted returns what a receive filter has to let in: the pairs of its family,
// not nil, or if they are too many nil; and a range of ports that has them all.
func (h *held) wanted(v6 bool) (pairs []netip.AddrPort, lo, hi uint32) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	r := h.v4
	if v6 {
		r = h.v6
	}
	if r.n > maxExact {
		return nil, r.lo, r.hi
	}
	pairs = make([]netip.AddrPort, 0, r.n)
	if r.n == 0 { // and perhaps thousands of the other family
		return pairs, r.lo, r.hi
	}
	for p := range h.pairs {
		if within(p, v6) {
			pairs = append(pairs, p)
		}
	}
	return pairs, r.lo, r.hi
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
