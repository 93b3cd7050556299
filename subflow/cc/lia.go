package cc

// lia is the Linked Increases Algorithm of RFC 6356.
type lia struct{}

// NewLIA returns a controller of RFC 6356 for a subflow with segments of mss
// octets: the subflows of a group together take what one TCP would take on the
// best of their paths, and more of it where there is less congestion. It is a
// Factory; a nil group is a group of one, which is Reno.
func NewLIA(g *Group, mss int) Controller { return newCoupled(g, mss, lia{}) }

// growth is equation 1 of RFC 6356, Section 3, for one segment acknowledged.
func (lia) growth(c *coupled) float64 {
	var total float64
	for _, m := range c.group.members {
		if o := memberOf(m); o != nil {
			total += o.load()
		}
	}
	own := float64(c.mss) / float64(c.now.cwnd)
	return min(c.group.linked()*float64(c.mss)/total, own) //spec:T81 off: return own
}

func (lia) threshold(c *coupled, n int) (octets, least int) { return halved(c, n) }

// linked returns alpha, equation 2 of RFC 6356, Section 3. It is computed when a
// window has changed by a segment, a loss has happened, or subflows have come or
// gone: "once per RTT", of which Section 4.1 has shown that it is enough.
func (g *Group) linked() float64 {
	if g.alpha > 0 { //spec:T82 off: if false {
		return g.alpha
	}
	var total, best, rate float64
	for _, m := range g.members {
		c := memberOf(m)
		if c == nil {
			continue
		}
		w := c.load()
		total += w
		best = max(best, w/(c.rtt*c.rtt)) //spec:T81 off: best = max(best, w/c.rtt)
		rate += w / c.rtt
	}
	g.alpha = total * best / (rate * rate)
	return g.alpha
}
