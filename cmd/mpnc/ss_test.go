package main

import (
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/control"
)

// someReports are what two processes might tell.
func someReports() []control.Report {
	at := netip.MustParseAddrPort
	const ms = time.Millisecond
	return []control.Report{
		{
			PID: 812, Program: "mpnc", Transport: "mptcp",
			Listeners: []control.Listener{
				{Local: at("[::]:4000"), MPTCP: true, Backlog: 4096},
				{Local: at("10.0.0.1:80"), Waiting: 3, Backlog: 128},
			},
			Conns: []control.Conn{{
				ID: 2, MPTCP: true, State: "ESTABLISHED", RecvQ: 5, SendQ: 123456, Token: "00c0ffee", Held: 1500 * ms,
				Local: at("10.0.0.1:4000"), Peer: at("10.0.0.2:50000"),
				Subflows: []control.Subflow{
					{
						State: "ESTABLISHED", Local: at("10.0.0.1:4000"), Peer: at("10.0.0.2:50000"), Interface: "wifi",
						Congestion: "cubic", RTT: 20125 * time.Microsecond, RTTVar: 2 * ms, MinRTT: 20 * ms, RTO: 220 * ms,
						MSS: 1400, Cwnd: 28000, PathMTU: 1500, SendQ: 2800, SndWnd: 65535, RcvWnd: 4096, ECN: true, Lane: true, Trains: 77,
						BytesSent: 1000, BytesRetrans: 100, BytesAcked: 900, BytesReceived: 7, SegsOut: 12, SegsIn: 11, Retrans: 1,
					},
					{
						ID: 3, State: "SYN-RECEIVED", Local: at("[fd00::1]:4000"), Peer: at("[fd00::2]:50001"), Interface: "wwan",
						LocalID: 2, PeerID: 1, Congestion: "cubic", Backup: true, Gone: true, Backoff: 2,
					},
				},
			}},
		},
		{
			PID: 9, Program: "mp\x1bnc", Transport: "kernel-tcp",
			Listeners: []control.Listener{},
			Conns: []control.Conn{{
				ID: 1, State: "CLOSE-WAIT", Client: true, Local: at("[fd00::1]:5000"), Peer: at("[fd00::2]:80"),
				Subflows: []control.Subflow{{State: "CLOSE-WAIT", Local: at("[fd00::1]:5000"), Peer: at("[fd00::2]:80"), Stale: true}},
			}},
		},
	}
}

// What ss prints, with the options that choose.
func TestSSTable(t *testing.T) {
	const heading = "Netid State      Recv-Q Send-Q Local Address:Port  Peer Address:Port Process\n"
	for _, test := range []struct {
		name string
		o    ssOptions
		want string
	}{
		{"all", ssOptions{}, heading + `
mptcp LISTEN     0      4096   *:4000              *:*               mpnc,pid=812
tcp   LISTEN     3      128    10.0.0.1:80         *:*               mpnc,pid=812
mptcp ESTAB      5      123456 10.0.0.1:4000       10.0.0.2:50000    mpnc,pid=812,conn=2 token:00c0ffee held:1.5s
  #0  ESTAB             2800   10.0.0.1%wifi:4000  10.0.0.2:50000    cubic rtt:20.125/2 cwnd:20 retrans:1 lane
  #3  SYN-RECV          0      [fd00::1]%wwan:4000 [fd00::2]:50001   cubic retrans:0 backup gone
tcp   CLOSE-WAIT 0      0      [fd00::1]:5000      [fd00::2]:80      mp?nc,pid=9,conn=1 retrans:0 silent
`},
		{"listening", ssOptions{listening: true, noHeader: true}, `
mptcp LISTEN 0 4096 *:4000      *:* mpnc,pid=812
tcp   LISTEN 3 128  10.0.0.1:80 *:* mpnc,pid=812
`},
		{"paths", ssOptions{tcp: true, v6: true, noHeader: true}, `
mptcp LISTEN     0 4096 *:4000              *:*             mpnc,pid=812
tcp   SYN-RECV   0 0    [fd00::1]%wwan:4000 [fd00::2]:50001 mpnc,pid=812,conn=2 cubic retrans:0 backup gone
tcp   CLOSE-WAIT 0 0    [fd00::1]:5000      [fd00::2]:80    mp?nc,pid=9,conn=1 retrans:0 silent
`},
		{"Multipath TCP with details", ssOptions{mptcp: true, v4: true, info: true, noHeader: true}, `
mptcp LISTEN   0 4096   *:4000              *:*             mpnc,pid=812
mptcp ESTAB    5 123456 10.0.0.1:4000       10.0.0.2:50000  mpnc,pid=812,conn=2 token:00c0ffee held:1.5s
  #0  ESTAB      2800   10.0.0.1%wifi:4000  10.0.0.2:50000  cubic rtt:20.125/2 cwnd:20 retrans:1 lane
     id:0,0 minrtt:20 rto:220 mss:1400 pmtu:1500 snd_wnd:65535 rcv_wnd:4096 bytes_sent:1000 bytes_retrans:100 bytes_acked:900 bytes_received:7 segs_out:12 segs_in:11 trains:77 ecn
  #3  SYN-RECV   0      [fd00::1]%wwan:4000 [fd00::2]:50001 cubic retrans:0 backup gone
     id:2,1 backoff:2 bytes_sent:0 bytes_acked:0 bytes_received:0 segs_out:0 segs_in:0
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var b strings.Builder
			if err := test.o.print(&b, someReports()); err != nil {
				t.Fatal(err)
			}
			want := strings.Replace(test.want, "\n\n", "\n", 1)
			if want = strings.TrimPrefix(want, "\n"); b.String() != want {
				t.Errorf("got\n%s\nwant\n%s", b.String(), want)
			}
		})
	}
}

// With -t each path is a TCP connection of its own.
func TestSSPathsAsTCP(t *testing.T) {
	parts := asTCP(someReports()[0].Conns[0])
	if len(parts) != 2 || parts[0].MPTCP || parts[0].SendQ != 2800 || parts[0].RecvQ != 0 || parts[0].Token != "" ||
		parts[1].State != "SYN-RECEIVED" || parts[1].Local.Port() != 4000 || !parts[1].Local.Addr().Is6() {
		t.Errorf("%+v", parts)
	}
}

func TestSSJSON(t *testing.T) {
	var b strings.Builder
	o := ssOptions{json: true, listening: true}
	if err := o.print(&b, someReports()); err != nil {
		t.Fatal(err)
	}
	var got []control.Report
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || len(got[0].Listeners) != 2 || got[0].Conns == nil || len(got[0].Conns) != 0 {
		t.Errorf("%+v", got)
	}
	b.Reset()
	if err := o.print(&b, nil); err != nil || b.String() != "[]\n" {
		t.Errorf("of nothing: %q, %v", b.String(), err)
	}
}

func TestSSUsage(t *testing.T) {
	for _, tt := range []struct{ args, words string }{
		{"ss 80", "mpnc -- ss PORT"},
		{"ss -x", "mpnc ss --help"},
		{"ss --frob", "mpnc ss --help"},
	} {
		run(t, strings.Fields(tt.args)...).fails(2, tt.words)
	}
	p := run(t, "ss", "--help")
	p.exits(0)
	if !strings.Contains(p.out.String(), "--listening") {
		t.Errorf("--help printed\n%s", p.out.String())
	}
}

// withSockets gives processes a place for their control sockets.
func withSockets(t *testing.T) (env string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("control sockets are Linux's")
	}
	dir, err := os.MkdirTemp("", "mpnc") // short: the name of a socket has 108 octets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if os.Geteuid() == 0 { // the commands run as nobody
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	return "XDG_RUNTIME_DIR=" + dir
}

// runWith runs mpnc with one more variable in its environment.
func runWith(t *testing.T, env string, args ...string) *process {
	t.Helper()
	p := prepare(t, args...)
	p.Env = append(p.Env, env)
	return p.begin()
}

// Real processes on the kernel's sockets: ss finds them, and those that have
// ended are gone.
func TestSSOfKernelSockets(t *testing.T) {
	env := withSockets(t)
	p := runWith(t, env, "ss")
	p.exits(0)
	if !strings.Contains(p.stderr(), "no other mpnc of this user runs") {
		t.Errorf("without others: %s", p.stderr())
	}
	for _, kind := range []string{"kernel", "kernel-tcp"} {
		l := runWith(t, env, "-v", "-l", "-k", "--transport", kind, "127.0.0.1", "0")
		port := l.says(`listening on .*:(\d+)\n`)[1]
		c := runWith(t, env, "--transport", kind, "127.0.0.1", port)
		io.WriteString(c.in, "x")
		l.prints("x")
		netid := map[string]string{"kernel": "mptcp", "kernel-tcp": "tcp  "}[kind]
		lists(t, func() *process {
			s := prepare(t, "ss")
			s.Env = append(s.Env, env)
			return s
		},
			netid+` LISTEN +0 +\d+ +127\.0\.0\.1:`+port+` +\*:\* +mpnc,pid=\d+`,
			netid+` ESTAB +0 +0 +127\.0\.0\.1(%lo)?:`+port+` +127\.0\.0\.1:\d+ +mpnc,pid=\d+,conn=1`,
			netid+` ESTAB +0 +0 +127\.0\.0\.1(%lo)?:\d+ +127\.0\.0\.1:`+port+` +mpnc,pid=\d+,conn=1`,
			`127\.0\.0\.1%lo:\d+ .* rtt:[\d.]+/[\d.]+ cwnd:\d+ retrans:0`)
		c.Process.Kill()
		l.Process.Kill()
		<-c.waited
		<-l.waited
	}
	p = runWith(t, env, "ss", "-H")
	p.exits(0)
	if p.out.String() != "" {
		t.Errorf("after their end:\n%s", p.out.String())
	}
}

// lists runs mpnc ss until it prints lines that match all of these: what was
// sent is acknowledged only some time after the other end has printed it.
func lists(t *testing.T, ss func() *process, want ...string) {
	t.Helper()
	for late := time.Now().Add(patience); ; {
		s := ss().begin()
		s.exits(0)
		missing := ""
		for _, w := range want {
			if !regexp.MustCompile(w).MatchString(s.out.String()) {
				missing = w
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("no %s in\n%s", missing, s.out.String())
		}
	}
}

// A process that cannot have a socket works as well, and says so only if asked.
func TestNoControlSocket(t *testing.T) {
	l := runWith(t, "XDG_RUNTIME_DIR=/nonexistent", "-vv", "-l", "-d", "127.0.0.1", "0")
	port := l.says(`listening on .*:(\d+)\n`)[1]
	l.says(`no control socket`)
	c := runWith(t, "XDG_RUNTIME_DIR=/nonexistent", "-v", "-N", "127.0.0.1", port)
	io.WriteString(c.in, "x")
	c.in.Close()
	c.exits(0)
	l.exits(0)
	if strings.Contains(c.stderr(), "control socket") {
		t.Errorf("said %s", c.stderr())
	}
}
