package netio

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// A guard whose port nobody chose has it of the kernel, whose draw is that of
// RFC 6056: at random over its range, which no two draws give away; and never
// one that is taken, which those of subflows in TIME-WAIT are as long as their
// guards are held.
func TestT31_PortsAreDrawnAtRandom(t *testing.T) {
	const (
		draws, kept, bins = 4000, 200, 16
		limit             = 90 // chi-square with 15 degrees of freedom: once in 10^12
	)
	taken := make(map[uint16]bool)
	var ports []int
	r := &Raw{ns: new(namespace)}
	for i := range draws {
		g, err := r.openGuard(netip.MustParseAddrPort("127.0.0.1:0"), false)
		if err != nil {
			t.Fatal(err)
		}
		port := g.Local().Port()
		if taken[port] {
			t.Fatalf("port %d was drawn while it is held", port)
		}
		if i < kept {
			taken[port] = true
			t.Cleanup(func() { unix.Close(g.fd) })
		} else {
			unix.Close(g.fd)
		}
		ports = append(ports, int(port))
	}
	low, high := ports[0], ports[0]
	for _, p := range ports {
		low, high = min(low, p), max(high, p)
	}
	if high-low < 10000 {
		t.Errorf("ports from %d to %d only", low, high)
	}
	// Both where they lie, and how far the next one is.
	var where, step [bins]int
	span := high - low + 1
	for i, p := range ports[1:] {
		where[(p-low)*bins/span]++
		step[(p-ports[i]+span)%span*bins/span]++
	}
	for name, counts := range map[string][bins]int{"ports": where, "steps": step} {
		chi, want := 0.0, float64(draws-1)/bins
		for _, n := range counts {
			chi += (float64(n) - want) * (float64(n) - want) / want
		}
		if chi > limit {
			t.Errorf("%s: chi-square %.0f: %v", name, chi, counts)
		}
	}
}
