package testenv

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/mpnc/mpnc/mptcp"
)

// checksumCase is a transfer with DSS checksums.
type checksumCase struct {
	interopCase
	ours, kernels bool // who asks for them
	paths         int

	changed string // the link on which one octet is changed on the way; "": none
	at      int    // in which segment with payload
}

func (c checksumCase) String() string {
	name := fmt.Sprintf("%v, %d paths, asked for by us %t by the kernel %t", c.interopCase, c.paths, c.ours, c.kernels)
	if c.changed != "" {
		name += fmt.Sprintf(", segment %d changed on %s", c.at, c.changed)
	}
	return name
}

var mixedPairs = [][2]peerKind{{ourMPTCP, kernelMPTCP}, {kernelMPTCP, ourMPTCP}}

// setUp is the world of a case. Where nothing joins there is one path.
func (c checksumCase) setUp(t *testing.T) *world {
	lc := interopLinks()
	for i := range lc.Links {
		if lc.Links[i].Name == c.changed {
			lc.Links[i].Tune = func(d Direction, l *LinkConfig) {
				if d == Direction(c.flow) {
					l.Middlebox = changeOne(c.at)
				}
			}
		}
	}
	w := newWorld(t, lc)
	w.config = func(cfg *mptcp.Config) {
		if c.ours {
			cfg.Checksum = mptcp.ChecksumAsk
		}
		if c.paths == 1 {
			cfg.MaxSubflows = 1
		}
	}
	for _, h := range []*Host{w.lab.Client, w.lab.Server} {
		if c.kernels {
			must(t, h.Sysctl("net.mptcp.checksum_enabled", "1"))
		}
		if c.paths == 1 {
			must(t, h.SetMPTCPLimits(0, 0))
		}
	}
	if c.client == kernelMPTCP && c.paths > 1 {
		must(t, w.lab.Client.AddEndpoints(c.family, Endpoint{Subflow: true}))
	}
	return w
}

// changeOne inverts one octet of the nth segment with payload, and of no other.
func changeOne(nth int) Middlebox {
	box, seen := CorruptPayload(nth), 0
	return func(pkt []byte) []byte {
		if t, ok := viewTCP(pkt); ok && len(t.payload()) > 0 {
			seen++
		}
		if seen > nth {
			return pkt
		}
		return box(pkt)
	}
}

// Checksums with the kernel, asked for by either side or both, in both roles,
// with one path and with two: they are used, and none fails.
func TestInteropChecksum(t *testing.T) {
	var cases []checksumCase
	for i, pair := range mixedPairs {
		for j, who := range [][2]bool{{true, false}, {false, true}, {true, true}} {
			for paths := 1; paths <= 2; paths++ {
				cases = append(cases, checksumCase{
					interopCase: interopCase{client: pair[0], server: pair[1], flow: both, family: 4 + (i+j+paths)%2*2, size: 1 << 20},
					ours:        who[0], kernels: who[1], paths: paths,
				})
			}
		}
	}
	cases = chosen(t, 4, cases)
	var tests []func(*testing.T)
	for _, c := range cases {
		tests = append(tests, func(t *testing.T) {
			w := c.setUp(t)
			c.joins = c.paths > 1
			tr := w.run(c.interopCase)
			joins := w.healthy(c.interopCase, tr)
			if (joins > 0) != (c.paths > 1) {
				t.Errorf("%d joins", joins)
			}
			for _, e := range []*end{tr.client, tr.server} {
				if e.conn == nil {
					continue
				}
				if st := e.conn.Stats(); !st.Checksums || st.DataCsumErr != 0 {
					t.Errorf("checksums used: %t, failed: %d", st.Checksums, st.DataCsumErr)
				}
			}
		})
	}
	sideBySide(t, labsAtOnce, tests, func(i int) string { return cases[i].String() })
}

// A middlebox changes one octet: beside another path it is found, and comes
// again; on the only path, or while there is only one, it is an error of both
// ends. What arrives is never
// anything but what was sent.
func TestInteropChangedData(t *testing.T) {
	var cases []checksumCase
	for i, pair := range mixedPairs {
		for j, f := range []flow{up, down} {
			for k, v := range []struct {
				changed   string
				paths, at int
			}{{"wifi", 1, 60}, {"wifi", 2, 30}, {"wifi", 2, 200}, {"cell", 2, 60}} {
				cases = append(cases, checksumCase{
					interopCase: interopCase{client: pair[0], server: pair[1], flow: f, family: 4 + (i+j+k)%2*2, size: 3 << 20},
					ours:        true, kernels: k == 1, paths: v.paths, changed: v.changed, at: v.at,
				})
			}
		}
	}
	cases = chosen(t, 6, cases)
	var tests []func(*testing.T)
	for _, c := range cases {
		tests = append(tests, func(t *testing.T) { c.runChanged(t) })
	}
	sideBySide(t, labsAtOnce, tests, func(i int) string { return cases[i].String() })
}

// transfer is run for a case that may fail.
func (w *world) transfer(c interopCase, seed uint64) transferred {
	w.t.Helper()
	clientMode, serverMode := c.flow.modes()
	var gate chan struct{}
	if c.joins {
		gate = make(chan struct{})
	}
	// Linux says with new data only that it falls back; one whose send buffer is
	// full by then, for want of DATA_ACKs, never does, and waits for ever.
	head := int64(0)
	if c.falls {
		gate, head = make(chan struct{}), 256<<10
	}
	server := w.newEnd(w.lab.Server, c.server, PeerConfig{Mode: serverMode, Bytes: c.size, Seed: seed, Gate: gate, Head: head}, false)
	client := w.newEnd(w.lab.Client, c.client, PeerConfig{Mode: clientMode, Bytes: c.size, Seed: seed, Gate: gate, Head: head}, false)
	at := netip.AddrPortFrom(w.lab.Server.Addr("wifi", c.family), interopPort)
	server.listen(at)
	client.dial(at)
	if c.joins {
		w.open(gate, "further path", func() bool { return w.joined(c) })
	}
	if c.falls {
		w.open(gate, "MP_FAIL", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return slices.ContainsFunc(w.conns, func(wc worldConn) bool {
				st := wc.conn.Stats()
				return st.MPFailTx > 0 && st.MPFailRx > 0
			})
		})
	}
	return transferred{client: client, server: server, atClient: client.wait(), atServer: server.wait()}
}

func (c checksumCase) runChanged(t *testing.T) {
	const most = 3
	for try := 1; !c.tryChanged(t, try == most); try++ {
		t.Logf("once more, after attempt %d: what was changed was nothing that anybody needed", try)
	}
}

// tryChanged returns false if a try that is not the last has shown nothing: on a
// busy machine there may not be so many segments on a path, or the one that is
// changed has come before.
func (c checksumCase) tryChanged(t *testing.T, last bool) bool {
	w := c.setUp(t)
	const seed = 33
	beside := c.paths > 1 && c.at > 30 // there is another path when it happens
	if c.joins = beside; c.paths > 1 && !beside {
		must(t, w.lab.SetSilent("cell", BothWays, true)) // nor can there be
	}
	tr := w.transfer(c.interopCase, seed)
	client, server, atClient, atServer := tr.client, tr.server, tr.atClient, tr.atServer
	ours, receiver := client, atServer
	if c.client == kernelMPTCP {
		ours = server
	}
	if c.flow == down {
		receiver = atClient
	}
	oursReceives := (ours == server) == (c.flow == up)

	st := ours.conn.Stats()
	if oursReceives && st.DataCsumErr == 0 || !oursReceives && st.MPFailRx == 0 {
		if beside && !last && receiver.Received == c.size && receiver.ReceivedSum == RandomSum(seed, c.size) {
			return false
		}
		t.Errorf("nobody noticed: %d checksums failed here, %d MP_FAIL received", st.DataCsumErr, st.MPFailRx)
	}
	if beside {
		w.arrived("receiver", receiver, true, seed, c.size)
		if atClient.Err != nil || atServer.Err != nil || st.Fallback != mptcp.NoFallback {
			t.Errorf("client: %v, server: %v, fallback %d", atClient.Err, atServer.Err, st.Fallback)
		}
		return true
	}
	// One clear error here; the kernel's is that of a reset connection.
	var altered *mptcp.AlteredError
	result := atServer
	if ours == client {
		result = atClient
	}
	if !errors.As(result.Err, &altered) || altered.Peer == oursReceives {
		t.Errorf("our error is %v", result.Err)
	}
	if receiver.Err == nil {
		t.Errorf("the receiver has no error and %d octets of %d", receiver.Received, c.size)
	}
	return true
}

// The same on the only path, with TakeAltered: MP_FAIL and infinite mapping, as
// RFC 8684, Section 3.7, has it, and the rest of the data comes on plain TCP.
func TestInteropFallbackOnChangedData(t *testing.T) {
	var cases []checksumCase
	for i, pair := range mixedPairs {
		for j, f := range []flow{up, down} {
			cases = append(cases, checksumCase{
				interopCase: interopCase{client: pair[0], server: pair[1], flow: f, family: 4 + (i+j)%2*2, size: 1 << 20},
				ours:        true, paths: 1, changed: "wifi", at: 60,
			})
		}
	}
	cases = chosen(t, 2, cases)
	var tests []func(*testing.T)
	for _, c := range cases {
		tests = append(tests, func(t *testing.T) {
			w := c.setUp(t)
			ask := w.config
			w.config = func(cfg *mptcp.Config) { ask(cfg); cfg.TakeAltered = true }
			c.falls = true
			tr := w.transfer(c.interopCase, 33)
			ours, receiver, want := tr.client, tr.atServer, mptcp.MPFailReceived
			if c.client == kernelMPTCP {
				ours = tr.server
			}
			if c.flow == down {
				receiver = tr.atClient
			}
			if (ours == tr.server) == (c.flow == up) {
				want = mptcp.ChecksumFailed
			}
			if tr.atClient.Err != nil || tr.atServer.Err != nil || receiver.Received != c.size {
				t.Errorf("client: %v, server: %v, %d octets", tr.atClient.Err, tr.atServer.Err, receiver.Received)
			}
			if receiver.ReceivedSum == RandomSum(33, c.size) {
				t.Error("the octet was not changed")
			}
			if st := ours.conn.Stats(); st.Fallback != want || st.MPFailTx == 0 || st.MPFailRx == 0 {
				t.Errorf("fallback %d, want %d; MP_FAIL %d sent, %d received", st.Fallback, want, st.MPFailTx, st.MPFailRx)
			}
		})
	}
	sideBySide(t, labsAtOnce, tests, func(i int) string { return cases[i].String() })
}
