package netcat

import (
	"context"
	"io"
	"time"
)

// Source is an input whose reads can be given up without losing anything: what
// was read and not used stays for the next user. A terminal or a pipe cannot
// be interrupted in a read, so one goroutine reads ahead, by one buffer; it is
// started by the first use and ends with the input. A file, and what has
// deadlines, needs none of that, and is read straight into a connection that can
// (Options.Direct).
//
// A Source has one user at a time. Close is for the last of them.
type Source struct {
	r     io.Reader
	begun bool
	full  chan chunk    // read, waiting for its user
	empty chan []byte   // used, waiting to be read into
	quit  chan struct{} // closed by Close

	cur chunk  // being used
	buf []byte // cur's whole buffer, for empty
}

// chunk is what one read gave.
type chunk struct {
	p   []byte
	err error
}

// NewSource returns a Source that reads r. Nothing is read yet.
func NewSource(r io.Reader) *Source {
	return &Source{r: r, full: make(chan chunk), empty: make(chan []byte, 2), quit: make(chan struct{})}
}

// Close lets the reading goroutine go, at once or when the read it is in
// returns. It does not close the reader underneath.
func (s *Source) Close() error {
	close(s.quit)
	return nil
}

// Read reads as an io.Reader does, without a way to give up.
func (s *Source) Read(p []byte) (int, error) {
	q, err := s.next(context.Background())
	n := copy(p, q)
	s.consume(n)
	return n, err
}

// next returns octets that wait to be used, at least one, or why there are
// none: io.EOF, the reader's error, or the context's. It returns the same ones
// again until they are consumed.
func (s *Source) next(ctx context.Context) ([]byte, error) {
	s.begin()
	for len(s.cur.p) == 0 {
		if s.cur.err != nil {
			return nil, s.cur.err
		}
		s.recycle()
		select {
		case s.cur = <-s.full:
			s.buf = s.cur.p
		case <-ctx.Done():
			return nil, context.Canceled
		}
	}
	return s.cur.p, nil
}

// Peek returns what the input has at once, at most n octets of it, and waits no
// longer than that for it to show. The octets stay for the next user, and are
// valid until then.
func (s *Source) Peek(wait time.Duration, n int) []byte {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	p, _ := s.next(ctx)
	return p[:min(n, len(p))]
}

// consume marks the first n octets of what next returned as used.
func (s *Source) consume(n int) { s.cur.p = s.cur.p[n:] }

func (s *Source) recycle() {
	if s.buf != nil {
		s.empty <- s.buf[:cap(s.buf)]
		s.buf = nil
	}
}

func (s *Source) begin() {
	if s.begun {
		return
	}
	s.begun = true
	s.empty <- make([]byte, bufferSize)
	s.empty <- make([]byte, bufferSize)
	go s.readAhead()
}

func (s *Source) readAhead() {
	for {
		var c chunk
		select {
		case buf := <-s.empty:
			n, err := s.r.Read(buf)
			c = chunk{buf[:n], err}
		case <-s.quit:
			return
		}
		select {
		case s.full <- c:
		case <-s.quit:
			return
		}
		if c.err != nil {
			return
		}
	}
}
