package netio

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/netio/rtnl"
	"github.com/mpnc/mpnc/internal/wire"
)

// Raw is the device of raw IP sockets on the host's own addresses. It needs
// CAP_NET_RAW and leaves the host's configuration alone: the kernel is kept
// from answering by guards, and packets pass the host's routing and firewall
// like those of any program.
//
// It has no goroutine, unless it was made on a thread in a network namespace
// of its own: then one, which makes its sockets there. Links are interface
// indices of the namespace it was made in.
type Raw struct {
	now  func() mono.Time
	logf func(string, ...any)
	ns   *namespace
	rt   *rtnl.Conn
	diag *rtnl.Diag

	life   sync.RWMutex // held for reading by whoever uses what Close closes
	closed bool

	mu     sync.Mutex // the guards and the receive filters
	guards map[*guard]struct{}
	held   held
	wide   atomic.Bool // the filters let in pairs that are not held any more

	foreign int // packets let in for pairs not held, since narrow; the reader's

	readMu sync.Mutex // held by Read
	rx     []*rxSocket
	wait   readiness
	filler func(uintptr) bool // fill, made once
	host   host
	into   func() []byte // see Placer
	unused func()
	// The socket that packets came from last, and how often they did in a row.
	hot      *rxSocket
	hotReads int

	portMu sync.Mutex
	ports  map[int]*port

	routes routes
	lanes  lanes

	holds int // octets of TCP packets that a receiver holds

	diagOnce  sync.Once
	diagBlind atomic.Bool
	denied    sync.Once
	stats     rawCounters
}

type rawCounters struct {
	rx, rxForeign, rxBad           atomic.Uint64
	tx, txFull, txDenied, txErrors atomic.Uint64
	trains                         atomic.Uint64
}

// NewRaw opens the raw sockets, in the network namespace of the calling
// thread. The error says what the user can do about it.
func NewRaw(cfg RawConfig) (*Raw, error) {
	if cfg.Now == nil {
		return nil, errors.New("raw sockets: RawConfig.Now is missing")
	}
	r := &Raw{
		now:    cfg.Now,
		logf:   cfg.Logf,
		guards: make(map[*guard]struct{}),
		ports:  make(map[int]*port),
	}
	r.filler = r.fill
	r.PlaceInto(func() []byte { return nil }, func() {})
	r.lanes.off = cfg.NoLanes
	r.routes.changes = -1
	if r.logf == nil {
		r.logf = func(string, ...any) {}
	}
	var err error
	if r.ns, err = currentNamespace(); err != nil {
		return nil, explain(err)
	}
	r.ns.do(func() { err = r.open() })
	if err != nil {
		r.Close()
		return nil, explain(err)
	}
	return r, nil
}

// open opens whatever lives as long as the device, in the calling thread's
// namespace.
func (r *Raw) open() (err error) {
	shutProgram() // while we have privileges
	if err := r.openReceivers(); err != nil {
		return err
	}
	r.ns.name(r.rx[0].fd)
	if r.rt, err = rtnl.Open(); err != nil {
		return err
	}
	if r.diag, err = rtnl.OpenDiag(); err != nil {
		return err
	}
	changes, err := rtnl.Subscribe(rtnl.LinkChanges...)
	if err != nil {
		return err
	}
	if err := r.host.refresh(r.rt); err != nil {
		unix.Close(changes)
		return err
	}
	if err := r.wait.open(r.rx, changes); err != nil {
		return err
	}
	if err := r.routes.open(); err != nil {
		return err
	}
	if err := r.wait.add(r.routes.changes); err != nil {
		return err
	}
	return r.openLanes()
}

// explain adds to an error what the user can do about it.
func explain(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("raw sockets need CAP_NET_RAW: run as root, or: setcap cap_net_raw+ep (%w)", err)
	}
	return err
}

// use begins a call that needs the device's sockets, unless it is closed. The
// caller ends with r.life.RUnlock.
func (r *Raw) use() bool {
	r.life.RLock()
	if r.closed {
		r.life.RUnlock()
		return false
	}
	return true
}

// Close implements Device. It ends a Read in progress and gives back all
// guards.
func (r *Raw) Close() error {
	r.life.Lock()
	was := r.closed
	r.closed = true
	r.life.Unlock()
	if was {
		return nil
	}
	r.wait.interrupt()
	r.readMu.Lock()
	defer r.readMu.Unlock()
	for _, g := range r.takeGuards() {
		g.Close()
	}
	r.mu.Lock()
	for _, s := range r.rx {
		unix.Close(s.fd)
	}
	r.rx = nil
	r.mu.Unlock()
	r.keepPorts(func(int) bool { return false })
	r.wait.close()
	r.lanes.close()
	if r.routes.changes >= 0 {
		unix.Close(r.routes.changes)
	}
	if r.diag != nil {
		r.diag.Close()
	}
	if r.rt != nil {
		r.rt.Close()
	}
	r.ns.close()
	return nil
}

func (r *Raw) takeGuards() (l []*guard) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for g := range r.guards {
		l = append(l, g)
	}
	return l
}

// Caps implements Device: packets with checksums, and trains where there is a
// fast lane.
func (r *Raw) Caps() Caps {
	c := Caps{Holds: r.holds}
	if !r.lanes.off {
		c.MaxTrain, c.Lane, c.Gather = wire.MaxPacket, true, true
	}
	return c
}

// PlaceInto implements Placer.
func (r *Raw) PlaceInto(into func() []byte, unused func()) { r.into, r.unused = into, unused }

// Foreign implements Device. If the kernel does not tell, every connection
// that is not ours is taken to be its own: a RST of ours would end it.
func (r *Raw) Foreign(t wire.Tuple) bool {
	if !r.use() {
		return true
	}
	defer r.life.RUnlock()
	if r.diagBlind.Load() {
		return true
	}
	local := t.Local
	if a := local.Addr(); a.Is6() && a.IsLinkLocalUnicast() {
		r.ns.do(func() { local = netip.AddrPortFrom(zoned(a), local.Port()) })
	}
	owner, err := r.diag.Lookup(local, t.Remote)
	return err != nil || owner == rtnl.Connection
}

// Stats returns the counters. Any goroutine may call it.
func (r *Raw) Stats() RawStats {
	c := &r.stats
	s := RawStats{
		Rx: c.rx.Load(), RxForeign: c.rxForeign.Load(), RxBad: c.rxBad.Load(),
		Trains: c.trains.Load(),
		Tx:     c.tx.Load(), TxFull: c.txFull.Load(), TxDenied: c.txDenied.Load(), TxErrors: c.txErrors.Load(),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rx := range r.rx {
		s.RxLost += rx.lost()
	}
	return s
}

// CheckRPFilter is the function of this name, in the device's namespace.
func (r *Raw) CheckRPFilter(link int) (strict bool, hint string) {
	if !r.use() {
		return false, ""
	}
	defer r.life.RUnlock()
	r.ns.do(func() { strict, hint = CheckRPFilter(link) })
	return strict, hint
}

// Probe reports whether a Raw can be made and used here, nil if so. The error
// says what the user can do about it.
func Probe() error {
	raw, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return explain(os.NewSyscallError("socket", err))
	}
	defer unix.Close(raw)
	tcp, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(tcp)
	return silence(tcp, netip.IPv4Unspecified())
}

// readiness waits until one of many sockets is readable: an epoll instance,
// itself waited for by the runtime's poller, so that the reading goroutine
// holds no thread and Close can wake it.
type readiness struct {
	fd      int
	changes int // subscription to link changes
	file    *os.File
	raw     syscall.RawConn
	events  [8]unix.EpollEvent
}

func (w *readiness) open(rx []*rxSocket, changes int) error {
	w.changes = changes
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		unix.Close(changes)
		return os.NewSyscallError("epoll_create1", err)
	}
	w.fd = fd
	// The runtime polls only what says that it does not block.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		unix.Close(changes)
		return os.NewSyscallError("fcntl", err)
	}
	w.file = os.NewFile(uintptr(fd), "raw sockets")
	if w.raw, err = w.file.SyscallConn(); err != nil {
		return err
	}
	if err := w.add(changes); err != nil {
		return err
	}
	for _, s := range rx {
		if err := w.add(s.fd); err != nil {
			return err
		}
	}
	return nil
}

func (w *readiness) add(fd int) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(w.fd, unix.EPOLL_CTL_ADD, fd, &ev))
}

// ready lists what is readable now.
func (w *readiness) ready() []unix.EpollEvent {
	n, err := unix.EpollWait(w.fd, w.events[:], 0)
	if err != nil {
		return nil // EINTR: asked again with the next event
	}
	return w.events[:n]
}

// interrupt ends a wait, now and for ever.
func (w *readiness) interrupt() {
	if w.file != nil {
		w.file.Close()
	}
}

func (w *readiness) close() {
	if w.file != nil {
		unix.Close(w.changes)
	}
}
