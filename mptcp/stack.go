package mptcp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mpnc/mpnc/internal/alarm"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/mptcp/engine"
)

// linkBits is how many bits of a link's number are the device's own.
const linkBits = 24

// device is a Device of a stack. Its links are numbered apart from those of
// the others; those of the first keep their numbers.
type device struct {
	Device
	base int // of its link numbers
}

// Stack is an MPTCP stack on some devices. Its methods may be called by
// several goroutines at a time.
type Stack struct {
	cfg  Config
	devs []*device
	now  func() Time

	timers timers
	worker worker
	lanes  lanes
	stats  stackCounters
	strays limiter // the readers'

	ports atomic.Pointer[map[int]*port] // by link; copied when one is added
	mtus  sync.Map                      // link → int, until something changes

	mu        sync.RWMutex
	ep        *engine.Endpoint
	conns     map[*Conn]struct{}
	listeners map[netip.AddrPort]*Listener
	guards    map[guardKey]*guard
	locals    knownLocals // what the worker found out last
	closing   bool        // Shutdown or Close: nothing new
	closed    bool

	flush flush // of Shutdown

	spawning sync.Mutex
	gone     bool // no more goroutines; guarded by spawning
	wg       sync.WaitGroup
}

// clock returns a clock that begins now.
func clock() func() Time {
	epoch := time.Now()
	return func() Time { return Time(time.Since(epoch)) }
}

// New returns a Stack on the devices given, which it closes when it is closed.
func New(cfg Config, devs ...Device) (*Stack, error) {
	if len(devs) == 0 {
		return nil, errors.New("mptcp: a Stack needs a device")
	}
	if cfg.MSS != 0 && (cfg.MSS < MinMSS || cfg.MSS > MaxMSS) {
		return nil, fmt.Errorf("mptcp: an MSS of %d octets is not from %d to %d", cfg.MSS, MinMSS, MaxMSS)
	}
	if cfg.Now == nil {
		cfg.Now = clock()
	}
	raw := hasRaw(devs)
	if cfg.Monitor == nil && raw {
		m, err := newMonitor(&cfg)
		if err != nil {
			return nil, err
		}
		cfg.Monitor = m
	}
	if len(cfg.LocalAddrs) > 0 && cfg.Monitor != nil {
		cfg.Monitor = onlyThese{cfg.Monitor, cfg.LocalAddrs}
	}
	s := &Stack{
		cfg:       cfg,
		now:       cfg.Now,
		ep:        engine.NewEndpoint(cfg.engine()),
		conns:     make(map[*Conn]struct{}),
		listeners: make(map[netip.AddrPort]*Listener),
		guards:    make(map[guardKey]*guard),
	}
	if raw && !cfg.Portable {
		s.timers.alarm = alarm.New(cfg.Now)
	} else {
		s.timers.alarm = alarm.Portable(cfg.Now)
	}
	s.ports.Store(new(map[int]*port))
	for i, d := range devs {
		s.devs = append(s.devs, &device{d, i << linkBits})
	}
	s.start()
	return s, nil
}

func (s *Stack) start() {
	s.worker.wake = make(chan struct{}, 1)
	s.worker.done = make(chan struct{})
	s.watchLanes()
	for _, d := range s.devs {
		r := newReader(s, d)
		s.spawn(r.loop)
	}
	s.spawn(s.watch)
	s.spawn(s.work)
}

// spawn starts a goroutine that Close waits for. It reports false if the stack
// is at its end.
func (s *Stack) spawn(f func()) bool {
	s.spawning.Lock()
	defer s.spawning.Unlock()
	if s.gone {
		return false
	}
	s.wg.Go(f)
	return true
}

// fail ends the stack after its device did.
func (s *Stack) fail(err error) {
	s.logf("reading from the device: %v", err)
	go s.Close() // which waits for the reader that calls this
}

// watch looks at the connections whose time has come.
func (s *Stack) watch() {
	var due []*Conn
	for s.timers.alarm.Wait() == nil {
		now := s.now()
		due = s.timers.due(now, due[:0])
		ch := s.chores()
		for i, c := range due {
			c.ring(now, ch)
			due[i] = nil
		}
		ch.rearm = true
		ch.finish()
	}
}

// port returns the way out of link, and makes it if there was none.
func (s *Stack) port(link int) *port {
	if p := (*s.ports.Load())[link]; p != nil {
		return p
	}
	return s.addPort(link)
}

// deviceOf returns the device that a link belongs to.
func (s *Stack) deviceOf(link int) *device { return s.devs[min(link>>linkBits, len(s.devs)-1)] }

func (s *Stack) addPort(link int) *port {
	p := newPort(s.deviceOf(link), link, s)
	for {
		old := s.ports.Load()
		if q := (*old)[link]; q != nil {
			return q
		}
		ports := make(map[int]*port, len(*old)+1)
		for l, q := range *old {
			ports[l] = q
		}
		ports[link] = p
		if s.ports.CompareAndSwap(old, &ports) {
			return p
		}
	}
}

// mtu returns the largest packet of the link by which a segment came, 0 if it
// cannot be had.
func (s *Stack) mtu(d *device, seg *wire.Segment) int {
	if n, ok := s.mtus.Load(seg.Link); ok {
		return n.(int)
	}
	r, err := d.Route(seg.Remote.Addr(), seg.Local.Addr(), seg.Link-d.base)
	if err != nil {
		return 0
	}
	s.mtus.Store(seg.Link, r.MTU)
	return r.MTU
}

// snapshot returns the connections of now.
func (s *Stack) snapshot() []*Conn {
	s.mu.RLock()
	defer s.mu.RUnlock()
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// Close ends everything at once: listeners and connections, which are aborted
// unless they were finished, and then the devices. It returns when no
// goroutine of the stack is left. Shutdown is the graceful way.
func (s *Stack) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closing, s.closed = true, true
	s.mu.Unlock()
	if again {
		return net.ErrClosed
	}
	s.closeListeners()
	for _, c := range s.snapshot() {
		c.cutOff()
	}
	for _, p := range *s.ports.Load() {
		p.await()
	}
	s.worker.close()
	var errs []error
	if s.cfg.Monitor != nil {
		errs = append(errs, s.cfg.Monitor.Close())
	}
	for _, d := range s.devs {
		errs = append(errs, d.Close())
	}
	s.timers.alarm.Close()
	s.spawning.Lock()
	s.gone = true
	s.spawning.Unlock()
	s.wg.Wait()
	s.closeGuards()
	return errors.Join(errs...)
}

// cutOff ends the connection with its stack: at the peer too, unless all was
// said.
func (c *Conn) cutOff() {
	c.mu.Lock()
	now := c.stack.now()
	if !c.core.Flushed() && !c.core.Done() && !c.core.Settled() {
		c.core.Abort(now)
	}
	if !c.closed {
		c.markClosed()
	}
	c.pollAndUnlock(now)
}

// closeGuards closes what connections in TIME-WAIT had left.
func (s *Stack) closeGuards() {
	s.mu.Lock()
	guards := s.guards
	s.guards = nil
	s.mu.Unlock()
	for _, g := range guards {
		g.end(s)
	}
}

func (s *Stack) logf(format string, args ...any) {
	if s.cfg.Logf != nil {
		s.cfg.Logf(format, args...)
	}
}
