package mptcp

import "sync"

// handOver is after how many writes a goroutine that came to do something else
// leaves the draining to a helper.
const handOver = 4

// chores are what has to be done after connections were polled, by the same
// goroutine, once it holds no lock: writing, closing guards, calling
// observers. System calls and foreign code happen here and nowhere else.
type chores struct {
	stack  *Stack
	ports  []*port  // to drain: this goroutine has the duty
	guards []*guard // to close
	notes  []note   // observers to call, in order
	rearm  bool     // the alarm may have to ring earlier
	stays  bool     // this goroutine is a helper and hands nothing over
}

var choresPool = sync.Pool{New: func() any { return new(chores) }}

// chores returns an empty list, to be used by one goroutine and given back by
// finish.
func (s *Stack) chores() *chores {
	ch := choresPool.Get().(*chores)
	ch.stack = s
	return ch
}

// finish does the chores and gives the list back. No lock may be held.
func (ch *chores) finish() {
	ch.run()
	ch.stack, ch.stays = nil, false
	choresPool.Put(ch)
}

// run does the chores, and those that arise meanwhile; the list is empty
// afterwards. Guards go after the packets that were sent behind them, whoever
// writes those, and foreign code comes last, when nobody waits for this
// goroutine.
func (ch *chores) run() {
	ch.ring()
	for {
		ch.leave()
		if len(ch.ports) == 0 {
			break
		}
		p := ch.ports[0]
		ch.ports = append(ch.ports[:0], ch.ports[1:]...)
		if p.rounds >= handOver && !ch.stays && ch.helper(p) {
			continue
		}
		if p.round(ch) {
			ch.ports = append(ch.ports, p)
		}
		ch.ring()
	}
	for i, n := range ch.notes {
		ch.notes[i] = note{}
		n.conn.stack.cfg.OnPath(n.conn, n.ev)
	}
	ch.notes = ch.notes[:0]
}

// leave has the guards closed that nobody uses any more.
func (ch *chores) leave() {
	for i, g := range ch.guards {
		g.leave(ch.stack)
		ch.guards[i] = nil
	}
	ch.guards = ch.guards[:0]
}

// ring resets the alarm if it has to be.
func (ch *chores) ring() {
	if ch.rearm {
		ch.rearm = false
		ch.stack.timers.rearm()
	}
}

// helper hands the duty for p to a goroutine that stays until it is idle. It
// reports whether it could.
func (ch *chores) helper(p *port) bool {
	s := ch.stack // ch is used by others by then
	return s.spawn(func() {
		h := s.chores()
		h.stays = true
		h.ports = append(h.ports, p)
		h.finish()
	})
}
