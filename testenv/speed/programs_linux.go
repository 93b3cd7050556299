package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mpnc/mpnc/testenv"
)

// makeFile makes what the commands carry: in memory, every page of it there, so
// that reading it costs what reading a cached file does.
func (w *workshop) makeFile() (err error) {
	dir := "/dev/shm"
	if _, err := os.Stat(dir); err != nil {
		dir = ""
	}
	if w.file, err = os.CreateTemp(dir, "mpnc-speed"); err != nil {
		return err
	}
	if !w.Only.MatchString("command/"+mpnc) && !w.commandsWanted() {
		return nil
	}
	h := sha256.New()
	b := make([]byte, 1<<20)
	stream := testenv.RandomStream(1)
	for i := range w.options.file {
		if i < checked>>20 {
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

// commandsWanted says whether a file is needed at all.
func (w *workshop) commandsWanted() bool {
	for _, j := range w.jobs(1) {
		if j.command {
			return true
		}
	}
	return false
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
	octets := min(int64(checked), w.options.file<<20)
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
	server, client := lab.Server.Command(serve[0], serve[1:]...), lab.Client.Command(dial[0], dial[1:]...)
	var said [2]strings.Builder
	server.Stdout, server.Stderr = out, &said[0]
	client.Stdin, client.Stderr = in, &said[1]
	if err := server.Start(); err != nil {
		return s, err
	}
	ended := make(chan error, 2)
	running := 0
	defer func() {
		for ; running > 0; running-- { // something failed
			_ = server.Process.Kill()
			if client.Process != nil {
				_ = client.Process.Kill()
			}
			<-ended
		}
	}()
	run := func(name string, c *testenv.Command, said *strings.Builder) {
		running++
		go func() {
			err := c.Wait()
			if err != nil {
				err = fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(said.String()))
			}
			ended <- err
		}()
	}
	run("server", server, &said[0])
	if err := awaitListening(ctx, lab.Server, port); err != nil {
		return s, err
	}
	machine, start := machineTime(), time.Now()
	if err := client.Start(); err != nil {
		return s, err
	}
	run("client", client, &said[1])
	for running > 0 {
		select {
		case e := <-ended:
			running--
			err = errors.Join(err, e)
		case <-ctx.Done():
			return s, ctx.Err()
		}
		if err != nil {
			return s, err
		}
	}
	took := time.Since(start).Seconds()
	gigabytes := float64(octets) / 1e9
	s.Rate = gigabytes * 8 / took
	s.Machine = (machineTime() - machine) / gigabytes
	for i, c := range []*testenv.Command{client, server} {
		s.CPU[i] = (c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds() / gigabytes
		s.Peak[i] = peak(c.ProcessState)
	}
	if speaksMPTCP(j.contestant) && j.contestant != mpnc {
		grown, err := lab.Client.CountersSince(before)
		if err != nil {
			return s, err
		}
		if grown["MPTcpExtMPCapableSYNACKRX"] == 0 {
			return s, errors.New("it did not speak MPTCP")
		}
		s.Paths = int(1 + grown["MPTcpExtMPJoinSynAckRx"])
	}
	return s, nil
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
	if speaksMPTCP(j.contestant) {
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
