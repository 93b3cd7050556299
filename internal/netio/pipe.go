package netio

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
)

// PipeConfig configures a pipe. The zero value is one link of 1500 octets
// without delay.
type PipeConfig struct {
	// Links is how many links connect the ends. If zero there is one, link 1,
	// with 10.0.0.1 and fd00::1 at a, 10.0.0.2 and fd00::2 at b. Otherwise
	// link N of 1 to Links has 10.0.N.1 and fd00:N::1 (N in hexadecimal) at a,
	// .2 and ::2 at b.
	Links int
	// Mesh says that every link leads to all addresses of the other end, as
	// behind routers; otherwise each leads to its own network only. The host
	// prefers the link of the network, then the first.
	Mesh bool
	// MTU is the largest packet, trains aside. If zero, 1500.
	MTU int
	// MaxTrain and Checksum are what Caps says. Trains arrive uncut, and
	// partial checksums as they were.
	MaxTrain int
	Checksum bool
	// Delay is how long a packet travels. SetDelay changes it for one link.
	Delay time.Duration
	// Queue is how many packets may wait on one link in one direction; more
	// are lost. If zero, 16384.
	Queue int
	// Filter, if not nil, sees each packet as it is sent, and may change it;
	// dir is 0 from a to b, 1 from b to a. If it returns true the packet is
	// lost. Calls for one direction of one link do not overlap.
	Filter func(link, dir int, pkt []byte) (drop bool)
	// Now stamps arriving packets. If nil, time since NewPipe.
	Now func() mono.Time
}

// PipeEnd is one end of a pipe: a Device without privileges, for any system
// and for synctest bubbles (it uses only mutexes held for moments, channels
// and timers, and has no goroutine). Like a host's kernel it answers a segment
// for a port that nobody holds with a RST.
type PipeEnd struct {
	cfg  PipeConfig
	dir  int // of what this end sends
	peer *PipeEnd

	mu      sync.Mutex
	closed  bool
	guards  map[netip.AddrPort]*pipeGuard
	nextEph uint16
	addrs   []pipeAddr // in the order of links, IPv4 first
	up      []bool     // by link-1: what the other end can reach us by
	in      []lane     // by link-1
	wake    chan struct{}
	done    chan struct{}
	timer   *time.Timer // of the reader
	strays  []stray     // of the reader
	into    func() []byte
	unused  func()
	watch   []*PipeMonitor
	stats   PipeStats
}

// PipeStats counts the packets of one end.
type PipeStats struct {
	Tx, Rx  uint64 // sent, and handed to the reader
	Dropped uint64 // sent and lost: link down, filter, no such address, queue full
	Refused uint64 // arrived for a pair that nobody holds
}

// pipeAddr is an address of one end.
type pipeAddr struct {
	addr netip.Addr
	net  netip.Prefix
	link int
	up   bool
}

// Defaults of PipeConfig.
const (
	defaultPipeMTU   = 1500
	defaultPipeQueue = 16384
	firstEphemeral   = 32768
)

// NewPipe returns the two ends of a new pipe.
func NewPipe(cfg PipeConfig) (a, b *PipeEnd) {
	if cfg.MTU == 0 {
		cfg.MTU = defaultPipeMTU
	}
	if cfg.Queue == 0 {
		cfg.Queue = defaultPipeQueue
	}
	if cfg.Now == nil {
		epoch := time.Now()
		cfg.Now = func() mono.Time { return mono.Time(time.Since(epoch)) }
	}
	a, b = newPipeEnd(cfg, 0), newPipeEnd(cfg, 1)
	a.peer, b.peer = b, a
	return a, b
}

func newPipeEnd(cfg PipeConfig, dir int) *PipeEnd {
	links := max(cfg.Links, 1)
	p := &PipeEnd{
		cfg:     cfg,
		dir:     dir,
		guards:  make(map[netip.AddrPort]*pipeGuard),
		nextEph: firstEphemeral,
		up:      make([]bool, links),
		in:      make([]lane, links),
		wake:    make(chan struct{}, 1),
		done:    make(chan struct{}),
	}
	for i := range links {
		p.up[i] = true
		p.in[i].delay = cfg.Delay
		n := i + 1
		net4, net6 := fmt.Sprintf("10.0.%d.0/24", n), fmt.Sprintf("fd00:%x::/64", n)
		if cfg.Links == 0 {
			net4, net6 = "10.0.0.0/24", "fd00::/64"
		}
		for _, s := range []string{net4, net6} {
			net := netip.MustParsePrefix(s)
			addr := net.Addr()
			for range dir + 1 {
				addr = addr.Next()
			}
			p.addrs = append(p.addrs, pipeAddr{addr: addr, net: net, link: n, up: true})
		}
	}
	return p
}

// Caps implements Device.
func (p *PipeEnd) Caps() Caps { return Caps{MaxTrain: p.cfg.MaxTrain, Checksum: p.cfg.Checksum} }

// Stats returns the counters.
func (p *PipeEnd) Stats() PipeStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Addrs returns the addresses of this end that are up, IPv4 and IPv6 of the
// first link first.
func (p *PipeEnd) Addrs() (l []netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.addrs {
		if a.up {
			l = append(l, a.addr)
		}
	}
	return l
}

// SetDelay changes how long packets towards this end travel on a link, from
// the next one sent. Packets of one link are never reordered.
func (p *PipeEnd) SetDelay(link int, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.in[link-1].delay = d
}

// SetLink cuts or mends a link, for both ends. What is on its way is lost, and
// both monitors tell.
func (p *PipeEnd) SetLink(link int, up bool) {
	for _, end := range []*PipeEnd{p, p.peer} {
		end.mu.Lock()
		end.up[link-1] = up
		end.in[link-1].clear()
		end.tell()
		end.mu.Unlock()
	}
}

// SetAddr takes an address of this end away, or gives it back. Its monitors
// tell.
func (p *PipeEnd) SetAddr(addr netip.Addr, up bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.addrs {
		if p.addrs[i].addr == addr {
			p.addrs[i].up = up
		}
	}
	p.tell()
}

// Close implements Device.
func (p *PipeEnd) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	close(p.done)
	for i := range p.in {
		p.in[i] = lane{}
	}
	clear(p.guards)
	return nil
}
