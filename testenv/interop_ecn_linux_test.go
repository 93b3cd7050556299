package testenv

import (
	"testing"
	"time"

	"github.com/mpnc/mpnc/mptcp"
)

// ECN between our stack and a kernel that uses it, in both roles, directions
// and families, over a link that marks: both ends agree on it, the marks
// arrive and are echoed, and so are the octets (T75). With the kernel's ECN
// switched off the octets arrive all the same, and nothing is marked.
func TestT75_InteropECN(t *testing.T) {
	type ecnCase struct {
		interopCase
		kernel string // net.ipv4.tcp_ecn
	}
	var cases []ecnCase
	for _, pair := range [][2]peerKind{{ourTCP, kernelTCP}, {kernelTCP, ourTCP}, {ourMPTCP, kernelMPTCP}, {kernelMPTCP, ourMPTCP}} {
		for _, f := range []flow{up, down} {
			for _, family := range []int{4, 6} {
				c := interopCase{client: pair[0], server: pair[1], flow: f, family: family, size: 4 << 20}
				cases = append(cases, ecnCase{c, "1"})
				if family == 4 {
					cases = append(cases, ecnCase{c, "0"})
				}
			}
		}
	}
	cases = chosen(t, 4, cases)
	var tests []func(*testing.T)
	for _, c := range cases {
		tests = append(tests, func(t *testing.T) { interopECN(t, c.interopCase, c.kernel) })
	}
	sideBySide(t, labsAtOnce, tests, func(i int) string {
		return cases[i].String() + ", tcp_ecn " + cases[i].kernel
	})
}

func interopECN(t *testing.T, c interopCase, tcpECN string) {
	w := newWorld(t, LabConfig{Seed: 7, Links: []LabLink{{
		Name: "wifi", Rate: 20e6, RTT: 20 * time.Millisecond, Queue: 200_000,
		Tune: func(_ Direction, lc *LinkConfig) { lc.Mark = 20_000 },
	}}})
	kernel := w.lab.Server
	if !c.client.ours() {
		kernel = w.lab.Client
	}
	must(t, kernel.Sysctl("net.ipv4.tcp_ecn", tcpECN))
	w.config = func(cfg *mptcp.Config) {
		if c.client.ours() {
			cfg.ECN = mptcp.ECNAsk
		}
	}
	tr := w.run(c)
	e := tr.client
	if !c.client.ours() {
		e = tr.server
	}
	sf := e.conn.Stats().Subflows[0]
	marked := w.lab.Stats("wifi", Direction(c.flow)).Marked
	counters, err := kernel.Counters()
	must(t, err)
	if tcpECN == "0" {
		if marked != 0 || sf.ECN {
			t.Errorf("the kernel has no ECN: %d marked, agreed %v", marked, sf.ECN)
		}
		return
	}
	if !sf.ECN || marked == 0 {
		t.Fatalf("agreed: %v; %d marked", sf.ECN, marked)
	}
	arrived, echoed := counters["IpExtInCEPkts"], int64(sf.ECEIn)
	if c.family == 6 {
		arrived = counters["Ip6InCEPkts"]
	}
	if e.cfg.Mode == Sink {
		arrived, echoed = int64(sf.CEIn), counters["TcpExtTCPDeliveredCE"]
	}
	if arrived == 0 || echoed == 0 {
		t.Errorf("%d marked, %d marks arrived, %d were echoed", marked, arrived, echoed)
	}
	t.Logf("%d marked, %d arrived, %d echoed; %d sent again", marked, arrived, echoed, sf.Retransmits)
}
