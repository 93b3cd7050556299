package pathmgr

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
)

// world is the engine's half of the contract, for tests: it keeps the view,
// carries out commands as far as the view shows them, and writes each down as
// a short text.
type world struct {
	t     *testing.T
	m     Manager
	v     View
	now   Time
	alarm Time
	ids   PathID
	deaf  bool // Open commands have no effect on the view
}

var (
	remote  = netip.MustParseAddrPort("198.51.100.1:80")
	remote6 = netip.MustParseAddrPort("[2001:db8:ffff::1]:80")
)

func addr(s string) netip.Addr         { return netip.MustParseAddr(s) }
func port(s string) netip.AddrPort     { return netip.MustParseAddrPort(s) }
func at(d time.Duration) Time          { return Time(0).Add(d) }
func peer(id uint8, s string) Peer     { return Peer{ID: id, Addr: port(s)} }
func home(a netip.Addr) netip.AddrPort { return netip.AddrPortFrom(a, 5000) }

// The interfaces of the tests.
var (
	wifi   = Local{Addr: addr("192.0.2.1"), Link: 1, Name: "wlan0", Best: true}
	cell   = Local{Addr: addr("192.0.2.65"), Link: 2, Name: "wwan0"}
	cable  = Local{Addr: addr("192.0.2.129"), Link: 3, Name: "eth0"}
	cable6 = Local{Addr: addr("2001:db8::3"), Link: 3, Name: "eth0"}
	vpn    = Local{Addr: addr("10.8.0.2"), Link: 4, Name: "wg0", Kind: Tunnel}
	docker = Local{Addr: addr("172.17.0.1"), Link: 5, Name: "docker0", Kind: Bridge}
	lo     = Local{Addr: addr("127.0.0.1"), Link: 6, Name: "lo", Kind: Loopback}
)

// preferred returns l as the host's own choice, plain as not.
func preferred(l Local) Local { l.Best = true; return l }
func plain(l Local) Local     { l.Best = false; return l }

// client returns a client's world whose first subflow starts at first.
func client(t *testing.T, m Manager, first Local, others ...Local) *world {
	w := &world{t: t, m: m, now: at(time.Hour)}
	w.v = View{
		Client: true, Local: home(first.Addr), Remote: remote,
		Locals: append([]Local{first}, others...),
	}
	if !first.Addr.Is4() {
		w.v.Remote = remote6
	}
	w.v.Subflows = []Subflow{{ID: 0, Local: w.v.Local, Remote: w.v.Remote, Link: first.Link, Established: true}}
	return w
}

// server returns the same seen from the listening side.
func server(t *testing.T, m Manager, first Local, others ...Local) *world {
	w := client(t, m, first, others...)
	w.v.Client = false
	return w
}

// handle gives the manager an event and returns its commands as text, Wake
// apart.
func (w *world) handle(ev Event) []string {
	w.t.Helper()
	var got []string
	before := []Command{Close{ID: 99}} // what is there already must stay
	cmds := w.m.Handle(w.now, ev, &w.v, before)
	if len(cmds) == 0 || cmds[0] != before[0] {
		w.t.Fatalf("%T: commands were not appended: %v", ev, cmds)
	}
	for _, c := range cmds[1:] {
		switch c := c.(type) {
		case Open:
			what := "open"
			if c.Backup {
				what += " backup"
			}
			got = append(got, fmt.Sprintf("%s %s %v", what, c.Local.Name, c.Remote))
			w.open(c)
		case Advertise:
			got = append(got, fmt.Sprintf("advertise %s", c.Local.Name))
			if c.Port != 0 {
				w.t.Errorf("advertised port %d", c.Port)
			}
		case Withdraw:
			got = append(got, fmt.Sprintf("withdraw %v", c.Addr))
		case Close:
			got = append(got, fmt.Sprintf("close %d", c.ID))
		case Watch:
			got = append(got, fmt.Sprintf("watch %d %d", c.ID, c.Octets))
		case SetBackup:
			got = append(got, w.setBackup(c))
		case Wake:
			if c.At <= w.now {
				w.t.Errorf("Wake at %v, which is not after now", time.Duration(c.At-w.now))
			}
			w.alarm = c.At
		default:
			w.t.Errorf("unexpected command %#v", c)
		}
	}
	return got
}

func (w *world) open(c Open) {
	w.t.Helper()
	for _, s := range w.v.Subflows {
		if s.Local.Addr() == c.Local.Addr && s.Remote == c.Remote && !c.More {
			w.t.Errorf("opened %v to %v twice", c.Local.Addr, c.Remote)
		}
	}
	if c.Local.Addr.Is4() != c.Remote.Addr().Is4() {
		w.t.Errorf("opened %v to %v", c.Local.Addr, c.Remote)
	}
	if w.deaf {
		return
	}
	w.ids++
	w.v.Subflows = append(w.v.Subflows, Subflow{
		ID: w.ids, Local: home(c.Local.Addr), Remote: c.Remote, Link: c.Local.Link, Backup: c.Backup,
	})
}

// setBackup carries a priority out.
func (w *world) setBackup(c SetBackup) string {
	w.t.Helper()
	i := slices.IndexFunc(w.v.Subflows, func(s Subflow) bool { return s.ID == c.ID })
	if i < 0 || w.v.Subflows[i].Backup == c.Backup {
		w.t.Fatalf("%+v is no news of %+v", c, w.v.Subflows)
	}
	w.v.Subflows[i].Backup = c.Backup
	if c.Backup {
		return fmt.Sprintf("backup %d", c.ID)
	}
	return fmt.Sprintf("carry %d", c.ID)
}

// find returns the subflow from l to the remote end.
func (w *world) find(l Local, to netip.AddrPort) *Subflow {
	w.t.Helper()
	for i := range w.v.Subflows {
		if s := &w.v.Subflows[i]; s.Local.Addr() == l.Addr && s.Remote == to {
			return s
		}
	}
	w.t.Fatalf("no subflow %s %v in %v", l.Name, to, w.v.Subflows)
	return nil
}

func (w *world) up(l Local, to netip.AddrPort) []string {
	w.t.Helper()
	s := w.find(l, to)
	s.Established = true
	return w.handle(SubflowUp{*s})
}

// allUp finishes every handshake.
func (w *world) allUp() {
	w.t.Helper()
	for i := range w.v.Subflows {
		if s := &w.v.Subflows[i]; !s.Established {
			s.Established = true
			if got := w.handle(SubflowUp{*s}); len(got) > 0 {
				w.t.Errorf("SubflowUp: %q", got)
			}
		}
	}
}

func (w *world) down(l Local, to netip.AddrPort, why Reason) []string {
	w.t.Helper()
	return w.lose(l, to, why, false)
}

func (w *world) lose(l Local, to netip.AddrPort, why Reason, transient bool) []string {
	w.t.Helper()
	s := *w.find(l, to)
	w.v.Subflows = slices.DeleteFunc(w.v.Subflows, func(o Subflow) bool { return o.ID == s.ID })
	return w.handle(SubflowDown{Subflow: s, Reason: why, Transient: transient})
}

// silent has the subflow's retransmission timer fire.
func (w *world) silent(l Local, to netip.AddrPort) []string {
	w.t.Helper()
	s := w.find(l, to)
	s.Suspect = true
	return w.handle(PathSuspect{s.ID})
}

func (w *world) heard(l Local, to netip.AddrPort) []string {
	w.t.Helper()
	s := w.find(l, to)
	s.Suspect = false
	return w.handle(PathTrusted{s.ID})
}

func (w *world) localUp(l Local) []string {
	w.t.Helper()
	w.v.Locals = append(w.v.Locals, l)
	return w.handle(LocalUp{l})
}

func (w *world) localDown(l Local) []string {
	w.t.Helper()
	w.v.Locals = slices.DeleteFunc(w.v.Locals, func(o Local) bool { return o.Addr == l.Addr })
	return w.handle(LocalDown{l})
}

func (w *world) peerAdded(p Peer) []string {
	w.t.Helper()
	w.v.Peers = append(w.v.Peers, p)
	return w.handle(PeerAdded{p})
}

func (w *world) peerRemoved(p Peer) []string {
	w.t.Helper()
	w.v.Peers = slices.DeleteFunc(w.v.Peers, func(o Peer) bool { return o.ID == p.ID })
	return w.handle(PeerRemoved{p})
}

// ring moves time to the alarm and returns how long that was and what came of
// it.
func (w *world) ring() (time.Duration, []string) {
	w.t.Helper()
	if w.alarm == 0 || w.alarm == mono.Never {
		w.t.Fatal("no alarm is set")
	}
	d := w.alarm.Sub(w.now)
	w.now, w.alarm = w.alarm, 0
	return d, w.handle(Alarm{})
}

// quiet fails if an alarm is set.
func (w *world) quiet() {
	w.t.Helper()
	if w.alarm != 0 {
		w.t.Errorf("alarm in %v, want none", w.alarm.Sub(w.now))
	}
}

func want(t *testing.T, what string, got []string, cmds ...string) {
	t.Helper()
	if !slices.Equal(got, cmds) {
		t.Errorf("%s:\n got  %s\n want %s", what, strings.Join(got, "; "), strings.Join(cmds, "; "))
	}
}
