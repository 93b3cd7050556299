package testenv

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mpnc/mpnc/mptcp"
)

// fallbackCase is a transfer that has to become plain TCP.
type fallbackCase struct {
	interopCase
	name  string    // what the network removes
	strip Middlebox // how; nil: nothing
	sides Direction // in which directions
	// What the ends of ours may give as the reason.
	atClient, atServer []mptcp.FallbackReason
}

func (c fallbackCase) String() string {
	if c.strip == nil {
		return c.interopCase.String()
	}
	return fmt.Sprintf("%v, %s stripped %s", c.interopCase, c.name, flow(c.sides))
}

func because(r ...mptcp.FallbackReason) []mptcp.FallbackReason { return r }

// plainPeers are peers that do not speak MPTCP, in both roles.
func plainPeers() (cases []fallbackCase) {
	for _, pair := range [][2]peerKind{
		{ourMPTCP, kernelTCP}, {kernelTCP, ourMPTCP}, {ourMPTCP, ourTCP}, {ourTCP, ourMPTCP},
	} {
		c := fallbackCase{atClient: because(mptcp.PeerPlain), atServer: because(mptcp.PeerPlain)}
		if pair[0] == ourTCP {
			c.atClient = because(mptcp.Configured)
		}
		if pair[1] == ourTCP {
			c.atServer = because(mptcp.Configured)
		}
		for i, f := range []flow{up, down, both} {
			c.interopCase = interopCase{client: pair[0], server: pair[1], flow: f, family: 4 + i%2*2}
			cases = append(cases, c)
		}
	}
	return cases
}

// strippers are networks that remove MPTCP options. What either end finds out
// depends on what reaches it, and on who has data to send.
func strippers() (cases []fallbackCase) {
	late := because(mptcp.DataPlain, mptcp.InfiniteMapping)
	for i, c := range []fallbackCase{
		{name: "SYN", strip: StripMPTCP(InSYN), sides: BothWays,
			atClient: because(mptcp.PeerPlain), atServer: because(mptcp.PeerPlain)},
		{name: "SYN-ACK", strip: StripMPTCP(InSYNACK), sides: BothWays,
			atClient: because(mptcp.PeerPlain), atServer: because(mptcp.ThirdAckPlain)},
		{name: "the rest", strip: StripMPTCP(InRest), sides: BothWays,
			atClient: because(mptcp.DataPlain), atServer: because(mptcp.ThirdAckPlain)},
		{name: "the rest", strip: StripMPTCP(InRest), sides: ToServer,
			atClient: late, atServer: because(mptcp.ThirdAckPlain)},
		{name: "the rest", strip: StripMPTCP(InRest), sides: ToClient,
			atClient: because(mptcp.DataPlain), atServer: late},
		{name: "all after the handshake", strip: StripAfterHandshake, sides: BothWays,
			atClient: because(mptcp.DataPlain), atServer: because(mptcp.DataPlain)},
	} {
		for _, pair := range [][2]peerKind{{ourMPTCP, kernelMPTCP}, {kernelMPTCP, ourMPTCP}, {ourMPTCP, ourMPTCP}} {
			for j, f := range []flow{up, down, both} {
				c.interopCase = interopCase{client: pair[0], server: pair[1], flow: f, family: 4 + (i+j)%2*2}
				if !c.neverNoticed() {
					cases = append(cases, c)
				}
			}
		}
	}
	return cases
}

// neverNoticed reports whether the kernel does not learn of the fallback: as a
// server it takes the keys of the third packet for proof of MPTCP, and ACKs
// without options tell it nothing. With nothing to receive it sends its stream
// again and again, as new octets of the subflow, for want of a DATA_ACK: to
// another kernel as to us (Linux 6.18).
func (c fallbackCase) neverNoticed() bool {
	keys := c.name == "all after the handshake" || c.name == "the rest" && c.sides == ToClient
	return c.server == kernelMPTCP && c.flow == down && keys
}

// A peer without MPTCP, or a network that removes its options: the octets
// arrive all the same, on plain TCP, and the connection says why it is that.
func TestInteropFallback(t *testing.T) {
	cases := chosen(t, 8, append(plainPeers(), strippers()...))
	var tests []func(*testing.T)
	for _, c := range cases {
		c.size = 256 << 10
		tests = append(tests, func(t *testing.T) { c.run(t) })
	}
	sideBySide(t, 2*labsAtOnce, tests, func(i int) string { return cases[i].String() })
}

func (c fallbackCase) run(t *testing.T) {
	lc := interopLinks()
	for i := range lc.Links {
		lc.Links[i].Tune = func(d Direction, l *LinkConfig) {
			if d&c.sides != 0 {
				l.Middlebox = c.strip
			}
		}
	}
	w := newWorld(t, lc)
	if c.client == kernelMPTCP {
		must(t, w.lab.Client.AddEndpoints(c.family, Endpoint{Subflow: true}))
	}
	tr := w.run(c.interopCase)
	if tr.atClient.MPTCP || tr.atServer.MPTCP {
		t.Errorf("MPTCP: client %v, server %v", tr.atClient.MPTCP, tr.atServer.MPTCP)
	}
	w.fellBack(tr.client, c.atClient)
	w.fellBack(tr.server, c.atServer)
}

// fellBack checks the reason that one end of ours gives, and that OnPath told
// it; or that a kernel has seen nothing worse than plain TCP.
func (w *world) fellBack(e *end, want []mptcp.FallbackReason) {
	w.t.Helper()
	if e.conn == nil {
		w.fellBackKernel(e.host)
		return
	}
	w.mu.Lock()
	told := w.fell[e.conn]
	w.mu.Unlock()
	st := e.conn.Stats()
	if !slices.Contains(want, st.Fallback) || told != st.Fallback || e.conn.Fallback() != told {
		w.t.Errorf("%s: fallback %v, told %v, want one of %v", e.host.Name(), st.Fallback, told, want)
	}
	if len(st.Subflows) != 1 || st.MPRstTx+st.MPRstRx+st.MPFastcloseTx+st.MPFastcloseRx != 0 {
		w.t.Errorf("%s: %d subflows, or resets: %+v", e.host.Name(), len(st.Subflows), st)
	}
}

// fellBackKernel checks a kernel's counters of what must not happen on the way
// to plain TCP.
func (w *world) fellBackKernel(h *Host) {
	w.t.Helper()
	counters, err := h.Counters()
	must(w.t, err)
	for name, n := range counters {
		for _, bad := range []string{"MPRst", "Fastclose", "FallbackFailed", "CsumErr", "MPFail", "HMac"} {
			if n != 0 && strings.HasPrefix(name, "MPTcpExt") && strings.Contains(name, bad) {
				w.t.Errorf("%s: the kernel's %s is %d", h.Name(), name, n)
			}
		}
	}
	if n := counters["TcpEstabResets"]; n != 0 {
		w.t.Errorf("%s: the kernel counted %d connections reset", h.Name(), n)
	}
}
