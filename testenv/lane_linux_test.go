package testenv

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mpnc/mpnc/mptcp"
	"github.com/mpnc/mpnc/pathmgr"
)

// The fast lane passes by what a host does to the packets it sends. These tests
// are about hosts that do something.

// laneCase is one host with rules, or none, and who it sends to.
type laneCase struct {
	rules    laneRules
	receiver peerKind
	plain    bool // TCP
	family   int
}

func (c laneCase) String() string {
	return fmt.Sprintf("%s, %v to %v, IPv%d", c.rules.name, c.sender(), c.receiver, c.family)
}

func (c laneCase) sender() peerKind {
	if c.plain {
		return ourTCP
	}
	return ourMPTCP
}

// laneRules are a host's, as nft takes them.
type laneRules struct {
	name   string
	before string // loaded before there are connections
	later  string // loaded in mid-transfer
	// lane says how the lanes of wifi and of the other link must end: used, or
	// lost. In between they may be tried.
	lane, other laneEnd
	// bound is how many trains may leave by a lane that was lost, if not 0, and one
	// more each time that it is tried anew: after longer and longer times.
	bound uint64
}

type laneEnd int

const (
	laneAny laneEnd = iota
	laneUsed
	laneLost
)

// tracking has every packet that the host sees assessed, and those that it finds
// invalid counted or dropped. A lane's are not seen, so acknowledgments of them are
// of nothing that was sent.
func tracking(verdict string) string {
	return `table inet track {
		chain input { type filter hook input priority 0; ct state invalid counter ` + verdict + `; }
		chain output { type filter hook output priority 0; ct state invalid counter accept; }
	}`
}

var allLaneRules = []laneRules{
	{name: "none", lane: laneUsed, other: laneUsed},
	{name: "connections tracked", before: tracking("accept"), lane: laneUsed, other: laneUsed},
	{name: "invalid dropped", before: tracking("drop"), lane: laneLost, other: laneLost, bound: 3},
	// Whether enough single segments leave to keep it going is a matter of luck.
	{name: "invalid dropped from now on", before: tracking("accept"),
		later: "insert rule inet track input ct state invalid counter drop"},
	{name: "tracking from now on", later: tracking("drop")},
	{name: "own output translated", before: `table ip nat {
			chain out { type nat hook postrouting priority 100; oifname wifi meta l4proto tcp snat to WIFI4; }
		}
		table ip6 nat {
			chain out { type nat hook postrouting priority 100; oifname wifi meta l4proto tcp snat to WIFI6; }
		}`, lane: laneLost, other: laneAny, bound: 3},
	{name: "own output masqueraded", before: `table inet nat {
			chain out { type nat hook postrouting priority 100; meta l4proto tcp masquerade; }
		}`, lane: laneUsed, other: laneUsed}, // the addresses are the same
	{name: "one path's output forbidden from now on", later: `table inet t {
			chain out { type filter hook output priority 0; oifname wifi tcp dport 4000 drop; }
		}`, lane: laneLost, other: laneUsed},
	{name: "one path's input forbidden from now on", later: `table inet t {
			chain in { type filter hook input priority 0; iifname wifi tcp sport 4000 drop; }
		}`, lane: laneAny, other: laneUsed},
}

func laneCases() (cases []laneCase) {
	for n, r := range allLaneRules {
		for i, k := range []peerKind{ourMPTCP, kernelMPTCP, kernelTCP, ourTCP} {
			plain := k == ourTCP || k == kernelTCP
			if plain && strings.HasPrefix(r.name, "one path's") {
				continue // there is no other
			}
			cases = append(cases, laneCase{r, k, plain, []int{4, 6}[(n+i/2)%2]})
		}
	}
	return cases
}

// Whatever a host does to the packets it sends, what it sends by the lane arrives,
// octet by octet, and never stands still for two seconds; and whether the lane is
// used is as it has to be.
func TestLane(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("needs nft to have rules")
	}
	cases := chosen(t, 6, laneCases())
	var tests []func(*testing.T)
	for _, c := range cases {
		tests = append(tests, func(t *testing.T) { sendByLane(t, c) })
	}
	sideBySide(t, labsAtOnce, tests, func(i int) string { return cases[i].String() })
}

// laneLinks are quick enough for what a millisecond lets go to be a train.
func laneLinks() LabConfig {
	return LabConfig{Links: []LabLink{
		{Name: "wifi", Rate: 150e6, RTT: 8 * time.Millisecond, Queue: 1 << 20},
		{Name: "cell", Rate: 100e6, RTT: 12 * time.Millisecond, Queue: 1 << 20},
	}}
}

// rules has a host's kernel take rules.
func (w *world) rules(h *Host, text string) {
	w.t.Helper()
	must(w.t, h.Do(func() error {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("nft: %w: %s", err, out)
		}
		return err
	}))
}

func sendByLane(t *testing.T, c laneCase) {
	w := newWorldFor(t, laneLinks(), 2*interopPatience)
	host := w.lab.Client
	// Addresses that only translation uses; the peer answers to them.
	other := map[string]string{}
	for family, name := range map[int]string{4: "WIFI4", 6: "WIFI6"} {
		a := host.Addr("wifi", family).As16()
		a[15] = 77
		other[name] = netip.AddrFrom16(a).Unmap().String()
	}
	text := strings.NewReplacer("WIFI4", other["WIFI4"], "WIFI6", other["WIFI6"])
	for name, a := range other {
		if !strings.Contains(c.rules.before, name) {
			continue // masquerading might choose it
		}
		must(t, host.Do(func() error { return exec.Command("ip", "addr", "add", a, "dev", "wifi", "nodad").Run() }))
	}
	w.config = func(cfg *mptcp.Config) {
		cfg.OffloadFrom = 1 // though the links are slow
		// Those are not for paths.
		for _, link := range host.Links() {
			cfg.LocalAddrs = append(cfg.LocalAddrs, host.Addr(link, c.family), w.lab.Server.Addr(link, c.family))
		}
	}
	if c.rules.before != "" {
		w.rules(host, text.Replace(c.rules.before))
	}
	l := w.connect(c.sender(), c.receiver, c.family)
	conn := l.client.(*mptcp.Conn)
	gaps, began := watchGaps(l.server), time.Now()
	s := w.stream(l.client, gaps, 4<<20)
	s.moves("enough for lanes", 3<<20)
	if !c.plain {
		w.until("two paths", func() bool { return len(lanePaths(w, conn)) >= 2 })
	}
	if c.rules.later != "" {
		w.until("the lane is used", func() bool { return lanePaths(w, conn)["wifi"].Trains > 20 })
		w.rules(host, c.rules.later)
		s.moves("more after that", 4<<20)
	}
	judge := func() error {
		paths, bound := lanePaths(w, conn), c.rules.bound
		if bound != 0 {
			bound += uint64(bits.Len64(uint64(time.Since(began) / (100 * time.Millisecond))))
		}
		err := c.rules.lane.judge("wifi", paths["wifi"], bound)
		if p, has := paths["cell"]; has {
			err = errors.Join(err, c.rules.other.judge("cell", p, bound))
		}
		return err
	}
	w.until("lanes as they must be", func() bool { return judge() == nil || s.received.Load() > 200<<20 })
	if err := judge(); err != nil {
		t.Error(err)
	}
	s.finish()
	for _, f := range conn.Stats().Subflows {
		if c.rules.later == "" && f.Ended && f.Reason != pathmgr.Closed {
			t.Errorf("a path was lost: %+v", f)
		}
	}
	if gap := gaps.longest(); gap > 2*time.Second {
		t.Errorf("nothing arrived for %v", gap)
	}
	if got := w.lab.Lost(); got > 0 {
		t.Logf("the emulator lost %d frames", got)
	}
}

// judge says what is wrong with how the lane of a path has ended.
func (e laneEnd) judge(name string, p mptcp.SubflowStats, bound uint64) error {
	switch {
	case e == laneUsed && (!p.Lane || p.Trains < 5):
		return fmt.Errorf("%s: the lane is not used: lane %t, %d trains", name, p.Lane, p.Trains)
	case e == laneLost && (p.Lane || p.Trains == 0):
		return fmt.Errorf("%s: the lane is not lost: lane %t, %d trains", name, p.Lane, p.Trains)
	case e == laneLost && bound != 0 && p.Trains > bound:
		return fmt.Errorf("%s: %d trains left by a lane that does not work", name, p.Trains)
	}
	return nil
}

// lanePaths are the paths that a connection has or had, by the name of the
// interface; the newest if there were several.
func lanePaths(w *world, c *mptcp.Conn) map[string]mptcp.SubflowStats {
	paths := make(map[string]mptcp.SubflowStats)
	for _, f := range c.Stats().Subflows {
		for _, link := range w.lab.Client.Links() {
			if a := f.Tuple.Local.Addr(); f.Up && (a == w.lab.Client.Addr(link, 4) || a == w.lab.Client.Addr(link, 6)) {
				paths[link] = f
			}
		}
	}
	return paths
}

// gapReader notes the longest time between two reads that brought something, less
// the time that this machine kept everybody waiting.
type gapReader struct {
	net.Conn
	last    time.Time
	gap     time.Duration
	stalled atomic.Int64 // nanoseconds that this process was not run when it should have
	quit    chan struct{}
}

func watchGaps(c net.Conn) *gapReader {
	g := &gapReader{Conn: c, quit: make(chan struct{})}
	go func() {
		const beat = 20 * time.Millisecond
		for last := time.Now(); ; {
			select {
			case <-g.quit:
				return
			case <-time.After(beat):
			}
			now := time.Now()
			if late := now.Sub(last) - 2*beat; late > 0 {
				g.stalled.Add(int64(late))
			}
			last = now
		}
	}()
	return g
}

func (g *gapReader) Read(p []byte) (int, error) {
	before := g.stalled.Load()
	n, err := g.Conn.Read(p)
	now := time.Now()
	if !g.last.IsZero() && n > 0 {
		g.gap = max(g.gap, now.Sub(g.last)-time.Duration(g.stalled.Load()-before))
	}
	if n > 0 {
		g.last = now
	}
	if err == io.EOF {
		close(g.quit)
	}
	return n, err
}

func (g *gapReader) CloseWrite() error { return g.Conn.(halfCloser).CloseWrite() }

// longest is called when the reader has ended.
func (g *gapReader) longest() time.Duration { return g.gap }
