package subflow

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// FuzzHandleSegment plays a random peer, whose numbers lie near the windows,
// and a random application: nothing panics, the books stay right, memory stays
// bounded, polling ends.
func FuzzHandleSegment(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23})
	f.Add([]byte("\x02\x10\x00\x01\x00\x01\x00\x00\x00\x10\x00\x00\x00\x00 the quick brown fox jumps over the lazy dog"))
	f.Add(make([]byte, 200))
	f.Fuzz(func(t *testing.T, in []byte) {
		z := &fuzzer{in: in}
		z.run(t)
	})
}

type fuzzer struct{ in []byte }

func (z *fuzzer) u8() (v byte) {
	if len(z.in) > 0 {
		v, z.in = z.in[0], z.in[1:]
	}
	return v
}

// near returns a number close to 0, rarely far away.
func (z *fuzzer) near() int {
	k, v := z.u8(), z.u8()
	switch {
	case k < 200:
		return int(int8(v)) * int(k%4*250+1)
	case k < 250:
		return int(int8(v)) << 9
	default:
		return int(int8(v)) << 24
	}
}

func (z *fuzzer) run(t *testing.T) {
	mode := z.u8()
	c := Config{NoTimestamps: mode&1 != 0, NoSACK: mode&2 != 0, Accept: int(mode&4) << 12, MTU: 600}
	b, c := newBench(t, c)
	b.win = 4000
	b.ts = true
	if mode&8 != 0 {
		c.Controller = nil
	}
	if mode&16 != 0 {
		b.sf = Dial(b.now, wire.Tuple{Local: addrA, Remote: addrB}, c)
	} else {
		b.sf = Accept(b.now, b.segment(pkt{f: fS, sackOK: true}), c)
	}
	if mode&32 != 0 {
		b.batch.MaxTrain = 5000
	}
	b.poll()
	if mode&192 != 0 { // mostly get through the handshake
		f := fA
		if b.sf.State() == StateSynSent {
			f = fSA
		}
		b.send(pkt{f: f, seq: b2i(f == fA), ack: 1, sackOK: true})
	}
	var assigned int
	for steps := 0; len(z.in) > 0 && steps < 500; steps++ {
		switch k := z.u8(); {
		case k < 40:
			b.advance(time.Duration(z.u8()) * time.Duration(z.u8()) * 100 * time.Microsecond)
		case k < 80 && !b.sf.snd.finQueued && assigned < 1<<19:
			n := 1 + int(z.u8())*10
			assigned += n
			b.write(n)
		case k < 84:
			b.sf.CloseWrite()
		case k < 86:
			b.sf.Abort()
		case k < 90:
			b.sf.Mute(b.now, k%2 == 0)
		case k < 92:
			b.sf.SendProbe()
		case k < 94:
			b.sf.SetOptionSpace(int(z.u8()) % 29)
		case k < 96:
			b.host.wnd = int(z.u8()) << 8
		default:
			b.send(z.segment(b.sf))
			b.checkDelivery()
		}
		b.poll()
		b.out, b.segs, b.host.outs = b.out[:0], b.segs[:0], b.host.outs[:0]
	}
	b.sf.Mute(b.now, false)
	b.checkMemory(assigned)
}

// segment makes a segment near the windows of s.
func (z *fuzzer) segment(s *Subflow) pkt {
	p := pkt{
		f:   wire.Flags(z.u8()),
		seq: int(s.rcv.nxt) + z.near(),
		ack: int(s.snd.nxt) + z.near(),
		n:   int(z.u8()) * 8,
		win: int(z.u8())<<4 | 1,
	}
	k := z.u8()
	if k&1 == 0 {
		p.f = p.f&^(wire.SYN|wire.RST) | wire.ACK
	}
	if k&2 == 0 {
		p.seq = int(s.rcv.nxt)
	}
	if k&4 == 0 {
		p.ack = int(s.snd.una)
	}
	for range int(k >> 6) {
		from := int(s.snd.una) + z.near()
		p.sack = append(p.sack, [2]int{from, from + z.near()})
	}
	if k&8 != 0 {
		p.val = binary.LittleEndian.Uint32([]byte{z.u8(), z.u8(), z.u8(), z.u8()})
	}
	p.zeroWin = k&16 != 0
	p.noTS = k&32 != 0
	return p
}

// checkDelivery asserts that what was reported lies where it may.
func (b *bench) checkDelivery() {
	b.t.Helper()
	end := b.acc.Off + seq.Offset(len(b.acc.Payload))
	if len(b.acc.Payload) > 0 && (b.acc.Off < 1 || after(end, b.sf.rcv.right(b.sf.cfg.Accept)) && after(end, b.sf.rcv.nxt)) {
		b.t.Fatalf("payload [%d, %d) beyond the window\n%s", b.acc.Off, end, b.sf.dump())
	}
	if !b.acc.OK && b.acc.Payload != nil {
		b.t.Fatal("payload without OK")
	}
}

func (b *bench) checkMemory(assigned int) {
	b.t.Helper()
	if n := len(b.sf.rcv.set.Spans()); n > maxSpans {
		b.t.Fatalf("%d runs", n)
	}
	most := 64 + 4*(assigned/b.sf.snd.seg+len(b.sf.snd.todo.live())) + 1000
	if n := b.sf.snd.recs.len(); n > most {
		b.t.Fatalf("%d records for %d octets", n, assigned)
	}
}

// A subflow that nothing answers keeps its deadlines in order for days.
func TestSilence(t *testing.T) {
	b := established(t, Config{})
	b.write(5000)
	b.advance(48 * time.Hour)
	if i := b.sf.Info(); i.RTOs < 2800 || i.RTOs > 2900 || i.Backoff != int(i.RTOs) {
		t.Fatalf("%d timeouts, back-off %d", i.RTOs, i.Backoff)
	}
	if b.sf.PollTimeout() == mono.Never {
		t.Fatal("gave up")
	}
}
