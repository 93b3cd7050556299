package testenv

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/trace"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/mptcp/engine"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/scheduler"
)

// Sim is two hosts with engines, joined by links, in virtual time: one thread,
// no clock, the same result for the same seed, bit for bit. Everything that
// happens is ordered by (time, sequence number), every element draws from its
// own generator, and no decision ranges over a map.
type Sim struct {
	A, B *SimHost // A's interfaces are joined with B's of the same number

	now    mono.Time
	wires  []*simWire
	events eventHeap
	seq    uint64
	hash   uint64
	packet []byte // scratch
	cut    *wire.Batch
	seg    wire.Segment

	laneWorth int

	// Trace, if not nil, is told of every packet as it leaves a host.
	Trace func(now mono.Time, from *SimHost, link int, s *wire.Segment)

	damaged    bool
	violations []string
}

// SimConfig describes a Sim.
type SimConfig struct {
	Seed  uint64
	Links []SimLink
	IPv6  bool
	// Engine changes the configuration of a host (name "A" or "B"), if not nil.
	Engine func(name string, c *engine.Config)
	// MaxTrain is the payload that one packet leaving a host may have; it is
	// cut to the links' MTU. 0: segments only.
	MaxTrain int
	// Lanes gives both hosts fast lanes, which pass by what they do to packets
	// (SimLanes). Trains are then sent only by them.
	Lanes SimLanes
	// LaneWorth is their subflow.Lane.Worth.
	LaneWorth int
	// Merge joins what arrives together into trains again, as a receiver's
	// offload does.
	Merge bool
	// Damaged says that links may damage packets. They are dropped where they
	// arrive, as a host does; otherwise one is a violation.
	Damaged bool
	// Tracer is told of both hosts' events; may be nil.
	Tracer trace.Tracer
}

// SimLanes says what becomes of packets that leave by a host's fast lane, or of the
// answers.
type SimLanes uint8

const (
	NoLanes         SimLanes = iota
	LanesWork                // they arrive, and so do the answers
	LanesUnseen              // the host lets in no acknowledgment of what it did not see leave
	LanesTranslated          // the peer knows the host by another address, and resets what has its own
)

// SimLink is one path between the hosts: a link each way.
type SimLink struct {
	There, Back LinkConfig
	// Shared leads the path through the links of the first one instead: several
	// interfaces behind one bottleneck.
	Shared bool
	// Box, if not nil, stands at the entrance of the path. A is its client.
	Box Box
}

// Symmetric is a path with equal links: rtt is split between them.
func Symmetric(rate float64, rtt time.Duration, queue int, loss float64) SimLink {
	c := LinkConfig{Rate: rate, Delay: rtt / 2, Queue: queue, Loss: loss}
	return SimLink{There: c, Back: c}
}

// simWire is one direction of a path, or of all that share it.
type simWire struct {
	*Link
	to []*simPort
}

// port is where a packet comes out: the interface with its destination's
// address if several share the wire.
func (w *simWire) port(pkt []byte) *simPort {
	if len(w.to) > 1 {
		dst := netip.AddrFrom4([4]byte(pkt[16:20]))
		if pkt[0]>>4 == 6 {
			dst = netip.AddrFrom16([16]byte(pkt[24:40]))
		}
		for _, p := range w.to {
			if p.addr == dst {
				return p
			}
		}
	}
	return w.to[0]
}

// SimHost is one end: an engine with interfaces.
type SimHost struct {
	Name  string
	Conns []*SimConn
	// Accepted, if not nil, is told of every connection that a listener got.
	Accepted func(*SimConn)

	sim       *Sim
	ep        *engine.Endpoint
	ports     []*simPort
	nextPort  uint16
	batch     *wire.Batch
	links     []int
	maxTrain  int
	merge     bool
	lanes     SimLanes
	seen      map[wire.Tuple]*seenEnds // of LanesUnseen
	listeners []*engine.Listener
	polls     int
	suspended bool
	lag       time.Duration // how much less of time has passed here
}

// simPort is an interface of a host. Links are numbered from 1.
type simPort struct {
	host *SimHost
	link int
	addr netip.Addr
	up   bool
	out  *simWire
	in   *wire.Batch // what arrives at this instant
}

// SimConn is a connection of a SimHost, with its application.
type SimConn struct {
	Core *engine.Conn
	Host *SimHost
	// App is called after anything happened to the connection; it reads and
	// writes. If nil, nothing does.
	App func(now mono.Time, c *SimConn)

	known []pathmgr.Local // what the connection was told
	gone  bool
}

// Gone reports whether the engine has let go of the connection.
func (c *SimConn) Gone() bool { return c.gone }

// NewSim builds the network. Interface i (from 0) of A has address 10.0.i.1 or
// fd00:i::1, that of B ends in 2.
func NewSim(cfg SimConfig) *Sim {
	s := &Sim{cut: wire.NewBatch(1 << 18), damaged: cfg.Damaged, laneWorth: cfg.LaneWorth}
	s.A = newSimHost(s, "A", cfg)
	s.B = newSimHost(s, "B", cfg)
	for i, l := range cfg.Links {
		a := s.A.addPort(i, 1, cfg.IPv6)
		b := s.B.addPort(i, 2, cfg.IPv6)
		if l.Shared {
			a.out, b.out = s.wires[0], s.wires[1]
			a.out.to, b.out.to = append(a.out.to, b), append(b.out.to, a)
			continue
		}
		a.out = s.addWire(l.There, b, cfg.Seed+uint64(i)*2+100)
		b.out = s.addWire(l.Back, a, cfg.Seed+uint64(i)*2+101)
		if l.Box != nil {
			Interpose(l.Box, a.out.Link, b.out.Link)
		}
	}
	return s
}

func (s *Sim) addWire(c LinkConfig, to *simPort, seed uint64) *simWire {
	if c.MTU == 0 {
		c.MTU = 1500
	}
	c.Seed ^= seed
	w := &simWire{NewLink(c), []*simPort{to}}
	s.wires = append(s.wires, w)
	return w
}

func newSimHost(s *Sim, name string, cfg SimConfig) *SimHost {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], cfg.Seed)
	copy(seed[8:], name)
	c := engine.Config{
		Rand:      rand.NewChaCha8(seed),
		Scheduler: scheduler.NewMinRTT,
		Manager:   pathmgr.NewFullMesh,
		Tracer:    cfg.Tracer,
	}
	if cfg.Engine != nil {
		cfg.Engine(name, &c)
	}
	h := &SimHost{
		Name: name, sim: s, ep: engine.NewEndpoint(&c), nextPort: 40000,
		batch: wire.NewBatch(1 << 18), maxTrain: cfg.MaxTrain, merge: cfg.Merge,
	}
	h.batch.MaxTrain = cfg.MaxTrain
	h.SetLanes(cfg.Lanes)
	return h
}

func (h *SimHost) addPort(i, host int, v6 bool) *simPort {
	p := &simPort{host: h, link: i + 1, up: true, in: wire.NewBatch(1 << 20)}
	p.addr = simAddr(i, host, v6)
	h.ports = append(h.ports, p)
	return p
}

func simAddr(link, host int, v6 bool) netip.Addr {
	if v6 {
		return netip.AddrFrom16([16]byte{0xfd, 0, 0, byte(link), 15: byte(host)})
	}
	return netip.AddrFrom4([4]byte{10, 0, byte(link), byte(host)})
}

// Now returns the virtual time.
func (s *Sim) Now() mono.Time { return s.now }

// Hash is over every packet and its time of leaving: equal for equal seeds.
func (s *Sim) Hash() uint64 { return s.hash }

// Violations are the laws that were broken, at most a few.
func (s *Sim) Violations() []string { return s.violations }

func (s *Sim) violated(format string, args ...any) {
	if len(s.violations) < 10 {
		s.violations = append(s.violations, fmt.Sprintf("%v: ", time.Duration(s.now))+fmt.Sprintf(format, args...))
	}
}

// Link returns the two directions of path i, A to B first.
func (s *Sim) Link(i int) (there, back *Link) { return s.A.ports[i].out.Link, s.B.ports[i].out.Link }

// SetSilent makes path i swallow everything, or work again.
func (s *Sim) SetSilent(i int, silent bool) {
	there, back := s.Link(i)
	there.SetSilent(silent)
	back.SetSilent(silent)
}

// At calls f at virtual time t.
func (s *Sim) At(t mono.Time, f func()) {
	s.seq++
	heap.Push(&s.events, simEvent{max(t, s.now), s.seq, f})
}

// Run processes everything up to and including time until, or until done
// answers true (asked after every step; nil: never). It reports whether it was
// done.
func (s *Sim) Run(until mono.Time, done func() bool) bool {
	for {
		if done != nil && done() {
			return true
		}
		next := s.next()
		if next > until {
			s.now = max(s.now, until)
			return false
		}
		s.step(next)
		if len(s.violations) > 0 {
			return false
		}
	}
}

// next is when something happens next.
func (s *Sim) next() mono.Time {
	next := mono.Never
	if len(s.events) > 0 {
		next = s.events[0].at
	}
	for _, w := range s.wires {
		next = next.Earliest(w.Next())
	}
	for _, h := range [...]*SimHost{s.A, s.B} {
		for _, c := range h.Conns {
			if !c.gone && !h.suspended {
				next = next.Earliest(c.Core.PollTimeout().Add(h.lag))
			}
		}
	}
	return max(next, s.now)
}

// step does everything that is due at t: arrivals, timeouts, events.
func (s *Sim) step(t mono.Time) {
	s.now = t
	for len(s.events) > 0 && s.events[0].at <= t {
		heap.Pop(&s.events).(simEvent).f()
	}
	for _, w := range s.wires {
		s.arrive(w)
	}
	for _, h := range [...]*SimHost{s.A, s.B} {
		for i := 0; i < len(h.Conns) && !h.suspended; i++ {
			c := h.Conns[i]
			if c.gone {
				continue
			}
			if c.Core.PollTimeout() <= h.now() {
				c.Core.HandleTimeout(h.now())
			}
			h.poll(c)
		}
	}
}

// arrive hands what is due on a link to its host.
func (s *Sim) arrive(w *simWire) {
	for _, p := range w.to {
		p.in.Reset()
	}
	for {
		pkt, ok := w.Pop(s.now, s.packet[:0])
		if !ok {
			break
		}
		s.packet = pkt
		if s.damaged && wire.Parse(pkt, &s.seg, wire.CsumFull) != wire.None {
			continue
		}
		p := w.port(pkt)
		one := wire.Packet{Len: uint32(len(pkt)), At: s.now, Link: p.link}
		if p.host.merge && len(p.in.Pkts) > 0 && p.in.Merge(pkt, one) {
			continue
		}
		if !p.in.AppendPacket(pkt, one) {
			s.violated("arrivals overflow the batch")
		}
	}
	for _, p := range w.to {
		for i := range p.in.Pkts {
			p.host.receive(p, p.in.Bytes(i), p.in.Pkts[i])
		}
	}
}

// receive is what a driver's reader does with one packet.
func (h *SimHost) receive(p *simPort, pkt []byte, info wire.Packet) {
	seg := &h.sim.seg
	seg.At, seg.Link, seg.MTU = h.now(), p.link, 1500
	if drop := wire.Parse(pkt, seg, info.Csum); drop != wire.None {
		h.sim.violated("%s received a bad packet: %v", h.Name, drop)
		return
	}
	if !p.up || h.suspended || !h.has(seg.Local.Addr()) || !h.admits(seg) {
		return
	}
	core := h.ep.Lookup(seg.Tuple)
	if core == nil {
		var verdict engine.Verdict
		core, verdict = h.ep.HandleSegment(h.now(), seg)
		switch verdict {
		case engine.Ignore:
			return
		case engine.Stray:
			h.batch.Reset()
			engine.AppendReset(h.batch, seg)
			h.send(p)
			return
		case engine.Answer:
			h.batch.Reset()
			reply := h.ep.Answer(h.now(), seg)
			wire.AppendSegment(h.batch, &reply, 0)
			h.send(p)
			return
		}
		if core.Owner == nil {
			h.tellLocals(h.adopt(core))
		}
	}
	again := core.HandleSegment(h.now(), seg)
	h.poll(core.Owner.(*SimConn))
	if again {
		h.receive(p, pkt, info) // TIME-WAIT made way for it
	}
}

func (h *SimHost) adopt(core *engine.Conn) *SimConn {
	c := &SimConn{Core: core, Host: h}
	core.Owner = c
	h.Conns = append(h.Conns, c)
	return c
}

// has reports whether an address is this host's now.
func (h *SimHost) has(a netip.Addr) bool {
	for _, p := range h.ports {
		if p.addr == a {
			return true
		}
	}
	return false
}

// Listen accepts connections on every address.
func (h *SimHost) Listen(port uint16) {
	at := netip.AddrPortFrom(netip.IPv6Unspecified(), port)
	h.ep.Hold(at)
	l, err := h.ep.Listen(at, 128)
	if err != nil {
		panic(err)
	}
	h.listeners = append(h.listeners, l)
}

// Dial connects from interface i of this host to interface j of the other.
func (h *SimHost) Dial(i, j int, port uint16, app func(mono.Time, *SimConn)) *SimConn {
	other := h.sim.B
	if h == other {
		other = h.sim.A
	}
	t := wire.Tuple{
		Local:  netip.AddrPortFrom(h.ports[i].addr, h.ephemeral()),
		Remote: netip.AddrPortFrom(other.ports[j].addr, port),
	}
	h.ep.Hold(t.Local)
	core, err := h.ep.Dial(h.now(), t, h.ports[i].link, 1500, false)
	if err != nil {
		panic(err)
	}
	c := h.adopt(core)
	c.App = app
	h.tellLocals(c)
	h.poll(c)
	return c
}

func (h *SimHost) ephemeral() uint16 {
	h.nextPort++
	return h.nextPort
}

// poll is what a driver does after any input: application, events, packets,
// and whatever the input made due at once.
func (h *SimHost) poll(c *SimConn) {
	now := h.now()
	h.handleEvents(c)
	if c.App != nil {
		c.App(now, c)
	}
	h.drain(c)
	for i := 0; !c.gone && c.Core.PollTimeout() <= now; i++ {
		if i == 3 {
			h.sim.violated("%s: law 1: a deadline is not after now: %s", h.Name, c.Core.Deadlines())
			return
		}
		c.Core.HandleTimeout(now)
		h.drain(c)
	}
	h.checkIdle(c)
}

// drain sends what there is to send now.
func (h *SimHost) drain(c *SimConn) {
	for sent := 1; sent > 0; {
		sent = 0
		h.links = c.Core.PollReady(h.now(), h.links[:0])
		for _, link := range h.links {
			sent += h.transmit(c, link)
		}
		h.handleEvents(c)
	}
}

// checkIdle holds a drained connection against laws 2 and 4, now and then: a
// timeout before the deadline changes nothing, and there is nothing to send.
func (h *SimHost) checkIdle(c *SimConn) {
	if h.polls++; h.polls%16 != 0 || c.gone {
		return
	}
	now, before := h.now(), c.Core.PollTimeout()
	c.Core.HandleTimeout(now)
	if after := c.Core.PollTimeout(); after != before {
		h.sim.violated("%s: law 2: HandleTimeout before the deadline moved it from %v to %v", h.Name,
			time.Duration(before), time.Duration(after))
	}
	if links := c.Core.PollReady(now, nil); len(links) > 0 {
		h.sim.violated("%s: law 4: there is more to send on links %v", h.Name, links)
	}
}

// transmit drains what one connection has for one link.
func (h *SimHost) transmit(c *SimConn, link int) int {
	p := h.ports[link-1]
	n := 0
	for {
		h.batch.Reset()
		k := c.Core.PollTransmit(h.now(), link, h.batch)
		if k == 0 {
			break
		}
		n += k
		h.send(p)
	}
	return n
}

// send puts a batch on an interface's wire, cut to packets.
func (h *SimHost) send(p *simPort) {
	s := h.sim
	for i, info := range h.batch.Pkts {
		if !h.leaves(p, h.batch.Bytes(i), info) {
			continue
		}
		if info.Seg == 0 {
			s.put(p, h.batch.Bytes(i))
			continue
		}
		s.cut.Reset()
		if !s.cut.AppendCut(h.batch.Bytes(i), info) {
			s.violated("a train could not be cut")
		}
		for j := range s.cut.Pkts {
			s.put(p, s.cut.Bytes(j))
		}
	}
}

// put sends one packet, and holds it against what a host may send.
func (s *Sim) put(p *simPort, pkt []byte) {
	s.mix(p.link, pkt)
	var seg wire.Segment
	if drop := wire.Parse(pkt, &seg, wire.CsumFull); drop != wire.None {
		s.violated("%s sent a bad packet: %v", p.host.Name, drop)
		return
	}
	// Parse is the receiver's view: Remote is the sender.
	if !p.host.has(seg.Remote.Addr()) || !p.up {
		s.violated("%s sent from an address or link that is gone: %v", p.host.Name, seg)
	}
	if s.Trace != nil {
		s.Trace(s.now, p.host, p.link, &seg)
	}
	p.out.Push(s.now, pkt)
}

func (s *Sim) mix(link int, pkt []byte) {
	h := fnv.New64a()
	var b [24]byte
	binary.LittleEndian.PutUint64(b[:], s.hash)
	binary.LittleEndian.PutUint64(b[8:], uint64(s.now))
	b[16] = byte(link)
	h.Write(b[:])
	h.Write(pkt)
	s.hash = h.Sum64()
}

// handleEvents does what the connection asks of its driver.
func (h *SimHost) handleEvents(c *SimConn) {
	for {
		ev, ok := c.Core.PollEndpoint()
		if !ok {
			return
		}
		h.ep.HandleEvent(c.Core, ev)
		switch ev := ev.(type) {
		case engine.Ready:
			h.ready(c)
		case engine.WantPath:
			h.openPath(c, ev)
		case engine.WantLane:
			h.findLane(c, ev)
		case engine.Gone:
			c.gone = true
		}
	}
}

// ready tells a new connection of the host's addresses, and the listener's
// owner of the connection.
func (h *SimHost) ready(c *SimConn) {
	h.tellLocals(c)
	for _, l := range h.listeners {
		for core := l.Accept(); core != nil; core = l.Accept() {
			if h.Accepted != nil {
				h.Accepted(core.Owner.(*SimConn))
			}
		}
	}
}

// openPath is a driver's answer to WantPath.
func (h *SimHost) openPath(c *SimConn, w engine.WantPath) {
	for _, p := range h.ports {
		if p.addr != w.Local || !p.up {
			continue
		}
		port := w.Port
		if port == 0 || h.ep.Lookup(wire.Tuple{Local: netip.AddrPortFrom(w.Local, port), Remote: w.Remote}) != nil {
			port = h.ephemeral()
		}
		t := wire.Tuple{Local: netip.AddrPortFrom(w.Local, port), Remote: w.Remote}
		h.ep.Hold(t.Local)
		c.Core.OpenPath(h.now(), w.Req, t, p.link, 1500)
		return
	}
	c.Core.PathRefused(h.now(), w.Req)
}

// locals is what a monitor would report.
func (h *SimHost) locals() []pathmgr.Local {
	var ls []pathmgr.Local
	for _, p := range h.ports {
		if p.up && p.addr.IsValid() {
			ls = append(ls, pathmgr.Local{Addr: p.addr, Link: p.link, Name: fmt.Sprintf("if%d", p.link), Best: len(ls) == 0})
		}
	}
	return ls
}

// tellLocals brings a connection up to date about this host's addresses.
func (h *SimHost) tellLocals(c *SimConn) {
	now := h.locals()
	for _, old := range c.known {
		if !contains(now, old) {
			c.Core.HandleLocal(h.now(), pathmgr.LocalDown{Local: old})
		}
	}
	for _, l := range now {
		if !contains(c.known, l) {
			c.Core.HandleLocal(h.now(), pathmgr.LocalUp{Local: l})
		}
	}
	c.known = now
}

func contains(ls []pathmgr.Local, l pathmgr.Local) bool {
	for _, o := range ls {
		if o.Addr == l.Addr && o.Link == l.Link {
			return true
		}
	}
	return false
}

// SetInterface takes interface i of the host down or up.
func (h *SimHost) SetInterface(i int, up bool) {
	h.ports[i].up = up
	h.changed()
}

// SetAddr gives interface i another address; the zero Addr takes it away.
func (h *SimHost) SetAddr(i int, a netip.Addr) {
	h.ports[i].addr = a
	h.changed()
}

// Addr returns the address of interface i.
func (h *SimHost) Addr(i int) netip.Addr { return h.ports[i].addr }

// Forget makes the host lose all its connections, as a restart does.
func (h *SimHost) Forget(cfg engine.Config) {
	h.ep = engine.NewEndpoint(&cfg)
	h.Conns, h.listeners = nil, nil
}

func (h *SimHost) changed() {
	if h.suspended {
		return
	}
	for _, c := range h.Conns {
		if !c.gone {
			h.tellLocals(c)
			h.poll(c)
		}
	}
}

// Poke lets the application and the engine of a connection act at this
// instant, as a driver does after an application's call.
func (c *SimConn) Poke() {
	if c.Host.suspended {
		return // it is called when that ends
	}
	if c.gone {
		c.App(c.Host.now(), c) // what has arrived can still be read
		return
	}
	c.Host.poll(c)
}

// now is the time that the host's clock shows.
func (h *SimHost) now() mono.Time { return h.sim.now.Add(-h.lag) }

// Suspend stops the host for d: it hears nothing and does nothing. Then it goes
// on, with a clock that went on meanwhile, or stood still as a monotonic clock
// may.
func (h *SimHost) Suspend(d time.Duration, clockStands bool) {
	if h.suspended {
		return
	}
	h.suspended = true
	h.sim.At(h.sim.now.Add(d), func() {
		h.suspended = false
		if clockStands {
			h.lag += d
		}
		h.changed() // what happened to its interfaces meanwhile, too
	})
}

// simEvent is a call at a time.
type simEvent struct {
	at  mono.Time
	seq uint64
	f   func()
}

type eventHeap []simEvent

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(simEvent)) }
func (h *eventHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
