package buf

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/mpnc/mpnc/internal/seq"
)

// What is lent outlives everything that can happen to the Send: it is
// acknowledged, other octets take the room, and the Send is closed.
func TestLentOctetsStay(t *testing.T) {
	for name, happens := range map[string]func(*Send){
		"acknowledged and written over": func(s *Send) {
			for range 10 {
				s.Ack(s.End())
				s.Write(bytes.Repeat([]byte{0xff}, 3*chunkSize))
			}
		},
		"trimmed": func(s *Send) { s.Ack(s.End()); s.Trim(); s.Write(bytes.Repeat([]byte{0xff}, 3*chunkSize)) },
		"aged": func(s *Send) {
			s.Ack(s.End())
			s.Age()
			s.Age()
			s.Write(bytes.Repeat([]byte{0xff}, 3*chunkSize))
		},
		"closed": (*Send).Close,
	} {
		t.Run(name, func(t *testing.T) {
			m := newSendModel(t, nearWrap, 3*chunkSize)
			m.write(2*chunkSize + 10)
			m.lend(run{chunkSize - 100, 2*chunkSize - 100})
			m.lend(run{2 * chunkSize, 2*chunkSize + 5})
			happens(m.s)
			for len(m.loans) > 0 {
				m.giveBack(0)
			}
		})
	}
}

// A chunk that was lent is used again once all of it is returned, not before.
func TestReturnedChunkIsUsedAgain(t *testing.T) {
	m := newSendModel(t, nearWrap, chunkSize)
	m.write(chunkSize)
	m.lend(run{0, chunkSize})
	m.lend(run{5, 7})
	lent := m.s.live[0].mem
	for len(m.loans) > 0 {
		m.ack(m.end)
		m.s.pool.spare = nil // so that only the one that is lent could be used
		if m.write(chunkSize); m.s.live[0].mem == lent {
			t.Fatal("used again while it was lent")
		}
		m.giveBack(0)
	}
	m.ack(m.end)
	m.s.pool.spare = nil
	if m.write(1); m.s.live[0].mem != lent {
		t.Error("not used again though it was returned")
	}
}

func TestReturnedTwicePanics(t *testing.T) {
	m := newSendModel(t, nearWrap, chunkSize)
	m.write(10)
	p := m.s.Lend(nil, m.rng(run{2, 5}))[0]
	p.Return()
	defer func() {
		if said, ok := recover().(string); !ok || !strings.HasPrefix(said, "BUG:") {
			t.Errorf("panic %q, want one that says BUG:", said)
		}
	}()
	p.Return()
}

// A device reads and returns pieces without the lock, while the connection
// writes, and takes acknowledgments of what the device has not returned yet.
func TestLendAcrossGoroutines(t *testing.T) {
	const trains, size = 2000, 60_000
	var mu sync.Mutex
	s := NewSend(nearWrap, 8*chunkSize)
	device := make(chan loan, 8)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			want := make([]byte, chunkSize)
			for l := range device {
				if fill(want, l.from); !bytes.Equal(l.Bytes, want[:len(l.Bytes)]) {
					t.Errorf("the octets lent from %d on have changed", l.from)
				}
				l.Return()
			}
		})
	}
	train, pieces := make([]byte, size), []Piece(nil)
	for i := range trains {
		fill(train, i*size)
		mu.Lock()
		at := s.End()
		s.Write(train)
		pieces = s.Lend(pieces[:0], seq.Range{From: at, To: at.Add(size)})
		s.Ack(at.Add(size - 4*size*(i%2))) // the peer may be faster than the device's return
		mu.Unlock()
		from := i * size
		for _, p := range pieces {
			device <- loan{p, from}
			from += len(p.Bytes)
		}
	}
	close(device)
	wg.Wait()
	s.Ack(s.End())
	s.Age()
	if n := len(s.pool.lent); n > 0 || s.Memory() > 24*chunkSize {
		t.Errorf("%d chunks are still lent, %d octets held", n, s.Memory())
	}
}

// Age lets go of what was not needed for a while, and of nothing else.
func TestAge(t *testing.T) {
	s := NewSend(nearWrap, 20*chunkSize)
	use := func(chunks int) {
		s.Write(make([]byte, chunks*chunkSize))
		s.Ack(s.End())
	}
	use(20)
	s.Age()
	if got := s.Memory(); got != 20*chunkSize {
		t.Errorf("just used: %d octets held", got)
	}
	use(3)
	use(2)
	s.Age()
	if got := s.Memory(); got != 3*chunkSize {
		t.Errorf("3 chunks were used: %d octets held", got)
	}
	s.Age()
	if got := s.Memory(); got != 0 {
		t.Errorf("nothing was used: %d octets held", got)
	}
}
