package netcat

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"time"
)

// Whole streams go by the connection's own ReadFrom and WriteTo, without a
// buffer between, where Options.Direct says that they are good for it and no
// other option has to see the pieces.

// sends returns the connection as what reads the input by itself; nil if it is
// not to. While it does nobody else can write, so answers to Telnet would wait.
func (r *relay) sends() io.ReaderFrom {
	o := &r.o
	if !o.Direct || o.CRLF || o.Telnet || o.Tap != nil || o.LineDelay > 0 || o.Delay > 0 || o.MaxWrite > 0 || o.IdleTimeout > 0 {
		return nil
	}
	to, _ := r.conn.(io.ReaderFrom)
	return to
}

// receives returns the connection as what writes the output by itself; nil if
// it is not to.
func (r *relay) receives() io.WriterTo {
	if !r.o.Direct || r.o.Reads > 0 {
		return nil
	}
	from, _ := r.conn.(io.WriterTo)
	return from
}

// sendAll carries the input to the connection until it ends.
func (r *relay) sendAll(src *Source, to io.ReaderFrom) error {
	n, inErr, err := src.copyTo(r.more, to)
	r.sent.Add(uint64(n))
	switch {
	case inErr == io.EOF && err == nil:
		return r.inputEnded()
	case errors.Is(inErr, context.Canceled):
		return nil
	case inErr != nil && inErr != io.EOF:
		return &Error{Input, inErr}
	}
	return &Error{Send, err}
}

// receiveAll carries the connection to the output until it ends.
func (r *relay) receiveAll(from io.WriterTo) error {
	s := sink{r: r}
	_, err := from.WriteTo(&s)
	switch {
	case s.err != nil:
		return s.err
	case err != nil:
		return &Error{Receive, err}
	}
	return nil
}

// sink is where WriteTo writes.
type sink struct {
	r   *relay
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	s.r.moved.Add(1)
	if s.err = s.r.take(p); s.err != nil {
		return 0, s.err
	}
	s.r.moved.Add(1)
	return len(p), nil
}

// direct reports whether s can be read without its goroutine: reads of a file
// never wait for long, and others may be given up by a deadline.
func (s *Source) direct() bool {
	if s.begun {
		return false
	}
	if fileOf(s.r) != nil {
		return true
	}
	d, ok := s.r.(deadliner)
	return ok && d.SetReadDeadline(time.Time{}) == nil
}

// fileOf returns what is known of r if it is a regular file, else nil.
func fileOf(r io.Reader) fs.FileInfo {
	f, ok := r.(interface{ Stat() (fs.FileInfo, error) })
	if !ok {
		return nil
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		return info
	}
	return nil
}

type deadliner interface{ SetReadDeadline(time.Time) error }

// copyTo has to read all of the input, until ctx is done. inErr is why the
// input has no more, context.Canceled if it may have; err is what to returned,
// which may be the same.
func (s *Source) copyTo(ctx context.Context, to io.ReaderFrom) (n int64, inErr, err error) {
	in := &directInput{s: s, ctx: ctx}
	defer in.begin()()
	n, err = to.ReadFrom(in)
	return n, in.err, err
}

// directInput reads what a Source reads.
type directInput struct {
	s   *Source
	ctx context.Context
	err error // why there is no more
}

// begin has the end of the context end a read that waits. The result undoes
// that, and returns when it is undone.
func (d *directInput) begin() (end func()) {
	r, ok := d.s.r.(deadliner)
	if !ok {
		return func() {}
	}
	done := make(chan struct{})
	stop := context.AfterFunc(d.ctx, func() {
		defer close(done)
		r.SetReadDeadline(time.Unix(1, 0))
	})
	return func() {
		if !stop() {
			<-done
			r.SetReadDeadline(time.Time{})
		}
	}
}

// Prompt tells mptcp.Conn.ReadFrom that a file never waits. Those of the kernel, which
// may, say that they are empty.
func (d *directInput) Prompt() bool {
	info := fileOf(d.s.r)
	return info != nil && info.Size() > 0
}

func (d *directInput) Read(p []byte) (n int, err error) {
	if d.ctx.Err() != nil {
		err = context.Canceled
	} else if n, err = d.s.r.Read(p); err != nil && d.ctx.Err() != nil {
		err = context.Canceled // what the deadline made of it
	}
	d.err = err
	return n, err
}
