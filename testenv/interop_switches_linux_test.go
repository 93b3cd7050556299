package testenv

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mpnc/mpnc/mptcp"
)

// tcpSwitch is a feature of the kernel's TCP that can be switched.
type tcpSwitch struct {
	sysctl, value string
	option        byte // that must not be seen then, in either direction; 0: none
}

const (
	optWScale        = 3
	optSACKPermitted = 4
)

var tcpSwitches = []tcpSwitch{
	{"tcp_sack", "1", 0}, // all on: what the others are held against
	{"tcp_sack", "0", optSACKPermitted},
	{"tcp_timestamps", "0", optTimestamps},
	{"tcp_window_scaling", "0", optWScale},
	{"tcp_ecn", "0", 0},
	{"tcp_ecn", "1", 0},
	{"tcp_ecn", "2", 0},
}

// switchCase is a transfer both ways with one of them.
type switchCase struct {
	interopCase
	tcpSwitch
}

func (c switchCase) String() string {
	return fmt.Sprintf("%v, %s %s", c.interopCase, c.sysctl, c.value)
}

// segmentWatch counts TCP options, by kind, and the SYNs that ask for ECN.
type segmentWatch struct {
	mu      sync.Mutex
	syn     [256]int // on SYN and SYN/ACK of the kernel
	agreed  [256]int // on everything after them, both ways, and on SYN/ACKs
	echoing int      // SYNs of the kernel with ECE
	asked   int      // SYNs
}

func (w *segmentWatch) filter(kernels bool) func([]byte) bool {
	return func(pkt []byte) bool {
		t, ok := viewTCP(pkt)
		if !ok {
			return false
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		const ece = 0x40
		where := whereOf(t)
		if where == InSYN {
			w.asked++
		}
		if kernels && where != InRest && t.flags()&ece != 0 {
			w.echoing++
		}
		t.options(func(at, _ int) {
			if kernels && where != InRest {
				w.syn[t.seg[at]]++
			}
			if where != InSYN {
				w.agreed[t.seg[at]]++
			}
		})
		return false
	}
}

// The kernel's TCP as client and as server, with each of SACK, timestamps,
// window scaling and ECN switched off in turn, over a link that loses packets:
// the same octets arrive both ways, and the packets show that it was off.
func TestInteropSwitches(t *testing.T) {
	var cases []switchCase
	for i, pair := range [][2]peerKind{{ourTCP, kernelTCP}, {kernelTCP, ourTCP}} {
		for j, s := range tcpSwitches {
			cases = append(cases, switchCase{interopCase{
				client: pair[0], server: pair[1], flow: both, family: 4 + (i+j)%2*2, size: 512 << 10,
			}, s})
		}
	}
	cases = chosen(t, 4, cases)
	var tests []func(*testing.T)
	for _, c := range cases {
		tests = append(tests, func(t *testing.T) { c.run(t) })
	}
	sideBySide(t, labsAtOnce, tests, func(i int) string { return cases[i].String() })
}

func (c switchCase) run(t *testing.T) {
	var seen segmentWatch
	fromKernel := ToClient
	if c.client == kernelTCP {
		fromKernel = ToServer
	}
	w := newWorld(t, LabConfig{Seed: 5, Links: []LabLink{{
		Name: "wifi", Rate: 20e6, RTT: 20 * time.Millisecond, Loss: 0.01,
		Tune: func(d Direction, lc *LinkConfig) { lc.Filter = seen.filter(d == fromKernel) },
	}}})
	kernel := w.lab.Server
	if fromKernel == ToServer {
		kernel = w.lab.Client
	}
	must(t, kernel.Sysctl("net.ipv4."+c.sysctl, c.value))
	w.config = func(cfg *mptcp.Config) { cfg.ECN = mptcp.ECNAsk }
	tr := w.run(c.interopCase)
	ours := tr.client
	if fromKernel == ToServer {
		ours = tr.server
	}
	agreed := ours.conn.Stats().Subflows[0].ECN

	seen.mu.Lock()
	defer seen.mu.Unlock()
	for _, kind := range []byte{optWScale, optSACKPermitted, optTimestamps} {
		on := kind != c.option
		if (seen.syn[kind] > 0) != on || (seen.agreed[kind] > 0) != on {
			t.Errorf("option %d: %d on the kernel's SYNs, %d after the first SYN", kind, seen.syn[kind], seen.agreed[kind])
		}
	}
	if blocks := seen.agreed[optSACK]; (blocks > 0) != (c.option != optSACKPermitted) {
		t.Errorf("%d segments with SACK blocks", blocks)
	}
	// tcp_ecn: 0 never, 1 asks and answers, 2 answers: the default.
	want := c.sysctl == "tcp_ecn" && c.value == "1" || fromKernel == ToClient && !(c.sysctl == "tcp_ecn" && c.value == "0")
	// Who sends a SYN again, on a machine that was busy for a second, asks for
	// nothing (RFC 3168, Section 6.1.1.1).
	again := want && seen.asked > 1
	if !again && (agreed != want || (seen.echoing > 0) != want) {
		t.Errorf("ECN agreed: %v, asked for or answered by %d SYNs of the kernel; want %v", agreed, seen.echoing, want)
	}
}
