package mptcp

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// noise is n octets that no two places share.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// These hide all methods but Read, or Write.
type onlyReader struct{ io.Reader }
type onlyWriter struct{ io.Writer }

// What io.Copy sends and receives without a buffer of its own is what was there.
func TestCopyBothWays(t *testing.T) {
	want := noise(3<<20 + 17)
	for _, tt := range setups {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"whole":       func(r io.Reader) io.Reader { return r },
			"halves":      iotest.HalfReader,
			"with error":  iotest.DataErrReader,
			"odd":         func(r io.Reader) io.Reader { return &oddReader{r: r} },
			"small sizes": func(r io.Reader) io.Reader { return &oddReader{r: r, most: 3000} },
		} {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				set := tt.set
				set.client.SendBuffer, set.server.RecvBuffer = 200_000, 300_000
				bubble(t, set, func(t *testing.T, p *pair) {
					c, s := p.conns()
					go func() {
						n, err := io.Copy(c, wrap(onlyReader{bytes.NewReader(want)}))
						if n != int64(len(want)) || err != nil {
							t.Errorf("copied %d octets to the connection, %v", n, err)
						}
						c.CloseWrite()
					}()
					var got bytes.Buffer
					n, err := io.Copy(onlyWriter{&got}, s)
					if n != int64(len(want)) || err != nil || !bytes.Equal(got.Bytes(), want) {
						t.Errorf("copied %d octets from the connection, %v; as they were: %v", n, err, bytes.Equal(got.Bytes(), want))
					}
				})
			})
		}
	}
}

// oddReader reads pieces of all sizes, and sometimes nothing.
type oddReader struct {
	r    io.Reader
	most int
	i    int
}

func (o *oddReader) Read(p []byte) (int, error) {
	o.i++
	n := o.i * 7919 % 70_000
	if o.most > 0 {
		n %= o.most
	}
	return o.r.Read(p[:min(n, len(p))])
}

// From one connection to another: octets that arrive are copied once, into the
// other's send buffer.
func TestCopyFromConnToConn(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		l := p.listen()
		c1, s1 := p.connect(l)
		c2, s2 := p.connect(l)
		want := noise(1 << 20)
		go func() {
			io.Copy(c1, bytes.NewReader(want))
			c1.CloseWrite()
		}()
		go func() {
			if n, err := io.Copy(s2, s1); n != int64(len(want)) || err != nil {
				t.Errorf("copied %d octets, %v", n, err)
			}
			s2.CloseWrite()
		}()
		if got, err := io.ReadAll(c2); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d octets, %v", len(got), err)
		}
	})
}

// A writer that fails, or takes less than it was given, leaves the rest to be
// read.
func TestWriteToFails(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name string
		err  error
		want error
	}{{"an error", broken, broken}, {"a short write", nil, io.ErrShortWrite}} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, setup{}, func(t *testing.T, p *pair) {
				c, s := p.conns()
				write(t, c, "what is written, what is not")
				synctest.Wait()
				var got []byte
				n, err := s.WriteTo(writerFunc(func(p []byte) (int, error) {
					got = append(got, p[:15]...)
					return 15, tt.err
				}))
				if n != 15 || !errors.Is(err, tt.want) || string(got) != "what is written" {
					t.Errorf("%d, %v, %q", n, err, got)
				}
				expect(t, s, ", what is not")
			})
		})
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// What a reader gives together with its error is sent.
func TestReadFromFails(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		c, s := p.conns()
		broken := errors.New("broken")
		n, err := c.ReadFrom(readerFunc(func(p []byte) (int, error) { return copy(p, "last words"), broken }))
		if n != 10 || !errors.Is(err, broken) {
			t.Errorf("%d, %v", n, err)
		}
		expect(t, s, "last words")
		write(t, c, "more")
		expect(t, s, "more")
	})
}

// A reader or writer that panics, or lies, leaves the connection usable.
func TestCopyPanics(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		c, s := p.conns()
		panics := func(name string, f func()) {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}
		write(t, c, "a")
		synctest.Wait()
		panics("reader", func() { c.ReadFrom(readerFunc(func([]byte) (int, error) { panic("x") })) })
		panics("lying reader", func() { c.ReadFrom(readerFunc(func(p []byte) (int, error) { return len(p) + 1, nil })) })
		panics("writer", func() { s.WriteTo(writerFunc(func([]byte) (int, error) { panic("x") })) })
		panics("lying writer", func() { s.WriteTo(writerFunc(func(p []byte) (int, error) { return len(p) + 1, nil })) })
		write(t, c, "b")
		expect(t, s, "ab")
	})
}

// A deadline ends ReadFrom while it waits for room, and what a read brings
// after the deadline is sent all the same.
func TestReadFromDeadline(t *testing.T) {
	set := setup{client: Config{SendBuffer: 64 << 10}, server: Config{RecvBuffer: 64 << 10}}
	bubble(t, set, func(t *testing.T, p *pair) {
		c, s := p.conns()
		start := time.Now()
		c.SetWriteDeadline(start.Add(5 * time.Second))
		slow := readerFunc(func(p []byte) (int, error) { time.Sleep(8 * time.Second); return copy(p, "late"), nil })
		n, err := c.ReadFrom(slow)
		if got := time.Since(start); got != 8*time.Second || n != 4 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d, %v after %v", n, err, got)
		}
		expect(t, s, "late")

		start = time.Now()
		c.SetWriteDeadline(start.Add(5 * time.Second))
		read := 0
		n, err = c.ReadFrom(readerFunc(func(p []byte) (int, error) { read += len(p); return len(p), nil }))
		if got := time.Since(start); got != 5*time.Second || int(n) != read || n < 64<<10 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d of %d octets, %v after %v", n, read, err, got)
		}
		c.CloseWrite()
		if got, err := io.ReadAll(s); len(got) != read || err != nil {
			t.Errorf("%d octets arrived of %d, %v", len(got), read, err)
		}
	})
}

func TestWriteToDeadline(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		c, s := p.conns()
		write(t, c, "word")
		start := time.Now()
		s.SetReadDeadline(start.Add(5 * time.Second))
		var got bytes.Buffer
		n, err := s.WriteTo(&got)
		if took := time.Since(start); took != 5*time.Second || n != 4 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d, %v after %v", n, err, took)
		}
		s.SetReadDeadline(time.Time{})
		write(t, c, "more")
		expect(t, s, "more")
	})
}

// However the connection ends while a reader reads for it, ReadFrom says why,
// and counts what was sent.
func TestEndDuringReadFrom(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(c, s *Conn)
		want error
	}{
		{"Close", func(c, _ *Conn) { c.Close() }, net.ErrClosed},
		{"Abort", func(c, _ *Conn) { c.Abort() }, net.ErrClosed},
		{"CloseWrite", func(c, _ *Conn) { c.CloseWrite() }, syscall.EPIPE},
		{"the peer's Abort", func(_, s *Conn) { s.Abort() }, syscall.ECONNRESET},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, setup{}, func(t *testing.T, p *pair) {
				c, s := p.conns()
				r, w := io.Pipe()
				done := make(chan error)
				var n int64
				go func() {
					var err error
					n, err = c.ReadFrom(r)
					done <- err
				}()
				w.Write([]byte("sent"))
				expect(t, s, "sent")
				synctest.Wait() // the reader reads again
				tt.end(c, s)
				time.Sleep(time.Minute)
				select {
				case err := <-done:
					t.Fatalf("returned while its reader reads: %v", err)
				default:
				}
				w.Write([]byte("lost"))
				if err := <-done; n != 4 || !errors.Is(err, tt.want) {
					t.Errorf("%d, %v; want %v", n, err, tt.want)
				}
			})
		})
	}
}

// The octets that a writer has been given stay as they are until it returns,
// though the connection was closed and forgotten meanwhile.
func TestCloseDuringWriteTo(t *testing.T) {
	for name, end := range map[string]func(c *Conn) error{"Close": (*Conn).Close, "Abort": (*Conn).Abort} {
		t.Run(name, func(t *testing.T) {
			bubble(t, setup{}, func(t *testing.T, p *pair) {
				c, s := p.conns()
				want := noise(50_000)
				if _, err := c.Write(want); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				n, err := s.WriteTo(writerFunc(func(p []byte) (int, error) {
					end(s)
					time.Sleep(5 * time.Minute)
					if !bytes.Equal(p, want[:len(p)]) {
						t.Error("the octets changed under the writer")
					}
					return len(p), nil
				}))
				if n == 0 || !errors.Is(err, net.ErrClosed) {
					t.Errorf("%d, %v", n, err)
				}
			})
		})
	}
}

// Who closes while the last octets are being written has read everything: the
// peer sees an orderly end.
func TestCloseDuringLastWrite(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		c, s := p.conns()
		write(t, c, "all there is")
		synctest.Wait()
		s.WriteTo(writerFunc(func(p []byte) (int, error) {
			s.Close()
			return len(p), nil
		}))
		expectEOF(t, c)
	})
}

// Reads wait while a writer has the octets: none is read twice.
func TestReadDuringWriteTo(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		c, s := p.conns()
		write(t, c, "first")
		synctest.Wait()
		first, release := make(chan string), make(chan bool)
		go func() {
			n, err := s.WriteTo(writerFunc(func(p []byte) (int, error) {
				first <- string(p)
				<-release
				return len(p), io.ErrClosedPipe
			}))
			if n != 5 || !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("WriteTo: %d, %v", n, err)
			}
		}()
		if got := <-first; got != "first" {
			t.Fatalf("the writer got %q", got)
		}
		read := make(chan string)
		go func() {
			b := make([]byte, 6)
			io.ReadFull(s, b)
			read <- string(b)
		}()
		write(t, c, "second")
		time.Sleep(time.Second)
		s.SetReadDeadline(time.Now().Add(-time.Second)) // a deadline reaches who waits for his turn
		if got := <-read; got != "\x00\x00\x00\x00\x00\x00" {
			t.Errorf("read %q while the writer had it", got)
		}
		s.SetReadDeadline(time.Time{})
		close(release)
		expect(t, s, "second")
	})
}

// Several readers and writers at once: all octets arrive, each once.
func TestConcurrentCopies(t *testing.T) {
	set := setup{client: Config{SendBuffer: 100_000}, server: Config{RecvBuffer: 150_000}}
	bubble(t, set, func(t *testing.T, p *pair) {
		const each = 300_000
		c, s := p.conns()
		var senders, receivers sync.WaitGroup
		for i := range byte(3) {
			senders.Go(func() { c.ReadFrom(io.LimitReader(octets(i), each)) })
			senders.Go(func() { c.Write(bytes.Repeat([]byte{i}, each)) })
		}
		var mu sync.Mutex
		counts := map[byte]int{}
		count := writerFunc(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			for _, b := range p {
				counts[b]++
			}
			return len(p), nil
		})
		for range 2 {
			receivers.Go(func() { s.WriteTo(count) })
			receivers.Go(func() { io.Copy(count, onlyReader{s}) })
		}
		senders.Wait()
		c.CloseWrite()
		receivers.Wait()
		for i := range byte(3) {
			if counts[i] != 2*each {
				t.Errorf("%d octets of %d arrived of sender %d", counts[i], 2*each, i)
			}
		}
	})
}

// octets is an endless source of one octet.
type octets byte

func (o octets) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(o)
	}
	return len(p), nil
}

// promptReader never waits, and always fills what it is given.
type promptReader struct {
	*bytes.Reader
	reading func()
}

func (promptReader) Prompt() bool { return true }

func (r promptReader) Read(p []byte) (int, error) {
	if r.reading != nil {
		r.reading()
	}
	return r.Reader.Read(p)
}

// What never waits is read several times before it is sent, and all that was read is,
// however ReadFrom ends.
func TestReadFromPrompt(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		c, s := p.conns()
		data := noise(3 << 20)
		start := time.Now()
		c.SetWriteDeadline(start.Add(time.Second))
		n, err := c.ReadFrom(promptReader{bytes.NewReader(data), nil}) // nobody reads
		if n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%d, %v", n, err)
		}
		c.SetWriteDeadline(start)
		if n, err := c.ReadFrom(promptReader{bytes.NewReader(data), nil}); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("after the deadline: %d, %v", n, err)
		}
		c.SetWriteDeadline(time.Time{})
		got := make([]byte, len(data))
		if _, err := io.ReadFull(s, got[:n]); err != nil || !bytes.Equal(got[:n], data[:n]) {
			t.Fatalf("%v, or not what was sent", err)
		}
		synctest.Wait() // nothing else has it sent

		// It is sent, too, if the deadline passes while it is read.
		n, err = c.ReadFrom(promptReader{bytes.NewReader(data), func() { c.SetWriteDeadline(start) }})
		if n == 0 || n == int64(len(data)) || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%d, %v", n, err)
		}
		c.SetWriteDeadline(time.Time{})
		before := time.Now()
		if _, err := io.ReadFull(s, got[:n]); err != nil || !bytes.Equal(got[:n], data[:n]) {
			t.Fatalf("%v, or not what was sent", err)
		}
		if took := time.Since(before); took > 0 {
			t.Errorf("it was sent after %v", took)
		}
		for _, n := range []int{1, writeChunk, writeChunk + 1, 1 << 20} {
			sent := make(chan error)
			go func() {
				_, err := c.ReadFrom(promptReader{bytes.NewReader(data[:n]), nil})
				sent <- err
			}()
			if _, err := io.ReadFull(s, got[:n]); err != nil || !bytes.Equal(got[:n], data[:n]) {
				t.Fatalf("%d: %v, or not what was sent", n, err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		}
	})
}
