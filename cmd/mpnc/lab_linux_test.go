package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/control"
	"github.com/mpnc/mpnc/testenv"
)

// These tests run mpnc with our own stack between real hosts. The hosts' own
// TCP must have nothing to do with it: MPTCP is off in the kernel, and no
// connection of its may be opened.

const (
	wifi     = "wifi"
	cellular = "cellular"
)

func newLab(t *testing.T, change func(*testenv.LabConfig)) *testenv.Lab {
	t.Helper()
	if !testenv.CanLab() {
		if os.Getenv("MPNC_REQUIRE_NETNS") != "" {
			t.Fatal("cannot make network namespaces, and MPNC_REQUIRE_NETNS is set")
		}
		t.Skip("needs the privilege to make network namespaces")
	}
	c := testenv.LabConfig{Links: []testenv.LabLink{
		{Name: wifi, Rate: 50e6, RTT: 10 * time.Millisecond},
		{Name: cellular, Rate: 20e6, RTT: 30 * time.Millisecond},
	}}
	if change != nil {
		change(&c)
	}
	lab, err := testenv.NewLab(c)
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

// in prepares mpnc on a host, where the kernel's MPTCP is switched off.
func in(t *testing.T, h *testenv.Host, args ...string) *process {
	t.Helper()
	if err := h.Sysctl("net.mptcp.enabled", "0"); err != nil {
		t.Fatal(err)
	}
	p := prepare(t, args...)
	p.SysProcAttr = nil // as root
	p.within = h.Do
	return p
}

// noKernelTCP checks at the end that the kernel had no part in it.
func noKernelTCP(t *testing.T, hosts ...*testenv.Host) {
	t.Helper()
	for _, h := range hosts {
		before, err := h.Counters()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			grown, err := h.CountersSince(before)
			if err != nil {
				t.Error(err)
			}
			for _, name := range []string{"TcpActiveOpens", "TcpPassiveOpens"} {
				if grown[name] != 0 {
					t.Errorf("%s: %s grew by %d", h.Name(), name, grown[name])
				}
			}
		})
	}
}

// listenIn starts mpnc -l on the server.
func listenIn(t *testing.T, lab *testenv.Lab, args ...string) *process {
	t.Helper()
	l := in(t, lab.Server, append([]string{"-v", "-l", "-d"}, append(args, "4000")...)...).begin()
	l.says(`listening on`)
	return l
}

func serverAddr(lab *testenv.Lab) string { return lab.Server.Addr(wifi, 4).String() }

// The whole way: a file from a command line to another over two paths, of
// which one dies in the middle.
func TestLabFileSurvivesPath(t *testing.T) {
	lab := newLab(t, nil)
	noKernelTCP(t, lab.Client, lab.Server)
	file := noise(7, 6<<20)
	l := listenIn(t, lab)
	c := in(t, lab.Client, "-vN", serverAddr(lab), "4000")
	c.Stdin = bytes.NewReader(file)
	c.begin()
	c.says(`using our own stack: MPTCP over raw sockets`)
	c.says(`path \d up: wifi `)
	c.says(`path \d up: cellular `)
	l.printed(2 << 20)
	if err := lab.SetSilent(wifi, testenv.BothWays, true); err != nil {
		t.Fatal(err)
	}
	c.exits(0)
	l.exits(0)
	if l.out.String() != string(file) {
		t.Errorf("%d octets arrived, other ones than the %d sent", len(l.out.String()), len(file))
	}
	c.says(`path \d: sent \d\.\d MiB \(\d+ %\), received nothing: cellular `)
}

// A peer without MPTCP, and a network that removes it: -v says so, and the
// octets arrive all the same.
func TestLabFallback(t *testing.T) {
	strip := func(where testenv.Where) func(*testenv.LabConfig) {
		return func(c *testenv.LabConfig) {
			for i := range c.Links {
				c.Links[i].Tune = func(_ testenv.Direction, l *testenv.LinkConfig) {
					l.Middlebox = testenv.StripMPTCP(where)
				}
			}
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*testenv.LabConfig)
		peer   []string
	}{
		{"plain peer", nil, []string{"--transport", "tcp"}},
		{"stripped from the SYN", strip(testenv.InSYN), nil},
		{"stripped from the SYN/ACK", strip(testenv.InSYNACK), nil},
		{"stripped after the handshake", strip(testenv.InRest), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lab := newLab(t, tt.change)
			file := noise(8, 1<<20)
			l := listenIn(t, lab, tt.peer...)
			c := in(t, lab.Client, "-vN", serverAddr(lab), "4000")
			c.Stdin = bytes.NewReader(file)
			c.begin()
			c.exits(0)
			l.exits(0)
			c.says(`fell back to plain TCP: \w`)
			if l.out.String() != string(file) {
				t.Error("streams differ")
			}
		})
	}
}

// The kernel's MPTCP is our peer, in both roles.
func TestLabKernelPeer(t *testing.T) {
	lab := newLab(t, nil)
	noKernelTCP(t, lab.Client)
	const size = 1 << 20
	at := netip.AddrPortFrom(lab.Server.Addr(wifi, 4), 4000)
	peer, err := testenv.KernelServer(lab.Server, at, testenv.PeerConfig{MPTCP: true, Mode: testenv.Echo})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	file := noise(9, size)
	c := in(t, lab.Client, "-vN", at.Addr().String(), "4000")
	c.Stdin = bytes.NewReader(file)
	c.begin()
	c.exits(0)
	if c.out.String() != string(file) {
		t.Errorf("%d of %d octets came back, or others", len(c.out.String()), size)
	}
	if r := peer.Wait(patience); r.Err != nil || !r.MPTCP {
		t.Errorf("the kernel saw %+v", r)
	}
	if strings.Contains(c.stderr(), "fell back") {
		t.Error(c.stderr())
	}
}

// A server that is killed and started again no longer knows us: the client
// says so when it has written. (Within three seconds: TestSimForgotten.)
func TestLabServerRestarts(t *testing.T) {
	lab := newLab(t, nil)
	l := listenIn(t, lab)
	c := in(t, lab.Client, "-v", serverAddr(lab), "4000").begin()
	fmt.Fprintln(c.in, "hello")
	l.prints("hello\n")
	l.Process.Kill()
	<-l.waited
	listenIn(t, lab)
	fmt.Fprintln(c.in, "again")
	c.exits(exitTruncated)
	c.says(`connection reset`)
}

// A signal ends the session in order: the peer gets everything and a proper
// end of stream.
func TestLabSignal(t *testing.T) {
	lab := newLab(t, nil)
	l := listenIn(t, lab)
	c := in(t, lab.Client, serverAddr(lab), "4000").begin()
	fmt.Fprintln(c.in, "hello")
	l.prints("hello\n")
	c.Process.Signal(syscall.SIGTERM)
	c.fails(exitSignal+int(syscall.SIGTERM), "stopped by signal")
	l.exits(0)
}

// A peer that never closes cannot hold us once everything is acknowledged.
func TestLabPeerNeverCloses(t *testing.T) {
	lab := newLab(t, nil)
	read := make(chan string, 1)
	at := netip.AddrPortFrom(lab.Server.Addr(wifi, 4), 4000)
	var ln net.Listener
	err := lab.Server.Do(func() (err error) {
		ln, err = net.Listen("tcp", at.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		b, err := io.ReadAll(c)
		read <- fmt.Sprintf("%s %v", b, err)
		// and keep it open
	}()
	c := in(t, lab.Client, "-w", "1", at.Addr().String(), "4000").begin()
	fmt.Fprint(c.in, "hello")
	c.fails(exitIdle, "nothing moved for 1s")
	if got := <-read; got != "hello <nil>" {
		t.Errorf("the peer saw %q", got)
	}
}

// It hears of our end, though that is lost for longer than we wait for the
// peer's.
func TestLabEndIsLost(t *testing.T) {
	for _, multipath := range []bool{false, true} {
		t.Run(fmt.Sprintf("multipath=%v", multipath), func(t *testing.T) {
			t.Parallel() // they wait
			lab := newLab(t, func(c *testenv.LabConfig) { c.Links = c.Links[:1] })
			at := netip.AddrPortFrom(lab.Server.Addr(wifi, 4), 4000)
			var ln net.Listener
			err := lab.Server.Do(func() (err error) {
				lc := net.ListenConfig{}
				lc.SetMultipathTCP(multipath)
				ln, err = lc.Listen(t.Context(), "tcp", at.String())
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			class := newLabClass(t, lab.Client)
			c := class.ready(at.Addr().String(), "4000").begin()
			peer, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Close()
			peer.SetDeadline(time.Now().Add(patience))
			fmt.Fprint(c.in, "hello")
			if _, err := io.ReadFull(peer, make([]byte, len("hello"))); err != nil {
				t.Fatal(err)
			}
			class.sees(c, "acknowledgment", func(r control.Report) bool { return len(r.Conns) == 1 && r.Conns[0].SendQ == 0 })
			if err := lab.SetSilent(wifi, testenv.BothWays, true); err != nil {
				t.Fatal(err)
			}
			c.Process.Signal(syscall.SIGTERM)
			time.Sleep(peerPatience + time.Second)
			if err := lab.SetSilent(wifi, testenv.BothWays, false); err != nil {
				t.Fatal(err)
			}
			if n, err := peer.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the peer read %d octets, %v, and no end", n, err)
			}
			c.fails(exitSignal+int(syscall.SIGTERM), "stopped by signal")
		})
	}
}

// The same clear lines as with the kernel's transports.
func TestLabFailures(t *testing.T) {
	lab := newLab(t, nil)
	addr := serverAddr(lab)
	for _, own := range []string{"mptcp", "tcp"} {
		in(t, lab.Client, "--transport", own, addr, "4001").begin().
			fails(1, "cannot connect to "+addr+" port 4001", "connection refused", "mpnc -l 4001")
		in(t, lab.Client, "--transport", own, "-s", "192.0.2.1", addr, "4001").begin().
			fails(1, "192.0.2.1 is not an address of this host")
		in(t, lab.Server, "--transport", own, "-l", "192.0.2.1", "4001").begin().
			fails(1, "cannot listen on 192.0.2.1 port 4001", "not an address of this host")
	}
	listenIn(t, lab)
	in(t, lab.Server, "-l", "4000").begin().fails(1, "cannot listen on * port 4000", "address already in use", "ss -ltnp")
	if err := lab.SetSilent(wifi, testenv.BothWays, true); err != nil {
		t.Fatal(err)
	}
	in(t, lab.Client, "-w", "0.5", addr, "4000").begin().fails(1, "no answer within 500ms")
}

// What listens on 127.0.0.1 is not reachable from the network; two of us on
// one host talk over loopback.
func TestLabLoopback(t *testing.T) {
	lab := newLab(t, nil)
	noKernelTCP(t, lab.Server)
	l := in(t, lab.Server, "-v", "-l", "-d", "127.0.0.1", "4000").begin()
	l.says("listening on 127.0.0.1:4000")
	in(t, lab.Client, serverAddr(lab), "4000").begin().fails(1, "connection refused")
	c := in(t, lab.Server, "-vN", "127.0.0.1", "4000").begin()
	fmt.Fprint(c.in, "hello")
	c.in.Close()
	c.exits(0)
	l.exits(0)
	l.prints("hello")
	c.says("using our own stack")
}

// -k serves one after the other with our own stack, too.
func TestLabKeepListening(t *testing.T) {
	lab := newLab(t, nil)
	l := listenIn(t, lab, "-k")
	for _, text := range []string{"one ", "two ", "three"} {
		c := in(t, lab.Client, "-N", serverAddr(lab), "4000").begin()
		fmt.Fprint(c.in, text)
		c.in.Close()
		c.exits(0)
	}
	l.prints("one two three")
	l.Process.Signal(syscall.SIGINT)
	l.exits(exitSignal + int(syscall.SIGINT))
}

// A strict reverse-path filter keeps a path from coming up: the user is told,
// without -v, what to do.
func TestLabStrictReversePathFilter(t *testing.T) {
	lab := newLab(t, func(c *testenv.LabConfig) { c.RPFilter, c.NoSourceRules = 1, true })
	l := listenIn(t, lab)
	c := in(t, lab.Client, "-N", serverAddr(lab), "4000").begin()
	fmt.Fprint(c.in, "hello")
	c.says(`(?m)^mpnc: no answers come in by cellular: .*strict.*\(try: sudo sysctl -w net\.ipv4\.conf\.cellular\.rp_filter=2\)$`)
	c.in.Close()
	c.exits(0)
	l.exits(0)
	l.prints("hello")
}

// Two processes in two hosts, two paths: ss lists the connection on either side
// and its paths with their interfaces.
func TestLabSS(t *testing.T) {
	env := withSockets(t)
	dir := strings.TrimPrefix(env, "XDG_RUNTIME_DIR=")
	if err := os.Chown(dir, 0, 0); err != nil { // here the commands run as root
		t.Fatal(err)
	}
	lab := newLab(t, nil)
	with := func(h *testenv.Host, args ...string) *process {
		p := in(t, h, args...)
		p.Env = append(p.Env, env)
		return p
	}
	l := with(lab.Server, "-v", "-l", "-d", "-k", "4000").begin()
	l.says(`listening on`)
	c := with(lab.Client, "-v", serverAddr(lab), "4000").begin()
	io.WriteString(c.in, "x")
	l.printed(1)
	c.says(`path \d up: wifi `)
	c.says(`path \d up: cellular `)
	lists(t, func() *process { return with(lab.Client, "ss") },
		`mptcp LISTEN +0 +4096 +\*:4000 +\*:\* +mpnc,pid=`+strconv.Itoa(l.Process.Pid),
		`mptcp ESTAB +0 +0 +\S+:4000 +\S+ +mpnc,pid=`+strconv.Itoa(l.Process.Pid)+`,conn=1 token:[0-9a-f]{8}`,
		`mptcp ESTAB +0 +0 +\S+ +\S+:4000 +mpnc,pid=`+strconv.Itoa(c.Process.Pid)+`,conn=1 token:[0-9a-f]{8}`,
		`#\d +ESTAB +0 +\S+%wifi:\d+ +\S+:4000 +cubic rtt:`,
		`#\d +ESTAB +0 +\S+%cellular:\d+ +\S+:4000 +cubic rtt:`)
	c.in.Close()
}

// The ladder diagram of a session, on standard error and in a file.
func TestLabLadder(t *testing.T) {
	lab := newLab(t, nil)
	l := listenIn(t, lab)
	c := in(t, lab.Client, "-N", "--ladder", serverAddr(lab), "4000")
	c.Env = append(c.Env, "COLUMNS=120")
	c.begin()
	io.WriteString(c.in, "hello")
	c.says(`--- PSH,ACK seq 1 ack 1 len 5 .*dsn 1`) // as it happens
	c.says(`#1 .*\(cellular\)|#1 .*\(wifi\)`)
	c.says(`MP_JOIN`)
	c.in.Close()
	c.exits(0)
	l.exits(0)
	for _, want := range []string{
		`SYN-SENT \|--- SYN seq 0 mss 1460 .*MP_CAPABLE -+>\|\n`,
		`ESTABLISHED \|<-- SYN,ACK seq 0 ack 1 .*MP_CAPABLE -+\| \(SYN-RECEIVED\)\n`,
		`DATA_FIN`,
		`TIME-WAIT \||CLOSED \|`,
	} {
		if !regexp.MustCompile(want).MatchString(c.stderr()) {
			t.Errorf("no %s in\n%s", want, c.stderr())
		}
	}

	l = listenIn(t, lab)
	file := filepath.Join(t.TempDir(), "ladder")
	c = in(t, lab.Client, "-N", "--transport", "tcp", "--ladder="+file, serverAddr(lab), "4000").begin()
	c.in.Close()
	c.exits(0)
	l.exits(0)
	drawn, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(drawn), "FIN-WAIT-1 |--- FIN,ACK seq 1 ack 1") || c.stderr() != "" {
		t.Errorf("%v, %s, and on standard error %s", err, drawn, c.stderr())
	}
}

// With several source addresses each has a path, the first one first.
func TestLabSources(t *testing.T) {
	lab := newLab(t, nil)
	l := listenIn(t, lab)
	first, second := lab.Client.Addr(cellular, 4).String(), lab.Client.Addr(wifi, 4).String()
	c := in(t, lab.Client, "-vN", "-s", first, "-s", second, serverAddr(lab), "4000").begin()
	c.says(`path 0 up: cellular ` + regexp.QuoteMeta(first) + `:`)
	c.says(`path \d up: wifi ` + regexp.QuoteMeta(second) + `:`)
	c.in.Close()
	c.exits(0)
	l.exits(0)
	in(t, lab.Client, "-s", "192.0.2.1", "-s", "192.0.2.2", serverAddr(lab), "4000").begin().
		fails(1, "cannot connect", "assign requested address")
}

// A scan tells open, closed and filtered ports apart, and by which sign, in
// order, with our own stack as with the kernel's.
func TestLabScan(t *testing.T) {
	lab := newLab(t, nil)
	addr := serverAddr(lab)
	err := lab.Server.Do(func() error {
		for _, port := range []string{"4001", "4005"} {
			l, err := net.Listen("tcp", net.JoinHostPort(addr, port))
			if err != nil {
				return err
			}
			t.Cleanup(func() { l.Close() })
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					io.Copy(io.Discard, c)
					c.Close()
				}
			}()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	rules := "add table inet t; add chain inet t in { type filter hook input priority 0; };" +
		"add rule inet t in tcp dport 4003 drop;" +
		"add rule inet t in tcp dport 4004 reject with icmp type admin-prohibited;"
	if out, err := lab.Server.Command("nft", rules).CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	for _, tt := range []struct{ transport, prohibited string }{
		{"tcp", `ICMP: .*prohibits it`},
		{"mptcp", `ICMP: .*prohibits it`},
		{"kernel-tcp", `ICMP host unreachable, or no answer to ARP`},
	} {
		t.Run(tt.transport, func(t *testing.T) {
			t.Parallel() // they wait
			p := in(t, lab.Client, "-z", "-v", "-w", "2", "--transport", tt.transport, addr, "4005", "4001-4004").begin()
			p.exits(0)
			at := `connect to ` + regexp.QuoteMeta(addr) + ` port `
			want := `Connection to ` + regexp.QuoteMeta(addr) + ` 4005 port \[tcp/\*\] succeeded!\n` +
				`Connection to ` + regexp.QuoteMeta(addr) + ` 4001 port \[tcp/\*\] succeeded!\n` +
				`mpnc: ` + at + `4002 \(tcp\) failed: Connection refused \(closed: RST\)\n` +
				`mpnc: ` + at + `4003 \(tcp\) timed out: .* \(filtered: no answer\)\n` +
				`mpnc: ` + at + `4004 \(tcp\) failed: .* \(filtered: ` + tt.prohibited + `\)\n$`
			if !regexp.MustCompile(want).MatchString(p.stderr()) {
				t.Errorf("it said\n%s\nwant\n%s", p.stderr(), want)
			}
			in(t, lab.Client, "-z", "-w", "2", "--transport", tt.transport, addr, "4002-4003").begin().
				fails(1, "no port of "+addr+" is open: 1 closed, 1 filtered")
		})
	}
}

// A path is opened, preferred and closed from another process, while a third one
// is told; the connection lives on.
func TestLabPathAndMonitor(t *testing.T) {
	env := withSockets(t)
	if err := os.Chown(strings.TrimPrefix(env, "XDG_RUNTIME_DIR="), 0, 0); err != nil { // here the commands run as root
		t.Fatal(err)
	}
	lab := newLab(t, nil)
	with := func(h *testenv.Host, args ...string) *process {
		p := in(t, h, args...)
		p.Env = append(p.Env, env)
		return p
	}
	l := with(lab.Server, "-v", "-l", "-d", serverAddr(lab), "4000").begin()
	l.says(`listening on`)
	c := with(lab.Client, "-v", "-N", "--path-manager", "none", serverAddr(lab), "4000").begin()
	c.says(`path 0 up: wifi `)
	m := with(lab.Client, "monitor", "--pid", strconv.Itoa(c.Process.Pid)).begin()
	path := func(args ...string) *process {
		return with(lab.Client, append([]string{"path", "--pid", strconv.Itoa(c.Process.Pid)}, args...)...).begin()
	}
	io.WriteString(c.in, "one")
	l.printed(3)
	// What happens before the third one listens it is not told.
	for late := time.Now().Add(patience); !strings.Contains(m.out.String(), "SF_PRIO"); {
		if time.Now().After(late) {
			t.Fatalf("the monitor prints nothing: %s", m.stderr())
		}
		path("backup", "0").exits(0)
		path("nobackup", "0").exits(0)
	}
	path("add", "cellular", "backup").exits(0)
	c.says(`path 1 up: cellular .*\(backup\)`)
	path("add", "cellular").fails(1, "the connection has such a path")
	path("nobackup", "1").exits(0)
	list := path("list")
	list.exits(0)
	if !regexp.MustCompile(`#1 +ESTAB +\S+%cellular:\d+ +\S+:4000 +cubic rtt:\S+ cwnd:\d+ retrans:0\n`).MatchString(list.out.String()) {
		t.Errorf("listed\n%s", list.out.String())
	}
	path("remove", "wifi").exits(0)
	path("remove", "1").fails(1, "the last path")
	path("limits", "subflows", "1").exits(0)
	path("add", "wifi").fails(1, "as many paths as it may")
	io.WriteString(c.in, "two")
	l.printed(6)
	c.in.Close()
	c.exits(0)
	l.exits(0)
	m.exits(0) // with the process that it was of
	for _, want := range []string{
		`\[  SF_ESTABLISHED\] token=[0-9a-f]{8} remid=0 locid=1 saddr4=\S+ daddr4=\S+ sport=\d+ dport=4000 backup=1 ifindex=\d+ pid=\d+\n`,
		`\[         SF_PRIO\] token=[0-9a-f]{8} remid=0 locid=1 .* backup=0 ifindex=\d+ pid=\d+\n`,
		`\[       SF_CLOSED\] token=[0-9a-f]{8} remid=0 locid=0 `,
		`\[          CLOSED\] token=[0-9a-f]{8} pid=\d+\n`,
	} {
		if !regexp.MustCompile(want).MatchString(m.out.String()) {
			t.Errorf("no %s in\n%s", want, m.out.String())
		}
	}
}
