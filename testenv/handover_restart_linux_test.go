package testenv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mpnc/mpnc/mptcp"
)

// mpncDir holds the command, once a test wanted it.
var mpncDir string

// mpncBinary builds the command, once for all tests of this process.
var mpncBinary = sync.OnceValues(func() (name string, err error) {
	if mpncDir, err = os.MkdirTemp("", "mpnc-testenv"); err != nil {
		return "", err
	}
	name = filepath.Join(mpncDir, "mpnc")
	out, err := exec.Command("go", "build", "-o", name, "github.com/mpnc/mpnc/cmd/mpnc").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building mpnc: %w\n%s", err, out)
	}
	return name, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if mpncDir != "" {
		os.RemoveAll(mpncDir)
	}
	os.Exit(code)
}

// tank keeps what is written to it, for readers that watch it fill.
type tank struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (k *tank) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.b.Write(p)
}

func (k *tank) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.b.String()
}

// mpncProcess is the command at work in a host.
type mpncProcess struct {
	*Command
	w        *world
	in       io.WriteCloser
	out, err tank
	done     chan struct{} // closed when it has ended
}

// mpnc starts the command in a host.
func (w *world) mpnc(h *Host, args ...string) *mpncProcess {
	w.t.Helper()
	name, err := mpncBinary()
	must(w.t, err)
	p := &mpncProcess{Command: h.Command(name, args...), w: w, done: make(chan struct{})}
	p.in, err = p.StdinPipe()
	must(w.t, err)
	p.Stdout, p.Stderr = &p.out, &p.err
	must(w.t, p.Start())
	go func() {
		_ = p.Wait() // ProcessState tells how it ended
		close(p.done)
	}()
	w.t.Cleanup(func() {
		p.kill()
		if w.t.Failed() {
			w.t.Logf("mpnc %q: %v\nout %.200q\nerr %s", args, p.ProcessState, p.out.String(), p.err.String())
		}
	})
	return p
}

// listens waits until a server is ready.
func (p *mpncProcess) listens() *mpncProcess {
	p.w.t.Helper()
	p.w.until("mpnc listens", func() bool { return p.ended() || strings.Contains(p.err.String(), "listening on") })
	return p
}

// prints waits until it has written s to its standard output.
func (p *mpncProcess) prints(s string) {
	p.w.t.Helper()
	p.w.until(fmt.Sprintf("mpnc prints %q", s), func() bool { return strings.Contains(p.out.String(), s) })
}

func (p *mpncProcess) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// exits waits for its end and returns its status.
func (p *mpncProcess) exits() int {
	p.w.t.Helper()
	p.w.until("mpnc ends", p.ended)
	return p.ProcessState.ExitCode()
}

// kill ends it as kill -9 does.
func (p *mpncProcess) kill() {
	_ = p.Process.Kill() // it may have ended
	<-p.done
}

// A server that is killed and started again has forgotten the session: the
// client says that it was reset, and its exit status is not zero. (Within
// three seconds: TestSimForgotten.) There is no case for the kernel's MPTCP: it
// ends a dead process's direction in good order and goes on acknowledging what
// nobody will read, so there is nothing to notice.
func TestHandoverServerIsKilled(t *testing.T) {
	transports := chosen(t, 1, []string{"mptcp", "tcp", "kernel-tcp"})
	var tests []func(*testing.T)
	for _, transport := range transports {
		tests = append(tests, func(t *testing.T) { killServer(t, transport) })
	}
	sideBySide(t, labsAtOnce, tests, func(i int) string { return transports[i] })
}

func killServer(t *testing.T, transport string) {
	w := newWorld(t, handoverLinks())
	ours := !strings.HasPrefix(transport, "kernel")
	for _, h := range []*Host{w.lab.Client, w.lab.Server} {
		if ours || h == w.lab.Client {
			must(t, h.Sysctl("net.mptcp.enabled", "0"))
		}
	}
	serve := []string{"-v", "-l", "-k", "-d", "--transport", transport, "4000"}
	server := w.mpnc(w.lab.Server, serve...).listens()
	client := w.mpnc(w.lab.Client, "-v", w.lab.Server.Addr("wifi", 4).String(), "4000")
	fmt.Fprintln(client.in, "hello")
	server.prints("hello\n")
	server.kill()
	w.mpnc(w.lab.Server, serve...).listens()
	for !client.ended() && w.ctx.Err() == nil {
		fmt.Fprintln(client.in, "again") // it may have ended just now
		select {
		case <-client.done:
		case <-time.After(100 * time.Millisecond):
		}
	}
	if status := client.exits(); status <= 0 {
		t.Errorf("exit status %d", status)
	}
	if !strings.Contains(client.err.String(), "connection reset") {
		t.Error("it does not say that the connection was reset")
	}
	kernelIdle(t, w.lab.Client)
}

// A stack that is closed without Shutdown, or a kernel's server that closes
// with data unread, resets the session.
func TestHandoverServerCloses(t *testing.T) {
	kinds := chosen(t, 2, []peerKind{ourMPTCP, ourTCP, kernelMPTCP, kernelTCP})
	var tests []func(*testing.T)
	for _, k := range kinds {
		tests = append(tests, func(t *testing.T) {
			w := newWorld(t, handoverLinks())
			at := netip.AddrPortFrom(w.lab.Server.Addr("wifi", 4), interopPort)
			var stack *mptcp.Stack
			var server io.ReadCloser
			var client io.ReadWriter
			if k.ours() {
				stack = w.stack(w.lab.Server, mptcp.Config{TCPOnly: k == ourTCP})
				ln, err := stack.Listen("tcp", fmt.Sprint(":", at.Port()))
				must(t, err)
				client = w.dialer(w.lab.Client, ourMPTCP, at)
				server, err = ln.Accept()
				must(t, err)
			} else {
				l := w.connectTo(ourMPTCP, k, at)
				client, server = l.client, l.server
			}
			_, err := client.Write(make([]byte, 100_000))
			must(t, err)
			_, err = io.ReadFull(server, make([]byte, 1000)) // leaves the rest unread
			must(t, err)
			if stack != nil {
				must(t, stack.Close())
			} else {
				must(t, server.Close())
			}
			for err = nil; err == nil; time.Sleep(10 * time.Millisecond) {
				_, err = client.Write([]byte("more"))
			}
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("writing: %v", err)
			}
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("reading: %v", err)
			}
		})
	}
	sideBySide(t, labsAtOnce, tests, func(i int) string { return kinds[i].String() })
}
