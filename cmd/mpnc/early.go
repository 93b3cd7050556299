package main

import (
	"time"
)

const (
	// mostEarly is what of the input goes with a SYN at most: no more fits.
	mostEarly = 1460
	// earlyPatience is how long a run waits for the input to show what it has at
	// once. It is not meant to wait for anybody.
	earlyPatience = 10 * time.Millisecond
)

// armEarly has a client's input go with its SYN (--fast-open), where what the
// input has is what the connection begins with.
func (m *command) armEarly() {
	t, plain := m.t.(*own) // nothing over it
	a, relays := m.act.(*stdioAction)
	o := m.o
	if !plain || !relays || !o.fastOpen || o.listen || o.scan || o.passFD || a.hub != nil ||
		o.noInput || o.crlf || o.delay != 0 || o.interval != 0 {
		return
	}
	t.early = func() []byte { return m.stdin.Peek(earlyPatience, mostEarly) }
	t.say = m.log.Infof
}

// earlyConn is a connection to which the beginning of the input was given when
// it was made. The input still has it, so that whoever carries it counts and
// shows it like the rest.
type earlyConn struct {
	conn
	given int // octets that are not to be sent again
}

// Write implements net.Conn. It sends what was not given before.
func (c *earlyConn) Write(p []byte) (n int, err error) {
	n = min(len(p), c.given)
	c.given -= n
	if n == len(p) {
		return n, nil
	}
	more, err := c.conn.Write(p[n:])
	return n + more, err
}
