package main

import (
	"io"
	"os"
	"strconv"

	"github.com/mpnc/mpnc/internal/ladder"
	"github.com/mpnc/mpnc/internal/trace"
	"github.com/mpnc/mpnc/mptcp"
)

// ladderToStderr is the file that stands for standard error.
const ladderToStderr = "-"

// plainWidth is that of diagrams in files, and where nothing tells of another.
const plainWidth = 100

// openLadder has the stack draw what it and its peers say, besides whatever
// else watches it.
func (t *own) openLadder(path string, stderr io.Writer, cfg *mptcp.Config) error {
	if path == "" {
		return nil
	}
	to, width, err := openDiagram(path, stderr)
	if err != nil {
		return &failure{code: exitOutput, what: "cannot write the ladder diagram: " + err.Error()}
	}
	t.ladder = ladder.New(to, ladder.Config{Width: ladderWidth(width), LinkName: interfaceName})
	if first := cfg.Tap; first != nil {
		cfg.Tap = func(link int, out bool, at mptcp.Time, pkt []byte) {
			first(link, out, at, pkt)
			t.ladder.Packet(link, out, at, pkt)
		}
	} else {
		cfg.Tap = t.ladder.Packet
	}
	cfg.Tracer = trace.Multi(cfg.Tracer, t.ladder)
	return nil
}

// openDiagram opens what is drawn on, and says how wide it is if it is a
// terminal.
func openDiagram(path string, stderr io.Writer) (to io.WriteCloser, width int, err error) {
	if path == ladderToStderr {
		return ladder.Lossy(stderr), terminalWidth(stderr), nil
	}
	to, err = os.Create(path)
	return to, 0, err
}

// ladderWidth is how wide a diagram may be: COLUMNS counts most, then the
// terminal, 0 if it is none.
func ladderWidth(terminal int) int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	if terminal > 0 {
		return terminal
	}
	return plainWidth
}

func (t *own) closeLadder() error {
	if t.ladder == nil {
		return nil
	}
	if err := t.ladder.Close(); err != nil {
		return &failure{code: exitOutput, what: "the ladder diagram is not complete: " + err.Error()}
	}
	return nil
}
