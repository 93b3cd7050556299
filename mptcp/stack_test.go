package mptcp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mpnc/mpnc/internal/netio"
)

// Everything written before Shutdown arrives, however long the way, and
// Shutdown returns when it has and the FINs are exchanged: long before 2 MSL.
func TestShutdownDelivers(t *testing.T) {
	for _, tt := range setups {
		t.Run(tt.name, func(t *testing.T) {
			set := tt.set
			set.pipe.Delay = 50 * time.Millisecond
			bubble(t, set, func(t *testing.T, p *pair) {
				c, s := p.conns()
				want := bytes.Repeat([]byte("all of it "), 100_000)
				got := make(chan []byte)
				go func() {
					b, err := io.ReadAll(s)
					if err != nil {
						t.Errorf("the peer read: %v", err)
					}
					s.Close()
					got <- b
				}()
				write(t, c, string(want))
				start := time.Now()
				if err := p.client.Shutdown(context.Background()); err != nil {
					t.Errorf("Shutdown: %v", err)
				}
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("Shutdown took %v", took)
				}
				if b := <-got; !bytes.Equal(b, want) {
					t.Errorf("%d octets arrived, want %d", len(b), len(want))
				}
				// Nothing is left to be said: the server has its FIN answered.
				time.Sleep(5 * time.Minute)
				if n := p.server.Stats().Conns; n != 0 {
					t.Errorf("the server still has %d connections", n)
				}
			})
		})
	}
}

// A FIN that the peer repeats, since our last ACK was lost, is still answered.
func TestShutdownAnswersRepeatedFIN(t *testing.T) {
	var drop atomic.Bool
	var fins atomic.Int32
	set := setup{client: Config{TCPOnly: true}, pipe: netio.PipeConfig{
		Delay: 5 * time.Millisecond,
		Filter: func(_, dir int, pkt []byte) bool {
			if dir == 1 && pkt[20+13]&1 != 0 { // FIN of the server
				fins.Add(1)
				drop.Store(true)
			}
			// The ACK of the first one.
			return dir == 0 && fins.Load() == 1 && drop.Swap(false)
		},
	}}
	bubble(t, set, func(t *testing.T, p *pair) {
		c, s := p.conns()
		write(t, c, "bye")
		expect(t, s, "bye")
		go func() { expectEOF(t, s); s.Close() }()
		if err := p.client.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if fins.Load() < 2 {
			t.Fatal("the server's FIN was not repeated: the test shows nothing")
		}
		if n := p.server.Stats().Conns; n != 0 {
			t.Error("the server waits for an ACK of its FIN")
		}
	})
}

// Nobody waits for a FIN that cannot matter: with plain TCP only who has
// answered the last one does, and with Multipath TCP nobody, once the peer has
// acknowledged a FIN that told it that all has arrived.
func TestShutdownLingers(t *testing.T) {
	const trip, linger = 10 * time.Millisecond, 400 * time.Millisecond
	for _, c := range []struct {
		name           string
		tcp            bool
		client, server time.Duration
	}{
		{"plain TCP", true, linger, 0},
		{"Multipath TCP", false, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := setup{client: Config{TCPOnly: c.tcp}, pipe: netio.PipeConfig{Delay: trip / 2}}
			bubble(t, set, func(t *testing.T, p *pair) {
				conn, s := p.conns()
				write(t, conn, "bye")
				expect(t, s, "bye")
				server := make(chan time.Duration)
				go func() {
					expectEOF(t, s)
					server <- shutdown(t, p.server)
				}()
				client := shutdown(t, p.client)
				for who, took := range map[string][2]time.Duration{"client": {client, c.client}, "server": {<-server, c.server}} {
					if took[0] < took[1] || took[0] > took[1]+10*trip {
						t.Errorf("the %s took %v, want %v and some round trips of %v", who, took[0], took[1], trip)
					}
				}
			})
		})
	}
}

// shutdown returns how long it takes.
func shutdown(t *testing.T, s *Stack) time.Duration {
	t.Helper()
	start := time.Now()
	if err := s.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	return time.Since(start)
}

// A context that ends aborts what is left.
func TestShutdownContext(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		c, s := p.conns()
		write(t, c, "x") // the server never closes
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		start := time.Now()
		if err := p.client.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("Shutdown took %v, want 3s", took)
		}
		expect(t, s, "x")
		time.Sleep(time.Second)
		if _, err := s.Write([]byte("y")); err == nil {
			time.Sleep(time.Second)
			_, err = s.Write([]byte("y"))
			if err == nil {
				t.Error("the peer can still write")
			}
		}
	})
}

// Without a connection there is nothing to wait for.
func TestShutdownIdle(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		l := p.listen()
		start := time.Now()
		if err := p.server.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("Shutdown took %v", took)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v", err)
		}
		if _, err := p.server.Listen("tcp", ":81"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Listen: %v", err)
		}
		if _, err := p.server.Dial(context.Background(), "tcp", "10.0.0.1:80"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Dial: %v", err)
		}
		if err := p.server.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Close: %v", err)
		}
	})
}

// Close ends what the application blocks in, and tells the peer.
func TestStackClose(t *testing.T) {
	for _, tt := range setups {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, tt.set, func(t *testing.T, p *pair) {
				c, s := p.conns()
				errs := make(chan error)
				go func() { _, err := c.Read(make([]byte, 1)); errs <- err }()
				synctest.Wait()
				if err := p.client.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
				if err := <-errs; !errors.Is(err, net.ErrClosed) {
					t.Errorf("a blocked Read: %v", err)
				}
				if _, err := s.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("the peer's Read: %v", err)
				}
			})
		})
	}
}

// A segment for a pair that we hold, but for no connection, is answered with a
// RST (RFC 9293, Section 3.10.7.1).
func TestStrayIsReset(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		c, s := p.conns()
		p.lossy.Store(true)
		s.Abort() // nobody learns of it
		time.Sleep(time.Second)
		p.lossy.Store(false)
		write(t, c, "anybody there?")
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Read: %v, want ECONNRESET", err)
		}
		if st := p.server.Stats(); st.Strays == 0 {
			t.Error("no stray was counted")
		}
	})
}

func TestTapAndStats(t *testing.T) {
	var in, out, octets atomic.Int64
	set := setup{client: Config{Tap: func(link int, isOut bool, at Time, pkt []byte) {
		if link != 1 || pkt[0]>>4 != 4 {
			t.Errorf("a packet of link %d: % x", link, pkt)
		}
		octets.Add(int64(len(pkt)))
		if isOut {
			out.Add(1)
		} else {
			in.Add(1)
		}
	}}}
	bubble(t, set, func(t *testing.T, p *pair) {
		c, s := p.conns()
		write(t, c, "ping")
		expect(t, s, "ping")
		time.Sleep(time.Second)
		st, far := p.client.Stats(), p.server.Stats()
		if in.Load() == 0 || uint64(in.Load()) != st.RxPackets || uint64(out.Load()) != st.TxPackets ||
			uint64(octets.Load()) != st.RxBytes+st.TxBytes {
			t.Errorf("the tap saw %d in, %d out, %d octets; counted: %+v", in.Load(), out.Load(), octets.Load(), st)
		}
		if st.Dialed != 1 || st.Conns != 1 || st.Guards != 1 || far.Accepted != 1 || far.Listeners != 1 {
			t.Errorf("client %+v, server %+v", st, far)
		}
	})
}

// Packets that are none are counted by reason.
func TestDropsCounted(t *testing.T) {
	set := setup{pipe: netio.PipeConfig{Filter: func(_, dir int, pkt []byte) bool {
		if dir == 0 {
			pkt[len(pkt)-1] ^= 1
		}
		return false
	}}}
	bubble(t, set, func(t *testing.T, p *pair) {
		p.listen()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := p.client.Dial(ctx, "tcp", p.address("80")); err == nil {
			t.Error("a corrupted SYN was answered")
		}
		if n := p.server.Stats().Dropped["bad checksum"]; n == 0 {
			t.Error("no bad checksum was counted")
		}
	})
}

// A thousand open connections add no more than ten goroutines.
func TestGoroutines(t *testing.T) {
	bubble(t, setup{client: Config{SendBuffer: 16 << 10, RecvBuffer: 16 << 10}}, func(t *testing.T, p *pair) {
		l := p.listen()
		p.connect(l)
		synctest.Wait()
		before := runtime.NumGoroutine()
		for range 1000 {
			c, s := p.connect(l)
			write(t, c, "x")
			expect(t, s, "x")
		}
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n > 10 {
			t.Errorf("1000 connections added %d goroutines", n)
		}
	})
}

// broken is a device that fails.
type broken struct {
	netio.Device
	after chan struct{}
}

func (b broken) Read(batch *Batch) error {
	select {
	case <-b.after:
		return errors.New("the device is broken")
	default:
		return b.Device.Read(batch)
	}
}

// A device that fails ends the stack; nobody is left waiting.
func TestDeviceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := clock()
		a, b := netio.NewPipe(netio.PipeConfig{Now: now})
		dev := broken{a, make(chan struct{})}
		var said atomic.Bool
		s, err := New(Config{Now: now, Logf: func(string, ...any) { said.Store(true) }}, dev)
		if err != nil {
			t.Fatal(err)
		}
		peer, err := New(Config{Now: now}, b)
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		l, err := s.Listen("tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		c, err := peer.Dial(context.Background(), "tcp", "10.0.0.1:80")
		if err != nil {
			t.Fatal(err)
		}
		end, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		close(dev.after)
		write(t, c, "this wakes the reader")
		if _, err := io.ReadAll(end); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read: %v", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v", err)
		}
		if !said.Load() {
			t.Error("nothing was logged")
		}
		synctest.Wait()
	})
}
