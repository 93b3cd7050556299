package netcat

import (
	"bytes"
	"context"
	"errors"
	"testing"
)

func heard(t *testing.T, m *Member) string {
	t.Helper()
	p, err := m.next(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	s := string(p)
	m.consume(len(p))
	return s
}

func TestRoom(t *testing.T) {
	var r Room
	a, b, c := r.Join(), r.Join(), r.Join()
	a.Write([]byte("x"))
	r.Say([]byte("y"), nil)
	for m, want := range map[*Member]string{a: "y", b: "xy", c: "xy"} {
		if got := heard(t, m); got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
	}
	c.Close()
	a.Write([]byte("z"))
	if got := heard(t, b); got != "z" || len(c.waiting) != 0 {
		t.Errorf("b heard %q, c has %q", got, c.waiting)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := b.next(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Who does not listen is thrown out, and keeps nobody waiting.
func TestRoomTooSlow(t *testing.T) {
	var r Room
	a, slow, b := r.Join(), r.Join(), r.Join()
	part := bytes.Repeat([]byte("x"), mostUnread/4)
	for range 5 {
		a.Write(part)
		heard(t, b)
	}
	if len(slow.waiting) > mostUnread {
		t.Errorf("%d octets wait", len(slow.waiting))
	}
	if _, err := slow.next(context.Background()); !errors.Is(err, ErrTooSlow) {
		t.Error(err)
	}
}
