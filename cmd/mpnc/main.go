// Command mpnc is a netcat whose connections survive: it speaks Multipath TCP
// from user space, over all of a host's interfaces at once.
//
// # From a command line to a session
//
// The name it was called with and --compat choose a dialect. The table of
// options says how the dialect's command line is read (grammar), and makes of
// it what makes sense (options). A command then has three parts that know
// nothing of each other:
//
//   - a transport makes connections. openTransport chooses it and lays others
//     over it (proxies, TLS), which are transports too;
//   - an action is what is done with a connection: newAction chooses it. The
//     relay to standard input and output is one, a program another;
//   - a voice tells what happens in the words of the dialect, and knows its
//     exit statuses.
//
// A new option is a row of the table, read in parseOptions, and a word in the
// manual page; tests hold these against each other.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
)

func main() {
	halfTheProcessors()
	sig := catchSignals()
	os.Exit(start(os.Args[0], os.Args[1:], sig, stdio{os.Stdin, os.Stdout, os.Stderr}))
}

// stdio are the three streams of a process.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// subcommands are what mpnc, and no other netcat, does besides. A host that is
// called like one is reached with: mpnc -- demo PORT
var subcommands = map[string]func(args []string, sig *signals, std stdio) error{
	"demo":    runDemo,
	"path":    runPath,
	"monitor": runMonitor,
	"ss":      runSS,
}

// start runs a command line under the name it was called with, and returns the
// exit status. Each failure is one line on standard error.
func start(called string, args []string, sig *signals, std stdio) int {
	d, err := dialectOf(called, args)
	switch {
	case err != nil:
	case d == mpnc && len(args) > 0 && subcommands[args[0]] != nil:
		err = subcommands[args[0]](args[1:], sig, std)
	default:
		err = runNetcat(d, called, args, sig, std)
	}
	err = sig.resolve(err)
	var child *childFailure
	if errors.As(err, &child) { // which has told its own
		return child.code
	}
	line, status := newVoice(d, called, std.err, nil).verdict(err)
	if line != "" {
		fmt.Fprintln(std.err, line)
	}
	return status
}
