package mptcp

import (
	"context"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

const (
	tcpFastOpen        = 23 // setsockopt: a listener's queue of fast opens
	tcpFastOpenConnect = 30 // setsockopt: connect sends nothing, the first write does
)

func tcpOption(name, value int) func(string, string, syscall.RawConn) error {
	return func(_, _ string, rc syscall.RawConn) (err error) {
		if cerr := rc.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, name, value)
		}); cerr != nil {
			return cerr
		}
		return err
	}
}

// T35: with the kernel in either role, as TCP and as MPTCP: the first connection
// brings the cookie, data goes with the SYN of the second, and the third is to a
// server that no longer knows its cookies.
func TestT35_O2_KernelFastOpen(t *testing.T) {
	const address = "10.77.1.2:80"
	for _, multipath := range []bool{false, true} {
		name := map[bool]string{false: "TCP", true: "MPTCP"}[multipath]
		cfg := Config{FastOpen: true, TCPOnly: !multipath}
		t.Run("kernel listens, "+name, func(t *testing.T) {
			l := newLab(t)
			l.b.Sysctl("net/ipv4/tcp_fastopen", "3")
			client := l.stack(l.a, cfg)
			defer l.close(client)
			var ln net.Listener
			l.kernel(l.b, func() (err error) {
				lc := net.ListenConfig{Control: tcpOption(tcpFastOpen, 16)}
				lc.SetMultipathTCP(multipath)
				ln, err = lc.Listen(context.Background(), "tcp", address)
				return err
			})
			defer ln.Close()
			for round, want := range []int{0, 5, 0} {
				if round == 2 {
					l.b.Sysctl("net/ipv4/tcp_fastopen_key", "01234567-89abcdef-01234567-89abcdef")
				}
				d := Dialer{Stack: client, Early: []byte("early"), Timeout: 30 * time.Second}
				c, err := d.Dial(context.Background(), "tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				k, err := ln.Accept()
				if err != nil {
					t.Fatal(err)
				}
				converse(t, c, k, round)
				if st := c.Stats(); st.FastOpenSent != want || st.Multipath != multipath {
					t.Errorf("connection %d: %d octets went with the SYN, MPTCP %t (fallback %v)", round, st.FastOpenSent, st.Multipath, st.Fallback)
				}
				c.Close()
				k.Close()
			}
			if n := len(client.FastOpenCookies()); n != 1 {
				t.Errorf("%d cookies", n)
			}
		})
		t.Run("kernel connects, "+name, func(t *testing.T) {
			l := newLab(t)
			l.a.Sysctl("net/ipv4/tcp_fastopen", "1")
			server := l.stack(l.b, cfg)
			defer func() { l.close(server) }()
			ln, err := server.Listen("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			for round, want := range []int{0, 5, 0} {
				if round == 2 {
					l.close(server)
					server = l.stack(l.b, cfg) // with other keys
					if ln, err = server.Listen("tcp", address); err != nil {
						t.Fatal(err)
					}
				}
				var k net.Conn
				l.kernel(l.a, func() (err error) {
					d := net.Dialer{Timeout: 30 * time.Second, Control: tcpOption(tcpFastOpenConnect, 1)}
					d.SetMultipathTCP(multipath)
					if k, err = d.Dial("tcp", address); err == nil {
						_, err = k.Write([]byte("early"))
					}
					return err
				})
				c, err := ln.AcceptContext(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				converse(t, k, c, round)
				// What is refused, the Linux client sends again without a mapping,
				// and so ends MPTCP (RFC 8684, Appendix B.3, has one).
				refused := multipath && round == 2
				if st := c.Stats(); st.FastOpenReceived != want || st.Multipath != multipath && !refused {
					t.Errorf("connection %d: %d octets came with the SYN, MPTCP %t (fallback %v)", round, st.FastOpenReceived, st.Multipath, st.Fallback)
				}
				k.Close()
				c.Close()
			}
		})
	}
}

// converse reads what went early, and more in both directions.
func converse(t *testing.T, client, server net.Conn, round int) {
	t.Helper()
	for _, c := range []net.Conn{client, server} {
		if err := c.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(c net.Conn, want string) {
		t.Helper()
		b := make([]byte, len(want))
		if n, err := io.ReadFull(c, b); err != nil || string(b) != want {
			t.Fatalf("connection %d: read %q, %v; expected %q", round, b[:n], err, want)
		}
	}
	say := func(c net.Conn, what string) {
		t.Helper()
		if _, err := c.Write([]byte(what)); err != nil {
			t.Fatalf("connection %d: %v", round, err)
		}
	}
	expect(server, "early")
	say(server, "answer")
	expect(client, "answer")
	say(client, "and more")
	expect(server, "and more")
	say(server, "the rest")
	expect(client, "the rest")
}
