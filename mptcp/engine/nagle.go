package engine

import "github.com/mpnc/mpnc/internal/seq"

// The Nagle algorithm (RFC 9293, Section 3.7.4): "If there is unacknowledged
// data, then the sending TCP endpoint buffers all user data (regardless of the
// PSH bit) until the outstanding data has been acknowledged or until the TCP
// endpoint can send a full-sized segment". What is short is the end of the
// connection's data, not of a subflow's, so it is held here, before it is
// granted to a path.
//
// Of unacknowledged data only short segments count, as RFC 9293, Appendix A.3,
// suggests and the kernel does: of a write of a segment and a half the half
// does not wait for an acknowledgment that the peer delays, while of many small
// writes only the first is a segment of its own.

// SetNoDelay switches the Nagle algorithm off (true) or on. Initially it is as
// Config.NoDelay says.
func (c *Conn) SetNoDelay(off bool) { c.noDelay = off }

// offered is the end of the data that may be granted now: all, or whole
// segments or trains only. c.views are filled in.
func (c *Conn) offered() seq.Data {
	end := c.snd.End()
	if c.noDelay || c.tx.fin {
		return end
	}
	if held := c.corked(end.Sub(c.tx.next)); held > 0 {
		return end.Add(-held)
	}
	if !c.snd.Una().Less(c.tx.short) { //spec:T71 off: if true {
		return end
	}
	full := c.views[0].MSS
	for _, v := range c.views[1:] {
		full = min(full, v.MSS)
	}
	n := end.Sub(c.tx.next)
	return end.Add(-(n % full))
}

// corked is how many of n octets that wait are held back, for they do not fill a
// train and one is under way: where all paths that may be used have fast lanes and are
// short, that is what a full segment is elsewhere. c.views are filled in.
func (c *Conn) corked(n int) int {
	train, inFlight := 0, 0
	for _, v := range c.views {
		if v.Stale || v.Backup {
			continue
		}
		cork := c.pathByID(v.ID).sf.Cork()
		if cork == 0 {
			return 0
		}
		train = max(train, cork)
		inFlight += v.InFlight
	}
	if train == 0 || inFlight < train {
		return 0
	}
	return n % train
}

// noteShort remembers new data whose last segment is less than a full one.
func (c *Conn) noteShort(r seq.Range, mss int) {
	if r.Len()%mss != 0 {
		c.tx.short = r.To //spec:T71 off:
	}
}
