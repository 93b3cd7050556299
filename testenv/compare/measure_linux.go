package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mpnc/mpnc/mptcp"
	"github.com/mpnc/mpnc/subflow/cc"
	"github.com/mpnc/mpnc/testenv"
	"golang.org/x/sys/unix"
)

const (
	// buffers are room for every cell's window, so that they never decide: what
	// differs between the stacks is then TCP alone.
	buffers = 32 << 20
	port    = 7000
	chunk   = 64 << 10
)

// sender is one stack's connection to the receiver.
type sender interface {
	io.ReadWriteCloser
	flow() Flow // what it has sent so far
	window() (cwnd int, srtt time.Duration, retrans uint64)
}

// network is a lab with its receiver: a program on the kernel's TCP, whoever
// sends.
type network struct {
	*testenv.Lab
	cell     Cell
	listener net.Listener
	work     sync.WaitGroup

	mu     sync.Mutex
	conns  []net.Conn // the receiver's
	closed bool
}

// open builds the network of a cell. serve runs each connection that it takes.
func open(c Cell, seed uint64, serve func(net.Conn)) (n *network, err error) {
	lab, err := testenv.NewLab(c.lab(seed))
	if err != nil {
		return nil, err
	}
	n = &network{Lab: lab, cell: c}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	if got := lab.Congestion(); got != c.Congestion {
		return n, fmt.Errorf("the kernel has %s, not %s", got, c.Congestion)
	}
	for _, h := range []*testenv.Host{lab.Client, lab.Server} {
		for key, first := range map[string]string{"net.ipv4.tcp_rmem": "4096 131072", "net.ipv4.tcp_wmem": "4096 16384"} {
			if err := h.Sysctl(key, fmt.Sprintf("%s %d", first, buffers)); err != nil {
				return n, err
			}
		}
	}
	err = lab.Server.Do(func() (err error) {
		n.listener, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp4", n.server().String())
		return err
	})
	if err != nil {
		return n, err
	}
	n.work.Go(func() {
		for {
			conn, err := n.listener.Accept()
			if err != nil {
				return
			}
			if n.keep(conn) {
				n.work.Go(func() { serve(conn) })
			}
		}
	})
	return n, nil
}

func (n *network) server() netip.AddrPort {
	return netip.AddrPortFrom(n.Server.Addr(linkName, 4), port)
}

// keep notes a connection of the receiver's; after close it closes it at once.
func (n *network) keep(conn net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		_ = conn.Close()
		return false
	}
	n.conns = append(n.conns, conn)
	return true
}

// close ends everything.
func (n *network) close() error {
	if n.listener != nil {
		n.listener.Close()
	}
	n.mu.Lock()
	n.closed = true
	for _, c := range n.conns {
		_ = c.Close() // the sender's reset may be still on its way
	}
	n.mu.Unlock()
	err := n.Lab.Close()
	n.work.Wait()
	return err
}

// account fills in what the network did.
func (n *network) account(f *Flow) {
	s := n.Stats(linkName, testenv.ToServer)
	f.Dropped, f.Lost, f.Emulator = s.DropQueue, s.DropLoss, n.Lost()
}

// dial connects the stack that is to be measured.
func (n *network) dial(ctx context.Context, ours bool) (sender, error) {
	if ours {
		return n.dialOurs(ctx)
	}
	return n.dialKernel(ctx)
}

// kernelSender is the kernel's TCP.
type kernelSender struct{ *net.TCPConn }

func (n *network) dialKernel(ctx context.Context) (sender, error) {
	var d net.Dialer
	d.SetMultipathTCP(false)
	var conn net.Conn
	err := n.Client.Do(func() (err error) {
		conn, err = d.DialContext(ctx, "tcp4", n.server().String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("kernel: %w", err)
	}
	return kernelSender{conn.(*net.TCPConn)}, nil
}

func (k kernelSender) info() (info *unix.TCPInfo) {
	raw, err := k.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	}
	if err != nil || info == nil {
		return new(unix.TCPInfo)
	}
	return info
}

func (k kernelSender) flow() Flow {
	i := k.info()
	return Flow{Sent: i.Bytes_sent, Retrans: i.Bytes_retrans, RTOs: uint64(i.Total_rto)}
}

func (k kernelSender) window() (int, time.Duration, uint64) {
	i := k.info()
	return int(i.Snd_cwnd * i.Snd_mss), time.Duration(i.Rtt) * time.Microsecond, i.Bytes_retrans
}

// Close resets the connection: nobody waits for what is still queued.
func (k kernelSender) Close() error {
	_ = k.SetLinger(0)
	return k.TCPConn.Close()
}

// ourSender is our TCP, with a stack of its own.
type ourSender struct {
	*mptcp.Conn
	stack *mptcp.Stack
}

func (n *network) dialOurs(ctx context.Context) (sender, error) {
	control, err := cc.New(n.cell.Congestion)
	if err != nil {
		return nil, err
	}
	var stack *mptcp.Stack
	err = n.Client.Do(func() (err error) {
		stack, err = mptcp.NewRaw(mptcp.Config{
			TCPOnly: true, Congestion: control, SendBuffer: buffers, RecvBuffer: buffers, NoDelay: true,
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("mpnc: %w", err)
	}
	conn, err := stack.Dial(ctx, "tcp4", n.server().String())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mpnc: %w", err), stack.Close())
	}
	return ourSender{conn, stack}, nil
}

func (s ourSender) flow() Flow {
	var f Flow
	for _, i := range s.Subflows() {
		f.Sent += i.BytesOut + i.BytesRetrans
		f.Retrans += i.BytesRetrans
		f.RTOs += i.RTOs
	}
	return f
}

func (s ourSender) window() (cwnd int, srtt time.Duration, retrans uint64) {
	for _, i := range s.Subflows() {
		return i.Cwnd, i.SRTT, i.BytesRetrans
	}
	return 0, 0, 0
}

// Close ends the connection with a reset, and the stack.
func (s ourSender) Close() error { return errors.Join(s.Conn.Abort(), s.stack.Close()) }

// sink counts what arrives.
type sink struct{ octets atomic.Uint64 }

func (s *sink) serve(conn net.Conn) {
	defer conn.Close()
	b := make([]byte, 4*chunk)
	for {
		n, err := conn.Read(b)
		s.octets.Add(uint64(n))
		if err != nil {
			return
		}
	}
}

func stackName(ours bool) string {
	if ours {
		return "mpnc"
	}
	return "kernel"
}

// pump writes until the connection is closed.
func pump(w io.Writer) {
	b := make([]byte, chunk)
	_, _ = io.ReadFull(testenv.RandomStream(1), b)
	for {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

// pair measures a cell, one stack after the other; which comes first alternates.
func (c Cell) pair(ctx context.Context, o options, p *Pair) error {
	return inTurn(p, func(ours bool, f *Flow) (err error) {
		*f, err = c.bulk(ctx, o, ours, seed(c.Name, p.Number), fmt.Sprintf("%s-%d", c.Name, p.Number))
		return err
	})
}

// inTurn runs the stacks one after the other.
func inTurn(p *Pair, run func(ours bool, f *Flow) error) error {
	for k := range 2 {
		ours, f := (k+p.Number)%2 == 1, &p.Kernel
		if ours {
			f = &p.Mpnc
		}
		if err := run(ours, f); err != nil {
			return err
		}
	}
	return nil
}

// bulk measures how much arrives in the time, from connecting on.
func (c Cell) bulk(ctx context.Context, o options, ours bool, seed uint64, name string) (f Flow, err error) {
	var arrived sink
	n, err := open(c, seed, arrived.serve)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	if c.Spike {
		n.spike(o.length / 3)
	}
	watch, err := n.watch(o, name+"-"+stackName(ours))
	if err != nil {
		return f, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.length)
	defer cancel()
	s, err := n.dial(ctx, ours)
	if err != nil {
		return f, err
	}
	n.work.Go(func() { pump(s) })
	watch(ctx, s, &arrived)
	<-ctx.Done()
	f = s.flow()
	f.Octets = arrived.octets.Load()
	n.account(&f)
	return f, s.Close()
}

// spike makes the way to the receiver 300 ms longer for a second.
func (n *network) spike(at time.Duration) {
	longer := func(by time.Duration) func() {
		return func() {
			_ = n.SetLink(linkName, testenv.ToServer, func(c *testenv.LinkConfig) { c.Delay += by }) // closed: it is over
		}
	}
	n.Play(testenv.Timeline{{At: at, Do: longer(spikeDelay)}, {At: at + spikeLength, Do: longer(-spikeDelay)}})
}

// watch prepares to write what a transfer did over time, if asked for.
func (n *network) watch(o options, name string) (func(context.Context, sender, *sink), error) {
	if o.watch == "" {
		return func(context.Context, sender, *sink) {}, nil
	}
	base := filepath.Join(o.watch, name)
	if err := os.MkdirAll(o.watch, 0o755); err != nil {
		return nil, err
	}
	if _, err := n.Capture(n.Client, linkName, base+".pcap"); err != nil {
		return nil, err
	}
	out, err := os.Create(base + ".tsv")
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, s sender, arrived *sink) {
		defer out.Close()
		fmt.Fprintln(out, "s\tcwnd\tsrtt_ms\tretrans\treceived\tdropped")
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for start := time.Now(); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			cwnd, srtt, retrans := s.window()
			fmt.Fprintf(out, "%.2f\t%d\t%.1f\t%d\t%d\t%d\n", time.Since(start).Seconds(), cwnd, srtt.Seconds()*1e3,
				retrans, arrived.octets.Load(), n.Stats(linkName, testenv.ToServer).DropQueue)
		}
	}, nil
}
