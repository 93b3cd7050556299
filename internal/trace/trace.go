// Package trace has what the core tells about itself: flat events, and tracers
// that keep or judge them. Like the core it has no lock: a tracer belongs to
// whoever calls it. Writers of files, which have locks, are in tracefile.
package trace

import (
	"strconv"

	"github.com/mpnc/mpnc/internal/mono"
)

// Event is passed by value and has no pointers.
type Event struct {
	At         mono.Time
	Conn       uint32 // number of the connection in its endpoint
	Subflow    int16  // path id, -1 for the connection itself
	Kind       Kind
	A, B, C, D uint64
}

// Tracer is told of events; it must not call back into the core.
type Tracer interface{ Trace(Event) }

// Word returns A, B, C or D for i from 0 to 3.
func (e Event) Word(i int) uint64 { return [...]uint64{e.A, e.B, e.C, e.D}[i] }

// String returns the event as a line: "1.500000000 conn 3 path 1 granted
// from=10 to=20".
func (e Event) String() string {
	b := e.appendTime(make([]byte, 0, 80))
	b = strconv.AppendUint(append(b, " conn "...), uint64(e.Conn), 10)
	if e.Subflow >= 0 {
		b = strconv.AppendInt(append(b, " path "...), int64(e.Subflow), 10)
	}
	b = append(append(b, ' '), e.Kind.String()...)
	for i, name := range e.Kind.Words() {
		b = append(append(append(b, ' '), name...), '=')
		b = strconv.AppendUint(b, e.Word(i), 10)
	}
	return string(b)
}

// appendTime appends At in seconds, exactly.
func (e Event) appendTime(b []byte) []byte {
	const second = 1e9
	ns := int64(e.At)
	if ns < 0 {
		b, ns = append(b, '-'), -ns
	}
	b = strconv.AppendInt(b, ns/second, 10)
	whole := len(b)
	b = strconv.AppendInt(b, second+ns%second, 10)
	b[whole] = '.' // in place of the 1 that kept leading zeros
	return b
}
