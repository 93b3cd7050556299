package subflow

import (
	"time"

	"github.com/mpnc/mpnc/subflow/cc"
)

const (
	maxWScale    = 14 // RFC 7323, Section 2.3
	tcpHeader    = 20
	maxOptions   = 40
	maxHeaders   = 40 + tcpHeader + maxOptions // IPv6, the larger
	defaultMTU   = 1500
	leastMTU     = 256 // below it the arithmetic of options would not hold
	leastPeerMSS = 88  // likewise; no path is that narrow, but a SYN can say so
)

// LeastMSS and MostMSS bound Config.MSS: below, the options of Multipath TCP
// leave no room; above, no packet holds it.
const (
	LeastMSS = leastPeerMSS
	MostMSS  = 65535 - 20 - tcpHeader
)

// fill replaces zero values by the defaults.
func (c *Config) fill() {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	set(&c.MinRTO, 200*time.Millisecond)
	set(&c.MaxRTO, 60*time.Second)
	set(&c.AckDelay, 40*time.Millisecond)
	set(&c.TimeWait, 60*time.Second)
	set(&c.KeepAliveInterval, keepAliveInterval)
	if c.KeepAliveCount == 0 {
		c.KeepAliveCount = keepAliveCount
	}
	if c.MTU == 0 {
		c.MTU = defaultMTU
	}
	c.MTU = max(c.MTU, leastMTU)
	if c.MSS != 0 {
		c.MSS = min(max(c.MSS, LeastMSS), MostMSS)
	}
	c.WScale = min(c.WScale, maxWScale)
	if c.SynRetries == 0 {
		c.SynRetries = 7 // 255 s: "at least 3 minutes" (RFC 9293, Section 3.8.3, MUST-23)
	}
	if c.Controller == nil {
		c.Controller = cc.NewCUBIC
	}
}
