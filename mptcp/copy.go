package mptcp

import (
	"io"
	"net"
	"os"
	"time"
)

var (
	_ io.ReaderFrom = (*Conn)(nil)
	_ io.WriterTo   = (*Conn)(nil)
)

// ReadFrom sends what r has until it ends, and returns how many octets were
// queued to be sent. r reads straight into the send buffer, so io.Copy to a
// connection copies each octet once. While it runs, other writes wait.
//
// Nothing is read while the send buffer is full, nor after a deadline has
// passed. What a read brings that was under way when the deadline passed is
// still sent; what it brings after Close or CloseWrite is lost, and not counted.
// ReadFrom returns only when that read has returned. An error of r is returned
// as it is.
//
// What one read brings is sent before the next one, which may have to wait. If r is a
// regular file, or has a method Prompt() bool that returns true, it is taken never to
// wait, until it does, and is read several times in a row.
func (c *Conn) ReadFrom(r io.Reader) (n int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.startWrite(); err != nil {
		return 0, c.opError("write", err)
	}
	defer c.endWrite()
	f := feeder{Conn: c, r: r, prompt: isPrompt(r)}
	defer f.send()
	for {
		space, err := f.reserve()
		if err != nil {
			return n, c.opError("write", err)
		}
		k, taken, err := f.fill(space)
		n += int64(taken)
		switch {
		case taken < k:
			return n, c.opError("write", c.whyNotTaken())
		case err == io.EOF:
			return n, nil
		case err != nil:
			return n, err
		}
	}
}

// isPrompt reports whether reads of r never wait.
func isPrompt(r io.Reader) bool {
	switch r := r.(type) {
	case interface{ Prompt() bool }:
		return r.Prompt()
	case *os.File:
		info, err := r.Stat()
		// Files of the kernel, which may wait, say that they are empty.
		return err == nil && info.Mode().IsRegular() && info.Size() > 0
	}
	return false
}

// slowRead is how long a read takes that has waited.
const slowRead = time.Millisecond

// feeder is a ReadFrom under way. The connection's mu is held.
type feeder struct {
	*Conn
	r      io.Reader
	prompt bool
	held   int // octets that were read and not yet sent
}

// reserve waits for room in the send buffer.
func (f *feeder) reserve() ([]byte, error) {
	for {
		if err := f.writeErr(); err != nil {
			return nil, err
		}
		if space := f.core.Reserve(); space != nil {
			return space, nil
		}
		if err := f.core.WriteErr(); err != nil {
			return nil, err
		}
		if f.held > 0 {
			f.send()
		} else {
			f.waitWrite()
		}
	}
}

// fill has r fill space, which is reserved, and sends what it read: k octets,
// of which the connection took so many.
func (f *feeder) fill(space []byte) (k, taken int, err error) {
	f.mu.Unlock()
	full := false
	defer func() { // whatever r does
		f.mu.Lock()
		taken = f.core.Commit(f.stack.now(), k)
		f.held += taken
		if !f.prompt || !full || f.held >= writeChunk {
			f.send()
		}
	}()
	before := f.stack.now()
	n, err := f.r.Read(space)
	if n < 0 || n > len(space) {
		panic("mptcp: a Reader returned an impossible count")
	}
	if f.stack.now().Sub(before) > slowRead {
		f.prompt = false
	}
	k = n
	full = n == len(space) && err == nil
	return k, 0, err
}

// send sends what was read.
func (f *feeder) send() {
	if f.held > 0 {
		f.held = 0
		f.pollAndUnlock(f.stack.now())
		f.mu.Lock()
	}
}

// whyNotTaken is why octets that were read could not be sent.
func (c *Conn) whyNotTaken() error {
	if c.closed {
		return net.ErrClosed
	}
	return c.core.WriteErr()
}

// WriteTo writes what arrives to w until the peer has finished, and returns how
// many octets w took. w gets the memory of the receive buffer, so io.Copy from
// a connection copies no octet itself; as every Writer it must neither change
// nor keep it. What w does not take remains to be read.
//
// While w writes, other reads wait; the deadline counts between its writes. An
// error of w is returned as it is.
func (c *Conn) WriteTo(w io.Writer) (n int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		p, err := c.borrow()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, c.opError("read", err)
		}
		k, err := c.drain(w, p)
		n += int64(k)
		if err == nil && k < len(p) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return n, err
		}
	}
}

// borrow waits for octets to read, and keeps others from reading them.
func (c *Conn) borrow() ([]byte, error) {
	for {
		switch {
		case c.closed:
			return nil, net.ErrClosed
		case c.rdeadln.passed():
			return nil, os.ErrDeadlineExceeded
		case !c.lent:
			if p := c.core.Peek(); len(p) > 0 {
				c.lent = true
				return p, nil
			}
			if err := c.core.ReadErr(); err != nil {
				return nil, err
			}
		}
		c.waitRead()
	}
}

// drain has w write p, which is borrowed, and takes so many octets of it out of
// the receive buffer.
func (c *Conn) drain(w io.Writer, p []byte) (k int, err error) {
	c.mu.Unlock()
	defer func() { // whatever w does
		c.mu.Lock()
		c.lent = false
		now := c.stack.now()
		c.core.Discard(now, k)
		if c.rwaits > 0 {
			c.rcond.Broadcast()
		}
		c.pollAndUnlock(now)
		c.mu.Lock()
	}()
	n, err := w.Write(p)
	if n < 0 || n > len(p) {
		panic("mptcp: a Writer returned an impossible count")
	}
	k = n
	return k, err
}
