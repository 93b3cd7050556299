package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// latencyPair measures how long responses take, one stack after the other.
func latencyPair(ctx context.Context, o options, p *Pair) error {
	c := latencyCell()
	return inTurn(p, func(ours bool, f *Flow) (err error) {
		*f, err = c.exchanges(ctx, o, ours, seed(c.Name, p.Number))
		return err
	})
}

// exchanges sends a request, awaits the response, and so on.
func (c Cell) exchanges(ctx context.Context, o options, ours bool, seed uint64) (f Flow, err error) {
	n, err := open(c, seed, echo)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	s, err := n.dial(ctx, ours)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	took := make([]float64, 0, o.requests)
	b := make([]byte, question)
	for range o.requests {
		start := time.Now()
		if _, err := s.Write(b); err != nil {
			return f, err
		}
		if _, err := io.ReadFull(s, b); err != nil {
			return f, err
		}
		took = append(took, time.Since(start).Seconds())
	}
	f = s.flow()
	f.Octets = uint64(len(took)) * question
	n.account(&f)
	slices.Sort(took)
	f.P50, f.P99, f.Max = took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
	return f, nil
}

// echo answers each request with a response of the same size.
func echo(conn net.Conn) {
	defer conn.Close()
	b := make([]byte, question)
	for {
		if _, err := io.ReadFull(conn, b); err != nil {
			return
		}
		if _, err := conn.Write(b); err != nil {
			return
		}
	}
}

// sharePair has both stacks send through one bottleneck at once. Who connects
// first, 100 ms before the other, alternates; each one's time is counted from
// the later's start.
func (c Cell) sharePair(ctx context.Context, o options, p *Pair) (err error) {
	var sinks [2]sink
	ports := newOrder(&sinks)
	n, err := open(c, seed(c.Name, p.Number), ports.serve)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	ctx, cancel := context.WithTimeout(ctx, o.shared+100*time.Millisecond)
	defer cancel()
	var senders [2]sender // the kernel's, ours
	defer func() {
		for _, s := range senders {
			if s != nil {
				err = errors.Join(err, s.Close())
			}
		}
	}()
	for k := range 2 {
		who := (k + p.Number) % 2
		watch, err := n.watch(o, fmt.Sprintf("%s-%d-%s", c.Name, p.Number, stackName(who == 1)))
		if err != nil {
			return err
		}
		ports.expect(who)
		if senders[who], err = n.dial(ctx, who == 1); err != nil {
			return err
		}
		n.work.Go(func() { pump(senders[who]) })
		n.work.Go(func() { watch(ctx, senders[who], &sinks[who]) })
		if err := ports.await(ctx); err != nil {
			return err
		}
		if k == 0 {
			time.Sleep(100 * time.Millisecond)
		}
	}
	start := [2]uint64{sinks[0].octets.Load(), sinks[1].octets.Load()}
	<-ctx.Done()
	for who, f := range []*Flow{&p.Kernel, &p.Mpnc} {
		*f = senders[who].flow()
		f.Octets = sinks[who].octets.Load() - start[who]
	}
	n.account(&p.Mpnc)
	return nil
}

// order tells connections apart by the order in which they come.
type order struct {
	sinks *[2]sink
	came  chan struct{}
	mu    sync.Mutex
	next  int
}

func newOrder(sinks *[2]sink) *order { return &order{sinks: sinks, came: make(chan struct{}, 2)} }

// expect says whose connection comes next.
func (o *order) expect(who int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next = who
}

func (o *order) serve(conn net.Conn) {
	o.mu.Lock()
	s := &o.sinks[o.next]
	o.mu.Unlock()
	o.came <- struct{}{}
	s.serve(conn)
}

func (o *order) await(ctx context.Context) error {
	select {
	case <-o.came:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("no connection arrived: %w", ctx.Err())
	}
}
