package main

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// dropPrivileges lets the command run as nobody: what it then does over
// loopback is what every user gets.
func dropPrivileges(c *exec.Cmd) {
	if os.Getuid() == 0 {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
}

// A listener whose queue is full does not answer.
func TestConnectTimeout(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(sa.(*unix.SockaddrInet4).Port)
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	run(t, "-w", "0.5", "--transport", "kernel-tcp", "127.0.0.1", port).
		fails(1, "cannot connect to 127.0.0.1 port "+port, "no answer within 500ms", "-w")
}

// The kernel tells of the subflows of an MPTCP connection.
func TestKernelPaths(t *testing.T) {
	if err := probeKernelMPTCP(); err != nil {
		t.Fatalf("this test needs the kernel's MPTCP: %v", err)
	}
	k := &kernel{mptcp: true, options: socketOptions{tos: -1, ttl: -1, minTTL: -1}}
	l, err := k.listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.accept(t.Context()); err == nil {
			c.Write([]byte("hello"))
			c.Read(make([]byte, 1))
			c.Close()
		}
	}()
	c, err := k.dial(t.Context(), "tcp", netip.AddrPort{}, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Read(make([]byte, 5))
	s := c.status()
	if !s.Multipath || s.Fallback != "" || len(s.Paths) != 1 {
		t.Fatalf("got %+v", s)
	}
	p := s.Paths[0]
	if p.Local.String() != c.LocalAddr().String() || p.Remote.String() != c.RemoteAddr().String() || p.Received != 5 || !p.Up {
		t.Errorf("got %+v", p)
	}
}

// A peer without MPTCP shows as a fallback.
func TestKernelFallbackIsTold(t *testing.T) {
	plain := net.ListenConfig{}
	plain.SetMultipathTCP(false)
	l, err := plain.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			c.Write([]byte("x"))
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	p := run(t, "-v", "-d", "--transport", "kernel", "127.0.0.1", port)
	p.exits(0)
	if !strings.Contains(p.stderr(), "fell back to plain TCP") {
		t.Errorf("it said\n%s", p.stderr())
	}
}
