package testenv

import (
	"math"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/mpnc/mpnc/mptcp"
)

// transferSize is how much a transfer moves: the slower link, which joins later,
// must have the time to come up to speed and carry a tenth.
func transferSize() int64 {
	if full() {
		return 32 << 20
	}
	return 6 << 20
}

// Our stack and the kernel's MPTCP in all pairings, in all directions, over
// both families: the same octets arrive, both links carry them, and the
// kernel's counters have nothing to complain about.
func TestInteropTransfer(t *testing.T) {
	var cases []interopCase
	for _, pair := range [][2]peerKind{{ourMPTCP, kernelMPTCP}, {kernelMPTCP, ourMPTCP}, {ourMPTCP, ourMPTCP}} {
		for _, f := range []flow{up, down, both} {
			for _, family := range []int{4, 6} {
				cases = append(cases, interopCase{client: pair[0], server: pair[1], flow: f, family: family, size: transferSize(), joins: true})
			}
		}
	}
	runCases(t, labsAtOnce, chosen(t, 3, cases), func(t *testing.T, c interopCase) {
		w := newWorld(t, interopLinks())
		if c.client == kernelMPTCP {
			must(t, w.lab.Client.AddEndpoints(c.family, Endpoint{Subflow: true}))
		}
		tr := w.run(c)
		if w.healthy(c, tr) == 0 {
			t.Error("no joins")
		}
		w.shares(c)
	})
}

// runCases runs each case as a subtest, n at a time.
func runCases(t *testing.T, n int, cases []interopCase, run func(*testing.T, interopCase)) {
	t.Helper()
	var tests []func(*testing.T)
	for _, c := range cases {
		tests = append(tests, func(t *testing.T) { run(t, c) })
	}
	sideBySide(t, n, tests, func(i int) string { return cases[i].String() })
}

// healthy checks that both ends spoke MPTCP to the end and that nothing went
// wrong on the way. It returns how many joins each end counted at least.
func (w *world) healthy(c interopCase, tr transferred) (joins int64) {
	w.t.Helper()
	if !tr.atClient.MPTCP || !tr.atServer.MPTCP {
		w.t.Errorf("MPTCP: client %v, server %v", tr.atClient.MPTCP, tr.atServer.MPTCP)
	}
	joins = math.MaxInt64
	// A join that comes when a program has ended already is reset; so is, beyond
	// the limit, one that is tried since the machine was too busy to answer.
	late := 0
	for _, e := range []*end{tr.client, tr.server} {
		if c.exits || e.conn != nil && slices.ContainsFunc(e.conn.Stats().Subflows, func(f mptcp.SubflowStats) bool { return f.RTOs > 0 }) {
			late = 1
		}
	}
	if c.client == kernelMPTCP {
		joins = min(joins, healthyKernel(w.t, w.lab.Client, "MPTcpExtMPJoinSynAckRx", late))
	}
	if c.server == kernelMPTCP {
		joins = min(joins, healthyKernel(w.t, w.lab.Server, "MPTcpExtMPJoinAckRx", late))
	}
	for _, e := range []*end{tr.client, tr.server} {
		if e.conn != nil {
			joins = min(joins, w.healthyConn(e.host, e.conn))
		}
	}
	return joins
}

// healthyConn is for our own counters what healthyKernel is for the kernel's.
// MPRstRx is not among them: a kernel that has closed a finished connection
// resets the subflow on which data is still sent again that has arrived by
// another, and does not count that itself.
func (w *world) healthyConn(h *Host, c *mptcp.Conn) (joins int64) {
	w.t.Helper()
	st := c.Stats()
	for name, n := range map[string]uint64{
		"Fallback":       uint64(st.Fallback),
		"MPJoinHMACFail": st.MPJoinHMACFail,
		"MPRstTx":        st.MPRstTx,
		"MPFastcloseTx":  st.MPFastcloseTx,
		"MPFastcloseRx":  st.MPFastcloseRx,
		"NoDSSInWindow":  st.NoDSSInWindow,
		"InvalidGrants":  st.InvalidGrants,
	} {
		if n != 0 {
			w.t.Errorf("%s: our %s is %d", h.Name(), name, n)
		}
	}
	return int64(st.MPJoinSynAckRx + st.MPJoinAckRx)
}

// shares checks that both links carried at least a tenth of the data.
func (w *world) shares(c interopCase) {
	w.t.Helper()
	for _, d := range []Direction{ToServer, ToClient} {
		if Direction(c.flow)&d == 0 {
			continue
		}
		for _, link := range w.lab.Client.Links() {
			got := int64(w.lab.Stats(link, d).DeliveredOctets)
			w.t.Logf("%s carried %d of %d octets", link, got, c.size)
			if got < c.size/10 {
				w.t.Errorf("%s carried %d octets of %d in direction %d", link, got, c.size, d)
			}
		}
	}
}

// A program that ends right after its last octet, over links that lose every
// twentieth packet, leaves nothing undone: the peer has it all, and saw a
// connection close as it should. The join may lose its SYN more than once, and
// comes too late then, but seldom.
func TestInteropExit(t *testing.T) {
	rounds := 1
	if full() {
		rounds = 10
	}
	var cases []interopCase
	for range rounds {
		for _, pair := range [][2]peerKind{{ourMPTCP, kernelMPTCP}, {kernelMPTCP, ourMPTCP}, {ourMPTCP, ourMPTCP}} {
			for _, f := range []flow{up, down, both} {
				cases = append(cases, interopCase{client: pair[0], server: pair[1], flow: f, family: 4, size: 3 << 19, exits: true})
			}
		}
	}
	var ran, joined atomic.Int64
	runCases(t, 2*labsAtOnce, chosen(t, 3, cases), func(t *testing.T, c interopCase) {
		lc := interopLinks()
		for i := range lc.Links {
			lc.Links[i].Loss = 0.05
		}
		w := newWorld(t, lc)
		if c.client == kernelMPTCP {
			must(t, w.lab.Client.AddEndpoints(c.family, Endpoint{Subflow: true}))
		}
		tr := w.run(c)
		ran.Add(1)
		if w.healthy(c, tr) > 0 {
			joined.Add(1)
		}
	})
	if joined.Load() < ran.Load()/2 {
		t.Errorf("only %d of %d connections had a join", joined.Load(), ran.Load())
	}
}
