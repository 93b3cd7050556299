package buf

import "testing"

// BenchmarkSend is a train's way through the send buffer: written, copied to
// a segment, pinned, acknowledged on the subflow and by DATA_ACK.
func BenchmarkSend(b *testing.B) {
	s := NewSend(nearWrap, 4<<20)
	train, segment := make([]byte, 64<<10), make([]byte, 64<<10)
	for range 8 { // a flight, so that chunks are shared by trains
		s.Write(train)
	}
	b.SetBytes(int64(len(train)))
	b.ReportAllocs()
	for b.Loop() {
		sendTrain(s, train, segment)
	}
}

// BenchmarkRecv is a train's way through the receive buffer, in order.
func BenchmarkRecv(b *testing.B) {
	r := NewRecv(nearWrap+5, 6<<20)
	train, out := make([]byte, 64<<10), make([]byte, 64<<10)
	b.SetBytes(int64(len(train)))
	b.ReportAllocs()
	for b.Loop() {
		r.Place(r.Next(), train)
		r.Read(out)
	}
}

// BenchmarkRecvSwapped is the same with every two trains in the wrong order.
func BenchmarkRecvSwapped(b *testing.B) {
	r := NewRecv(nearWrap+5, 6<<20)
	train, out := make([]byte, 64<<10), make([]byte, 128<<10)
	b.SetBytes(2 * int64(len(train)))
	b.ReportAllocs()
	for b.Loop() {
		recvSwapped(r, train, out)
	}
}

// BenchmarkRecvFragments places small segments every other of which is late,
// the worst a lossy path does to the set of what arrived.
func BenchmarkRecvFragments(b *testing.B) {
	r := NewRecv(0, 6<<20)
	seg, out := make([]byte, 1400), make([]byte, 6<<20)
	b.SetBytes(2 * 1000 * int64(len(seg)))
	b.ReportAllocs()
	for b.Loop() {
		start := r.Next()
		for parity := 1; parity >= 0; parity-- {
			for i := parity; i < 2000; i += 2 {
				r.Place(start.Add(i*len(seg)), seg)
			}
		}
		r.Read(out)
	}
}
