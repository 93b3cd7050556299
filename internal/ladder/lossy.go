package ladder

import (
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	lossyRoom = 1 << 20         // octets that wait for a slow reader
	lossyEnd  = 2 * time.Second // what Close waits for one at most
)

// Lossy returns a writer that never waits for w: what a slow reader, such as a
// terminal that was stopped, leaves no room for is lost, and w is told how many
// lines that were. Close waits a little for the rest, and does not close w.
func Lossy(w io.Writer) io.WriteCloser {
	l := &lossy{w: w, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go l.run()
	return l
}

type lossy struct {
	w    io.Writer
	wake chan struct{}
	done chan struct{} // closed when run returns

	mu     sync.Mutex
	wait   []byte
	lost   int // lines
	err    error
	closed bool
}

// Write never fails; what became of it is told by Close.
func (l *lossy) Write(p []byte) (int, error) {
	l.mu.Lock()
	if len(l.wait)+len(p) > lossyRoom {
		for _, c := range p {
			if c == '\n' {
				l.lost++
			}
		}
	} else {
		l.wait = append(l.wait, p...)
	}
	l.mu.Unlock()
	l.poke()
	return len(p), nil
}

func (l *lossy) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *lossy) run() {
	defer close(l.done)
	for range l.wake {
		for {
			text, end := l.take()
			if len(text) == 0 {
				if end {
					return
				}
				break
			}
			if _, err := l.w.Write(text); err != nil {
				l.mu.Lock()
				l.err = err
				l.mu.Unlock()
				return
			}
		}
	}
}

// take returns what waits, and whether nothing more will come.
func (l *lossy) take() (text []byte, end bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text, l.wait = l.wait, nil
	if l.lost > 0 {
		text = fmt.Appendf(text, "... %d lines are missing: they came faster than they were read\n", l.lost)
		l.lost = 0
	}
	return text, l.closed
}

func (l *lossy) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.poke()
	select {
	case <-l.done:
	case <-time.After(lossyEnd):
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
