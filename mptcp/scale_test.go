package mptcp

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"
)

// many opens n connections, a few at a time, each of which has said a word
// each way.
func (p *pair) many(l *Listener, n int) (clients, servers []*Conn) {
	p.t.Helper()
	clients, servers = make([]*Conn, n), make([]*Conn, n)
	var next, wg = make(chan int), sync.WaitGroup{}
	for range 16 {
		wg.Go(func() {
			for i := range next {
				c, err := p.client.Dial(context.Background(), "tcp", p.address("80"))
				if err == nil {
					_, err = c.Write([]byte("hello"))
				}
				if err == nil {
					_, err = io.ReadFull(c, make([]byte, 7))
				}
				if err != nil {
					p.t.Error(err)
					return
				}
				clients[i] = c
			}
		})
	}
	wg.Go(func() {
		for i := range n {
			s, err := l.AcceptContext(context.Background())
			if err != nil {
				p.t.Error(err)
				return
			}
			servers[i] = s
			wg.Go(func() {
				if _, err := io.ReadFull(s, make([]byte, 5)); err != nil {
					p.t.Error(err)
				}
				if _, err := s.Write([]byte("goodbye")); err != nil {
					p.t.Error(err)
				}
			})
		}
	})
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	return clients, servers
}

var sizes = []int{10, 100, 1000, 10000}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC() // the first leaves what the pools of sync held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func (ts *timers) size() int {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return len(ts.heap)
}

// Ten thousand connections in one stack: each carries data, none costs much
// memory or has a deadline while it is idle, and nothing is left of them afterwards.
func TestTenThousandConnections(t *testing.T) {
	n, limit := 10000, 12<<10
	if testing.Short() {
		n, limit = 500, 64<<10 // the queues of ports and readers count for more
	}
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		l := p.listen()
		before := heapInUse()
		clients, servers := p.many(l, n)
		if got := p.server.Stats(); got.Conns != n || got.Accepted != uint64(n) {
			t.Fatalf("%d connections, %d accepted, want %d", got.Conns, got.Accepted, n)
		}
		time.Sleep(time.Minute)
		if each := int(heapInUse()-before) / (2 * n); each > limit {
			t.Errorf("%d octets an idle connection, want at most %d", each, limit)
		}
		if c, s := p.client.timers.size(), p.server.timers.size(); c+s != 0 {
			t.Errorf("%d and %d deadlines of idle connections", c, s)
		}
		for i, c := range clients {
			write(t, c, fmt.Sprint("still here ", i))
			c.Close()
		}
		// They were accepted in some order.
		said := make(map[string]bool)
		for _, s := range servers {
			b, err := io.ReadAll(s)
			if err != nil {
				t.Fatal(err)
			}
			said[string(b)] = true
			s.Close()
		}
		if len(said) != n {
			t.Errorf("%d different words of %d connections", len(said), n)
		}
		time.Sleep(3 * time.Minute)
		if c, s := p.client.Stats(), p.server.Stats(); c.Conns+s.Conns != 0 || c.Guards != 0 || s.Guards != 1 {
			t.Errorf("left: %d and %d connections, %d and %d guards", c.Conns, s.Conns, c.Guards, s.Guards)
		}
	})
}

// BenchmarkScale is what connections cost where there are so many, in both
// stacks of one process: the octets of heap, and of resident memory, that an
// end of an idle one holds which has said something; how many a second are
// opened, each with a word each way, sixteen at a time; how many are opened and
// closed beside those that are idle, one after the other; what a word and its
// answer take beside them; and how many a second are closed, sixteen at a time,
// until nothing is left of them. testenv/scale makes the table of docs/scale.md of it.
func BenchmarkScale(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				scale(b, n)
			}
		})
	}
}

// Of BenchmarkScale: what is done beside the idle connections.
const (
	besideConns = 2000
	besideWords = 5000
)

func scale(b *testing.B, n int) {
	short := Config{TimeWait: time.Millisecond}
	p := newPair(b, setup{client: short, server: short})
	defer p.close()
	l := p.listen()
	p.warm(l)
	heap, rss := heapInUse(), resident()

	start := time.Now()
	clients, servers := p.many(l, n)
	b.ReportMetric(rate(n, start), "opened/s")

	time.Sleep(2500 * time.Millisecond) // then they have been idle for a second, which gives memory back
	b.ReportMetric(float64(heapInUse()-heap)/float64(2*n), "heap-B/end")
	if rss > 0 {
		b.ReportMetric(max(0, float64(resident()-rss)/float64(2*n)), "rss-B/end")
	}

	start = time.Now()
	for range besideConns {
		c, s := p.connect(l)
		c.Close()
		s.Close()
	}
	b.ReportMetric(rate(besideConns, start), "beside/s")

	ends := together(clients, servers)
	c, s := ends[n/2][0], ends[n/2][1]
	start = time.Now()
	for range besideWords {
		write(b, c, "hello")
		expect(b, s, "hello")
		write(b, s, "goodbye")
		expect(b, c, "goodbye")
	}
	b.ReportMetric(float64(time.Since(start).Microseconds())/besideWords, "word-µs")

	start = time.Now()
	p.closeAll(ends)
	b.ReportMetric(rate(n, start), "closed/s")
	b.ReportMetric(0, "ns/op") // it would be the sum of all this
}

func rate(n int, since time.Time) float64 { return float64(n) / time.Since(since).Seconds() }

// warm has queues and pools made that do not belong to a connection.
func (p *pair) warm(l *Listener) {
	for range 100 {
		c, s := p.connect(l)
		write(p.t, c, "hello")
		expect(p.t, s, "hello")
		c.Close()
		s.Close()
	}
	p.forgotten()
}

// together returns the two ends of each connection.
func together(clients, servers []*Conn) (ends [][2]*Conn) {
	far := make(map[string]*Conn, len(servers))
	for _, s := range servers {
		far[s.RemoteAddr().String()] = s
	}
	for _, c := range clients {
		ends = append(ends, [2]*Conn{c, far[c.LocalAddr().String()]})
	}
	return ends
}

// closeAll closes connections, a few at a time and the client's end first, and
// returns when both stacks have forgotten everything.
func (p *pair) closeAll(ends [][2]*Conn) {
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := i; j < len(ends); j += 16 {
				ends[j][0].Close()
				if n, err := ends[j][1].Read(make([]byte, 1)); n != 0 || err != io.EOF {
					p.t.Errorf("Read: %d, %v, want EOF", n, err)
				}
				ends[j][1].Close()
			}
		})
	}
	wg.Wait()
	p.forgotten()
}

// forgotten waits until neither stack has a connection.
func (p *pair) forgotten() {
	p.t.Helper()
	for start := time.Now(); p.client.Stats().Conns+p.server.Stats().Conns > 0; time.Sleep(100 * time.Microsecond) {
		if time.Since(start) > time.Minute {
			p.t.Fatalf("left: %d and %d connections", p.client.Stats().Conns, p.server.Stats().Conns)
		}
	}
}

// resident returns how much memory of this process is resident once what is
// free was given back, 0 where that is not told.
func resident() int {
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, pages int
	fmt.Sscan(string(text), &size, &pages)
	return pages * os.Getpagesize()
}

// BenchmarkOpenClose opens and closes connections, one after the other, beside
// so many others that are idle. Both ends close; TIME-WAIT is short.
func BenchmarkOpenClose(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			short := Config{TimeWait: time.Millisecond}
			p := newPair(b, setup{client: short, server: short})
			defer p.close()
			l := p.listen()
			p.many(l, n)
			b.ReportAllocs()
			for b.Loop() {
				c, s := p.connect(l)
				c.Close()
				s.Close()
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "conns/s")
		})
	}
}
