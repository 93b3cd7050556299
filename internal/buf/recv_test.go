package buf

import (
	"bytes"
	"strings"
	"testing"

	"github.com/mpnc/mpnc/internal/seq"
)

// recvModel is a Recv by its definition: the whole stream, and of each octet
// whether it has arrived.
type recvModel struct {
	t                *testing.T
	r                *Recv
	start            seq.Data
	size             int
	stream           []byte
	have             []bool
	read, next, edge int
	most             int  // octets that grow makes of the size
	version          byte // so that a second copy of an octet is another
}

func newRecvModel(t *testing.T, start seq.Data, size int) *recvModel {
	return &recvModel{t: t, r: NewRecv(start, size), start: start, size: size, edge: size}
}

func (m *recvModel) at(i int) seq.Data { return m.start.Add(i) }

// place puts n octets, of which no other copy has the same value, at i, which
// may be before the start of the stream.
func (m *recvModel) place(i, n int) {
	m.t.Helper()
	m.placeFrom(make([]byte, n), i)
}

// placeFrom is place of all of p, which is filled first.
func (m *recvModel) placeFrom(p []byte, i int) {
	m.t.Helper()
	m.version++
	n, fresh := len(p), 0
	for j := range p {
		p[j] = m.version
	}
	for j := max(i, 0); j < i+n && j < m.edge; j++ {
		for j >= len(m.have) {
			m.have, m.stream = append(m.have, false), append(m.stream, 0)
		}
		if !m.have[j] {
			m.have[j], m.stream[j] = true, m.version
			fresh++
		}
	}
	for m.next < len(m.have) && m.have[m.next] {
		m.next++
	}
	if got := m.r.Place(m.at(i), p); got != fresh {
		m.t.Fatalf("Place(%d, %d octets) = %d fresh, want %d", i, n, got, fresh)
	}
}

func (m *recvModel) consume(n int) {
	m.t.Helper()
	p := make([]byte, n)
	want := m.stream[m.read:min(m.read+n, m.next)]
	if got := m.r.Read(p); got != len(want) || !bytes.Equal(p[:got], want) {
		m.t.Fatalf("Read of %d at %d: %d octets (want %d), or not those that arrived first", n, m.read, got, len(want))
	}
	m.advance(len(want))
}

// offer lends memory for n octets while k arrive at i: what is in order goes there
// if nothing waits before it.
func (m *recvModel) offer(n, i, k int) {
	m.t.Helper()
	p, next, want := make([]byte, n), m.next, 0
	straight := m.read == m.next && m.r.OutOfOrder() == 0
	m.r.Offer(p)
	m.place(i, k)
	if straight {
		want = min(n, m.next-next)
	}
	if got := m.r.Handed(); got != want {
		m.t.Fatalf("Handed() = %d, want %d", got, want)
	}
	if got := m.r.Taken(); got != want || !bytes.Equal(p[:got], m.stream[m.read:m.read+got]) {
		m.t.Fatalf("Taken() = %d, want %d, or not what arrived", got, want)
	}
	m.advance(want)
}

// pin is offer of memory for n octets that somebody writes to before: three packets,
// each to a place of its own, the second perhaps elsewhere.
func (m *recvModel) pin(n, size int, elsewhere bool) {
	m.t.Helper()
	p, from := make([]byte, n), m.next
	straight := m.read == m.next && m.r.OutOfOrder() == 0
	m.r.Offer(p)
	q := m.r.Pin()
	if (q != nil) != (straight && n > 0) || q != nil && (&q[0] != &p[0] || len(q) != n) {
		m.t.Fatalf("pinned %d of %d octets, straight %t", len(q), n, straight)
	}
	if q != nil && m.r.Pin() != nil {
		m.t.Fatal("pinned twice")
	}
	size = max(3, min(size, len(q)/3))
	for k := range 3 {
		at := from + k*size - k // the next begins with what is there already
		switch {
		case (k+1)*size > len(q):
		case k == 1 && elsewhere:
			m.placeFrom(make([]byte, size), at)
		default:
			m.placeFrom(q[k*size:][:size-k], at)
		}
	}
	m.r.Unpin()
	got := m.r.Taken()
	if !bytes.Equal(p[:got], m.stream[m.read:m.read+got]) {
		m.t.Fatalf("Taken() = %d, and not what arrived", got)
	}
	if want := min(size, m.next-from); len(q) >= size && got < want {
		m.t.Fatalf("Taken() = %d, want %d at least", got, want)
	}
	m.advance(got)
}

// discard is consume without the copy.
func (m *recvModel) discard(n int) {
	m.t.Helper()
	p := m.r.Peek()
	if (len(p) == 0) != (m.read == m.next) || cap(p) != len(p) || !bytes.Equal(p, m.stream[m.read:m.read+len(p)]) {
		m.t.Fatalf("Peek at %d: %d octets of %d that are readable, or not those that arrived first", m.read, len(p), m.next-m.read)
	}
	n = min(n, len(p))
	m.r.Discard(n)
	m.advance(n)
}

// advance is what reading n octets does to the edge.
func (m *recvModel) advance(n int) {
	if n == 0 {
		return
	}
	m.read += n
	m.openEdge()
}

func (m *recvModel) openEdge() {
	if to := m.read + m.size; to-m.edge >= min(m.size/2, maxEdgeStep) {
		m.edge = to
	}
}

// resize makes the buffer smaller, or larger, up to four times what it was first.
func (m *recvModel) resize(size int) {
	if m.most == 0 {
		m.most = 4 * m.size
	}
	size = min(size, m.most)
	m.r.Resize(size)
	if size != m.size {
		m.size = size
		m.openEdge()
	}
}

func (m *recvModel) step(ops *script) {
	before := m.r.Edge()
	switch ops.next() % 13 {
	case 12:
		m.pin(ops.upTo(2*chunkSize), ops.upTo(chunkSize), ops.next()%2 == 0)
	case 11:
		m.offer(ops.upTo(2*chunkSize), m.next, ops.upTo(2*chunkSize))
	case 10:
		m.offer(ops.upTo(m.size), m.next-ops.upTo(m.size), ops.upTo(m.size+chunkSize))
	case 9:
		m.resize(ops.upTo(2 * chunkSize))
	case 8:
		m.discard(ops.upTo(m.size))
	case 0, 1:
		m.place(m.next, ops.upTo(2*chunkSize))
	case 2, 3:
		m.place(m.next+ops.upTo(m.size), ops.upTo(2*chunkSize))
	case 4:
		m.place(m.next-ops.upTo(m.size), ops.upTo(m.size+chunkSize))
	case 5:
		m.place(m.next+ops.upTo(m.size), ops.upTo(3))
	case 6, 7:
		m.consume(ops.upTo(m.size))
	}
	m.check()
	if m.r.Edge().Less(before) {
		m.t.Fatalf("the edge retreated from %d to %d", before, m.r.Edge())
	}
}

func (m *recvModel) check() {
	m.t.Helper()
	r := m.r
	if r.Next() != m.at(m.next) || r.Readable() != m.next-m.read || r.Edge() != m.at(m.edge) {
		m.t.Fatalf("next %d readable %d edge %d, want %d %d %d", r.Next(), r.Readable(), r.Edge(), m.at(m.next), m.next-m.read, m.at(m.edge))
	}
	if got, want := r.OutOfOrder(), r.late.Len(); got != want {
		m.t.Fatalf("OutOfOrder() = %d, the set has %d", got, want)
	}
	held := 0
	for _, c := range r.chunks {
		if c != nil {
			held++
		}
	}
	// What was allowed before the buffer became smaller may still come.
	most := max(m.size, m.edge-m.read) + 2*chunkSize
	if held != r.pool.out || held*chunkSize > most || len(r.chunks)*chunkSize > most {
		m.t.Fatalf("%d chunks held, %d taken, %d slots, for %d octets at most", held, r.pool.out, len(r.chunks), most)
	}
	if held > 0 && r.Readable()+r.OutOfOrder() == 0 {
		m.t.Fatalf("%d chunks held for nothing", held)
	}
}

// finish fills the holes and reads everything: then only spare chunks remain.
func (m *recvModel) finish() {
	m.place(m.next, m.edge-m.next)
	m.consume(m.next - m.read)
	m.check()
	if m.r.Readable() != 0 || m.r.OutOfOrder() != 0 || m.r.pool.out != 0 {
		m.t.Fatalf("all read: readable %d, late %d, %d chunks in use", m.r.Readable(), m.r.OutOfOrder(), m.r.pool.out)
	}
	m.r.Trim()
	if got := m.r.Memory(); got != 0 {
		m.t.Fatalf("after Trim %d octets held", got)
	}
}

func runRecv(t *testing.T, start seq.Data, size int, ops script) {
	m := newRecvModel(t, start, size)
	for len(ops) > 0 {
		m.step(&ops)
	}
	m.finish()
}

func TestRecvAgainstModel(t *testing.T) {
	for _, size := range []int{1, 2, 100, 3*chunkSize + 17} {
		forScripts(t, 150, func(t *testing.T, start seq.Data, ops script) { runRecv(t, start, size, ops) })
	}
}

func FuzzRecv(f *testing.F) {
	f.Add(uint64(starts[2]), []byte(seeded(1, 200)))
	f.Fuzz(func(t *testing.T, start uint64, ops []byte) {
		if len(ops) > 1024 {
			ops = ops[:1024]
		}
		runRecv(t, seq.Data(start), 3*chunkSize, ops)
	})
}

// RFC 8684, Section 3.3.1: of data received twice the first copy counts.
func TestD9_FirstCopyWins(t *testing.T) {
	r := NewRecv(nearWrap, 1000)
	r.Place(nearWrap.Add(2), []byte("cd"))
	r.Place(nearWrap.Add(6), []byte("gh"))
	if got := r.Place(nearWrap, []byte("AB??EF??IJ")); got != 6 {
		t.Errorf("fresh = %d, want 6", got)
	}
	p := make([]byte, 20)
	if got := string(p[:r.Read(p)]); got != "ABcdEFghIJ" {
		t.Errorf("read %q", got)
	}
}

// RFC 8684, Section 3.8: data beyond the window is not taken. The number is
// the peer's to choose; all places on the circle are tried.
func TestD11_BeyondTheEdgeIsRefused(t *testing.T) {
	const size = 1000
	for _, next := range starts {
		for shift := range 64 {
			for _, delta := range []int{-size - 11, -size, -size + 1, -11, -10, -9, -1, 0, 1, size - 10, size - 9, size - 1, size} {
				d := 1<<shift + delta
				for _, at := range []seq.Data{next.Add(d), next.Add(-d)} {
					r := NewRecv(next, size)
					got := r.Place(at, make([]byte, 10))
					from, to := max(at.Sub(next), 0), min(at.Sub(next)+10, size)
					if at.Sub(next) > size || at.Sub(next) < -10 {
						from, to = 0, 0
					}
					if want := max(0, to-from); got != want {
						t.Fatalf("at next%+d: took %d octets, want %d", at.Sub(next), got, want)
					}
				}
			}
		}
	}
}

// RFC 9293, Section 3.8.6.2.2 (rows A4, T71): the right edge moves in steps
// that are worth telling, never left, and all the way when all is read.
func TestA4_T71_EdgeMovesInSteps(t *testing.T) {
	for _, test := range []struct{ size, step int }{
		{1 << 20, maxEdgeStep},
		{2 * maxEdgeStep, maxEdgeStep},
		{100, 50},
		{3, 1},
		{1, 1},
	} {
		r := NewRecv(nearWrap, test.size)
		r.Place(nearWrap, make([]byte, test.size))
		var one [1]byte
		edge, read := r.Edge(), 0
		for r.Read(one[:]) == 1 {
			read++
			moved := r.Edge().Sub(edge)
			if moved != 0 && moved < test.step {
				t.Fatalf("size %d: moved by %d, want steps of %d", test.size, moved, test.step)
			}
			edge = r.Edge()
			if short := nearWrap.Add(read + test.size).Sub(edge); short < 0 || short >= test.step {
				t.Fatalf("size %d: after reading %d the edge is %d short", test.size, read, short)
			}
		}
	}
}

// Law 8: a peer that sends an octet here and there cannot make the set of runs
// grow without bound; what joins a run, or the stream, is still taken.
func TestLaw8_RunsAreBounded(t *testing.T) {
	r := NewRecv(nearWrap, 1<<20)
	at := func(i int) seq.Data { return nearWrap.Add(i) }
	for i := range MaxSpans + 50 { // octets 2, 5, 8, ...
		want := 1
		if i >= MaxSpans {
			want = 0
		}
		if got := r.Place(at(3*i+2), []byte{1}); got != want {
			t.Fatalf("run %d: took %d, want %d", i, got, want)
		}
	}
	last := 3*MaxSpans - 1 // the last octet that was taken
	for _, test := range []struct {
		name         string
		at, n, fresh int
	}{
		{"apart", last + 2, 5, 0},
		{"there already", last, 1, 0},
		{"joins a run from above", last + 1, 1, 1},
		{"joins a run from below", last - 1, 1, 1},
		{"the stream goes on, apart from all runs", 0, 1, 1},
		{"still apart", last + 10, 1, 0},
		{"joins two runs", 6, 2, 2},
		{"a new run, now that there is room", last + 10, 1, 1},
		{"apart again", last + 20, 1, 0},
		{"covers runs", 30, 10, 7},
	} {
		if got := r.Place(at(test.at), make([]byte, test.n)); got != test.fresh {
			t.Errorf("%s: took %d, want %d", test.name, got, test.fresh)
		}
	}
	if got, want := r.Next(), at(1); got != want {
		t.Errorf("next %d, want %d", got, want)
	}
}

// Law 8: memory is bounded by the size, however octets are strewn.
func TestLaw8_RecvMemoryIsBounded(t *testing.T) {
	const size = 20 * chunkSize
	r := NewRecv(nearWrap, size)
	for at := nearWrap + 1; at.Less(r.Edge()); at = at.Add(chunkSize / 2) {
		r.Place(at, []byte{1})
	}
	if got, want := r.Memory(), size+chunkSize; got > want {
		t.Errorf("%d octets of memory, want at most %d", got, want)
	}
}

func TestRecvOfNothing(t *testing.T) {
	for _, size := range []int{-1, 0} {
		r := NewRecv(5, size)
		if n := r.Place(5, []byte{1}) + r.Place(4, []byte{1, 2}) + r.Place(5, nil); n != 0 {
			t.Errorf("size %d: took %d", size, n)
		}
		if n := r.Read(make([]byte, 1)); n != 0 || r.Edge() != 5 || r.Memory() != 0 {
			t.Errorf("size %d: read %d, edge %d, memory %d", size, n, r.Edge(), r.Memory())
		}
	}
	r := NewRecv(5, 10)
	r.Place(5, []byte("abc"))
	if n := r.Read(nil); n != 0 || r.Readable() != 3 {
		t.Errorf("read %d of nothing, %d readable", n, r.Readable())
	}
}

// Law 9: after Close everything is back and nothing more is taken.
func TestLaw9_RecvClose(t *testing.T) {
	r := NewRecv(nearWrap, 4<<20)
	r.Place(nearWrap, make([]byte, chunkSize+1))
	r.Place(nearWrap.Add(2*chunkSize), make([]byte, 1<<20))
	next, edge := r.Next(), r.Edge()
	r.Close()
	if n := r.Place(next, []byte{1}); n != 0 {
		t.Errorf("took %d after Close", n)
	}
	if n := r.Read(make([]byte, 10)); n != 0 || r.Readable() != 0 || r.OutOfOrder() != 0 || r.Memory() != 0 {
		t.Errorf("closed: read %d, readable %d, late %d, memory %d", n, r.Readable(), r.OutOfOrder(), r.Memory())
	}
	if r.Next() != next || r.Edge() != edge {
		t.Errorf("closed: next %d edge %d, want %d %d", r.Next(), r.Edge(), next, edge)
	}
}

// What is lent stays as it is, whatever arrives and even if the store is closed.
func TestPeekedOctetsStay(t *testing.T) {
	m := newRecvModel(t, nearWrap, 4*chunkSize)
	m.place(0, 100)
	m.place(100, 100)
	p := m.r.Peek()
	want := bytes.Clone(p)
	m.place(200, 3*chunkSize)
	m.place(0, 1000)
	m.r.Close()
	m.r.Discard(len(p))
	if !bytes.Equal(p, want) {
		t.Error("the octets have changed")
	}
	if m.r.Peek() != nil {
		t.Error("something to read after Close")
	}
}

func TestDiscardOfTooMuchPanics(t *testing.T) {
	r := NewRecv(nearWrap, 100)
	r.Place(nearWrap, []byte("abc"))
	defer func() {
		if said, ok := recover().(string); !ok || !strings.HasPrefix(said, "BUG:") {
			t.Errorf("panic %q, want one that says BUG:", said)
		}
	}()
	r.Discard(4)
}

// More room than the size, once: what lies before the new edge is taken, and the
// edge does not move on before the size says so.
func TestRecvExtend(t *testing.T) {
	r := NewRecv(100, 10)
	r.Extend(105) // nothing: it is allowed already
	if r.Edge() != 110 {
		t.Fatalf("edge %d", r.Edge())
	}
	r.Extend(130)
	if n := r.Place(100, make([]byte, 40)); n != 30 || r.Edge() != 130 {
		t.Fatalf("%d octets taken, edge %d", n, r.Edge())
	}
	for read := 0; read < 30; read += 5 {
		if n := r.Read(make([]byte, 5)); n != 5 {
			t.Fatalf("read %d", n)
		}
		if want := max(130, seq.Data(100+read+5+10)); r.Edge() != want {
			t.Errorf("edge %d after %d octets, want %d", r.Edge(), read+5, want)
		}
	}
}
