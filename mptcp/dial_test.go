package mptcp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestDialRefused(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		_, err := p.client.Dial(context.Background(), "tcp", p.address("81"))
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Dial: %v, want ECONNREFUSED", err)
		}
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "dial" || op.Addr.String() != p.address("81") {
			t.Errorf("Dial: %#v", err)
		}
		synctest.Wait()
		if st := p.client.Stats(); st.Conns != 0 || st.Guards != 0 {
			t.Errorf("%d connections and %d guards are left", st.Conns, st.Guards)
		}
	})
}

// The listener's own port at another of its addresses is not served either.
func TestDialOtherAddressOfBoundListener(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		if _, err := p.server.Listen("tcp", "[fd00::2]:80"); err != nil {
			t.Fatal(err)
		}
		if _, err := p.client.Dial(context.Background(), "tcp", "10.0.0.2:80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Dial: %v, want ECONNREFUSED", err)
		}
		if _, err := p.client.Dial(context.Background(), "tcp", "[fd00::2]:80"); err != nil {
			t.Errorf("Dial: %v", err)
		}
	})
}

// A listener of "tcp6" at all addresses takes no IPv4, one of "tcp4" no IPv6.
func TestDialOtherFamily(t *testing.T) {
	for network, other := range map[string]string{"tcp6": "10.0.0.2:80", "tcp4": "[fd00::2]:80"} {
		t.Run(network, func(t *testing.T) {
			bubble(t, setup{}, func(t *testing.T, p *pair) {
				if _, err := p.server.Listen(network, ":80"); err != nil {
					t.Fatal(err)
				}
				if _, err := p.client.Dial(context.Background(), "tcp", other); !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("Dial: %v, want ECONNREFUSED", err)
				}
			})
		})
	}
}

func TestDialUnreachable(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		if _, err := p.client.Dial(context.Background(), "tcp", "192.0.2.1:80"); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("Dial: %v, want ENETUNREACH", err)
		}
	})
}

func TestDialContext(t *testing.T) {
	tests := []struct {
		name  string
		ctx   func() (context.Context, context.CancelFunc)
		after time.Duration
		is    []error
		to    bool
	}{
		{"deadline", func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), 5*time.Second)
		}, 5 * time.Second, []error{context.DeadlineExceeded, os.ErrDeadlineExceeded}, true},
		{"cancel", func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(3*time.Second, cancel)
			return ctx, cancel
		}, 3 * time.Second, []error{context.Canceled}, false},
		{"canceled before", func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return ctx, cancel
		}, 0, []error{context.Canceled}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, setup{}, func(t *testing.T, p *pair) {
				p.listen()
				p.lossy.Store(true)
				start := time.Now()
				ctx, cancel := tt.ctx()
				defer cancel()
				_, err := p.client.Dial(ctx, "tcp", p.address("80"))
				if got := time.Since(start); got != tt.after {
					t.Errorf("Dial returned after %v, want %v", got, tt.after)
				}
				for _, want := range tt.is {
					if !errors.Is(err, want) {
						t.Errorf("Dial: %v, want %v", err, want)
					}
				}
				var ne net.Error
				if errors.As(err, &ne) && ne.Timeout() != tt.to {
					t.Errorf("Dial: %v: Timeout is %v", err, ne.Timeout())
				}
				if st := p.client.Stats(); st.Conns != 0 || st.Guards != 0 {
					t.Errorf("%d connections and %d guards are left", st.Conns, st.Guards)
				}
			})
		})
	}
}

// Without a context's deadline the patience of TCP ends a Dial that nobody
// answers (RFC 1122, Section 4.2.3.5: at least three minutes are asked for
// SYNs; Linux gives up after 127 s, and so do we).
func TestDialUnanswered(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		p.lossy.Store(true)
		start := time.Now()
		_, err := p.client.Dial(context.Background(), "tcp", p.address("80"))
		if !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("Dial: %v, want ETIMEDOUT", err)
		}
		if got := time.Since(start); got < time.Minute || got > 5*time.Minute {
			t.Errorf("Dial gave up after %v", got)
		}
	})
}

func TestDialerLocalAddr(t *testing.T) {
	tests := []struct{ from, want string }{
		{"10.0.0.1:4000", "10.0.0.1:4000"},
		{"0.0.0.0:4000", "10.0.0.1:4000"},
		{"[::]:4000", "10.0.0.1:4000"},
	}
	for _, tt := range tests {
		t.Run(tt.from, func(t *testing.T) {
			bubble(t, setup{}, func(t *testing.T, p *pair) {
				p.listen()
				d := Dialer{Stack: p.client, LocalAddr: addrPort(tt.from)}
				c, err := d.Dial(context.Background(), "tcp", p.address("80"))
				if err != nil {
					t.Fatal(err)
				}
				if got := c.LocalAddr().String(); got != tt.want {
					t.Errorf("the local address is %s, want %s", got, tt.want)
				}
				if _, err := d.Dial(context.Background(), "tcp", p.address("80")); !errors.Is(err, syscall.EADDRNOTAVAIL) {
					t.Errorf("a second connection of the same tuple: %v", err)
				}
			})
		})
	}
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		p.listen()
		d := Dialer{Stack: p.client, LocalAddr: netip.AddrPortFrom(netip.Addr{}, 4000)}
		c, err := d.Dial(context.Background(), "tcp", p.address("80"))
		if err != nil || c.LocalAddr().String() != "10.0.0.1:4000" {
			t.Errorf("with a port alone: %v", err)
		}
	})
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		d := Dialer{Stack: p.client, LocalAddr: addrPort("10.9.9.9:0")}
		if _, err := d.Dial(context.Background(), "tcp", p.address("80")); err == nil {
			t.Error("a connection from an address that is not ours was made")
		}
	})
}

func TestDialerTimeout(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		p.lossy.Store(true)
		d := Dialer{Stack: p.client, Timeout: 7 * time.Second}
		start := time.Now()
		_, err := d.DialContext(context.Background(), "tcp", p.address("80"))
		if got := time.Since(start); got != 7*time.Second || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Dial: %v after %v", err, got)
		}
	})
}

// RFC 8305: an address that does not answer costs 250 ms, one that refuses
// nothing; the errors of all are told if none answers.
func TestDialSeveralAddresses(t *testing.T) {
	const good, silent, refuses = "10.0.0.2:80", "10.0.0.9:80", "10.0.0.2:81"
	tests := []struct {
		name  string
		addrs []string
		after time.Duration
		err   error
	}{
		{"first is good", []string{good, silent}, 0, nil},
		{"first is silent", []string{silent, good}, attemptDelay, nil},
		{"two are silent", []string{silent, "10.0.0.8:80", good}, 2 * attemptDelay, nil},
		{"first refuses", []string{refuses, good}, 0, nil},
		{"all refuse", []string{refuses, "10.0.0.2:82"}, 0, syscall.ECONNREFUSED},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, setup{}, func(t *testing.T, p *pair) {
				p.listen()
				var addrs []netip.AddrPort
				for _, s := range tt.addrs {
					addrs = append(addrs, addrPort(s))
				}
				d := Dialer{Stack: p.client}
				start := time.Now()
				c, err := d.race(context.Background(), "tcp", addrs)
				if got := time.Since(start); got != tt.after {
					t.Errorf("took %v, want %v", got, tt.after)
				}
				if !errors.Is(err, tt.err) {
					t.Fatalf("error %v, want %v", err, tt.err)
				}
				if tt.err == nil && c.RemoteAddr().String() != good {
					t.Errorf("connected to %v", c.RemoteAddr())
				}
				synctest.Wait()
				want := 0
				if tt.err == nil {
					want = 1
				}
				if st := p.client.Stats(); st.Conns != want || st.Guards != want {
					t.Errorf("%d connections and %d guards are left, want %d", st.Conns, st.Guards, want)
				}
			})
		})
	}
}
