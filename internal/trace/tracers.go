package trace

// TB is what tracers need of a *testing.T.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Failed() bool
	Cleanup(func())
}

// Ring is a tracer that keeps the last events. Create it with NewRing.
type Ring struct {
	events []Event
	told   uint64 // events so far, those no longer kept included
}

// NewRing returns a tracer that keeps the last n events (at least one).
func NewRing(n int) *Ring { return &Ring{events: make([]Event, max(n, 1))} }

// Trace keeps e in place of the oldest.
func (r *Ring) Trace(e Event) {
	r.events[r.told%uint64(len(r.events))] = e
	r.told++
}

// Told returns how many events came, those no longer kept included.
func (r *Ring) Told() uint64 { return r.told }

// Events returns a copy of the events kept, the oldest first.
func (r *Ring) Events() []Event {
	n := uint64(len(r.events))
	if r.told <= n {
		return append([]Event(nil), r.events[:r.told]...)
	}
	oldest := r.told % n
	return append(append([]Event(nil), r.events[oldest:]...), r.events[:oldest]...)
}

// Dump logs the events kept, one a line.
func (r *Ring) Dump(t TB) {
	t.Helper()
	kept := r.Events()
	t.Logf("the last %d of %d events:", len(kept), r.told)
	for _, e := range kept {
		t.Logf("%v", e)
	}
}

// DumpOnFailure makes the test log the events kept when it ends, if it failed.
func (r *Ring) DumpOnFailure(t TB) {
	t.Cleanup(func() {
		if t.Failed() {
			r.Dump(t)
		}
	})
}

// Forbid returns a tracer that fails the test the moment one of kinds happens.
func Forbid(t TB, kinds ...Kind) Tracer {
	f := &forbid{t: t}
	for _, k := range kinds {
		f.kinds[k] = true
	}
	return f
}

type forbid struct {
	t     TB
	kinds [256]bool
}

func (f *forbid) Trace(e Event) {
	if f.kinds[e.Kind] {
		f.t.Helper()
		f.t.Errorf("forbidden event: %v", e)
	}
}

// Multi returns a tracer that tells all of tracers, in their order. Nil ones
// are left out; of none it returns nil, so that the core asks nobody.
func Multi(tracers ...Tracer) Tracer {
	var m multi
	for _, t := range tracers {
		if t != nil {
			m = append(m, t)
		}
	}
	switch len(m) {
	case 0:
		return nil
	case 1:
		return m[0]
	}
	return m
}

type multi []Tracer

func (m multi) Trace(e Event) {
	for _, t := range m {
		t.Trace(e)
	}
}
