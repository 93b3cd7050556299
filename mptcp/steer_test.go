package mptcp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mpnc/mpnc/pathmgr"
)

// news collects what OnEvent tells.
type news struct {
	mu  sync.Mutex
	all []string
}

var eventNames = map[EventKind]string{
	ConnCreated: "created", ConnEstablished: "established", ConnClosed: "closed", AddrAnnounced: "announced",
	AddrRemoved: "removed", SubflowEstablished: "sf established", SubflowClosed: "sf closed",
	SubflowPriority: "sf prio", ListenerCreated: "listener created", ListenerClosed: "listener closed",
}

func (n *news) add(e Event) {
	s := eventNames[e.Kind]
	switch e.Kind {
	case ListenerCreated, ListenerClosed:
		s += fmt.Sprintf(" %v", e.Local)
	case AddrAnnounced:
		s += fmt.Sprintf(" %d %v", e.RemoteID, e.Remote)
	case AddrRemoved:
		s += fmt.Sprintf(" %d", e.RemoteID)
	case ConnClosed:
	default:
		s += fmt.Sprintf(" %v-%v %d,%d", e.Local.Addr(), e.Remote.Addr(), e.LocalID, e.RemoteID)
	}
	if e.Backup {
		s += " backup"
	}
	if e.ServerSide {
		s += " server"
	}
	if e.Error != 0 {
		s += fmt.Sprintf(" %d", int(e.Error))
	}
	if (e.Token == 0) != (e.Conn == 0) || e.At == 0 && e.Kind != ListenerCreated {
		s += fmt.Sprintf(" incomplete: %+v", e)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, s)
}

func (n *news) expect(t *testing.T, side string, want ...string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Equal(n.all, want) {
		t.Errorf("the %s was told\n%s\nwant\n%s", side, strings.Join(n.all, "\n"), strings.Join(want, "\n"))
	}
}

// A user opens, changes and closes paths, and both sides are told what the
// kernel's path managers would be told.
func TestSteerPaths(t *testing.T) {
	var near, far news
	set := setup{
		pipe:   twoLinks,
		client: Config{PathManager: pathmgr.NewNone, OnEvent: near.add},
		server: Config{PathManager: pathmgr.NewNone, OnEvent: far.add},
	}
	bubble(t, set, func(t *testing.T, p *pair) {
		ctx := context.Background()
		l, err := p.server.Listen("tcp", p.address("80"))
		if err != nil {
			t.Fatal(err)
		}
		c, s := p.connect(l)
		time.Sleep(time.Second)
		second := netip.MustParseAddr("10.0.2.1")
		if got := c.Locals(); len(got) != 2 {
			t.Errorf("local addresses %v", got)
		}
		if err := c.AddPath(ctx, second, netip.AddrPort{}, true); err != nil {
			t.Fatal(err)
		}
		sf := c.Subflows()
		if len(sf) != 2 || sf[1].Tuple.Local.Addr() != second || !sf[1].Up || !sf[1].Backup || sf[1].Link != 2 {
			t.Fatalf("subflows %+v", sf)
		}
		for _, test := range []struct {
			what string
			err  error
			want error
		}{
			{"the same path", c.AddPath(ctx, second, netip.AddrPort{}, false), ErrPathExists},
			{"no path", c.RemovePath(7), ErrNoSuchPath},
			{"no path's priority", c.SetBackup(7, true), ErrNoSuchPath},
			{"no subflows", c.SetLimits(Limits{Subflows: 0, Peers: 1}), ErrLimits},
			{"many peers", c.SetLimits(Limits{Subflows: 1, Peers: 9}), ErrLimits},
			{"limits", c.SetLimits(Limits{Subflows: 2, Peers: 8}), nil},
			{"one too many", c.AddPath(ctx, netip.MustParseAddr("10.0.1.1"), addrPort("10.0.2.2:80"), false), ErrManyPaths},
			{"priority", c.SetBackup(1, false), nil},
		} {
			if !errors.Is(test.err, test.want) {
				t.Errorf("%s: %v, want %v", test.what, test.err, test.want)
			}
		}
		if got := c.Limits(); got != (Limits{Subflows: 2, Peers: 8}) {
			t.Errorf("limits %v", got)
		}
		time.Sleep(time.Second)
		if err := c.RemovePath(0); err != nil {
			t.Error(err)
		}
		if err := c.RemovePath(1); err != ErrLastPath {
			t.Errorf("the last path: %v", err)
		}
		time.Sleep(time.Minute + time.Second)
		write(t, c, "ping")
		expect(t, s, "ping")
		c.Close()
		s.Close()
		l.Close()
		time.Sleep(2 * time.Minute)
		if err := c.SetBackup(1, true); err == nil {
			t.Error("a connection that is over was changed")
		}
	})
	near.expect(t, "client",
		"created 10.0.1.1-10.0.1.2 0,0",
		"established 10.0.1.1-10.0.1.2 0,0",
		"sf established 10.0.2.1-10.0.1.2 1,0 backup",
		"sf prio 10.0.2.1-10.0.1.2 1,0",
		"sf closed 10.0.1.1-10.0.1.2 0,0",
		"closed",
	)
	far.expect(t, "server",
		"listener created 10.0.1.2:80",
		"created 10.0.1.2-10.0.1.1 0,0 server",
		"established 10.0.1.2-10.0.1.1 0,0 server",
		"sf established 10.0.1.2-10.0.2.1 0,1 backup server",
		"sf prio 10.0.1.2-10.0.2.1 0,1 server",
		"sf closed 10.0.1.2-10.0.1.1 0,0 server",
		"closed server",
		"listener closed 10.0.1.2:80",
	)
}

// Paths that cannot be had, and why.
func TestAddPathFails(t *testing.T) {
	bubble(t, setup{pipe: twoLinks, client: Config{PathManager: pathmgr.NewNone}}, func(t *testing.T, p *pair) {
		c, _ := p.bound()
		time.Sleep(time.Second)
		var perr *PathError
		if err := c.AddPath(context.Background(), netip.MustParseAddr("10.9.9.9"), netip.AddrPort{}, false); !errors.As(err, &perr) || perr.Err == nil {
			t.Errorf("from an address that is not there: %v", err)
		}
		if err := c.AddPath(context.Background(), netip.MustParseAddr("10.0.2.1"), addrPort("10.0.1.2:81"), false); !errors.As(err, &perr) || !strings.Contains(err.Error(), "refused") {
			t.Errorf("to a port where nobody listens: %v", err)
		}
		if err := c.AddPath(context.Background(), netip.MustParseAddr("fd00:2::1"), netip.AddrPort{}, false); err != ErrFamily {
			t.Errorf("from another family: %v", err)
		}
		p.lossy.Store(true)
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := c.AddPath(ctx, netip.MustParseAddr("10.0.2.1"), netip.AddrPort{}, false); err == nil {
			t.Errorf("through a network that loses everything: %v", err)
		}
		if n := len(c.openings); n != 0 {
			t.Errorf("%d callers are still waited for", n)
		}
	})
	bubble(t, setup{client: Config{TCPOnly: true}}, func(t *testing.T, p *pair) {
		c, _ := p.conns()
		for _, err := range []error{c.AddPath(context.Background(), netip.MustParseAddr("10.0.0.1"), netip.AddrPort{}, false), c.RemovePath(0), c.SetBackup(0, true)} {
			if err != ErrNotMultipath {
				t.Errorf("of plain TCP: %v", err)
			}
		}
	})
}

// What the peer advertises and withdraws, and a path that dies with its address.
func TestEventsOfAddresses(t *testing.T) {
	var near news
	bubble(t, setup{pipe: twoLinks, client: Config{OnEvent: near.add}}, func(t *testing.T, p *pair) {
		l := p.listen()
		c, _ := p.connect(l)
		awaitUp(t, c, 4)
		p.far.SetLink(2, false)
		time.Sleep(20 * time.Second)
		p.client.Close()
	})
	got := strings.Join(near.all, "\n")
	for _, want := range []string{"announced 1 10.0.2.2:0", "removed 1", "sf closed 10.0.2.1-10.0.1.2 1,0 101", "closed"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
