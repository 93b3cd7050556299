package duel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/mpnc/mpnc/mptcp"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/testenv"
)

// Config says which connection to make.
type Config struct {
	Lab   *testenv.Lab
	Stack Stack
	// Link is the one that the connection begins on. If empty, the first.
	Link string
	// Manager is the name of mpnc's path manager. If empty, fullmesh. With backup,
	// the kernel's paths but for the first are backups, too.
	Manager string
	// Mesh has the kernel make a path from each address to each, as mpnc does;
	// otherwise it makes one from each of the client's.
	Mesh bool
}

// Pair is a connection across a lab, both its ends.
type Pair struct {
	Client, Server net.Conn

	closers []func() error
}

const port = 7000

// Open connects the lab's client to its server.
func Open(ctx context.Context, c Config) (p *Pair, err error) {
	p = new(Pair)
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	if c.Link == "" {
		c.Link = c.Lab.Client.Links()[0]
	}
	listen, dial, err := p.stacks(c)
	if err != nil {
		return p, err
	}
	ln, err := listen(fmt.Sprintf(":%d", port))
	if err != nil {
		return p, err
	}
	p.closers = append(p.closers, ln.Close)
	at := netip.AddrPortFrom(c.Lab.Server.Addr(c.Link, 4), port)
	if p.Client, err = dial(ctx, at.String()); err != nil {
		return p, err
	}
	p.Server, err = ln.Accept()
	return p, err
}

type (
	listener func(at string) (net.Listener, error)
	dialer   func(ctx context.Context, to string) (net.Conn, error)
)

// stacks sets up both hosts for one of the stacks.
func (p *Pair) stacks(c Config) (listener, dialer, error) {
	if c.Stack != Mpnc {
		return c.kernelListen, c.kernelDial, c.configureKernel()
	}
	manager, err := pathmgr.New(c.Manager)
	if err != nil {
		return nil, nil, err
	}
	var stacks [2]*mptcp.Stack
	for i, h := range []*testenv.Host{c.Lab.Client, c.Lab.Server} {
		if err := h.Do(func() (err error) {
			stacks[i], err = mptcp.NewRaw(mptcp.Config{PathManager: manager, NoDelay: true})
			return err
		}); err != nil {
			return nil, nil, err
		}
		p.closers = append(p.closers, stacks[i].Close)
	}
	listen := func(at string) (net.Listener, error) { return stacks[1].Listen("tcp4", at) }
	dial := func(ctx context.Context, to string) (net.Conn, error) {
		conn, err := stacks[0].Dial(ctx, "tcp4", to)
		if err != nil {
			return nil, err // not a nil *mptcp.Conn
		}
		return conn, nil
	}
	return listen, dial, nil
}

// configureKernel is what an administrator would.
func (c Config) configureKernel() error {
	if c.Stack == KernelTCP {
		return nil
	}
	for i, link := range c.Lab.Client.Links() {
		if i == 0 && !c.Mesh {
			continue // the connection's own
		}
		e := testenv.Endpoint{
			Addr: c.Lab.Client.Addr(link, 4), Link: link, ID: uint8(i + 1),
			Subflow: true, FullMesh: c.Mesh, Backup: c.Manager == "backup" && i > 0,
		}
		if err := c.Lab.Client.AddEndpoint(e); err != nil {
			return err
		}
		if i == 0 || !c.Mesh {
			continue
		}
		e = testenv.Endpoint{Addr: c.Lab.Server.Addr(link, 4), Link: link, ID: uint8(i + 1), Signal: true}
		if err := c.Lab.Server.AddEndpoint(e); err != nil {
			return err
		}
	}
	return nil
}

func (c Config) kernelListen(at string) (ln net.Listener, err error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(c.Stack == KernelMPTCP)
	err = c.Lab.Server.Do(func() (err error) {
		ln, err = lc.Listen(context.Background(), "tcp4", at)
		return err
	})
	return ln, err
}

func (c Config) kernelDial(ctx context.Context, to string) (conn net.Conn, err error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: c.Lab.Client.Addr(c.Link, 4).AsSlice()}}
	d.SetMultipathTCP(c.Stack == KernelMPTCP)
	err = c.Lab.Client.Do(func() (err error) {
		conn, err = d.DialContext(ctx, "tcp4", to)
		return err
	})
	if err != nil {
		return nil, err
	}
	if on, err := conn.(*net.TCPConn).MultipathTCP(); err != nil || on != (c.Stack == KernelMPTCP) {
		return nil, errors.Join(fmt.Errorf("the connection speaks MPTCP: %v", on), err, conn.Close())
	}
	return conn, nil
}

// Close ends everything at once. The lab stays.
func (p *Pair) Close() (err error) {
	for _, c := range []net.Conn{p.Client, p.Server} {
		switch c := c.(type) {
		case *mptcp.Conn:
			_ = c.Abort()
		case *net.TCPConn:
			_ = c.SetLinger(0)
			_ = c.Close()
		}
	}
	for i := len(p.closers) - 1; i >= 0; i-- {
		if e := p.closers[i](); e != nil && !errors.Is(e, net.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// Sent is how many octets of payload the client sent, repeated ones too; 0 if that
// is not known.
func (p *Pair) Sent() (n uint64) {
	if c, ok := p.Client.(*mptcp.Conn); ok {
		for _, s := range c.Subflows() {
			n += s.BytesOut + s.BytesRetrans
		}
	}
	return n
}
