package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mpnc/mpnc/mptcp"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/subflow/cc"
	"github.com/mpnc/mpnc/testenv"
)

const (
	ourPort   = 4000
	theirPort = 4001
	// jitter is a little more than a packet takes on the wire, so that flows do
	// not keep step (see testenv/compare).
	jitter = time.Millisecond
)

// lab is the network of a scene.
func (s scene) lab(number int) (*testenv.Lab, error) {
	c := testenv.LabConfig{Congestion: "reno", Seed: uint64(number)}
	for i, p := range s.paths {
		c.Links = append(c.Links, testenv.LabLink{Name: linkName(i), Rate: p.mbps * 1e6, RTT: p.rtt, Jitter: jitter})
	}
	lab, err := testenv.NewLab(c)
	if err == nil && lab.Congestion() != "reno" {
		err = errors.Join(fmt.Errorf("the kernel has %s", lab.Congestion()), lab.Close())
	}
	return lab, err
}

func linkName(i int) string { return fmt.Sprintf("link%d", i) }

// measure runs a scene once.
func (s scene) measure(ctx context.Context, control string, number int, o options) (r Result, err error) {
	lab, err := s.lab(number)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	var rivals []*testenv.KernelPeer
	defer func() {
		for _, p := range rivals {
			err = errors.Join(err, p.Close())
		}
	}()
	var rivalServers []*testenv.KernelPeer
	if s.rivals {
		for i := range s.paths {
			at := netip.AddrPortFrom(lab.Server.Addr(linkName(i), 4), theirPort)
			server, err := testenv.KernelServer(lab.Server, at, testenv.PeerConfig{Mode: testenv.Sink})
			if err != nil {
				return r, err
			}
			rivals, rivalServers = append(rivals, server), append(rivalServers, server)
			client, err := testenv.KernelClient(lab.Client, at, testenv.PeerConfig{Mode: testenv.Source, Bytes: 1 << 40})
			if err != nil {
				return r, err
			}
			rivals = append(rivals, client)
		}
	}
	ours, err := startOurs(ctx, lab, s.manager, control)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, ours.close()) }()

	if err := wait(ctx, o.warmup); err != nil {
		return r, err
	}
	count := func() (n []float64) {
		n = append(n, float64(ours.received.Load()))
		for _, p := range rivalServers {
			_, received := p.Progress()
			n = append(n, float64(received))
		}
		return n
	}
	start, before := time.Now(), count()
	if err := wait(ctx, s.length(o.run)); err != nil {
		return r, err
	}
	took, after := time.Since(start).Seconds(), count()
	r = Result{Scene: s.name, Control: control, Number: number, Lost: lab.Lost(), Subflows: len(ours.conn.Subflows())}
	for i := range after {
		rate := (after[i] - before[i]) * 8 / 1e6 / took
		if i == 0 {
			r.Ours = rate
		} else {
			r.Rivals = append(r.Rivals, rate)
		}
	}
	return r, ours.failure()
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// transfer is a connection of ours from client to server, with data without end.
type transfer struct {
	client, server *mptcp.Stack
	conn           *mptcp.Conn
	received       atomic.Int64
	work           sync.WaitGroup
	closing        atomic.Bool
	failed         atomic.Pointer[error]
}

func startOurs(ctx context.Context, lab *testenv.Lab, manager, control string) (t *transfer, err error) {
	t = new(transfer)
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	makeManager, err := pathmgr.New(manager)
	if err != nil {
		return t, err
	}
	congestion, err := cc.New(control)
	if err != nil {
		return t, err
	}
	cfg := mptcp.Config{PathManager: makeManager, Congestion: congestion}
	for _, end := range []struct {
		host  *testenv.Host
		stack **mptcp.Stack
	}{{lab.Server, &t.server}, {lab.Client, &t.client}} {
		if err := end.host.Do(func() (err error) {
			*end.stack, err = mptcp.NewRaw(cfg)
			return err
		}); err != nil {
			return t, err
		}
	}
	ln, err := t.server.Listen("tcp4", fmt.Sprintf(":%d", ourPort))
	if err != nil {
		return t, err
	}
	t.work.Go(func() {
		c, err := ln.AcceptContext(ctx)
		if err != nil {
			t.fail(err)
			return
		}
		b := make([]byte, 256<<10)
		for {
			n, err := c.Read(b)
			t.received.Add(int64(n))
			if err != nil {
				t.fail(err)
				return
			}
		}
	})
	t.conn, err = t.client.Dial(ctx, "tcp4", netip.AddrPortFrom(lab.Server.Addr(linkName(0), 4), ourPort).String())
	if err != nil {
		return t, err
	}
	t.work.Go(func() {
		_, err := io.Copy(t.conn, testenv.RandomStream(1))
		t.fail(err)
	})
	return t, nil
}

// fail keeps the first error, unless the end is ours.
func (t *transfer) fail(err error) {
	if err != nil && !t.closing.Load() {
		t.failed.CompareAndSwap(nil, &err)
	}
}

func (t *transfer) failure() error {
	if err := t.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (t *transfer) close() (err error) {
	t.closing.Store(true)
	if t.conn != nil {
		_ = t.conn.Abort()
	}
	for _, s := range []*mptcp.Stack{t.client, t.server} {
		if s != nil {
			err = errors.Join(err, s.Close())
		}
	}
	t.work.Wait()
	return err
}
