package mptcp

import (
	"context"
	"sync"
	"time"
)

// lastAck is how long at least Shutdown answers FINs that the peer sends again
// because our last ACK was lost.
const lastAck = 200 * time.Millisecond

// flush counts the connections that Shutdown waits for.
type flush struct {
	mu      sync.Mutex // leaf
	pending int
	done    chan struct{} // closed when none is left; nil before Shutdown
	rto     time.Duration // longest of those that still have to answer; 0: none has
}

// Shutdown ends the stack gracefully, as a process must before it exits: in
// user space nothing lingers in the background. Listeners are closed, and
// connections as Close would; then it waits until everything written has been
// acknowledged, and every subflow has exchanged FINs; then, where a peer may not
// have heard our last word, two retransmission timeouts, at least 200 ms, for FINs
// that it repeats; then it closes the stack. If ctx is done first, what is left is aborted and ctx's error
// returned.
func (s *Stack) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.closeListeners()
	err := s.drain(ctx)
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	return err
}

func (s *Stack) drain(ctx context.Context) error {
	done := s.flush.begin()
	for _, c := range s.snapshot() {
		c.startFlush()
	}
	s.flush.finish(0) // the one that begin counted
	select {
	case <-done:
	case <-ctx.Done():
		return contextError(ctx)
	}
	linger := time.NewTimer(s.flush.linger())
	defer linger.Stop()
	select {
	case <-linger.C:
	case <-ctx.Done():
	}
	return nil
}

// begin counts one, for Shutdown itself while it looks for connections.
func (f *flush) begin() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.done == nil {
		f.done = make(chan struct{})
	}
	f.pending++
	return f.done
}

func (f *flush) add() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pending++
}

func (f *flush) finish(rto time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pending--
	f.rto = max(f.rto, rto)
	if f.pending == 0 {
		select {
		case <-f.done:
		default:
			close(f.done)
		}
	}
}

func (f *flush) linger() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rto == 0 {
		return 0
	}
	return max(2*f.rto, lastAck)
}

// startFlush closes the connection, and makes Shutdown wait for it.
func (c *Conn) startFlush() {
	c.mu.Lock()
	now := c.stack.now()
	if !c.closed {
		c.core.Close(now)
		c.markClosed()
	}
	if !c.flushing && !c.ended {
		c.flushing = true
		c.stack.flush.add()
	}
	c.pollAndUnlock(now)
}

// pollFlushed tells Shutdown once.
func (c *Conn) pollFlushed() {
	if c.flushing && (c.ended || c.core.Flushed() || c.core.Done()) {
		c.flushing = false
		rto := time.Duration(0)
		if c.core.Lingers() {
			rto = c.core.RTO()
		}
		c.stack.flush.finish(rto)
	}
}
