package netio

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/netio/rtnl"
	"github.com/mpnc/mpnc/internal/wire"
)

const (
	// maxRead is the largest packet read: segments merged by the receiving
	// interface arrive as one, up to 64 KB.
	maxRead = ipv6Len + 65535
	// receiveBuffer is asked for from the kernel; the default would hold four
	// merged packets, for all connections together. This holds four trains of each
	// of a thousand.
	receiveBuffer = 256 << 20
	leastBuffer   = 8 << 20
	controlLen    = 128
	// trainsRead is how many trains are read at once: no more than a reader's memory
	// is likely to hold, for what does not go there at once is copied twice.
	trainsRead = 4
	// maxHotReads is how often one socket is read before the others are looked at.
	maxHotReads = 16
)

// rxSocket is one raw socket to read from, with the messages last read and not
// yet handed on: those of one system call go together. Their memory is touched only as far as packets fill it.
type rxSocket struct {
	fd     int
	v6     bool
	proto  int
	lo, hi uint32 // ports that the filter bounds; lo > hi if it lists pairs
	shut   bool   // the filter lets nothing in
	// changed is how often the filter was, since something was let in that is not
	// ours.
	changed int
	holds   int // octets that the kernel keeps for us; 0: as many as it allows everybody

	msgs    []unix.Mmsghdr
	iovs    []unix.Iovec
	names   []unix.RawSockaddrInet6
	control []byte
	slab    []byte
	n, next int // of msgs: read, and first not handed on
	at      mono.Time
	flood   flood
	trains  bool // what came last
	guess   form // of those that come next
	apart   apart
}

// openReceivers opens the raw sockets for TCP and ICMP of both families. A
// host without IPv6 has none of that.
func (r *Raw) openReceivers() error {
	for _, k := range []struct {
		v6    bool
		proto int
		batch int
	}{
		{false, unix.IPPROTO_TCP, 16}, {true, unix.IPPROTO_TCP, 16},
		{false, unix.IPPROTO_ICMP, 2}, {true, unix.IPPROTO_ICMPV6, 2},
	} {
		s, err := openReceiver(k.v6, k.proto, k.batch)
		if k.v6 && errors.Is(err, unix.EAFNOSUPPORT) {
			continue
		}
		if err != nil {
			return err
		}
		if k.proto == unix.IPPROTO_TCP {
			r.holds = s.holds
		}
		r.rx = append(r.rx, s)
	}
	return nil
}

func openReceiver(v6 bool, proto, batch int) (*rxSocket, error) {
	family := unix.AF_INET
	if v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &rxSocket{fd: fd, v6: v6, proto: proto, lo: maxPort + 1, shut: true}
	if err := s.setup(); err != nil {
		unix.Close(fd)
		return nil, err
	}
	s.allocate(batch)
	return s, nil
}

// setup closes the socket with a filter and empties it of what came before,
// then sets its options. TCP stays closed until there is a guard.
func (s *rxSocket) setup() error {
	if err := attach(s.fd, []unix.SockFilter{ret(0)}); err != nil {
		return err
	}
	var one [1]byte
	for {
		if _, _, err := unix.Recvfrom(s.fd, one[:], unix.MSG_DONTWAIT); err != nil && err != unix.EINTR {
			break
		}
	}
	if err := s.setOptions(); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	size := bufferSize()
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) == nil {
		s.holds = size
	} else {
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size) // the most we may have
	}
	if s.proto == unix.IPPROTO_TCP {
		return nil
	}
	return attach(s.fd, icmpFilter(s.v6))
}

// bufferSize is receiveBuffer, or less on a host with little memory.
func bufferSize() int {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return leastBuffer
	}
	total := uint64(info.Totalram) * uint64(info.Unit)
	return int(min(receiveBuffer, max(total/64, leastBuffer)))
}

// Types of ICMP that tell about a path: unreachable, time exceeded, too big.
const (
	icmpFilterOption = 1 // ICMP_FILTER and ICMPV6_FILTER
	solICMPv6        = unix.IPPROTO_ICMPV6
	icmpTypes        = 1<<3 | 1<<11
	icmp6Types       = 1<<1 | 1<<2 | 1<<3
)

func (s *rxSocket) setOptions() error {
	type option struct{ level, name, value int }
	// Without OMIT an ICMP error, forged or not, would lower the path MTU of
	// the whole host on our behalf.
	options := []option{
		{unix.IPPROTO_IP, unix.IP_PKTINFO, 1},
		{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_OMIT},
	}
	if s.v6 {
		options = []option{
			{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1},
			{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1},
			{unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1},
			{unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_OMIT},
		}
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(s.fd, o.level, o.name, o.value); err != nil {
			return err
		}
	}
	switch s.proto {
	case unix.IPPROTO_ICMP:
		block := ^uint32(icmpTypes)
		return unix.SetsockoptInt(s.fd, unix.SOL_RAW, icmpFilterOption, int(int32(block)))
	case unix.IPPROTO_ICMPV6:
		block := unix.ICMPv6Filter{}
		for i := range block.Data {
			block.Data[i] = ^uint32(0)
		}
		block.Data[0] = ^uint32(icmp6Types)
		return unix.SetsockoptICMPv6Filter(s.fd, solICMPv6, icmpFilterOption, &block)
	}
	return nil
}

func (s *rxSocket) allocate(batch int) {
	s.msgs = make([]unix.Mmsghdr, batch)
	s.iovs = make([]unix.Iovec, apartParts*batch)
	s.names = make([]unix.RawSockaddrInet6, batch)
	s.control = make([]byte, batch*controlLen)
	s.slab = make([]byte, batch*maxRead)
	for i := range s.msgs {
		point(&s.iovs[apartParts*i], s.memory(i))
		h := &s.msgs[i].Hdr
		h.Iov = &s.iovs[apartParts*i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&s.names[i]))
		h.Control = &s.control[i*controlLen]
	}
}

// receive reads what is there, as many packets as fit. Since it does not block, the
// runtime need not hear of it: it would give this processor to somebody else while
// much is copied, and take it back.
func (r *Raw) receive(s *rxSocket) (any bool) {
	msgs := s.msgs
	s.unlay()
	if s.trains {
		msgs = msgs[:min(trainsRead, len(msgs))]
		if n := r.lay(s); n > 0 {
			msgs = msgs[:n]
		}
	}
	for i := range msgs {
		h := &msgs[i].Hdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(controlLen)
		h.Flags = 0
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd),
		uintptr(unsafe.Pointer(&msgs[0])), uintptr(len(msgs)), unix.MSG_DONTWAIT, 0, 0)
	runtime.KeepAlive(s)
	s.next, s.n = 0, 0
	if errno != 0 {
		r.giveBack(s)
		return false
	}
	s.n, s.at = int(n), r.now()
	octets := 0
	for i := range s.n {
		octets += int(s.msgs[i].Len)
	}
	s.flood.add(octets)
	s.trains = octets > s.n*maxRead/4
	s.gather()
	return true
}

// lost returns how many packets the kernel dropped because the socket's buffer
// was full.
func (s *rxSocket) lost() uint64 {
	var info [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0
	}
	return uint64(info[unix.SK_MEMINFO_DROPS])
}

// arrival is what the control messages tell about a packet.
type arrival struct {
	link       int
	dst        [16]byte // IPv6 only
	hop, class byte     // IPv6 only
	whole      bool
}

func (s *rxSocket) arrival(i int) (a arrival) {
	h := &s.msgs[i].Hdr
	a.whole = h.Flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) == 0
	c := s.control[i*controlLen:][:h.Controllen]
	for len(c) >= unix.SizeofCmsghdr {
		m := (*unix.Cmsghdr)(unsafe.Pointer(&c[0]))
		size := int(m.Len)
		if size < unix.SizeofCmsghdr || size > len(c) {
			break
		}
		a.read(m, c[unix.CmsgLen(0):size])
		c = c[min(len(c), unix.CmsgSpace(size-unix.CmsgLen(0))):]
	}
	return a
}

func (a *arrival) read(m *unix.Cmsghdr, data []byte) {
	switch {
	case m.Level == unix.IPPROTO_IP && m.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		a.link = int(binary.NativeEndian.Uint32(data))
	case m.Level != unix.IPPROTO_IPV6:
	case m.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		copy(a.dst[:], data)
		a.link = int(binary.NativeEndian.Uint32(data[16:]))
	case m.Type == unix.IPV6_HOPLIMIT && len(data) >= 4:
		a.hop = byte(binary.NativeEndian.Uint32(data))
	case m.Type == unix.IPV6_TCLASS && len(data) >= 4:
		a.class = byte(binary.NativeEndian.Uint32(data))
	}
}

// packet returns message i from its IP header on, but for payload that lies apart, and
// its place in the slab, writing that header if the kernel kept it.
func (s *rxSocket) packet(i int, a *arrival) (off int, pkt []byte) {
	whole := int(s.msgs[i].Len)
	n := whole - len(s.apart.rest(i, whole))
	off = i * maxRead
	b := s.slab[off : off+maxRead]
	if !s.v6 {
		return off, b[:n]
	}
	b = b[:ipv6Len+n]
	binary.BigEndian.PutUint32(b, 6<<28|uint32(a.class)<<20)
	binary.BigEndian.PutUint16(b[4:], uint16(whole))
	b[6] = byte(s.proto)
	b[7] = a.hop
	copy(b[8:24], s.names[i].Addr[:])
	copy(b[24:40], a.dst[:])
	return off, b
}

// Read implements Device. The packets lie where the kernel put them: b has the
// socket's slab until the next call.
func (r *Raw) Read(b *wire.Batch) error {
	b.Borrow(nil)
	r.readMu.Lock()
	defer r.readMu.Unlock()
	for {
		for _, s := range r.rx {
			if s.next == s.n {
				continue
			}
			b.Borrow(s.slab)
			for ; s.next < s.n; s.next++ {
				r.deliver(s, b)
			}
			if len(b.Pkts) > 0 {
				return nil
			}
			r.giveBack(s)
		}
		if r.rx == nil || r.wait.raw.Read(r.filler) != nil {
			return net.ErrClosed
		}
	}
}

// fill reads from whatever is readable, and reports whether anything came. All
// that was read before has been handed on.
func (r *Raw) fill(uintptr) (any bool) {
	// As a rule the next packets come as the last ones did, and to ask for them
	// is to know.
	if s := r.hot; s != nil && r.hotReads < maxHotReads {
		r.hotReads++
		if r.receive(s) {
			return true
		}
		if s.flood.high(r.now()) && r.doze(s) {
			r.hotReads += maxHotReads / 4 // the others have waited for that, too
			return true
		}
	}
	r.hotReads = 0
	for _, ev := range r.wait.ready() {
		if int(ev.Fd) == r.wait.changes {
			r.host.stale = rtnl.Drain(r.wait.changes) || r.host.stale
			continue
		}
		if r.told(int(ev.Fd)) {
			continue
		}
		for _, s := range r.rx {
			if s.fd == int(ev.Fd) {
				if r.receive(s) {
					r.hot, any = s, true
				}
				if s.apart.into != nil {
					return true // the others will still be readable
				}
			}
		}
	}
	if r.host.stale {
		r.linksChanged()
	}
	return any
}

// linksChanged lists the links again. If that fails it is tried again with the
// next packet.
func (r *Raw) linksChanged() {
	if err := r.host.refresh(r.rt); err != nil {
		r.logf("%v", err)
		return
	}
	isThere := func(link int) bool {
		_, ok := r.host.links[link]
		return ok || link == 0
	}
	r.keepPorts(isThere)
	r.lanes.keep(isThere)
}

// deliver hands on the next packet of s, or drops it with a reason.
func (r *Raw) deliver(s *rxSocket, b *wire.Batch) {
	a := s.arrival(s.next)
	off, pkt := s.packet(s.next, &a)
	v, ok := viewOf(pkt)
	switch {
	case !a.whole || !ok:
		r.stats.rxBad.Add(1)
		return
	case !r.held.has(v.ours()):
		r.stats.rxForeign.Add(1)
		if r.foreign++; r.wide.Load() && r.foreign > r.held.len()/foreignShare {
			r.foreign = 0
			r.narrow()
		}
		return
	}
	if a.link == rtnl.Loopback || r.host.has(v.src) {
		// The kernel names the interface that has the address; what comes
		// from this host itself came through the loopback.
		a.link = rtnl.Loopback
	}
	p := wire.Packet{Off: uint32(off), Len: uint32(len(pkt)), Csum: r.checksumOf(a.link, &v), Link: a.link, At: s.at}
	rest := s.apart.rest(s.next, int(s.msgs[s.next].Len))
	if rest != nil {
		p.Csum = wire.CsumEither
	}
	b.Arrived(p, rest)
	r.stats.rx.Add(1)
}

// checksumOf tells what the checksum field may hold. Data may have been merged
// from several segments on any interface, and merging leaves only the
// pseudo-header's sum, even where the result is smaller than the MTU.
func (r *Raw) checksumOf(link int, v *view) wire.Csum {
	if v.payload > 1 || !r.host.verifies(link) {
		return wire.CsumEither
	}
	return wire.CsumFull
}
