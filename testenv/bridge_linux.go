package testenv

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"golang.org/x/sys/unix"
)

// bridge carries frames between pairs of interfaces, each direction through a
// Link, on one locked thread: it sleeps in ppoll, whose timeout is good to
// some tens of microseconds where the runtime's timers are good to a
// millisecond.
type bridge struct {
	epoch time.Time
	wake  int // eventfd: parameters changed, or close
	done  chan struct{}

	mu     sync.Mutex
	ports  []*port
	closed bool
}

// port is one interface in the middle, and the direction of the link that
// starts at it.
type port struct {
	ring    *packetRing
	peer    *port
	link    *Link
	last    mono.Time // when the last frame arrived
	lost    uint64    // frames that the bridge was too slow for
	capture *pcapWriter
}

const (
	etherARP    = 0x0806
	etherIPv6   = 0x86dd
	protoICMPv6 = 58

	// readBurst bounds how many frames are read from a port before the others
	// and what is due have their turn.
	readBurst = 32
)

func newBridge() (*bridge, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return &bridge{epoch: time.Now(), wake: wake, done: make(chan struct{})}, nil
}

// now is the bridge's clock.
func (b *bridge) now() mono.Time { return mono.Time(time.Since(b.epoch)) }

// join adds a path between two interfaces, with a box on it if that is not nil.
// Only before run, in the namespace of the interfaces.
func (b *bridge) join(client, server string, toServer, toClient LinkConfig, box Box) error {
	ends := [2]*port{{link: NewLink(toServer)}, {link: NewLink(toClient)}}
	if box != nil {
		Interpose(box, ends[0].link, ends[1].link)
	}
	for i, name := range []string{client, server} {
		ring, err := openRing(name)
		if err != nil {
			return fmt.Errorf("packet socket on %s: %w", name, err)
		}
		ends[i].ring, ends[i].peer = ring, ends[1-i]
		b.ports = append(b.ports, ends[i])
	}
	return nil
}

// run is the bridge's thread.
func (b *bridge) run() {
	defer close(b.done)
	runtime.LockOSThread()
	// Timers of an ordinary thread may be 50 microseconds late on purpose.
	// The thread keeps the setting, so it stays locked and ends with this
	// goroutine.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	// Real-time, if allowed, so that a busy machine does not turn into a slow
	// network; and a processor of the Go scheduler more, so that neither does
	// a busy program.
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK,
	}, 0)
	addProcessors(1)
	defer addProcessors(-1)

	fds := make([]unix.PollFd, len(b.ports)+1)
	for i, p := range b.ports {
		fds[i] = unix.PollFd{Fd: int32(p.ring.fd), Events: unix.POLLIN}
	}
	fds[len(b.ports)] = unix.PollFd{Fd: int32(b.wake), Events: unix.POLLIN}
	out := make([]byte, 0, 2048)
	for {
		b.mu.Lock()
		if b.closed {
			b.mu.Unlock()
			return
		}
		for i, p := range b.ports {
			if fds[i].Revents != 0 {
				b.receive(p)
			}
		}
		out = b.deliver(out)
		next := mono.Never
		for _, p := range b.ports {
			next = next.Earliest(p.link.Next())
		}
		b.mu.Unlock()
		b.sleep(fds, next)
	}
}

var processorsMu sync.Mutex

func addProcessors(n int) {
	processorsMu.Lock()
	defer processorsMu.Unlock()
	runtime.GOMAXPROCS(max(1, runtime.GOMAXPROCS(0)+n))
}

// sleep waits for a frame, a change or the time next.
func (b *bridge) sleep(fds []unix.PollFd, next mono.Time) {
	var timeout *unix.Timespec
	if next != mono.Never {
		ts := unix.NsecToTimespec(int64(max(0, next.Sub(b.now()))))
		timeout = &ts
	}
	for i := range fds {
		fds[i].Revents = 0
	}
	if _, err := unix.Ppoll(fds, timeout, nil); err != nil {
		return // EINTR: Revents say nothing, the next turn asks again
	}
	if fds[len(fds)-1].Revents != 0 {
		var count [8]byte
		_, _ = unix.Read(b.wake, count[:])
	}
}

// receive takes frames from a port and puts them on its link, at the time when
// they arrived: should the bridge run late, then only what comes out is late,
// and the link's rate and queue are as they would have been.
func (b *bridge) receive(p *port) {
	wall, now := time.Now(), b.now()
	take := func(at time.Time, frame []byte) {
		// The wall clock may have been set since.
		p.last = now.Add(-wall.Sub(at)).Earliest(now).Latest(p.last)
		p.record(b, p.last, frame)
		if passes(frame) {
			p.peer.send(b, frame)
		} else {
			p.link.Push(p.last, frame)
		}
	}
	for range readBurst {
		if !p.ring.read(take) {
			break
		}
	}
}

// deliver sends what is due, at every port.
func (b *bridge) deliver(buf []byte) []byte {
	for _, p := range b.ports {
		for {
			frame, ok := p.link.Pop(b.now(), buf[:0])
			if !ok {
				break
			}
			buf = frame
			p.peer.send(b, frame)
		}
	}
	return buf
}

func (p *port) send(b *bridge, frame []byte) {
	p.record(b, b.now(), frame)
	// A frame for an interface that is down is lost, as on a real wire.
	_ = p.ring.write(frame)
}

func (p *port) record(b *bridge, at mono.Time, frame []byte) {
	if p.capture != nil {
		p.capture.packet(b.epoch.Add(time.Duration(at)), frame)
	}
}

// passes says whether a frame is none of the emulated path's business: what
// finds neighbours and groups. Losing or delaying it would not be a property
// of the path but of how the lab is built.
func passes(frame []byte) bool {
	if len(frame) < etherHeader {
		return true
	}
	if frame[0]&1 != 0 { // a group address
		return true
	}
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherARP:
		return true
	case etherIPv6:
		ip := frame[etherHeader:]
		// Router and neighbour discovery: RFC 4861, Section 4.
		return len(ip) > 40 && ip[6] == protoICMPv6 && ip[40] >= 133 && ip[40] <= 137
	}
	return false
}

// change runs f with the thread kept out, and lets it look anew. It returns
// net.ErrClosed, and f has not run, once the bridge is closed.
func (b *bridge) change(f func(now mono.Time)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return net.ErrClosed
	}
	f(b.now())
	b.poke()
	return nil
}

// poke wakes the thread. Called with the lock held, before the bridge closes.
func (b *bridge) poke() {
	one := binary.NativeEndian.AppendUint64(nil, 1)
	_, _ = unix.Write(b.wake, one)
}

// countLost asks the kernel what it dropped because the ring was full. Called
// with the lock held.
func (p *port) countLost() uint64 {
	p.lost += p.ring.lost()
	return p.lost
}

// close ends the thread, if run was started, and the sockets and captures.
func (b *bridge) close(running bool) (err error) {
	b.mu.Lock()
	b.closed = true
	b.poke()
	b.mu.Unlock()
	if running {
		<-b.done
	}
	for _, p := range b.ports {
		p.countLost()
		p.ring.close()
		if p.capture != nil {
			if e := p.capture.Close(); err == nil {
				err = e
			}
			p.capture = nil
		}
	}
	unix.Close(b.wake)
	return err
}
