package netio

import (
	"encoding/binary"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/mpnc/mpnc/internal/wire"
)

const (
	// trainBatch is how many trains one system call takes.
	trainBatch = 16
	// trainBuffer is the socket's buffer: what may wait in the interface's queue.
	trainBuffer = 4 << 20

	// trainParts is how many pieces of memory a train has at most: its heads, and
	// payload that is lent from two chunks.
	trainParts = 4

	vnetLen  = 10 // struct virtio_net_hdr
	etherLen = 14
	headLen  = vnetLen + etherLen

	vnetNeedsChecksum = 1
	vnetTCP4          = 1
	vnetTCP6          = 4
	vnetECN           = 0x80
)

// trainSocket sends trains by one link: frames that the interface, or the kernel
// for it, cuts into packets and completes the checksums of (PACKET_VNET_HDR).
type trainSocket struct {
	fd     int
	opened bool

	msgs  []unix.Mmsghdr
	iovs  []unix.Iovec // trainParts for each message: the head, the packet, pieces
	heads []byte
}

// open opens the socket, in the calling thread's namespace. It receives nothing.
func (s *trainSocket) open(link int) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		unix.Close(fd)
		return os.NewSyscallError("setsockopt", err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, trainBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, trainBuffer) // the most we may have
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: link}); err != nil {
		unix.Close(fd)
		return os.NewSyscallError("bind", err)
	}
	s.fd, s.opened = fd, true
	s.msgs = make([]unix.Mmsghdr, trainBatch)
	s.iovs = make([]unix.Iovec, trainParts*trainBatch)
	s.heads = make([]byte, trainBatch*headLen)
	for i := range s.msgs {
		iov := &s.iovs[trainParts*i]
		iov.Base = &s.heads[i*headLen]
		iov.SetLen(headLen)
		s.msgs[i].Hdr.Iov = iov
	}
	return nil
}

func (s *trainSocket) close() {
	if s.opened {
		unix.Close(s.fd)
	}
	s.opened = false
}

// prepare points message j at train i of b.
func (s *trainSocket) prepare(j int, b *wire.Batch, i int, e *laneEntry) {
	pkt := b.Bytes(i)
	ip, kind, proto := ipv4Len, byte(vnetTCP4), uint16(unix.ETH_P_IP)
	if pkt[0]>>4 == 6 {
		ip, kind, proto = ipv6Len, vnetTCP6, unix.ETH_P_IPV6
	}
	tcp := pkt[ip:]
	if wire.Flags(tcp[13]).Has(wire.CWR) {
		kind |= vnetECN // it is for the first segment
	}
	h := s.heads[j*headLen:][:headLen]
	h[0], h[1] = vnetNeedsChecksum, kind
	binary.NativeEndian.PutUint16(h[2:], uint16(etherLen+headersOf(pkt)))
	binary.NativeEndian.PutUint16(h[4:], b.Pkts[i].Seg)
	binary.NativeEndian.PutUint16(h[6:], uint16(etherLen+ip))
	binary.NativeEndian.PutUint16(h[8:], 16) // of the checksum in a TCP header
	frame := h[vnetLen:]
	copy(frame, e.dst[:])
	copy(frame[6:], e.hop.Src[:])
	binary.BigEndian.PutUint16(frame[12:], proto)
	iovs := s.iovs[trainParts*j:][:trainParts]
	point(&iovs[1], pkt)
	pieces := b.Pieces(i)
	for k := range pieces {
		point(&iovs[2+k], pieces[k].Bytes)
	}
	s.msgs[j].Hdr.SetIovlen(2 + len(pieces))
}

func point(iov *unix.Iovec, b []byte) {
	iov.Base = &b[0]
	iov.SetLen(len(b))
}

// writeTrains sends the trains from i on that one system call takes, and returns
// how many those were. One that has no lane leaves as packets.
func (r *Raw) writeTrains(p *port, b *wire.Batch, i int) (n int) {
	s := &p.trains
	for n < trainBatch && i+n < len(b.Pkts) && b.Pkts[i+n].Seg != 0 {
		pkt := b.Bytes(i + n)
		e := r.lanes.usable(pkt, int(b.Pkts[i+n].Seg), p.link)
		if e == nil || !s.opened && r.openTrains(p) != nil {
			break
		}
		s.prepare(n, b, i+n, e)
		n++
	}
	if n == 0 {
		r.cutTrain(p, b, i)
		return 1
	}
	for sent := 0; sent < n; {
		k, errno := sendmmsg(s.fd, s.msgs[sent:n], true)
		sent += k
		r.stats.tx.Add(uint64(k))
		r.stats.trains.Add(uint64(k))
		switch errno {
		case 0:
		case unix.EINTR, unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
			sent += r.failed(errno, n-sent)
		case unix.ENETDOWN, unix.ENXIO, unix.ENODEV:
			// It is down, or gone. The socket would not find it again if it came back.
			s.close()
			r.stats.txErrors.Add(uint64(n - sent))
			sent = n
		default:
			// The interface does not take trains: what is left of them goes the
			// ordinary way.
			r.lanes.fail(p.link)
			for ; sent < n; sent++ {
				r.cutTrain(p, b, i+sent)
			}
		}
	}
	runtime.KeepAlive(b)
	return n
}

// openTrains opens the socket for trains. Where that is not possible now, because
// the interface is gone, say, they go the ordinary way.
func (r *Raw) openTrains(p *port) (err error) {
	r.ns.do(func() { err = p.trains.open(p.link) })
	return err
}

// cutTrain cuts a train and sends its packets.
func (r *Raw) cutTrain(p *port, b *wire.Batch, i int) {
	pkt := b.Bytes(i)
	if len(b.Pieces(i)) > 0 {
		p.whole = append(p.whole[:0], pkt...)
		for _, piece := range b.Pieces(i) {
			p.whole = append(p.whole, piece.Bytes...)
		}
		pkt = p.whole
	}
	segs := len(pkt)/int(b.Pkts[i].Seg) + 1
	if need := len(pkt) + segs*headersOf(pkt); p.cut == nil || need > cap(p.cut.Slab) {
		p.cut = wire.NewBatch(max(need, 2*maxRead))
	}
	p.cut.Reset()
	if !p.cut.AppendCut(pkt, b.Pkts[i]) {
		r.stats.txErrors.Add(1)
		return
	}
	for i := 0; i < len(p.cut.Pkts); {
		n := run(p.cut, i)
		r.writeRun(p, p.cut, i, n)
		i += n
	}
}
