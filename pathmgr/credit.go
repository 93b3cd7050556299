package pathmgr

// credit limits how often the peer's word makes this host send a SYN to an
// address it never heard from: eight at once, then one a second. Otherwise a
// peer that advertises and withdraws addresses could aim joins at others
// (RFC 8684, Section 5). The zero value is full.
type credit struct {
	spent int
	at    Time // when spent was brought up to date
}

const maxCredit = 8

func (c *credit) refill(now Time) {
	n := int64(now.Sub(c.at) / MinBackoff)
	if c.spent == 0 || n >= int64(c.spent) {
		c.spent, c.at = 0, now
		return
	}
	if n > 0 {
		c.spent -= int(n)
		c.at += Time(n) * Time(MinBackoff)
	}
}

// take spends one attempt if there is one.
func (c *credit) take(now Time) bool {
	if c.refill(now); c.spent >= maxCredit {
		return false
	}
	c.spent++
	return true
}

// next returns when there will be an attempt to spend.
func (c *credit) next(now Time) Time {
	if c.refill(now); c.spent < maxCredit {
		return now
	}
	return c.at.Add(MinBackoff)
}
