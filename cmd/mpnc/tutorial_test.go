package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/control"
)

// The experiments of docs/tutorial.md, with what it says is seen. These need no
// privileges; those with ladders are in tutorial_linux_test.go.

// class is where the processes of an experiment run and see each other.
type class struct {
	t     *testing.T
	ready func(args ...string) *process // makes a command line ready to begin
}

// newClass is one without privileges, on the host's loopback.
func newClass(t *testing.T) *class {
	t.Helper()
	env := withSockets(t)
	return &class{t, func(args ...string) *process {
		p := prepare(t, args...)
		p.Env = append(p.Env, env)
		return p
	}}
}

// mpnc starts mpnc over the kernel's TCP.
func (c *class) mpnc(args ...string) *process {
	c.t.Helper()
	return c.ready(append([]string{"--transport", "kernel-tcp"}, args...)...).begin()
}

// listening starts mpnc -l and returns its port.
func (c *class) listening(args ...string) (l *process, port string) {
	c.t.Helper()
	l = c.mpnc(append([]string{"-v", "-l"}, append(args, "127.0.0.1", "0")...)...)
	return l, l.says(`listening on .*:(\d+)\n`)[1]
}

// ss is what mpnc ss tells of a process.
func (c *class) ss(p *process) control.Report {
	c.t.Helper()
	ss := c.ready("ss", "--json").begin()
	ss.exits(0)
	var all []control.Report
	if err := json.Unmarshal([]byte(ss.out.String()), &all); err != nil {
		c.t.Fatalf("mpnc ss --json: %v in %s", err, ss.out.String())
	}
	for _, r := range all {
		if r.PID == p.Process.Pid {
			return r
		}
	}
	return control.Report{}
}

// sees waits until mpnc ss shows what it should of a process.
func (c *class) sees(p *process, what string, ok func(control.Report) bool) {
	c.t.Helper()
	var r control.Report
	for late := time.Now().Add(patience); time.Now().Before(late); time.Sleep(10 * time.Millisecond) {
		if r = c.ss(p); ok(r) {
			return
		}
	}
	c.t.Fatalf("%q: no %s, but %+v", p.Args[1:], what, r)
}

// isIn waits until the only connection of a process is in a state.
func (c *class) isIn(p *process, state string) {
	c.t.Helper()
	c.sees(p, state, func(r control.Report) bool { return len(r.Conns) == 1 && r.Conns[0].State == state })
}

// Two talk at once: a serial listener prints what the second says when the
// first has gone, though it was acknowledged long before; a concurrent one
// prints both.
func TestTutorialTwoClients(t *testing.T) {
	const one, two = "one: hello\n", "two: hello\n"
	t.Run("serial", func(t *testing.T) {
		c := newClass(t)
		l, port := c.listening("-k", "-d")
		a := c.mpnc("-N", "127.0.0.1", port)
		io.WriteString(a.in, one)
		l.prints(one)
		b := c.mpnc("-N", "127.0.0.1", port)
		io.WriteString(b.in, two)
		c.sees(b, "octets acknowledged", func(r control.Report) bool {
			return len(r.Conns) == 1 && r.Conns[0].State == "ESTABLISHED" && r.Conns[0].SendQ == 0 &&
				r.Conns[0].Subflows[0].BytesSent == uint64(len(two))
		})
		c.sees(l, "one served and one waiting", func(r control.Report) bool {
			return len(r.Conns) == 1 && len(r.Listeners) == 1 && r.Listeners[0].Waiting == 1
		})
		if l.out.String() != one {
			t.Errorf("printed %q before the first had gone", l.out.String())
		}
		a.in.Close()
		a.exits(0)
		l.prints(one + two)
		b.in.Close()
		b.exits(0)
	})
	t.Run("concurrent", func(t *testing.T) {
		c := newClass(t)
		l, port := c.listening("-k", "-d", "--max-conns", "10")
		a, b := c.mpnc("-N", "127.0.0.1", port), c.mpnc("-N", "127.0.0.1", port)
		io.WriteString(a.in, one)
		l.prints(one)
		io.WriteString(b.in, two)
		l.prints(one + two)
		c.sees(l, "two served and none waiting", func(r control.Report) bool {
			return len(r.Conns) == 2 && len(r.Listeners) == 1 && r.Listeners[0].Waiting == 0
		})
		a.in.Close()
		b.in.Close()
		a.exits(0)
		b.exits(0)
	})
}

func TestTutorialClientFirst(t *testing.T) {
	port := refusing(t)
	newClass(t).mpnc("127.0.0.1", port).
		fails(exitConnect, "cannot connect to 127.0.0.1 port "+port, "connection refused", "start it first: mpnc -l "+port)
}

// The kernel closes for a server that is killed; the client learns that nobody
// is there with its first line, and says so with its second. A new server does
// not know of it.
func TestTutorialServerKilled(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarted=%v", again), func(t *testing.T) {
			c := newClass(t)
			l, port := c.listening("-k", "-d")
			p := c.mpnc("127.0.0.1", port)
			io.WriteString(p.in, "one\n")
			l.prints("one\n")
			c.isIn(l, "ESTABLISHED")
			l.Process.Kill()
			<-l.waited
			c.isIn(p, "CLOSE-WAIT")
			if again {
				l = c.mpnc("-v", "-l", "-k", "-d", "127.0.0.1", port)
				l.says("listening on")
			}
			io.WriteString(p.in, "two\n")
			c.isIn(p, "CLOSED")
			io.WriteString(p.in, "three\n")
			p.fails(exitTruncated, "cannot send: broken pipe (8 octets were sent and 0 received before)")
			if again {
				if r := c.ss(l); len(r.Conns) != 0 || l.out.String() != "" {
					t.Errorf("the new server has %+v and printed %q", r.Conns, l.out.String())
				}
			}
		})
	}
}

// The server takes one message and leaves; more arrive.
func TestTutorialServerLeaves(t *testing.T) {
	for _, messages := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(messages), func(t *testing.T) {
			c := newClass(t)
			l, port := c.listening("-d", "-W", "1")
			p := c.mpnc("127.0.0.1", port)
			io.WriteString(p.in, "message 1\n")
			l.exits(0)
			l.prints("message 1\n")
			c.isIn(p, "CLOSE-WAIT")
			if messages == 1 {
				p.in.Close()
				p.exits(0)
				return
			}
			io.WriteString(p.in, "message 2\n") // answered with a reset
			c.isIn(p, "CLOSED")
			if messages == 3 {
				io.WriteString(p.in, "message 3\n")
				p.fails(exitTruncated, "cannot send: broken pipe (20 octets were sent and 0 received before)")
			}
		})
	}
}

func TestTutorialWebPage(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s for %s\n", r.Method, r.URL.Path, r.Host)
	}))
	defer web.Close()
	host, port, err := net.SplitHostPort(web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := newClass(t).ready("--transport", "kernel-tcp", host, port)
	p.Stdin = strings.NewReader("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	p.begin()
	p.exits(0)
	page := p.out.String()
	if !strings.HasPrefix(page, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(page, "\r\n\r\nGET / for localhost\n") {
		t.Errorf("got %q", page)
	}
}

// Half closed: the server answers after our end of file. Without -N it never
// sees one.
func TestTutorialSort(t *testing.T) {
	const unsorted, sorted = "pear\napple\nquince\nfig\n", "apple\nfig\npear\nquince\n"
	t.Run("mpnc", func(t *testing.T) {
		c := newClass(t)
		l, port := c.listening("--exec", "sort")
		p := c.ready("--transport", "kernel-tcp", "-N", "127.0.0.1", port)
		p.Stdin = strings.NewReader(unsorted)
		p.begin()
		p.exits(0)
		l.exits(0)
		p.prints(sorted)
	})
	for _, shutdown := range []bool{true, false} {
		t.Run(fmt.Sprintf("half closed=%v", shutdown), func(t *testing.T) {
			c := newClass(t)
			goOn := make(chan struct{})
			ended := make(chan bool, 1)
			port := serve(t, func(conn *net.TCPConn) {
				defer conn.Close()
				buf := make([]byte, len(unsorted))
				if _, err := io.ReadFull(conn, buf); err != nil {
					t.Error(err)
				}
				go func() { // an end of file is seen now, or not before the client is killed
					_, err := conn.Read(make([]byte, 1))
					ended <- err == io.EOF
				}()
				<-goOn
				lines := strings.SplitAfter(strings.TrimSuffix(string(buf), "\n"), "\n")
				lines[len(lines)-1] += "\n"
				slices.Sort(lines)
				io.WriteString(conn, strings.Join(lines, ""))
			})
			args := []string{"--transport", "kernel-tcp", "127.0.0.1", port}
			if shutdown {
				args = append(args, "-N")
			}
			p := c.ready(args...)
			p.Stdin = strings.NewReader(unsorted)
			p.begin()
			if shutdown {
				c.isIn(p, "FIN-WAIT-2")
				if !<-ended {
					t.Error("the server saw no end of file")
				}
			} else {
				c.sees(p, "all acknowledged", func(r control.Report) bool {
					return len(r.Conns) == 1 && r.Conns[0].State == "ESTABLISHED" && r.Conns[0].SendQ == 0 &&
						r.Conns[0].Subflows[0].BytesSent == uint64(len(unsorted))
				})
				select {
				case <-ended:
					t.Error("the server saw an end that nobody sent")
				default:
				}
			}
			close(goOn)
			p.exits(0)
			p.prints(sorted)
		})
	}
}

// A reader that does not read: its queue fills, then the writer's; all of it
// arrives when it reads again.
func TestTutorialSlowReader(t *testing.T) {
	const size = 10_000_000
	c := newClass(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	l := c.ready("--transport", "kernel-tcp", "-v", "-l", "-d", "--rcvbuf", "64K", "127.0.0.1", "0")
	l.Stdout = write
	l.begin()
	write.Close()
	port := l.says(`listening on .*:(\d+)\n`)[1]
	p := c.ready("--transport", "kernel-tcp", "-N", "127.0.0.1", port)
	p.Stdin = io.LimitReader(zeros{}, size)
	p.begin()
	queues := func(recv, send bool) func(control.Report) bool {
		return func(r control.Report) bool {
			return len(r.Conns) == 1 && r.Conns[0].RecvQ > 0 == recv && r.Conns[0].SendQ > 0 == send
		}
	}
	c.sees(l, "Recv-Q", queues(true, false))
	c.sees(p, "Send-Q", queues(false, true))
	if n, err := io.Copy(io.Discard, read); n != size || err != nil {
		t.Errorf("%d octets of %d, %v", n, size, err)
	}
	p.exits(0)
	l.exits(0)
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A closed port answers with a reset; that of a listener is open.
func TestTutorialScan(t *testing.T) {
	c := newClass(t)
	_, open := c.listening("-k", "-d")
	closed := refusing(t)
	p := c.mpnc("-zv", "127.0.0.1", closed, open)
	p.exits(0)
	want := "mpnc: connect to 127.0.0.1 port " + closed + " (tcp) failed: Connection refused (closed: RST)\n" +
		"Connection to 127.0.0.1 " + open + " port [tcp/*] succeeded!\n"
	if !strings.HasSuffix(p.stderr(), want) {
		t.Errorf("it said\n%s\nwant\n%s", p.stderr(), want)
	}
	c.mpnc("-z", "127.0.0.1", closed).fails(exitConnect, "connection refused")
}
