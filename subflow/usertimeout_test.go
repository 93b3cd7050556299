package subflow

import (
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/wire"
)

// lastTold takes the oldest segment sent and returns its user timeout option.
func (b *bench) lastTold(want pkt) uint16 {
	b.t.Helper()
	opt := b.segs[0].Opt.UserTimeout
	b.expect(want)
	return opt
}

// T74: the option is on the SYN, and on the first segment that is none; on no
// other (RFC 5482, Section 3).
func TestT74_OptionIsSent(t *testing.T) {
	b, c := newBench(t, Config{NoTimestamps: true, TellUserTimeout: 90 * time.Second})
	b.sf = Dial(b.now, wire.Tuple{Local: addrA, Remote: addrB}, c)
	b.poll()
	if got := b.lastTold(pkt{f: fS}); got != 90 {
		t.Errorf("SYN: %d", got)
	}
	b.advance(time.Second)
	if got := b.lastTold(pkt{f: fS}); got != 90 {
		t.Errorf("SYN again: %d", got)
	}
	b.send(pkt{f: fSA, ack: 1, mss: 1000})
	if got := b.lastTold(pkt{f: fA, seq: 1, ack: 1}); got != 90 {
		t.Errorf("first ACK: %d", got)
	}
	b.write(100)
	if got := b.lastTold(pkt{f: fA, seq: 1, ack: 1, n: 100}); got != 0 {
		t.Errorf("later: %d", got)
	}
}

// T74: it gives way to other options, and takes from the room for data.
func TestT74_OptionHasNoRoom(t *testing.T) {
	b := synReceived(t, Config{TellUserTimeout: 90 * time.Second}, pkt{mss: 1000, ts: true})
	b.host.options = func(o *Outgoing, mp *wire.MPOptions) {
		if o.Kind == KindData {
			mp.Has = wire.DSS // 12 octets beside the timestamps' 12, padded: 28 with the map
			mp.DSS.HasAck, mp.DSS.Ack64, mp.DSS.HasMap, mp.DSS.Seq64 = true, true, true, true
		}
	}
	b.send(pkt{f: fA, seq: 1, ack: 1})
	b.write(5000)
	for range 5 {
		if len(b.segs) == 0 {
			break
		}
		if got := b.segs[0]; got.Opt.UserTimeout != 0 || len(got.Payload) > 1000-12-28+12 {
			t.Fatalf("%v", got)
		}
		b.out, b.segs = b.out[1:], b.segs[1:]
	}
	b.send(pkt{f: fA, seq: 1, ack: 2000})
	b.out, b.segs = nil, nil
	b.send(pkt{f: fA, seq: 1, ack: 2001, n: 2000}) // wants an ACK
	told := 0
	for _, s := range b.segs {
		if s.Opt.UserTimeout == 90 && len(s.Payload) == 0 {
			told++
		}
	}
	if told != 1 {
		t.Errorf("told %d times in %v", told, b.segs)
	}
}

// T74: off by default (RFC 5482, Section 3: ENABLED "defaults to false").
func TestT74_OptionIsOff(t *testing.T) {
	b := synSent(t, Config{})
	b.send(pkt{f: fSA, ack: 1, mss: 1000})
	b.write(10)
	for _, s := range b.segs {
		if s.Opt.UserTimeout != 0 {
			t.Errorf("%v", s)
		}
	}
}

// T22: the time the application sets holds for the SYN, too.
func TestT22_UserTimeoutInSynSent(t *testing.T) {
	b := synSent(t, Config{UserTimeout: 20 * time.Second})
	b.advance(20*time.Second - 1)
	b.expectEvents(0)
	for range 4 { // after 1, 3, 7 and 15 s
		b.expect(pkt{f: fS})
	}
	b.expectNothing()
	b.advance(1)
	b.expectEvents(TimedOut)
	if got := b.sf.Info().Retries; got != 4 {
		t.Errorf("%d retries", got)
	}

	b = synSent(t, Config{UserTimeout: 20 * time.Second}) // answered in time
	b.advance(19 * time.Second)
	b.out, b.segs = nil, nil
	b.send(pkt{f: fSA, ack: 1, mss: 1000})
	b.advance(time.Hour)
	b.expectEvents(Established)

	// A spoofed SYN's SYN/ACK is bounded by its retries, not by this.
	b = synReceived(t, Config{UserTimeout: time.Second, SynRetries: 3}, pkt{mss: 1000})
	b.advance(14 * time.Second)
	b.expectEvents(0)
	b.advance(2 * time.Second)
	b.expectEvents(Failed)
}
