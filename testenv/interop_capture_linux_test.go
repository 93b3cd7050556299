package testenv

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// dissected is what tshark has to say of a capture.
type dissected struct {
	frames             int
	unchecked, badSums map[string]int    // by source address: no checksum that was looked at, a bad one
	mapped, unmapped   int               // segments with payload, with and without a data-level length
	kinds              map[string]string // expert messages without their numbers: an example
	onPayload          map[string]string // those about MPTCP on segments with payload
	again              bool              // something was sent again
}

// expertFields are tshark's names for its expert messages about MPTCP.
var expertFields = []string{
	"mptcp.dss.missing_mapping", "mptcp.dss.infinite_mapping",
	"mptcp.connection.echoed_key_mismatch", "mptcp.connection.missing_algorithm", "mptcp.connection.unsupported_algorithm",
}

// dissect has tshark read the captures of all links as one, for the subflows of
// a connection only make sense together.
func dissect(t *testing.T, files ...string) (d dissected) {
	t.Helper()
	merged := filepath.Join(t.TempDir(), "merged.pcap")
	output(t, "mergecap", append([]string{"-w", merged}, files...)...)
	args := []string{"-n", "-r", merged, "-Y", "tcp",
		"-o", "mptcp.analyze_mptcp:TRUE", "-o", "mptcp.analyze_mappings:TRUE",
		"-o", "mptcp.intersubflows_retransmission:TRUE", "-o", "tcp.check_checksum:TRUE",
		// The payload is random, and the client's port may be known for a protocol.
		"-d", fmt.Sprintf("tcp.port==%d,data", interopPort),
		"-T", "fields", "-E", "separator=|", "-E", "aggregator=;"}
	fields := append([]string{"frame.number", "tcp.len", "tcp.checksum.status", "_ws.expert.message", "tcp.options.mptcp.datalvllen",
		"ip.src", "ipv6.src"}, expertFields...)
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	d.unchecked, d.badSums = make(map[string]int), make(map[string]int)
	d.kinds, d.onPayload = make(map[string]string), make(map[string]string)
	for line := range bytes.Lines(output(t, "tshark", args...)) {
		d.add(t, strings.Split(strings.TrimSpace(string(line)), "|"), len(fields))
	}
	return d
}

// output runs a program and returns what it wrote.
func output(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, &complaints)
	}
	return out
}

var (
	digits = regexp.MustCompile(`[0-9]+`)
	// ofTiming are messages that depend on what was lost or late: on a busy
	// machine that is anything.
	ofTiming  = regexp.MustCompile(`(?i)retransmission|out-of-order|duplicate ack|d-sack|previous segment|window|keep-alive|not captured|wasn't captured`)
	ofRepeats = regexp.MustCompile(`(?i)retransmission`)
	// A repeated segment may come when its receiver is through with the connection.
	ofLateRepeats = regexp.MustCompile(`^Connection reset \(RST\)$`)
	// ofChance is one in 65,536 segments: see dissected.add.
	ofChance = regexp.MustCompile(`Checksum 0xffff instead of 0x0000`)
)

// add notes one frame.
func (d *dissected) add(t *testing.T, f []string, fields int) {
	t.Helper()
	if len(f) != fields {
		t.Fatalf("tshark: %d fields in %q, want %d", len(f), f, fields)
	}
	d.frames++
	// Values of tcp.checksum.status. The last is for 0xffff where 0 is meant, which
	// is the same number (RFC 1624, Section 3); Linux's segmentation may write it.
	const good, bad, ones = "1", "0", "4"
	switch source := f[5] + f[6]; f[2] {
	case good, ones:
	case bad:
		d.badSums[source]++
	default:
		d.unchecked[source]++
	}
	d.again = d.again || ofRepeats.MatchString(f[3])
	for m := range strings.SplitSeq(f[3], ";") {
		if m != "" && !ofTiming.MatchString(m) && !ofChance.MatchString(m) {
			d.kinds[digits.ReplaceAllString(m, "N")] = "frame " + f[0]
		}
	}
	size, err := strconv.Atoi(f[1])
	if err != nil {
		t.Fatalf("tshark: tcp.len is %q", f[1])
	}
	if size == 0 {
		return
	}
	// tshark itself misses most segments that lack their mapping.
	if f[4] == "" {
		d.unmapped++
	} else {
		d.mapped++
	}
	for i, name := range expertFields {
		if f[fields-len(expertFields)+i] != "" {
			d.onPayload[name] = "frame " + f[0]
		}
	}
}

func needTshark(t *testing.T) {
	t.Helper()
	for _, name := range []string{"tshark", "mergecap"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("MPNC_REQUIRE_NETNS") != "" {
				t.Fatal("needs tshark: ", err)
			}
			t.Skip("needs tshark: ", err)
		}
	}
}

// What we send over two paths is to a dissector what the kernel's is: every
// segment with payload has its mapping, our checksums are right (of a kernel's
// that repeats a segment it has just merged, not every one is as the socket that
// captures sees it), and there is no kind of complaint that it does not have about two kernels, but for those
// that tell of losses and delays. The queues hold everything: they are few.
func TestInteropCapture(t *testing.T) {
	needTshark(t)
	dir := os.Getenv("MPNC_CAPTURE")
	if dir == "" {
		dir = t.TempDir()
	}
	cases := []interopCase{{client: kernelMPTCP, server: kernelMPTCP, family: 4}}
	cases = append(cases, chosen(t, 2, []interopCase{
		{client: ourMPTCP, server: kernelMPTCP, family: 4},
		{client: kernelMPTCP, server: ourMPTCP, family: 4},
		{client: ourMPTCP, server: ourMPTCP, family: 4},
		{client: ourMPTCP, server: kernelMPTCP, family: 6},
	})...)
	for i := range cases {
		cases[i].flow, cases[i].size, cases[i].joins = both, 2<<20, true
	}
	files := func(c interopCase) (names []string) {
		for _, link := range interopLinks().Links {
			names = append(names, filepath.Join(dir, strings.ReplaceAll(fmt.Sprint(c, " ", link.Name, ".pcap"), " ", "-")))
		}
		return names
	}
	var mu sync.Mutex
	ours := make(map[string][]netip.Addr) // by case: the addresses of our ends
	runCases(t, labsAtOnce, cases, func(t *testing.T, c interopCase) {
		lc := interopLinks()
		for i := range lc.Links {
			lc.Links[i].Queue = 8 << 20
		}
		w := newWorld(t, lc)
		if c.client == kernelMPTCP {
			must(t, w.lab.Client.AddEndpoints(c.family, Endpoint{Subflow: true}))
		}
		var stops []func() error
		for i, name := range files(c) {
			stop, err := w.lab.Capture(w.lab.Client, lc.Links[i].Name, name)
			must(t, err)
			stops = append(stops, stop)
			mu.Lock()
			for host, kind := range map[*Host]peerKind{w.lab.Client: c.client, w.lab.Server: c.server} {
				if kind == ourMPTCP {
					ours[c.String()] = append(ours[c.String()], host.Addr(lc.Links[i].Name, c.family))
				}
			}
			mu.Unlock()
		}
		// How two kernels fare with each other is not our affair.
		if tr := w.run(c); (c.client.ours() || c.server.ours()) && w.healthy(c, tr) == 0 {
			t.Error("no joins")
		}
		for _, stop := range stops {
			must(t, stop())
		}
	})
	if t.Failed() {
		return
	}
	usual := dissect(t, files(cases[0])...)
	for i, c := range cases {
		d := usual
		if i > 0 {
			d = dissect(t, files(c)...)
		}
		if d.frames < 2*int(c.size)/1500 {
			t.Errorf("%v: only %d frames", c, d.frames)
		}
		for _, a := range ours[c.String()] {
			if bad, unchecked := d.badSums[a.String()], d.unchecked[a.String()]; bad != 0 || unchecked != 0 {
				t.Errorf("%v: of what %v sent, %d frames have a bad checksum, %d none that was looked at", c, a, bad, unchecked)
			}
		}
		if d.unmapped != 0 || d.mapped < 2*int(c.size)/1500 {
			t.Errorf("%v: %d segments with payload have a mapping, %d have not", c, d.mapped, d.unmapped)
		}
		for name, example := range d.onPayload {
			t.Errorf("%v: %s on a segment with payload, %s", c, name, example)
		}
		for _, kind := range slices.Sorted(maps.Keys(d.kinds)) {
			if late := d.again && ofLateRepeats.MatchString(kind); usual.kinds[kind] == "" && !late {
				t.Errorf("%v: %q, %s, which two kernels do not make", c, kind, d.kinds[kind])
			}
		}
	}
	if len(usual.kinds) == 0 {
		t.Error("nothing at all to say about two kernels: the analysis is off")
	}
}
