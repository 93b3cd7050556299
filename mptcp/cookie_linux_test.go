package mptcp

import (
	"context"
	"net"
	"testing"
	"time"
)

// The kernel connects to a listener that keeps nothing of a SYN, as TCP and as
// MPTCP, with and without timestamps.
func TestH26_T34_KernelTakesCookies(t *testing.T) {
	for _, tt := range []struct {
		name      string
		multipath bool
		address   string
		stamps    string
	}{
		{"TCP", false, "10.77.1.2:80", "1"},
		{"TCP without timestamps", false, "10.77.1.2:80", "0"},
		{"MPTCP", true, "10.77.1.2:80", "1"},
		{"MPTCP without timestamps", true, "10.77.1.2:80", "0"},
		{"MPTCP over IPv6", true, "[fd77:1::2]:80", "1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			l.a.Sysctl("net/ipv4/tcp_timestamps", tt.stamps)
			server := l.stack(l.b, Config{HalfOpen: -1})
			defer l.close(server)
			ln, err := server.Listen("tcp", tt.address)
			if err != nil {
				t.Fatal(err)
			}
			for n := range 3 {
				var k net.Conn
				l.kernel(l.a, func() (err error) {
					d := net.Dialer{Timeout: 30 * time.Second}
					d.SetMultipathTCP(tt.multipath)
					k, err = d.Dial("tcp", tt.address)
					return err
				})
				defer k.Close()
				s, err := ln.AcceptContext(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				if got := server.Stats().Cookies; got < uint64(n+1) {
					t.Errorf("%d cookies were sent for %d connections", got, n+1)
				}
				exchange(t, s, k)
				if s.Multipath() != tt.multipath {
					t.Errorf("Multipath is %v, reason %v", s.Multipath(), s.Fallback())
				}
			}
		})
	}
}
