package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/mpnc/mpnc/internal/netcat"
)

const (
	// lastWords is how long a session goes on after its program has ended, for
	// the peer to end too: closing at once would reset a connection on which it
	// still says something, and lose what the program said last.
	lastWords = 2 * time.Second
	// childGrace is how long a program that is told to end may take.
	childGrace = 2 * time.Second
)

// execAction gives each connection to a program of its own.
type execAction struct {
	m    *command
	argv []string
}

// newExec reads --exec and --sh-exec.
func newExec(m *command) (*execAction, error) {
	if m.o.shExec != "" {
		return &execAction{m, []string{"/bin/sh", "-c", m.o.shExec}}, nil
	}
	argv, err := splitWords(m.o.exec)
	if err != nil {
		return nil, usage("--exec: %v", err)
	}
	if _, err := exec.LookPath(argv[0]); err != nil {
		return nil, &failure{code: exitConnect, what: "cannot run " + argv[0] + ": " + execTrouble(err), cause: err}
	}
	return &execAction{m, argv}, nil
}

func execTrouble(err error) string {
	if e := new(exec.Error); errors.As(err, &e) {
		err = e.Err
	}
	return plain(err)
}

// splitWords splits a command line at white space; quotes and backslashes keep
// it together.
func splitWords(s string) (words []string, err error) {
	var word strings.Builder
	inWord, quote := false, byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quote != '\'' && i+1 < len(s):
			i++
			inWord = true
			word.WriteByte(s[i])
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, inWord = c, true
		case quote == 0 && (c == ' ' || c == '\t' || c == '\n'):
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			inWord = true
			word.WriteByte(c)
		}
	}
	switch {
	case quote != 0:
		return nil, fmt.Errorf("a quote %c is not closed", quote)
	case inWord:
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, errors.New("no program is named")
	}
	return words, nil
}

func (a *execAction) serve(ctx context.Context, c conn) (netcat.Result, error) {
	cmd := exec.Command(a.argv[0], a.argv[1:]...)
	cmd.Env = append(os.Environ(), childEnv(protocol(a.m.o.network), c)...)
	cmd.Stderr = a.m.stderr
	ownGroup(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return netcat.Result{}, &failure{code: exitConnect, what: "cannot run " + a.argv[0] + ": " + plain(err), cause: err}
	}
	out, writeEnd, err := os.Pipe() // not cmd's own, which Wait would close under the relay
	if err != nil {
		return netcat.Result{}, &failure{code: exitConnect, what: "cannot run " + a.argv[0] + ": " + plain(err), cause: err}
	}
	defer out.Close()
	cmd.Stdout = writeEnd
	err = cmd.Start()
	writeEnd.Close()
	if err != nil {
		in.Close()
		return netcat.Result{}, &failure{code: exitConnect, what: "cannot run " + a.argv[0] + ": " + execTrouble(err), cause: err}
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	res, err := netcat.Relay(ctx, c, out, childInput{in}, a.rules(in))
	in.Close()
	a.end(cmd, ended)
	return res, err
}

// rules are those of a session with a program: its output is sent, and when
// that ends our direction does.
func (a *execAction) rules(in io.Closer) netcat.Options {
	r := a.m.relay()
	r.NoInput, r.EndWithPeer, r.SendOnly = a.m.o.noInput, false, a.m.o.sendOnly
	r.HalfCloseOnEOF, r.QuitAfterEOF = true, lastWords
	r.PeerEnded = func() { in.Close() }
	return r
}

// end ends a program that does not end by itself.
func (a *execAction) end(cmd *exec.Cmd, ended <-chan struct{}) {
	for _, s := range []syscall.Signal{0, syscall.SIGTERM, syscall.SIGKILL} {
		if s != 0 {
			signalGroup(cmd, s)
		}
		t := time.NewTimer(childGrace)
		select {
		case <-ended:
			t.Stop()
			return
		case <-t.C:
		}
	}
	<-ended
}

// childInput is a program's standard input. One that reads no more, or has
// ended, is no failure of the session: what it says may still be on its way.
type childInput struct{ io.Writer }

func (w childInput) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed) {
		return len(p), nil
	}
	return n, err
}

// childEnv tells a program of its connection, in the words of ncat, and in
// ours.
func childEnv(proto string, c conn) (env []string) {
	for _, prefix := range []string{"NCAT_", "MPNC_"} {
		for _, end := range []struct {
			name string
			addr net.Addr
		}{{"REMOTE", c.RemoteAddr()}, {"LOCAL", c.LocalAddr()}} {
			host, port := hostPort(end.addr)
			env = append(env, prefix+end.name+"_ADDR="+host, prefix+end.name+"_PORT="+port)
		}
		env = append(env, prefix+"PROTO="+strings.ToUpper(proto))
	}
	return env
}
