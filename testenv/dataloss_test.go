package testenv

import (
	"math"
	"net/netip"
	"slices"
	"testing"

	"github.com/mpnc/mpnc/internal/wire"
)

// dataPacket is a TCP packet with n octets of payload.
func dataPacket(v6 bool, n int) []byte {
	b := wire.NewBatch(1 << 12)
	seg := wire.Segment{
		Tuple: wire.Tuple{
			Local:  netip.AddrPortFrom(simAddr(0, 1, v6), 1000),
			Remote: netip.AddrPortFrom(simAddr(0, 2, v6), 2000),
		},
		Flags: wire.ACK, Payload: make([]byte, n),
	}
	seg.Opt.HasTS = true
	wire.AppendSegment(b, &seg, 0)
	return b.Bytes(0)
}

// lostNumbers pushes data packets with idle acknowledgments between each two,
// and returns the numbers of those that were lost.
func lostNumbers(t *testing.T, l *Link, v6 bool, packets, acks int) (lost []int) {
	t.Helper()
	for i := range packets {
		if !l.Push(0, dataPacket(v6, 100)) {
			lost = append(lost, i)
		}
		for range acks {
			if !l.Push(0, dataPacket(v6, 0)) {
				t.Fatal("a packet without data was lost")
			}
		}
	}
	return lost
}

// What is lost follows from the seed and the number of the data packet alone:
// neither acknowledgments, the family, the queue nor other dice matter.
func TestDataLoss(t *testing.T) {
	const packets = 20000
	loss := &DataLoss{Probability: 0.03, Seed: 7}
	want := lostNumbers(t, NewLink(LinkConfig{DataLoss: loss}), false, packets, 0)
	if share := float64(len(want)) / packets; math.Abs(share-0.03) > 0.004 {
		t.Errorf("%.4f of the packets were lost, want 0.03", share)
	}
	for name, c := range map[string]struct {
		cfg  LinkConfig
		v6   bool
		acks int
	}{
		"acknowledgments": {LinkConfig{DataLoss: loss}, false, 2},
		"IPv6":            {LinkConfig{DataLoss: loss}, true, 1},
		"other seed":      {LinkConfig{DataLoss: loss, Seed: 99, Reorder: 0.1}, false, 0},
	} {
		if got := lostNumbers(t, NewLink(c.cfg), c.v6, packets, c.acks); !slices.Equal(got, want) {
			t.Errorf("%s: %d packets lost, want the %d that were", name, len(got), len(want))
		}
	}
	if got := lostNumbers(t, NewLink(LinkConfig{DataLoss: &DataLoss{0.03, 8}}), false, packets, 0); slices.Equal(got, want) {
		t.Error("another seed loses the same packets")
	}
}

// A packet that the queue drops has its number as well: how full a sender keeps
// the queue does not shift the loss of the packets after it.
func TestDataLossNumbersQueueDrops(t *testing.T) {
	loss := &DataLoss{Probability: 0.5, Seed: 3}
	l := NewLink(LinkConfig{Rate: 8, Queue: 200, DataLoss: loss})
	l.Push(0, dataPacket(false, 100))
	for range 9 {
		l.Push(0, dataPacket(false, 100)) // no room
	}
	if n := l.Stats().DropQueue; n != 9 {
		t.Fatalf("%d dropped by the queue, want 9", n)
	}
	l.Set(0, func(c *LinkConfig) { c.Rate = 0 })
	for i := uint64(10); i < 30; i++ {
		if got := !l.Push(0, dataPacket(false, 100)); got != loss.loses(i) {
			t.Errorf("packet %d: lost %v, want %v", i, got, loss.loses(i))
		}
	}
	l.Set(0, func(c *LinkConfig) { c.DataLoss = &DataLoss{0.5, 3} })
	for i := range uint64(20) {
		if got := !l.Push(0, dataPacket(false, 100)); got != loss.loses(i) {
			t.Errorf("packet %d after a new start: lost %v, want %v", i, got, loss.loses(i))
		}
	}
}
