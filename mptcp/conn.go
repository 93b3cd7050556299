package mptcp

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/mpnc/mpnc/mptcp/engine"
	"github.com/mpnc/mpnc/pathmgr"
)

// writeChunk is how much of a large write is copied before what it allows is
// sent.
const writeChunk = 256 << 10

// Conn is a connection: a net.Conn over one or several paths, or plain TCP if
// the peer speaks nothing else. All methods may be called by several
// goroutines at a time. After Close the connection lives on in its Stack until
// what was written has arrived.
type Conn struct {
	stack         *Stack
	local, remote *net.TCPAddr // of the first subflow, for ever (RFC 8684, Section 4)
	listener      *Listener    // of an accepted connection

	mu     sync.Mutex
	core   *engine.Conn
	latest Time // that the core was told

	// Readers and dialers wait on rcond, writers on wcond; counted, so that
	// nobody is woken in vain.
	rcond, wcond     sync.Cond
	rwaits, wwaits   int
	rdeadln, wdeadln deadline
	dialing          bool // waitEstablished waits
	writing          bool // a Write or ReadFrom is under way: they do not interleave
	lent             bool // WriteTo has octets of the receive buffer: nobody else reads
	pinned, unpinned bool // a reader writes to memory that waitInto lent; and who lent it waits for the end
	closed           bool // by Close, Abort or the Stack
	ended            bool // the core said Gone
	toldClosed       bool // Config.OnEvent was told of the end
	flushing         bool // Shutdown waits for it

	heard Time // the second in which packets came last, counted by the reader

	armed  Time  // when the heap will look at the connection at the latest
	timer  timer // guarded by timers.mu
	links  []int
	inLine []*port // the ports in whose line the connection stands

	locals []pathmgr.Local // this host's addresses, as the core was told
	peers  []netip.Addr    // addresses of the peer, the first one first

	openings []*opening // paths that AddPath waits for

	holds []holding // guarded by Stack.mu
}

var _ net.Conn = (*Conn)(nil)

func (s *Stack) newConn(core *engine.Conn) *Conn {
	c := &Conn{
		stack:  s,
		core:   core,
		local:  net.TCPAddrFromAddrPort(core.LocalAddr()),
		remote: net.TCPAddrFromAddrPort(core.RemoteAddr()),
		armed:  never,
	}
	c.rcond.L, c.wcond.L = &c.mu, &c.mu
	c.rdeadln.init(s.now, &c.rcond)
	c.wdeadln.init(s.now, &c.wcond)
	c.timer.conn = c
	c.peers = []netip.Addr{core.RemoteAddr().Addr()}
	core.Owner = c
	return c
}

// Read reads data that has arrived. io.EOF means that the peer has finished. All of p
// may be used as scratch space, as by every io.Reader: what lies there beyond what was
// read means nothing, and may have been meant for others.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.read(p)
	if err != nil && err != io.EOF {
		err = c.opError("read", err)
	}
	return n, err
}

func (c *Conn) read(p []byte) (int, error) {
	c.mu.Lock()
	for {
		switch {
		case c.closed:
			c.mu.Unlock()
			return 0, net.ErrClosed
		case len(p) == 0:
			c.mu.Unlock()
			return 0, nil
		case c.rdeadln.passed():
			c.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		}
		if !c.lent {
			now := c.stack.now()
			if n := c.core.Read(now, p); n > 0 {
				c.pollAndUnlock(now)
				return n, nil
			}
			if err := c.core.ReadErr(); err != nil {
				c.mu.Unlock()
				return 0, err
			}
			if n := c.waitInto(p); n > 0 {
				return n, nil
			}
			continue
		}
		c.waitRead()
	}
}

// waitInto is waitRead for somebody who lends p meanwhile: what arrives goes there
// with one copy less. It returns how much did, and if that is anything has
// unlocked.
func (c *Conn) waitInto(p []byte) (n int) {
	offered := c.core.Offer(p)
	c.waitRead()
	if !offered {
		return 0
	}
	for c.pinned {
		c.unpinned = true // tell me
		c.waitRead()
	}
	now := c.stack.now()
	if n = c.core.Taken(now); n > 0 {
		c.pollAndUnlock(now)
	}
	return n
}

func (c *Conn) waitRead() {
	c.rwaits++
	c.rcond.Wait()
	c.rwaits--
}

// Write queues p to be sent. It blocks only while the send buffer is full.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.write(p)
	if err != nil {
		err = c.opError("write", err)
	}
	return n, err
}

func (c *Conn) write(p []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.startWrite(); err != nil {
		return 0, err
	}
	defer c.endWrite()
	for {
		if err := c.writeErr(); err != nil {
			return n, err
		}
		if n == len(p) {
			return n, nil
		}
		now := c.stack.now()
		k := c.core.Write(now, p[n:min(n+writeChunk, len(p))])
		if k > 0 {
			n += k
			c.pollAndUnlock(now)
			c.mu.Lock()
			if n == len(p) {
				return n, nil
			}
			continue
		}
		if err := c.core.WriteErr(); err != nil {
			return n, err
		}
		c.waitWrite()
	}
}

// startWrite waits for the turn of a Write: as with the host's own
// connections, the data of concurrent writes does not mix.
func (c *Conn) startWrite() error {
	for c.writing {
		if err := c.writeErr(); err != nil {
			return err
		}
		c.waitWrite()
	}
	c.writing = true
	return nil
}

func (c *Conn) endWrite() {
	c.writing = false
	if c.wwaits > 0 {
		c.wcond.Broadcast()
	}
}

func (c *Conn) writeErr() error {
	switch {
	case c.closed:
		return net.ErrClosed
	case c.wdeadln.passed():
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (c *Conn) waitWrite() {
	c.wwaits++
	c.wcond.Wait()
	c.wwaits--
}

// CloseWrite finishes the direction to the peer: it will read io.EOF after
// what was written. Reading goes on.
func (c *Conn) CloseWrite() error {
	return c.finish("close", func(now Time) { c.core.CloseWrite(now) }, false)
}

// Close ends the connection in both directions; blocked reads and writes
// return net.ErrClosed. What was written is still delivered, unless data that
// has arrived was not read: then the peer's connection is reset, as it would
// be by the host's own TCP.
func (c *Conn) Close() error {
	return c.finish("close", func(now Time) { c.core.Close(now) }, true)
}

// Abort ends the connection at once, in both directions (MP_FASTCLOSE, RST).
// What was written may be lost.
func (c *Conn) Abort() error {
	return c.finish("abort", func(now Time) { c.core.Abort(now) }, true)
}

func (c *Conn) finish(op string, do func(now Time), closes bool) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return c.opError(op, net.ErrClosed)
	}
	now := c.stack.now()
	do(now)
	if closes {
		c.markClosed()
	}
	c.pollAndUnlock(now)
	return nil
}

// markClosed makes the application's calls fail from now on.
func (c *Conn) markClosed() {
	c.closed = true
	c.tellClosed(c.at(c.stack.now()))
	c.rdeadln.stop()
	c.wdeadln.stop()
	c.rcond.Broadcast()
	c.wcond.Broadcast()
}

// LocalAddr returns the local end of the first subflow, a *net.TCPAddr. It
// never changes, whatever becomes of that subflow.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the peer's end of the first subflow, a *net.TCPAddr. It
// never changes, whatever becomes of that subflow.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets the deadlines of reads and writes.
func (c *Conn) SetDeadline(t time.Time) error {
	return c.setDeadlines(t, &c.rdeadln, &c.wdeadln)
}

// SetReadDeadline sets the deadline of reads, those that wait included.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, &c.rdeadln) }

// SetWriteDeadline sets the deadline of writes, those that wait included.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.wdeadln) }

func (c *Conn) setDeadlines(t time.Time, ds ...*deadline) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.opError("set", net.ErrClosed)
	}
	for _, d := range ds {
		d.set(t)
	}
	return nil
}

// SetNoDelay switches the Nagle algorithm off (true) or on (RFC 9293,
// Section 3.7.4). Initially it is as Config.NoDelay says.
func (c *Conn) SetNoDelay(noDelay bool) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return c.opError("set", net.ErrClosed)
	}
	now := c.stack.now()
	c.core.SetNoDelay(noDelay)
	c.pollAndUnlock(now)
	return nil
}

// Multipath reports whether the connection speaks MPTCP.
func (c *Conn) Multipath() bool { return c.Stats().Multipath }

// Fallback returns why the connection is plain TCP; NoFallback if it is not.
func (c *Conn) Fallback() FallbackReason { return c.Stats().Fallback }

// Subflows returns the subflows, those that ended included.
func (c *Conn) Subflows() []SubflowStats { return c.Stats().Subflows }

// Err returns why the connection failed; nil while it lives, and if it ended in
// good order.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Err()
}

// Stats returns a snapshot.
func (c *Conn) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Stats()
}

// waitEstablished blocks until the handshake is done, or has failed, or ctx
// is done.
func (c *Conn) waitEstablished(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.rcond.Broadcast()
	})
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dialing = true
	defer func() { c.dialing = false }()
	for {
		switch {
		case c.core.Err() != nil:
			return c.core.Err()
		case c.closed:
			return net.ErrClosed
		case c.core.Established():
			return nil
		case ctx.Err() != nil:
			return contextError(ctx)
		}
		c.waitRead()
	}
}

// opError dresses an error as the net package does.
func (c *Conn) opError(op string, err error) error {
	if no, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(op, no)
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}
