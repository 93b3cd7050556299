package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/mpnc/mpnc/internal/control"
	"github.com/mpnc/mpnc/testenv"
)

// The experiments of docs/tutorial.md that show ladders, with our own TCP.

// newLabClass is a class on a host of a lab.
func newLabClass(t *testing.T, h *testenv.Host) *class {
	t.Helper()
	env := withSockets(t)
	if err := os.Chown(strings.TrimPrefix(env, "XDG_RUNTIME_DIR="), 0, 0); err != nil { // here the commands run as root
		t.Fatal(err)
	}
	return &class{t, func(args ...string) *process {
		p := in(t, h, args...)
		p.Env = append(p.Env, env, "COLUMNS=120")
		return p
	}}
}

// draws checks that the ladder has these rows, in this order, others between
// them. Spaces stand for any number of them and of dashes.
func (p *process) draws(rows ...string) {
	p.t.Helper()
	var all []string
	for _, r := range rows {
		all = append(all, strings.ReplaceAll(regexp.QuoteMeta(r), " ", `[ -]+`))
	}
	p.says(`(?s)` + strings.Join(all, `.*`))
}

// One lab for all ladders over loopback.
func TestTutorialLadders(t *testing.T) {
	lab := newLab(t, func(c *testenv.LabConfig) { c.Links = c.Links[:1] })
	port := 4000
	// pair is a listener and the command line of a client that draws.
	pair := func(t *testing.T, options ...string) (c *class, l *process, client []string) {
		c = newLabClass(t, lab.Server)
		port++
		at := fmt.Sprint(port)
		l = c.ready(append([]string{"--transport", "tcp", "-v", "-l"}, append(options, "127.0.0.1", at)...)...).begin()
		l.says("listening on")
		return c, l, []string{"--transport", "tcp", "--ladder", "127.0.0.1", at}
	}

	// A server's process is killed: its TCP, in that process, dies with it and
	// sends no FIN. The client learns of it with the next line.
	t.Run("killed", func(t *testing.T) {
		c, l, client := pair(t, "-k", "-d")
		p := c.ready(client...).begin()
		io.WriteString(p.in, "one\n")
		l.prints("one\n")
		p.draws(
			`SYN-SENT |--- SYN seq 0 mss 65495`,
			`ESTABLISHED |<-- SYN,ACK seq 0 ack 1 mss 65495`,
			`(SYN-RECEIVED)`,
			`ESTABLISHED |--- ACK seq 1 ack 1 -->| (ESTABLISHED)`,
			`ESTABLISHED |--- PSH,ACK seq 1 ack 1 len 4 -->|`,
			`ESTABLISHED |<-- ACK seq 1 ack 5 --|`)
		l.Process.Kill()
		<-l.waited
		c.isIn(p, "ESTABLISHED")
		io.WriteString(p.in, "two\n")
		p.exits(exitTruncated)
		p.draws(`--- PSH,ACK seq 5 ack 1 len 4 -->|`, `<-- RST seq 1 --| (CLOSED)`, `* the connection has failed`, `connection reset by peer`)
	})

	// The server closes after the first message.
	for _, messages := range []int{1, 2, 3} {
		t.Run(fmt.Sprintf("leaves, %d messages", messages), func(t *testing.T) {
			c, l, client := pair(t, "-d", "-W", "1")
			p := c.ready(client...).begin()
			io.WriteString(p.in, "message 1\n")
			p.draws(`ESTABLISHED |--- PSH,ACK seq 1 ack 1 len 10`,
				`CLOSE-WAIT |<-- FIN,ACK seq 1 ack 11 --| (FIN-WAIT-1)`,
				`CLOSE-WAIT |--- ACK seq 11 ack 2 -->| (FIN-WAIT-2)`)
			c.isIn(p, "CLOSE-WAIT")
			c.isIn(l, "FIN-WAIT-2")
			if messages == 1 {
				p.in.Close()
				p.exits(0)
				p.draws(`LAST-ACK |--- FIN,ACK seq 11 ack 2 -->| (FIN-WAIT-2)`, `CLOSED |<-- ACK seq 2 ack 12 --| (TIME-WAIT)`)
				l.exits(0)
				return
			}
			io.WriteString(p.in, "message 2\n")
			p.draws(`CLOSE-WAIT |--- PSH,ACK seq 11 ack 2 len 10 -->| (FIN-WAIT-2)`,
				`CLOSE-WAIT |<-- RST,ACK seq 2 ack 21 --| (CLOSED)`, `* the connection has failed`)
			l.exits(0)
			if messages == 3 {
				io.WriteString(p.in, "message 3\n")
				p.exits(exitTruncated)
				p.says(`cannot send: connection reset by peer \(20 octets were sent and 0 received before\)`)
			}
		})
	}

	t.Run("sort", func(t *testing.T) {
		c, l, client := pair(t, "--exec", "sort")
		p := c.ready(append(client, "-N")...)
		p.Stdin = strings.NewReader("pear\napple\nquince\nfig\n")
		p.begin()
		p.exits(0)
		l.exits(0)
		p.prints("apple\nfig\npear\nquince\n")
		p.draws(`FIN-WAIT-1 |--- FIN,ACK seq 23 ack 1 -->| (ESTABLISHED)`,
			`FIN-WAIT-2 |<-- ACK seq 1 ack 24 --| (CLOSE-WAIT)`,
			`FIN-WAIT-2 |<-- PSH,ACK seq 1 ack 24 len 22 --| (CLOSE-WAIT)`,
			`TIME-WAIT |<-- FIN,ACK seq 23 ack 24 --| (LAST-ACK)`,
			`TIME-WAIT |--- ACK seq 24 ack 24 -->| (CLOSED)`)
	})

	t.Run("slow reader", func(t *testing.T) {
		const size = 1_000_000
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer read.Close()
		c := newLabClass(t, lab.Server)
		l := c.ready("--transport", "tcp", "-v", "-l", "-d", "--rcvbuf", "64K", "127.0.0.1", "4000")
		l.Stdout = write
		l.begin()
		write.Close()
		l.says("listening on")
		p := c.ready("--transport", "tcp", "-N", "--ladder", "127.0.0.1", "4000")
		p.Stdin = io.LimitReader(zeros{}, size)
		p.begin()
		p.draws(` win 0 --|`, `[are you there?]`, ` win 0 --|`)
		// Less than a segment of the window may be left: neither side would bother to
		// say, or use it (RFC 9293, Sections 3.8.6.2.1 and 3.8.6.2.2).
		c.sees(l, "full queue", func(r control.Report) bool {
			return len(r.Conns) == 1 && r.Conns[0].RecvQ > 65_000 && r.Conns[0].RecvQ <= 65_536
		})
		c.sees(p, "full queue", func(r control.Report) bool { return len(r.Conns) == 1 && r.Conns[0].SendQ > 500_000 })
		if n, err := io.Copy(io.Discard, read); n != size || err != nil {
			t.Errorf("%d octets of %d, %v", n, size, err)
		}
		p.exits(0)
		l.exits(0)
		p.draws(` win 0 --|`, `--- FIN,ACK seq 1000001 ack 1 -->|`)
	})
}

// The question that started it: the client's address changes. A session over
// TCP and one over Multipath TCP live through the same change.
func TestTutorialAddressChanges(t *testing.T) {
	lab := newLab(t, func(c *testenv.LabConfig) { c.Links = c.Links[:1] })
	class := newLabClass(t, lab.Client)
	at := serverAddr(lab)
	session := func(transport, port string, more ...string) (l, p *process) {
		l = in(t, lab.Server, "--transport", transport, "-v", "-l", "-d", at, port).begin()
		l.says("listening on")
		p = class.ready(append([]string{"--transport", transport, "-vN", at, port}, more...)...).begin()
		io.WriteString(p.in, "one\n")
		l.prints("one\n")
		class.sees(p, "acknowledgment", func(r control.Report) bool { return len(r.Conns) == 1 && r.Conns[0].SendQ == 0 })
		return l, p
	}
	tl, tcp := session("kernel-tcp", "4001")
	ml, multi := session("mptcp", "4002", "--ladder")

	old := lab.Client.Addr(wifi, 4)
	if err := lab.Client.RemoveAddr(wifi, old); err != nil {
		t.Fatal(err)
	}
	multi.draws(`* no path works: the connection is held`)
	io.WriteString(tcp.in, "two\n")
	io.WriteString(multi.in, "two\n")
	class.sees(multi, "held connection", func(r control.Report) bool {
		return len(r.Conns) == 1 && r.Conns[0].State == "ESTABLISHED" && r.Conns[0].Held > 0 && r.Conns[0].SendQ == 4
	})
	to := old.As4()
	to[3] += 100
	if err := lab.Client.AddAddr(wifi, netip.PrefixFrom(netip.AddrFrom4(to), 24)); err != nil {
		t.Fatal(err)
	}
	ml.prints("one\ntwo\n")
	multi.says(`path 0 closed: .*its address or interface went`)
	multi.says(`path 1 up: wifi ` + regexp.QuoteMeta(netip.AddrFrom4(to).String()) + `:`)
	multi.draws(`MP_JOIN id 1`, `* a path works again`, `REMOVE_ADDR id 0`, `len 4 dsn 5`)
	multi.in.Close()
	multi.exits(0)
	ml.exits(0)

	class.sees(tcp, "octets under way for ever", func(r control.Report) bool {
		return len(r.Conns) == 1 && r.Conns[0].State == "ESTABLISHED" && r.Conns[0].SendQ == 4 &&
			r.Conns[0].Local.Addr() == old && r.Conns[0].Subflows[0].Stale
	})
	if tl.out.String() != "one\n" {
		t.Errorf("over TCP arrived %q", tl.out.String())
	}
	select {
	case <-tcp.waited:
		t.Errorf("over TCP the client ended: %s", tcp.stderr())
	default:
	}
}
