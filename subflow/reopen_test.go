package subflow

import (
	"testing"
	"time"
)

// T8: a SYN in TIME-WAIT is a new connection's if its sequence number is larger
// than all of the old one's, or its timestamp newer (RFC 9293, Section 3.6.1,
// MAY-2 and SHLD-4; RFC 6191).
func TestT8_SYNInTimeWait(t *testing.T) {
	b := timeWait(t) // without timestamps; RCV.NXT is 2
	for _, c := range []struct {
		name string
		p    pkt
		want bool
	}{
		{"larger", pkt{f: fS, seq: 3}, true},
		{"much larger", pkt{f: fS, seq: 1 << 30}, true},
		{"next", pkt{f: fS, seq: 2}, false},
		{"old", pkt{f: fS, seq: 0}, false},
		{"older", pkt{f: fS, seq: -1000}, false},
		{"SYN/ACK", pkt{f: fSA, seq: 100, ack: 2}, false},
		{"SYN and RST", pkt{f: fS | fR, seq: 100}, false},
		{"SYN and FIN", pkt{f: fS | fFA&^fA, seq: 100}, false},
		{"no SYN", pkt{f: fA, seq: 100, ack: 2}, false},
	} {
		if _, got := b.sf.Reopens(b.now, b.segment(c.p)); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
	last, _ := b.sf.Reopens(b.now, b.segment(pkt{f: fS, seq: 3}))
	if last != ourISS.Add(2) {
		t.Errorf("the new connection is to start after %d, not %d", last-ourISS, 2)
	}
	if _, ok := established(t, Config{}).sf.Reopens(b.now, b.segment(pkt{f: fS, seq: 1000})); ok {
		t.Error("in ESTABLISHED")
	}

	b = withTimestamps(t, Config{})
	b.sf.CloseWrite()
	b.poll()
	b.send(pkt{f: fFA, seq: 1, ack: 2})
	b.expectState(StateTimeWait)
	seen := b.clock()
	b.advance(time.Second)
	for _, c := range []struct {
		name string
		p    pkt
		want bool
	}{
		{"newer, smaller number", pkt{f: fS, seq: -5000, val: seen + 1}, true},
		{"equal, larger number", pkt{f: fS, seq: 100, val: seen}, true},
		{"equal, smaller number", pkt{f: fS, seq: -5000, val: seen}, false},
		{"older, larger number", pkt{f: fS, seq: 100, val: seen - 1}, false},
		{"none, larger number", pkt{f: fS, seq: 100, noTS: true}, true},
		{"none, smaller number", pkt{f: fS, seq: -100, noTS: true}, false},
	} {
		if _, got := b.sf.Reopens(b.now, b.segment(c.p)); got != c.want {
			t.Errorf("with timestamps, %s: %t", c.name, got)
		}
	}
}

// T7: TIME-WAIT lasts as long as it is set to (2 MSL, MUST-13), and a FIN again
// starts it anew.
func TestT7_TimeWaitLength(t *testing.T) {
	for _, d := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute} {
		b := established(t, Config{TimeWait: d})
		b.sf.CloseWrite()
		b.poll()
		b.send(pkt{f: fFA, seq: 1, ack: 2})
		b.advance(d - 1)
		b.expectState(StateTimeWait)
		b.send(pkt{f: fFA, seq: 1, ack: 2})
		b.advance(d - 1)
		b.expectState(StateTimeWait)
		b.advance(1)
		b.expectState(StateClosed)
	}
}
