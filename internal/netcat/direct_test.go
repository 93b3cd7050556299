package netcat

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// directConn is a connection whose ReadFrom and WriteTo are counted.
type directConn struct {
	*net.TCPConn
	readFrom, writeTo atomic.Int32
}

func (c *directConn) ReadFrom(r io.Reader) (int64, error) {
	c.readFrom.Add(1)
	return io.Copy(struct{ io.Writer }{c.TCPConn}, struct{ io.Reader }{r})
}

func (c *directConn) WriteTo(w io.Writer) (int64, error) {
	c.writeTo.Add(1)
	return io.Copy(struct{ io.Writer }{w}, struct{ io.Reader }{c.TCPConn})
}

// inputs are the kinds of input that are read straight into a connection.
func inputs(t *testing.T, data []byte) map[string]*os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "input")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close(); r.Close(); w.Close() })
	go func() { w.Write(data); w.Close() }()
	return map[string]*os.File{"file": file, "pipe": r}
}

// Files and pipes go both ways without a buffer of ours.
func TestDirectBothWays(t *testing.T) {
	up, down := randomBytes(1, 3<<20), randomBytes(2, 5<<20+17)
	for name, in := range inputs(t, up) {
		t.Run(name, func(t *testing.T) {
			tcp, b := tcpPair(t)
			a := &directConn{TCPConn: tcp}
			var got, back bytes.Buffer
			at := start(t.Context(), a, NewSource(in), &back, Options{HalfCloseOnEOF: true, Direct: true})
			bt := start(t.Context(), b, bytes.NewReader(down), &got, Options{HalfCloseOnEOF: true})
			(<-at).want(t, Complete, len(up), len(down))
			(<-bt).want(t, Complete, len(down), len(up))
			if !bytes.Equal(got.Bytes(), up) || !bytes.Equal(back.Bytes(), down) {
				t.Error("streams differ")
			}
			if a.readFrom.Load() != 1 || a.writeTo.Load() != 1 {
				t.Errorf("%d calls of ReadFrom and %d of WriteTo, want one each", a.readFrom.Load(), a.writeTo.Load())
			}
		})
	}
}

// Whoever has to see the pieces, or to bound them, sees to it that there are
// pieces.
func TestDirectOnlyForWholeStreams(t *testing.T) {
	tap := func(bool, []byte) error { return nil }
	for _, tt := range []struct {
		name              string
		o                 Options
		readFrom, writeTo int32
	}{
		{"nothing else", Options{Direct: true}, 1, 1},
		{"not said to be good for it", Options{}, 0, 0},
		{"line ends", Options{Direct: true, CRLF: true}, 0, 1},
		{"a dump", Options{Direct: true, Tap: tap}, 0, 1},
		{"a pause after lines", Options{Direct: true, LineDelay: 1}, 0, 1},
		{"a pause", Options{Direct: true, Delay: 1}, 0, 1},
		{"datagrams", Options{Direct: true, MaxWrite: 5}, 0, 1},
		{"an idle time", Options{Direct: true, IdleTimeout: time.Hour}, 0, 1},
		{"reads are counted", Options{Direct: true, Reads: 1000}, 1, 0},
		{"Telnet, which answers", Options{Direct: true, Telnet: true}, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tcp, b := tcpPair(t)
			a := &directConn{TCPConn: tcp}
			tt.o.HalfCloseOnEOF = true
			b.Write([]byte("and back"))
			b.CloseWrite()
			(<-start(t.Context(), a, NewSource(inputs(t, []byte("there"))["pipe"]), io.Discard, tt.o)).want(t, Complete, 5, 8)
			if a.readFrom.Load() != tt.readFrom || a.writeTo.Load() != tt.writeTo {
				t.Errorf("%d calls of ReadFrom and %d of WriteTo, want %d and %d",
					a.readFrom.Load(), a.writeTo.Load(), tt.readFrom, tt.writeTo)
			}
		})
	}
}

// A session that is given up while its input is waited for has read nothing of
// what comes next: that is for the next one.
func TestDirectInputIsKept(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	src := NewSource(r)
	for _, word := range []string{"first", "second", "third"} {
		tcp, b := tcpPair(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := start(ctx, &directConn{TCPConn: tcp}, src, io.Discard, Options{Direct: true})
		w.Write([]byte(word))
		got := make([]byte, len(word))
		if _, err := io.ReadFull(b, got); err != nil || string(got) != word {
			t.Fatalf("the peer got %q, %v, want %q", got, err, word)
		}
		cancel()
		(<-done).want(t, Interrupted, len(word), 0)
	}
	w.Write([]byte("last"))
	w.Close()
	if got, err := io.ReadAll(src); err != nil || string(got) != "last" {
		t.Errorf("the next user reads %q, %v", got, err)
	}
}

// Who looked at the input before the session began finds it all sent.
func TestDirectAfterPeek(t *testing.T) {
	tcp, b := tcpPair(t)
	src := NewSource(inputs(t, []byte("hello"))["file"])
	if got := src.Peek(time.Minute, 3); string(got) != "hel" {
		t.Fatalf("peeked %q", got)
	}
	done := start(t.Context(), &directConn{TCPConn: tcp}, src, io.Discard, Options{Direct: true, HalfCloseOnEOF: true})
	if got, err := io.ReadAll(b); err != nil || string(got) != "hello" {
		t.Errorf("the peer got %q, %v", got, err)
	}
	b.Close()
	(<-done).want(t, Complete, 5, 0)
}

// brokenFile is an input that fails, once it has given some octets.
type brokenFile struct {
	*os.File
	r io.Reader
}

func (f brokenFile) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err == io.EOF {
		err = syscall.EIO
	}
	return n, err
}

// An error is of the side that had it.
func TestDirectErrors(t *testing.T) {
	file := inputs(t, randomBytes(1, 8<<20))["file"]
	for _, tt := range []struct {
		name string
		in   io.Reader
		out  io.Writer
		peer func(b *net.TCPConn)
		want Side
		err  error
	}{
		{"input", brokenFile{file, strings.NewReader("some")}, io.Discard, func(*net.TCPConn) {}, Input, syscall.EIO},
		{"output", strings.NewReader(""), fullDisk{}, func(b *net.TCPConn) { b.Write([]byte("x")) }, Output, syscall.ENOSPC},
		{"receive", strings.NewReader(""), io.Discard, func(b *net.TCPConn) { b.SetLinger(0); b.Close() }, Receive, syscall.ECONNRESET},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tcp, b := tcpPair(t)
			tt.peer(b)
			o := <-start(t.Context(), &directConn{TCPConn: tcp}, NewSource(tt.in), tt.out, Options{Direct: true})
			var e *Error
			if !errors.As(o.err, &e) || e.Side != tt.want || !errors.Is(o.err, tt.err) {
				t.Errorf("%v, want an error of %v: %v", o.err, tt.want, tt.err)
			}
		})
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }
