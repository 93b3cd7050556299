package engine

import (
	"io"
	"net/netip"
	"syscall"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/subflow"
)

// Write takes as much of p as the send buffer has room for. 0 if it is full, the
// write side is closed, or the connection failed.
func (c *Conn) Write(now mono.Time, p []byte) int {
	if c.phase == over || c.tx.fin {
		return 0
	}
	c.used(now)
	n := c.snd.Write(p[:min(len(p), c.room())])
	c.stats.BytesWritten += uint64(n)
	return n
}

// Reserve returns memory of the send buffer to be filled without the lock, and
// then to be committed; until then nothing may be written. It has at least as
// much room as is worth a call, or is nil if Write would return 0 or little.
func (c *Conn) Reserve() []byte {
	if c.phase == over || c.tx.fin {
		return nil
	}
	n := c.room()
	if n < c.worth() {
		return nil
	}
	return c.snd.Reserve(n)
}

// Commit takes the first n octets of what Reserve returned, and returns how
// many it took: all, or none if the write side was closed or the connection
// failed meanwhile.
func (c *Conn) Commit(now mono.Time, n int) int {
	if c.phase == over || c.tx.fin {
		n = 0
	}
	c.snd.Commit(n)
	c.used(now)
	c.stats.BytesWritten += uint64(n)
	return n
}

// worth is how much room the send buffer must have before a writer who found it
// full is woken: not every acknowledgment is worth that.
func (c *Conn) worth() int { return max(1, min(c.snd.Size()/4, mostWorth)) }

const mostWorth = 64 << 10

// Read moves what has arrived to p; 0 if nothing has.
func (c *Conn) Read(now mono.Time, p []byte) int {
	if len(c.fast.syn) > 0 && !c.appClosed {
		n := c.readEarly(p)
		c.stats.BytesRead += uint64(n)
		return n
	}
	if c.rcv == nil || c.appClosed { //spec:X10 off: if c.rcv == nil || c.tx.fin {
		return 0
	}
	n := c.rcv.Read(p)
	c.tookFromBuffer(now, n)
	return n
}

// Offer has what arrives next go straight to p, the memory of a reader who is about
// to wait, until Taken. It returns false if that cannot be, or if another one waits
// so already.
func (c *Conn) Offer(p []byte) bool {
	if c.rcv == nil || c.lender || c.appClosed || len(c.fast.syn) > 0 {
		return false
	}
	c.lender = true
	c.rcv.Offer(p)
	return true
}

// Pin returns what is left of the memory that was offered, for somebody to write
// payload to before it comes here (buf.Recv.Pin); until Unpin. Nil if there is none.
func (c *Conn) Pin() []byte {
	if !c.lender || c.rcv == nil {
		return nil
	}
	return c.rcv.Pin()
}

// Unpin ends what Pin began.
func (c *Conn) Unpin() { c.rcv.Unpin() }

// Taken ends what Offer began, and returns how many octets arrived so. The memory is
// not pinned.
func (c *Conn) Taken(now mono.Time) int {
	c.lender = false
	n := c.rcv.Taken()
	c.tookFromBuffer(now, n)
	return n
}

// tookFromBuffer follows n octets that left the receive buffer.
func (c *Conn) tookFromBuffer(now mono.Time, n int) {
	c.stats.BytesRead += uint64(n)
	if n == 0 {
		return
	}
	c.used(now)
	if c.phase == open {
		c.announceWindow()
	}
	c.tune(now, 0, n) // what that adds the next acknowledgment tells
}

// Peek lends what has arrived, as much as lies together in memory; nil if
// nothing has. It may be read without the lock until Discard, which has to
// follow, and before which neither Read nor Peek may be called.
func (c *Conn) Peek() []byte {
	var p []byte
	switch {
	case c.appClosed:
	case len(c.fast.syn) > 0:
		p = c.fast.syn
	case c.rcv != nil:
		p = c.rcv.Peek()
	}
	c.rx.lent = len(p)
	return p
}

// Discard takes the first n octets of what Peek returned.
func (c *Conn) Discard(now mono.Time, n int) {
	c.rx.lent = 0
	if len(c.fast.syn) > 0 {
		c.dropEarly(n)
		c.stats.BytesRead += uint64(n)
		return
	}
	if c.rcv != nil {
		c.rcv.Discard(n)
		c.tookFromBuffer(now, n)
	}
}

// Readable reports whether a read would not block: data, end of stream or a
// failure.
func (c *Conn) Readable() bool {
	return c.readable() > 0 || c.ReadErr() != nil
}

// readable is how many octets Read could return.
func (c *Conn) readable() int {
	n := len(c.fast.syn)
	if c.rcv != nil {
		n += c.rcv.Readable() + c.rcv.Handed()
	}
	return n
}

// unread is how many octets no reader has in his memory.
func (c *Conn) unread() int {
	n := c.readable()
	if c.rcv != nil {
		n -= c.rcv.Handed()
	}
	return n
}

// Writable reports whether a writer who found the buffer full should be woken:
// room that is worth it, or an error.
func (c *Conn) Writable() bool {
	return c.WriteErr() != nil || c.phase != over && c.room() >= c.worth()
}

// ReadErr returns why Read returned 0: nil (wait), io.EOF or the failure.
func (c *Conn) ReadErr() error {
	switch {
	case c.peerFinished():
		return io.EOF
	case c.err != nil:
		return c.err
	case c.phase == over:
		return io.EOF
	}
	return nil
}

// WriteErr returns why Write returned 0: nil (wait), syscall.EPIPE after
// CloseWrite, or the failure.
func (c *Conn) WriteErr() error {
	switch {
	case c.err != nil:
		return c.err
	case c.tx.fin || c.phase == over:
		return syscall.EPIPE
	}
	return nil
}

// CloseWrite ends our direction (DATA_FIN, FIN).
func (c *Conn) CloseWrite(now mono.Time) {
	if c.phase != over {
		c.tx.fin = true
	}
}

// Close ends both directions: CloseWrite if everything that arrived was read,
// or is lent to who reads it, else an abort (MP_FASTCLOSE, RST). What arrives
// later aborts.
func (c *Conn) Close(now mono.Time) {
	if c.appClosed {
		return
	}
	c.appClosed = true
	switch {
	case c.phase == over:
	case c.phase == opening && c.client:
		c.abort(now)
	case c.unread() > c.rx.lent: //spec:R1 off: case false:
		// RFC 9293, Section 3.10.4; RFC 2525, Section 2.17: the peer has to
		// learn that data was lost.
		c.abort(now)
	default:
		c.CloseWrite(now)
		c.timers.Set(tLinger, now.Add(c.hold))
	}
	c.reap(now)
}

// Abort ends the connection at once (MP_FASTCLOSE, RST).
func (c *Conn) Abort(now mono.Time) {
	c.abort(now)
	c.reap(now)
}

// abort is Abort for use inside a call that ends with reap.
func (c *Conn) abort(now mono.Time) {
	if c.phase == over {
		return
	}
	if c.mode == multipath {
		c.stats.MPFastcloseTx++
		if c.cfg.FastCloseACK && c.phase == open {
			c.closer = c.signalPath(netip.Addr{})
		}
	}
	c.fail(now, &ResetError{Local: c.local, Remote: c.remote})
	if c.closer != nil {
		c.askClose(now)
	}
}

// Settled reports whether both sides have everything, the ends of the streams
// included; subflows may still have to exchange FINs, or to repeat what arrived
// on another.
func (c *Conn) Settled() bool { return c.phase == open && c.settled() }

// settled reports whether both directions are finished and acknowledged.
func (c *Conn) settled() bool {
	if c.mode == plain {
		if len(c.paths) == 0 {
			return c.phase == over
		}
		st := c.paths[0].sf.State()
		return st == subflow.StateTimeWait || st == subflow.StateClosed && c.tx.finAcked
	}
	return c.tx.finAcked && c.peerFinished()
}
