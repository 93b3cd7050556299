package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mpnc/mpnc/testenv"
)

// Standard input and output may be closed.
func TestClosedStreams(t *testing.T) {
	for _, tt := range []struct{ streams, heard, printed string }{
		{"<&-", "", "hello"}, {">&-", "typed", ""}, {"<&- >&-", "", ""}, {"</dev/null", "", "hello"},
	} {
		heard := make(chan string, 1)
		port := serve(t, func(c *net.TCPConn) {
			b, _ := io.ReadAll(c)
			heard <- string(b)
			io.WriteString(c, "hello")
			c.Close()
		})
		name, err := commandFile()
		if err != nil {
			t.Fatal(err)
		}
		c := exec.Command("sh", "-c", "exec "+name+" -N --transport kernel-tcp 127.0.0.1 "+port+" "+tt.streams)
		c.Env = append(os.Environ(), beMpnc+"=1")
		c.Stdin = strings.NewReader("typed")
		out, err := c.Output()
		if got := <-heard; err != nil || got != tt.heard || string(out) != tt.printed {
			t.Errorf("%s: %v, the peer heard %q, printed %q", tt.streams, err, got, out)
		}
	}
}

// Standard input and output may be one socket, as inetd gives it.
func TestSocketStreams(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours := os.NewFile(uintptr(fds[0]), "theirs"), os.NewFile(uintptr(fds[1]), "ours")
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	port := serve(t, func(c *net.TCPConn) {
		io.Copy(c, c)
		c.Close()
	})
	p := prepare(t, "-N", "--transport", "kernel-tcp", "127.0.0.1", port)
	p.Stdin, p.Stdout = theirs, theirs
	p.begin()
	theirs.Close()
	io.WriteString(conn, "there and back")
	conn.(*net.UnixConn).CloseWrite()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "there and back" {
		t.Errorf("got %q, %v", got, err)
	}
	p.exits(0)
}

// A terminal: a line goes when it is typed, Ctrl-D ends the input.
func TestTerminal(t *testing.T) {
	master, slave := pty(t)
	heard := make(chan string, 2)
	port := serve(t, func(c *net.TCPConn) {
		b := make([]byte, 6)
		io.ReadFull(c, b)
		heard <- string(b)
		rest, _ := io.ReadAll(c)
		heard <- string(rest)
		c.Close()
	})
	p := prepare(t, "-N", "--transport", "kernel-tcp", "127.0.0.1", port)
	p.Stdin = slave
	p.begin()
	fmt.Fprint(master, "hello\n")
	if got := <-heard; got != "hello\n" {
		t.Errorf("the peer heard %q", got)
	}
	fmt.Fprint(master, "\x04")
	if got := <-heard; got != "" {
		t.Errorf("the peer heard %q after the end", got)
	}
	p.exits(0)
}

// pty returns a terminal's two ends.
func pty(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	name, err := unlockPTY(master)
	if err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile(name, os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

// bulk is how much goes across: as much as there is time for.
func bulk() int {
	switch {
	case os.Getenv("MPNC_FULL") != "":
		return 1 << 30
	case os.Getenv("MPNC_REQUIRE_NETNS") != "" && !testing.Short():
		return 64 << 20
	}
	return 4 << 20
}

// streams are the transports that carry them here.
func streams(t *testing.T) []string {
	t.Helper()
	if testenv.CanLab() && os.Getuid() == 0 {
		return []string{"kernel-tcp", "mptcp"}
	} else if os.Getenv("MPNC_REQUIRE_NETNS") != "" {
		t.Fatal("no privilege for our own stack, and MPNC_REQUIRE_NETNS is set")
	}
	return []string{"kernel-tcp"}
}

// onStream prepares mpnc on a transport.
func onStream(t *testing.T, transport string, args ...string) *process {
	t.Helper()
	p := prepare(t, append([]string{"--transport", transport}, args...)...)
	if transport != "kernel-tcp" {
		p.SysProcAttr = nil // as root
	}
	return p
}

// bulkMemory bounds what a process may have needed for as much as there is.
const bulkMemory = 96 << 20

// bulkWay is a way for much to go: from a file or a pipe of one end, which may
// be either, to a file or a pipe of the other end, or of the same one.
type bulkWay struct {
	name             string
	listener, client string // what each does, as an option line
	back             bool   // it comes back to who sent it
	listenerSends    bool
	files            bool   // else pipes
	receiver         string // how a shell redirects the receiver's standard input
}

var bulkWays = []bulkWay{
	{name: "pipe to pipe", listener: "-d", client: "-N"},
	{name: "file to file", listener: "-d", client: "-N", files: true},
	{name: "input from null", receiver: "</dev/null", client: "-N"},
	{name: "input closed", receiver: "<&-", listener: "-N", listenerSends: true},
	{name: "exec cat", listener: "--exec cat", client: "-N", back: true},
}

// Much goes across whole, whatever it comes from and goes to, and is never
// held as a whole.
func TestBulk(t *testing.T) {
	from := filepath.Join(t.TempDir(), "from")
	want := writeNoise(t, from, bulk())
	for _, tr := range streams(t) {
		for _, way := range bulkWays {
			t.Run(tr+"/"+way.name, func(t *testing.T) { way.carry(t, tr, from, want) })
		}
	}
}

// carry sends what the file from holds, whose sum is want.
func (w *bulkWay) carry(t *testing.T, transport, from string, want []byte) {
	port := stagePort(t)
	end := func(options ...string) *process {
		return onStream(t, transport, append(options, "127.0.0.1", port)...)
	}
	l := end(append([]string{"-v", "-l"}, strings.Fields(w.listener)...)...)
	c := end(strings.Fields(w.client)...)
	sender, receiver := c, l
	if w.listenerSends {
		sender, receiver = l, c
	}
	if w.receiver != "" {
		receiver.redirected(w.receiver)
	}
	if w.back {
		receiver = sender
	}

	source, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	sum := sha256.New()
	if w.files {
		to, err := os.Create(filepath.Join(t.TempDir(), "to"))
		if err != nil {
			t.Fatal(err)
		}
		defer to.Close()
		sender.Stdin, receiver.Stdout = source, to
	} else {
		sender.Stdin, receiver.Stdout = struct{ io.Reader }{source}, sum // through pipes
	}
	l.begin()
	l.says("listening on")
	c.begin()
	endWell(t, c, l)
	if to, ok := receiver.Stdout.(*os.File); ok {
		to.Seek(0, io.SeekStart)
		io.Copy(sum, to)
	}
	compareSums(t, sum.Sum(nil), want)
}

// redirected lets a shell start it, which redirects its streams.
func (p *process) redirected(streams string) {
	p.Args = append([]string{"sh", "-c", `exec "$0" "$@" ` + streams, p.Path}, p.Args[1:]...)
	p.Path = "/bin/sh"
}

// endWell waits for as long as much takes, for good ends of both, neither of
// which may have needed much memory.
func endWell(t *testing.T, c, l *process) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for running := []*process{c, l}; len(running) > 0; {
		p := running[0]
		select {
		case <-p.waited: // the package's time-out bounds it
			running = running[1:]
			if code := p.ProcessState.ExitCode(); code != 0 {
				t.Errorf("%q: exit status %d: %s", p.Args, code, p.stderr())
			}
		case <-tick.C:
		}
		for _, p := range running {
			if had := p.memory("VmHWM"); had > bulkMemory {
				t.Fatalf("%q has taken %d MiB", p.Args, had>>20)
			}
		}
	}
}

func compareSums(t *testing.T, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Error("other octets arrived than were sent")
	}
}

// writeNoise fills a file with random octets, and returns their sum.
func writeNoise(t *testing.T, name string, size int) []byte {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	piece := noise(3, 1<<20)
	for i := 0; i < size; i += len(piece) {
		piece[0], piece[1], piece[2] = byte(i>>20), byte(i>>28), byte(i>>12)
		if _, err := io.MultiWriter(f, sum).Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	return sum.Sum(nil)
}

// A full disk and a killed reader: the right status there, and at the far end,
// whoever listens, and a line of why on both sides.
func TestFarEndFails(t *testing.T) {
	for _, tr := range streams(t) {
		for _, listens := range []bool{true, false} {
			for _, tt := range []struct {
				name, said string
				output     func(*testing.T) (w *os.File, fail func())
			}{
				{"full disk", "no space left on device", fullDisk},
				{"killed reader", "broken pipe", killedReader},
			} {
				t.Run(fmt.Sprintf("%s/%s/it listens %v", tr, tt.name, listens), func(t *testing.T) {
					w, fail := tt.output(t)
					farEndFails(t, tr, listens, w, fail, tt.said)
				})
			}
		}
	}
}

func farEndFails(t *testing.T, transport string, listens bool, output *os.File, fail func(), said string) {
	port := stagePort(t)
	l := onStream(t, transport, "-v", "-l", "127.0.0.1", port)
	c := onStream(t, transport, "127.0.0.1", port)
	receiver, sender := c, l
	if listens {
		receiver, sender = l, c
	}
	receiver.Stdout, sender.Stdin = output, struct{ io.Reader }{endlessZeros{}}
	l.begin()
	l.says("listening on")
	c.begin()
	output.Close() // it has its own
	fail()
	for _, tt := range []struct {
		p      *process
		status int
		line   string
	}{
		{receiver, exitOutput, "cannot write the output: " + said},
		{sender, exitTruncated, "octets were sent"},
	} {
		tt.p.exits(tt.status)
		if lines := failures(tt.p.stderr()); len(lines) != 1 || !strings.Contains(lines[0], tt.line) {
			t.Errorf("%q said %q, want one line with %q", tt.p.Args, lines, tt.line)
		}
	}
}

// fullDisk is a file that takes nothing.
func fullDisk(t *testing.T) (*os.File, func()) {
	w, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return w, func() {}
}

// killedReader is a pipe to a program that is killed once it has read
// something.
func killedReader(t *testing.T) (*os.File, func()) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader := exec.Command("cat")
	reader.Stdin = r
	out, err := reader.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	return w, func() {
		_, err := io.ReadFull(out, make([]byte, 1))
		reader.Process.Kill()
		reader.Wait()
		if err != nil {
			t.Errorf("the reader got nothing: %v", err)
		}
	}
}

// endlessZeros never end.
type endlessZeros struct{}

func (endlessZeros) Read(p []byte) (int, error) { return len(p), nil }
