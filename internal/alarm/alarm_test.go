package alarm

import (
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
)

// both runs f with either kind of alarm on the real clock.
func both(t *testing.T, f func(t *testing.T, a *Alarm, now func() mono.Time)) {
	for name, create := range map[string]func(func() mono.Time) *Alarm{"New": New, "Portable": Portable} {
		t.Run(name, func(t *testing.T) {
			now := clock()
			a := create(now)
			defer a.Close()
			f(t, a, now)
		})
	}
}

func clock() func() mono.Time {
	epoch := time.Now()
	return func() mono.Time { return mono.Time(time.Since(epoch)) }
}

// wait is Wait, given up after a time that only a lost wake-up needs.
func wait(t *testing.T, a *Alarm) error {
	t.Helper()
	woke := make(chan error, 1)
	go func() { woke <- a.Wait() }()
	select {
	case err := <-woke:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("Wait does not return")
		return nil
	}
}

// wantWake waits and checks that it is not before at.
func wantWake(t *testing.T, a *Alarm, now func() mono.Time, at mono.Time) {
	t.Helper()
	if err := wait(t, a); err != nil {
		t.Fatalf("Wait: %v", err)
	}
	if n := now(); n < at {
		t.Fatalf("woke %v early", at.Sub(n))
	}
}

func TestWakesOneAfterAnother(t *testing.T) {
	both(t, func(t *testing.T, a *Alarm, now func() mono.Time) {
		for _, d := range []time.Duration{time.Millisecond, 0, 50 * time.Microsecond, 3 * time.Millisecond, -time.Hour, 1} {
			at := now().Add(d)
			a.Reset(at)
			wantWake(t, a, now, at)
		}
	})
}

// watched tells when the waiter goes to wait on the timer.
type watched struct {
	timer
	waiting chan struct{}
}

func (w watched) wait() {
	select {
	case w.waiting <- struct{}{}:
	default:
	}
	w.timer.wait()
}

// startWait calls Wait in a goroutine and returns when that has got to the
// timer. Nobody may have used a before.
func startWait(a *Alarm) (woke chan error) {
	waiting := make(chan struct{}, 1)
	a.timer = watched{a.timer, waiting}
	woke = make(chan error, 1)
	go func() { woke <- a.Wait() }()
	<-waiting
	return woke
}

// counted counts how often the waiter goes to wait on the timer.
type counted struct {
	timer
	waits int
}

func (c *counted) wait() {
	c.waits++
	c.timer.wait()
}

func TestWaitSleepsOnce(t *testing.T) {
	both(t, func(t *testing.T, a *Alarm, now func() mono.Time) {
		c := &counted{timer: a.timer}
		a.timer = c
		at := now().Add(5 * time.Millisecond)
		a.Reset(at)
		wantWake(t, a, now, at)
		if c.waits > 2 { // a second time should the clocks differ by a hair
			t.Errorf("went to sleep %d times for one deadline", c.waits)
		}
	})
}

func TestTimeThatHasPassedIsDueAtOnce(t *testing.T) {
	both(t, func(t *testing.T, a *Alarm, now func() mono.Time) {
		a.Reset(0)
		wantWake(t, a, now, 0)
		at := now().Add(5 * time.Millisecond)
		a.Reset(at) // what the timer did for the first must not end this wait
		wantWake(t, a, now, at)
	})
}

func TestEarlierResetWakesTheWaiter(t *testing.T) {
	both(t, func(t *testing.T, a *Alarm, now func() mono.Time) {
		woke := startWait(a)
		a.Reset(now().Add(time.Hour))
		at := now().Add(2 * time.Millisecond)
		a.Reset(at)
		if err := <-woke; err != nil || now() < at {
			t.Errorf("Wait: %v, %v before the time", err, at.Sub(now()))
		}
	})
}

func TestLaterResetChangesNothing(t *testing.T) {
	both(t, func(t *testing.T, a *Alarm, now func() mono.Time) {
		at := now().Add(time.Millisecond)
		a.Reset(at)
		a.Reset(at.Add(time.Hour))
		a.Reset(mono.Never)
		wantWake(t, a, now, at)
	})
}

func TestCloseEndsWait(t *testing.T) {
	both(t, func(t *testing.T, a *Alarm, now func() mono.Time) {
		woke := startWait(a)
		a.Reset(now().Add(time.Hour))
		a.Close()
		if err := <-woke; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Wait: %v, want net.ErrClosed", err)
		}
		a.Close()
		a.Reset(0)
		if err := wait(t, a); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Wait after Close: %v, want net.ErrClosed", err)
		}
	})
}

// A clock that stands still between its ticks is behind the timer's when the
// timer runs out: the alarm must neither wake early nor be lost.
func TestCoarseClock(t *testing.T) {
	const tick = mono.Time(8 * time.Millisecond)
	for name, create := range map[string]func(func() mono.Time) *Alarm{"New": New, "Portable": Portable} {
		t.Run(name, func(t *testing.T) {
			fine := clock()
			coarse := func() mono.Time { return fine() / tick * tick }
			a := create(coarse)
			defer a.Close()
			for range 5 {
				at := coarse().Add(9 * time.Millisecond)
				a.Reset(at)
				wantWake(t, a, coarse, at)
			}
		})
	}
}

// Many goroutines add deadlines as the driver's connections do; the waiter
// serves each, none early, none forgotten.
func TestEveryDeadlineIsServed(t *testing.T) {
	both(t, func(t *testing.T, a *Alarm, now func() mono.Time) {
		const workers, each = 4, 50
		var mu sync.Mutex
		pending := map[mono.Time]int{}
		var adders sync.WaitGroup
		for w := range workers {
			adders.Go(func() {
				for i := range each {
					at := now().Add(time.Duration((i*7+w)%10) * 200 * time.Microsecond)
					mu.Lock()
					pending[at]++
					mu.Unlock()
					a.Reset(at)
				}
			})
		}
		for served := 0; served < workers*each; {
			if err := wait(t, a); err != nil {
				t.Fatalf("Wait: %v", err)
			}
			next := mono.Never
			mu.Lock()
			for at, n := range pending {
				if at <= now() {
					served += n
					delete(pending, at)
				} else {
					next = next.Earliest(at)
				}
			}
			mu.Unlock()
			a.Reset(next)
		}
		adders.Wait()
	})
}

// In a bubble the portable alarm wakes at its time to the nanosecond.
func TestPortableInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := clock()
		a := Portable(now)
		defer a.Close()
		for _, d := range []time.Duration{1, time.Millisecond, time.Hour, 0} {
			at := now().Add(d)
			a.Reset(at)
			a.Reset(at.Add(time.Second))
			if err := a.Wait(); err != nil || now() != at {
				t.Errorf("Wait: %v at %d, want %d", err, now(), at)
			}
		}
	})
}

// A waiter that nobody wakes waits; an earlier Reset then wakes it, exactly.
func TestPortableWaitsForReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := clock()
		a := Portable(now)
		defer a.Close()
		a.Reset(0)
		if err := a.Wait(); err != nil {
			t.Fatalf("Wait: %v", err)
		}
		var woke mono.Time
		go func() {
			a.Wait() // disarmed by the first: waits for the Resets below
			woke = now()
		}()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if woke != 0 {
			t.Fatalf("woke at %d without being armed", woke)
		}
		at := now().Add(time.Minute)
		a.Reset(at.Add(time.Hour))
		a.Reset(at)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if woke != at {
			t.Errorf("woke at %d, want %d", woke, at)
		}
	})
}

func TestResetDoesNotAllocate(t *testing.T) {
	both(t, func(t *testing.T, a *Alarm, now func() mono.Time) {
		at := now().Add(time.Hour)
		if n := testing.AllocsPerRun(100, func() {
			a.Reset(at)
			a.Reset(at + 5)
			at--
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// BenchmarkLateness arms the alarm 300 µs ahead and reports how much later than
// that it woke the waiter.
func BenchmarkLateness(b *testing.B) {
	for name, create := range map[string]func(func() mono.Time) *Alarm{"New": New, "Portable": Portable} {
		b.Run(name, func(b *testing.B) {
			now := clock()
			a := create(now)
			defer a.Close()
			var late time.Duration
			for b.Loop() {
				at := now().Add(300 * time.Microsecond)
				a.Reset(at)
				if err := a.Wait(); err != nil {
					b.Fatal(err)
				}
				late += now().Sub(at)
			}
			b.ReportMetric(float64(late.Microseconds())/float64(b.N), "µs-late")
		})
	}
}
