package engine

import (
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/wire"
)

// There are two ways to end a connection at once (RFC 8684, Section 3.5): RSTs
// with MP_FASTCLOSE on all subflows, after which nothing is left to do; or the
// option on an ACK of one subflow and RSTs on the others (Config.FastCloseACK),
// which is repeated until the peer answers with a RST.

// maxCloses is how many ACKs with MP_FASTCLOSE leave: one, and the recommended
// number of repetitions.
const maxCloses = 4

// askClose sends MP_FASTCLOSE on an ACK.
func (c *Conn) askClose(now mono.Time) {
	c.closes++
	c.closer.sf.SendAcksFirst(1)
	c.closeAt = now.Add(c.closer.sf.RTO()) //spec:R5 off:
}

// fastCloseTimeout repeats it, and ends with a RST.
func (c *Conn) fastCloseTimeout(now mono.Time) {
	if c.closeAt > now {
		return
	}
	c.closeAt = mono.Never
	if c.closes < maxCloses {
		c.askClose(now)
		return
	}
	c.endClose(true)
}

// endClose ends the subflow that carried our MP_FASTCLOSE: the peer has not
// answered, or with its own (RFC 8684, Section 3.5).
func (c *Conn) endClose(again bool) {
	p := c.closer
	c.closer, c.closeAt = nil, mono.Never
	p.fastClose = again
	p.sf.Abort() //spec:R5,R6 off:
}

// closeOptions are those of a pure ACK while the connection is being closed.
func (p *path) closeOptions(mp *wire.MPOptions) {
	p.probeOptions(mp)
	mp.Has |= wire.FastClose
	mp.Fast.Key = p.c.peerKey //spec:R1 off: mp.Fast.Key = p.c.key
}
