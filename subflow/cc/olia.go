package cc

// olia is the Opportunistic Linked Increases Algorithm of
// draft-khalili-mptcp-congestion-control.
type olia struct{}

// NewOLIA returns a controller of draft-khalili-mptcp-congestion-control for a
// subflow with segments of mss octets: as NewLIA, but paths with more loss than
// others are left nearly alone, and windows move towards the paths that lose
// least. It is a Factory; a nil group is a group of one, which is Reno.
func NewOLIA(g *Group, mss int) Controller { return newCoupled(g, mss, olia{}) }

// growth is the increase for one segment acknowledged (the draft, Section 2):
// (w/rtt²) / (Σ w/rtt)² keeps the group to what one TCP takes on the best path,
// and alpha/w shifts window between the paths.
func (olia) growth(c *coupled) float64 {
	var rate float64
	for _, m := range c.group.members {
		if o := memberOf(m); o != nil {
			rate += o.rate()
		}
	}
	mss := float64(c.mss)
	shared := mss * c.load() / (c.rtt * c.rtt) / (rate * rate) //spec:T83 off: shared := mss / float64(c.now.cwnd)
	return shared + c.shift()*mss/float64(c.now.cwnd)          //spec:T83 off: return shared
}

func (olia) threshold(c *coupled, n int) (octets, least int) { return n / 2, c.least() }

// shift is alpha of the draft. The best paths, those with the largest l²/rtt,
// that do not have the largest window yet gain what those with the largest
// window give; if all of the best have it, nobody does. Windows are compared in
// segments, for octets are hardly ever equal.
func (c *coupled) shift() float64 {
	var quality, window float64
	for _, m := range c.group.members {
		if o := memberOf(m); o != nil {
			quality = max(quality, o.quality())
			window = max(window, o.segments())
		}
	}
	var all, largest, collected float64 // |R|, |M|, |B\M|
	for _, m := range c.group.members {
		o := memberOf(m)
		if o == nil {
			continue
		}
		all++
		if o.segments() == window {
			largest++
		} else if o.quality() == quality {
			collected++
		}
	}
	switch {
	case collected == 0:
		return 0
	case c.segments() == window:
		return -1 / (all * largest)
	case c.quality() == quality:
		return 1 / (all * collected)
	}
	return 0
}

// quality is l²/rtt of the draft.
func (c *coupled) quality() float64 {
	l := c.run.longest()
	return l * l / c.rtt
}

func (c *coupled) segments() float64 { return float64(c.now.cwnd / c.mss) }
