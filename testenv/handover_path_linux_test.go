package testenv

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mpnc/mpnc/mptcp"
)

// labFault is a way to lose a path at one host, and to get it back.
type labFault struct {
	name string
	set  func(lab *Lab, h *Host, link string, broken bool) error
}

var labFaults = []labFault{
	{"silence", func(lab *Lab, _ *Host, link string, broken bool) error {
		return lab.SetSilent(link, BothWays, broken)
	}},
	{"interface down", func(_ *Lab, h *Host, link string, broken bool) error { return h.SetUp(link, !broken) }},
	{"carrier lost", func(lab *Lab, h *Host, link string, broken bool) error {
		return lab.SetCarrier(h, link, !broken)
	}},
	{"address removed", func(_ *Lab, h *Host, link string, broken bool) (err error) {
		for family, bits := range map[int]int{4: 24, 6: 64} {
			if broken {
				err = errors.Join(err, h.RemoveAddr(link, h.Addr(link, family)))
			} else {
				err = errors.Join(err, h.AddAddr(link, netip.PrefixFrom(h.Addr(link, family), bits)))
			}
		}
		return err
	}},
}

// handoverCase is one way to lose a path.
type handoverCase struct {
	client, server peerKind
	fault          labFault
	end            string // where: "client" or "server"
	path           string // which
	flow           flow
	family         int
}

func (c handoverCase) String() string {
	return fmt.Sprintf("%v to %v, %v, IPv%d: %s of the %s, %s", c.client, c.server, c.flow, c.family, c.path, c.end, c.fault.name)
}

// handoverCases are all faults at both ends between two of ours, and at our end
// towards the kernel. Family and path change from case to case.
func handoverCases() (cases []handoverCase) {
	for _, pair := range [][2]peerKind{{ourMPTCP, ourMPTCP}, {ourMPTCP, kernelMPTCP}, {kernelMPTCP, ourMPTCP}} {
		for _, fault := range labFaults {
			for i, end := range []string{"client", "server"} {
				silence := fault.name == "silence" // has no end
				if silence && end == "server" || !silence && !pair[i].ours() {
					continue
				}
				for _, f := range []flow{up, down} {
					n := len(cases)
					cases = append(cases, handoverCase{
						client: pair[0], server: pair[1], fault: fault, end: end, flow: f,
						path: []string{"wifi", "cell"}[n/2%2], family: []int{4, 6}[n/3%2],
					})
				}
			}
		}
	}
	return cases
}

// A path lost in mid-transfer, at the sender's end and at the receiver's: the
// octets arrive, the rest goes on over the other path, and the path is used
// again when it answers again. (Within two seconds: TestSimPathLostAndBack.)
func TestHandoverPathLostAndBack(t *testing.T) {
	cases := chosen(t, 4, handoverCases())
	var tests []func(*testing.T)
	for _, c := range cases {
		tests = append(tests, func(t *testing.T) { loseAndRegain(t, c) })
	}
	sideBySide(t, labsAtOnce, tests, func(i int) string { return cases[i].String() })
}

// handoverLinks are slow enough for a transfer to last, and quick enough for
// the machine to have time for several.
func handoverLinks() LabConfig {
	return LabConfig{Links: []LabLink{
		{Name: "wifi", Rate: 16e6, RTT: 10 * time.Millisecond},
		{Name: "cell", Rate: 8e6, RTT: 30 * time.Millisecond},
	}}
}

func loseAndRegain(t *testing.T, c handoverCase) {
	cfg := handoverLinks()
	var from sources
	from.watch(&cfg, map[string]Direction{"client": ToServer, "server": ToClient}[c.end])
	size, patience := int64(2<<20), interopPatience
	if full() {
		size, patience = 32<<20, 4*interopPatience
	}
	w := newWorldFor(t, cfg, patience)
	if c.client == kernelMPTCP {
		must(t, w.lab.Client.AddEndpoints(c.family, Endpoint{Subflow: true}))
	}
	l := w.connect(c.client, c.server, c.family)
	ends := map[string]net.Conn{"client": l.client, "server": l.server}
	sender, receiver := l.client, l.server
	if c.flow == down {
		sender, receiver = receiver, sender
	}
	s := w.stream(sender, receiver, size)
	host := map[string]*Host{"client": w.lab.Client, "server": w.lab.Server}[c.end]
	other := map[string]string{"wifi": "cell", "cell": "wifi"}[c.path]
	dir := Direction(c.flow)
	used := func(link string, n int64) {
		t.Helper()
		target := w.carried(link, dir) + n
		w.until(fmt.Sprintf("%s carries %d octets more", link, n), func() bool { return w.carried(link, dir) >= target })
	}

	used(c.path, 200<<10)
	used(other, 100<<10)
	ours, removed := ends[c.end].(*mptcp.Conn)
	removed = removed && c.fault.name == "address removed"
	from.follow(host.Addr(c.path, c.family))
	must(t, c.fault.set(w.lab, host, c.path, true))
	if removed {
		from.quiet(w, ours)
	}
	used(other, 150<<10)
	s.moves("the rest goes on over the other path", 150<<10)
	if removed {
		from.none(t)
	}
	must(t, c.fault.set(w.lab, host, c.path, false))
	used(c.path, 100<<10)
	s.finish()
}
