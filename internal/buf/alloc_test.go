package buf

import (
	"testing"

	"github.com/mpnc/mpnc/internal/seq"
)

// nearWrap is a data sequence number shortly before 2^64.
const nearWrap = seq.Data(1<<64 - 100_003)

func sendTrain(s *Send, train, segment []byte) {
	s.Write(train)
	r := seq.Range{From: s.Una(), To: s.Una().Add(len(train))}
	s.Pin(r)
	s.CopyAt(segment, r.From)
	s.Ack(r.To)
	s.Unpin(r)
}

// sendLent is sendTrain with a device that gathers the payload, and returns it
// after the acknowledgment.
func sendLent(s *Send, train []byte, pieces []Piece) {
	s.Write(train)
	r := seq.Range{From: s.Una(), To: s.Una().Add(len(train))}
	pieces = s.Lend(pieces, r)
	s.Ack(r.To)
	for _, p := range pieces {
		p.Return()
	}
}

// breathe fills the buffer and empties it at once.
func breathe(s *Send, train []byte) {
	for s.Write(train) > 0 {
	}
	s.Ack(s.End())
}

func recvSwapped(r *Recv, train, out []byte) {
	at := r.Next()
	r.Place(at.Add(len(train)), train)
	r.Place(at, train)
	r.Read(out)
}

// Nothing is allocated per packet in steady state.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	train, out := make([]byte, 64<<10), make([]byte, 128<<10)
	full := NewSend(nearWrap, 4<<20)
	for range 8 {
		full.Write(train)
	}
	empty := NewSend(nearWrap, 4<<20)
	large := NewSend(nearWrap, 4<<20)
	lent, pieces := NewSend(nearWrap, 4<<20), make([]Piece, 0, 2)
	recv := NewRecv(nearWrap, 6<<20)
	for name, step := range map[string]func(){
		"Send with a flight": func() { sendTrain(full, train, out[:len(train)]) },
		"Send, one train":    func() { sendTrain(empty, train, out[:len(train)]) },
		"Send, lent":         func() { sendLent(lent, train, pieces) },
		"Send, all at once":  func() { breathe(large, train) },
		"Recv in order":      func() { recv.Place(recv.Next(), train); recv.Read(out) },
		"Recv swapped":       func() { recvSwapped(recv, train, out) },
	} {
		if n := testing.AllocsPerRun(100, step); n != 0 {
			t.Errorf("%s: %v allocations a step, want 0", name, n)
		}
	}
}
