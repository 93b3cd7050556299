package main

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"sync"
	"time"

	"github.com/mpnc/mpnc/testenv"
	"github.com/mpnc/mpnc/testenv/duel"
)

const (
	first  = "first"
	second = "second"
	// warmUp is how long a connection runs before its goodput is measured, and
	// before is for how long that is.
	warmUp = 2 * time.Second
	before = 1500 * time.Millisecond
	chunk  = 32 << 10
	// underWay is how long what left before a change of address may still arrive,
	// so that the silence begins only then.
	underWay = 3 * firstRTT
	// aftermath is how long after an event a silence may begin that counts as its
	// consequence. The one path that is left loses packets of its own now and then,
	// for it fills its queue: each time the stream waits for a round trip with a full
	// queue, here 120 ms, whatever became of the other path.
	aftermath = 500 * time.Millisecond
)

// run is a connection in a lab.
type run struct {
	c    *Case
	lab  *testenv.Lab
	ours bool
	seed uint64

	*duel.Pair
	work     sync.WaitGroup
	arrivals arrivals
}

func (c *Case) measure(ctx context.Context, ours bool, seed uint64) (s Sample, err error) {
	r := &run{c: c, ours: ours, seed: seed}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.open(ctx); err != nil {
		return s, err
	}
	if c.Kind == requests {
		return r.requests(ctx)
	}
	return r.bulk(ctx)
}

func (c *Case) links() (links []testenv.LabLink) {
	for i, l := range []testenv.LabLink{{Name: first, Rate: rate, RTT: firstRTT}, {Name: second, Rate: rate, RTT: secondRTT}} {
		if c.Only != 0 && c.Only != i+1 {
			continue
		}
		if c.Shaky {
			l.Jitter, l.Loss = 30*time.Millisecond, 0.01
		}
		links = append(links, l)
	}
	return links
}

// open makes the lab and the connection.
func (r *run) open(ctx context.Context) (err error) {
	if r.lab, err = testenv.NewLab(testenv.LabConfig{Links: r.c.links(), Seed: r.seed + 1}); err != nil {
		return err
	}
	cfg := duel.Config{Lab: r.lab, Mesh: true, Stack: duel.KernelMPTCP}
	if r.ours {
		cfg.Stack = duel.Mpnc
	}
	if r.c.Backup {
		cfg.Manager = "backup"
	}
	r.Pair, err = duel.Open(ctx, cfg)
	return err
}

// close ends everything at once.
func (r *run) close() (err error) {
	if r.Pair != nil {
		err = r.Pair.Close()
	}
	r.work.Wait()
	if r.lab != nil {
		err = errors.Join(err, r.lab.Close())
	}
	return err
}

// happen lets the case's event happen, and returns when what it asks for is there.
func (r *run) happen() error {
	link := r.lab.Client.Links()[0]
	switch r.c.Event {
	case silentLoss:
		return r.lab.SetSilent(link, testenv.BothWays, true)
	case linkSender:
		return r.lab.Client.SetUp(link, false)
	case linkReceiver:
		return r.lab.Server.SetUp(link, false)
	case addrRemoved:
		return r.removeAddr(link)
	case addrChanged:
		if err := r.removeAddr(link); err != nil {
			return err
		}
		time.Sleep(r.c.Gap)
		return r.newAddr(link)
	}
	return nil
}

// removeAddr takes the client's address; the kernel's path manager is told, as
// whoever manages the network would.
func (r *run) removeAddr(link string) error {
	err := r.lab.Client.RemoveAddr(link, r.lab.Client.Addr(link, 4))
	if err != nil || r.ours {
		return err
	}
	return r.lab.Client.RemoveEndpoint(1)
}

func (r *run) newAddr(link string) error {
	b := r.lab.Server.Addr(link, 4).As4()
	b[3] = 77
	a := netip.PrefixFrom(netip.AddrFrom4(b), 24)
	if err := r.lab.Client.AddAddr(link, a); err != nil || r.ours {
		return err
	}
	return r.lab.Client.AddEndpoint(testenv.Endpoint{Addr: a.Addr(), Link: link, ID: 1, Subflow: true, FullMesh: true})
}

// arrivals are when how much has arrived.
type arrivals struct {
	mu    sync.Mutex
	times []time.Time
	sums  []uint64
}

func (a *arrivals) add(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	sum := uint64(n)
	if k := len(a.sums); k > 0 {
		sum += a.sums[k-1]
	}
	a.times, a.sums = append(a.times, now), append(a.sums, sum)
}

func (a *arrivals) total() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.sums) == 0 {
		return 0
	}
	return a.sums[len(a.sums)-1]
}

// silence is the longest time without an arrival that begins within a time after
// from, and later the longest of those that begin after that.
func (a *arrivals) silence(from time.Time, within time.Duration) (longest, later time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	last := from
	for _, t := range append(a.times[:len(a.times):len(a.times)], time.Now()) {
		if t.Before(from) {
			continue
		}
		if last.Sub(from) <= within {
			longest = max(longest, t.Sub(last))
		} else {
			later = max(later, t.Sub(last))
		}
		last = t
	}
	return longest, later
}

// bulk sends from the client to the server, and lets the event happen.
func (r *run) bulk(ctx context.Context) (s Sample, err error) {
	r.work.Go(func() {
		b := make([]byte, chunk)
		for {
			if _, err := r.Client.Write(b); err != nil {
				return
			}
		}
	})
	r.work.Go(func() {
		b := make([]byte, 4*chunk)
		for {
			n, err := r.Server.Read(b)
			if n > 0 {
				r.arrivals.add(n)
			}
			if err != nil {
				return
			}
		}
	})
	sleep(ctx, warmUp)
	sent0, got0 := r.Sent(), r.arrivals.total()
	sleep(ctx, before+time.Duration(r.seed)*37*time.Millisecond)
	sent1, got1, at := r.Sent(), r.arrivals.total(), time.Now()
	if err := r.happen(); err != nil {
		return s, err
	}
	there := time.Now()
	s.Before = float64(got1-got0) * 8 / (before + time.Duration(r.seed)*37*time.Millisecond).Seconds()
	sleep(ctx, r.c.Length)
	s.CopiesBefore = ratio(sent1-sent0, got1-got0)
	s.CopiesAfter = ratio(r.Sent()-sent1, r.arrivals.total()-got1)
	switch {
	case ctx.Err() != nil:
		return s, ctx.Err()
	case r.c.Event == addrChanged:
		s.Silence, s.Later = r.arrivals.silence(there, underWay)
	case r.c.Event != nothing:
		s.Silence, s.Later = r.arrivals.silence(at, aftermath)
	}
	return s, nil
}

func ratio(a, b uint64) float64 {
	if a == 0 || b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

const (
	requestSize  = 750
	requestEvery = 400 * time.Millisecond
)

// requests sends one every 400 ms, without waiting for the answer to the last,
// and lets the event happen somewhere between two.
func (r *run) requests(ctx context.Context) (s Sample, err error) {
	r.work.Go(func() { _, _ = io.Copy(r.Server, r.Server) })
	r.work.Go(func() {
		b := make([]byte, requestSize)
		for {
			if _, err := io.ReadFull(r.Client, b); err != nil {
				return
			}
			r.arrivals.add(1)
		}
	})
	n := int((warmUp + r.c.Length) / requestEvery)
	var asked []time.Time
	var eventErr error
	event := make(chan struct{})
	time.AfterFunc(warmUp+requestEvery*time.Duration(r.seed)/10, func() {
		eventErr = r.happen()
		close(event)
	})
	tick := time.NewTicker(requestEvery)
	defer tick.Stop()
	for range n {
		asked = append(asked, time.Now())
		if _, err := r.Client.Write(make([]byte, requestSize)); err != nil {
			return s, err
		}
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-tick.C:
		}
	}
	<-event
	sleep(ctx, time.Second)
	r.arrivals.mu.Lock()
	defer r.arrivals.mu.Unlock()
	for i, at := range asked {
		took := time.Since(at) // no answer
		if i < len(r.arrivals.times) {
			took = r.arrivals.times[i].Sub(at)
		}
		s.Silence = max(s.Silence, took)
	}
	return s, eventErr
}
