package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mpnc/mpnc/internal/report"
)

const (
	barWidth   = 40
	showPeriod = 100 * time.Millisecond // between two pictures on a terminal
	tellPeriod = time.Second            // between two lines elsewhere
	rateWindow = 500 * time.Millisecond // that a shown rate is the mean of
)

// show tells the user how a transfer goes: on a terminal with a bar for each
// path, redrawn in place, elsewhere with a line a second for all of them.
type show struct {
	out      io.Writer
	terminal bool
	next     time.Duration // when to tell again
	drawn    int           // lines to go back over
	told     bool          // the death of the path was
}

func newShow(out io.Writer) *show {
	f, ok := out.(*os.File)
	if !ok {
		return &show{out: out}
	}
	info, err := f.Stat()
	return &show{out: out, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"}
}

func (s *show) begin(t *transfer) {
	s.next, s.drawn, s.told = 0, 0, false
	fmt.Fprintf(s.out, "%s:\n", t.title)
}

// progress is called after every sample.
func (s *show) progress(t *transfer, at time.Duration, arrived uint64) {
	if !s.terminal && t.died > 0 && !s.told {
		s.told = true
		fmt.Fprintf(s.out, "  %6.1f s  the %s dies\n", t.died.Seconds(), demoLinks[0].name)
	}
	if at < s.next {
		return
	}
	if s.terminal {
		s.next = at + showPeriod
		s.draw(t, at, arrived)
		return
	}
	s.next = at + tellPeriod
	s.line(t, at, arrived)
}

// end tells how the transfer ended.
func (s *show) end(t *transfer) {
	if s.terminal {
		s.draw(t, t.ended, t.arrived.Total())
	} else {
		s.line(t, t.ended, t.arrived.Total())
	}
	fmt.Fprintf(s.out, "  %s\n\n", t.outcome())
}

func (s *show) line(t *transfer, at time.Duration, arrived uint64) {
	fmt.Fprintf(s.out, "  %6.1f s", at.Seconds())
	for i := range t.paths {
		fmt.Fprintf(s.out, "  %s %5.1f Mb/s", t.paths[i].Name, t.recent(i))
	}
	fmt.Fprintf(s.out, "  %4s of %s\n", report.Share(arrived, t.size), report.Bytes(t.size))
}

func (s *show) draw(t *transfer, at time.Duration, arrived uint64) {
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.drawn)
	}
	for i, l := range t.links {
		mbps := t.recent(i)
		dead := ""
		if i == 0 && t.died > 0 {
			dead = fmt.Sprintf("  died at %.1f s", t.died.Seconds())
		}
		fmt.Fprintf(&b, "\x1b[2K  %-9s %s %5.1f Mb/s %10s%s\n", l.name, bar(mbps*1e6/l.rate), mbps, report.Bytes(t.paths[i].Total()), dead)
	}
	fmt.Fprintf(&b, "\x1b[2K  %-9s %s %10s %10s\n", "file", bar(float64(arrived)/float64(t.size)),
		report.Share(arrived, t.size), report.Bytes(arrived))
	s.drawn = len(t.links) + 1
	io.WriteString(s.out, b.String())
}

// bar is a horizontal bar, filled in eighths of a character.
func bar(full float64) string {
	eighths := int(min(max(full, 0), 1)*barWidth*8 + 0.5)
	s := strings.Repeat("█", eighths/8)
	if part := eighths % 8; part > 0 {
		s += string([]rune(" ▏▎▍▌▋▊▉")[part])
	}
	return "▕" + s + strings.Repeat(" ", barWidth-len([]rune(s))) + "▏"
}
