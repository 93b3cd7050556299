package testenv

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/mptcp/engine"
)

// boxCase is a row of the table of middleboxes.
type boxCase struct {
	name string
	// make returns the box of a path; addr is the address of an end of a path.
	make func(paths int, addr func(d Direction, path int) netip.Addr) Box
	// checksums: our ends ask for DSS checksums, as mpnc --checksum does.
	checksums bool
	// alters: what arrives may be other octets than were sent, by the nature of
	// the box, and nothing could tell.
	alters bool
}

// plainBox is a box that does not depend on addresses.
func plainBox(f func() Box) func(int, func(Direction, int) netip.Addr) Box {
	return func(int, func(Direction, int) netip.Addr) Box { return f() }
}

// boxCases are the rows of the table.
func boxCases() []boxCase {
	strip := func(d Direction, where Where) func(int, func(Direction, int) netip.Addr) Box {
		return plainBox(func() Box { return Each(d, StripMPTCP(where)) })
	}
	return []boxCase{
		{name: "none", make: plainBox(func() Box { return Series() })},
		{name: "strips options of SYNs", make: strip(BothWays, InSYN)},
		{name: "strips options of SYN/ACKs", make: strip(BothWays, InSYNACK)},
		{name: "strips options after the first two packets", make: strip(BothWays, InRest)},
		{name: "strips them towards the server only", make: strip(ToServer, InRest)},
		{name: "strips them towards the client only", make: strip(ToClient, InRest)},
		{name: "strips options of everything", make: strip(BothWays, Everywhere)},
		{name: "strips options after the third packet", make: plainBox(func() Box { return Each(BothWays, StripAfterHandshake) })},
		{name: "rewrites sequence numbers", make: plainBox(Renumber)},
		{name: "NAT of addresses", make: plainBox(func() Box { return NAT(false) })},
		{name: "NAT of addresses and ports", make: plainBox(func() Box { return NAT(true) })},
		{name: "splits segments, copies options", make: plainBox(func() Box { return Split(500, true) })},
		{name: "splits segments, options stay with the first piece", make: plainBox(func() Box { return Split(500, false) })},
		{name: "merges segments with equal options", make: plainBox(func() Box { return Merge(false) })},
		{name: "merges segments, keeps the first's options", make: plainBox(func() Box { return Merge(true) })},
		{name: "inserts octets, checksums on", checksums: true, make: plainBox(func() Box { return Edit(3000, 3) })},
		{name: "takes octets away, checksums on", checksums: true, make: plainBox(func() Box { return Edit(3000, -3) })},
		{name: "changes octets, checksums on", checksums: true, make: plainBox(func() Box { return Each(BothWays, CorruptPayload(5)) })},
		{name: "inserts octets, no checksums", alters: true, make: plainBox(func() Box { return Edit(3000, 3) })},
		{name: "acknowledges before the server", make: plainBox(func() Box { return AckEarly(ToServer, 0, 0) })},
		{name: "acknowledges before the server, later", make: plainBox(func() Box { return AckEarly(ToServer, 20, 0) })},
		{name: "acknowledges before the server, and loses", make: plainBox(func() Box { return AckEarly(ToServer, 20, 30) })},
		{name: "shrinks windows", make: plainBox(func() Box { return ShrinkWindow(20000) })},
		{name: "forges a reset to both ends", make: plainBox(func() Box { return InjectReset(25, 1, BothWays) })},
		{name: "forges a reset to the client", make: plainBox(func() Box { return InjectReset(25, 1, ToClient) })},
		{name: "forges a reset to the server", make: plainBox(func() Box { return InjectReset(25, 1, ToServer) })},
		{name: "drops whatever has options", make: plainBox(func() Box { return Each(BothWays, DropMPTCP(Everywhere)) })},
		{name: "drops SYNs with options", make: plainBox(func() Box { return Each(BothWays, DropMPTCP(InSYN)) })},
		{name: "drops data with options", make: plainBox(func() Box { return Each(BothWays, DropMPTCP(InRest)) })},
		{name: "a hole between two addresses", make: func(paths int, addr func(Direction, int) netip.Addr) Box {
			return DropPair(addr(ToClient, paths-1), addr(ToServer, 0))
		}},
	}
}

// boxOutcome is what became of a transfer through a box.
type boxOutcome struct {
	verdict  verdict
	mptcp    bool // both ends still speak it
	both     bool // data went over more than one path
	fallback string
	err      string
	theirs   bool // it went wrong at the kernel's end, and not at ours
}

type verdict uint8

const (
	identical verdict = iota
	failed            // with an error, at least at one end, and nothing wrong at the other
	wrong             // octets that were not sent, or an end of stream too early
	hangs
)

func (o boxOutcome) String() string {
	switch {
	case o.verdict == wrong && o.theirs:
		return "**other octets** at the kernel"
	case o.verdict == wrong:
		return "**other octets**"
	case o.verdict == hangs && o.theirs:
		return "**the kernel hangs**"
	case o.verdict == hangs:
		return "**hangs**"
	case o.verdict == failed:
		return "error: " + o.err
	case o.mptcp && o.both:
		return "MPTCP on both"
	case o.mptcp:
		return "MPTCP"
	case o.fallback == "":
		return "TCP"
	}
	return "TCP (" + o.fallback + ")"
}

// reasons are short words for why a connection is plain TCP.
var reasons = map[engine.FallbackReason]string{
	engine.PeerPlain:       "plain SYN or SYN/ACK",
	engine.SynUnanswered:   "SYN unanswered",
	engine.ThirdAckPlain:   "plain third packet",
	engine.DataPlain:       "plain data",
	engine.ChecksumsWanted: "checksums wanted",
	engine.MPFailReceived:  "MP_FAIL",
	engine.InfiniteMapping: "infinite mapping",
	engine.ChecksumFailed:  "checksum failed",
}

// boxSize is what goes each way, and boxQueue room for it, so that only the boxes
// lose anything.
const (
	boxSize  = 384 << 10
	boxQueue = 2 * boxSize
)

// layout says how many paths there are and on which of them a box stands.
type layout struct {
	name  string
	paths int
	first int // the boxes stand on this path and those after it
}

var layouts = []layout{{"one path", 1, 0}, {"two paths", 2, 0}, {"two paths, box on the second", 2, 1}}

// simulate runs a case between two ends of ours.
func (c boxCase) simulate(l layout) (boxOutcome, []string) {
	links := []SimLink{
		Symmetric(10e6, 40*time.Millisecond, boxQueue, 0),
		Symmetric(20e6, 20*time.Millisecond, boxQueue, 0), // the better one, so that it is used
	}[:l.paths]
	for i := l.first; i < l.paths; i++ {
		links[i].Box = c.make(l.paths, func(d Direction, path int) netip.Addr {
			if d == ToServer {
				return simAddr(path, 2, false)
			}
			return simAddr(path, 1, false)
		})
	}
	s := NewSim(SimConfig{Seed: 7, Links: links, Engine: func(_ string, cfg *engine.Config) {
		if c.checksums {
			cfg.Checksum = engine.ChecksumAsk
		}
	}})
	a := &SimStream{Seed: 1, PeerSeed: 2, Size: boxSize, PeerSize: boxSize}
	b := &SimStream{Seed: 2, PeerSeed: 1, Size: boxSize, PeerSize: boxSize}
	s.B.Listen(9000)
	var server *SimConn
	s.B.Accepted = func(c *SimConn) { server, c.App = c, b.App }
	client := s.A.Dial(0, 0, 9000, a.App)
	over := func() bool { return a.Done() && (b.Done() || server == nil && a.Err != nil) }
	ended := s.Run(mono.Time(time.Hour), over)
	s.Run(s.Now().Add(time.Minute), nil) // and nothing goes wrong afterwards
	o := judge(a.Err, b.Err)
	if !ended {
		o.verdict = hangs
	}
	o.mptcp = true
	for _, end := range []*SimConn{client, server} {
		if end == nil {
			continue
		}
		st := end.Core.Stats()
		o.mptcp = o.mptcp && st.Multipath
		if st.Fallback != engine.NoFallback && o.fallback == "" {
			o.fallback = reasons[st.Fallback]
		}
	}
	for _, f := range client.Core.Stats().Subflows {
		o.both = o.both || f.Link != 1 && f.BytesAcked > 0 && f.BytesIn > 0
	}
	return o, s.Violations()
}

// judge says what two ends' errors mean.
func judge(client, server error) (o boxOutcome) {
	for _, err := range []error{client, server} {
		switch {
		case err == nil:
		case errors.Is(err, errWrongOctets):
			o.verdict = wrong
			return o
		case o.err == "":
			o.verdict, o.err = failed, err.Error()
		}
	}
	return o
}

// TestE4_E5_E6_E7_Middleboxes: through every box, between two ends of ours, over
// one path and over two, what arrives is what was sent, or there is an error.
func TestE4_E5_E6_E7_Middleboxes(t *testing.T) {
	known, results := knownBoxes(t), make(map[string]string)
	for _, c := range boxCases() {
		for _, l := range layouts {
			t.Run(strings.ReplaceAll(c.name, "/", "-")+", "+l.name, func(t *testing.T) {
				o, violations := c.simulate(l)
				t.Log(o)
				if o.verdict == hangs || o.verdict == wrong && !c.alters {
					t.Errorf("%v: %s", o, o.err)
				}
				for _, v := range violations {
					t.Error(v)
				}
				k := boxKey(c.name, oursAlone, l)
				results[k] = o.String()
				if known[k] != results[k] && !*writeBoxes {
					t.Errorf("%s, but %s says %q: if that is right, run with -boxes.write", o, boxDoc, known[k])
				}
			})
		}
	}
	recordBoxes(t, results)
}
