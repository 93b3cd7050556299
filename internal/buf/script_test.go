package buf

import (
	"math/rand/v2"
	"testing"

	"github.com/mpnc/mpnc/internal/seq"
)

// starts are data sequence numbers before everything that can wrap: the 64
// bits, the low 32 bits, the sign of a distance.
var starts = []seq.Data{0, 1<<64 - 1, 1<<64 - 70_000, 1<<64 - 900_000, 1<<32 - 1, 1<<32 - 300_000, 1<<63 - 65_536}

// script is a run of operations written as bytes, from a seed or a fuzzer.
type script []byte

func seeded(seed uint64, n int) script {
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make(script, n)
	rng.Read(b)
	return b
}

// next returns the next byte, 0 when the script is over.
func (s *script) next() int {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return int(b)
}

// upTo returns a number in [0, limit], small ones as likely as large ones.
func (s *script) upTo(limit int) int {
	if limit <= 0 {
		return 0
	}
	kind, n := s.next(), s.next()<<16|s.next()<<8|s.next()
	if kind%4 == 0 {
		return min(n%16, limit)
	}
	return n % (limit + 1)
}

// pattern is the stream that senders in tests write: octet i of it is
// pattern[i % len(pattern)], a period that no chunk or power of two shares.
var pattern = func() []byte {
	b := make([]byte, 65_521)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}()

// fill writes the stream from octet i on to p.
func fill(p []byte, i int) {
	for len(p) > 0 {
		n := copy(p, pattern[i%len(pattern):])
		p, i = p[n:], i+n
	}
}

// forScripts runs f with seeded scripts of n operations or so from every start.
func forScripts(t *testing.T, n int, f func(t *testing.T, start seq.Data, ops script)) {
	t.Helper()
	for i, start := range starts {
		for seed := range uint64(2) {
			f(t, start, seeded(seed<<8|uint64(i), n*5))
			if t.Failed() {
				t.Fatalf("start %d, seed %d", start, seed)
			}
		}
	}
}
