package mptcp

import "time"

// share divides what a device holds of arrived packets among the connections that
// packets come to. Together their windows stay below it: what does not fit is lost
// on this host, after the network has carried it.
type share struct {
	holds     int  // octets; 0: no bound
	second    Time // the present one, counted from 1
	now, last int  // connections heard in it, and in the one before
}

// shareOut tells a connection that packets came to of its share. c.mu is held.
func (r *reader) shareOut(c *Conn) {
	s := &r.share
	if s.holds == 0 {
		return
	}
	if second := 1 + r.now/Time(time.Second); second != s.second {
		s.last = s.now
		if second != s.second+1 {
			s.last = 0
		}
		s.second, s.now = second, 0
	}
	if c.heard != s.second {
		c.heard = s.second
		s.now++
	}
	c.core.ShareWindow(s.holds / max(s.now, s.last))
}
