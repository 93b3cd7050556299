package cc

// balia is the Balanced Linked Adaptation of
// draft-walid-mptcp-congestion-control.
type balia struct{}

// NewBALIA returns a controller of draft-walid-mptcp-congestion-control for a
// subflow with segments of mss octets: between NewLIA and NewOLIA in how it
// treats other flows and how soon it notices that a path has become better. It
// is a Factory; a nil group is a group of one, which is Reno.
func NewBALIA(g *Group, mss int) Controller { return newCoupled(g, mss, balia{}) }

// growth is the increase for one segment acknowledged (the draft, Section 3.1):
// x/(rtt·(Σ x)²) · (1+alpha)/2 · (4+alpha)/5.
func (balia) growth(c *coupled) float64 {
	sum, best := c.group.rates()
	alpha := best / c.rate()
	x := float64(c.mss) * c.rate() / (c.rtt * sum * sum)
	return x * (1 + alpha) / 2 * (4 + alpha) / 5
}

// threshold takes half off on the best path and up to three quarters on the
// others: w/2 · min(alpha, 1.5).
func (balia) threshold(c *coupled, n int) (octets, least int) {
	alpha := 1.0
	if c.counts() {
		_, best := c.group.rates()
		alpha = min(best/c.rate(), 1.5)
	}
	return int(float64(n) * (1 - alpha/2)), c.least()
}

// rates returns the sum of the members' rates, and the largest.
func (g *Group) rates() (sum, best float64) {
	for _, m := range g.members {
		if o := memberOf(m); o != nil {
			sum += o.rate()
			best = max(best, o.rate())
		}
	}
	return sum, best
}
