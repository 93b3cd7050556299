package testenv

import "github.com/mpnc/mpnc/internal/mono"

// A Box is a middlebox that sees both directions of a path, and keeps state: a
// value without a clock, for the simulator as for a Lab. It is called by one
// goroutine at a time.
type Box interface {
	// Pass takes an IP packet that enters the path in direction d, where ToServer
	// is from the client's side (from A in a Sim), and emits what leaves the box:
	// nothing, something else, or also packets that go back. It may change pkt;
	// what it emits is copied.
	Pass(d Direction, pkt []byte, emit func(d Direction, pkt []byte))
}

// opposite returns the other direction.
func (d Direction) opposite() Direction { return d ^ BothWays }

// Interpose puts a box at the entrance of a path's two links. Before the first
// packet only.
func Interpose(b Box, toServer, toClient *Link) {
	toServer.box = boxPort{b, ToServer, toClient}
	toClient.box = boxPort{b, ToClient, toServer}
}

// etherHeader is what a frame has before the IP header.
const etherHeader = 14

// boxPort is a link's end of a box.
type boxPort struct {
	box  Box
	d    Direction
	twin *Link // the link of the other direction
}

// throughBox has the link's box look at a packet first. It reports whether
// anything of it goes on.
func (l *Link) throughBox(now mono.Time, pkt []byte) (passed bool) {
	header := pkt[:l.cfg.Header]
	ip := append(l.buffer(), pkt[len(header):]...)
	scratch := l.buffer()
	kept := true
	l.box.box.Pass(l.box.d, ip, func(d Direction, out []byte) {
		scratch = append(append(scratch[:0], header...), out...)
		if d == l.box.d {
			kept = false
			passed = l.enterPath(now, scratch) || passed
			return
		}
		if len(header) >= etherHeader { // it goes back to where the packet came from
			copy(scratch[:6], header[6:12])
			copy(scratch[6:12], header[:6])
		}
		// The directions' clocks may differ by what a driver is behind.
		t := l.box.twin
		t.enterPath(now.Latest(t.entered), scratch)
	})
	if kept {
		l.stats.Pushed++
		l.stats.PushedOctets += uint64(len(pkt))
		l.stats.DropMiddlebox++
	}
	l.release(ip)
	l.release(scratch)
	return passed
}

// each is a box that rewrites one packet at a time, in some directions.
type each struct {
	d Direction
	m Middlebox
}

// Each makes a box of a middlebox without state of both directions.
func Each(d Direction, m Middlebox) Box { return each{d, m} }

// Pass implements Box.
func (e each) Pass(d Direction, pkt []byte, emit func(Direction, []byte)) {
	if d&e.d != 0 {
		pkt = e.m(pkt)
	}
	if pkt != nil {
		emit(d, pkt)
	}
}

// series is boxes one after the other, the first nearest to the client.
type series []Box

// Series puts boxes on one path, the first nearest to the client.
func Series(boxes ...Box) Box { return series(boxes) }

// Pass implements Box.
func (s series) Pass(d Direction, pkt []byte, emit func(Direction, []byte)) {
	if d == ToServer {
		s.from(0, d, pkt, emit)
	} else {
		s.from(len(s)-1, d, pkt, emit)
	}
}

// from leads a packet through the boxes from number i on.
func (s series) from(i int, d Direction, pkt []byte, emit func(Direction, []byte)) {
	if i < 0 || i == len(s) {
		emit(d, pkt)
		return
	}
	s[i].Pass(d, pkt, func(d Direction, pkt []byte) {
		next := i + 1
		if d == ToClient {
			next = i - 1
		}
		// What the next box sees it may change, and what it emits is its own.
		s.from(next, d, append([]byte{}, pkt...), emit)
	})
}
