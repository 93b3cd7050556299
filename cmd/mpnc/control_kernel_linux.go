package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/mpnc/mpnc/internal/control"
)

// kernelStates are those of linux/tcp_states.h, by their names in RFC 9293.
var kernelStates = [...]string{
	"", "ESTABLISHED", "SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED",
	"CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING",
}

func kernelState(n uint8) string {
	if int(n) < len(kernelStates) {
		return kernelStates[n]
	}
	return fmt.Sprintf("state %d", n)
}

// kernelBacklog returns how many connections wait at a listener, and how many
// may.
func kernelBacklog(l *net.TCPListener) (waiting, backlog int) {
	raw, err := l.SyscallConn()
	if err != nil {
		return 0, 0
	}
	raw.Control(func(fd uintptr) {
		// Of a listener, these fields hold its queue (as ss knows).
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			waiting, backlog = int(info.Unacked), int(info.Sacked)
		}
	})
	return waiting, backlog
}

// kernelDescribe fills in what the kernel tells.
func kernelDescribe(c *net.TCPConn, d *control.Conn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(s uintptr) {
		fd := int(s)
		if n, err := unix.IoctlGetInt(fd, unix.SIOCINQ); err == nil {
			d.RecvQ = n
		}
		if n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ); err == nil {
			d.SendQ = n
		}
		if d.MPTCP {
			kernelSubflows(fd, d)
			return
		}
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		d.State = kernelState(info.State)
		d.Subflows = []control.Subflow{kernelSubflow(fd, info)}
		d.Subflows[0].Local, d.Subflows[0].Peer = d.Local, d.Peer
	})
}

// Of struct mptcp_info of linux/mptcp.h.
const (
	mptcpInfo       = 1
	mptcpTokenAt    = 12
	mptcpInfoLength = 16
)

func kernelSubflows(fd int, d *control.Conn) {
	about := make([]byte, mptcpInfoLength)
	if getsockopt(fd, unix.SOL_MPTCP, mptcpInfo, about) == nil {
		d.Token = fmt.Sprintf("%08x", binary.NativeEndian.Uint32(about[mptcpTokenAt:]))
	}
	addrs := subflowArray(fd, mptcpSubflowAddrs, 2*sockaddrSize)
	infos := subflowArray(fd, mptcpTCPInfo, unix.SizeofTCPInfo)
	for i, a := range addrs {
		s := control.Subflow{}
		if len(infos) == len(addrs) { // else one came or went between
			s = kernelSubflow(fd, (*unix.TCPInfo)(unsafe.Pointer(&infos[i][0])))
		}
		s.ID, s.Local, s.Peer = i, sockaddr(a[:sockaddrSize]), sockaddr(a[sockaddrSize:])
		d.Subflows = append(d.Subflows, s)
	}
}

func kernelSubflow(fd int, info *unix.TCPInfo) control.Subflow {
	const us = time.Microsecond
	s := control.Subflow{
		State: kernelState(info.State), SendQ: int(info.Unacked) * int(info.Snd_mss),
		RTT: time.Duration(info.Rtt) * us, RTTVar: time.Duration(info.Rttvar) * us,
		MinRTT: time.Duration(info.Min_rtt) * us, RTO: time.Duration(info.Rto) * us,
		Backoff: int(info.Backoff), Stale: info.Backoff > 0,
		MSS: int(info.Snd_mss), PathMTU: int(info.Pmtu), Cwnd: int(info.Snd_cwnd) * int(info.Snd_mss),
		SndWnd: int(info.Snd_wnd), RcvWnd: int(info.Rcv_wnd),
		BytesSent: info.Bytes_sent - min(info.Bytes_sent, info.Bytes_retrans), BytesRetrans: info.Bytes_retrans,
		BytesAcked: info.Bytes_acked, BytesReceived: info.Bytes_received,
		SegsOut: uint64(info.Segs_out), SegsIn: uint64(info.Segs_in), Retrans: uint64(info.Total_retrans),
	}
	if name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION); err == nil {
		s.Congestion = name
	}
	return s
}
