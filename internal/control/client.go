package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// maxAnswer bounds a line from a server: ten thousand connections with several
// paths each.
const maxAnswer = 64 << 20

// Process is a running mpnc that can be asked.
type Process struct {
	PID  int
	path string
}

// Processes finds the processes of this user that can be asked; for root, those
// of all users. Sockets that processes left behind are removed.
func Processes() ([]Process, error) { return processes() }

// Report asks what the process has.
func (p Process) Report(ctx context.Context) (Report, error) {
	a, err := p.ask(ctx, request{Version: Version, Do: doReport})
	if err != nil {
		return Report{}, err
	}
	if a.Report == nil {
		return Report{}, errors.New("the answer has no report")
	}
	return *a.Report, nil
}

// Steer has something done to the paths of one of the process's connections,
// and returns why it could not be done.
func (p Process) Steer(ctx context.Context, s Steer) error {
	_, err := p.ask(ctx, request{Version: Version, Do: doSteer, Steer: &s})
	return err
}

// Monitor calls f with each event of the process, and first with those of its
// past if backlog, until the process ends (when it returns nil), or ctx does, or
// f fails.
func (p Process) Monitor(ctx context.Context, backlog bool, f func(Event) error) error {
	c, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	if err := json.NewEncoder(c).Encode(request{Version: Version, Do: doMonitor, Backlog: backlog}); err != nil {
		return err
	}
	lines := bufio.NewScanner(c)
	lines.Buffer(nil, maxAnswer)
	for {
		a, err := readAnswer(lines)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errEnded):
			return nil
		case err != nil:
			return err
		case a.Event != nil:
			if err := f(*a.Event); err != nil {
				return err
			}
		}
	}
}

// ask sends one request and returns its answer.
func (p Process) ask(ctx context.Context, r request) (answer, error) {
	c, err := p.dial(ctx)
	if err != nil {
		return answer{}, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	return roundTrip(c, r)
}

func roundTrip(c net.Conn, r request) (answer, error) {
	if err := json.NewEncoder(c).Encode(r); err != nil {
		return answer{}, err
	}
	lines := bufio.NewScanner(c)
	lines.Buffer(nil, maxAnswer)
	return readAnswer(lines)
}

// errEnded says that a server went without an answer.
var errEnded = errors.New("it has ended")

func readAnswer(lines *bufio.Scanner) (answer, error) {
	if !lines.Scan() {
		if err := lines.Err(); err != nil {
			return answer{}, err
		}
		return answer{}, errEnded
	}
	var a answer
	switch err := json.Unmarshal(lines.Bytes(), &a); {
	case err != nil:
		return answer{}, fmt.Errorf("the answer is not understood: %w", err)
	case a.Error != "":
		return answer{}, errors.New(a.Error)
	case a.Version != Version:
		return answer{}, fmt.Errorf("it speaks version %d of the control protocol, and this mpnc %d", a.Version, Version)
	}
	return a, nil
}

// reportPatience is how long a process may take to tell what it has.
const reportPatience = 2 * time.Second

// Reports asks all processes at once. Those that end meanwhile are left out;
// failed has the others that did not answer.
func Reports(ctx context.Context) (all []Report, failed map[int]error, err error) {
	ps, err := Processes()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, reportPatience)
	defer cancel()
	results, errs := make([]Report, len(ps)), make([]error, len(ps))
	var wg sync.WaitGroup
	for i, p := range ps {
		wg.Go(func() { results[i], errs[i] = p.Report(ctx) })
	}
	wg.Wait()
	failed = map[int]error{}
	for i, p := range ps {
		switch {
		case errs[i] == nil:
			all = append(all, results[i])
		case !ended(errs[i]):
			failed[p.PID] = errs[i]
		}
	}
	return all, failed, nil
}
