package end

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Words between an end and the program that started it: the end says Ready, a line
// by itself, once connections can be made or are made and work; it is told Start
// and Stop on its standard input, and answers Stop with a Report. It ends when its
// input does.
const (
	Ready = "ready"
	Start = "start"
	Stop  = "stop"
)

// patience bounds what an end waits for outside the work itself.
const patience = 30 * time.Second

// Main does the job that is written in text, and returns when the input ends.
func Main(text string, all Contestants) error {
	var e end
	if err := json.Unmarshal([]byte(text), &e.Job); err != nil {
		return err
	}
	if err := e.run(all); err != nil {
		e.tell(Report{Err: err.Error()})
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // whoever started us is done with us
	return nil
}

// end is a job being done.
type end struct {
	Job
	transport *Transport
	before    memory

	octets, count atomic.Int64
	words         words
	first         atomic.Value // net.Conn
	failed        atomic.Pointer[error]
	done          chan struct{} // closed when nobody should work any more
	broken        chan struct{} // closed when failed is set
	once          sync.Once
}

func (e *end) run(all Contestants) (err error) {
	open := all[e.Contestant]
	if open == nil {
		return fmt.Errorf("no contestant %q here", e.Contestant)
	}
	e.done, e.broken = make(chan struct{}), make(chan struct{})
	if e.transport, err = open(&e.Job); err != nil {
		return err
	}
	e.before = memoryNow(true)
	defer close(e.done)
	if e.Serve {
		err = e.serve()
	} else {
		err = e.connect()
	}
	if err != nil {
		return err
	}
	fmt.Println(Ready)
	return e.obey()
}

// obey measures from Start to Stop.
func (e *end) obey() error {
	orders := make(chan string)
	go func() {
		defer close(orders)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			orders <- strings.TrimSpace(in.Text())
		}
	}()
	var from snapshot
	for {
		select {
		case <-e.broken:
			return *e.failed.Load()
		case word, ok := <-orders:
			switch {
			case !ok:
				return nil
			case word == Stop:
				r := e.report(from)
				if e.Profile != "" {
					pprof.StopCPUProfile()
				}
				e.tell(r)
				return nil
			case word != Start:
				return fmt.Errorf("what is %q?", word)
			}
		}
		if e.Work == Check && !e.Serve {
			r, err := e.check()
			if err == nil {
				e.tell(r)
			}
			return err
		}
		if err := e.profile(); err != nil {
			return err
		}
		e.words.begin()
		from = e.snapshot()
	}
}

// profile begins one, if asked for.
func (e *end) profile() error {
	if e.Profile == "" {
		return nil
	}
	f, err := os.Create(e.Profile)
	if err != nil {
		return err
	}
	return pprof.StartCPUProfile(f)
}

func (e *end) tell(r Report) {
	_ = json.NewEncoder(os.Stdout).Encode(r) // nobody listens: the input will end
}

// fail keeps the first error of whoever works, unless it is the end anyway.
func (e *end) fail(err error) {
	select {
	case <-e.done:
		return
	default:
	}
	if err == nil {
		err = errors.New("a connection ended")
	}
	e.once.Do(func() {
		e.failed.Store(&err)
		close(e.broken)
	})
}

// dial connects once.
func (e *end) dial() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return e.transport.Dial(ctx, e.at())
}

// snapshot is how far an end was at a moment.
type snapshot struct {
	at            time.Time
	octets, count int64
	cpu, machine  float64
}

func (e *end) snapshot() snapshot {
	return snapshot{time.Now(), e.octets.Load(), e.count.Load(), processTime(), MachineTime()}
}

func (e *end) report(from snapshot) Report {
	now := e.snapshot()
	r := Report{
		Octets: now.octets - from.octets, Count: now.count - from.count, Seconds: now.at.Sub(from.at).Seconds(),
		CPU: now.cpu - from.cpu, Machine: now.machine - from.machine,
	}
	r.P50, r.P99 = e.words.quantiles()
	m := memoryNow(e.Work == Idle)
	r.Peak = m.peak
	if e.Work == Idle {
		r.Heap, r.Resident = m.heap-e.before.heap, m.resident-e.before.resident
	}
	if conn, ok := e.first.Load().(net.Conn); ok && e.transport.Paths != nil {
		r.Paths = e.transport.Paths(conn)
	}
	return r
}
