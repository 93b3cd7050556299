package main

import (
	"context"

	"github.com/mpnc/mpnc/internal/control"
)

// program is what ss calls us.
const program = "mpnc"

// inspector is a transport that can tell what it has.
type inspector interface {
	name() string
	listeners() []control.Listener
	connections() []control.Conn
	steer(ctx context.Context, s control.Steer) error
	// watch has f called with what happens; f returns at once.
	watch(f func(control.Event))
}

// controlHost answers at the control socket for a run of the command.
type controlHost struct {
	t inspector
}

// tellOpened tells whoever wants to know of the transport that carries all
// others.
func (o *options) tellOpened(t inspector) {
	if o.opened != nil {
		o.opened(t)
	}
}

// Report implements control.Host.
func (h controlHost) Report() control.Report {
	return control.Report{
		Program: program, Transport: h.t.name(),
		Listeners: append([]control.Listener{}, h.t.listeners()...),
		Conns:     append([]control.Conn{}, h.t.connections()...),
	}
}

// Steer implements control.Host.
func (h controlHost) Steer(ctx context.Context, s control.Steer) error { return h.t.steer(ctx, s) }

// serveControl lets other processes ask what this one has. Without, everything
// else works as well. The result ends it.
func (m *command) serveControl() (end func()) {
	if m.base == nil {
		return func() {}
	}
	s, err := control.Serve(controlHost{m.base})
	if err == nil {
		m.base.watch(s.Publish)
	}
	if err != nil {
		m.log.Debugf("no control socket, so that mpnc ss will not show this process: %v", err)
		return func() {}
	}
	return func() { s.Close() }
}
