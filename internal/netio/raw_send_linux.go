package netio

import (
	"net"
	"os"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/mpnc/mpnc/internal/netio/rtnl"
	"github.com/mpnc/mpnc/internal/wire"
)

const (
	// sendBatch is how many packets one system call takes.
	sendBatch = 64
	// sendBuffer is the socket's buffer: what may wait in the interface's
	// queue. The default is some 90 packets, less than one fast path needs.
	sendBuffer = 1 << 20
)

// port sends by one link. A port of its own for each link, because packets
// that a slow link has not sent yet fill the socket's buffer, and would stop
// the others.
type port struct {
	link   int
	mu     sync.Mutex
	v4     txSocket
	v6     txSocket
	trains trainSocket
	cut    *wire.Batch // a train without a lane, cut to packets
	whole  []byte      // one whose payload was lent
}

// Write implements Device. It returns an error only after Close.
func (r *Raw) Write(link int, b *wire.Batch) error {
	if !r.use() {
		return net.ErrClosed
	}
	defer r.life.RUnlock()
	p := r.portOf(link)
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := 0; i < len(b.Pkts); {
		if b.Pkts[i].Seg != 0 {
			i += r.writeTrains(p, b, i)
			continue
		}
		n := run(b, i)
		r.writeRun(p, b, i, n)
		i += n
	}
	return nil
}

// run counts the packets from i on that one system call can send: of one
// family, and no train.
func run(b *wire.Batch, i int) (n int) {
	version := b.Bytes(i)[0] >> 4
	for n < sendBatch && i+n < len(b.Pkts) && b.Pkts[i+n].Seg == 0 && b.Bytes(i + n)[0]>>4 == version {
		n++
	}
	return n
}

// writeRun sends n packets of one family from i on. What cannot be sent is
// counted and lost, as the network would lose it.
func (r *Raw) writeRun(p *port, b *wire.Batch, i, n int) {
	s := &p.v4
	if b.Bytes(i)[0]>>4 == 6 {
		s = &p.v6
	}
	if !s.opened {
		if err := r.openSender(p, s); err != nil {
			r.stats.txErrors.Add(uint64(n))
			return
		}
	}
	s.prepare(p.link, b, i, n)
	for sent := 0; sent < n; {
		k, errno := sendmmsg(s.fd, s.msgs[sent:n], false)
		sent += k
		r.stats.tx.Add(uint64(k))
		if errno == unix.EPERM {
			r.lanes.refused(b.Bytes(i+sent), p.link)
		}
		if errno != 0 {
			sent += r.failed(errno, n-sent)
		}
	}
	runtime.KeepAlive(b)
}

// failed counts a packet that could not be sent, and returns how many of the
// rest to skip: all, if the buffer is full.
func (r *Raw) failed(errno unix.Errno, rest int) (skip int) {
	switch errno {
	case unix.EINTR:
		return 0
	case unix.EAGAIN:
		r.stats.txFull.Add(uint64(rest))
		return rest
	case unix.ENOBUFS:
		r.stats.txFull.Add(1)
	case unix.EPERM:
		r.stats.txDenied.Add(1)
		r.denied.Do(func() {
			r.logf("a firewall of this host refuses our packets (EPERM): allow outgoing TCP in its output rules")
		})
	default:
		r.stats.txErrors.Add(1)
	}
	return 1
}

// portOf returns the port of a link, a new one if need be.
func (r *Raw) portOf(link int) *port {
	r.portMu.Lock()
	defer r.portMu.Unlock()
	p := r.ports[link]
	if p == nil {
		p = &port{link: link, v4: txSocket{fd: -1}, v6: txSocket{fd: -1, is6: true}}
		r.ports[link] = p
	}
	return p
}

// keepPorts closes the ports of links that are gone.
func (r *Raw) keepPorts(keep func(link int) bool) {
	r.portMu.Lock()
	defer r.portMu.Unlock()
	for link, p := range r.ports {
		if keep(link) {
			continue
		}
		delete(r.ports, link)
		p.mu.Lock()
		p.v4.close()
		p.v6.close()
		p.trains.close()
		p.mu.Unlock()
	}
}

// txSocket sends packets of one family by one link.
type txSocket struct {
	fd     int
	is6    bool
	opened bool

	msgs    []unix.Mmsghdr
	iovs    []unix.Iovec
	names   []unix.RawSockaddrInet6 // IPv4 uses the front of it
	control []byte                  // sendBatch times one control message
	space   int                     // octets of each
}

// openSender opens the socket of a port, in the device's namespace. It is of
// protocol RAW: it receives nothing, and no ICMP error quoting TCP finds it.
func (r *Raw) openSender(p *port, s *txSocket) (err error) {
	r.ns.do(func() { err = s.open(p.link) })
	return err
}

func (s *txSocket) open(link int) error {
	family := unix.AF_INET
	if s.is6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_RAW)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err := setSenderOptions(fd, s.is6, link); err != nil {
		unix.Close(fd)
		return os.NewSyscallError("setsockopt", err)
	}
	s.allocate()
	s.fd, s.opened = fd, true
	return nil
}

func (s *txSocket) close() {
	if s.fd >= 0 {
		unix.Close(s.fd)
	}
	s.fd, s.opened = -1, false
}

// setSenderOptions ties the socket to its link. A binding is stricter than a
// control message: with that, IPv6 may still leave by another interface.
// Nothing is bound for the loopback, where the kernel finds its own addresses
// only by itself.
func setSenderOptions(fd int, v6 bool, link int) error {
	level, include, discover, omit := unix.IPPROTO_IP, unix.IP_HDRINCL, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_OMIT
	if v6 {
		level, include, discover, omit = unix.IPPROTO_IPV6, unix.IPV6_HDRINCL, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_OMIT
	}
	if err := unix.SetsockoptInt(fd, level, include, 1); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, level, discover, omit); err != nil {
		return err
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer) // the most we may have
	}
	if err := attach(fd, []unix.SockFilter{ret(0)}); err != nil { // it is for sending
		return err
	}
	if link == 0 || link == rtnl.Loopback {
		return nil
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, link)
}

// allocate ties messages, addresses and control messages together. A control
// message names the source address, so that the kernel looks at the routing
// rules for it. (IPv6 then also refuses an address that is not the host's any
// more, IPv4 does not: to stop is the word of who watches the addresses.)
func (s *txSocket) allocate() {
	size, level, kind := unix.SizeofInet4Pktinfo, int32(unix.IPPROTO_IP), int32(unix.IP_PKTINFO)
	if s.is6 {
		size, level, kind = unix.SizeofInet6Pktinfo, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
	}
	s.space = unix.CmsgSpace(size)
	s.msgs = make([]unix.Mmsghdr, sendBatch)
	s.iovs = make([]unix.Iovec, sendBatch)
	s.names = make([]unix.RawSockaddrInet6, sendBatch)
	s.control = make([]byte, sendBatch*s.space)
	for i := range s.msgs {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&s.control[i*s.space]))
		c.Level, c.Type = level, kind
		c.SetLen(unix.CmsgLen(size))
		h := &s.msgs[i].Hdr
		h.Iov = &s.iovs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&s.names[i]))
		h.Namelen = unix.SizeofSockaddrInet4
		if s.is6 {
			h.Namelen = unix.SizeofSockaddrInet6
		}
		h.Control = &s.control[i*s.space]
		h.SetControllen(s.space)
	}
}

// prepare points the messages at n packets from i on.
func (s *txSocket) prepare(link int, b *wire.Batch, i, n int) {
	for j := range n {
		pkt := b.Bytes(i + j)
		s.iovs[j].Base = &pkt[0]
		s.iovs[j].SetLen(len(pkt))
		info := s.control[j*s.space+unix.CmsgLen(0):]
		if s.is6 {
			name := &s.names[j]
			name.Family = unix.AF_INET6
			copy(info[:16], pkt[8:24])
			copy(name.Addr[:], pkt[24:40])
			continue
		}
		name := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.names[j]))
		name.Family = unix.AF_INET
		copy(info[4:8], pkt[12:16]) // ipi_spec_dst
		copy(name.Addr[:], pkt[16:20])
	}
}

// sendmmsg sends messages, and returns how many went and why the next one did not. Of
// a call that is short the runtime need not hear: see receive.
func sendmmsg(fd int, msgs []unix.Mmsghdr, short bool) (n int, errno unix.Errno) {
	const flags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	var k uintptr
	if short {
		k, _, errno = unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[0])), uintptr(len(msgs)), flags, 0, 0)
	} else {
		k, _, errno = unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[0])), uintptr(len(msgs)), flags, 0, 0)
	}
	runtime.KeepAlive(msgs)
	if errno != 0 {
		return 0, errno
	}
	return int(k), 0
}
