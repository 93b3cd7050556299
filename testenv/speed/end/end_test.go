//go:build unix

package end

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// loopback is a transport that any system has. Its listener is the test's, so that
// nobody else can have got its port.
var loopback = Contestants{"loopback": func(*Job) (*Transport, error) {
	return &Transport{
		Listen: func(netip.AddrPort) (net.Listener, error) { return net.FileListener(os.NewFile(3, "listener")) },
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", to.String())
		},
		Paths: func(net.Conn) int { return 1 },
	}, nil
}}

// isEnd has this program be an end.
const isEnd = "MPNC_TEST_END"

func TestMain(m *testing.M) {
	if text := os.Getenv(isEnd); text != "" {
		if err := Main(text, loopback); err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// started is a running end.
type started struct {
	*exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// start starts an end, and waits until it is ready. A server is given a listener.
func start(t *testing.T, j Job, ln *os.File) *started {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &started{Cmd: exec.Command(exe)}
	if j.Serve = ln != nil; j.Serve {
		s.ExtraFiles = []*os.File{ln}
	}
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	s.Env = append(os.Environ(), isEnd+"="+string(text))
	s.Stderr = os.Stderr
	if s.in, err = s.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.in.Close()
		if err := s.Wait(); err != nil {
			t.Error(err)
		}
	})
	word := make([]byte, len(Ready)+1)
	if _, err := io.ReadFull(out, word); err != nil || strings.TrimSpace(string(word)) != Ready {
		rest, _ := io.ReadAll(out)
		t.Fatalf("it said %q %q, %v", word, rest, err)
	}
	s.out = json.NewDecoder(out)
	return s
}

func (s *started) say(t *testing.T, word string) {
	t.Helper()
	if _, err := io.WriteString(s.in, word+"\n"); err != nil {
		t.Fatal(err)
	}
}

func (s *started) report(t *testing.T) (r Report) {
	t.Helper()
	if err := s.out.Decode(&r); err != nil || r.Err != "" {
		t.Fatal(err, r.Err)
	}
	return r
}

// pair starts both ends of a job.
func pair(t *testing.T, j Job) (client, server *started) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	file, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	at := ln.Addr().(*net.TCPAddr).AddrPort()
	j.Contestant, j.Port, j.Links = "loopback", at.Port(), []Link{{Local: at.Addr(), Remote: at.Addr()}}
	server = start(t, j, file)
	return start(t, j, nil), server
}

// Each kind of work is done, and counted between the words.
func TestWork(t *testing.T) {
	for _, c := range []struct {
		Job
		done func(client, server Report) bool
	}{
		{Job{Work: Bulk, Size: 1 << 16, Conns: 3}, func(c, s Report) bool { return c.Octets > 0 && s.Octets > 0 && c.Paths == 1 && s.Seconds > 0 }},
		{Job{Work: Ping, Size: 10, Conns: 1}, func(c, _ Report) bool { return c.Count > 0 && 0 < c.P50 && c.P50 <= c.P99 }},
		{Job{Work: Open, Size: 1, Conns: 2}, func(c, _ Report) bool { return c.Count > 0 }},
		{Job{Work: Idle, Size: 1, Conns: 20}, func(c, s Report) bool { return c.Heap != 0 && s.Heap != 0 }},
	} {
		t.Run(string(c.Work), func(t *testing.T) {
			// On a machine that is slow enough, nothing is done in any given time.
			for pause := 50 * time.Millisecond; ; pause *= 2 {
				client, server := measured(t, c.Job, pause)
				if c.done(client, server) {
					return
				}
				if pause > patience {
					t.Fatalf("client %+v, server %+v", client, server)
				}
			}
		})
	}
}

// measured does a job for a while.
func measured(t *testing.T, j Job, pause time.Duration) (Report, Report) {
	t.Helper()
	client, server := pair(t, j)
	server.say(t, Start)
	client.say(t, Start)
	time.Sleep(pause)
	server.say(t, Stop)
	client.say(t, Stop)
	return client.report(t), server.report(t)
}

// A stream is compared as a whole.
func TestCheck(t *testing.T) {
	j := Job{Work: Check, Size: 1000, Conns: 1, Octets: 123_456}
	client, _ := pair(t, j)
	client.say(t, Start)
	if r := client.report(t); r.Octets != j.Octets {
		t.Errorf("%+v", r)
	}
}

// Data that arrives otherwise than it was sent is found out.
func TestCheckFindsChange(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	e := &end{Job: Job{Size: 100, Octets: 1000}}
	e.first.Store(net.Conn(halfCloser{near}))
	go func() {
		_, _ = io.ReadFull(far, make([]byte, 1000))
		_, _ = far.Write(bytes.Repeat([]byte{1}, 32))
		far.Close()
	}()
	if _, err := e.check(); err == nil || !strings.Contains(err.Error(), "the sum is 0101") {
		t.Errorf("got %v", err)
	}
}

type halfCloser struct{ net.Conn }

func (halfCloser) CloseWrite() error { return nil }

func TestQuantiles(t *testing.T) {
	var w words
	w.add(time.Hour) // before it is measured
	w.begin()
	for i := 100; i > 0; i-- {
		w.add(time.Duration(i) * time.Millisecond)
	}
	if p50, p99 := w.quantiles(); p50 != 0.051 || p99 != 0.1 {
		t.Errorf("%v and %v", p50, p99)
	}
}
