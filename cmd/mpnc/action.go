package main

import (
	"context"
	"io"

	"github.com/mpnc/mpnc/internal/netcat"
)

// action is what is done with a connection once it is there: it is relayed to
// standard input and output, or to a program, or to other connections.
//
// serve carries one connection to the end of its session and does not close
// it. With --max-conns it is called for several connections at once. What
// ended the session is in the result, or in an error (a *netcat.Error, or a
// *failure with its exit status).
type action interface {
	serve(ctx context.Context, c conn) (netcat.Result, error)
}

// newAction returns what the options want done.
func newAction(m *command) (action, error) {
	switch {
	case m.o.exec != "" || m.o.shExec != "":
		return newExec(m)
	case m.o.broker:
		return &roomAction{m: m, chat: m.o.chat}, nil
	}
	a := &stdioAction{m: m}
	if m.o.keep && m.o.maxConns > 1 {
		a.hub = netcat.NewHub(m.stdin)
	}
	return a, nil
}

// stdioAction is the relay to standard input and output. Several connections
// at once all get the input.
type stdioAction struct {
	m   *command
	hub *netcat.Hub // nil if they come one after the other
}

func (a *stdioAction) serve(ctx context.Context, c conn) (netcat.Result, error) {
	var in io.Reader = a.m.stdin
	if a.hub != nil && !a.m.o.noInput {
		feed := a.hub.Join()
		defer feed.Close()
		in = feed
	}
	r := a.m.relay()
	_, r.Direct = c.(ownConn)
	if !a.m.o.keep {
		r.PeerEnded = func() { endOutput(a.m.stdout) }
	}
	return netcat.Relay(ctx, c, in, a.m.stdout, r)
}

// relay are the rules of a session, whatever the connection is relayed to.
func (m *command) relay() netcat.Options {
	o := m.o
	r := netcat.Options{
		HalfCloseOnEOF: o.halfClose,
		NoInput:        o.noInput,
		EndWithPeer:    (o.listen || o.dialect == traditional) && !o.sendOnly,
		QuitAfterEOF:   o.quit,
		IdleTimeout:    o.idle,
		IdleFromEOF:    o.dialect == traditional,
		SendOnly:       o.sendOnly,
		Reads:          o.reads,
		LineDelay:      o.interval,
		Delay:          o.delay,
		CRLF:           o.crlf,
		Telnet:         o.telnet,
	}
	if o.datagrams() {
		r.MaxWrite = largestDatagram
	}
	if m.dump != nil {
		r.Tap = m.dump.tap
	}
	return r
}
