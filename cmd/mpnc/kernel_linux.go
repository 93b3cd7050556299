package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// probeKernelMPTCP reports why the kernel's MPTCP cannot be had.
func probeKernelMPTCP() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
	switch {
	case err == nil:
		return unix.Close(fd)
	case errors.Is(err, unix.ENOPROTOOPT):
		return errors.New("it is switched off (sysctl -w net.mptcp.enabled=1)")
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EINVAL):
		return errors.New("it was built without")
	}
	return fmt.Errorf("socket: %w", err)
}

// Socket options and structures of linux/mptcp.h.
const (
	mptcpTCPInfo      = 2 // struct mptcp_subflow_data and struct tcp_info for each subflow
	mptcpSubflowAddrs = 3 // the same and struct mptcp_subflow_addrs
	subflowDataSize   = 16
	sockaddrSize      = 128 // struct sockaddr_storage
	mostSubflows      = 16  // that are asked about
)

// kernelPaths returns the subflows that the kernel has now, nil if it does not
// tell.
func kernelPaths(c *net.TCPConn, multipath bool) []path {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	var paths []path
	raw.Control(func(fd uintptr) {
		if multipath {
			paths = mptcpPaths(int(fd))
			return
		}
		p := path{Local: addrPort(c.LocalAddr()), Remote: addrPort(c.RemoteAddr()), Up: true}
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			p.fill(info)
		}
		paths = []path{p}
	})
	return paths
}

// mptcpPaths asks for addresses and counters, which the kernel lists in the
// same order. If a subflow came or went between, the counters of this moment
// are left out.
func mptcpPaths(fd int) []path {
	addrs := subflowArray(fd, mptcpSubflowAddrs, 2*sockaddrSize)
	infos := subflowArray(fd, mptcpTCPInfo, unix.SizeofTCPInfo)
	var paths []path
	for i, a := range addrs {
		p := path{Local: sockaddr(a[:sockaddrSize]), Remote: sockaddr(a[sockaddrSize:]), Up: true}
		if len(infos) == len(addrs) {
			p.fill((*unix.TCPInfo)(unsafe.Pointer(&infos[i][0])))
		}
		paths = append(paths, p)
	}
	return paths
}

// subflowArray reads one of the kernel's arrays with an element a subflow.
func subflowArray(fd, option, size int) [][]byte {
	buf := make([]byte, subflowDataSize+mostSubflows*size)
	binary.NativeEndian.PutUint32(buf[0:], subflowDataSize)
	binary.NativeEndian.PutUint32(buf[12:], uint32(size)) // size_user
	if err := getsockopt(fd, unix.SOL_MPTCP, option, buf); err != nil {
		return nil
	}
	n := int(binary.NativeEndian.Uint32(buf[4:]))
	var elements [][]byte
	for i := range min(n, mostSubflows) {
		elements = append(elements, buf[subflowDataSize+i*size:][:size])
	}
	return elements
}

// kernelLost tells of a reset that no call has met: the socket has an error, and
// octets that will never be acknowledged.
func kernelLost(c *net.TCPConn) (err error) {
	raw, rerr := c.SyscallConn()
	if rerr != nil {
		return nil // closed
	}
	raw.Control(func(fd uintptr) {
		waiting, werr := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		no, gerr := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if werr != nil || gerr != nil || waiting == 0 || no == 0 {
			return
		}
		if err = unix.Errno(no); err == unix.EPIPE {
			err = unix.ECONNRESET // what it calls a reset after the peer's FIN
		}
	})
	return err
}

// States of struct tcp_info in which a FIN has gone across.
const (
	tcpFinWait2  = 5
	tcpTimeWait  = 6
	tcpClose     = 7
	tcpCloseWait = 8
	tcpLastAck   = 9
	tcpClosing   = 11
)

// fill takes counters from the kernel's, which count SYN and FIN as octets.
func (p *path) fill(info *unix.TCPInfo) {
	p.Sent, p.Received, p.Retransmitted = info.Bytes_acked, info.Bytes_received, info.Bytes_retrans
	p.RTT = time.Duration(info.Rtt) * time.Microsecond
	p.Sent -= min(p.Sent, 1)
	switch info.State {
	case tcpFinWait2, tcpTimeWait, tcpClose:
		p.Sent -= min(p.Sent, 1)
	}
	switch info.State {
	case tcpCloseWait, tcpLastAck, tcpClosing, tcpTimeWait, tcpClose:
		p.Received -= min(p.Received, 1)
	}
}

// sockaddr reads a struct sockaddr_storage.
func sockaddr(b []byte) netip.AddrPort {
	port := binary.BigEndian.Uint16(b[2:])
	switch binary.NativeEndian.Uint16(b) {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])).Unmap(), port)
	}
	return netip.AddrPort{}
}

func getsockopt(fd, level, option int, buf []byte) error {
	n := uint32(len(buf))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
