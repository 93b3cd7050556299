package buf

import (
	"bytes"
	"testing"

	"github.com/mpnc/mpnc/internal/seq"
)

// heap is a Shelf.
type heap struct{ chunks []*Chunk }

func (h *heap) Give(c *Chunk) { h.chunks = append(h.chunks, c) }

func (h *heap) Take() *Chunk {
	n := len(h.chunks)
	if n == 0 {
		return nil
	}
	c := h.chunks[n-1]
	h.chunks = h.chunks[:n-1]
	return c
}

// What one store has done with another one takes, whichever its kind.
func TestSharedChunks(t *testing.T) {
	for name, letGo := range map[string]func(*Send){
		"trimmed": (*Send).Trim,
		"aged":    func(s *Send) { s.Age(); s.Age() },
		"closed":  (*Send).Close,
	} {
		t.Run(name, func(t *testing.T) {
			var shelf heap
			s, r := NewSend(0, 3*chunkSize), NewRecv(0, 3*chunkSize)
			s.Share(&shelf)
			r.Share(&shelf)
			s.Write(bytes.Repeat([]byte{1}, 3*chunkSize))
			s.Ack(s.End())
			letGo(s)
			if len(shelf.chunks) != 3 || s.Memory() != 0 {
				t.Fatalf("3 chunks were let go of, %d are on the shelf, the store holds %d octets", len(shelf.chunks), s.Memory())
			}
			last := shelf.chunks[2]
			r.Place(0, []byte("abc"))
			if r.chunks[0] != last || len(shelf.chunks) != 2 {
				t.Error("the other store did not take what was given last")
			}
			if got := make([]byte, 5); r.Read(got) != 3 || string(got[:3]) != "abc" {
				t.Errorf("read %q", got)
			}
			if r.Close(); len(shelf.chunks) != 3 {
				t.Errorf("%d chunks came back, want 3", len(shelf.chunks))
			}
		})
	}
}

// What somebody may still read or fill goes to nobody else.
func TestSharedChunksInUse(t *testing.T) {
	var shelf heap
	lends := func(s *Send) func() {
		s.Write(make([]byte, 100))
		p := s.Lend(nil, seq.Range{From: s.Una(), To: s.End()})[0]
		s.Ack(s.End())
		return p.Return
	}
	for name, use := range map[string]func() (letGo func()){
		"lent, trimmed": func() func() {
			s := NewSend(0, chunkSize)
			s.Share(&shelf)
			lends(s)
			return s.Trim
		},
		"lent, closed": func() func() {
			s := NewSend(0, chunkSize)
			s.Share(&shelf)
			lends(s)
			return s.Close
		},
		"reserved": func() func() {
			s := NewSend(0, chunkSize)
			s.Share(&shelf)
			s.Reserve(10)
			return s.Close
		},
		"peeked at": func() func() {
			r := NewRecv(0, chunkSize)
			r.Share(&shelf)
			r.Place(0, make([]byte, 100))
			r.Peek()
			return r.Close
		},
	} {
		t.Run(name, func(t *testing.T) {
			if use()(); len(shelf.chunks) > 0 {
				t.Error("it is on the shelf")
			}
		})
	}
	s := NewSend(0, chunkSize)
	s.Share(&shelf)
	lends(s)()
	if s.Trim(); len(shelf.chunks) != 1 {
		t.Error("it was returned, and is not on the shelf")
	}
}
