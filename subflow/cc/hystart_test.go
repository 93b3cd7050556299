package cc

import (
	"math/rand/v2"
	"testing"
	"time"
)

// slowStart runs rounds until slow start is over and returns their number; the
// round-trip time of each acknowledgment comes from rtt.
func slowStart(p *path, most int, rtt func(round int) time.Duration) (rounds int) {
	c := p.c.(*CUBIC)
	for rounds < most && c.now.ssthresh == maxWindow {
		p.round(func(a *Ack) { a.RTT = rtt(rounds) })
		rounds++
	}
	return rounds
}

// A queue that builds up ends slow start: conservative growth for five rounds,
// then congestion avoidance (RFC 9406, Section 4.2).
func TestT80_HyStartLeavesOnARise(t *testing.T) {
	p := newPath(NewCUBIC)
	n := slowStart(p, 20, func(round int) time.Duration {
		return 100*ms + time.Duration(max(0, round-3))*20*ms
	})
	// Rounds 0 to 3 without a queue; the rise shows in round 4, after which
	// five rounds, that one included, grow by a quarter each.
	if n < 8 || n > 11 {
		t.Errorf("slow start took %d rounds", n)
	}
	c := p.c.(*CUBIC)
	if over := c.now.cwnd - c.now.ssthresh; over < 0 || over > mss {
		t.Errorf("ssthresh %d, window %d", c.now.ssthresh, c.now.cwnd)
	}
	if w := p.c.Window(); w < 300*mss || w > 1000*mss {
		t.Errorf("window %d; unchecked it would be %d", w, 10*mss<<n)
	}
	w := p.c.Window()
	p.round()
	if got := p.c.Window(); got > w+10*mss {
		t.Errorf("from %d to %d in a round of congestion avoidance", w, got)
	}
	if c.now.k != 0 {
		t.Errorf("K %v, want 0 (RFC 9438, Section 4.10)", c.now.k)
	}
}

// Jitter, however large, does not: the smallest time of a round stays.
func TestT80_HyStartStaysOnJitter(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	p := newPath(NewCUBIC)
	n := slowStart(p, 9, func(int) time.Duration {
		return 100*ms + time.Duration(rng.IntN(3))*30*ms
	})
	if n != 9 || p.c.Window() != 10*mss<<9 {
		t.Errorf("left slow start after %d rounds at %d", n, p.c.Window())
	}
}

// A rise that goes away again is jitter, too: slow start resumes
// (RFC 9406, Section 4.2).
func TestT80_HyStartResumes(t *testing.T) {
	p := newPath(NewCUBIC)
	c := p.c.(*CUBIC)
	rtt := func(round int) time.Duration {
		if round == 3 || round == 4 {
			return 150 * ms
		}
		return 100 * ms
	}
	css := 0
	for round := range 9 {
		before := p.c.Window()
		p.round(func(a *Ack) { a.RTT = rtt(round) })
		if c.now.hystart.css {
			css++
			if round == 4 && p.c.Window() > before+before/4+mss {
				t.Errorf("conservative slow start: from %d to %d", before, p.c.Window())
			}
		}
	}
	if css == 0 {
		t.Error("the rise was not noticed")
	}
	if c.now.hystart.css || c.now.ssthresh != maxWindow {
		t.Error("slow start did not resume")
	}
}

// The threshold is an eighth of the round-trip time, between 4 and 16 ms
// (RFC 9406, Section 4.3).
func TestT80_HyStartThreshold(t *testing.T) {
	for _, tt := range []struct {
		base, rise time.Duration
		leaves     bool
	}{
		{8 * ms, 3 * ms, false},
		{8 * ms, 5 * ms, true},
		{80 * ms, 9 * ms, false},
		{80 * ms, 11 * ms, true},
		{400 * ms, 15 * ms, false},
		{400 * ms, 17 * ms, true},
	} {
		p := newPath(NewCUBIC)
		n := slowStart(p, 10, func(round int) time.Duration {
			if round < 3 {
				return tt.base
			}
			return tt.base + tt.rise
		})
		if left := n < 10; left != tt.leaves {
			t.Errorf("%v + %v: left slow start: %v", tt.base, tt.rise, left)
		}
	}
}

// Eight samples make a round's word count (RFC 9406, Section 4.3); trains give
// fewer.
func TestT80_HyStartNeedsSamples(t *testing.T) {
	p := newPath(NewCUBIC)
	n := 0
	for p.c.Window() < 600*mss {
		p.seg = p.c.Window() / 5
		n += slowStart(p, 1, func(int) time.Duration { return 100*ms + time.Duration(n)*30*ms })
	}
	if p.c.(*CUBIC).now.ssthresh != maxWindow {
		t.Errorf("left slow start on five samples a round")
	}
}

// Later slow starts end where the loss said, whatever the delay.
func TestT80_HyStartFirstSlowStartOnly(t *testing.T) {
	p := newPath(NewCUBIC)
	for range 4 {
		p.round()
	}
	p.lose(Timeout)
	for i := range 7 {
		p.round(recovery, func(a *Ack) { a.RTT = 100*ms + time.Duration(i)*50*ms })
	}
	p.near(t, "threshold", 160*mss*7/10, mss)
}
