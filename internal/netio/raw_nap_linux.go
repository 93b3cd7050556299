package netio

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/mpnc/mpnc/internal/mono"
)

// While much arrives the reader is not woken for each train, as a network
// interface is not made to interrupt for each packet: whoever has taken all there
// was has a nap, and takes together what came meanwhile. To be woken costs the
// sender, or the interrupt, as much as a third of the train's copy, most of all in
// a virtual machine; and the acknowledgments of what is taken together are one.
const (
	// napOctets within napTime is much: 10 Gb/s. Below, a nap would only be a delay.
	napOctets = 128 << 10
	napTime   = 100 * time.Microsecond
	// nap is what is asked for. The kernel adds as much as its timers are slack, 50 µs
	// as a rule.
	nap = 20 * time.Microsecond
)

// flood finds out whether much arrives.
type flood struct {
	since  mono.Time
	octets int
}

func (f *flood) add(octets int) { f.octets += octets }

// high reports whether so much arrived since it was called last that a nap pays.
func (f *flood) high(now mono.Time) bool {
	elapsed := now.Sub(f.since)
	high := f.octets >= napOctets && time.Duration(f.octets)*napTime >= napOctets*elapsed
	f.since, f.octets = now, 0
	return high
}

// doze sleeps for a moment, and reports whether anything came meanwhile.
func (r *Raw) doze(s *rxSocket) bool {
	t := unix.NsecToTimespec(int64(nap))
	_ = unix.Nanosleep(&t, nil)
	return r.receive(s)
}
