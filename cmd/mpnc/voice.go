package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sirupsen/logrus"
)

// voice tells what happens in the words of a dialect, and ends with its
// statuses. Its methods are called in the order in which things happen; those
// about a connection may be called for several at once.
type voice interface {
	// listening is told of each socket that connections or datagrams may now
	// come to.
	listening(network string, at net.Addr)
	// accepted is told of a connection that came in.
	accepted(network string, c conn)
	// connected is told of a connection that we made.
	connected(to target, c conn)
	// attemptFailed is told of each address of a target that gave no
	// connection, whatever the others gave. The address may be the host's name
	// if the transport tried them all.
	attemptFailed(to target, address string, err error)
	// probed is told what a scan found; err is nil at an open port.
	probed(to target, address string, err error)
	// denied is told of a peer that may not connect.
	denied(from net.Addr)
	// ended is told how a session went.
	ended(s *summary)
	// verdict returns the last line, empty if there is none, and the exit
	// status of a run, or a session, that ended with err.
	verdict(err error) (line string, status int)
}

// newVoice returns the voice of a dialect for a command that was called by a
// name. Without options, only the verdict is asked for.
func newVoice(d dialect, called string, w io.Writer, o *options) voice {
	return singleLine{voiceOf(d, called, w, o)}
}

// singleLine is a voice whose verdict is one line, whatever words of the user's
// or of the network's it quotes.
type singleLine struct{ voice }

func (v singleLine) verdict(err error) (string, int) {
	line, status := v.voice.verdict(err)
	return printable(line), status
}

func voiceOf(d dialect, called string, w io.Writer, o *options) voice {
	t := teller{w: w}
	if o != nil {
		t.verbose, t.numeric = o.verbose, o.numeric
	}
	t.name = strings.TrimSuffix(filepath.Base(called), ".exe")
	switch d {
	case openbsd:
		if calledNames[t.name] != openbsd {
			t.name = "nc"
		}
		return &openbsdVoice{t}
	case ncat:
		return newNcatVoice(t)
	case traditional:
		if calledNames[t.name] != traditional {
			t.name = "nc"
		}
		return newTraditionalVoice(t, o)
	}
	return &ownVoice{teller: t, log: newLogger(w, t.verbose)}
}

// teller is what the voices have in common.
type teller struct {
	w       io.Writer
	name    string // that the command was called by
	verbose int
	numeric bool
}

// line writes a line.
func (t *teller) line(format string, args ...any) {
	fmt.Fprintln(t.w, printable(fmt.Sprintf(format, args...)))
}

// verbosely writes a line if -v was given so often.
func (t *teller) verbosely(level int, format string, args ...any) {
	if t.verbose >= level {
		t.line(format, args...)
	}
}

// hostPort are an address's parts.
func hostPort(a net.Addr) (host, port string) {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String(), ""
	}
	return host, port
}

// protocol is a network without its family.
func protocol(network string) string { return strings.TrimRight(network, "46") }

// ownVoice is that of mpnc: every failure has a status of its own, one line
// that says why, and advice.
type ownVoice struct {
	teller
	log *logrus.Logger
}

func (v *ownVoice) listening(_ string, at net.Addr) { v.log.Infof("listening on %v", at) }

func (v *ownVoice) accepted(_ string, c conn) {
	v.log.Infof("connection received from %v on %v", c.RemoteAddr(), c.LocalAddr())
}

func (v *ownVoice) denied(from net.Addr) { v.log.Infof("refused %v: --allow and --deny say so", from) }

func (v *ownVoice) connected(_ target, c conn) {
	v.log.Infof("connected to %v from %v", c.RemoteAddr(), c.LocalAddr())
}

// attemptFailed has nothing to add to the error that the run ends with.
func (v *ownVoice) attemptFailed(target, string, error) {}

// probed keeps nc's texts, which scripts look for, and says how it is known.
func (v *ownVoice) probed(to target, address string, err error) {
	if err == nil {
		v.line("%s", succeeded(to, address, v.numeric))
		return
	}
	state, sign := portState(to.network, err)
	v.verbosely(1, "mpnc: %s (%s: %s)", notConnected(to, address, err), state, sign)
}

func (v *ownVoice) ended(s *summary) { s.tell(v.log) }

func (v *ownVoice) verdict(err error) (string, int) {
	switch {
	case err == nil:
		return "", exitOK
	case exitCode(err) == exitSignal+int(syscall.SIGHUP):
		return "", exitCode(err) // the terminal is gone, or it is how ssh ends its ProxyCommand
	}
	return "mpnc: " + strings.ReplaceAll(err.Error(), "\n", " "), exitCode(err)
}

// asFailure is the failure in an error; one of no kind that is known is a
// failure to connect.
func asFailure(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	return &failure{code: exitConnect, what: err.Error(), cause: err}
}
