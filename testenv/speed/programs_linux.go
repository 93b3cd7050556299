package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mpnc/mpnc/testenv"
	"github.com/mpnc/mpnc/testenv/speed/end"
)

// makeFile makes what the commands carry, if they are measured: in memory, every
// page of it there, so that reading it costs what reading a cached file does.
func (w *workshop) makeFile() (err error) {
	if !slices.ContainsFunc(w.jobs(1), func(j job) bool { return j.command }) {
		return nil
	}
	dir := "/dev/shm"
	if _, err := os.Stat(dir); err != nil {
		dir = ""
	}
	if w.file, err = os.CreateTemp(dir, "mpnc-speed"); err != nil {
		return err
	}
	h := sha256.New()
	b := make([]byte, 1<<20)
	stream := testenv.RandomStream(1)
	for i := range w.options.file {
		if i < w.check {
			_, _ = io.ReadFull(stream, b) // it never ends
			h.Write(b)
		}
		if _, err := w.file.Write(b); err != nil {
			return fmt.Errorf("%s: %w", w.file.Name(), err)
		}
	}
	w.sum = fmt.Sprintf("%x", h.Sum(nil))
	return nil
}

// commands measures a program at both ends: from the client's start until both
// have ended.
func (w *workshop) commands(ctx context.Context, lab *testenv.Lab, j job) (s Sample, err error) {
	if j.round == 0 {
		if err := w.checkCommands(ctx, lab, j); err != nil {
			return s, fmt.Errorf("checking: %w", err)
		}
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return s, err
	}
	defer null.Close()
	in, err := os.Open(w.file.Name())
	if err != nil {
		return s, err
	}
	defer in.Close()
	return w.carry(ctx, lab, j, in, null, w.options.file<<20, port)
}

// checkCommands carries the beginning of the file into another, and compares.
func (w *workshop) checkCommands(ctx context.Context, lab *testenv.Lab, j job) error {
	octets := w.check << 20
	out, err := os.Create(filepath.Join(w.dir, "arrived"))
	if err != nil {
		return err
	}
	defer out.Close()
	head, err := os.Create(filepath.Join(w.dir, "head"))
	if err != nil {
		return err
	}
	defer head.Close()
	if _, err := io.Copy(head, io.NewSectionReader(w.file, 0, octets)); err != nil {
		return err
	}
	if _, err := head.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := w.carry(ctx, lab, j, head, out, octets, port+1); err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(h, io.NewSectionReader(out, 0, 1<<40))
	if err != nil {
		return err
	}
	if sum := fmt.Sprintf("%x", h.Sum(nil)); n != octets || sum != w.sum {
		return fmt.Errorf("%d octets of %d arrived, sum %s, want %s", n, octets, sum, w.sum)
	}
	return nil
}

// carry runs both programs.
func (w *workshop) carry(ctx context.Context, lab *testenv.Lab, j job, in, out *os.File, octets int64, port int) (s Sample, err error) {
	before, err := lab.Client.Counters()
	if err != nil {
		return s, err
	}
	serve, dial := w.commandLines(j, lab.Server.Addr(lab.Server.Links()[0], 4).String(), strconv.Itoa(port))
	t := &troupe{ended: make(chan exit, 2)}
	defer t.kill()
	server, client := lab.Server.Command(serve[0], serve[1:]...), lab.Client.Command(dial[0], dial[1:]...)
	server.Stdout, client.Stdin = out, in
	server.Env, client.Env = j.environ(), j.environ()
	if err := t.start(server); err != nil {
		return s, err
	}
	if err := awaitListening(ctx, lab.Server, port); err != nil {
		return s, err
	}
	machine, start := end.MachineTime(), time.Now()
	if err := t.start(client); err != nil {
		return s, err
	}
	if err := t.wait(ctx); err != nil {
		return s, err
	}
	gigabytes := float64(octets) / 1e9
	for i, c := range []*testenv.Command{client, server} {
		s.Ended[i] = t.at[c].Sub(start).Seconds()
		s.CPU[i] = (c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds() / gigabytes
		s.Peak[i] = peak(c.ProcessState)
	}
	s.Rate = gigabytes * 8 / max(s.Ended[0], s.Ended[1])
	s.Machine = (end.MachineTime() - machine) / gigabytes
	if j.contestant == ncMPTCP || j.contestant == socatMPTCP {
		s.Paths, err = kernelPaths(lab.Client, before)
	}
	return s, err
}

// kernelPaths says how many paths the connection had that a client has made since.
func kernelPaths(h *testenv.Host, before map[string]int64) (int, error) {
	grown, err := h.CountersSince(before)
	if err == nil && grown["MPTcpExtMPCapableSYNACKRX"] == 0 {
		err = errors.New("it did not speak MPTCP")
	}
	return int(1 + grown["MPTcpExtMPJoinSynAckRx"]), err
}

// troupe is programs that run together.
type troupe struct {
	running []*testenv.Command
	ended   chan exit
	at      map[*testenv.Command]time.Time // when they ended
}

// exit is the end of a program.
type exit struct {
	*testenv.Command
	at  time.Time
	err error
}

func (t *troupe) start(c *testenv.Command) error {
	said := new(strings.Builder)
	c.Stderr = said
	if err := c.Start(); err != nil {
		return err
	}
	t.running = append(t.running, c)
	go func() {
		err := c.Wait()
		at := time.Now()
		if err != nil {
			err = fmt.Errorf("%s: %w: %s", strings.Join(c.Args, " "), err, strings.TrimSpace(said.String()))
		}
		t.ended <- exit{c, at, err}
	}()
	return nil
}

// wait waits until all have ended, or one failed.
func (t *troupe) wait(ctx context.Context) error {
	t.at = make(map[*testenv.Command]time.Time)
	for len(t.running) > 0 {
		select {
		case e := <-t.ended:
			t.gone(e)
			if e.err != nil {
				return e.err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (t *troupe) gone(e exit) {
	t.running = slices.DeleteFunc(t.running, func(c *testenv.Command) bool { return c == e.Command })
	if t.at != nil {
		t.at[e.Command] = e.at
	}
}

// kill ends those that still run.
func (t *troupe) kill() {
	for _, c := range t.running {
		_ = c.Process.Kill() // it may have ended just now
	}
	for len(t.running) > 0 {
		t.gone(<-t.ended)
	}
}

// commandLines are the server's and the client's.
func (w *workshop) commandLines(j job, host, port string) (serve, dial []string) {
	const buffer = "262144"
	switch j.contestant {
	case mpnc:
		return []string{w.mpnc, "-l", "-d", port}, []string{w.mpnc, "-N", host, port}
	case ncMPTCP, ncTCP:
		serve, dial = []string{"nc.openbsd", "-l", "-d", port}, []string{"nc.openbsd", "-N", host, port}
	default:
		serve = []string{"socat", "-u", "-b", buffer, "TCP4-LISTEN:" + port, "STDOUT"}
		dial = []string{"socat", "-u", "-b", buffer, "STDIN", "TCP4:" + host + ":" + port}
	}
	if j.contestant == ncMPTCP || j.contestant == socatMPTCP {
		run := []string{"mptcpize", "run"}
		serve, dial = append(run[:2:2], serve...), append(run[:2:2], dial...)
	}
	return serve, dial
}

// awaitListening waits until something listens on the port: mpnc's guard does, too.
func awaitListening(ctx context.Context, h *testenv.Host, port int) error {
	want := fmt.Sprintf(":%04X ", port)
	for {
		found := false
		err := h.Do(func() error {
			for _, name := range []string{"tcp", "tcp6"} {
				b, err := os.ReadFile("/proc/thread-self/net/" + name)
				if err != nil {
					return err
				}
				for line := range strings.Lines(string(b)) {
					fields := strings.Fields(line)
					found = found || len(fields) > 3 && strings.HasSuffix(fields[1]+" ", want) && fields[3] == "0A"
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := wait(ctx, 20*time.Millisecond); err != nil || found { // a moment more: the guard is there before the rest
			return err
		}
	}
}
