package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/mpnc/mpnc/internal/report"
)

// writeTable compares the transfers, a column each.
func writeTable(w io.Writer, runs ...*transfer) error {
	table := report.Table{Heading: []string{""}}
	for _, t := range runs {
		table.Heading = append(table.Heading, t.title)
	}
	row := func(name string, cell func(t *transfer) string) {
		cells := []any{name}
		for _, t := range runs {
			cells = append(cells, cell(t))
		}
		table.Add(cells...)
	}
	row("time", (*transfer).timeText)
	row("arrived", func(t *transfer) string {
		return fmt.Sprintf("%s (%s)", report.Bytes(t.arrived.Total()), report.Share(t.arrived.Total(), t.size))
	})
	row("goodput", func(t *transfer) string { return report.Rate(t.arrived.Total(), t.ended) })
	for i, l := range demoLinks {
		row("over "+l.name, func(t *transfer) string {
			if i >= len(t.paths) {
				return "–"
			}
			return report.Bytes(t.paths[i].Total())
		})
	}
	row("longest silence", func(t *transfer) string { return report.Seconds(t.longestSilence()) })
	row("SHA-256 sent", (*transfer).sentSum)
	row("SHA-256 received", (*transfer).receivedSum)
	row("", (*transfer).verdict)
	_, err := table.WriteTo(w)
	return err
}

func (t *transfer) timeText() string {
	if t.stalled {
		return "stopped at " + report.Seconds(t.ended)
	}
	return report.Seconds(t.ended)
}

// sumDigits is how much of a SHA-256 is shown.
const sumDigits = 16

func (t *transfer) sentSum() string {
	if !t.allSent.Load() {
		return "not all was sent"
	}
	return hex.EncodeToString(t.sent.Sum(nil))[:sumDigits] + "…"
}

func (t *transfer) receivedSum() string {
	if t.arrived.Total() < t.size {
		return "not all arrived"
	}
	return hex.EncodeToString(t.received.Sum(nil))[:sumDigits] + "…"
}

func (t *transfer) verdict() string {
	switch {
	case t.whole():
		return "whole"
	case t.stalled:
		return "stalled"
	}
	return "failed"
}

// outcome says in few words how a transfer ended.
func (t *transfer) outcome() string {
	switch {
	case t.stalled:
		return fmt.Sprintf("stalled: stopped after %v s without an octet", t.patience.Seconds())
	case t.err != nil:
		return "failed: " + plain(t.err)
	case !t.whole():
		return "ended, but not with the same octets"
	}
	return "whole after " + report.Seconds(t.ended)
}

// figure is how a transfer is drawn.
func (t *transfer) figure() report.Run {
	r := report.Run{Title: t.title, Note: t.outcome(), Bad: !t.whole(), Paths: t.paths, End: t.ended}
	if t.whole() {
		r.Note += ", SHA-256 equal on both sides"
	}
	if t.died > 0 {
		r.Marks = append(r.Marks, report.Mark{At: t.died, Text: demoLinks[0].name + " dies", Bad: true})
	}
	if t.whole() {
		r.Marks = append(r.Marks, report.Mark{At: t.ended, Text: "done"})
	}
	return r
}

// savePicture writes the figure and returns its whole file name. If the
// current directory, where nobody asked for it to be, cannot be written, it
// goes to the temporary files.
func savePicture(f *report.Figure, name string) (string, error) {
	out, err := os.Create(name)
	if err != nil && name == defaultPicture {
		out, err = os.CreateTemp("", "mpnc-demo-*.png")
	}
	if err != nil {
		return "", err
	}
	err = errors.Join(f.WritePNG(out), out.Close())
	full, aerr := filepath.Abs(out.Name())
	return full, errors.Join(err, aerr)
}
