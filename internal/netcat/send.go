package netcat

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"
)

// send carries the input to the connection.
func (r *relay) send() error {
	if src, ok := r.in.(*Source); ok && src.direct() {
		if to := r.sends(); to != nil {
			return r.sendAll(src, to)
		}
	}
	for r.in != nil {
		p, err := r.in.next(r.more)
		switch {
		case err == io.EOF:
			return r.inputEnded()
		case errors.Is(err, context.Canceled):
			return nil
		case err != nil:
			return &Error{Input, err}
		}
		p = r.piece(p)
		if err := r.write(p); err != nil {
			return err
		}
		if r.o.LineDelay > 0 && p[len(p)-1] == '\n' {
			r.pause(r.o.LineDelay)
		}
		if r.o.Delay > 0 {
			r.pause(r.o.Delay)
		}
	}
	return r.inputEnded()
}

// piece returns what one write of p is to take.
func (r *relay) piece(p []byte) []byte {
	if r.o.LineDelay > 0 {
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			p = p[:i+1]
		}
	}
	if r.o.MaxWrite > 0 && len(p) > r.o.MaxWrite {
		p = p[:r.o.MaxWrite]
	}
	if r.o.IdleTimeout > 0 && len(p) > idlePiece {
		p = p[:idlePiece]
	}
	return p
}

// write sends p, a piece of the input, and marks it as used so far as it went.
func (r *relay) write(p []byte) error {
	q := p
	if r.o.CRLF {
		q = r.crlf.encode(p)
	}
	if err := r.tap(true, q); err != nil { // before there can be an answer
		return err
	}
	n, err := r.conn.Write(q)
	used := n
	if r.o.CRLF {
		used = r.crlf.used(p, n)
	}
	r.in.consume(used)
	r.sent.Add(uint64(n))
	r.moved.Add(1)
	if err != nil {
		return &Error{Send, err}
	}
	return nil
}

func (r *relay) tap(sent bool, p []byte) error {
	if r.o.Tap == nil || len(p) == 0 {
		return nil
	}
	if err := r.o.Tap(sent, p); err != nil {
		return &Error{Output, err}
	}
	return nil
}

// pause waits, but not for longer than input is wanted.
func (r *relay) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.more.Done():
	}
}

// inputEnded tells the peer, if that was asked for and the connection can.
func (r *relay) inputEnded() error {
	c, ok := r.conn.(interface{ CloseWrite() error })
	if !ok || !r.o.HalfCloseOnEOF {
		return nil
	}
	if err := c.CloseWrite(); err != nil {
		return &Error{Send, err}
	}
	return nil
}

// crlf writes each LF that follows no CR as CR LF, wherever reads and writes
// cut the stream.
type crlf struct {
	cr  bool // the octet before was a CR
	buf []byte
}

// encode returns p as it is to be sent, until the next call.
func (c *crlf) encode(p []byte) []byte {
	if bytes.IndexByte(p, '\n') < 0 {
		return p
	}
	c.buf = c.buf[:0]
	cr := c.cr
	for _, b := range p {
		if b == '\n' && !cr {
			c.buf = append(c.buf, '\r')
		}
		c.buf = append(c.buf, b)
		cr = b == '\r'
	}
	return c.buf
}

// used returns how many octets of p were sent with the first n of what encode
// made of it.
func (c *crlf) used(p []byte, n int) int {
	for i, b := range p {
		if b == '\n' && !c.cr {
			if n == 1 { // its CR went; the LF is all that remains of it
				c.cr = true
				return i
			}
			n--
		}
		if n <= 0 {
			return i
		}
		n--
		c.cr = b == '\r'
	}
	return len(p)
}
