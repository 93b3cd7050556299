package engine

import (
	"time"

	"github.com/mpnc/mpnc/internal/wire"
)

// The TCP User Timeout Option (RFC 5482). Of its variables, ENABLED is
// Config.UserTimeoutOption, ADV_UTO is Config.UserTimeout or else Hold, and
// CHANGEABLE is whether Config.UserTimeout is zero: "If an application explicitly
// sets the USER_TIMEOUT, CHANGEABLE MUST become false" (Section 3). What changes
// then is how long the connection is held.
const (
	leastUserTimeout = 100 * time.Second // L_LIMIT: "at least 100 seconds" (Section 3.1), and more than any RTO
	mostUserTimeout  = 4 * time.Hour     // U_LIMIT: for a peer may only ask
)

// tellUserTimeout is ADV_UTO, or 0 if the option is not enabled.
func (c *Conn) tellUserTimeout() time.Duration {
	switch {
	case !c.cfg.UserTimeoutOption:
		return 0
	case c.cfg.UserTimeout > 0:
		return c.cfg.UserTimeout
	}
	return c.cfg.Hold
}

// onUserTimeout acts on a user timeout option. "USER_TIMEOUT = min(U_LIMIT,
// max(ADV_UTO, REMOTE_UTO, L_LIMIT))" (RFC 5482, Section 3.1).
func (c *Conn) onUserTimeout(s *wire.Segment) {
	told := wire.ParseUserTimeout(s.Opt.UserTimeout)
	if told == 0 || !c.cfg.UserTimeoutOption { //spec:T74 off: if told == 0 {
		return
	}
	c.stats.PeerUserTimeout = told
	if c.cfg.UserTimeout > 0 { //spec:T74 off: if false {
		return
	}
	c.hold = min(max(mostUserTimeout, c.cfg.Hold), max(c.cfg.Hold, told, leastUserTimeout)) //spec:T74 off: c.hold = told
	for _, p := range c.paths {
		p.sf.SetKeepAlive(c.keepAlive())
	}
}

// keepAlive is Config.KeepAlive; but "if a connection that enables keep-alives is
// also using the TCP User Timeout Option, then the keep-alive timer MUST be set
// to a value larger than that of the adopted USER TIMEOUT" (RFC 5482, Section 4.2).
func (c *Conn) keepAlive() time.Duration {
	d := c.cfg.KeepAlive
	switch {
	case d <= 0 || !c.cfg.UserTimeoutOption:
		return d
	case c.cfg.UserTimeout > 0:
		return max(d, c.cfg.UserTimeout+time.Second)
	}
	return max(d, c.hold+time.Second) //spec:T74 off: return d
}
