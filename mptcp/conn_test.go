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
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"github.com/mpnc/mpnc/internal/netio"
)

// The ways two stacks can find each other; every one has to be a net.Conn.
var setups = []struct {
	name      string
	set       setup
	multipath bool
}{
	{"MPTCP", setup{}, true},
	{"fallback at the server", setup{server: Config{TCPOnly: true}}, false},
	{"fallback at the client", setup{client: Config{TCPOnly: true}}, false},
	{"trains", setup{pipe: netio.PipeConfig{MaxTrain: 60000, Checksum: true}}, true},
	{"two links", setup{pipe: netio.PipeConfig{Links: 2, Mesh: true}}, true},
}

// TestNettest runs the tests that the Go authors have for net.Conn.
func TestNettest(t *testing.T) {
	for _, tt := range setups {
		t.Run(tt.name, func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				p := newPair(t, tt.set)
				c1, c2 = p.conns()
				return c1, c2, p.close, nil
			})
		})
	}
}

func TestMultipathReported(t *testing.T) {
	for _, tt := range setups {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, tt.set, func(t *testing.T, p *pair) {
				c, s := p.conns()
				write(t, c, "ping")
				expect(t, s, "ping")
				write(t, s, "pong")
				expect(t, c, "pong")
				for _, end := range []*Conn{c, s} {
					if end.Multipath() != tt.multipath {
						t.Errorf("%v: Multipath is %v (fallback reason %d), want %v",
							end.LocalAddr(), end.Multipath(), end.Fallback(), tt.multipath)
					}
				}
			})
		})
	}
}

func TestAddresses(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		c, s := p.conns()
		if c.LocalAddr().String() != s.RemoteAddr().String() || c.RemoteAddr().String() != s.LocalAddr().String() {
			t.Errorf("client %v to %v, server %v to %v", c.LocalAddr(), c.RemoteAddr(), s.LocalAddr(), s.RemoteAddr())
		}
		if got := c.RemoteAddr().(*net.TCPAddr).String(); got != "10.0.0.2:80" {
			t.Errorf("the client's remote address is %s", got)
		}
	})
}

// Each direction ends by itself.
func TestHalfClose(t *testing.T) {
	for _, tt := range setups {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, tt.set, func(t *testing.T, p *pair) {
				c, s := p.conns()
				write(t, c, "question")
				if err := c.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Write([]byte("more")); !errors.Is(err, syscall.EPIPE) {
					t.Errorf("Write after CloseWrite: %v, want EPIPE", err)
				}
				got, err := io.ReadAll(s)
				if err != nil || string(got) != "question" {
					t.Fatalf("the server read %q, %v", got, err)
				}
				time.Sleep(time.Minute)
				write(t, s, "answer")
				expect(t, c, "answer")
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				expectEOF(t, c)
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// After both ends were closed the stacks forget the connection, once TIME-WAIT
// is over, and the ports are free.
func TestForgottenAfterTimeWait(t *testing.T) {
	for _, tt := range setups {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, tt.set, func(t *testing.T, p *pair) {
				l := p.listen()
				c, s := p.connect(l)
				c.Close()
				expectEOF(t, s)
				s.Close()
				time.Sleep(time.Second)
				if n := p.client.Stats().Conns; n != 1 {
					t.Errorf("in TIME-WAIT: the client has %d connections, want 1", n)
				}
				time.Sleep(3 * time.Minute)
				for _, st := range []StackStats{p.client.Stats(), p.server.Stats()} {
					if st.Conns != 0 || st.Guards != st.Listeners {
						t.Errorf("%d connections, %d guards for %d listeners are left", st.Conns, st.Guards, st.Listeners)
					}
				}
			})
		})
	}
}

func TestReadDeadline(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		c, s := p.conns()
		start := time.Now()
		c.SetReadDeadline(start.Add(5 * time.Second))
		_, err := c.Read(make([]byte, 1))
		if got := time.Since(start); got != 5*time.Second {
			t.Errorf("Read returned after %v, want 5s", got)
		}
		var ne net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("Read: %v", err)
		}
		write(t, s, "late")
		time.Sleep(time.Second)
		// As with the host's own connections, a deadline that has passed comes
		// before data that has arrived.
		if n, err := c.Read(make([]byte, 4)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read past the deadline: %d, %v", n, err)
		}
		c.SetReadDeadline(time.Time{})
		expect(t, c, "late")
	})
}

// A write that blocks for want of space says how much it has taken.
func TestWriteDeadline(t *testing.T) {
	bubble(t, setup{client: Config{SendBuffer: 64 << 10}, server: Config{RecvBuffer: 64 << 10}}, func(t *testing.T, p *pair) {
		c, s := p.conns()
		start := time.Now()
		c.SetWriteDeadline(start.Add(5 * time.Second))
		data := make([]byte, 1<<20)
		n, err := c.Write(data)
		if got := time.Since(start); got != 5*time.Second || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write: %v after %v", err, got)
		}
		if n < 64<<10 || n >= len(data) {
			t.Fatalf("Write took %d octets", n)
		}
		c.CloseWrite()
		got, err := io.ReadAll(s)
		if err != nil || len(got) != n {
			t.Errorf("the peer read %d octets, %v, want %d", len(got), err, n)
		}
	})
}

// Whatever the application blocks in, Close ends it.
func TestCloseUnblocks(t *testing.T) {
	bubble(t, setup{client: Config{SendBuffer: 64 << 10}, server: Config{RecvBuffer: 64 << 10}}, func(t *testing.T, p *pair) {
		c, _ := p.conns()
		errs := make(chan error, 3)
		go func() { _, err := c.Read(make([]byte, 1)); errs <- err }()
		for range 2 {
			go func() { _, err := c.Write(make([]byte, 1<<20)); errs <- err }()
		}
		synctest.Wait()
		c.Close()
		for range 3 {
			if err := <-errs; !errors.Is(err, net.ErrClosed) {
				t.Errorf("a blocked call returned %v", err)
			}
		}
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the second Close: %v", err)
		}
		if err := c.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("SetDeadline after Close: %v", err)
		}
	})
}

// Close with data unread resets the peer, as RFC 2525, Section 2.17, asks for.
func TestCloseUnreadResets(t *testing.T) {
	for _, tt := range setups {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, tt.set, func(t *testing.T, p *pair) {
				c, s := p.conns()
				write(t, c, "unread")
				time.Sleep(time.Second)
				s.Close()
				_, err := c.Read(make([]byte, 1))
				if !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("Read: %v, want ECONNRESET", err)
				}
				if _, err := c.Write([]byte("x")); err == nil {
					t.Error("a Write to a connection that was reset succeeded")
				}
			})
		})
	}
}

func TestAbort(t *testing.T) {
	for _, tt := range setups {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, tt.set, func(t *testing.T, p *pair) {
				c, s := p.conns()
				c.Abort()
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
					t.Errorf("our Read: %v", err)
				}
				var reset *ResetError
				if _, err := s.Read(make([]byte, 1)); !errors.As(err, &reset) || !reset.Peer || !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("the peer's Read: %v", err)
				}
			})
		})
	}
}

// Concurrent writes do not mix, however large.
func TestWritesDoNotInterleave(t *testing.T) {
	bubble(t, setup{client: Config{SendBuffer: 32 << 10}}, func(t *testing.T, p *pair) {
		const writers, size = 8, 100_000
		c, s := p.conns()
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				if n, err := c.Write(bytes.Repeat([]byte{byte(i)}, size)); n != size || err != nil {
					t.Errorf("Write: %d, %v", n, err)
				}
			})
		}
		go func() { wg.Wait(); c.CloseWrite() }()
		got, err := io.ReadAll(s)
		if err != nil || len(got) != writers*size {
			t.Fatalf("read %d octets, %v, want %d", len(got), err, writers*size)
		}
		for i := 0; i < len(got); i += size {
			if !bytes.Equal(got[i:i+size], bytes.Repeat(got[i:i+1], size)) {
				t.Fatalf("the write at %d is mixed with others", i)
			}
		}
	})
}

// What is written is what is read, over a network that loses a twentieth.
func TestTransferWithLoss(t *testing.T) {
	for _, tt := range setups {
		t.Run(tt.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, 4))
			var mu sync.Mutex
			set := tt.set
			set.pipe.Delay = 10 * time.Millisecond
			set.pipe.Filter = func(int, int, []byte) bool {
				mu.Lock()
				defer mu.Unlock()
				return rng.IntN(20) == 0
			}
			bubble(t, set, func(t *testing.T, p *pair) {
				c, s := p.conns()
				want := make([]byte, 1<<20)
				for i := range want {
					want[i] = byte(i * i >> 7)
				}
				go func() {
					if _, err := c.Write(want); err != nil {
						t.Errorf("Write: %v", err)
					}
					c.CloseWrite()
				}()
				got, err := io.ReadAll(s)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("read %d octets, %v; equal to what was written: %v", len(got), err, bytes.Equal(got, want))
				}
			})
		})
	}
}

// Many connections share the links, each in both directions at a time; every
// one gets what was written to it.
func TestManyTransfers(t *testing.T) {
	const conns, size = 20, 100_000
	for _, tt := range setups {
		t.Run(tt.name, func(t *testing.T) {
			set := tt.set
			set.pipe.Delay = time.Millisecond
			bubble(t, set, func(t *testing.T, p *pair) {
				l := p.listen()
				var wg sync.WaitGroup
				for i := range conns {
					c, s := p.connect(l)
					for j, ends := range [][2]*Conn{{c, s}, {s, c}} {
						pattern := []byte{byte(i), byte(j), 3, 5, 7}
						wg.Go(func() {
							if _, err := ends[0].Write(bytes.Repeat(pattern, size/len(pattern))); err != nil {
								t.Errorf("Write: %v", err)
							}
							ends[0].CloseWrite()
						})
						wg.Go(func() {
							got, err := io.ReadAll(ends[1])
							if err != nil || !bytes.Equal(got, bytes.Repeat(pattern, size/len(pattern))) {
								t.Errorf("connection %d, direction %d: %d octets, %v", i, j, len(got), err)
							}
						})
					}
				}
				wg.Wait()
			})
		})
	}
}
