package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mpnc/mpnc/testenv"
	"github.com/mpnc/mpnc/testenv/speed/end"
)

// process is a running end.
type process struct {
	*testenv.Command
	in  io.WriteCloser
	out *bufio.Reader
}

// settle is how much longer is waited for each connection: at first their writers
// have the processors, until all buffers are full.
const settle = 6 * time.Millisecond

// pair runs both ends of a job, the client's as given.
func (w *workshop) pair(ctx context.Context, lab *testenv.Lab, j job, e end.Job) (client, server end.Report, err error) {
	theirs := e
	theirs.Serve, theirs.Links = true, nil
	for _, l := range e.Links {
		theirs.Links = append(theirs.Links, end.Link{Name: l.Name, Local: l.Remote, Remote: l.Local})
	}
	if w.profile != "" && e.Work != end.Check {
		base := filepath.Join(w.profile, strings.ReplaceAll(j.cell, "/", "-"))
		e.Profile, theirs.Profile = base+"-client.pprof", base+"-server.pprof"
	}
	s, err := w.start(lab.Server, j, theirs)
	if err != nil {
		return client, server, err
	}
	defer func() { err = errors.Join(err, s.end(err)) }()
	c, err := w.start(lab.Client, j, e)
	if err != nil {
		return client, server, err
	}
	defer func() { err = errors.Join(err, c.end(err)) }()
	if e.Work == end.Check {
		if err := c.say(end.Start); err != nil {
			return client, server, err
		}
		client, err = c.report("client")
		return client, server, err
	}
	pause := w.warmup
	switch e.Work {
	case end.Idle:
		pause = 2 * time.Second // until the last acknowledgment is out
	case end.Bulk:
		pause += time.Duration(e.Conns) * settle
	}
	if err := wait(ctx, pause); err != nil {
		return client, server, err
	}
	if err := errors.Join(s.say(end.Start), c.say(end.Start)); err != nil {
		return client, server, err
	}
	if err := wait(ctx, w.length); err != nil {
		return client, server, err
	}
	if err := errors.Join(s.say(end.Stop), c.say(end.Stop)); err != nil {
		return client, server, err
	}
	// Whoever ends first may leave the other with an error; so both are asked.
	client, err = c.report("client")
	server, e2 := s.report("server")
	return client, server, errors.Join(err, e2)
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// start starts an end and waits until it is ready.
func (w *workshop) start(h *testenv.Host, j job, e end.Job) (p *process, err error) {
	text, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	program, args := "/proc/self/exe", []string{endFlag, string(text)}
	if j.contestant == gvisor || j.contestant == quicGo {
		program, args = w.peers, args[1:]
	}
	p = &process{Command: h.Command(program, args...)}
	p.Env = j.environ()
	p.Stderr = os.Stderr
	out, err := p.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if p.in, err = p.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	line, err := p.out.ReadString('\n')
	if strings.TrimSpace(line) == end.Ready {
		return p, nil
	}
	return nil, errors.Join(fmt.Errorf("%s: %w", h.Name(), failure(line, err)), p.end(errors.New("not ready")))
}

// environ has trains switched off where there are to be none, for the command; what
// uses the package is told in its job.
func (j job) environ() []string {
	env := os.Environ()
	if j.mtu {
		env = append(env, "MPNC_OFFLOAD=off")
	}
	return env
}

// failure is what a line says that was not expected.
func failure(line string, err error) error {
	var r end.Report
	if e := json.Unmarshal([]byte(line), &r); e == nil && r.Err != "" {
		return errors.New(r.Err)
	}
	return fmt.Errorf("it said %q: %w", strings.TrimSpace(line), errors.Join(err, errors.New("not what was asked")))
}

func (p *process) say(word string) error {
	_, err := fmt.Fprintln(p.in, word)
	return err
}

func (p *process) report(who string) (r end.Report, err error) {
	line, err := p.out.ReadString('\n')
	if e := json.Unmarshal([]byte(line), &r); e != nil || r.Err != "" {
		return r, fmt.Errorf("%s: %w", who, failure(line, err))
	}
	return r, nil
}

// end ends it: by itself, or by force if something failed.
func (p *process) end(failed error) error {
	_ = p.in.Close()
	if failed != nil {
		_ = p.Process.Kill()
	}
	late := time.AfterFunc(10*time.Second, func() { _ = p.Process.Kill() })
	defer late.Stop()
	if err := p.Wait(); err != nil && failed == nil {
		return fmt.Errorf("ending: %w", err)
	}
	return nil
}
