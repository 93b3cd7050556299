package mptcp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/mpnc/mpnc/internal/netio/nstest"
)

// routed is a host and a server, with a router between them whose far link is
// narrow; the server does not know.
func routed(t *testing.T) (client, router, server *nstest.NS) {
	t.Helper()
	client, router, server = nstest.New(t), nstest.New(t), nstest.New(t)
	nstest.Veth(client, "up", router, "near")
	nstest.Veth(router, "far", server, "up")
	client.AddAddr("up", "10.77.1.1/24")
	router.AddAddr("near", "10.77.1.2/24")
	router.AddAddr("far", "10.77.2.1/24")
	server.AddAddr("up", "10.77.2.2/24")
	client.AddAddr("up", "fd77:1::1/64")
	router.AddAddr("near", "fd77:1::2/64")
	router.AddAddr("far", "fd77:2::1/64")
	server.AddAddr("up", "fd77:2::2/64")
	client.Route("0.0.0.0/0", "10.77.1.2", "up")
	client.Route("::/0", "fd77:1::2", "up")
	server.Route("0.0.0.0/0", "10.77.2.1", "up")
	server.Route("::/0", "fd77:2::1", "up")
	router.Sysctl("net/ipv4/ip_forward", "1")
	router.Sysctl("net/ipv6/conf/all/forwarding", "1")
	// Errors are not rationed here as on a router with more to do.
	router.Sysctl("net/ipv4/icmp_ratelimit", "0")
	router.Sysctl("net/ipv6/icmp/ratelimit", "0")
	router.SetMTU("far", 1400)
	return client, router, server
}

// T77: a router says that packets are too big, and the kernel at the far end
// gets every octet, by MPTCP and by TCP.
func TestT77_RawTooBig(t *testing.T) {
	for _, address := range []string{"10.77.2.2:80", "[fd77:2::2]:80"} {
		for _, multipath := range []bool{false, true} {
			tooBig(t, address, multipath)
		}
	}
}

func tooBig(t *testing.T, address string, multipath bool) {
	near, _, far := routed(t)
	l := &lab{t: t, a: near, b: far}
	var ln net.Listener
	l.kernel(l.b, func() (err error) {
		lc := net.ListenConfig{}
		lc.SetMultipathTCP(multipath)
		ln, err = lc.Listen(context.Background(), "tcp", address)
		return err
	})
	defer ln.Close()
	client := l.stack(l.a, Config{})
	defer l.close(client)
	c, err := client.Dial(context.Background(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	deadline := time.Now().Add(30 * time.Second)
	_, _ = c.SetDeadline(deadline), k.SetDeadline(deadline)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<15)
	go func() {
		_, _ = c.Write(data)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(k)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%s: %d octets of %d arrived, %v", address, len(got), len(data), err)
	}
	sf := c.Stats().Subflows[0]
	if sf.PathMTU != 1400 || sf.BlackHoles != 0 || c.Multipath() != multipath {
		t.Errorf("%s: path MTU %d, %d black holes, MPTCP %v", address, sf.PathMTU, sf.BlackHoles, c.Multipath())
	}
	if client.Stats().ICMP == 0 {
		t.Errorf("%s: no ICMP error arrived", address)
	}
}

// T21: a dial that a router prohibits fails at once.
func TestT21_RawProhibited(t *testing.T) {
	near, router, _ := routed(t)
	l := &lab{t: t, a: near}
	h, err := netlink.NewHandleAt(router.Handle())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for _, dst := range []string{"198.51.100.0/24", "2001:db8::/32"} {
		_, to, _ := net.ParseCIDR(dst)
		if err := h.RouteAdd(&netlink.Route{Dst: to, Type: unix.RTN_PROHIBIT}); err != nil {
			t.Fatal(err)
		}
	}
	client := l.stack(l.a, Config{})
	defer l.close(client)
	for _, address := range []string{"198.51.100.1:80", "[2001:db8::1]:80"} {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		_, err := client.Dial(ctx, "tcp", address)
		cancel()
		var why *UnreachableError
		if !errors.Is(err, syscall.EHOSTUNREACH) || !errors.As(err, &why) || why.Timeout() {
			t.Errorf("%s: %v", address, err)
		}
	}
}
