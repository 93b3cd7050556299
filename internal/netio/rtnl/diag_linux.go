package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Diag asks sock_diag about the kernel's TCP sockets. Its methods may be
// called by any goroutine.
type Diag struct {
	mu  sync.Mutex
	fd  int
	seq uint32
	buf [4096]byte
}

// The parts of linux/sock_diag.h and linux/inet_diag.h in use.
const (
	sockDiagByFamily = 20
	diagReqLen       = unix.NLMSG_HDRLEN + 56
	diagMsgMin       = unix.NLMSG_HDRLEN + 2
	stateListen      = 10
)

// OpenDiag connects to the namespace of the calling thread.
func OpenDiag() (*Diag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	// The kernel answers within the call; the limit is for what cannot be.
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1})
	return &Diag{fd: fd}, nil
}

// Close ends the connection.
func (d *Diag) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fd >= 0 {
		unix.Close(d.fd)
		d.fd = -1
	}
}

// Owner is what the kernel has for a tuple.
type Owner uint8

// What Lookup finds.
const (
	Nobody     Owner = iota
	Listener         // only a listening socket would take it
	Connection       // a socket of exactly this tuple, TIME-WAIT included
)

// Lookup finds the kernel's TCP socket that a segment from remote to local
// would go to. It is one look into the kernel's hash table, not a listing. The
// zone of a link-local address is the number of its interface.
func (d *Diag) Lookup(local, remote netip.AddrPort) (Owner, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fd < 0 {
		return Nobody, net.ErrClosed
	}
	d.seq++
	req := diagRequest(d.seq, local, remote)
	if err := unix.Sendto(d.fd, req[:], 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return Nobody, os.NewSyscallError("sock_diag", err)
	}
	for {
		n, _, err := unix.Recvfrom(d.fd, d.buf[:], 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return Nobody, os.NewSyscallError("sock_diag", err)
		}
		if owner, done, err := d.answer(d.buf[:n]); done {
			return owner, err
		}
	}
}

// answer reads one datagram; done is false if it answers an earlier question.
func (d *Diag) answer(b []byte) (o Owner, done bool, err error) {
	if len(b) < diagMsgMin {
		return Nobody, true, fmt.Errorf("sock_diag: answer of %d octets", len(b))
	}
	if binary.NativeEndian.Uint32(b[8:]) != d.seq {
		return Nobody, false, nil
	}
	switch typ := binary.NativeEndian.Uint16(b[4:]); typ {
	case sockDiagByFamily:
		if b[unix.NLMSG_HDRLEN+1] == stateListen {
			return Listener, true, nil
		}
		return Connection, true, nil
	case unix.NLMSG_ERROR:
		if len(b) < unix.NLMSG_HDRLEN+4 {
			break
		}
		errno := unix.Errno(-int32(binary.NativeEndian.Uint32(b[unix.NLMSG_HDRLEN:])))
		if errors.Is(errno, unix.ENOENT) {
			return Nobody, true, nil
		}
		return Nobody, true, os.NewSyscallError("sock_diag", errno)
	}
	return Nobody, true, errors.New("sock_diag: answer not understood")
}

// diagRequest builds a struct inet_diag_req_v2 for one tuple.
func diagRequest(seq uint32, local, remote netip.AddrPort) (b [diagReqLen]byte) {
	binary.NativeEndian.PutUint32(b[0:], diagReqLen)
	binary.NativeEndian.PutUint16(b[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(b[8:], seq)
	r := b[unix.NLMSG_HDRLEN:]
	r[0] = unix.AF_INET6
	if local.Addr().Is4() {
		r[0] = unix.AF_INET
	}
	r[1] = unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(r[4:], ^uint32(0)) // every state
	binary.BigEndian.PutUint16(r[8:], local.Port())
	binary.BigEndian.PutUint16(r[10:], remote.Port())
	copy(r[12:28], local.Addr().AsSlice())
	copy(r[28:44], remote.Addr().AsSlice())
	if n, err := strconv.ParseUint(local.Addr().Zone(), 10, 31); err == nil {
		binary.NativeEndian.PutUint32(r[44:], uint32(n)) // the kernel binds link-local sockets to it
	}
	binary.NativeEndian.PutUint64(r[48:], ^uint64(0)) // no cookie
	return b
}
