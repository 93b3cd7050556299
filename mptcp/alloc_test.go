//go:build !race

package mptcp

import (
	"io"
	"testing"

	"github.com/mpnc/mpnc/internal/netio"
)

// Nothing is allocated (the race detector aside) for what is written, sent, acknowledged and read, once
// the buffers are as large as they have to be.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	for name, pipe := range map[string]netio.PipeConfig{
		"trains":  {MaxTrain: 65536, Checksum: true},
		"packets": {},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, setup{pipe: pipe, client: Config{NoDelay: true}})
			defer p.close()
			c, s := p.conns()
			flight := make([]byte, 256<<10)
			rest := &budget{}
			limited := &io.LimitedReader{R: nothing{}}
			for name, step := range map[string]func(){
				"Write and Read": func() {
					c.Write(flight[:6])
					io.ReadFull(s, flight[:6])
				},
				"large Write and Read": func() {
					c.Write(flight)
					io.ReadFull(s, flight)
				},
				"ReadFrom and WriteTo": func() {
					limited.N, rest.n = int64(len(flight)), len(flight)
					c.ReadFrom(limited)
					s.WriteTo(rest)
				},
			} {
				// Buffers, and the pipe's own, grow as long as the goroutines take
				// turns as they never did; what each step allocates stays.
				n := testing.AllocsPerRun(50, step)
				for tries := 0; n != 0 && tries < 100; tries++ {
					n = testing.AllocsPerRun(50, step)
				}
				if n != 0 {
					t.Errorf("%s: %v allocations a time, want 0", name, n)
				}
			}
		})
	}
}

// budget is a writer that has an error with the last octet that it takes.
type budget struct{ n int }

func (b *budget) Write(p []byte) (int, error) {
	if b.n -= len(p); b.n <= 0 {
		return len(p), io.EOF
	}
	return len(p), nil
}
