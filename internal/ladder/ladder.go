// Package ladder draws what a stack and its peers say to each other as a ladder
// diagram: an arrow for each segment, with relative numbers, between the states
// of both sides. It watches a stack as its tap and its tracer.
package ladder

import (
	"bufio"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/trace"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow"
)

// Config configures a Ladder. The zero value is good.
type Config struct {
	// Width is how many columns a line may have: at least 80, which is also
	// meant by zero.
	Width int
	// LinkName names an interface. If nil, interfaces are not named.
	LinkName func(link int) string
}

// settle is how long a segment that arrived waits for what it does to our
// state, and how long lines wait to be written together.
const settle = 10 * time.Millisecond

// Ladder draws the diagram. Its methods may be called by several goroutines at
// a time. After an error it writes nothing more.
type Ladder struct {
	mu     sync.Mutex
	cfg    Config
	paper  paper
	out    *bufio.Writer
	under  io.Writer
	closed bool
	timer  *time.Timer // flushes; it runs if armed
	armed  bool

	flows   flows
	told    map[uint64]told // what the tracer said, by the hash of the tuple
	pending *row            // a segment that arrived: it is drawn once it was handled
	began   mono.Time
	any     bool // something was drawn
}

// told is what the tracer said of a subflow.
type told struct {
	conn  uint32
	path  int16
	state subflow.State
}

// maxTold bounds what is remembered of subflows.
const maxTold = 4 * maxFlows

// New returns a Ladder that writes to w, which Close closes if it is an
// io.Closer.
func New(w io.Writer, cfg Config) *Ladder {
	l := &Ladder{
		cfg: cfg, paper: newPaper(cfg.Width), out: bufio.NewWriter(w), under: w,
		flows: flows{byHash: map[uint64]*flow{}}, told: map[uint64]told{},
	}
	l.timer = time.AfterFunc(time.Hour, l.settled)
	l.timer.Stop()
	return l
}

// Packet draws an IP packet that arrived by link at time at or, if out, left by
// it. pkt is not kept.
func (l *Ladder) Packet(link int, out bool, at mono.Time, pkt []byte) {
	var s wire.Segment
	why := wire.Parse(pkt, &s, wire.CsumEither)
	damaged := why == wire.BadChecksum
	if damaged {
		why = wire.Parse(pkt, &s, wire.CsumPartial)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.settlePending()
	switch {
	case why == wire.NotTCP && !out:
		l.icmp(at, pkt)
		return
	case why != wire.None:
		return
	}
	if out {
		s.Local, s.Remote = s.Remote, s.Local
	}
	s.Link = link
	l.segment(at, out, damaged, &s)
}

func (l *Ladder) segment(at mono.Time, out, damaged bool, s *wire.Segment) {
	f := l.flow(at, s)
	r := f.observe(at, out, damaged, s)
	if out {
		l.draw(r)
	} else {
		l.pending = r
	}
	l.arm()
}

// icmp notes an ICMP error about a segment of ours.
func (l *Ladder) icmp(at mono.Time, pkt []byte) {
	var e wire.ICMPError
	if !wire.ParseICMP(pkt, &e) {
		return
	}
	if f := l.flows.get(e.Tuple); f != nil {
		text := fmt.Sprintf("ICMP: %v", e.Kind)
		if e.Kind == wire.ICMPTooBig {
			text += fmt.Sprintf(", mtu %d", e.MTU)
		}
		l.note(f, at, text)
	}
}

// Trace takes in what the stack made of it.
func (l *Ladder) Trace(e trace.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	if e.Kind == trace.SubflowState {
		l.state(e)
		return
	}
	if text := noteText(e); text != "" {
		l.settlePending()
		if f := l.flows.ofPath(e.Conn, e.Subflow); f != nil {
			l.note(f, e.At, text)
		}
		l.arm()
	}
}

// state notes the state of one of our subflows.
func (l *Ladder) state(e trace.Event) {
	if len(l.told) == maxTold {
		clear(l.told) // what is inferred has to do for the old ones
	}
	now := told{e.Conn, e.Subflow, subflow.State(e.A)}
	l.told[e.C] = now
	if p := l.pending; p != nil && p.flow.hash == e.C {
		p.flow.told(now)
		l.settlePending()
		return
	}
	l.settlePending()
	if f := l.flows.byHash[e.C]; f != nil {
		f.told(now)
		if now.state == subflow.StateClosed && e.B == uint64(subflow.StateTimeWait) {
			l.note(f, e.At, "TIME-WAIT is over")
		}
	}
}

// flow returns that of a segment, which may be its first.
func (l *Ladder) flow(at mono.Time, s *wire.Segment) *flow {
	f := l.flows.get(s.Tuple)
	if f != nil && !f.over(s) {
		return f
	}
	if !l.any {
		l.any, l.began = true, at
		l.write(l.paper.legend())
	}
	name := ""
	if l.cfg.LinkName != nil {
		name = l.cfg.LinkName(s.Link)
	}
	f = l.flows.add(s, name)
	if t, ok := l.told[f.hash]; ok {
		f.told(t)
	}
	return f
}

// settlePending draws the segment that waits for having been handled.
func (l *Ladder) settlePending() {
	if r := l.pending; r != nil {
		l.pending = nil
		l.draw(r)
	}
}

func (l *Ladder) draw(r *row) {
	if !r.flow.shown {
		r.flow.shown = true
		l.write(l.paper.heading(r.flow))
	}
	r.finish()
	l.write(l.paper.row(r, r.at.Sub(l.began)))
}

func (l *Ladder) note(f *flow, at mono.Time, text string) {
	l.write(l.paper.note(f, at.Sub(l.began), text))
	l.arm()
}

// write writes lines. bufio keeps an error.
func (l *Ladder) write(lines string) { l.out.WriteString(lines) }

func (l *Ladder) arm() {
	if !l.armed {
		l.armed = true
		l.timer.Reset(settle)
	}
}

// settled is the timer's.
func (l *Ladder) settled() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = false
	if !l.closed {
		l.settlePending()
		l.out.Flush()
	}
}

// Close draws what is left and closes what is written to. It returns the first
// error of all writing.
func (l *Ladder) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	l.timer.Stop()
	l.settlePending()
	err := l.out.Flush()
	if c, ok := l.under.(io.Closer); ok {
		if cerr := c.Close(); err == nil {
			err = cerr
		}
	}
	return err
}
