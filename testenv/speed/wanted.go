package main

import "github.com/mpnc/mpnc/testenv/duel"

// ratio is something that is asked of mpnc: a figure of one cell by the same figure
// of another.
type ratio struct {
	what     string
	of, by   string // cells
	take     func(Sample) float64
	limit    float64
	smallest bool // the limit is the most, not the least
}

// ratios are all of them.
func ratios() []ratio {
	return []ratio{
		{"command to command, by OpenBSD nc over kernel MPTCP", "command/" + mpnc, "command/" + ncMPTCP, rate, 1.5, false},
		{"command to command, by socat, 256 KB, over kernel MPTCP", "command/" + mpnc, "command/" + socatMPTCP, rate, 1, false},
		{"library, by a Go program over kernel MPTCP", "bulk/" + mpnc, "bulk/" + kernelMPTCP, rate, 1, false},
		{"library, by gVisor's netstack over TCP", "bulk/" + mpnc, "bulk/" + gvisor, rate, 1.5, false},
		{"library, by quic-go", "bulk/" + mpnc, "bulk/" + quicGo, rate, 8, false},
		{"processor time per GB, by a Go program over kernel MPTCP", "bulk/" + mpnc, "bulk/" + kernelMPTCP, cpu, 1.2, true},
		{"the same, of the whole machine", "bulk/" + mpnc, "bulk/" + kernelMPTCP, machine, 1.2, true},
		{"offloads off, by gVisor's netstack with offloads off", "mtu/" + mpnc, "mtu/" + gvisor, rate, 0.8, false},
		{"word of 1 octet and echo, p50, by kernel MPTCP", "ping-1/" + mpnc, "ping-1/" + kernelMPTCP, p50, 1.5, true},
		{"word of 1,000 octets and echo, p50, by kernel MPTCP", "ping-1000/" + mpnc, "ping-1000/" + kernelMPTCP, p50, 1.5, true},
		{"opened and closed a second, by kernel MPTCP", "open-1/" + mpnc, "open-1/" + kernelMPTCP, opened, 0.5, false},
		{"opened and closed, 16 at once, by kernel MPTCP", "open-16/" + mpnc, "open-16/" + kernelMPTCP, opened, 0.5, false},
		{"1,000 connections at once, by one", "conns-1000/" + mpnc, "bulk/" + mpnc, rate, 0.8, false},
		{"eight paths, by two", "paths-8/" + mpnc, "bulk/" + mpnc, rate, 0.9, false},
	}
}

// measure returns the ratio of the medians, and that of each sample to the other
// cell's median; nothing where something is missing.
func (q ratio) measure(r *Results) (median float64, each []float64) {
	by := duel.Median(r.of(q.by, q.take))
	if by == 0 {
		return 0, nil
	}
	values := r.of(q.of, q.take)
	for _, v := range values {
		each = append(each, v/by)
	}
	return duel.Median(values) / by, each
}

// kept says whether a median is within the limit.
func (q ratio) kept(median float64) bool {
	if q.smallest {
		return median <= q.limit
	}
	return median >= q.limit
}

// mostIdle is how many octets of heap a connection at rest may take at one end.
const mostIdle = 16 << 10
