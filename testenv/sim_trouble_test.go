package testenv

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
)

// trouble draws what a bad network, or a laptop's lid, does to a connection:
// a few kinds at once, each for a while.
type trouble struct {
	p    *plan
	r    *rand.Rand
	nats []*RebindingNAT // by link, of A's side
	// plain: the only path may become plain TCP, which no NAT may forget. On one
	// path of several the ends may not agree on that, and the connection fails.
	plain bool
}

// planTrouble adds troubles to a plan whose links are drawn.
func (p *plan) planTrouble(r *rand.Rand) {
	tr := &trouble{p: p, r: r}
	p.cfg.Damaged = true
	if !p.fallback {
		tr.plain = len(p.cfg.Links) == 1 && r.IntN(2) == 0
		tr.addNATs()
	}
	for range 1 + r.IntN(4) {
		tr.add()
	}
}

// addNATs puts a NAT before A on every path. What a middlebox does afterwards
// it does behind it, on B's side.
func (tr *trouble) addNATs() {
	for i := range tr.p.cfg.Links {
		l := &tr.p.cfg.Links[i]
		n := NewRebindingNAT(simAddr(i, 100, tr.p.cfg.IPv6))
		tr.nats = append(tr.nats, n)
		l.There.Middlebox, l.Back.Middlebox = n.Out, n.In
	}
}

// box puts a middlebox behind the NAT of a path, or takes it away (nil).
func (tr *trouble) box(s *Sim, i int, box Middlebox) {
	there, back := box, box
	if tr.nats != nil {
		there, back = tr.nats[i].Out, tr.nats[i].In
		if box != nil {
			there, back = Chain(there, box), Chain(box, back)
		}
	}
	a, b := s.Link(i)
	a.Set(s.Now(), func(c *LinkConfig) { c.Middlebox = there })
	b.Set(s.Now(), func(c *LinkConfig) { c.Middlebox = back })
}

// change changes both directions of a path for a while. They are as the plan
// has them then, even if another change has begun meanwhile: the end of that one
// must not bring this one back for good.
func (tr *trouble) change(i int, at, until time.Duration, what string, change func(*LinkConfig)) {
	tr.p.add(at, fmt.Sprintf("path %d: %s", i, what), func(s *Sim) {
		a, b := s.Link(i)
		a.Set(s.Now(), change)
		b.Set(s.Now(), change)
	})
	tr.p.add(until, fmt.Sprintf("path %d: no more %s", i, what), func(s *Sim) {
		a, b := s.Link(i)
		restore := func(l *Link, was LinkConfig) {
			l.Set(s.Now(), func(c *LinkConfig) {
				c.Rate, c.Delay, c.Reorder, c.ReorderBy, c.Duplicate = was.Rate, was.Delay, 0, 0, 0
			})
		}
		restore(a, tr.p.cfg.Links[i].There)
		restore(b, tr.p.cfg.Links[i].Back)
	})
}

func (tr *trouble) ms(from, to int) time.Duration {
	return time.Duration(from+tr.r.IntN(to-from)) * time.Millisecond
}

// add draws one trouble.
func (tr *trouble) add() {
	p, r := tr.p, tr.r
	at := tr.ms(0, 1500)
	until := at + tr.ms(100, 4000)
	i := r.IntN(len(p.cfg.Links))
	switch r.IntN(9) {
	case 0:
		share := []float64{0.01, 0.1, 0.4}[r.IntN(3)]
		box := FlipBits(share, r.Uint64())
		p.add(at, fmt.Sprintf("path %d damages %v of all packets", i, share), func(s *Sim) { tr.box(s, i, box) })
		p.add(until, fmt.Sprintf("path %d damages nothing more", i), func(s *Sim) { tr.box(s, i, nil) })
	case 1:
		tr.rebind(i, at)
	case 2:
		by := tr.ms(100, 3000)
		tr.change(i, at, until, fmt.Sprint("delay grows by ", by), func(c *LinkConfig) { c.Delay += by })
	case 3:
		tr.change(i, at, until, "duplicates", func(c *LinkConfig) { c.Duplicate = 0.5 })
	case 4:
		by := tr.ms(5, 300)
		tr.change(i, at, until, fmt.Sprint("disorder of ", by), func(c *LinkConfig) { c.Reorder, c.ReorderBy = 0.3, by })
	case 5:
		tr.change(i, at, until, "a tenth of the rate", func(c *LinkConfig) { c.Rate /= 10 })
	case 6:
		tr.outage(i, at)
	case 7:
		tr.strips(i, at, until)
	case 8:
		tr.suspends(at)
	}
}

// rebind: the NAT forgets, and has another address afterwards, or the same.
func (tr *trouble) rebind(i int, at time.Duration) {
	if tr.nats == nil || tr.plain {
		return // the end of a plain TCP connection
	}
	n, host := tr.nats[i], 101+tr.r.IntN(20)
	same := tr.r.IntN(2) == 0
	tr.p.add(at, fmt.Sprintf("the NAT of path %d forgets, same address %v", i, same), func(*Sim) {
		if st := tr.p.conn.Core.Stats(); !st.Multipath || st.BytesAcked+st.BytesRead == 0 {
			return // plain TCP does not survive it, nor one whose peer was not heard yet (RFC 8684, Section 3.1)
		}
		if same {
			n.Rebind(n.Outside())
		} else {
			n.Rebind(simAddr(i, host, tr.p.cfg.IPv6))
		}
	})
}

// outage: half a minute of nothing, on one path or on all.
func (tr *trouble) outage(i int, at time.Duration) {
	until := at + tr.ms(20_000, 40_000)
	all := tr.r.IntN(2) == 0
	for j := range tr.p.cfg.Links {
		if all || j == i {
			tr.p.add(at, fmt.Sprintf("path %d silent", j), func(s *Sim) { s.SetSilent(j, true) })
			tr.p.add(until, fmt.Sprintf("path %d back", j), func(s *Sim) { s.SetSilent(j, false) })
		}
	}
}

// strips: a middlebox appears that does not let MPTCP through, or only no new
// subflows, and goes again.
func (tr *trouble) strips(i int, at, until time.Duration) {
	if tr.p.fallback {
		return
	}
	kind := 1 + tr.r.IntN(2)
	if tr.plain {
		kind = 0
	}
	name := []string{"strips all options", "strips the options of SYNs", "drops joins"}[kind]
	box := []Middlebox{StripMPTCP(Everywhere), StripMPTCP(InSYN | InSYNACK), DropMPTCP(InSYN | InSYNACK)}[kind]
	tr.p.add(at, fmt.Sprintf("path %d %s", i, name), func(s *Sim) { tr.box(s, i, box) })
	tr.p.add(until, fmt.Sprintf("path %d strips and drops nothing more", i), func(s *Sim) { tr.box(s, i, nil) })
}

// suspends: a host's lid is closed for seconds or ten minutes.
func (tr *trouble) suspends(at time.Duration) {
	d := []time.Duration{tr.ms(500, 5000), time.Minute, 10 * time.Minute}[tr.r.IntN(3)]
	if tr.p.keepsAlive() {
		// Where options vanish, too, it may be TCP by then, which rightly gives up
		// a peer that does not answer for so long.
		d = min(d, 30*time.Second)
	}
	stands, server := tr.r.IntN(2) == 0, tr.r.IntN(2) == 0
	tr.p.add(at, fmt.Sprintf("server %v suspended for %v, its clock stands %v", server, d, stands), func(s *Sim) {
		h := s.A
		if server {
			h = s.B
		}
		h.Suspend(d, stands)
	})
	tr.p.last = max(tr.p.last, mono.Time(at+d))
}
