package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/mpnc/mpnc/testenv/speed/end"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The floor moves trains as our stack may, and does nothing else: AF_PACKET writes
// of 64 KB with a virtio-net header on one side, a raw IP socket read with recvmmsg
// on the other, no protocol between them but a count of what arrived, which keeps
// the sender from running ahead. What a stack takes more than this is its own.

const (
	trainSegment = 1448              // octets of payload in each packet
	trainPayload = 44 * trainSegment // of a train
	trainHeaders = 20 + 32           // IPv4, and TCP with timestamps
	trainAhead   = 64 * trainPayload // most that is on its way
	vnetHeader   = 10                // struct virtio_net_hdr
	trainFrame   = vnetHeader + 14 + trainHeaders + trainPayload
	trainBatch   = call / trainPayload // received at once: what a reader's buffer holds
)

// trains makes the floor's transport.
func trains(j *end.Job) (*end.Transport, error) {
	return &end.Transport{
		Listen: func(at netip.AddrPort) (net.Listener, error) { return listenTrains(at) },
		Dial: func(_ context.Context, to netip.AddrPort) (net.Conn, error) {
			return dialTrains(j, to)
		},
	}, nil
}

// trainListener has one connection, for good.
type trainListener struct {
	guard  int // a TCP socket that has the kernel answer nothing
	raw    int
	credit *net.UDPConn
	taken  bool
}

func listenTrains(at netip.AddrPort) (*trainListener, error) {
	guard, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	raw, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	err = errors.Join(err,
		unix.SetsockoptSockFprog(guard, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop[0]}),
		unix.Bind(guard, &unix.SockaddrInet4{Port: int(at.Port())}), unix.Listen(guard, 1),
		unix.SetsockoptInt(raw, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20))
	if err != nil {
		return nil, err
	}
	credit, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
	return &trainListener{guard: guard, raw: raw, credit: credit}, err
}

// Accept implements net.Listener.
func (l *trainListener) Accept() (net.Conn, error) {
	if l.taken {
		select {} // there is no other
	}
	l.taken = true
	_, from, err := l.credit.ReadFromUDPAddrPort(make([]byte, 8))
	return &trainReader{trainListener: l, from: from}, err
}

// Addr implements net.Listener.
func (l *trainListener) Addr() net.Addr { return l.credit.LocalAddr() }

// Close implements net.Listener.
func (l *trainListener) Close() error {
	return errors.Join(unix.Close(l.guard), unix.Close(l.raw), l.credit.Close())
}

// trainReader is the receiving end.
type trainReader struct {
	*trainListener
	noConn
	from  netip.AddrPort
	total uint64
	iov   [trainBatch]unix.Iovec
	msgs  [trainBatch]mmsghdr
}

// mmsghdr is struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// Read fills b with whole trains, headers and all, and counts their payload.
func (r *trainReader) Read(b []byte) (int, error) {
	room := len(b) / trainBatch
	for i := range r.msgs {
		r.iov[i].Base, r.iov[i].Len = &b[i*room], uint64(room)
		r.msgs[i].hdr = unix.Msghdr{Iov: &r.iov[i], Iovlen: 1}
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(r.raw), uintptr(unsafe.Pointer(&r.msgs)), trainBatch, unix.MSG_WAITFORONE, 0, 0)
	if errno != 0 {
		return 0, os.NewSyscallError("recvmmsg", errno)
	}
	octets := 0
	for _, m := range r.msgs[:n] {
		octets += max(0, int(m.len)-trainHeaders)
	}
	r.total += uint64(octets)
	_, err := r.credit.WriteToUDPAddrPort(binary.BigEndian.AppendUint64(nil, r.total), r.from)
	return octets, err
}

// Close implements net.Conn.
func (r *trainReader) Close() error { return r.trainListener.Close() }

// trainWriter is the sending end.
type trainWriter struct {
	noConn
	ports  []int    // packet sockets, one for each link
	frames [][]byte // what each sends, again and again
	credit *net.UDPConn

	// What is written has to be kept until it has arrived, where there is a protocol:
	// payload is copied there first, or read from a file.
	kept [][]byte
	file *os.File

	sent    uint64
	arrived atomic.Uint64
	more    chan struct{}
}

// trainFile is how much a file has, more than caches have: it is read again and again.
const trainFile = 256 << 20

func dialTrains(j *end.Job, to netip.AddrPort) (_ net.Conn, err error) {
	credit, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, err
	}
	w := &trainWriter{credit: credit, more: make(chan struct{}, 1)}
	if _, err := credit.Write(make([]byte, 8)); err != nil { // the neighbour is known now
		return nil, err
	}
	if j.Contestant != floor {
		w.kept = make([][]byte, trainAhead/trainPayload+trainBatch)
		for i := range w.kept {
			w.kept[i] = make([]byte, trainPayload)
		}
	}
	if j.Contestant == floorFile {
		if w.file, err = fileInMemory(trainFile); err != nil {
			return nil, err
		}
	}
	for _, l := range j.Links {
		if err := w.open(l, to.Port()); err != nil {
			return nil, fmt.Errorf("%s: %w", l.Name, err)
		}
	}
	go w.listen()
	return w, nil
}

// open makes the packet socket of a link, and its frame.
func (w *trainWriter) open(l end.Link, port uint16) error {
	dev, err := net.InterfaceByName(l.Name)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 32<<20),
		unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: dev.Index, Protocol: 0x0008})) // ETH_P_IP, in network order
	if err != nil {
		return err
	}
	mac, err := neighbour(l)
	if err != nil {
		return err
	}
	w.ports, w.frames = append(w.ports, fd), append(w.frames, trainOf(dev.HardwareAddr, mac, l, port))
	return nil
}

// neighbour asks the kernel for the link address of a link's far end, which it
// finds out for the sake of a datagram that nobody reads.
func neighbour(l end.Link) (net.HardwareAddr, error) {
	const discard = 9
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.Remote, discard)))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		_, _ = conn.Write(nil) // refused, once it arrives
		if mac := knownNeighbour(l); mac != nil {
			return mac, nil
		}
	}
	return nil, errors.New("no answer to ARP")
}

// knownNeighbour looks it up.
func knownNeighbour(l end.Link) net.HardwareAddr {
	dev, err := net.InterfaceByName(l.Name)
	if err != nil {
		return nil
	}
	all, err := netlink.NeighList(dev.Index, netlink.FAMILY_V4)
	if err != nil {
		return nil
	}
	for _, n := range all {
		if n.IP.Equal(net.IP(l.Remote.AsSlice())) && len(n.HardwareAddr) == 6 {
			return n.HardwareAddr
		}
	}
	return nil
}

// trainOf makes a frame of one train behind its virtio-net header.
func trainOf(from, to net.HardwareAddr, l end.Link, port uint16) []byte {
	f := make([]byte, trainFrame)
	f[0] = 1                                              // VIRTIO_NET_HDR_F_NEEDS_CSUM
	f[1] = 1                                              // VIRTIO_NET_HDR_GSO_TCPV4
	binary.NativeEndian.PutUint16(f[2:], 14+trainHeaders) // hdr_len
	binary.NativeEndian.PutUint16(f[4:], trainSegment)    // gso_size
	binary.NativeEndian.PutUint16(f[6:], 14+20)           // csum_start
	binary.NativeEndian.PutUint16(f[8:], 16)              // csum_offset
	ether := f[vnetHeader:]
	copy(ether, to)
	copy(ether[6:], from)
	binary.BigEndian.PutUint16(ether[12:], unix.ETH_P_IP)
	ip := ether[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_TCP
	binary.BigEndian.PutUint16(ip[2:], trainHeaders+trainPayload)
	src, dst := l.Local.As4(), l.Remote.As4()
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	binary.BigEndian.PutUint16(ip[10:], ^sum(ip[:20]))
	tcp := ip[20:]
	binary.BigEndian.PutUint16(tcp, port)
	binary.BigEndian.PutUint16(tcp[2:], port)
	tcp[12], tcp[13] = 8<<4, 0x10 // eight words, ACK
	pseudo := append(append([]byte{}, ip[12:20]...), 0, unix.IPPROTO_TCP, 0, 0)
	binary.BigEndian.PutUint16(pseudo[10:], 32+trainPayload)
	binary.BigEndian.PutUint16(tcp[16:], sum(pseudo))
	return f
}

// sum is the Internet checksum, not inverted.
func sum(b []byte) uint16 {
	var s uint32
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	s = s>>16 + s&0xffff
	return uint16(s>>16 + s)
}

// listen learns what has arrived.
func (w *trainWriter) listen() {
	var b [8]byte
	for {
		if n, err := w.credit.Read(b[:]); err != nil || n != len(b) {
			continue // refused, before the other end was there
		}
		w.arrived.Store(binary.BigEndian.Uint64(b[:]))
		select {
		case w.more <- struct{}{}:
		default:
		}
	}
}

// fileInMemory is a file of n octets that has no name any more.
func fileInMemory(n int) (*os.File, error) {
	dir := "/dev/shm"
	if _, err := os.Stat(dir); err != nil {
		dir = ""
	}
	f, err := os.CreateTemp(dir, "mpnc-floor")
	if err != nil {
		return nil, err
	}
	_, err = f.WriteAt(make([]byte, n), 0)
	return f, errors.Join(err, os.Remove(f.Name()))
}

// send sends a train of b by port i.
func (w *trainWriter) send(i int, b []byte) (err error) {
	if w.kept == nil {
		_, err = unix.Write(w.ports[i], w.frames[i])
		return err
	}
	payload := w.kept[int(w.sent/trainPayload)%len(w.kept)]
	if w.file == nil {
		copy(payload, b)
	} else if n, err := w.file.Read(payload); n < len(payload) {
		if err != nil && err != io.EOF {
			return err
		}
		if _, err := w.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	_, err = unix.Writev(w.ports[i], [][]byte{w.frames[i][:trainFrame-trainPayload], payload})
	return err
}

// Write sends as many trains as b is long, on the links in turn.
func (w *trainWriter) Write(b []byte) (int, error) {
	for k := range trainBatch {
		for w.sent-w.arrived.Load() > trainAhead {
			select {
			case <-w.more:
			case <-time.After(time.Second):
				w.arrived.Store(w.sent) // something was lost: forget it
			}
		}
		i := int(w.sent/trainPayload) % len(w.ports)
		if err := w.send(i, b[k*trainPayload:]); err != nil {
			return 0, os.NewSyscallError("write", err)
		}
		w.sent += trainPayload
	}
	return trainBatch * trainPayload, nil
}

// noConn is what a net.Conn has to have and nobody asks of the floor's.
type noConn struct{ net.Conn }
