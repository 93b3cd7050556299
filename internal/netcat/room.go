package netcat

import (
	"context"
	"errors"
	"io"
	"sync"
)

// mostUnread bounds what waits for a member of a Room who does not read, in
// octets.
const mostUnread = 1 << 20

// ErrTooSlow is why a member is thrown out of a Room.
var ErrTooSlow = errors.New("did not read what the others said")

// Room carries what each of its members says to all the others. One who does
// not listen is thrown out; the others do not wait. The zero value is empty.
type Room struct {
	mu      sync.Mutex
	members map[*Member]struct{}
}

// Member is a connection's place in a Room: what it writes goes to the others,
// and what they write it reads. As in for Relay and as out for the same one.
type Member struct {
	room    *Room
	waiting []byte
	err     error         // no more will come
	news    chan struct{} // something came; capacity 1
}

// Join returns a new member, who must be closed.
func (r *Room) Join() *Member {
	m := &Member{room: r, news: make(chan struct{}, 1)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.members == nil {
		r.members = map[*Member]struct{}{}
	}
	r.members[m] = struct{}{}
	return m
}

// Say gives a copy of p to all members but one, which may be nil.
func (r *Room) Say(p []byte, but *Member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for m := range r.members {
		if m == but || m.err != nil {
			continue
		}
		if len(m.waiting)+len(p) > mostUnread {
			m.err = ErrTooSlow
		} else {
			m.waiting = append(m.waiting, p...)
		}
		select {
		case m.news <- struct{}{}:
		default:
		}
	}
}

// Write says p to the others. It never fails.
func (m *Member) Write(p []byte) (int, error) {
	m.room.Say(p, m)
	return len(p), nil
}

// Close takes the member out of the room.
func (m *Member) Close() error {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	delete(m.room.members, m)
	return nil
}

// Read reads as an io.Reader does, without a way to give up.
func (m *Member) Read(p []byte) (int, error) {
	q, err := m.next(context.Background())
	n := copy(p, q)
	m.consume(n)
	return n, err
}

func (m *Member) next(ctx context.Context) ([]byte, error) {
	for {
		m.room.mu.Lock()
		// What comes meanwhile may move the slice, but not change its octets.
		p, err := m.waiting[:len(m.waiting):len(m.waiting)], m.err
		m.room.mu.Unlock()
		switch {
		case err != nil:
			return nil, err
		case len(p) > 0:
			return p, nil
		}
		select {
		case <-m.news:
		case <-ctx.Done():
			return nil, context.Canceled
		}
	}
}

func (m *Member) consume(n int) {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	if m.waiting = m.waiting[n:]; len(m.waiting) == 0 {
		m.waiting = nil
	}
}

var (
	_ input     = (*Member)(nil)
	_ io.Writer = (*Member)(nil)
)
