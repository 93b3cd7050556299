package mptcp

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// pinning has a device's reader write to the memory of one who waits in Read, and does
// f meanwhile.
func pinning(t *testing.T, f func(t *testing.T, c, peer *Conn, p, pinned []byte, r *reader, done chan error)) {
	bubble(t, setup{}, func(t *testing.T, pr *pair) {
		c, s := pr.conns()
		p := make([]byte, 100_000)
		done := make(chan error, 1)
		var n int
		go func() {
			var err error
			n, err = s.Read(p)
			p = p[:n]
			done <- err
		}()
		synctest.Wait()
		r := &reader{stack: s.stack, fed: s}
		f(t, s, c, p, r.pin(), r, done)
		if s.pinned || s.unpinned || r.pinned != nil {
			t.Error("still pinned")
		}
	})
}

func waits(t *testing.T, done chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-done:
		t.Fatalf("returned while its memory was written to: %v", err)
	default:
	}
}

// Who waits in Read does not return while somebody writes to his memory.
func TestPinHoldsReader(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(c *Conn)
		want error
	}{
		"deadline": {func(c *Conn) { c.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		"Close":    {func(c *Conn) { c.Close() }, net.ErrClosed},
		"Abort":    {func(c *Conn) { c.Abort() }, net.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			pinning(t, func(t *testing.T, c, _ *Conn, p, pinned []byte, r *reader, done chan error) {
				if len(pinned) != len(p) || &pinned[0] != &p[0] {
					t.Fatalf("%d octets are pinned", len(pinned))
				}
				if again := r.pin(); again != nil {
					t.Fatal("pinned twice")
				}
				tt.end(c)
				waits(t, done)
				pinned[0] = 1
				r.unpin()
				if err := <-done; !errors.Is(err, tt.want) {
					t.Errorf("%v, want %v", err, tt.want)
				}
				if r.pin() != nil {
					t.Error("pinned what nobody lends")
				}
			})
		})
	}
}

// What arrives another way while memory is pinned does not go there, and is read
// afterwards.
func TestPinOnlyForWhoPinned(t *testing.T) {
	pinning(t, func(t *testing.T, c, peer *Conn, p, pinned []byte, r *reader, done chan error) {
		write(t, peer, "another way")
		waits(t, done)
		for i, b := range pinned {
			if b != 0 {
				t.Fatalf("octet %d was written to", i)
			}
		}
		copy(pinned, "a packet of another connection's")
		r.unpin()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if got := string(p[:11]); got != "another way" {
			t.Errorf("read %q", got)
		}
	})
}

// Whose reader does not wait, or waits for another to return, has no memory to pin.
func TestPinNobody(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, p *pair) {
		_, s := p.conns()
		r := &reader{stack: s.stack}
		if r.pin() != nil {
			t.Error("nobody was woken")
		}
		r.fed = s
		if r.pin() != nil {
			t.Error("nobody waits")
		}
		r.unpin()
		s.Close()
		if r.pin() != nil || r.fed != nil {
			t.Error("a closed connection is remembered")
		}
	})
}
