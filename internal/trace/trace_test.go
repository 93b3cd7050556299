package trace

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/mpnc/mpnc/internal/mono"
)

// An event is a few words without pointers: telling it costs copying them.
func TestEventIsFlat(t *testing.T) {
	if got, limit := unsafe.Sizeof(Event{}), uintptr(56); got > limit {
		t.Errorf("an Event takes %d octets, want at most %d", got, limit)
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Event]()) {
		if k := f.Type.Kind(); k > reflect.Uint64 {
			t.Errorf("field %s is a %s", f.Name, k)
		}
	}
}

// Every kind has a name of its own, a category, and words that fit an event.
func TestKindsAreNamed(t *testing.T) {
	name := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	seen := map[string]Kind{}
	for k := Kind(1); k < numKinds; k++ {
		if !name.MatchString(k.String()) {
			t.Errorf("kind %d is called %q", k, k)
		}
		if before, dup := seen[k.String()]; dup {
			t.Errorf("kinds %d and %d are both called %q", before, k, k)
		}
		seen[k.String()] = k
		if c := k.Category(); c != "mptcp" && c != "recovery" {
			t.Errorf("kind %v has category %q", k, c)
		}
		if len(k.Words()) > 4 {
			t.Errorf("kind %v has words %v", k, k.Words())
		}
	}
	for _, k := range []Kind{0, numKinds, 255} {
		if got, want := k.String(), fmt.Sprintf("kind_%d", uint8(k)); got != want || k.Category() != "mptcp" || len(k.Words()) != 4 {
			t.Errorf("unknown kind %d: %q, %q, %v", uint8(k), got, k.Category(), k.Words())
		}
	}
}

func TestEventString(t *testing.T) {
	for _, test := range []struct {
		event Event
		want  string
	}{
		{Event{At: 1_500_000_000, Conn: 3, Subflow: 1, Kind: Granted, A: 10, B: 1<<64 - 1}, "1.500000000 conn 3 path 1 granted from=10 to=18446744073709551615"},
		{Event{At: 7, Subflow: -1, Kind: HoldStart}, "0.000000007 conn 0 hold_start"},
		{Event{At: -1_000_000_001, Kind: TimeoutRTO, A: 2}, "-1.000000001 conn 0 path 0 timeout_rto backoff=2"},
		{Event{Subflow: -1, Kind: 200, A: 1, B: 2, C: 3, D: 4}, "0.000000000 conn 0 kind_200 a=1 b=2 c=3 d=4"},
	} {
		if got := test.event.String(); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

// fakeT records what a tracer tells a test.
type fakeT struct {
	logged, errors []string
	failed         bool
	cleanups       []func()
}

func (t *fakeT) Helper()                      {}
func (t *fakeT) Logf(f string, args ...any)   { t.logged = append(t.logged, fmt.Sprintf(f, args...)) }
func (t *fakeT) Errorf(f string, args ...any) { t.errors = append(t.errors, fmt.Sprintf(f, args...)) }
func (t *fakeT) Failed() bool                 { return t.failed }
func (t *fakeT) Cleanup(f func())             { t.cleanups = append(t.cleanups, f) }

var _ TB = (*testing.T)(nil)

func TestRingKeepsTheLast(t *testing.T) {
	for _, size := range []int{-1, 0, 1, 3, 10} {
		r := NewRing(size)
		var all []Event
		for i := range 25 {
			if want := all[max(0, len(all)-max(size, 1)):]; !slices.Equal(r.Events(), want) {
				t.Fatalf("size %d after %d events: %v, want %v", size, i, r.Events(), want)
			}
			e := Event{At: mono.Time(i), Kind: Granted}
			r.Trace(e)
			all = append(all, e)
		}
		if r.Told() != 25 {
			t.Errorf("Told() = %d, want 25", r.Told())
		}
	}
}

func TestRingDumpsOnFailureOnly(t *testing.T) {
	for _, failed := range []bool{false, true} {
		ft := &fakeT{failed: failed}
		r := NewRing(2)
		r.DumpOnFailure(ft)
		for i := range 3 {
			r.Trace(Event{At: mono.Time(i), Conn: 7, Subflow: -1, Kind: HoldStart})
		}
		for _, f := range ft.cleanups {
			f()
		}
		var want []string
		if failed {
			want = []string{"the last 2 of 3 events:", "0.000000001 conn 7 hold_start", "0.000000002 conn 7 hold_start"}
		}
		if !slices.Equal(ft.logged, want) {
			t.Errorf("failed %t: logged %q, want %q", failed, ft.logged, want)
		}
	}
}

func TestForbidFailsTheTestAtOnce(t *testing.T) {
	ft := &fakeT{}
	tr := Forbid(ft, TimeoutRTO, Fallback)
	tr.Trace(Event{Kind: Granted})
	if len(ft.errors) != 0 {
		t.Errorf("an event that is allowed: %q", ft.errors)
	}
	for i, k := range []Kind{Fallback, TimeoutRTO} {
		tr.Trace(Event{Kind: k})
		if len(ft.errors) != i+1 || !strings.Contains(ft.errors[i], k.String()) {
			t.Errorf("%v: errors %q", k, ft.errors)
		}
	}
}

func TestMulti(t *testing.T) {
	if got := Multi(nil, nil); got != nil {
		t.Errorf("of nothing: %v, want nil", got)
	}
	a, b := NewRing(5), NewRing(5)
	if got := Multi(nil, a); got != Tracer(a) {
		t.Errorf("of one: %v, want itself", got)
	}
	Multi(a, nil, b).Trace(Event{At: 4})
	if want := []Event{{At: 4}}; !slices.Equal(a.Events(), want) || !slices.Equal(b.Events(), want) {
		t.Errorf("of two: told %v and %v", a.Events(), b.Events())
	}
}

func TestTracingDoesNotAllocate(t *testing.T) {
	tr := Multi(NewRing(8), Forbid(t, Failed))
	if n := testing.AllocsPerRun(100, func() { tr.Trace(Event{Kind: Granted}) }); n != 0 {
		t.Errorf("%v allocations an event", n)
	}
}
