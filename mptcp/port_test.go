package mptcp

import (
	"bytes"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/netio"
	"github.com/mpnc/mpnc/internal/wire"
)

// sink is a device that keeps what is written to it.
type sink struct {
	mu      sync.Mutex
	writes  [][]int // of each write, the sources of its packets
	busy    atomic.Int32
	blocked chan struct{} // if not nil, each write takes one first
}

func (d *sink) Write(_ int, b *wire.Batch) error {
	if d.busy.Add(1) != 1 {
		panic("two writes at a time to one link")
	}
	defer d.busy.Add(-1)
	if d.blocked != nil {
		<-d.blocked
	}
	var from []int
	for i := range b.Pkts {
		from = append(from, int(b.Bytes(i)[0])<<8|int(b.Bytes(i)[1]))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writes = append(d.writes, from)
	return nil
}

func (d *sink) packets() (all []int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.writes {
		all = append(all, w...)
	}
	return all
}

func (d *sink) Read(*wire.Batch) error                            { select {} }
func (d *sink) Caps() netio.Caps                                  { return netio.Caps{} }
func (d *sink) Bind(netip.AddrPort, bool) (netio.Guard, error)    { return nil, nil }
func (d *sink) Route(_, _ netip.Addr, _ int) (r Route, err error) { return }
func (d *sink) Foreign(wire.Tuple) bool                           { return false }
func (d *sink) Close() error                                      { return nil }

// filler is a source with a number of packets of one size to send.
type filler struct {
	id, size int
	mu       sync.Mutex
	left     int
	inLine   bool
}

func (f *filler) pull(_ mono.Time, _ int, b *wire.Batch) (n int) {
	for f.left > 0 && b.Room() >= f.size {
		off := len(b.Slab)
		b.Slab = b.Slab[:off+f.size]
		b.Slab[off], b.Slab[off+1] = byte(f.id>>8), byte(f.id)
		b.Pkts = append(b.Pkts, wire.Packet{Off: uint32(off), Len: uint32(f.size)})
		f.left--
		n++
	}
	return n
}

func (f *filler) turn(p *port, ch *chores) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inLine = false
	f.poll(p, true, ch)
}

// poll is what a connection does.
func (f *filler) poll(p *port, turn bool, ch *chores) {
	for f.left > 0 && !f.inLine {
		res := p.send(0, f, turn)
		turn = false
		if res.drain {
			ch.ports = append(ch.ports, p)
		}
		f.inLine = res.line
	}
}

func (f *filler) start(s *Stack, p *port) {
	ch := s.chores()
	f.mu.Lock()
	f.poll(p, false, ch)
	f.mu.Unlock()
	ch.finish()
}

func newTestPort(d netio.Device) (*Stack, *port) {
	s := &Stack{now: func() mono.Time { return 0 }}
	return s, newPort(&device{Device: d}, 1, s)
}

// Everything that every source has leaves exactly once and in the source's
// order, by one writer at a time, and the port is idle afterwards.
func TestPortCombinesWriters(t *testing.T) {
	const sources, packets = 40, 500
	d := &sink{}
	s, p := newTestPort(d)
	var wg sync.WaitGroup
	fs := make([]*filler, sources)
	for i := range fs {
		fs[i] = &filler{id: i, size: 1500, left: packets}
		wg.Go(func() { fs[i].start(s, p) })
	}
	wg.Wait()
	s.wg.Wait() // helpers
	count := make([]int, sources)
	for _, id := range d.packets() {
		count[id]++
	}
	for i, n := range count {
		if n != packets {
			t.Errorf("source %d: %d packets left, want %d", i, n, packets)
		}
	}
	if p.draining || len(p.line) != 0 || len(p.queue.Pkts) != 0 {
		t.Errorf("the port is not idle: draining %v, %d in line, %d packets", p.draining, len(p.line), len(p.queue.Pkts))
	}
	if n := s.stats.tx.packets.Load(); n != sources*packets {
		t.Errorf("%d packets counted, want %d", n, sources*packets)
	}
}

// While a source with much to send keeps the port full, another one gets every
// second turn.
func TestPortGivesTurns(t *testing.T) {
	d := &sink{blocked: make(chan struct{})}
	s, p := newTestPort(d)
	hog := &filler{id: 1, size: 60 << 10, left: 64}
	late := &filler{id: 2, size: 60 << 10, left: 8}
	done := make(chan struct{})
	go func() { hog.start(s, p); close(done) }()
	d.blocked <- struct{}{} // the hog's first queue is being written
	late.start(s, p)        // finds it busy
	close(d.blocked)
	<-done
	s.wg.Wait()
	all := d.packets()
	last := bytes.LastIndexByte(low(all), 2)
	if len(all) != 72 {
		t.Fatalf("%d packets left, want 72", len(all))
	}
	// Two queues of four trains stand before the first turn; from then on
	// eight of the late source's trains share with as many of the hog's.
	if last > 8+16 {
		t.Errorf("the last packet of the late source left as number %d: %v", last, all)
	}
}

// While there is a line, a newcomer joins its end though there is room, and a
// turn is one train's worth.
func TestPortLine(t *testing.T) {
	_, p := newTestPort(&sink{})
	first, second := &filler{id: 1, size: 10 << 10, left: 99}, &filler{id: 2, size: 10 << 10, left: 99}
	p.send(0, first, false) // fills the queue
	if res := p.send(0, first, false); !res.line {
		t.Fatalf("send to a full queue: %+v", res)
	}
	p.queue.Reset()
	if res := p.send(0, second, false); res != (sent{line: true}) {
		t.Errorf("a newcomer was not put in line: %+v", res)
	}
	if src := p.next(); src != first {
		t.Fatalf("the turn is %v's", src)
	}
	if res := p.send(0, first, true); res.n != turnSize/first.size {
		t.Errorf("%d packets of %d octets in a turn", res.n, first.size)
	}
}

func low(ids []int) (b []byte) {
	for _, id := range ids {
		b = append(b, byte(id))
	}
	return b
}

// A source that thinks it has something and has not is not put in line.
func TestPortEmptySource(t *testing.T) {
	_, p := newTestPort(&sink{})
	if res := p.send(0, &filler{}, false); res != (sent{}) {
		t.Errorf("send of nothing: %+v", res)
	}
	if p.draining {
		t.Error("the port waits for a drainer that does not exist")
	}
}

// A packet that nothing depends on is lost when there is no room, and needs no
// drainer then.
func TestPortPostWithoutRoom(t *testing.T) {
	_, p := newTestPort(&sink{})
	f := &filler{size: slabSize - 100, left: 1}
	if res := p.send(0, f, false); !res.drain || res.n != 1 {
		t.Fatalf("send: %+v", res)
	}
	called := false
	if p.post(func(*wire.Batch) { called = true }) || called {
		t.Error("a packet was posted to a full queue")
	}
}

// Memory of an idle port is given back, that of a busy one is not.
func TestPortTrim(t *testing.T) {
	s, p := newTestPort(&sink{})
	f := &filler{size: 100, left: 1}
	res := p.send(0, f, false)
	p.trim()
	if p.queue == nil {
		t.Fatal("a port with packets was trimmed")
	}
	ch := s.chores()
	if res.drain {
		ch.ports = append(ch.ports, p)
	}
	ch.finish()
	p.trim()
	if p.queue != nil || p.spare != nil {
		t.Fatal("an idle port was not trimmed")
	}
	f.left = 1
	f.start(s, p)
	if n := len(p.dev.(*sink).packets()); n != 2 {
		t.Errorf("%d packets left, want 2", n)
	}
}

// doorman is a guard that says when it is closed.
type doorman struct {
	netio.Guard
	closed chan int
	d      *sink
}

func (g *doorman) Close() error {
	g.closed <- len(g.d.packets())
	return nil
}

// A guard goes after what was queued before, though another goroutine writes it:
// without the guard the kernel would answer the peer, and overtake it.
func TestGuardGoesAfterItsPackets(t *testing.T) {
	d := &sink{blocked: make(chan struct{}, 10)}
	s, p := newTestPort(d)
	ports := map[int]*port{1: p, 2: newPort(&device{Device: d}, 2, s)}
	s.ports.Store(&ports)
	drainer := make(chan struct{})
	go func() {
		defer close(drainer)
		(&filler{id: 1, size: 100, left: 1}).start(s, p)
	}()
	for d.busy.Load() == 0 {
		runtime.Gosched()
	}
	last := &filler{id: 2, size: 100, left: 1}
	ch := s.chores()
	last.poll(p, false, ch)
	g := &guard{Guard: &doorman{closed: make(chan int, 1), d: d}}
	ch.guards = append(ch.guards, g)
	ch.finish()
	closed := g.Guard.(*doorman).closed
	if len(closed) != 0 {
		t.Fatal("the guard went before the packet")
	}
	d.blocked <- struct{}{}
	d.blocked <- struct{}{}
	<-drainer
	if n := <-closed; n != 2 {
		t.Fatalf("the guard went after %d packets of 2", n)
	}

	// Nothing queued: at once.
	g = &guard{Guard: &doorman{closed: closed, d: d}}
	ch = s.chores()
	ch.guards = append(ch.guards, g)
	ch.finish()
	if len(closed) != 1 {
		t.Fatal("the guard stays")
	}
}
