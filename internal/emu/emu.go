// Package emu is a network inside this process: two hosts, each a stack of
// ours, joined by links with a rate, a delay and a queue, in real time. It
// needs no privileges and runs on every system.
package emu

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/netio"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/mptcp"
	"github.com/mpnc/mpnc/testenv"
)

// Link describes one path between the hosts, equal both ways.
type Link struct {
	Rate float64       // bits a second, Ethernet framing included
	RTT  time.Duration // half of it each way
}

// framing is what Ethernet adds to a packet.
const framing = 14

// Net is the network. Its links are numbered from 1.
type Net struct {
	clock          func() mono.Time
	client, server *shaped
}

// New returns a network of the given links.
func New(links ...Link) *Net {
	epoch := time.Now()
	n := &Net{clock: func() mono.Time { return mono.Time(time.Since(epoch)) }}
	a, b := netio.NewPipe(netio.PipeConfig{Links: len(links), Mesh: true, Now: n.clock})
	n.client, n.server = newShaped(a, links, n.clock), newShaped(b, links, n.clock)
	return n
}

// Client returns the client's stack, made of cfg. It may be called once; the
// stack owns its end of the network and closes it.
func (n *Net) Client(cfg mptcp.Config) (*mptcp.Stack, error) { return n.client.stack(cfg) }

// Server is the same for the server.
func (n *Net) Server(cfg mptcp.Config) (*mptcp.Stack, error) { return n.server.stack(cfg) }

// ClientAddr returns the client's IPv4 address on a link.
func (n *Net) ClientAddr(link int) netip.Addr { return n.client.addr(link) }

// ServerAddr returns the server's IPv4 address on a link.
func (n *Net) ServerAddr(link int) netip.Addr { return n.server.addr(link) }

// SetSilent makes a link swallow everything without telling either host, or
// ends that.
func (n *Net) SetSilent(link int, silent bool) {
	n.client.setSilent(link, silent)
	n.server.setSilent(link, silent)
}

// Close ends the network, whether or not stacks were made.
func (n *Net) Close() {
	n.client.Close()
	n.server.Close()
}

// shaped is one end of the network: a pipe's end whose outgoing packets first
// pass a Link.
type shaped struct {
	*netio.PipeEnd
	clock func() mono.Time
	wake  chan struct{}
	done  chan struct{}
	once  sync.Once

	mu    sync.Mutex
	links []*testenv.Link // by number-1
}

func newShaped(end *netio.PipeEnd, links []Link, clock func() mono.Time) *shaped {
	s := &shaped{PipeEnd: end, clock: clock, wake: make(chan struct{}, 1), done: make(chan struct{})}
	for i, l := range links {
		s.links = append(s.links, testenv.NewLink(testenv.LinkConfig{
			Rate: l.Rate, Delay: l.RTT / 2, Overhead: framing, Seed: uint64(i),
		}))
	}
	go s.pump()
	return s
}

func (s *shaped) stack(cfg mptcp.Config) (*mptcp.Stack, error) {
	cfg.Now, cfg.Monitor = s.clock, s.Monitor()
	return mptcp.New(cfg, s)
}

func (s *shaped) addr(link int) netip.Addr {
	for _, a := range s.Addrs() {
		if a.Is4() {
			if link--; link == 0 {
				return a
			}
		}
	}
	return netip.Addr{}
}

// Write implements mptcp.Device: packets wait on their link.
func (s *shaped) Write(link int, b *wire.Batch) error {
	select {
	case <-s.done:
		return net.ErrClosed
	default:
	}
	if link < 1 || link > len(s.links) {
		return s.PipeEnd.Write(link, b)
	}
	s.mu.Lock()
	now := s.clock()
	for i := range b.Pkts {
		s.links[link-1].Push(now, b.Bytes(i))
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

func (s *shaped) setSilent(link int, silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links[link-1].SetSilent(silent)
}

// Close implements mptcp.Device.
func (s *shaped) Close() error {
	s.once.Do(func() { close(s.done) })
	return s.PipeEnd.Close()
}

// pump carries packets from the links to the other end as they are due.
func (s *shaped) pump() {
	out := wire.NewBatch(64 << 10)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		next := mono.Never
		for link := 1; link <= len(s.links); link++ {
			next = next.Earliest(s.deliver(link, out))
		}
		if next == mono.Never {
			timer.Reset(time.Hour)
		} else {
			timer.Reset(next.Sub(s.clock()))
		}
		select {
		case <-timer.C:
		case <-s.wake:
		case <-s.done:
			return
		}
	}
}

// deliver sends on what is due on a link and returns when the next packet is.
func (s *shaped) deliver(link int, out *wire.Batch) mono.Time {
	var buf []byte
	for {
		out.Reset()
		s.mu.Lock()
		now, l := s.clock(), s.links[link-1]
		for out.Room() >= maxPacket {
			p, ok := l.Pop(now, buf[:0])
			if !ok {
				break
			}
			buf = p
			out.AppendPacket(p, wire.Packet{Link: link})
		}
		next := l.Next()
		s.mu.Unlock()
		if len(out.Pkts) == 0 {
			return next
		}
		_ = s.PipeEnd.Write(link, out) // closed meanwhile: the pump ends by itself
	}
}

// maxPacket is the pipe's default MTU.
const maxPacket = 1500
