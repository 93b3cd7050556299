package mptcp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/mptcp/engine"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/scheduler"
)

// Errors of the methods that steer a connection's paths beside its path manager.
var (
	ErrNotMultipath = engine.ErrNotMultipath
	ErrNoSuchPath   = engine.ErrNoSuchPath
	ErrPathExists   = engine.ErrPathExists
	ErrManyPaths    = engine.ErrManyPaths
	ErrLastPath     = engine.ErrLastPath
	ErrNoJoin       = engine.ErrNoJoin
	ErrFamily       = engine.ErrFamily
	ErrLimits       = engine.ErrLimits
)

// Limits bound the subflows of a connection (at once, in both directions
// together; from 1 to 32) and the addresses that are learned from the peer's
// ADD_ADDRs (up to 8).
type Limits = engine.Limits

// PathError is why a path that was asked for could not be had.
type PathError struct {
	Local  netip.Addr
	Remote netip.AddrPort // zero if it never came to one
	Reason pathmgr.Reason // unless Err is set
	Err    error          // no route or port
}

func (e *PathError) Error() string {
	why := "it was refused"
	switch {
	case e.Err != nil:
		why = e.Err.Error()
	case e.Reason == pathmgr.TimedOut:
		why = "nothing answers"
	case e.Reason == pathmgr.Reset:
		why = "it was reset"
	}
	if e.Remote.IsValid() {
		return fmt.Sprintf("no path from %v to %v: %s", e.Local, e.Remote, why)
	}
	return fmt.Sprintf("no path from %v: %s", e.Local, why)
}

func (e *PathError) Unwrap() error { return e.Err }

// opening is a path that a caller of AddPath waits for.
type opening struct {
	req   engine.PathRequest
	tuple wire.Tuple // zero until it has a port
	done  chan error // capacity one
}

// AddPath opens a path from a local address to remote, beside what the path
// manager does, and returns once it is usable, or has failed, or ctx is done
// (when it may still come). The zero remote means the peer's first address that
// local can reach; port 0 that of the peer's first end. Errors are one of those
// above, or a *PathError.
func (c *Conn) AddPath(ctx context.Context, local netip.Addr, remote netip.AddrPort, backup bool) error {
	l := pathmgr.Local{Addr: local.Unmap()}
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return net.ErrClosed
	}
	if i := slices.IndexFunc(c.locals, func(k pathmgr.Local) bool { return k.Addr == l.Addr }); i >= 0 {
		l = c.locals[i]
	}
	req, err := c.core.AddPath(l, remote, backup)
	if err != nil {
		c.mu.Unlock()
		return err
	}
	o := &opening{req: req, done: make(chan error, 1)}
	c.openings = append(c.openings, o)
	c.pollAndUnlock(c.stack.now())
	select {
	case err = <-o.done:
	case <-ctx.Done():
		err = contextError(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.openings = slices.DeleteFunc(c.openings, func(p *opening) bool { return p == o })
	return err
}

// answer ends the waiting for a path. c.mu is held.
func (c *Conn) answer(is func(*opening) bool, err error) {
	for _, o := range c.openings {
		if is(o) {
			select {
			case o.done <- err:
			default: // it was told before
			}
		}
	}
}

// answerEvent ends the waiting for paths that an event is about. c.mu is held.
func (c *Conn) answerEvent(ev engine.EndpointEvent) {
	if len(c.openings) == 0 {
		return
	}
	switch ev := ev.(type) {
	case engine.PathUp:
		c.answer(func(o *opening) bool { return o.tuple == ev.Info.Tuple }, nil)
	case engine.PathDown:
		t := ev.Info.Tuple
		c.answer(func(o *opening) bool { return o.tuple == t },
			&PathError{Local: t.Local.Addr(), Remote: t.Remote, Reason: ev.Info.Reason})
	case engine.Gone:
		c.answer(func(*opening) bool { return true }, net.ErrClosed)
	}
}

// pathBound notes the ends of a path that may be waited for. c.mu is held.
func (c *Conn) pathBound(req engine.PathRequest, t wire.Tuple) {
	for _, o := range c.openings {
		if o.req == req {
			o.tuple = t
		}
	}
}

// pathRefused tells who waits that a path found no route or port. c.mu is held.
func (c *Conn) pathRefused(w engine.WantPath, err error) {
	c.answer(func(o *opening) bool { return o.req == w.Req }, &PathError{Local: w.Local, Remote: w.Remote, Err: err})
}

// RemovePath closes a path with FINs; what it had not delivered goes by the
// others. The path manager may open another one when the network changes, or
// when no other is left. The last path that works cannot be removed.
func (c *Conn) RemovePath(id scheduler.PathID) error {
	return c.steer(func(now Time) error { return c.core.RemovePath(now, id) })
}

// SetBackup makes a path a backup, which carries data only when no other works,
// or no longer; the peer is told (MP_PRIO).
func (c *Conn) SetBackup(id scheduler.PathID, backup bool) error {
	return c.steer(func(now Time) error { return c.core.SetBackup(now, id, backup) })
}

// SetLimits bounds the paths from now on; those that there are stay.
func (c *Conn) SetLimits(l Limits) error {
	return c.steer(func(Time) error { return c.core.SetLimits(l) })
}

// Limits returns what holds now.
func (c *Conn) Limits() Limits {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Limits()
}

// Locals returns the addresses of this host by which the peer can be reached, as
// far as it is known. Without a Monitor there are none.
func (c *Conn) Locals() []pathmgr.Local {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.locals)
}

func (c *Conn) steer(do func(now Time) error) error {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return net.ErrClosed
	}
	now := c.at(c.stack.now())
	err := do(now)
	c.pollAndUnlock(now)
	return err
}
