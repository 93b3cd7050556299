package testenv

import (
	"encoding/binary"
	"net"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// packetRing is an AF_PACKET socket on one interface. What arrives lands in a
// ring of memory shared with the kernel (TPACKET_V2): no system call for each
// frame, the time of its arrival with it, and room for many without
// SO_RCVBUFFORCE, which a user namespace refuses.
type packetRing struct {
	fd    int
	mem   []byte
	slots int
	slot  int // octets of each
	next  int
}

// ringSlots is how many frames may wait for the bridge: 80 ms at 300 Mb/s.
const ringSlots = 2048

// openRing sees every frame that arrives at an interface, in the thread's
// namespace, and can send there.
func openRing(name string) (*packetRing, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	// Protocol 0 until bound: nothing of other interfaces gets in.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	r := &packetRing{fd: fd, slots: ringSlots, slot: slotSize(ifi.MTU)}
	if err := r.setup(ifi.Index); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// slotSize is the power of two that holds a frame and its headers, so that
// slots fill blocks exactly.
func slotSize(mtu int) int {
	n := 2048
	for n < mtu+etherHeader+128 {
		n *= 2
	}
	return n
}

func (r *packetRing) setup(ifIndex int) error {
	if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return os.NewSyscallError("PACKET_VERSION", err)
	}
	if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
		return os.NewSyscallError("PACKET_IGNORE_OUTGOING", err)
	}
	// Blocks of 64 KiB, or of one slot: the kernel need not find more in one piece.
	block := max(64<<10, r.slot)
	req := unix.TpacketReq{
		Block_size: uint32(block), Block_nr: uint32(r.slots * r.slot / block),
		Frame_size: uint32(r.slot), Frame_nr: uint32(r.slots),
	}
	if err := unix.SetsockoptTpacketReq(r.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return os.NewSyscallError("PACKET_RX_RING", err)
	}
	var err error
	r.mem, err = unix.Mmap(r.fd, 0, r.slots*r.slot, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	all := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}) // network order
	err = unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: ifIndex})
	return os.NewSyscallError("bind", err)
}

// read hands the oldest frame to f, and reports whether there was one. The
// frame borrows from the ring; at is the wall clock's time of its arrival.
func (r *packetRing) read(f func(at time.Time, frame []byte)) bool {
	at := r.next * r.slot
	h := (*unix.Tpacket2Hdr)(unsafe.Pointer(&r.mem[at]))
	if atomic.LoadUint32(&h.Status)&unix.TP_STATUS_USER == 0 {
		return false
	}
	frame := r.mem[at+int(h.Mac):][:h.Snaplen]
	f(time.Unix(int64(h.Sec), int64(h.Nsec)), frame)
	atomic.StoreUint32(&h.Status, unix.TP_STATUS_KERNEL)
	r.next = (r.next + 1) % r.slots
	return true
}

// write sends one frame.
func (r *packetRing) write(frame []byte) error {
	_, err := unix.Write(r.fd, frame)
	return err
}

// lost returns how many frames found no slot since it was asked last.
func (r *packetRing) lost() uint64 {
	s, err := unix.GetsockoptTpacketStats(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0
	}
	return uint64(s.Drops)
}

func (r *packetRing) close() {
	if r.mem != nil {
		_ = unix.Munmap(r.mem)
	}
	unix.Close(r.fd)
}
