package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/mpnc/mpnc/internal/netcat"
)

// command is one run of mpnc HOST PORT or mpnc -l PORT.
type command struct {
	o      *options
	t      transport
	base   inspector // the transport under all others, if it can tell what it has
	act    action
	say    voice
	dump   *dump // nil: none
	log    *logrus.Logger
	stdin  *netcat.Source
	stdout io.Writer
	stderr io.Writer

	summarized atomic.Bool // a session's statistics were told
}

// newCommand makes a run of the options over the process's streams.
func newCommand(o *options, called string, std stdio) *command {
	log := newLogger(std.err, o.verbose)
	if o.dialect != mpnc {
		log.SetOutput(io.Discard) // they know of no paths
	}
	o.logf, o.stderr = log.Warnf, std.err
	m := &command{
		o: o, log: log, say: newVoice(o.dialect, called, std.err, o),
		stdin: netcat.NewSource(openInput(std.in)), stdout: std.out, stderr: std.err,
	}
	enlarge(std.out)
	o.opened = func(t inspector) { m.base = t }
	return m
}

// run does what the options ask and returns once nothing of it is left: every
// octet written has reached its peer, or the user has lost patience.
func (m *command) run(sig *signals) (err error) {
	tellSpent(m.o.pathRules, m.log.Infof)
	if m.t, err = openTransport(m.o, m.log.Infof); err != nil {
		return err
	}
	if len(m.o.ownStackWishes) > 0 && !isOwn(m.base) {
		m.log.Warnf("%s has no effect: it works with our own stack only", m.o.ownStackWishes[0])
	}
	m.tellOffload()
	if m.act, err = newAction(m); err != nil {
		return err
	}
	m.armEarly()
	if m.dump, err = openDump(m.o.dump); err != nil {
		return err
	}
	if t, ok := m.base.(*own); ok && m.o.keep {
		t.late = func(err error) { m.complain(lossFailure(err)) }
	}
	defer m.serveControl()()
	m.tellTLS()
	removePID, err := writePID(m.o.pidFile)
	if err != nil {
		return err
	}
	defer removePID()
	switch {
	case m.o.scan:
		err = m.scan(sig)
	case m.o.listen:
		err = m.listen(sig)
	default:
		err = m.connect(sig)
	}
	if derr := m.dump.close(); err == nil {
		err = derr
	}
	// What -k still holds; a session has waited for its own already.
	err = m.settle(sig, err)
	if m.o.json && !m.summarized.Load() {
		m.writeJSON(&summary{Transport: m.t.name(), status: status{Paths: []path{}}}, sig.resolve(err))
	}
	return err
}

// connect has a session with each of the targets that lets us, one after the
// other; it has failed if none did.
func (m *command) connect(sig *signals) (err error) {
	targets := m.o.targets()
	served := false
	for i, to := range targets {
		c, derr := m.dial(sig.stop, to)
		if derr != nil {
			if err = derr; errors.Is(err, errInterrupted) {
				return err
			}
			continue
		}
		served = true
		if m.o.passFD {
			return passFD(c, m.stdout)
		}
		if err = m.session(sig, c, i == len(targets)-1); err != nil {
			return err
		}
	}
	if served {
		return nil
	}
	return m.inVain(err)
}

// inVain is how a run ends that had no session, nor was to have one: the
// traditional netcat counts its octets all the same, and takes any answers of
// several ports for a good end.
func (m *command) inVain(err error) error {
	if m.o.dialect != traditional {
		return err
	}
	if err != nil {
		if f := asFailure(err); !f.told || bindFailed(f.cause) {
			return err
		}
	}
	m.say.ended(&summary{})
	if len(m.o.ports) > 1 {
		return nil
	}
	return err
}

// listen serves one connection, or with -k all until a signal comes.
func (m *command) listen(sig *signals) error {
	l, err := m.t.listen(sig.stop, m.o.network, m.o.listenAddress())
	if err != nil {
		return listenFailure(m.o, err)
	}
	defer l.Close()
	if !m.o.access.empty() {
		l = &guarded{l, &m.o.access, m.say.denied}
	}
	m.say.listening(m.o.network, l.Addr())
	if m.o.keep {
		return m.serveAll(sig, l)
	}
	c, err := m.accept(sig.stop, l)
	if err != nil {
		return err
	}
	l.Close() // whoever comes now is refused, not kept waiting
	return m.session(sig, c, true)
}

// accept returns the next connection. The traditional netcat does not wait for
// longer than its time-out.
func (m *command) accept(ctx context.Context, l listener) (conn, error) {
	patience := ctx
	if m.o.dialect == traditional && m.o.timeout > 0 {
		var cancel context.CancelFunc
		patience, cancel = context.WithTimeout(ctx, m.o.timeout)
		defer cancel()
	}
	c, err := l.accept(patience)
	if ctx.Err() != nil {
		if err == nil {
			c.Abort()
		}
		return nil, errInterrupted
	}
	if err != nil && patience.Err() != nil {
		return nil, &failure{code: exitConnect, what: "no connection : " + cError(syscall.ETIMEDOUT)}
	}
	if err != nil {
		return nil, &failure{code: exitConnect, what: "cannot accept a connection: " + plain(err)}
	}
	m.say.accepted(m.o.network, c)
	return c, nil
}

// serveAll serves connections, at most maxConns at once, until a signal comes
// or the output fails. It returns when no session is left.
func (m *command) serveAll(sig *signals, l listener) error {
	stop, cancel := context.WithCancelCause(sig.stop)
	defer cancel(nil)
	slots := make(chan struct{}, m.o.maxConns)
	var sessions sync.WaitGroup
	defer sessions.Wait()
	for {
		select {
		case slots <- struct{}{}:
		case <-stop.Done():
			return stopCause(stop)
		}
		c, err := m.accept(stop, l)
		if err != nil {
			if stop.Err() != nil {
				err = stopCause(stop)
			}
			return err
		}
		sessions.Go(func() {
			defer func() { <-slots }()
			err := m.session(sig, c, false)
			switch {
			case errors.Is(err, errInterrupted), exitCode(err) == exitOutput:
				cancel(err)
			case err != nil:
				m.complain(err)
			}
		})
	}
}

// complain tells of a session that failed while others go on.
func (m *command) complain(err error) {
	if line, _ := m.say.verdict(err); line != "" {
		fmt.Fprintln(m.stderr, line)
	}
}

// stopCause is the failure that a session stopped the others with, or a signal.
func stopCause(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return errInterrupted
}

// session serves one connection to its end. The last one also waits, before
// its summary, until the transport has delivered everything.
func (m *command) session(sig *signals, c conn, last bool) error {
	began := time.Now()
	w := newWatch(c, m.log)
	res, err := m.act.serve(sig.stop, c)
	err = sessionFailure(m.o, res, err)
	if lost := c.lost(); lost != nil && (err == nil || errors.Is(err, syscall.ENOTCONN)) {
		err = lossFailure(lost)
	}
	if spoilt(err) {
		c.Abort()
	} else {
		c.Close()
	}
	if last {
		err = m.settle(sig, err)
	}
	w.stop()
	m.summarize(&summary{
		Transport: m.t.name(), listening: m.o.listen, Sent: res.Sent, Received: res.Received,
		status: c.status(), time: time.Since(began),
	}, sig.resolve(err))
	return err
}

// spoilt reports whether the peer must not take the end of the session for the
// end of the data.
func spoilt(err error) bool {
	var e *failure
	return errors.As(err, &e) && (e.code == exitTruncated || e.code == exitOutput)
}

// settle waits for the transport to deliver what was written. The first
// failure counts.
func (m *command) settle(sig *signals, err error) error {
	t := m.t
	m.t = settled{t}
	ctx := sig.abort
	if exitCode(err) == exitIdle { // -w bounds this wait, too
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, m.o.idle)
		defer cancel()
	}
	serr := t.shutdown(ctx)
	if f := new(failure); errors.As(serr, &f) && err == nil {
		return f
	}
	if serr != nil && err == nil {
		err = lossFailure(serr)
		if errors.Is(serr, context.Canceled) {
			err = errInterrupted
		}
	}
	return err
}

// settled is a transport that was shut down.
type settled struct{ transport }

func (settled) shutdown(context.Context) error { return nil }
