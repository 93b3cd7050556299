package testenv

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
)

const ms = mono.Time(time.Millisecond)

// packet returns n octets that start with the number i.
func packet(i, n int) []byte {
	p := make([]byte, n)
	binary.BigEndian.PutUint32(p, uint32(i))
	return p
}

// arrival is a packet's number and when it came.
type arrival struct {
	i  int
	at mono.Time
}

// drain pops everything, each packet when it is due.
func drain(t *testing.T, l *Link) (all []arrival) {
	t.Helper()
	for {
		at := l.Next()
		if at == mono.Never {
			return all
		}
		if at > 0 {
			if _, ok := l.Pop(at-1, nil); ok {
				t.Fatalf("Pop delivered before Next's %d", at)
			}
		}
		p, ok := l.Pop(at, nil)
		if !ok {
			t.Fatalf("nothing to Pop at Next's %d", at)
		}
		all = append(all, arrival{int(binary.BigEndian.Uint32(p)), at})
	}
}

// balance checks that every packet is accounted for.
func balance(t *testing.T, l *Link) {
	t.Helper()
	s := l.Stats()
	if s.Pushed+s.Duplicated != s.Delivered+s.Dropped()+uint64(l.Len()) {
		t.Errorf("packets unaccounted for: %+v, under way %d", s, l.Len())
	}
}

func TestLinkZeroConfigDeliversAtOnce(t *testing.T) {
	l := NewLink(LinkConfig{})
	if l.Next() != mono.Never {
		t.Fatal("an empty link has something to deliver")
	}
	want := []byte("some packet")
	if !l.Push(5, want) {
		t.Fatal("dropped")
	}
	if l.Next() != 5 {
		t.Fatalf("Next = %d, want 5", l.Next())
	}
	got, ok := l.Pop(5, []byte("before "))
	if !ok || string(got) != "before some packet" {
		t.Fatalf("Pop = %q, %v", got, ok)
	}
	if _, ok := l.Pop(mono.Never-1, nil); ok {
		t.Fatal("delivered twice")
	}
}

func TestLinkRateAndDelay(t *testing.T) {
	// 1500 octets at 12 Mb/s take 1 ms.
	l := NewLink(LinkConfig{Rate: 12e6, Delay: 10 * time.Millisecond, Queue: 1 << 20})
	for i := range 100 {
		l.Push(0, packet(i, 1500))
	}
	if got := l.Backlog(50 * ms); got != 50*1500 {
		t.Errorf("backlog after 50 ms is %d, want %d", got, 50*1500)
	}
	for i, a := range drain(t, l) {
		if want := mono.Time(i+1)*ms + 10*ms; a.i != i || a.at != want {
			t.Fatalf("arrival %d is packet %d at %d, want at %d", i, a.i, a.at, want)
		}
	}
	// The wire idles: the next packet starts when it comes.
	l.Push(500*ms, packet(0, 1500))
	if got := l.Next(); got != 511*ms {
		t.Errorf("after an idle time: %d, want %d", got, 511*ms)
	}
}

func TestLinkQueueBound(t *testing.T) {
	tests := []struct {
		name string
		c    LinkConfig
		size int
		want int // packets taken of a burst
	}{
		{"octets", LinkConfig{Rate: 1e6, Queue: 10_000}, 1000, 10},
		{"part of a packet does not fit", LinkConfig{Rate: 1e6, Queue: 10_999}, 1000, 10},
		{"least default", LinkConfig{Rate: 1e6, Delay: time.Millisecond}, 1514, 32},
		{"default is the round trip's product", LinkConfig{Rate: 80e6, Delay: 50 * time.Millisecond}, 1000, 1000},
		{"overhead counts", LinkConfig{Rate: 1e6, Queue: 10_000, Overhead: 1000}, 1000, 5},
		{"no rate, no queue", LinkConfig{Queue: 10, Delay: time.Second}, 1000, 5000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := NewLink(tt.c)
			taken := 0
			for i := range 5000 {
				if l.Push(0, packet(i, tt.size)) {
					taken++
				}
			}
			if taken != tt.want {
				t.Errorf("%d packets fit, want %d", taken, tt.want)
			}
			if s := l.Stats(); int(s.DropQueue) != 5000-tt.want {
				t.Errorf("DropQueue = %d, want %d", s.DropQueue, 5000-tt.want)
			}
			balance(t, l)
		})
	}
}

func TestLinkQueueDrains(t *testing.T) {
	l := NewLink(LinkConfig{Rate: 8e6, Queue: 2000}) // an octet a microsecond
	push := func(at mono.Time, want bool) {
		t.Helper()
		if l.Push(at, packet(0, 1000)) != want {
			t.Fatalf("at %d: taken = %v, want %v", at, !want, want)
		}
	}
	push(0, true)
	push(0, true)
	push(0, false)
	push(ms-1000, false) // 999 octets gone: not room enough
	push(ms, true)
}

func TestLinkLossRate(t *testing.T) {
	const n = 100_000
	l := NewLink(LinkConfig{Loss: 0.1, Seed: 7})
	for i := range n {
		l.Push(mono.Time(i), packet(i, 4))
	}
	sigma := math.Sqrt(n * 0.1 * 0.9)
	if got := float64(l.Stats().DropLoss); math.Abs(got-n*0.1) > 4*sigma {
		t.Errorf("%v of %d lost at 10 %%", got, n)
	}
	balance(t, l)
}

func TestLinkLostPacketsTakeTheirTime(t *testing.T) {
	l := NewLink(LinkConfig{Rate: 8e6, Loss: 1})
	if l.Push(0, packet(0, 1000)) {
		t.Fatal("not lost")
	}
	l.Set(0, func(c *LinkConfig) { c.Loss = 0 })
	l.Push(0, packet(1, 1000))
	if l.Next() != 2*ms {
		t.Errorf("arrives at %d, want after the lost one's time, %d", l.Next(), 2*ms)
	}
}

func TestLinkGilbertElliott(t *testing.T) {
	// Bad a fifth of the time, in bursts of 4 on average.
	const n = 200_000
	l := NewLink(LinkConfig{Burst: &GilbertElliott{ToBad: 1.0 / 16, ToGood: 1.0 / 4}, Seed: 3})
	lost, bursts, last := 0, 0, true
	for i := range n {
		ok := l.Push(mono.Time(i), packet(i, 4))
		if !ok {
			lost++
			if last {
				bursts++
			}
		}
		last = ok
	}
	if share := float64(lost) / n; share < 0.19 || share > 0.21 {
		t.Errorf("loss %.3f, want 0.2", share)
	}
	if mean := float64(lost) / float64(bursts); mean < 3.8 || mean > 4.2 {
		t.Errorf("mean burst %.2f packets, want 4", mean)
	}
}

func TestLinkJitterKeepsOrder(t *testing.T) {
	l := NewLink(LinkConfig{Delay: 5 * time.Millisecond, Jitter: 50 * time.Millisecond, Seed: 1})
	for i := range 1000 {
		l.Push(mono.Time(i)*ms, packet(i, 100))
	}
	all := drain(t, l)
	if len(all) != 1000 {
		t.Fatalf("%d arrived", len(all))
	}
	spread := false
	for i, a := range all {
		d := a.at - mono.Time(i)*ms
		if a.i != i {
			t.Fatalf("arrival %d is packet %d", i, a.i)
		}
		if d < 5*ms || d >= 55*ms {
			t.Fatalf("packet %d took %d", i, d)
		}
		spread = spread || d < 25*ms
	}
	if !spread {
		t.Error("no jitter to be seen")
	}
}

func TestLinkReorder(t *testing.T) {
	l := NewLink(LinkConfig{Delay: 10 * time.Millisecond, Reorder: 0.05, ReorderBy: 3 * time.Millisecond, Seed: 2})
	for i := range 1000 {
		l.Push(mono.Time(i)*ms, packet(i, 100))
	}
	late, next := 0, 0
	for _, a := range drain(t, l) {
		d := a.at - mono.Time(a.i)*ms
		switch d {
		case 10 * ms:
			if a.i < next {
				t.Fatalf("packet %d came late but was not held back", a.i)
			}
			next = a.i + 1
		case 13 * ms:
			late++
		default:
			t.Fatalf("packet %d took %d", a.i, d)
		}
	}
	if late < 25 || late > 80 || uint64(late) != l.Stats().Reordered {
		t.Errorf("%d of 1000 held back at 5 %%, counted %d", late, l.Stats().Reordered)
	}
}

func TestLinkDuplicate(t *testing.T) {
	l := NewLink(LinkConfig{Duplicate: 0.5, Seed: 9})
	for i := range 1000 {
		l.Push(mono.Time(i), packet(i, 100))
	}
	seen := make(map[int]int)
	for _, a := range drain(t, l) {
		seen[a.i]++
	}
	twice := 0
	for i := range 1000 {
		switch seen[i] {
		case 1:
		case 2:
			twice++
		default:
			t.Fatalf("packet %d came %d times", i, seen[i])
		}
	}
	if twice < 430 || twice > 570 || uint64(twice) != l.Stats().Duplicated {
		t.Errorf("%d of 1000 twice at 50 %%, counted %d", twice, l.Stats().Duplicated)
	}
	balance(t, l)
}

// replay pushes a random load and returns a hash of all that arrives. How
// often the link is polled in between is up to poll.
func replay(t *testing.T, seed uint64, poll func() bool) uint64 {
	t.Helper()
	l := NewLink(LinkConfig{
		Rate: 10e6, Delay: 7 * time.Millisecond, Jitter: 3 * time.Millisecond, Loss: 0.02, Duplicate: 0.02,
		Reorder: 0.05, Burst: &GilbertElliott{ToBad: 0.01, ToGood: 0.3}, Seed: seed,
	})
	load := rand.New(rand.NewPCG(11, 12))
	h := fnv.New64a()
	record := func(at mono.Time, p []byte) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(at)))
		h.Write(p)
	}
	now := mono.Time(0)
	for i := range 3000 {
		now = now.Add(time.Duration(load.Int64N(2e6)))
		for poll() && l.Next() <= now {
			at := l.Next()
			p, _ := l.Pop(at, nil)
			record(at, p)
		}
		l.Push(now, packet(i, 40+load.IntN(1400)))
	}
	for l.Next() != mono.Never {
		at := l.Next()
		p, _ := l.Pop(at, nil)
		record(at, p)
	}
	balance(t, l)
	return h.Sum64()
}

func TestLinkIsDeterministic(t *testing.T) {
	coin := rand.New(rand.NewPCG(1, 2))
	eager := replay(t, 42, func() bool { return true })
	if again := replay(t, 42, func() bool { return true }); again != eager {
		t.Error("the same pushes gave different arrivals")
	}
	if lazy := replay(t, 42, func() bool { return coin.IntN(3) == 0 }); lazy != eager {
		t.Error("arrivals depend on when the link is polled")
	}
	if other := replay(t, 43, func() bool { return true }); other == eager {
		t.Error("the seed has no effect")
	}
}

func TestLinkSetRateStretchesTheQueue(t *testing.T) {
	l := NewLink(LinkConfig{Rate: 8e6, Delay: 10 * time.Millisecond})
	for i := range 4 {
		l.Push(0, packet(i, 1000)) // leave at 1, 2, 3, 4 ms
	}
	// At 1.5 ms packet 0 is in flight, half of packet 1 is sent.
	l.Set(ms+ms/2, func(c *LinkConfig) { c.Rate = 4e6 })
	want := []mono.Time{11 * ms, 12*ms + ms/2, 14*ms + ms/2, 16*ms + ms/2}
	for i, a := range drain(t, l) {
		if a.i != i || a.at != want[i] {
			t.Errorf("arrival %d: packet %d at %d, want at %d", i, a.i, a.at, want[i])
		}
	}

	for i := range 4 {
		l.Push(100*ms, packet(i, 1000)) // leave at 102, 104, 106, 108 ms
	}
	l.Set(103*ms, func(c *LinkConfig) { c.Rate = 0 })
	want = []mono.Time{112 * ms, 113 * ms, 113 * ms, 113 * ms}
	for i, a := range drain(t, l) {
		if a.i != i || a.at != want[i] {
			t.Errorf("infinite: arrival %d: packet %d at %d, want at %d", i, a.i, a.at, want[i])
		}
	}
}

func TestLinkSetDelayKeepsOrder(t *testing.T) {
	l := NewLink(LinkConfig{Delay: 100 * time.Millisecond})
	l.Push(0, packet(0, 100))
	l.Set(10*ms, func(c *LinkConfig) { c.Delay = time.Millisecond })
	l.Push(10*ms, packet(1, 100))
	l.Push(100*ms, packet(2, 100))
	want := []mono.Time{100 * ms, 100 * ms, 101 * ms}
	for i, a := range drain(t, l) {
		if a.i != i || a.at != want[i] {
			t.Errorf("arrival %d: packet %d at %d, want at %d", i, a.i, a.at, want[i])
		}
	}
}

func TestLinkSilent(t *testing.T) {
	l := NewLink(LinkConfig{Rate: 8e6, Delay: time.Second})
	l.Push(0, packet(0, 1000))
	l.Push(0, packet(1, 1000))
	l.SetSilent(true)
	if l.Next() != mono.Never || l.Len() != 0 {
		t.Error("silence left something in flight")
	}
	if l.Push(ms, packet(2, 1000)) {
		t.Error("a silent link took a packet")
	}
	l.SetSilent(false)
	l.Push(10*ms, packet(3, 1000))
	if l.Next() != 1011*ms {
		t.Errorf("after silence: due %d, want %d: the queue was not emptied", l.Next(), 1011*ms)
	}
	if s := l.Stats(); s.DropFlushed != 2 || s.DropSilent != 1 {
		t.Errorf("stats %+v", s)
	}
	balance(t, l)
}

func TestLinkMTUAndHeader(t *testing.T) {
	var seen [][]byte
	l := NewLink(LinkConfig{MTU: 1500, Header: 14, Filter: func(p []byte) bool {
		seen = append(seen, bytes.Clone(p))
		return len(p) == 7
	}})
	if !l.Push(0, packet(0, 1514)) {
		t.Error("a full frame was dropped")
	}
	if l.Push(0, packet(1, 1515)) {
		t.Error("a frame above the MTU was taken")
	}
	if l.Push(0, packet(1, 21)) {
		t.Error("the filter was not asked")
	}
	l.Push(0, packet(1, 5)) // shorter than its header: the filter sees nothing
	if s := l.Stats(); s.DropTooBig != 1 || s.DropFilter != 1 {
		t.Errorf("stats %+v", s)
	}
	for i, want := range []int{1500, 1501, 7, 0} {
		if len(seen[i]) != want {
			t.Errorf("filter call %d saw %d octets, want %d", i, len(seen[i]), want)
		}
	}
	balance(t, l)
}

func TestLinkMiddlebox(t *testing.T) {
	box := func(p []byte) []byte {
		switch p[0] {
		case 'd':
			return nil
		case 'g':
			return append([]byte("bigger "), p...)
		default:
			p[0] = 'X'
			return p[:2]
		}
	}
	l := NewLink(LinkConfig{Middlebox: box, Header: 2})
	sent := []byte("..abc")
	l.Push(0, sent)
	if string(sent) != "..abc" {
		t.Error("the middlebox changed the caller's packet")
	}
	if l.Push(0, []byte("..drop")) {
		t.Error("not dropped")
	}
	l.Push(0, []byte("..grow"))
	for _, want := range []string{"..Xb", "..bigger grow"} {
		if got, ok := l.Pop(0, nil); !ok || string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	balance(t, l)
}

func TestLinkSteadyStateDoesNotAllocate(t *testing.T) {
	l := NewLink(LinkConfig{Rate: 100e6, Delay: time.Millisecond, Jitter: time.Millisecond, Reorder: 0.01, Loss: 0.01})
	p, dst := packet(0, 1500), make([]byte, 0, 2048)
	now := mono.Time(0)
	step := func() {
		now = now.Add(150 * time.Microsecond)
		l.Push(now, p)
		for {
			if _, ok := l.Pop(now, dst[:0]); !ok {
				return
			}
		}
	}
	for range 1000 {
		step()
	}
	if n := testing.AllocsPerRun(10_000, step); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

func BenchmarkLink(b *testing.B) {
	l := NewLink(LinkConfig{Rate: 1e9, Delay: 10 * time.Millisecond})
	p, dst := packet(0, 1500), make([]byte, 0, 2048)
	now := mono.Time(0)
	for b.Loop() {
		now = now.Add(12 * time.Microsecond)
		l.Push(now, p)
		l.Pop(now, dst[:0])
	}
}
