package emu

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mpnc/mpnc/mptcp"
	"github.com/mpnc/mpnc/scheduler"
)

// FirstPath uses one path until it is full, then the next.
type FirstPath struct{}

// Schedule implements scheduler.Scheduler.
func (FirstPath) Schedule(_ scheduler.Time, q *scheduler.Queue, paths []scheduler.Path, g []scheduler.Grant) ([]scheduler.Grant, scheduler.Time) {
	for _, p := range paths {
		if p.Stale || p.Room == 0 {
			continue
		}
		if len(q.Lost) > 0 { // what another path did not deliver; the rest of it at the next call
			r := q.Lost[0]
			r.To = r.To.Min(r.From.Add(p.Room))
			return append(g, scheduler.Grant{Path: p.ID, Data: r}), scheduler.Never
		}
		r := scheduler.Range{From: q.Next, To: q.NewLimit().Min(q.Next.Add(p.Room))}
		if r.From.Less(r.To) { // new data, within the peer's window
			g = append(g, scheduler.Grant{Path: p.ID, Data: r})
		}
		return g, scheduler.Never
	}
	return g, scheduler.Never // nothing now: wait for the next event
}

// The scheduler that CONTRIBUTING.md shows works, and is this one.
func TestSchedulerOfContributing(t *testing.T) {
	doc, err := os.ReadFile("../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("scheduler_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, found := strings.Cut(string(doc), "```go\n")
	shown, _, _ = strings.Cut(shown, "```")
	if !found || !strings.Contains(string(self), shown) {
		t.Error("CONTRIBUTING.md shows other code than is tested here")
	}
	synctest.Test(t, func(t *testing.T) {
		n := New(Link{20e6, 20 * time.Millisecond}, Link{10e6, 60 * time.Millisecond})
		defer n.Close()
		server, err := n.Server(mptcp.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		client, err := n.Client(mptcp.Config{Scheduler: func() scheduler.Scheduler { return FirstPath{} }})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		l, err := server.Listen("tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		data := bytes.Repeat([]byte("mpnc"), 1<<20)
		go func() {
			c, err := client.Dial(context.Background(), "tcp", n.ServerAddr(1).String()+":80")
			if err != nil {
				t.Error(err)
				return
			}
			c.Write(data)
			c.CloseWrite()
		}()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(data)/2)
		if _, err := io.ReadFull(c, got); err != nil {
			t.Fatal(err)
		}
		n.SetSilent(1, true)
		rest, err := io.ReadAll(c)
		if got = append(got, rest...); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d octets, %v", len(got), err)
		}
	})
}
