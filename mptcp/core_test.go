package mptcp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/netio"
)

// T8: a server that closed first is in TIME-WAIT; the client comes again from
// the same port, and is served at once.
func TestT8_SamePortAgain(t *testing.T) {
	set := setup{client: Config{TCPOnly: true}, pipe: netio.PipeConfig{Delay: 5 * time.Millisecond}}
	bubble(t, set, func(t *testing.T, p *pair) {
		l := p.listen()
		d := Dialer{Stack: p.client, LocalAddr: netip.AddrPortFrom(p.near.Addrs()[0], 4000)}
		for i := range 5 {
			start := time.Now()
			c, err := d.Dial(context.Background(), "tcp", p.address("80"))
			if err != nil {
				t.Fatalf("connection %d: %v", i, err)
			}
			if took := time.Since(start); took > 100*time.Millisecond { // of the bubble's
				t.Errorf("connection %d took %v: its SYN had to come again", i, took)
			}
			s, err := l.AcceptContext(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			write(t, s, "hello")
			s.Close()
			if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
				t.Fatalf("connection %d: read %q, %v", i, got, err)
			}
			c.Close()
			time.Sleep(100 * time.Millisecond)
		}
	})
}

// T71: many small writes are few packets; with SetNoDelay each is one.
func TestT71_SmallWrites(t *testing.T) {
	for _, tt := range setups {
		t.Run(tt.name, func(t *testing.T) {
			set := tt.set
			set.pipe.Delay = 10 * time.Millisecond
			bubble(t, set, func(t *testing.T, p *pair) {
				c, s := p.conns()
				time.Sleep(time.Second)
				count := func(noDelay bool) uint64 {
					if err := c.SetNoDelay(noDelay); err != nil {
						t.Fatal(err)
					}
					before := segments(c)
					for range 50 {
						write(t, c, "x")
					}
					if _, err := io.ReadFull(s, make([]byte, 50)); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
					return segments(c) - before
				}
				if n := count(false); n > 6 {
					t.Errorf("%d packets for 50 small writes", n)
				}
				if n := count(true); n < 50 {
					t.Errorf("%d packets for 50 small writes without delay", n)
				}
				c.Close()
				if err := c.SetNoDelay(true); !errors.Is(err, net.ErrClosed) {
					t.Errorf("after Close: %v", err)
				}
			})
		})
	}
}

// segments is how many segments a connection has sent.
func segments(c *Conn) (n uint64) {
	for _, f := range c.Subflows() {
		n += f.SegsOut
	}
	return n
}

// T22, T25, T73: what an application reads when the peer is gone: an error that
// says on which path, for how long, after how many tries.
func TestT22_T25_T73_UnansweredError(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		say  string // what is written meanwhile
		idle bool
	}{
		{"user timeout", Config{TCPOnly: true, UserTimeout: 20 * time.Second}, "x", false},
		{"user timeout, MPTCP", Config{UserTimeout: 20 * time.Second}, "x", false},
		{"keepalive", Config{TCPOnly: true, KeepAlive: 10 * time.Second, KeepAliveInterval: time.Second, KeepAliveCount: 5}, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, setup{client: tt.cfg}, func(t *testing.T, p *pair) {
				c, _ := p.conns()
				time.Sleep(time.Second)
				p.lossy.Store(true)
				write(t, c, tt.say)
				_, err := c.Read(make([]byte, 1))
				var e *UnansweredError
				if !errors.As(err, &e) || !errors.Is(err, syscall.ETIMEDOUT) || e.Idle != tt.idle || e.Retries == 0 {
					t.Fatalf("Read: %v", err)
				}
				var ne net.Error
				if !errors.As(err, &ne) || !ne.Timeout() {
					t.Errorf("not a timeout: %v", err)
				}
			})
		})
	}
}
