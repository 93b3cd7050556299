package buf

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/mpnc/mpnc/internal/seq"
)

// sendModel is a Send by its definition: places in the stream counted from 0,
// and a list of pins.
type sendModel struct {
	t        *testing.T
	s        *Send
	start    seq.Data
	size     int
	una, end int
	pins     []run
	loans    []loan
	space    []byte // reserved and filled
	most     int    // chunks there ever were in use at one time, or lent
}

// loan is a piece and what is in it.
type loan struct {
	Piece
	from int
}

// run is octets [from, to) of the stream.
type run struct{ from, to int }

func (r run) shared(from, to int) int { return max(0, min(r.to, to)-max(r.from, from)) }

func newSendModel(t *testing.T, start seq.Data, size int) *sendModel {
	return &sendModel{t: t, s: NewSend(start, size), start: start, size: size}
}

func (m *sendModel) at(i int) seq.Data { return m.start.Add(i) }

func (m *sendModel) rng(r run) seq.Range { return seq.Range{From: m.at(r.from), To: m.at(r.to)} }

func (m *sendModel) write(n int) {
	p := make([]byte, n)
	fill(p, m.end)
	want := min(n, m.size-(m.end-m.una))
	if got := m.s.Write(p); got != want {
		m.t.Fatalf("Write(%d) = %d, want %d", n, got, want)
	}
	m.end += want
	m.note()
}

// reserve takes memory for the next octets and fills n of it, or all if it is
// less. Whatever happens before it is committed must leave it alone.
func (m *sendModel) reserve(n int) {
	m.t.Helper()
	free := m.size - (m.end - m.una)
	m.space = m.s.Reserve(n)
	if len(m.space) > min(n, free) || (len(m.space) == 0) != (n == 0 || free <= 0) || cap(m.space) != len(m.space) {
		m.t.Fatalf("reserved %d octets of %d, for %d, %d free", len(m.space), cap(m.space), n, free)
	}
	m.space = m.space[:len(m.space)-len(m.space)/3] // fewer are read than were asked for
	fill(m.space, m.end)
	m.note()
}

func (m *sendModel) commit() {
	m.s.Commit(len(m.space))
	m.end += len(m.space)
	m.space = nil
}

// note notes how many chunks there are that cannot be used for something else.
func (m *sendModel) note() { m.most = max(m.most, m.s.pool.out+len(m.s.pool.lent)) }

func (m *sendModel) ack(i int) {
	m.s.Ack(m.at(i))
	m.una = max(m.una, min(i, m.end))
}

func (m *sendModel) pin(r run) {
	m.s.Pin(m.rng(r))
	if r.from < r.to {
		m.pins = append(m.pins, r)
	}
}

// unpin takes back part of pin i, cut as the caller likes; the rest remains.
func (m *sendModel) unpin(i, cut int, head bool) {
	p := m.pins[i]
	gone, rest := run{p.from, p.from + cut}, run{p.from + cut, p.to}
	if !head {
		gone, rest = rest, gone
	}
	m.s.Unpin(m.rng(gone))
	m.pins = slices.Delete(m.pins, i, i+1)
	if rest.from < rest.to {
		m.pins = append(m.pins, rest)
	}
}

// lend borrows r: what comes back must be r, in at most the pieces promised.
func (m *sendModel) lend(r run) {
	m.t.Helper()
	pieces := m.s.Lend(nil, m.rng(r))
	if n := r.to - r.from; n <= chunkSize && len(pieces) > 2 {
		m.t.Fatalf("%d octets came in %d pieces", n, len(pieces))
	}
	at := r.from
	for _, p := range pieces {
		if len(p.Bytes) == 0 || cap(p.Bytes) != len(p.Bytes) {
			m.t.Fatalf("a piece of %d octets, with room for %d", len(p.Bytes), cap(p.Bytes))
		}
		m.loans = append(m.loans, loan{p, at})
		at += len(p.Bytes)
	}
	if at != r.to {
		m.t.Fatalf("lent up to octet %d, want %d", at, r.to)
	}
}

// giveBack returns loan i, which must have the octets that it was lent with.
func (m *sendModel) giveBack(i int) {
	m.t.Helper()
	l := m.loans[i]
	want := make([]byte, len(l.Bytes))
	if fill(want, l.from); !bytes.Equal(l.Bytes, want) {
		m.t.Fatalf("the octets lent from %d on have changed", l.from)
	}
	l.Return()
	m.loans = slices.Delete(m.loans, i, i+1)
}

// step does one operation of a script.
func (m *sendModel) step(ops *script) {
	switch ops.next() % 12 {
	case 0, 1:
		if m.space != nil {
			m.commit()
		}
		m.write(ops.upTo(3 * chunkSize))
	case 11:
		if m.space == nil {
			m.reserve(ops.upTo(chunkSize))
		} else {
			m.commit()
		}
	case 2, 3: // new data, as sent by some path
		from := m.una + ops.upTo(m.end-m.una)
		m.pin(run{from, from + ops.upTo(m.end-from)})
	case 4:
		m.ack(m.una + ops.upTo(m.end-m.una))
	case 5:
		m.ack(m.una + ops.upTo(m.size) - m.size/2) // old, or of a DATA_FIN
	case 6, 7:
		if len(m.pins) > 0 {
			i := ops.next() % len(m.pins)
			p := m.pins[i]
			m.unpin(i, ops.upTo(p.to-p.from), ops.next()%2 == 0)
		}
	case 8:
		from := m.una + ops.upTo(m.end-m.una)
		m.lend(run{from, from + min(ops.upTo(m.end-from), chunkSize)})
		if len(m.pins) > 0 {
			m.lend(m.pins[ops.next()%len(m.pins)])
		}
	case 9:
		for range min(len(m.loans), 2) {
			m.giveBack(ops.next() % len(m.loans))
		}
	case 10:
		m.s.Age()
	}
	m.check()
}

// check compares everything that can be seen, and the octets at the ends of
// what must be held.
func (m *sendModel) check() {
	m.t.Helper()
	s := m.s
	if s.Una() != m.at(m.una) || s.End() != m.at(m.end) || s.Free() != m.size-(m.end-m.una) {
		m.t.Fatalf("una %d end %d free %d, want %d %d %d", s.Una(), s.End(), s.Free(), m.at(m.una), m.at(m.end), m.size-(m.end-m.una))
	}
	m.checkBytes(run{m.una, m.end})
	for _, p := range m.pins {
		m.checkBytes(p)
	}
	if got, want := s.pool.out, len(s.kept)+len(s.live); got != want {
		m.t.Fatalf("%d chunks taken, %d in place", got, want)
	}
	for _, c := range s.kept {
		m.checkPins(c)
		if m.una < m.index(c)+chunkSize || c.pins == 0 {
			m.t.Fatalf("chunk at %d kept with %d pins; una %d", m.index(c), c.pins, m.una)
		}
	}
	for _, c := range s.live {
		m.checkPins(c)
	}
	if n := len(s.live) * chunkSize; n > m.end-m.una+2*chunkSize || m.una == m.end && len(m.pins) == 0 && n > 0 && m.space == nil {
		m.t.Fatalf("%d octets of chunks for %d octets", n, m.end-m.una)
	}
	if s.Pinned() != len(s.kept)*chunkSize {
		m.t.Fatalf("Pinned() = %d, %d chunks kept", s.Pinned(), len(s.kept))
	}
	m.note()
	if n := s.pool.out + len(s.pool.lent) + len(s.pool.spare); s.Memory() != n*chunkSize || n > m.most {
		m.t.Fatalf("%d chunks and %d octets held, never more than %d chunks at once", n, s.Memory(), m.most)
	}
}

func (m *sendModel) index(c sendChunk) int { return c.from.Sub(m.start) }

func (m *sendModel) checkPins(c sendChunk) {
	want := 0
	for _, p := range m.pins {
		want += p.shared(m.index(c), m.index(c)+chunkSize)
	}
	if c.pins != want {
		m.t.Fatalf("chunk at %d counts %d pins, want %d", m.index(c), c.pins, want)
	}
}

// checkBytes copies up to some hundred octets from both ends of r.
func (m *sendModel) checkBytes(r run) {
	m.t.Helper()
	n := min(r.to-r.from, 300)
	got, want := make([]byte, n), make([]byte, n)
	for _, i := range []int{r.from, r.to - n} {
		m.s.CopyAt(got, m.at(i))
		if fill(want, i); !bytes.Equal(got, want) {
			m.t.Fatalf("octets from %d are not those written", i)
		}
	}
}

// finish acknowledges and unpins all: then only spare chunks remain (law 9).
func (m *sendModel) finish() {
	if m.space != nil {
		m.commit()
	}
	m.ack(m.end)
	for len(m.pins) > 0 {
		p := m.pins[0]
		m.unpin(0, p.to-p.from, true)
	}
	for len(m.loans) > 0 {
		m.giveBack(0)
	}
	m.check()
	if m.s.Pinned() != 0 || m.s.pool.out != 0 {
		m.t.Fatalf("all acknowledged and unpinned: %d chunks in use", m.s.pool.out)
	}
	m.s.Trim()
	if got := m.s.Memory(); got != 0 {
		m.t.Fatalf("after Trim %d octets held", got)
	}
}

func runSend(t *testing.T, start seq.Data, size int, ops script) {
	m := newSendModel(t, start, size)
	for len(ops) > 0 {
		m.step(&ops)
	}
	m.finish()
}

func TestSendAgainstModel(t *testing.T) {
	for _, size := range []int{1, 1000, chunkSize, 10*chunkSize + 17} {
		forScripts(t, 400, func(t *testing.T, start seq.Data, ops script) { runSend(t, start, size, ops) })
	}
}

func FuzzSend(f *testing.F) {
	f.Add(uint64(starts[2]), []byte(seeded(1, 200)))
	f.Fuzz(func(t *testing.T, start uint64, ops []byte) {
		if len(ops) > 4096 {
			ops = ops[:4096]
		}
		runSend(t, seq.Data(start), 5*chunkSize, ops)
	})
}

// RFC 8684, Section 3.3.6: data stays until acknowledged at connection level
// and on all subflows that sent it.
func TestD15_PinnedOctetsOutliveDataAck(t *testing.T) {
	m := newSendModel(t, nearWrap, 8*chunkSize)
	m.write(8 * chunkSize)
	silent, lively := run{chunkSize + 100, chunkSize + 101}, run{0, 8 * chunkSize}
	m.pin(silent)
	m.pin(lively)
	m.ack(8 * chunkSize)
	if got, want := m.s.Pinned(), 8*chunkSize; got != want {
		t.Errorf("all pinned: Pinned() = %d, want %d", got, want)
	}
	m.unpin(1, 8*chunkSize, true)
	if got, want := m.s.Pinned(), chunkSize; got != want {
		t.Errorf("one octet pinned: Pinned() = %d, want %d", got, want)
	}
	m.check()
	m.unpin(0, 1, true)
	if got := m.s.Pinned(); got != 0 {
		t.Errorf("nothing pinned: Pinned() = %d", got)
	}
}

// A path that stays silent for ever keeps its own flight and never stops the
// writer.
func TestPinsNeverStopTheWriter(t *testing.T) {
	m := newSendModel(t, nearWrap, 2*chunkSize)
	m.write(2 * chunkSize)
	m.pin(run{0, 2 * chunkSize}) // the silent path's flight
	for range 100 {
		m.ack(m.end)
		m.write(2 * chunkSize)
	}
	m.check()
	if got, want := m.s.Pinned(), 2*chunkSize; got != want {
		t.Errorf("Pinned() = %d, want %d", got, want)
	}
}

func TestSendOfNothing(t *testing.T) {
	for _, size := range []int{-1, 0} {
		s := NewSend(5, size)
		if n := s.Write([]byte("x")); n != 0 {
			t.Errorf("size %d: wrote %d", size, n)
		}
		s.CopyAt(nil, 99)
		s.Pin(seq.Range{From: 7, To: 7})
		s.Unpin(seq.Range{From: 7, To: 3})
		s.Ack(9)
		if s.Una() != 5 || s.End() != 5 || s.Free() != 0 || s.Memory() != 0 {
			t.Errorf("size %d: una %d end %d free %d memory %d", size, s.Una(), s.End(), s.Free(), s.Memory())
		}
	}
}

// An unused store, and one that is only read from, hold no memory.
func TestSendMemoryIsLazy(t *testing.T) {
	s := NewSend(nearWrap, 4<<20)
	if got := s.Memory(); got != 0 {
		t.Errorf("new: %d octets", got)
	}
	s.Write([]byte{1})
	if got := s.Memory(); got != chunkSize {
		t.Errorf("one octet written: %d octets", got)
	}
	s.Ack(s.End())
	s.Trim()
	if got := s.Memory(); got != 0 {
		t.Errorf("acknowledged and trimmed: %d octets", got)
	}
}

// Law 9: after Close everything is back, and records that still unpin do no
// harm.
func TestLaw9_SendClose(t *testing.T) {
	s := NewSend(nearWrap, 4<<20)
	s.Write(make([]byte, 3<<20))
	all := seq.Range{From: s.Una(), To: s.End()}
	s.Pin(all)
	s.Ack(all.From.Add(1 << 20))
	s.Close()
	s.Unpin(all)
	s.Pin(all)
	s.Ack(all.To)
	if n := s.Write([]byte{1}); n != 0 || s.Free() != 0 || s.Pinned() != 0 || s.Memory() != 0 {
		t.Errorf("closed: wrote %d, free %d, pinned %d, memory %d", n, s.Free(), s.Pinned(), s.Memory())
	}
	if s.Una() != all.From.Add(1<<20) || s.End() != all.To {
		t.Errorf("closed: una %d end %d", s.Una(), s.End())
	}
}

// What only a bug in the stack can ask for is loud.
func TestSendBugsPanic(t *testing.T) {
	for name, f := range map[string]func(*Send){
		"copy beyond the end":  func(s *Send) { s.CopyAt(make([]byte, 2), s.End()-1) },
		"copy of what is gone": func(s *Send) { s.CopyAt(make([]byte, 1), s.Una()-1) },
		"copy between the kept": func(s *Send) {
			s.Pin(seq.Range{From: s.End() - 1, To: s.End()})
			s.Write(make([]byte, chunkSize))
			s.Ack(s.End())
			s.CopyAt(make([]byte, 1), nearWrap)
		},
		"copy after Close":          func(s *Send) { s.Close(); s.CopyAt(make([]byte, 1), s.Una()) },
		"pin beyond the end":        func(s *Send) { s.Pin(seq.Range{From: s.End(), To: s.End() + 1}) },
		"write to what is reserved": func(s *Send) { s.Reserve(9); s.Write([]byte{1}) },
		"reserve twice":             func(s *Send) { s.Reserve(9); s.Reserve(9) },
		"unpin without pinning":     func(s *Send) { s.Unpin(seq.Range{From: s.Una(), To: s.End()}) },
	} {
		t.Run(name, func(t *testing.T) {
			s := NewSend(nearWrap, 4<<20)
			s.Write(make([]byte, 3*chunkSize-9))
			s.Ack(nearWrap.Add(2 * chunkSize))
			defer func() {
				if said, ok := recover().(string); !ok || !strings.HasPrefix(said, "BUG:") {
					t.Errorf("panic %q, want one that says BUG:", said)
				}
			}()
			f(s)
		})
	}
}
