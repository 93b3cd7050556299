package testenv

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// KernelPeer is a program that uses the kernel's TCP or Multipath TCP inside a
// Host.
type KernelPeer struct {
	host     *Host
	config   PeerConfig
	listener net.Listener // of a server

	results chan PeerResult
	work    sync.WaitGroup

	sent, received atomic.Int64

	mu     sync.Mutex
	conns  map[*net.TCPConn]struct{}
	closed bool
}

// dialTimeout bounds how long KernelClient waits for its connection.
const dialTimeout = 30 * time.Second

// maxResults is how many results wait for Wait; a server with more finished
// connections than that waits itself.
const maxResults = 64

func newKernelPeer(h *Host, c PeerConfig) *KernelPeer {
	if c.Chunk <= 0 {
		c.Chunk = 64 << 10
	}
	return &KernelPeer{
		host: h, config: c,
		results: make(chan PeerResult, maxResults), conns: make(map[*net.TCPConn]struct{}),
	}
}

// KernelServer listens on addr (port 0: any) in the host and serves each
// connection as c says. Wait returns the connections' results as they end.
func KernelServer(h *Host, addr netip.AddrPort, c PeerConfig) (*KernelPeer, error) {
	p := newKernelPeer(h, c)
	var lc net.ListenConfig
	lc.SetMultipathTCP(c.MPTCP)
	err := h.Do(func() (err error) {
		p.listener, err = lc.Listen(context.Background(), "tcp", addr.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	p.work.Go(func() {
		for {
			conn, err := p.listener.Accept()
			if err != nil {
				return
			}
			p.serve(conn.(*net.TCPConn))
		}
	})
	return p, nil
}

// KernelClient connects from the host to addr and does on the connection what
// c says. It returns once connected; Wait returns the result.
func KernelClient(h *Host, addr netip.AddrPort, c PeerConfig) (*KernelPeer, error) {
	p := newKernelPeer(h, c)
	d := net.Dialer{Timeout: dialTimeout}
	d.SetMultipathTCP(c.MPTCP)
	if c.From.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.From, 0))
	}
	var conn net.Conn
	err := h.Do(func() (err error) {
		conn, err = d.Dial("tcp", addr.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	p.serve(conn.(*net.TCPConn))
	return p, nil
}

// Addr returns where a server listens.
func (p *KernelPeer) Addr() netip.AddrPort {
	return p.listener.Addr().(*net.TCPAddr).AddrPort()
}

// Progress returns how many octets all connections have sent and received.
func (p *KernelPeer) Progress() (sent, received int64) {
	return p.sent.Load(), p.received.Load()
}

// Wait returns the next result. After d it returns one with
// os.ErrDeadlineExceeded and the peer's progress.
func (p *KernelPeer) Wait(d time.Duration) PeerResult {
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	select {
	case r := <-p.results:
		return r
	case <-timeout.C:
		sent, received := p.Progress()
		return PeerResult{Sent: sent, Received: received,
			Err: fmt.Errorf("no result after %v: %w", d, os.ErrDeadlineExceeded)}
	}
}

// Close closes the listener and the connections, and waits until their
// goroutines have ended.
func (p *KernelPeer) Close() error {
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	var err error
	if p.listener != nil {
		err = p.listener.Close()
	}
	p.work.Wait()
	return err
}

// serve runs one connection in a goroutine of its own.
func (p *KernelPeer) serve(conn *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = conn.Close()
		return
	}
	p.conns[conn] = struct{}{}
	p.work.Go(func() {
		r := p.transfer(conn)
		_ = conn.Close()
		p.mu.Lock()
		delete(p.conns, conn)
		p.mu.Unlock()
		select {
		case p.results <- r:
		default: // nobody waits for so many
		}
	})
}

func (p *KernelPeer) transfer(conn *net.TCPConn) PeerResult {
	before, err := p.host.Counters()
	if err != nil {
		return PeerResult{Err: err}
	}
	t := transfer{peer: p, conn: conn, sentSum: sha256.New(), receivedSum: sha256.New()}
	t.Local = conn.LocalAddr().(*net.TCPAddr).AddrPort()
	t.Remote = conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	start := time.Now()
	t.Err = t.run(p.config)
	t.Took = time.Since(start)
	t.MPTCP, err = conn.MultipathTCP()
	t.Err = errors.Join(t.Err, err)
	t.Counters, err = p.host.CountersSince(before)
	t.Err = errors.Join(t.Err, err)
	t.sentSum.Sum(t.SentSum[:0])
	t.receivedSum.Sum(t.ReceivedSum[:0])
	return t.PeerResult
}

// transfer is one connection at work.
type transfer struct {
	PeerResult
	peer                 *KernelPeer
	conn                 *net.TCPConn
	sentSum, receivedSum hash.Hash
}

func (t *transfer) run(c PeerConfig) error {
	switch c.Mode {
	case Source:
		if err := t.send(RandomStream(c.Seed), c.Bytes); err != nil {
			return err
		}
		return t.receive(nil)
	case Echo:
		if err := t.receive(t.write); err != nil {
			return err
		}
		return t.conn.CloseWrite()
	case Duplex:
		sent := make(chan error, 1)
		go func() { sent <- t.send(RandomStream(c.Seed), c.Bytes) }()
		err := t.receive(nil)
		if err != nil {
			_ = t.conn.Close() // so that the sender ends
		}
		return errors.Join(err, <-sent)
	default:
		if err := t.receive(nil); err != nil {
			return err
		}
		return t.conn.CloseWrite()
	}
}

// send writes n octets and closes the direction.
func (t *transfer) send(from io.Reader, n int64) error {
	buf, gate := make([]byte, t.peer.config.Chunk), t.peer.config.Gate
	for n > 0 {
		b := buf[:min(int64(len(buf)), n)]
		if gate != nil {
			b = b[:min(int64(len(b)), t.peer.config.head()-t.Sent)]
		}
		if _, err := io.ReadFull(from, b); err != nil {
			return err
		}
		if err := t.write(b); err != nil {
			return err
		}
		n -= int64(len(b))
		if gate != nil && t.Sent >= t.peer.config.head() {
			<-gate
			gate = nil
		}
	}
	return t.conn.CloseWrite()
}

func (t *transfer) write(b []byte) error {
	n, err := t.conn.Write(b)
	t.sentSum.Write(b[:n])
	t.Sent += int64(n)
	t.peer.sent.Add(int64(n))
	return err
}

// receive reads to the end of the stream, and hands what it reads to each.
func (t *transfer) receive(each func([]byte) error) error {
	buf := make([]byte, t.peer.config.Chunk)
	for {
		n, err := t.conn.Read(buf)
		t.receivedSum.Write(buf[:n])
		t.Received += int64(n)
		t.peer.received.Add(int64(n))
		if each != nil && n > 0 {
			if err := each(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
