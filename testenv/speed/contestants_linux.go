package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/mpnc/mpnc/mptcp"
	"github.com/mpnc/mpnc/testenv/speed/end"
	"golang.org/x/sys/unix"
)

// contestants are those that this program itself can be.
var contestants = end.Contestants{
	mpnc:        library,
	kernelMPTCP: func(*end.Job) (*end.Transport, error) { return kernel(true), nil },
	kernelTCP:   func(*end.Job) (*end.Transport, error) { return kernel(false), nil },
	floor:       trains,
	floorKept:   trains,
	floorFile:   trains,
}

// library is our own stack, as a program would use it, on half of the processors
// for each end, as the command has it: what it does for a piece of data it does with
// the same caches then. The kernel's sockets and the other stacks are faster, or no
// slower, with all of them.
func library(j *end.Job) (*end.Transport, error) {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(1, runtime.NumCPU()/2))
	}
	c := mptcp.Config{NoOffload: !j.Offloads}
	c.NoDelay = j.Work != end.Bulk // as Go's TCP has it where it matters
	if j.Work == end.Open {
		c.TimeWait = time.Second // a client that opens thousands a second would
	}
	if j.Checksum {
		c.Checksum = mptcp.ChecksumAsk
	}
	stack, err := mptcp.NewRaw(c)
	if err != nil {
		return nil, err
	}
	return &end.Transport{
		Listen: func(at netip.AddrPort) (net.Listener, error) { return stack.Listen("tcp4", at.String()) },
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			conn, err := stack.Dial(ctx, "tcp4", to.String())
			if err != nil {
				return nil, err // not a nil *mptcp.Conn
			}
			return conn, nil
		},
		Paths: func(conn net.Conn) int { return len(conn.(*mptcp.Conn).Subflows()) },
	}, nil
}

// kernel is the kernel's Multipath TCP or TCP.
func kernel(multipath bool) *end.Transport {
	t := &end.Transport{
		Listen: func(at netip.AddrPort) (net.Listener, error) {
			var c net.ListenConfig
			c.SetMultipathTCP(multipath)
			return c.Listen(context.Background(), "tcp4", at.String())
		},
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			var d net.Dialer
			d.SetMultipathTCP(multipath)
			conn, err := d.DialContext(ctx, "tcp4", to.String())
			if err != nil {
				return nil, err
			}
			if on, err := conn.(*net.TCPConn).MultipathTCP(); err != nil || on != multipath {
				return nil, errors.Join(errors.New("the kernel chose another protocol"), err, conn.Close())
			}
			return conn, nil
		},
	}
	if multipath {
		t.Paths = subflows
	}
	return t
}

// subflows asks the kernel how many a connection has: the first octet of its
// mptcp_info counts those beside the first.
func subflows(conn net.Conn) (n int) {
	const solMPTCP, mptcpInfo = 284, 1
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptString(int(fd), solMPTCP, mptcpInfo); err == nil && len(info) > 0 {
			n = int(info[0])
		}
	})
	return n + 1
}
