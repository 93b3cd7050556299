package netcat

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// outcome is what a Relay returned.
type outcome struct {
	Result
	err error
}

// start runs a Relay in its own goroutine.
func start(ctx context.Context, conn net.Conn, in io.Reader, out io.Writer, o Options) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		res, err := Relay(ctx, conn, in, out, o)
		done <- outcome{res, err}
	}()
	return done
}

func tcpPair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a, b = c.(*net.TCPConn), (<-accepted).(*net.TCPConn)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func randomBytes(seed uint64, n int) []byte {
	p := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	r.Read(p)
	return p
}

func (o outcome) want(t *testing.T, why Why, sent, received int) {
	t.Helper()
	if o.Why != why || o.Sent != uint64(sent) || o.Received != uint64(received) {
		t.Errorf("got %v with %d sent and %d received (error %v), want %v with %d and %d",
			o.Why, o.Sent, o.Received, o.err, why, sent, received)
	}
	if (o.err != nil) != (why == Failed) {
		t.Errorf("error %v does not go with %v", o.err, why)
	}
}

// Random octets in both directions at once, each more than any buffer holds.
func TestRelayBothWays(t *testing.T) {
	a, b := tcpPair(t)
	up, down := randomBytes(1, 3<<20), randomBytes(2, 5<<20+17)
	var gotUp, gotDown bytes.Buffer
	at := start(t.Context(), a, bytes.NewReader(up), &gotDown, Options{HalfCloseOnEOF: true})
	bt := start(t.Context(), b, bytes.NewReader(down), &gotUp, Options{HalfCloseOnEOF: true})
	(<-at).want(t, Complete, len(up), len(down))
	(<-bt).want(t, Complete, len(down), len(up))
	if !bytes.Equal(gotUp.Bytes(), up) || !bytes.Equal(gotDown.Bytes(), down) {
		t.Error("streams differ")
	}
}

// With -N the peer sees the end of our input and can still answer.
func TestHalfCloseAnswerComesAfterOurEnd(t *testing.T) {
	a, b := tcpPair(t)
	var out bytes.Buffer
	done := start(t.Context(), a, strings.NewReader("abc\n"), &out, Options{HalfCloseOnEOF: true})
	got, err := io.ReadAll(b)
	if err != nil || string(got) != "abc\n" {
		t.Fatalf("peer read %q, %v", got, err)
	}
	b.Write([]byte("late"))
	b.Close()
	(<-done).want(t, Complete, 4, 4)
	if out.String() != "late" {
		t.Errorf("output %q", out.String())
	}
}

// Without -N the end of the input is not told: only the peer's close ends it.
func TestNoHalfCloseWaitsForPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := halfPipe()
		done := start(t.Context(), a, strings.NewReader("abc\n"), io.Discard, Options{})
		io.ReadFull(b, make([]byte, 4))
		time.Sleep(time.Hour)
		select {
		case o := <-done:
			t.Fatalf("ended with %+v", o)
		default:
		}
		if a.halfClosed {
			t.Error("the peer was told")
		}
		b.Close()
		(<-done).want(t, Complete, 4, 0)
	})
}

// A client whose peer has ended goes on sending until its own input ends.
func TestClientSendsAfterPeerEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := halfPipe()
		in, feed := io.Pipe()
		done := start(t.Context(), a, in, io.Discard, Options{HalfCloseOnEOF: true})
		b.CloseWrite()
		synctest.Wait() // the end has been seen
		go func() {
			feed.Write([]byte("more"))
			feed.Close()
		}()
		if got, err := io.ReadAll(b); err != nil || string(got) != "more" {
			t.Errorf("peer read %q, %v", got, err)
		}
		(<-done).want(t, Complete, 4, 0)
	})
}

// A listener leaves when its peer has ended, with its input still open, and
// sends what it had read by then.
func TestListenerEndsWithPeer(t *testing.T) {
	a, b := tcpPair(t)
	in, feed := io.Pipe()
	done := start(t.Context(), a, in, io.Discard, Options{EndWithPeer: true})
	feed.Write([]byte("hello"))
	io.ReadFull(b, make([]byte, 5))
	b.CloseWrite()
	(<-done).want(t, Complete, 5, 0)
	in.Close()
}

// With -d nothing is read, and -N ends our direction at once.
func TestNoInput(t *testing.T) {
	a, b := tcpPair(t)
	in := readFunc(func([]byte) (int, error) {
		t.Error("input was read")
		return 0, io.EOF
	})
	var out bytes.Buffer
	done := start(t.Context(), a, in, &out, Options{NoInput: true, HalfCloseOnEOF: true})
	if got, err := io.ReadAll(b); err != nil || len(got) != 0 {
		t.Errorf("peer read %q, %v", got, err)
	}
	b.Write([]byte("x"))
	b.Close()
	(<-done).want(t, Complete, 0, 1)
}

// Nothing for IdleTimeout ends the session; anything in either direction
// starts the time again.
func TestIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := halfPipe()
		in, feed := io.Pipe()
		began := time.Now()
		done := start(t.Context(), a, in, io.Discard, Options{IdleTimeout: 10 * time.Second})
		go io.Copy(io.Discard, b)
		for range 3 {
			time.Sleep(9 * time.Second)
			b.Write([]byte("down"))
			time.Sleep(9 * time.Second)
			feed.Write([]byte("up"))
		}
		(<-done).want(t, Idle, 6, 12)
		active := 54 * time.Second
		if d := time.Since(began) - active; d < 10*time.Second || d > 12*time.Second {
			t.Errorf("idle after %v", d)
		}
		feed.Close()
		a.Close()
	})
}

// A slow reader takes one octet at a time, each well within the time-out.
func TestIdleTimeoutSlowIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := halfPipe()
		data := make([]byte, 4*idlePiece)
		done := start(t.Context(), a, bytes.NewReader(data), io.Discard,
			Options{IdleTimeout: 10 * time.Second, HalfCloseOnEOF: true})
		p := make([]byte, idlePiece/4)
		for range 16 {
			time.Sleep(2 * time.Second)
			io.ReadFull(b, p)
		}
		b.Close()
		(<-done).want(t, Complete, len(data), 0)
	})
}

// The context ends a session whose input, like a terminal, blocks for ever.
func TestInterruptBlockedInput(t *testing.T) {
	a, b := tcpPair(t)
	in, feed := io.Pipe()
	defer feed.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := start(ctx, a, in, io.Discard, Options{})
	b.Write([]byte("x"))
	cancel()
	if o := <-done; o.Why != Interrupted || o.err != nil {
		t.Errorf("got %+v", o)
	}
	// The connection is whole: the caller closes it in order.
	if _, err := a.Write([]byte("bye")); err != nil {
		t.Error(err)
	}
}

// A peer that reads nothing must not hold up an interrupt either.
func TestInterruptBlockedSend(t *testing.T) {
	a, _ := tcpPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	src := NewSource(endless{})
	defer src.Close()
	done := start(ctx, a, src, io.Discard, Options{})
	cancel()
	if o := <-done; o.Why != Interrupted || o.err != nil {
		t.Errorf("got %+v", o)
	}
}

// Output that nobody takes cannot be interrupted; Relay leaves all the same.
func TestInterruptBlockedOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := halfPipe()
		r, w := io.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		done := start(ctx, a, strings.NewReader(""), w, Options{})
		b.Write([]byte("stuck"))
		cancel()
		(<-done).want(t, Interrupted, 0, 0)
		r.Close()
		b.Close()
	})
}

func TestFailures(t *testing.T) {
	disk := errors.New("no space left on device")
	tests := []struct {
		name string
		side Side
		in   io.Reader
		out  io.Writer
		peer func(b *net.TCPConn)
		err  error
	}{
		{"output", Output, blocked{}, failWriter{disk}, func(b *net.TCPConn) { b.Write([]byte("x")) }, disk},
		{"input", Input, failReader{disk}, io.Discard, func(*net.TCPConn) {}, disk},
		{"reset", Receive, blocked{}, io.Discard, func(b *net.TCPConn) { b.SetLinger(0); b.Close() }, syscall.ECONNRESET},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := tcpPair(t)
			done := start(t.Context(), a, tt.in, tt.out, Options{})
			tt.peer(b)
			o := <-done
			var e *Error
			if o.Why != Failed || !errors.As(o.err, &e) || e.Side != tt.side || !errors.Is(o.err, tt.err) {
				t.Errorf("got %+v, want %v to fail with %v", o, tt.side, tt.err)
			}
		})
	}
}

// A failure to send does not lose what the peer said before it went.
func TestAnswerSurvivesFailureToSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := halfPipe()
		a.sendErr = syscall.EPIPE
		var out bytes.Buffer
		done := start(t.Context(), a, strings.NewReader("request"), &out, Options{})
		synctest.Wait()
		b.Write([]byte("answer"))
		b.Close()
		o := <-done
		var e *Error
		if !errors.As(o.err, &e) || e.Side != Send || out.String() != "answer" {
			t.Errorf("got %+v and output %q", o, out.String())
		}
	})
}

// What one session did not use is the next one's: mpnc -k.
func TestSourceOutlivesRelay(t *testing.T) {
	in, feed := io.Pipe()
	src := NewSource(in)
	defer src.Close()

	a, b := tcpPair(t)
	done := start(t.Context(), a, src, io.Discard, Options{EndWithPeer: true})
	feed.Write([]byte("first"))
	io.ReadFull(b, make([]byte, 5))
	b.Close()
	(<-done).want(t, Complete, 5, 0)

	a, b = tcpPair(t)
	done = start(t.Context(), a, src, io.Discard, Options{EndWithPeer: true, HalfCloseOnEOF: true})
	feed.Write([]byte("second"))
	feed.Close()
	if got, err := io.ReadAll(b); err != nil || string(got) != "second" {
		t.Errorf("second peer read %q, %v", got, err)
	}
	b.Close()
	(<-done).want(t, Complete, 6, 0)
}

func TestSourceRead(t *testing.T) {
	want := randomBytes(3, bufferSize*3+5)
	got, err := io.ReadAll(NewSource(bytes.NewReader(want)))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d octets, %v", len(got), err)
	}
}

// No goroutine is left when the input can end.
func TestNoGoroutineLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 20 {
		a, b := tcpPair(t)
		done := start(t.Context(), a, strings.NewReader("x"), io.Discard, Options{HalfCloseOnEOF: true})
		b.Close()
		<-done
	}
	for deadline := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > before; {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, were %d", runtime.NumGoroutine(), before)
		}
		runtime.Gosched()
	}
}

// half is one end of an in-memory connection that works in a synctest bubble
// and has CloseWrite.
type half struct {
	net.Conn // what we read
	send     net.Conn

	halfClosed bool
	sendErr    error
}

func halfPipe() (a, b *half) {
	up1, up2 := net.Pipe()
	down1, down2 := net.Pipe()
	a = &half{Conn: down1, send: up1}
	b = &half{Conn: up2, send: down2}
	return a, b
}

func (h *half) Write(p []byte) (int, error) {
	if h.sendErr != nil {
		return 0, h.sendErr
	}
	return h.send.Write(p)
}

func (h *half) CloseWrite() error {
	h.halfClosed = true
	return h.send.Close()
}

func (h *half) SetDeadline(t time.Time) error {
	h.send.SetDeadline(t)
	return h.Conn.SetDeadline(t)
}

func (h *half) Close() error {
	h.send.Close()
	return h.Conn.Close()
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

type failWriter struct{ err error }

func (w failWriter) Write([]byte) (int, error) { return 0, w.err }

type failReader struct{ err error }

func (r failReader) Read([]byte) (int, error) { return 0, r.err }

// blocked is a terminal at which nobody types.
type blocked struct{}

func (blocked) Read([]byte) (int, error) { select {} }
