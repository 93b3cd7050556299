package mptcp

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestListenAddr(t *testing.T) {
	tests := []struct{ network, address, want string }{
		{"tcp", ":80", "[::]:80"},
		{"tcp4", ":80", "0.0.0.0:80"},
		{"tcp", "10.0.0.2:80", "10.0.0.2:80"},
	}
	for _, tt := range tests {
		bubble(t, setup{}, func(t *testing.T, p *pair) {
			l, err := p.server.Listen(tt.network, tt.address)
			if err != nil {
				t.Fatal(err)
			}
			if got := l.Addr().String(); got != tt.want {
				t.Errorf("%s %s: listening at %s, want %s", tt.network, tt.address, got, tt.want)
			}
		})
	}
}

// Port 0 is a free port, and the one that Addr tells.
func TestListenFreePort(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		l, err := p.server.Listen("tcp", "10.0.0.2:0")
		if err != nil {
			t.Fatal(err)
		}
		if l.Addr().(*net.TCPAddr).Port == 0 {
			t.Error("listening at port 0")
		}
		if _, err := p.client.Dial(context.Background(), "tcp", l.Addr().String()); err != nil {
			t.Error(err)
		}
	})
}

func TestListenErrors(t *testing.T) {
	tests := []struct {
		network, address string
		want             error
	}{
		{"tcp", ":80", syscall.EADDRINUSE},
		{"tcp", "10.9.9.9:81", syscall.EADDRNOTAVAIL},
		{"udp", ":81", net.UnknownNetworkError("udp")},
	}
	for _, tt := range tests {
		bubble(t, setup{}, func(t *testing.T, p *pair) {
			p.listen()
			_, err := p.server.Listen(tt.network, tt.address)
			var op *net.OpError
			if !errors.Is(err, tt.want) || !errors.As(err, &op) || op.Op != "listen" {
				t.Errorf("%s %s: %v, want %v", tt.network, tt.address, err, tt.want)
			}
			if n := p.server.Stats().Guards; n != 1 {
				t.Errorf("%d guards are held, want 1", n)
			}
		})
	}
}

func TestAcceptEnds(t *testing.T) {
	tests := []struct {
		name string
		end  func(l *Listener, cancel context.CancelFunc)
		want error
	}{
		{"Close", func(l *Listener, _ context.CancelFunc) { l.Close() }, net.ErrClosed},
		{"deadline", func(l *Listener, _ context.CancelFunc) { l.SetDeadline(time.Now()) }, os.ErrDeadlineExceeded},
		{"context", func(_ *Listener, cancel context.CancelFunc) { cancel() }, context.Canceled},
		{"Stack.Close", func(l *Listener, _ context.CancelFunc) { l.stack.Close() }, net.ErrClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, setup{}, func(t *testing.T, p *pair) {
				l := p.listen()
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				errs := make(chan error)
				go func() { _, err := l.AcceptContext(ctx); errs <- err }()
				synctest.Wait()
				tt.end(l, cancel)
				if err := <-errs; !errors.Is(err, tt.want) {
					t.Errorf("Accept: %v, want %v", err, tt.want)
				}
			})
		})
	}
}

func TestAcceptDeadline(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		l := p.listen()
		start := time.Now()
		l.SetDeadline(start.Add(time.Second))
		_, err := l.Accept()
		if got := time.Since(start); got != time.Second || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Accept: %v after %v", err, got)
		}
		l.SetDeadline(time.Time{})
		p.connect(l)
	})
}

// Connections that were not accepted are reset when the listener is closed;
// those that were live on, and another listener may take the port over.
func TestListenerClose(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		l := p.listen()
		c, s := p.connect(l)
		waiting, err := p.client.Dial(context.Background(), "tcp", p.address("80"))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the second Close: %v", err)
		}
		if _, err := waiting.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a connection that was not accepted: %v, want ECONNRESET", err)
		}
		if _, err := p.client.Dial(context.Background(), "tcp", p.address("80")); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Dial after Close: %v, want ECONNREFUSED", err)
		}
		write(t, c, "still here")
		expect(t, s, "still here")
		c2, s2 := p.connect(p.listen())
		write(t, c2, "again")
		expect(t, s2, "again")
	})
}

// A connection whose handshake still ran when the listener was closed is reset
// as well.
func TestListenerCloseDuringHandshake(t *testing.T) {
	for _, tt := range setups {
		t.Run(tt.name, func(t *testing.T) {
			var synAck atomic.Bool
			set := tt.set
			set.pipe.Filter = func(_, dir int, pkt []byte) bool {
				if dir == 1 && pkt[20+13] == 0x12 {
					synAck.Store(true)
				}
				return dir == 0 && synAck.Load() // the third packet, and what follows
			}
			bubble(t, set, func(t *testing.T, p *pair) {
				l := p.listen()
				c, err := p.client.Dial(context.Background(), "tcp", p.address("80"))
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				l.Close()
				synAck.Store(false)
				write(t, c, "hello")
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("Read: %v, want ECONNRESET", err)
				}
				time.Sleep(5 * time.Minute)
				if st := p.server.Stats(); st.Conns != 0 || st.Guards != 0 {
					t.Errorf("%d connections and %d guards are left", st.Conns, st.Guards)
				}
			})
		})
	}
}

// The server side of TIME-WAIT keeps the port's guard after the listener.
func TestGuardOutlivesListener(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		l := p.listen()
		c, s := p.connect(l)
		s.Close()
		expectEOF(t, c)
		c.Close()
		l.Close()
		time.Sleep(time.Second)
		if n := p.server.Stats().Guards; n != 1 {
			t.Errorf("in TIME-WAIT: %d guards are held, want 1", n)
		}
		time.Sleep(3 * time.Minute)
		if n := p.server.Stats().Guards; n != 0 {
			t.Errorf("after TIME-WAIT: %d guards are held, want 0", n)
		}
	})
}

// More connections than the backlog has room for come in when there is room.
func TestBacklog(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		lc := ListenConfig{Stack: p.server, Backlog: 2}
		l, err := lc.Listen(context.Background(), "tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		errs := make(chan error)
		for range 5 {
			go func() {
				_, err := p.client.Dial(context.Background(), "tcp", p.address("80"))
				errs <- err
			}()
		}
		synctest.Wait()
		for range 5 {
			if _, err := l.Accept(); err != nil {
				t.Error(err)
			}
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}
