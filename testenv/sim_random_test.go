package testenv

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/trace"
	"github.com/mpnc/mpnc/mptcp/engine"
	"github.com/mpnc/mpnc/scheduler"
	"github.com/mpnc/mpnc/subflow/cc"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "replay the one simulation with this seed, with its trace")
	simCount = flag.Int("sim.count", 0, "how many seeded simulations to run; 0: 300, with -short 200, with MPNC_FULL 20,000")
	simFirst = flag.Uint64("sim.first", 1, "the first seed of those to run")
	simFor   = flag.Duration("sim.for", 0, "run seeds from the first on for so long, whatever their number and however many fail")
)

// plan is one random scenario.
type plan struct {
	seed     uint64
	cfg      SimConfig
	sizes    [2]int
	trains   bool
	fallback bool
	slow     bool
	holds    bool
	events   []planned
	last     mono.Time // of the last event
	conn     *SimConn  // A's, while it runs
}

type planned struct {
	at   mono.Time
	what string
	do   func(*Sim)
}

// makePlan draws a scenario. The kinds that have to occur often enough are
// picked by the seed's remainder, everything else by its generator.
func makePlan(seed uint64) *plan {
	r := rand.New(rand.NewPCG(seed, 0x6d706e63))
	p := &plan{seed: seed}
	p.trains = seed%3 == 0
	p.fallback = seed%13 == 7
	p.holds = seed%13 == 5
	p.slow = seed%11 == 3
	n := 1 + r.IntN(3)
	if p.fallback {
		n = 1
	}
	for range n {
		p.cfg.Links = append(p.cfg.Links, SimLink{There: randomLink(r), Back: randomLink(r)})
	}
	p.cfg.Seed = seed
	p.cfg.IPv6 = r.IntN(3) == 0
	if p.trains {
		p.cfg.MaxTrain = 65000
		p.cfg.Merge = r.IntN(2) == 0
	}
	if lanes := rand.New(rand.NewPCG(seed, 0x6c616e65)); lanes.IntN(4) == 0 {
		p.planLanes(lanes)
	}
	p.sizes = [2]int{256<<10 + r.IntN(128<<10), 256<<10 + r.IntN(128<<10)}
	p.cfg.Engine = p.engines(r)
	switch {
	case p.holds:
		p.planHold(r)
	case seed%2 == 0:
		p.planDeaths(r)
	case seed%8 != 1:
		p.planTrouble(r)
	}
	return p
}

func randomLink(r *rand.Rand) LinkConfig {
	c := LinkConfig{
		Rate:      1e6 * float64(int(1)<<r.IntN(7)),
		Delay:     time.Duration(1+r.IntN(100)) * time.Millisecond,
		Loss:      []float64{0, 0, 0.001, 0.01, 0.05}[r.IntN(5)],
		Reorder:   []float64{0, 0, 0.02}[r.IntN(3)],
		Duplicate: []float64{0, 0, 0.02}[r.IntN(3)],
	}
	if r.IntN(3) == 0 {
		c.Jitter = c.Delay / 4
	}
	return c
}

// planLanes gives the hosts fast lanes, which may not work, or not for long. It has
// a generator of its own, so that the seeds' networks stay what they were.
func (p *plan) planLanes(r *rand.Rand) {
	p.cfg.Lanes = []SimLanes{LanesWork, LanesUnseen, LanesTranslated}[r.IntN(3)]
	p.cfg.MaxTrain = 65000
	if p.cfg.Lanes == LanesWork {
		p.add(time.Duration(r.IntN(2000))*time.Millisecond, "lanes unseen from now on", func(s *Sim) {
			s.A.SetLanes(LanesUnseen)
			s.B.SetLanes(LanesUnseen)
		})
	}
}

// keepsAlive reports whether the ends ask a silent peer whether it is there.
func (p *plan) keepsAlive() bool { return p.seed%2 == 1 && !p.fallback }

func (p *plan) engines(r *rand.Rand) func(string, *engine.Config) {
	plainHost := ""
	box := 0
	if p.fallback {
		plainHost = []string{"A", "B", ""}[r.IntN(3)]
		if plainHost == "" {
			box = 1 + r.IntN(3)
			p.strip(box)
		}
	}
	keepAlive := p.keepsAlive()
	roundRobin := r.IntN(3) == 0
	reno := r.IntN(3) == 0
	small := p.slow
	return func(name string, c *engine.Config) {
		c.TCPOnly = name == plainHost
		if keepAlive { // who only listens behind a NAT that forgot it must say something
			c.KeepAlive, c.KeepAliveInterval = 20*time.Second, 5*time.Second
		}
		if roundRobin {
			c.Scheduler = scheduler.NewRoundRobin
		}
		if reno {
			c.CC = cc.NewReno
		}
		if small {
			c.RecvBuffer = 48 << 10
		}
	}
}

// strip puts a middlebox that removes MPTCP options on the only path.
func (p *plan) strip(box int) {
	where := []Where{InSYN, InSYNACK, InRest}[box-1]
	p.cfg.Links[0].There.Middlebox = StripMPTCP(where)
	p.cfg.Links[0].Back.Middlebox = StripMPTCP(where)
}

func (p *plan) add(at time.Duration, what string, do func(*Sim)) {
	p.events = append(p.events, planned{mono.Time(at), what, do})
	p.last = max(p.last, mono.Time(at))
}

// planDeaths: paths go silent, interfaces go down, addresses go, and all come
// back.
func (p *plan) planDeaths(r *rand.Rand) {
	for range 1 + r.IntN(3) {
		at := time.Duration(100+r.IntN(3000)) * time.Millisecond
		back := at + time.Duration(10+r.IntN(4000))*time.Millisecond
		i := r.IntN(len(p.cfg.Links))
		kind := r.IntN(4)
		if p.fallback {
			kind = r.IntN(2)
		}
		switch kind {
		case 0:
			p.add(at, fmt.Sprintf("path %d silent", i), func(s *Sim) { s.SetSilent(i, true) })
			p.add(back, fmt.Sprintf("path %d back", i), func(s *Sim) { s.SetSilent(i, false) })
		case 1:
			p.add(at, fmt.Sprintf("A interface %d down", i), func(s *Sim) { s.A.SetInterface(i, false) })
			p.add(back, fmt.Sprintf("A interface %d up", i), func(s *Sim) { s.A.SetInterface(i, true) })
		case 2:
			p.add(at, fmt.Sprintf("B interface %d down", i), func(s *Sim) { s.B.SetInterface(i, false) })
			p.add(back, fmt.Sprintf("B interface %d up", i), func(s *Sim) { s.B.SetInterface(i, true) })
		case 3:
			p.changeAddr(at, back, i, byte(10+r.IntN(200)))
		}
	}
}

// changeAddr takes A's address i away and gives it another one later.
func (p *plan) changeAddr(at, back time.Duration, i int, last byte) {
	p.add(at, fmt.Sprintf("A address %d gone", i), func(s *Sim) { s.A.SetAddr(i, netip.Addr{}) })
	p.add(back, fmt.Sprintf("A address %d new", i), func(s *Sim) {
		b := s.B.Addr(i).AsSlice()
		b[len(b)-1] = last
		a, _ := netip.AddrFromSlice(b)
		s.A.SetAddr(i, a)
	})
}

// planHold: every path is gone for longer than a minute.
func (p *plan) planHold(r *rand.Rand) {
	at := time.Duration(60+r.IntN(150)) * time.Millisecond
	back := at + time.Duration(65+r.IntN(300))*time.Second
	kind := r.IntN(3)
	for i := range p.cfg.Links {
		switch {
		case kind == 0 || p.fallback:
			p.add(at, "all silent", func(s *Sim) { s.SetSilent(i, true) })
			p.add(back, "all back", func(s *Sim) { s.SetSilent(i, false) })
		case kind == 1:
			p.add(at, "A down", func(s *Sim) { s.A.SetInterface(i, false) })
			p.add(back, "A up", func(s *Sim) { s.A.SetInterface(i, true) })
		default:
			p.changeAddr(at, back, i, byte(20+i))
		}
	}
}

// outcome is what a simulation showed.
type outcome struct {
	hash   uint64
	counts [nCounts]int
	took   time.Duration // in virtual time
	late   time.Duration // of the end, after the last event
	most   int           // records that a connection kept
	err    string
}

// What has to have occurred often enough in the whole set.
const (
	countRTO = iota
	countTLP
	countReinjection
	countRejoin
	countFallback
	countZeroWindow
	countDataFin
	countHold
	countLane
	nCounts
)

var countNames = [nCounts]string{"RTO", "tail-loss probe", "reinjection", "re-join", "fallback",
	"zero window", "lost DATA_FIN", "hold over 60 s", "fast lane"}

// maxRecords is what no connection may keep of these streams, in ranges,
// mappings and the like: some hundred are in flight at most.
const maxRecords = 2000

// run plays the plan once.
func (p *plan) run(tracer trace.Tracer, log func(string, ...any)) outcome {
	p.cfg.Tracer = tracer
	s := NewSim(p.cfg)
	laws := watchWindows(s)
	a := &SimStream{Seed: p.seed*2 + 1, PeerSeed: p.seed*2 + 2, Size: p.sizes[0], PeerSize: p.sizes[1]}
	b := &SimStream{Seed: p.seed*2 + 2, PeerSeed: p.seed*2 + 1, Size: p.sizes[1], PeerSize: p.sizes[0]}
	if p.slow {
		a.Hold, b.Hold = pauses(p.seed, p.last), pauses(p.seed+1, p.last)
	}
	s.B.Listen(9000)
	conn := s.A.Dial(0, 0, 9000, a.App)
	p.conn = conn
	s.B.Accepted = func(c *SimConn) {
		c.App = b.App
		// The plan's times count from the end of the handshake.
		for _, e := range p.events {
			s.At(s.Now()+e.at, func() {
				if log != nil {
					log("%v: %s", time.Duration(s.Now()), e.what)
				}
				e.do(s)
			})
		}
	}
	most := 0
	var weigh func()
	weigh = func() {
		for _, h := range []*SimHost{s.A, s.B} {
			for _, c := range h.Conns {
				most = max(most, c.Core.Records())
			}
		}
		s.At(s.Now().Add(100*time.Millisecond), weigh)
	}
	weigh()
	// Once the network is as it was, a timeout of a minute may be running, and
	// what it sends be lost, even some times.
	limit := p.last.Add(6 * time.Minute)
	done := func() bool {
		if !a.Done() || !b.Done() {
			return false
		}
		// A host that has everything waits for its peer to know that, but not for
		// as long as an outage may last.
		return conn.Core.Flushed() && s.B.Conns[0].Core.Done() || conn.Gone() || s.B.Conns[0].Gone()
	}
	finished := s.Run(limit, done)
	var o outcome
	o.hash = s.Hash()
	o.most = most
	o.took = s.Now().Sub(0)
	o.late = s.Now().Sub(p.last)
	o.count(s)
	switch {
	case len(s.Violations()) > 0:
		o.err = strings.Join(s.Violations(), "\n")
	case a.Err != nil || b.Err != nil:
		o.err = fmt.Sprintf("A: %v, B: %v", a.Err, b.Err)
	case !finished:
		o.err = fmt.Sprintf("stalled: A sent %d received %d of %d ended %v, B sent %d received %d of %d ended %v",
			a.Sent, a.Received, a.PeerSize, a.Ended, b.Sent, b.Received, b.PeerSize, b.Ended)
	case most > maxRecords:
		o.err = fmt.Sprintf("a connection kept %d records", most)
	case len(laws.broken) > 0:
		o.err = strings.Join(laws.broken, "\n")
	}
	if log != nil {
		log("ended at %v, %v after the last event; %d records at most", time.Duration(s.Now()), o.late, o.most)
		for _, h := range []*SimHost{s.A, s.B} {
			for _, c := range h.Conns {
				log("%s: %+v", h.Name, c.Core.Stats())
			}
		}
	}
	return o
}

// pauses is a slow application: now and then it reads nothing for a while.
func pauses(seed uint64, _ mono.Time) func(mono.Time) mono.Time {
	r := rand.New(rand.NewPCG(seed, 7))
	until := mono.Time(0).Add(time.Duration(r.IntN(800)) * time.Millisecond)
	left := 4
	return func(now mono.Time) mono.Time {
		if now >= until && left > 0 && r.IntN(40) == 0 {
			left--
			until = now.Add(time.Duration(200+r.IntN(2000)) * time.Millisecond)
		}
		return until
	}
}

func (o *outcome) count(s *Sim) {
	for _, h := range []*SimHost{s.A, s.B} {
		for _, c := range h.Conns {
			st := c.Core.Stats()
			o.add(countReinjection, st.Reinjections > 0)
			o.add(countFallback, st.Fallback != engine.NoFallback && st.Fallback != engine.Configured)
			o.add(countDataFin, st.DataFinRetrans > 0)
			o.add(countHold, st.Held > time.Minute)
			ups := 0
			for _, f := range st.Subflows {
				o.add(countRTO, f.RTOs > 0)
				o.add(countTLP, f.TLPs > 0)
				o.add(countZeroWindow, f.ZeroWindows > 0)
				o.add(countLane, s.A.lanes != NoLanes && f.Trains > 0)
				if f.Up && f.Active {
					ups++
				}
			}
			o.add(countRejoin, ups > 1 && len(s.A.ports) < ups)
		}
	}
}

func (o *outcome) add(what int, yes bool) {
	if yes {
		o.counts[what] = 1
	}
}

// simulations is how many seeds to run: always the same, for a network that
// nobody has seen yet may be one that no transport survives; the full run has
// those.
func simulations(t testing.TB) int {
	_, rotates := rotation(t)
	switch {
	case *simFor > 0:
		return math.MaxInt
	case *simCount > 0:
		return *simCount
	case full():
		return 20_000
	case testing.Short():
		return 200
	case rotates:
		return 1000
	}
	return 300
}

// TestSimulations: whole stacks over random networks (the laws of the design):
// streams equal, no stall, every seed replayable.
func TestSimulations(t *testing.T) {
	if *simSeed != 0 {
		p := makePlan(*simSeed)
		o := p.run(nil, t.Logf)
		if o.err != "" {
			t.Fatalf("seed %d: %s", *simSeed, o.err)
		}
		return
	}
	count := simulations(t)
	began := time.Now()
	var (
		totals  [nCounts]atomic.Int64
		virtual atomic.Int64
		next    atomic.Int64
		failed  atomic.Int64
		wg      sync.WaitGroup
	)
	ends := func() bool {
		if *simFor > 0 {
			return time.Since(began) > *simFor
		}
		return failed.Load() > 5
	}
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !ends() {
				i := int(next.Add(1)) - 1
				if i >= count {
					return
				}
				seed := *simFirst + uint64(i)
				o := makePlan(seed).run(nil, nil)
				if again := makePlan(seed).run(nil, nil); o.err == "" && again.hash != o.hash {
					o.err = fmt.Sprintf("replay: hash %x, then %x", o.hash, again.hash)
				}
				if o.err != "" {
					failed.Add(1)
					t.Errorf("seed %d: %s\nreplay: go test ./testenv -run TestSimulations -sim.seed %d -v", seed, o.err, seed)
				}
				virtual.Add(int64(o.took))
				for i, n := range o.counts {
					totals[i].Add(int64(n))
				}
				if done := i + 1; done%1000 == 0 {
					t.Logf("%d seeds, %v, in virtual time %v", done, time.Since(began).Round(time.Second), time.Duration(virtual.Load()).Round(time.Second))
				}
			}
		})
	}
	wg.Wait()
	count = min(count, int(next.Load()))
	t.Logf("%d seeds from %d on, %v of virtual time", count, *simFirst, time.Duration(virtual.Load()).Round(time.Second))
	for i := range totals {
		t.Logf("%-16s in %4d of %d simulations", countNames[i], totals[i].Load(), count)
		if want := int64(count) / 20; totals[i].Load() < want {
			t.Errorf("%s occurred in %d simulations, want %d at least", countNames[i], totals[i].Load(), want)
		}
	}
}
