package subflow

import (
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/subflow/cc"
)

// fixedModel is a fixed controller that is a cc.Model.
type fixedModel struct {
	fixed
	lost     []cc.Lost
	restarts []mono.Time
}

func (f *fixedModel) OnLost(l cc.Lost)        { f.lost = append(f.lost, l) }
func (f *fixedModel) OnRestart(now mono.Time) { f.restarts = append(f.restarts, now) }

func modelled(t *testing.T, wnd int) (*bench, *fixedModel) {
	f := &fixedModel{fixed: fixed{wnd: wnd, rate: 1 << 50}}
	return established(t, Config{Controller: func(*cc.Group, int) cc.Controller { return f }}), f
}

// What a model of the path is told of acknowledgments and losses: counts at the
// time a segment left and since, in flight with it, gaps between losses.
func TestModelIsFed(t *testing.T) {
	b, f := modelled(t, 10000)
	b.write(20000)
	b.out = nil
	b.advance(10 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 2001})
	if n := len(f.acks); n != 1 {
		t.Fatalf("%d acknowledgments", n)
	}
	a := f.acks[0]
	if a.Delivered != 2000 || a.Pipe != 8000 || a.InFlight != 10000 || a.NoSACK || a.Newest.Delivered != 0 || a.Newest.Lost != 0 {
		t.Fatalf("%+v", a)
	}
	b.poll()
	b.advance(10 * ms)
	// 1 segment, then 2 adjoining ones, are lost; the rest of the first flight
	// is held.
	b.send(pkt{f: fA, seq: 1, ack: 2001, sack: [][2]int{{3001, 5001}, {7001, 10001}}})
	if len(f.lost) != 2 {
		t.Fatalf("%+v", f.lost)
	}
	for i, want := range []cc.Lost{
		{Bytes: 1000, Sent: cc.Sent{InFlight: 3000, Lost: 1000}, Delivered: 7000},
		{Bytes: 2000, Sent: cc.Sent{InFlight: 7000, Lost: 3000}, Delivered: 7000},
	} {
		got := f.lost[i]
		if got.Now != b.now {
			t.Errorf("loss %d at %v", i, got.Now)
		}
		got.Now = 0
		if got != want {
			t.Errorf("loss %d: %+v, want %+v", i, got, want)
		}
	}
	if l := f.losses; len(l) != 1 || l[0].Cause != cc.LossDetected || l[0].Delivered != 7000 || l[0].Pipe != 2000 {
		t.Errorf("%+v", l)
	}
	a = f.acks[1]
	if !a.Recovery || a.Delivered != 7000 || a.Bytes != 5000 || a.Pipe != 2000 || a.Newest.InFlight != 10000 || a.Newest.Lost != 3000 {
		t.Errorf("%+v", a)
	}
}

// The window in recovery and after an idle time is the model's: neither
// proportional rate reduction nor the restart window applies.
func TestModelOwnsTheWindow(t *testing.T) {
	b, f := modelled(t, 30000)
	b.write(30000)
	b.out = nil
	b.advance(10 * ms)
	b.send(pkt{f: fA, seq: 1, ack: 1, sack: [][2]int{{1001, 11001}}})
	if w := b.sf.Cwnd(); w != 30000 {
		t.Errorf("window %d in recovery", w)
	}
	b.send(pkt{f: fA, seq: 1, ack: 30001})
	b.advance(5 * time.Second)
	b.out = nil
	if room, _ := b.sf.Room(b.now); room != 30000 {
		t.Errorf("room %d after an idle time", room)
	}
	b.write(30000)
	if len(b.out) != 30 {
		t.Errorf("%d segments after an idle time", len(b.out))
	}
	if len(f.restarts) != 1 || f.restarts[0] != b.now {
		t.Errorf("restarts %v", f.restarts)
	}
}

// What leaves while, or in the flight after, the application had too little is
// marked so, until what left later is delivered.
func TestModelAppLimited(t *testing.T) {
	b, f := modelled(t, 5000)
	step := func(n int, ack int) cc.Ack {
		if n > 0 {
			b.write(n)
		}
		b.out = nil
		b.advance(10 * ms)
		b.send(pkt{f: fA, seq: 1, ack: ack})
		return f.acks[len(f.acks)-1]
	}
	if a := step(1000, 1001); !a.Newest.AppLimited {
		t.Error("a lone segment")
	}
	if a := step(9000, 6001); !a.Newest.AppLimited {
		t.Error("the flight that follows the pause")
	}
	if a := step(20000, 11001); !a.Newest.AppLimited {
		t.Error("the flight that follows a window with room")
	}
	if a := step(0, 16001); a.Newest.AppLimited {
		t.Errorf("a full window: %+v", a)
	}
}
