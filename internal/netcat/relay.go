// Package netcat is what nc does once it has a connection: it carries standard
// input to the peer and the peer's octets to standard output, and knows when
// that is over. It knows net.Conn and io only, so it serves every transport.
package netcat

import (
	"cmp"
	"context"
	"io"
	"net"
	"sync/atomic"
	"time"
)

const (
	// bufferSize is what one read or write moves. Pipes and sockets give less;
	// files give it all.
	bufferSize = 128 << 10
	// idlePiece bounds one write while an idle time-out runs, so that a slow
	// but living connection shows progress often enough.
	idlePiece = 16 << 10
	// grace is how long a stopped Relay waits for a write to out that has
	// already begun: nothing can interrupt a write to a pipe nobody reads.
	grace = 200 * time.Millisecond
)

// Options are the rules of one Relay. The zero value is OpenBSD nc's client
// without flags.
type Options struct {
	// HalfCloseOnEOF ends our direction when the input ends (-N). Without it
	// the peer is never told, and only its own close ends the session.
	HalfCloseOnEOF bool
	// NoInput never reads the input, as if it had ended at once (-d).
	NoInput bool
	// EndWithPeer ends the session when the peer has ended its direction, even
	// if the input is still open: what nc does when it listens. A client goes
	// on sending until its input ends.
	EndWithPeer bool
	// QuitAfterEOF ends the session so long after the input ended, if the peer
	// has not ended it before (-q). If zero, never; if negative, at once.
	QuitAfterEOF time.Duration
	// IdleTimeout ends the session when nothing has moved in either direction
	// for so long (-w). If zero, never.
	IdleTimeout time.Duration
	// IdleFromEOF lets the idle time run only once the input has ended.
	IdleFromEOF bool
	// SendOnly throws away what the peer sends, and ends the session when the
	// input has been sent.
	SendOnly bool
	// Reads ends the session after so many reads from the connection (-W). If
	// zero, there is no limit.
	Reads int
	// MaxWrite bounds one write to the connection, in octets: a datagram. If
	// zero, there is no bound.
	MaxWrite int
	// LineDelay is the pause after each line that is sent (-i).
	LineDelay time.Duration
	// Delay is the pause after each piece of the input that is sent, whatever
	// lines it has.
	Delay time.Duration
	// PeerEnded is called once the peer has ended its direction and all of it
	// was written to the output. It may be nil.
	PeerEnded func()
	// CRLF sends each LF that follows no CR as CR LF (-C).
	CRLF bool
	// Telnet refuses, in the peer's direction, every option of the Telnet
	// protocol that it proposes (-t). What it said stays in the output.
	Telnet bool
	// Direct says that the connection's ReadFrom and WriteTo need no buffer. They
	// are used where no other option has to see the pieces. (Those of the host's
	// own connections do need one, smaller than ours.)
	Direct bool
	// Tap sees what is about to be sent, as it goes, and what was received and
	// is about to go to the output. Its error ends the session as one of the
	// output. Calls may be concurrent. It may be nil.
	Tap func(sent bool, p []byte) error
}

// Why says how a session ended.
type Why uint8

// Reasons to end.
const (
	Complete    Why = iota // by the rules of Options
	Idle                   // nothing moved for IdleTimeout
	Interrupted            // the context ended
	Failed                 // see the error
)

func (w Why) String() string {
	return [...]string{"complete", "idle", "interrupted", "failed"}[w]
}

// Result is what a session did.
type Result struct {
	Sent     uint64 // octets handed to the connection
	Received uint64 // octets written to the output
	Why      Why
}

// Error is what stopped a session, and on which side of it.
type Error struct {
	Side Side
	Err  error
}

// Side is a part of a session that can fail.
type Side uint8

// Sides of a session.
const (
	Input   Side = iota // reading standard input
	Output              // writing standard output
	Send                // writing to the connection
	Receive             // reading from the connection
)

func (s Side) String() string {
	return [...]string{"read the input", "write the output", "send", "receive"}[s]
}

func (e *Error) Error() string { return "cannot " + e.Side.String() + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Relay carries in to conn and conn to out until the session is over by the
// rules of o, the context ends, or something fails (then the error is an
// *Error). It does not close conn.
//
// A *Source or a *Feed as in keeps what was read and not yet sent for the next
// Relay. Any other reader is wrapped in a Source: a goroutine stays in in.Read
// until that returns. Relay never waits for it.
func Relay(ctx context.Context, conn net.Conn, in io.Reader, out io.Writer, o Options) (Result, error) {
	r := &relay{conn: conn, out: out, o: o}
	if !o.NoInput {
		var kept bool
		if r.in, kept = in.(input); !kept {
			src := NewSource(in)
			defer src.Close()
			r.in = src
		}
	}
	r.more, r.enough = context.WithCancel(ctx)
	defer r.enough()
	return r.run(ctx)
}

// input is where octets to send come from. Its methods are those of Source.
type input interface {
	next(context.Context) ([]byte, error)
	consume(int)
}

// relay is one session: two goroutines that move octets and one, run, that
// decides when it is over.
type relay struct {
	conn   net.Conn
	in     input // nil: none
	out    io.Writer
	o      Options
	more   context.Context // ends when no more input is wanted
	enough context.CancelFunc

	crlf   crlf   // of the sending direction
	telnet telnet // of the receiving direction

	sent, received atomic.Uint64
	moved          atomic.Uint64 // counts everything that moves, for the idle time-out
}

func (r *relay) run(ctx context.Context) (Result, error) {
	sending, receiving := make(chan error, 1), make(chan error, 1)
	go func() { sending <- r.send() }()
	go func() { receiving <- r.receive() }()

	why, err := r.wait(ctx, &sending, &receiving)
	r.stop(sending, receiving)
	return Result{Sent: r.sent.Load(), Received: r.received.Load(), Why: why}, err
}

// wait returns when the session is over. A direction that ended by itself has
// its channel set to nil.
//
// A connection that can no longer send may still hold what the peer said
// before it closed (the answer to a request it did not read to the end), so a
// failure to send ends the session only together with the other direction.
func (r *relay) wait(ctx context.Context, sending, receiving *chan error) (Why, error) {
	idle := newIdleTimer(r.o.IdleTimeout, !r.o.IdleFromEOF)
	defer idle.stop()
	var quit <-chan time.Time
	var failed error
	for *sending != nil || *receiving != nil {
		select {
		case err := <-*sending:
			*sending = nil
			if failed = err; ofInput(err) {
				return Failed, err
			}
			if r.o.SendOnly || err == nil && r.o.QuitAfterEOF < 0 {
				return result(err)
			}
			if err == nil && r.o.QuitAfterEOF > 0 {
				quit = time.After(r.o.QuitAfterEOF)
			}
			idle.start()
		case err := <-*receiving:
			*receiving = nil
			if err == errEnough {
				return result(failed)
			}
			if err != nil {
				return Failed, cmp.Or(failed, err)
			}
			if r.o.PeerEnded != nil {
				r.o.PeerEnded()
			}
			if r.o.EndWithPeer {
				r.enough() // what was read already is still sent
			}
		case <-quit:
			return result(failed)
		case <-ctx.Done():
			return Interrupted, nil
		case <-idle.c:
			if idle.expired(r.moved.Load()) {
				return Idle, nil
			}
		}
	}
	return result(failed)
}

func result(failed error) (Why, error) {
	if failed != nil {
		return Failed, failed
	}
	return Complete, nil
}

// ofInput reports whether an error ends the session whatever the peer does:
// the input or the dump failed.
func ofInput(err error) bool {
	e, ok := err.(*Error)
	return ok && (e.Side == Input || e.Side == Output)
}

// stop makes the directions that still run return. Reads of the source, and
// reads and writes of the connection, do so at once; a write to out may not.
func (r *relay) stop(sending, receiving chan error) {
	r.enough()
	r.conn.SetDeadline(time.Unix(1, 0))
	defer r.conn.SetDeadline(time.Time{})
	if sending != nil {
		<-sending
	}
	if receiving == nil {
		return
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-receiving:
	case <-t.C:
	}
}
