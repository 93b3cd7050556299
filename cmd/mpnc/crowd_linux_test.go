package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// crowdMemory bounds what a listener may need for a session, in octets: of the
// three buffers that it has, no more is touched than was ever filled.
const crowdMemory = 256 << 10

// crowd is how many clients come at once.
func crowd() int {
	if os.Getenv("MPNC_REQUIRE_NETNS") != "" && !testing.Short() {
		return 1000
	}
	return 100
}

// A crowd of clients, all there at the same time, each with a program of its
// own: all are served, the memory is bounded, and of those who have left no
// descriptor and no program is left. SIGTERM ends what the others have.
func TestCrowd(t *testing.T) {
	n := crowd()
	l := prepare(t, "-v", "-l", "-k", "--max-conns", strconv.Itoa(n), "--exec", "cat", "--transport", "kernel-tcp", "127.0.0.1", "0").begin()
	port := l.says(`listening on .*:(\d+)\n`)[1]
	idle := l.descriptors()

	clients := make([]*net.TCPConn, n)
	everyone(t, n, func(i int) (err error) {
		clients[i], err = served(port, i)
		return err
	})
	t.Cleanup(func() {
		for _, c := range clients {
			if c != nil {
				c.Close()
			}
		}
	})
	if t.Failed() {
		return
	}
	if got := l.children(); got != n {
		t.Errorf("%d programs run for %d clients", got, n)
	}
	if got, most := l.memory("VmHWM"), int64(96<<20+n*crowdMemory); got > most {
		t.Errorf("%d clients took %d MiB, more than %d", n, got>>20, most>>20)
	}
	t.Logf("%d clients: %d MiB, %d descriptors", n, l.memory("VmHWM")>>20, l.descriptors())

	// Half of them leave.
	stay := clients[:n/2]
	everyone(t, n-n/2, func(i int) error { return leave(clients[n/2+i]) })
	if t.Failed() {
		return
	}
	l.comesDownTo(len(stay), l.children, "programs")
	const perSession = 6 // at most; and two since, for the runtime's events
	l.comesDownTo(idle+2+len(stay)*perSession, l.descriptors, "descriptors")

	// Those who come now find room, and all but one of the first half go.
	more, err := served(port, n)
	if err != nil {
		t.Fatal(err)
	}
	everyone(t, len(stay)-1, func(i int) error { return leave(stay[1+i]) })
	l.comesDownTo(2, l.children, "programs")
	l.comesDownTo(idle+2+2*perSession, l.descriptors, "descriptors")

	// What is still open ends in order.
	l.Process.Signal(syscall.SIGTERM)
	for _, c := range []*net.TCPConn{stay[0], more} {
		if b, err := io.ReadAll(c); len(b) > 0 || err != nil {
			t.Errorf("after SIGTERM a client read %q, %v", b, err)
		}
		c.Close()
	}
	l.exits(exitSignal + int(syscall.SIGTERM))
	if said := failures(l.stderr()); len(said) != 1 || !strings.Contains(said[0], "stopped by signal") {
		t.Errorf("it said %q", said)
	}
}

// Sessions that have ended leave no goroutine: Go's runtime tells of all of
// them when it is asked to quit.
func TestCrowdLeavesNoGoroutine(t *testing.T) {
	const n = 20
	l := prepare(t, "-v", "-l", "-k", "--max-conns", strconv.Itoa(n), "--exec", "cat", "--transport", "kernel-tcp", "127.0.0.1", "0")
	l.Env = append(l.Env, "GOTRACEBACK=all")
	l.begin()
	port := l.says(`listening on .*:(\d+)\n`)[1]
	everyone(t, n, func(i int) error {
		c, err := served(port, i)
		if err != nil {
			return err
		}
		return leave(c)
	})
	l.says(`(?s)(mpnc: sent .*){` + strconv.Itoa(n) + `}`) // the last thing that a session does, nearly
	for range 3 {
		l.comesDownTo(0, l.running, "running threads")
	}
	l.Process.Signal(syscall.SIGQUIT)
	<-l.waited
	_, dump, ok := strings.Cut(l.stderr(), "SIGQUIT")
	if !ok || !strings.Contains(dump, "(*command).serveAll(") {
		t.Fatalf("no goroutines are shown:\n%.1000s", dump)
	}
	for _, frame := range []string{"(*command).session", "(*execAction)", "internal/netcat.", "os/exec."} {
		if left := strings.Count(dump, frame); left > 0 {
			t.Errorf("%d frames of %s are left", left, frame)
		}
	}
}

// everyone does something n times at once, and tells of the first failures.
func everyone(t *testing.T, n int, do func(i int) error) {
	t.Helper()
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = do(i) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Errorf("%.2000v", err)
	}
}

// served is a client who was answered what it said, and stays.
func served(port string, i int) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: patience}
	d.SetMultipathTCP(false)
	conn, err := d.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return nil, err
	}
	c := conn.(*net.TCPConn)
	c.SetDeadline(time.Now().Add(2 * patience))
	said := bytes.Repeat(fmt.Appendf(nil, "client %d\n", i), 400)
	heard := make([]byte, len(said))
	if _, err = c.Write(said); err == nil {
		_, err = io.ReadFull(c, heard)
	}
	if err == nil && !bytes.Equal(said, heard) {
		err = errors.New("something else came back")
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("client %d: %w", i, err)
	}
	return c, nil
}

// leave ends a client's direction and wants the other one to end.
func leave(c *net.TCPConn) error {
	defer c.Close()
	if err := c.CloseWrite(); err != nil {
		return err
	}
	if b, err := io.ReadAll(c); len(b) > 0 || err != nil {
		return fmt.Errorf("at the end came %q, %v", b, err)
	}
	return nil
}

// proc is a file of the process in /proc.
func (p *process) proc(name string) string {
	return filepath.Join("/proc", strconv.Itoa(p.Process.Pid), name)
}

// descriptors is how many files it has open.
func (p *process) descriptors() int {
	p.t.Helper()
	files, err := os.ReadDir(p.proc("fd"))
	if err != nil {
		p.t.Fatal(err)
	}
	return len(files)
}

// children is how many programs it runs, and those that have ended and were
// not waited for.
func (p *process) children() (n int) {
	p.t.Helper()
	lists, err := filepath.Glob(p.proc("task/*/children"))
	if err != nil || len(lists) == 0 {
		p.t.Fatal("no list of its children: ", err)
	}
	for _, name := range lists {
		pids, _ := os.ReadFile(name) // the thread may have ended
		n += len(strings.Fields(string(pids)))
	}
	return n
}

// running is how many of its threads do something, or are about to.
func (p *process) running() (n int) {
	p.t.Helper()
	threads, err := filepath.Glob(p.proc("task/*/stat"))
	if err != nil || len(threads) == 0 {
		p.t.Fatal("no list of its threads: ", err)
	}
	for _, name := range threads {
		stat, _ := os.ReadFile(name) // the thread may have ended
		if _, state, ok := bytes.Cut(stat, []byte(") ")); ok && state[0] == 'R' {
			n++
		}
	}
	return n
}

// memory is a size of its status in octets, as VmHWM, the most it ever had.
func (p *process) memory(what string) int64 {
	status, _ := os.ReadFile(p.proc("status")) // it may have ended
	if m := regexp.MustCompile(`(?m)^` + what + `:\s+(\d+) kB$`).FindSubmatch(status); m != nil {
		kib, _ := strconv.ParseInt(string(m[1]), 10, 64)
		return kib << 10
	}
	return 0
}

// comesDownTo waits until there are no more than so many.
func (p *process) comesDownTo(most int, count func() int, of string) {
	p.t.Helper()
	late := time.Now().Add(patience)
	for count() > most {
		if time.Now().After(late) {
			p.t.Fatalf("%d %s are left, want %d", count(), of, most)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// failures are the lines that tell of no connection and no transfer that went
// well.
func failures(said string) (lines []string) {
	for line := range strings.Lines(said) {
		if !regexp.MustCompile(`^mpnc: (using|listening|connection received|connected|path|sent|fell back|  )`).MatchString(line) {
			lines = append(lines, line)
		}
	}
	return lines
}
