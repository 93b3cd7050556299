package testenv

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// patience bounds every wait of these tests; none depends on being faster.
const patience = 30 * time.Second

// newTestLab builds a lab that ends with the test. Without the privileges for
// one the test is skipped, unless MPNC_REQUIRE_NETNS is set.
func newTestLab(t *testing.T, c LabConfig) *Lab {
	t.Helper()
	needLab(t)
	lab, err := NewLab(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error("closing the lab:", err)
		}
	})
	return lab
}

func needLab(t *testing.T) {
	t.Helper()
	if !CanLab() {
		lackLab(t)
	}
}

func lackLab(t *testing.T) {
	t.Helper()
	if os.Getenv("MPNC_REQUIRE_NETNS") != "" {
		t.Fatal("cannot make network namespaces, and MPNC_REQUIRE_NETNS is set")
	}
	t.Skip("needs the privilege to make network namespaces")
}

// twoLinks is the lab of most tests: small delays keep them quick.
var twoLinks = LabConfig{Links: []LabLink{
	{Name: "wifi", Rate: 50e6, RTT: 10 * time.Millisecond},
	{Name: "cell", Rate: 20e6, RTT: 30 * time.Millisecond},
}}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until polls until ok, and fails after patience.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("still not:", what)
		}
	}
}

// udpEcho starts a UDP echo server at one address of the host: one at all
// addresses would answer with another source than it was asked at.
func udpEcho(t *testing.T, h *Host, at netip.Addr) netip.AddrPort {
	t.Helper()
	var conn *net.UDPConn
	must(t, h.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
		return err
	}))
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = conn.WriteToUDPAddrPort(buf[:n], from)
			}
		}
	}()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// ping sends datagrams from one address to another until an answer comes.
func ping(t *testing.T, h *Host, from netip.Addr, to netip.AddrPort, size int) error {
	t.Helper()
	var conn *net.UDPConn
	err := h.Do(func() (err error) {
		conn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)),
			net.UDPAddrFromAddrPort(to))
		return err
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	want, got := bytes.Repeat([]byte{7}, size), make([]byte, 2048)
	for range 30 {
		if _, err = conn.Write(want); err != nil {
			return err
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience / 60))
		var n int
		if n, err = conn.Read(got); err == nil {
			if !bytes.Equal(got[:n], want) {
				return fmt.Errorf("echo of %d octets differs", n)
			}
			return nil
		}
	}
	return err
}

func TestLabEveryAddressFromEveryInterface(t *testing.T) {
	lab := newTestLab(t, twoLinks)
	for _, family := range []int{4, 6} {
		servers := make(map[string]netip.AddrPort)
		for _, to := range lab.Server.Links() {
			servers[to] = udpEcho(t, lab.Server, lab.Server.Addr(to, family))
		}
		for _, from := range lab.Client.Links() {
			before := lab.Stats(from, ToServer).Delivered
			backBefore := lab.Stats(from, ToClient).Delivered
			for _, to := range lab.Server.Links() {
				// 1452 octets fill an IPv6 packet of 1500.
				if err := ping(t, lab.Client, lab.Client.Addr(from, family), servers[to], 1452); err != nil {
					t.Errorf("IPv%d from %s to %s: %v", family, from, to, err)
				}
			}
			if there, back := lab.Stats(from, ToServer).Delivered-before, lab.Stats(from, ToClient).Delivered-backBefore; there < 2 || back < 2 {
				t.Errorf("IPv%d: link %s carried %d packets there and %d back, want 2 or more", family, from, there, back)
			}
		}
	}
	for _, link := range lab.Server.Links() {
		client := udpEcho(t, lab.Client, lab.Client.Addr(link, 4))
		if err := ping(t, lab.Server, lab.Server.Addr(link, 4), client, 100); err != nil {
			t.Errorf("from the server over %s: %v", link, err)
		}
	}
}

func TestLabSettings(t *testing.T) {
	lab := newTestLab(t, twoLinks)
	settings := map[string]string{
		"net.mptcp.blackhole_timeout":  "0",
		"net.ipv4.conf.wifi.rp_filter": "0",
	}
	if f, err := os.OpenFile(sysctlPath(allowedCongestion), os.O_WRONLY, 0); err == nil {
		f.Close() // not in a user namespace, where it is the system's choice
		settings["net.ipv4.tcp_congestion_control"] = "cubic"
	}
	for key, want := range settings {
		for _, h := range []*Host{lab.Client, lab.Server} {
			if got, err := h.ReadSysctl(key); err != nil || got != want {
				t.Errorf("%s: %s is %q, want %q (%v)", h.Name(), key, got, want, err)
			}
		}
	}
	out, err := lab.Client.Command("ip", "mptcp", "limits").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "add_addr_accepted 8 subflows 8") {
		t.Errorf("ip mptcp limits: %q, %v", out, err)
	}
	must(t, lab.Client.Sysctl("net.mptcp.checksum_enabled", "1"))
	if got, _ := lab.Server.ReadSysctl("net.mptcp.checksum_enabled"); got != "0" {
		t.Error("a setting of the client showed at the server")
	}
}

// routedBy asks the host's kernel by which interface it would reach to.
func routedBy(t *testing.T, h *Host, to netip.Addr, o *netlink.RouteGetOptions) string {
	t.Helper()
	name := ""
	must(t, h.Do(func() error {
		routes, err := netlink.RouteGetWithOptions(to.AsSlice(), o)
		if err != nil || len(routes) == 0 {
			return fmt.Errorf("no route to %v: %w", to, err)
		}
		link, err := netlink.LinkByIndex(routes[0].LinkIndex)
		if err == nil {
			name = link.Attrs().Name
		}
		return err
	}))
	return name
}

func TestLabRoutesForWhoAsksForAnInterface(t *testing.T) {
	lab := newTestLab(t, twoLinks)
	for _, h := range []*Host{lab.Client, lab.Server} {
		for _, oif := range h.Links() {
			for _, to := range h.Links() {
				addr := h.other().Addr(to, 4)
				if got := routedBy(t, h, addr, &netlink.RouteGetOptions{Oif: oif, FIBMatch: true}); got != oif {
					t.Errorf("%s to %v by %s: the kernel says %q", h.Name(), addr, oif, got)
				}
			}
		}
	}
}

// bulk transfers n octets from client to server and checks what arrives.
func bulk(t *testing.T, lab *Lab, mptcp bool, n int64, during func(client *KernelPeer)) (client, server PeerResult) {
	t.Helper()
	return gatedBulk(t, lab, mptcp, n, nil, during)
}

// gatedBulk is bulk of which most waits for the gate.
func gatedBulk(t *testing.T, lab *Lab, mptcp bool, n int64, gate chan struct{}, during func(client *KernelPeer)) (client, server PeerResult) {
	t.Helper()
	const seed = 5
	srv, err := KernelServer(lab.Server, netip.AddrPortFrom(lab.Server.Addr("wifi", 4), 0), PeerConfig{MPTCP: mptcp, Mode: Sink})
	must(t, err)
	defer srv.Close()
	cli, err := KernelClient(lab.Client, srv.Addr(), PeerConfig{
		MPTCP: mptcp, Mode: Source, Bytes: n, Seed: seed, From: lab.Client.Addr("wifi", 4), Gate: gate,
	})
	must(t, err)
	defer cli.Close()
	if during != nil {
		during(cli)
	}
	client, server = cli.Wait(patience), srv.Wait(patience)
	if client.Err != nil || server.Err != nil {
		t.Fatalf("client: %v, server: %v", client.Err, server.Err)
	}
	if server.Received != n || server.ReceivedSum != RandomSum(seed, n) || client.SentSum != server.ReceivedSum {
		t.Fatalf("%d octets sent, %d arrived; the same: %v", client.Sent, server.Received, client.SentSum == server.ReceivedSum)
	}
	if client.MPTCP != mptcp || server.MPTCP != mptcp {
		t.Errorf("MPTCP: client %v, server %v, want %v", client.MPTCP, server.MPTCP, mptcp)
	}
	return client, server
}

func TestLabKernelMultipathUsesBothLinks(t *testing.T) {
	lab := newTestLab(t, twoLinks)
	must(t, lab.Client.AddEndpoints(4, Endpoint{Subflow: true}))
	joinedBulk(t, lab, 2<<20)
	for _, link := range lab.Client.Links() {
		// A tenth of the data: much more than a handshake.
		if got := lab.Stats(link, ToServer).DeliveredOctets; got < 200_000 {
			t.Errorf("%s carried %d octets", link, got)
		}
	}
}

// joinedBulk is bulk of which most waits until the server has seen a join.
func joinedBulk(t *testing.T, lab *Lab, n int64) {
	t.Helper()
	gate := make(chan struct{})
	gatedBulk(t, lab, true, n, gate, func(*KernelPeer) {
		defer close(gate)
		until(t, "a join", func() bool {
			counters, err := lab.Server.Counters()
			return err == nil && counters["MPTcpExtMPJoinAckRx"] > 0
		})
	})
}

func TestLabKernelPlainTCP(t *testing.T) {
	lab := newTestLab(t, twoLinks)
	bulk(t, lab, false, 500_000, nil)
	if got := lab.Stats("cell", ToServer).DeliveredOctets; got > 10_000 {
		t.Errorf("one path, but the other link carried %d octets", got)
	}
}

func TestLabKernelPeerModes(t *testing.T) {
	lab := newTestLab(t, twoLinks)
	const n = 300_000
	tests := []struct {
		server, client PeerMode
		toServer       int64
		toClient       int64
	}{
		{Sink, Source, n, 0},
		{Source, Sink, 0, n},
		{Echo, Duplex, n, n},
		{Duplex, Duplex, n, n},
	}
	for _, tt := range tests {
		for _, family := range []int{4, 6} {
			srv, err := KernelServer(lab.Server, netip.AddrPortFrom(lab.Server.Addr("wifi", family), 0),
				PeerConfig{MPTCP: true, Mode: tt.server, Bytes: n, Seed: 1})
			must(t, err)
			cli, err := KernelClient(lab.Client, srv.Addr(), PeerConfig{MPTCP: true, Mode: tt.client, Bytes: n, Seed: 2})
			must(t, err)
			c, s := cli.Wait(patience), srv.Wait(patience)
			if c.Err != nil || s.Err != nil {
				t.Errorf("modes %v: client %v, server %v", tt, c.Err, s.Err)
			}
			if s.Received != tt.toServer || c.Received != tt.toClient {
				t.Errorf("modes %v: server got %d, client got %d", tt, s.Received, c.Received)
			}
			if s.ReceivedSum != c.SentSum || c.ReceivedSum != s.SentSum {
				t.Errorf("modes %v: what arrived is not what was sent", tt)
			}
			if c.MPTCP != true || c.Remote != srv.Addr() || s.Remote != c.Local {
				t.Errorf("modes %v: MPTCP %v, %v to %v", tt, c.MPTCP, c.Local, c.Remote)
			}
			must(t, cli.Close())
			must(t, srv.Close())
		}
	}
}

func TestLabSilentLink(t *testing.T) {
	lab := newTestLab(t, twoLinks)
	must(t, lab.Client.AddEndpoints(4, Endpoint{Subflow: true}))
	bulk(t, lab, true, 4<<20, func(client *KernelPeer) {
		until(t, "a quarter sent and the second link in use", func() bool {
			sent, _ := client.Progress()
			return sent > 1<<20 && lab.Stats("cell", ToServer).DeliveredOctets > 50_000
		})
		must(t, lab.SetSilent("wifi", BothWays, true))
	})
	if lab.Stats("wifi", ToServer).DropSilent == 0 {
		t.Error("nothing was swallowed: the transfer had ended before")
	}
}

func TestLabTimelineAndLiveChanges(t *testing.T) {
	lab := newTestLab(t, LabConfig{Links: []LabLink{{Name: "wifi", Rate: 1e6, RTT: 10 * time.Millisecond}}})
	changed := make(chan error, 2)
	lab.Play(Timeline{
		{At: 50 * time.Millisecond, Do: func() {
			changed <- lab.SetLink("wifi", BothWays, func(c *LinkConfig) { c.Rate = 100e6 })
		}},
		{At: 0, Do: func() {
			changed <- lab.SetLink("wifi", ToServer, func(c *LinkConfig) { c.Loss = 0.01 })
		}},
	})
	lab.At(time.Hour, func() { t.Error("an event of a closed lab") })
	bulk(t, lab, false, 2<<20, nil) // 17 s at the first rate
	must(t, <-changed)
	must(t, <-changed)
	if lab.Stats("wifi", ToServer).DropLoss == 0 || lab.Stats("wifi", ToClient).DropLoss != 0 {
		t.Error("loss was to be on one direction")
	}
	if lab.SetLink("none", BothWays, nil) == nil || lab.SetSilent("none", BothWays, true) == nil {
		t.Error("a link that is not there was changed")
	}
}

func TestLabAddressEvents(t *testing.T) {
	lab := newTestLab(t, twoLinks)
	for _, family := range []int{4, 6} {
		old := lab.Client.Addr("wifi", family)
		server := udpEcho(t, lab.Server, lab.Server.Addr("cell", family))
		reach := func(from netip.Addr) {
			t.Helper()
			before := lab.Stats("wifi", ToServer).Delivered
			if err := ping(t, lab.Client, from, server, 100); err != nil {
				t.Errorf("from %v: %v", from, err)
			}
			if lab.Stats("wifi", ToServer).Delivered == before {
				t.Errorf("packets of %v went elsewhere", from)
			}
		}
		next := netip.PrefixFrom(old.Next().Next().Next(), 24)
		foreign := netip.MustParsePrefix("192.168.77.9/24")
		if family == 6 {
			next = netip.PrefixFrom(next.Addr(), 64)
			foreign = netip.MustParsePrefix("fdcc::9/64")
		}
		must(t, lab.Client.AddAddr("wifi", next))
		reach(old)
		reach(next.Addr())
		must(t, lab.Client.RemoveAddr("wifi", old))
		if err := ping(t, lab.Client, old, server, 100); err == nil {
			t.Errorf("%v is removed and still works", old)
		}
		reach(next.Addr())
		must(t, lab.Client.ChangeAddr("wifi", next.Addr(), foreign))
		reach(foreign.Addr())
		if lab.Client.RemoveAddr("wifi", next.Addr()) == nil {
			t.Error("an address was removed twice")
		}
		must(t, lab.Client.ChangeAddr("wifi", foreign.Addr(), netip.PrefixFrom(old, next.Bits())))
		reach(old)
	}
}

// hasCarrier reads an interface's carrier as the host sees it.
func hasCarrier(t *testing.T, h *Host, link string) bool {
	t.Helper()
	up := false
	must(t, h.Do(func() error {
		l, err := netlink.LinkByName(link)
		if err == nil {
			up = l.Attrs().OperState == netlink.OperUp
		}
		return err
	}))
	return up
}

func TestLabInterfaceAndCarrierEvents(t *testing.T) {
	lab := newTestLab(t, twoLinks)
	servers := map[int]netip.AddrPort{}
	for _, family := range []int{4, 6} {
		servers[family] = udpEcho(t, lab.Server, lab.Server.Addr("cell", family))
	}
	reach := func(family int) {
		t.Helper()
		if err := ping(t, lab.Client, lab.Client.Addr("wifi", family), servers[family], 100); err != nil {
			t.Errorf("IPv%d: %v", family, err)
		}
	}
	for _, h := range []*Host{lab.Client, lab.Server} {
		must(t, lab.SetCarrier(h, "wifi", false))
		until(t, "carrier lost", func() bool { return !hasCarrier(t, h, "wifi") })
		if !hasCarrier(t, h.other(), "wifi") {
			t.Error("the far end lost its carrier too")
		}
		must(t, lab.SetCarrier(h, "wifi", true))
		until(t, "carrier back", func() bool { return hasCarrier(t, h, "wifi") })
		reach(4)
		reach(6)

		must(t, h.SetUp("wifi", false))
		until(t, "interface down", func() bool { return !hasCarrier(t, h, "wifi") })
		must(t, h.SetUp("wifi", true))
		until(t, "interface up", func() bool { return hasCarrier(t, h, "wifi") })
		reach(4)
		reach(6)
	}
}

func TestLabMiddlebox(t *testing.T) {
	c := LabConfig{Links: []LabLink{{Name: "wifi", Tune: func(_ Direction, c *LinkConfig) {
		c.Middlebox = StripMPTCP(InSYNACK)
	}}}}
	lab := newTestLab(t, c)
	srv, err := KernelServer(lab.Server, netip.AddrPortFrom(lab.Server.Addr("wifi", 4), 0), PeerConfig{MPTCP: true, Mode: Sink})
	must(t, err)
	defer srv.Close()
	cli, err := KernelClient(lab.Client, srv.Addr(), PeerConfig{MPTCP: true, Mode: Source, Bytes: 100_000, Seed: 1})
	must(t, err)
	defer cli.Close()
	r, s := cli.Wait(patience), srv.Wait(patience)
	if r.Err != nil || s.Err != nil || s.ReceivedSum != r.SentSum {
		t.Fatalf("client %v, server %v", r.Err, s.Err)
	}
	if r.MPTCP {
		t.Error("MPTCP without the option in the SYN/ACK")
	}
	if r.Counters["TcpExtTCPCSumErrors"]+r.Counters["TcpInCsumErrors"]+s.Counters["TcpInCsumErrors"] != 0 {
		t.Error("checksum errors behind the middlebox")
	}
}

func TestLabCapture(t *testing.T) {
	lab := newTestLab(t, twoLinks)
	dir := t.TempDir()
	stop, err := lab.Capture(lab.Client, "wifi", filepath.Join(dir, "client.pcap"))
	must(t, err)
	_, err = lab.Capture(lab.Server, "wifi", filepath.Join(dir, "server.pcap"))
	must(t, err)
	client, _ := bulk(t, lab, false, 100_000, nil)
	must(t, stop())
	must(t, stop())
	must(t, lab.Close()) // completes the other one
	// The server may have begun to count when some segments had come already.
	for file, least := range map[string]int64{"client.pcap": client.Counters["TcpOutSegs"], "server.pcap": 100_000/1448 + 1} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		must(t, err)
		if got := tcpFrames(t, b); got < least || least < 70 {
			t.Errorf("%s: %d TCP frames, the host counted %d", file, got, least)
		}
	}
}

// tcpFrames walks a capture and counts the frames with a right TCP checksum.
func tcpFrames(t *testing.T, b []byte) (n int64) {
	t.Helper()
	if len(b) < 24 || !bytes.Equal(b[:4], []byte{0x4d, 0x3c, 0xb2, 0xa1}) || b[20] != linkTypeEthernet {
		t.Fatalf("not a capture of Ethernet: % x", b[:min(24, len(b))])
	}
	for b = b[24:]; len(b) > 0; {
		if len(b) < 16 {
			t.Fatal("cut off in a record's header")
		}
		size := int(b[8]) | int(b[9])<<8
		if b = b[16:]; len(b) < size {
			t.Fatal("cut off in a frame")
		}
		if size > etherHeader && tcpOf(b[etherHeader:size]) != nil {
			if tcpSum(b[etherHeader:size]) != 0xffff {
				t.Fatal("a frame with a wrong checksum: offloads are on")
			}
			n++
		}
		b = b[size:]
	}
	return n
}

func TestLabCommandsEndWithTheLab(t *testing.T) {
	lab := newTestLab(t, twoLinks)
	out, err := lab.Server.Command("ip", "-o", "-4", "addr", "show", "dev", "cell").Output()
	if err != nil || !strings.Contains(string(out), lab.Server.Addr("cell", 4).String()) {
		t.Fatalf("ip addr in the server: %q, %v", out, err)
	}
	sleeper := lab.Client.Command("sleep", "1000")
	must(t, sleeper.Start())
	must(t, lab.Close())
	var exit *exec.ExitError
	if err := sleeper.Wait(); !errors.As(err, &exit) {
		t.Errorf("the lab's program ended with %v, want it killed", err)
	}
}

func TestLabsSideBySide(t *testing.T) {
	labs := []*Lab{newTestLab(t, twoLinks), newTestLab(t, twoLinks)}
	if labs[0].Client.Addr("wifi", 4) == labs[1].Client.Addr("wifi", 4) {
		t.Error("two labs with the same addresses")
	}
	for _, lab := range labs {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			must(t, lab.Client.AddEndpoints(4, Endpoint{Subflow: true}))
			bulk(t, lab, true, 1<<20, nil)
		})
	}
}

// traces lists what a lab could leave behind: namespaces held open or entered
// by a thread, and interfaces here that are called as theirs: others may come and
// go meanwhile, as containers do.
func traces(t *testing.T) (found []string) {
	t.Helper()
	for _, pattern := range []string{"/proc/self/fd/*", "/proc/self/task/*/ns/net"} {
		files, err := filepath.Glob(pattern)
		must(t, err)
		for _, f := range files {
			if to, err := os.Readlink(f); err == nil && (strings.HasPrefix(to, "net:") || strings.HasPrefix(to, "anon_inode:[eventfd]")) {
				found = append(found, to)
			}
		}
	}
	links, err := netlink.LinkList()
	must(t, err)
	for _, l := range links {
		if slices.ContainsFunc([]string{"client", "server", "wifi", "cell"}, func(name string) bool {
			return strings.HasPrefix(l.Attrs().Name, name)
		}) {
			found = append(found, l.Attrs().Name)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// allowedNow are the congestion controls that are allowed while no lab, of
// whatever process, is about to set one.
func allowedNow(t *testing.T) (names string) {
	t.Helper()
	must(t, inInitial(func() error {
		return alone(func() error {
			b, err := os.ReadFile(sysctlPath(allowedCongestion))
			if errors.Is(err, os.ErrNotExist) {
				err = nil // in a user namespace
			}
			names = string(b)
			return err
		})
	}))
	return names
}

func TestLabLeavesNothingBehind(t *testing.T) {
	needLab(t)
	allowed := allowedNow(t)
	before := traces(t)
	lab, err := NewLab(twoLinks)
	must(t, err)
	if slices.Equal(traces(t), before) {
		t.Error("a lab leaves no traces even while it lives: the test sees nothing")
	}
	bulk(t, lab, true, 100_000, nil)
	must(t, lab.Close())
	must(t, lab.Close())
	until(t, "threads ended", func() bool { return slices.Equal(traces(t), before) })
	if !errors.Is(lab.SetSilent("wifi", BothWays, true), net.ErrClosed) || lab.Stats("wifi", ToServer).Delivered == 0 {
		t.Error("a closed lab was changed, or forgot its counters")
	}
	if lost := lab.Lost(); lost != 0 {
		t.Errorf("the emulator lost %d frames of a small transfer", lost)
	}
	if err := lab.Client.Do(func() error { return nil }); err == nil {
		t.Error("a closed lab's host can be entered")
	}
	if after := allowedNow(t); after != allowed {
		t.Errorf("allowed congestion controls are %q, were %q", after, allowed)
	}
	for _, c := range []LabConfig{{}, {Links: []LabLink{{Name: "a"}, {Name: "a"}}}, {Links: []LabLink{{Name: "lo"}}},
		{Links: []LabLink{{Name: "ok"}, {Name: "not/ok"}}}} {
		if _, err := NewLab(c); err == nil {
			t.Errorf("lab %+v was built", c)
		}
	}
	until(t, "failed labs gone", func() bool { return slices.Equal(traces(t), before) })
}

func TestLabInUserNamespace(t *testing.T) {
	if InUserNamespace() {
		lab := newTestLab(t, twoLinks)
		must(t, lab.Client.AddEndpoints(4, Endpoint{Subflow: true}))
		joinedBulk(t, lab, 1<<20)
		fmt.Println("congestion control", lab.Congestion())
		return
	}
	cmd := userNSCommand([]string{"-test.run=^TestLabInUserNamespace$", "-test.v"})
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, &out, &out
	err := cmd.runLocked()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		lackLab(t) // this system has no user namespaces for us
	}
	if err != nil || !strings.Contains(out.String(), "--- PASS: TestLabInUserNamespace") {
		t.Fatalf("%v\n%s", err, out.String())
	}
}

func TestParseCounters(t *testing.T) {
	got := make(map[string]int64)
	parseCounters([]byte("Tcp: InSegs OutSegs MaxConn\nTcp: 5 6 -1\nMPTcpExt: MPCapableSYNRX\nMPTcpExt: 7\n"), got)
	parseCounters([]byte("Ip6InReceives                   \t8\n\nIp6Bad x\n"), got)
	// A table whose second line is missing, or of another length, is passed over.
	parseCounters([]byte("Udp: A B\nUdp: 1\nIcmp: C\n"), got)
	want := map[string]int64{"TcpInSegs": 5, "TcpOutSegs": 6, "TcpMaxConn": -1, "MPTcpExtMPCapableSYNRX": 7, "Ip6InReceives": 8}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
