package main

import (
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// control sets the options on a socket; it is for net.Dialer and
// net.ListenConfig.
func (s socketOptions) control(network, _ string, c syscall.RawConn) error {
	v6 := strings.HasSuffix(network, "6")
	var err error
	set := func(fd uintptr, level, option, value int) {
		if err == nil && value >= 0 {
			err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), level, option, value))
		}
	}
	cerr := c.Control(func(fd uintptr) {
		if s.sendBuffer > 0 {
			set(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, s.sendBuffer)
		}
		if s.recvBuffer > 0 {
			set(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, s.recvBuffer)
		}
		if s.broadcast {
			set(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
		}
		if v6 {
			set(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, s.tos)
			set(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, s.ttl)
			set(fd, unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT, s.minTTL)
			return
		}
		set(fd, unix.IPPROTO_IP, unix.IP_TOS, s.tos)
		set(fd, unix.IPPROTO_IP, unix.IP_TTL, s.ttl)
		set(fd, unix.IPPROTO_IP, unix.IP_MINTTL, s.minTTL)
	})
	if cerr != nil {
		return cerr
	}
	return err
}
