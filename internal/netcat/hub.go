package netcat

import (
	"context"
	"io"
	"sync"
)

// Hub gives one input to several connections at once: each of them gets all
// that is read while it is there. The slowest sets the pace. While there is
// none, nothing is read, so nothing is lost.
type Hub struct {
	src *Source

	mu    sync.Mutex
	feeds map[*Feed]struct{}
	some  sync.Cond // there are feeds
	begun bool
	err   error // why the input ended
}

// NewHub returns a Hub that reads src. Nothing is read yet.
func NewHub(src *Source) *Hub {
	h := &Hub{src: src, feeds: map[*Feed]struct{}{}}
	h.some.L = &h.mu
	return h
}

// Feed is one connection's part of a Hub's input, for Relay.
type Feed struct {
	h    *Hub
	c    chan []byte   // from the hub; closed at the end of the input
	gone chan struct{} // closed by Close
	once sync.Once
	cur  []byte
}

// Join returns a Feed of what is read from now on. It must be closed.
func (h *Hub) Join() *Feed {
	f := &Feed{h: h, c: make(chan []byte, 1), gone: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		close(f.c)
		return f
	}
	h.feeds[f] = struct{}{}
	h.some.Signal()
	if !h.begun {
		h.begun = true
		go h.run()
	}
	return f
}

// Close takes the feed out of its hub.
func (f *Feed) Close() error {
	f.once.Do(func() {
		close(f.gone)
		f.h.mu.Lock()
		defer f.h.mu.Unlock()
		delete(f.h.feeds, f)
	})
	return nil
}

// Read reads as an io.Reader does, without a way to give up.
func (f *Feed) Read(p []byte) (int, error) {
	q, err := f.next(context.Background())
	n := copy(p, q)
	f.consume(n)
	return n, err
}

func (f *Feed) next(ctx context.Context) ([]byte, error) {
	for len(f.cur) == 0 {
		select {
		case p, more := <-f.c:
			if !more {
				return nil, f.h.why()
			}
			f.cur = p
		case <-ctx.Done():
			return nil, context.Canceled
		}
	}
	return f.cur, nil
}

func (f *Feed) consume(n int) { f.cur = f.cur[n:] }

func (h *Hub) why() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// run reads and hands out until the input ends.
func (h *Hub) run() {
	for {
		h.await()
		p, err := h.src.next(context.Background())
		if err != nil {
			h.end(err)
			return
		}
		h.await()                         // all may have left meanwhile
		h.give(append([]byte(nil), p...)) // each feed is done with it in its own time
		h.src.consume(len(p))
	}
}

// await returns when somebody is there.
func (h *Hub) await() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.feeds) == 0 {
		h.some.Wait()
	}
}

func (h *Hub) give(p []byte) {
	h.mu.Lock()
	feeds := make([]*Feed, 0, len(h.feeds))
	for f := range h.feeds {
		feeds = append(feeds, f)
	}
	h.mu.Unlock()
	for _, f := range feeds {
		select {
		case f.c <- p:
		case <-f.gone:
		}
	}
}

func (h *Hub) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
	for f := range h.feeds {
		close(f.c)
	}
	clear(h.feeds)
}

var (
	_ io.Reader = (*Feed)(nil)
	_ input     = (*Feed)(nil)
	_ input     = (*Source)(nil)
)
