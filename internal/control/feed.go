package control

import (
	"encoding/json"
	"net"
	"sync"
	"time"
)

const (
	backlogSize = 256  // events that are kept for those who ask late
	queueSize   = 1024 // events that wait for one subscriber
	tellTime    = 10 * time.Second
	lastWords   = 500 * time.Millisecond // for what waits when the process ends
)

// feed hands events to subscribers. Whoever publishes never waits.
type feed struct {
	mu      sync.Mutex
	backlog []Event
	subs    map[*subscriber]struct{}
	ended   bool
}

// subscriber has what is still to be told to one client.
type subscriber struct {
	queue []Event
	lost  int
	wake  chan struct{} // capacity one
}

// publish hands e to all subscribers. One whose queue is full loses it.
func (f *feed) publish(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.backlog) == backlogSize {
		f.backlog = append(f.backlog[:0], f.backlog[1:]...)
	}
	f.backlog = append(f.backlog, e)
	for s := range f.subs {
		s.add(e)
	}
}

func (s *subscriber) add(e Event) {
	if len(s.queue) == queueSize {
		s.lost++
		return
	}
	s.queue = append(s.queue, e)
	s.poke()
}

func (s *subscriber) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// subscribe returns a subscriber who is told what comes, and first, if asked
// for, what there was.
func (f *feed) subscribe(backlog bool) *subscriber {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &subscriber{wake: make(chan struct{}, 1)}
	if backlog {
		for _, e := range f.backlog {
			s.add(e)
		}
	}
	if f.subs == nil {
		f.subs = map[*subscriber]struct{}{}
	}
	f.subs[s] = struct{}{}
	s.poke()
	return s
}

func (f *feed) leave(s *subscriber) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.subs, s)
}

// take returns what s is to be told now, and whether nothing more will come.
func (f *feed) take(s *subscriber) (events []Event, ended bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	events, s.queue = s.queue, nil
	if s.lost > 0 { // after the queue was full, and so behind all that is in it
		events = append(events, Event{Time: time.Now(), Event: eventsLost, Lost: s.lost})
		s.lost = 0
	}
	return events, f.ended
}

// eventsLost is the event that says only that others are missing.
const eventsLost = "LOST"

// end lets subscribers go once they were told all.
func (f *feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	for s := range f.subs {
		s.poke()
	}
}

// tell writes events to a client until it goes, or there are no more.
func (f *feed) tell(c net.Conn, backlog bool) {
	s := f.subscribe(backlog)
	defer f.leave(s)
	gone := make(chan struct{})
	c.SetReadDeadline(time.Time{})
	go func() { // it has nothing more to say: reading ends when it goes
		defer close(gone)
		c.Read(make([]byte, 1))
	}()
	defer func() { c.Close(); <-gone }()
	for {
		select {
		case <-gone:
			return
		case <-s.wake:
		}
		events, ended := f.take(s)
		if !f.write(c, events) || ended && len(events) == 0 {
			return
		}
		if ended {
			s.poke()
		}
	}
}

// hurry sets how long a client may take for what is written now.
func (f *feed) hurry(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	patience := tellTime
	if f.ended {
		patience = lastWords
	}
	c.SetWriteDeadline(time.Now().Add(patience))
}

// write writes events, and reports whether it could.
func (f *feed) write(c net.Conn, events []Event) bool {
	f.hurry(c)
	lines := json.NewEncoder(c)
	for i := range events {
		if lines.Encode(answer{Version: Version, Event: &events[i]}) != nil {
			return false
		}
	}
	return true
}
