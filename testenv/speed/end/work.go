package end

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

// serve listens, and goes along with what the client does.
func (e *end) serve() error {
	ln, err := e.transport.Listen(e.at())
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				e.fail(err)
				return
			}
			go e.answer(conn)
		}
	}()
	return nil
}

func (e *end) answer(conn net.Conn) {
	e.first.CompareAndSwap(nil, conn)
	switch e.Work {
	case Bulk:
		b := make([]byte, e.Size)
		for {
			n, err := conn.Read(b)
			e.octets.Add(int64(n))
			if err != nil {
				e.fail(err)
				return
			}
		}
	case Check:
		e.digest(conn)
	default:
		b := make([]byte, e.Size)
		for {
			if _, err := io.ReadFull(conn, b); err != nil {
				break
			}
			if _, err := conn.Write(b); err != nil {
				break
			}
		}
		_ = conn.Close()
	}
}

// digest answers a stream with its sum.
func (e *end) digest(conn net.Conn) {
	h := sha256.New()
	if _, err := io.CopyBuffer(h, onlyReader{conn}, make([]byte, e.Size)); err != nil {
		e.fail(err)
		return
	}
	if _, err := conn.Write(h.Sum(nil)); err != nil {
		e.fail(err)
		return
	}
	_ = conn.Close()
}

// onlyReader has no other method, so that io.Copy calls Read.
type onlyReader struct{ io.Reader }

// connect makes the client's connections and sets them to work.
func (e *end) connect() error {
	if e.Work == Open {
		for range e.Conns {
			go e.openAndClose()
		}
		return nil
	}
	conns, err := e.dialAll()
	if err != nil {
		return err
	}
	e.first.Store(conns[0])
	for _, conn := range conns {
		switch e.Work {
		case Bulk:
			go e.pump(conn)
		case Ping:
			go e.pingPong(conn)
		case Idle:
			if err := e.word(conn, make([]byte, e.Size)); err != nil {
				return err
			}
		}
	}
	return nil
}

// dialAll makes all connections, some at once.
func (e *end) dialAll() ([]net.Conn, error) {
	conns, errs := make([]net.Conn, e.Conns), make([]error, e.Conns)
	slots := make(chan struct{}, 16)
	var work sync.WaitGroup
	for i := range conns {
		slots <- struct{}{}
		work.Go(func() {
			conns[i], errs[i] = e.dial()
			<-slots
		})
	}
	work.Wait()
	return conns, errors.Join(errs...)
}

func (e *end) pump(conn net.Conn) {
	b := make([]byte, e.Size)
	for {
		n, err := conn.Write(b)
		e.octets.Add(int64(n))
		if err != nil {
			e.fail(err)
			return
		}
	}
}

// word says one and hears its echo.
func (e *end) word(conn net.Conn, b []byte) error {
	if _, err := conn.Write(b); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, b)
	return err
}

func (e *end) pingPong(conn net.Conn) {
	b := make([]byte, e.Size)
	for {
		start := time.Now()
		if err := e.word(conn, b); err != nil {
			e.fail(err)
			return
		}
		e.words.add(time.Since(start))
		e.count.Add(1)
	}
}

func (e *end) openAndClose() {
	b := make([]byte, e.Size)
	for {
		select {
		case <-e.done:
			return
		default:
		}
		conn, err := e.dial()
		if err == nil {
			err = e.word(conn, b)
			_ = conn.Close() // it was of use
		}
		if err != nil {
			e.fail(err)
			return
		}
		e.count.Add(1)
	}
}

// check sends what nobody can guess, and compares sums.
func (e *end) check() (r Report, err error) {
	conn := e.first.Load().(net.Conn)
	_ = conn.SetDeadline(time.Now().Add(4 * patience)) // who cannot is bounded by the parent
	h := sha256.New()
	start := time.Now()
	b := make([]byte, e.Size)
	for left := e.Octets; left > 0; left -= int64(len(b)) {
		b = b[:min(int64(len(b)), left)]
		_, _ = random.Read(b)
		h.Write(b)
		if _, err := conn.Write(b); err != nil {
			return r, err
		}
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return r, err
	}
	there, err := io.ReadAll(conn)
	if err != nil {
		return r, err
	}
	if here := h.Sum(nil); !slices.Equal(here, there) {
		return r, fmt.Errorf("the sum is %x there, %x here", there, here)
	}
	return Report{Octets: e.Octets, Seconds: time.Since(start).Seconds()}, nil
}

// random is the stream of Check.
var random = rand.NewChaCha8([32]byte{'s', 'p', 'e', 'e', 'd'})

// words are how long words took while it is measured.
type words struct {
	mu   sync.Mutex
	took []time.Duration
	on   bool
}

func (w *words) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on = true
}

func (w *words) add(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.on {
		w.took = append(w.took, d)
	}
}

// quantiles returns the median and the 99th hundredth, in seconds; 0 of none.
func (w *words) quantiles() (p50, p99 float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.took)
	if n == 0 {
		return 0, 0
	}
	slices.Sort(w.took)
	return w.took[n/2].Seconds(), w.took[n*99/100].Seconds()
}
