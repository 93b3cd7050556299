package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mpnc/mpnc/internal/control"
	"github.com/mpnc/mpnc/testenv"
)

// Octets that never reached the peer are told of, and cost the exit status,
// though no call of ours has failed: the peer had ended its direction, more was
// sent, and a RST answered.

// isOver waits until a process has no connection that is alive.
func (c *class) isOver(p *process) {
	c.t.Helper()
	c.sees(p, "end of the connection", func(r control.Report) bool {
		return len(r.Conns) == 0 || len(r.Conns) == 1 && r.Conns[0].State == "CLOSED"
	})
}

// lostly ends the line that tells of lost octets: "not everything reached the
// peer: ", or "cannot send: " where the peer gave up waiting before they were
// written.
const lostly = ": connection reset by peer"

// The server leaves after the first message.
func TestServerLeavesUnderClient(t *testing.T) {
	lab := newLab(t, func(c *testenv.LabConfig) { c.Links = c.Links[:1] })
	port := 4000
	for _, transport := range []string{"kernel-tcp", "tcp", "mptcp"} {
		for _, options := range [][]string{nil, {"-N"}} {
			// begin has a client whose first message was the last that the server
			// read.
			begin := func(t *testing.T) (c *class, p *process) {
				c = newLabClass(t, lab.Server)
				port++
				at := fmt.Sprint(port)
				l := c.ready("--transport", transport, "-v", "-l", "-d", "-W", "1", "127.0.0.1", at).begin()
				l.says("listening on")
				p = c.ready(append(options, "--transport", transport, "127.0.0.1", at)...).begin()
				io.WriteString(p.in, "message 1\n")
				c.isIn(p, "CLOSE-WAIT")
				l.prints("message 1\n")
				return c, p
			}
			name := strings.Join(append([]string{transport}, options...), " ")
			t.Run(name+", nothing more", func(t *testing.T) {
				_, p := begin(t)
				p.in.Close()
				p.exits(0)
				if p.stderr() != "" {
					t.Errorf("it said %q", p.stderr())
				}
			})
			t.Run(name+", one more", func(t *testing.T) {
				c, p := begin(t)
				io.WriteString(p.in, "message 2\n")
				c.isOver(p)
				p.in.Close()
				p.fails(exitTruncated, lostly)
			})
			t.Run(name+", one more and the end at once", func(t *testing.T) {
				_, p := begin(t)
				io.WriteString(p.in, "message 2\n")
				p.in.Close()
				p.fails(exitTruncated, lostly)
			})
			t.Run(name+", two more", func(t *testing.T) {
				c, p := begin(t)
				io.WriteString(p.in, "message 2\n")
				c.isOver(p)
				io.WriteString(p.in, "message 3\n")
				p.fails(exitTruncated, "cannot send: ")
			})
		}
	}
}

// A client leaves a listener whose program has more to say: that is told, and
// the listener goes on.
func TestClientLeavesUnderListener(t *testing.T) {
	lab := newLab(t, func(c *testenv.LabConfig) { c.Links = c.Links[:1] })
	port := 4000
	for _, transport := range []string{"kernel-tcp", "tcp", "mptcp"} {
		// What the program does once it has said the first message and the client
		// has gone: it stays when it has said the second one, or leaves.
		for what, more := range map[string]string{"stays": "read go < $FIFO", "leaves": ":"} {
			t.Run(transport+", the program "+what, func(t *testing.T) {
				at := fmt.Sprint(port)
				port++
				t.Parallel()
				c := newLabClass(t, lab.Server)
				fifo := filepath.Join(t.TempDir(), "fifo")
				if err := syscall.Mkfifo(fifo, 0o666); err != nil {
					t.Fatal(err)
				}
				say := func() {
					t.Helper()
					f, err := os.OpenFile(fifo, os.O_RDWR, 0) // which does not wait for the reader
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { f.Close() })
					io.WriteString(f, "go\n")
				}
				l := c.ready("--transport", transport, "-l", "-k", "-v", "--sh-exec",
					"echo message 1; read go < $FIFO; echo message 2; "+more, "127.0.0.1", at)
				l.WaitDelay = patience // a failed test's program has standard error
				l.Env = append(l.Env, "FIFO="+fifo)
				l.begin()
				l.says("listening on")
				// client leaves after the first message; our own stack's end waits for
				// the peer's.
				client := func() *process {
					t.Helper()
					p := c.ready("--transport", transport, "-W", "1", "127.0.0.1", at).begin()
					p.prints("message 1\n")
					return p
				}
				p := client()
				c.isIn(l, "CLOSE-WAIT")
				say()
				if what == "stays" {
					c.isOver(l)
					say()
				}
				l.says(`mpnc: (not everything reached the peer|cannot send)` + lostly)
				p.exits(0)
				client()
				if n := strings.Count(l.stderr(), lostly); n != 1 {
					t.Errorf("it was told %d times: %s", n, l.stderr())
				}
				l.Process.Signal(syscall.SIGTERM)
				l.exits(exitSignal + int(syscall.SIGTERM))
			})
		}
	}
}
