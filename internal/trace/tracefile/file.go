// Package tracefile writes traces to files: packets with comments as pcapng
// for Wireshark, events as qlog-like JSON. Its writers may be used by many
// goroutines.
//
// A trace of a connection's first packets has the keys by which anybody can
// join, take over or close it (RFC 8684, Section 3.1), so the files are for
// their owner's eyes.
package tracefile

import (
	"bufio"
	"io"
	"os"
	"sync"
)

// bufferSize is how much is written at once: several trains.
const bufferSize = 256 << 10

// Create opens the file at path for writing, empty, with mode 0600 also if it
// was there with another. What is not a regular file (a FIFO that a viewer
// reads) is opened as it is.
func Create(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := makePrivate(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func makePrivate(f *os.File) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	return f.Truncate(0)
}

// output is the writer under both formats: a buffer, and the first error,
// after which nothing more is written.
type output struct {
	mu     sync.Mutex
	buf    *bufio.Writer
	under  io.Writer
	closed bool
}

func newOutput(w io.Writer) output {
	return output{buf: bufio.NewWriterSize(w, bufferSize), under: w}
}

// Flush writes what is buffered. It returns the first error of all writing.
func (o *output) Flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Flush()
}

// finish flushes, and closes what is written to if that can be closed. The
// caller has the lock.
func (o *output) finish() error {
	if o.closed {
		return nil
	}
	o.closed = true
	err := o.buf.Flush()
	if c, ok := o.under.(io.Closer); ok {
		if cerr := c.Close(); err == nil {
			err = cerr
		}
	}
	return err
}
