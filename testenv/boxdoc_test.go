package testenv

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// writeBoxes makes the tests of middleboxes record what they have seen, and
// write docs/middleboxes.md from it.
var writeBoxes = flag.Bool("boxes.write", false, "record the outcomes of the middlebox tests in docs/middleboxes.md")

var (
	boxData = filepath.Join("testdata", "middleboxes.json")
	boxDoc  = filepath.Join("..", "docs", "middleboxes.md")
)

const oursAlone = "mpnc–mpnc"

// boxKey names a cell of the table.
func boxKey(box, pair string, l layout) string { return box + "; " + pair + "; " + l.name }

// kernelDefects are cells in which what goes wrong, at the kernel's end, is the
// kernel's doing, with the reason.
func kernelDefects() map[string]string {
	why := make(map[string]string)
	for _, box := range []string{"inserts octets, checksums on", "takes octets away, checksums on", "changes octets, checksums on"} {
		for _, pair := range []string{"mpnc–kernel", "kernel–mpnc"} {
			for _, l := range layouts[:2] {
				why[boxKey(box, pair, l)] = "Linux (6.18) finds the checksum wrong, answers with MP_FAIL, and hands what was changed to its application: " +
					"from there on the connection is TCP for it. Our end says that data was changed."
			}
		}
	}
	why[boxKey("acknowledges before the server, and loses", "mpnc–kernel", layouts[0])] = "Linux takes data in the order of its subflow only, and what the box " +
		"has lost after acknowledging it nobody sends again on that subflow. Our end gives the connection up after its time without a path; the reset that says so " +
		"is beyond the window of a subflow with a hole, so Linux, with nothing to send, waits. A program of ours that has closed the connection before is not told."
	for _, pair := range []string{"mpnc–kernel", "kernel–mpnc"} {
		for _, l := range layouts[:2] {
			why[boxKey("merges segments, keeps the first's options", pair, l)] = "In one run of three (two paths, Linux as the server; seldom as the client) Linux gave its application octets " +
				"that were not sent, and both ends then said that the connection had failed. Why is not established; octets of ours that had lost their mapping in the box were among what it had received."
		}
	}
	return why
}

// recordBoxes adds outcomes to those known, and writes the document, if asked.
func recordBoxes(t *testing.T, results map[string]string) {
	t.Helper()
	if !*writeBoxes {
		return
	}
	known := knownBoxes(t)
	for k, v := range results { // any order: into a map
		known[k] = v
	}
	b, err := json.MarshalIndent(known, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(boxData, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(boxDoc, renderBoxes(known), 0o644); err != nil {
		t.Fatal(err)
	}
}

func knownBoxes(t *testing.T) map[string]string {
	t.Helper()
	known := make(map[string]string)
	b, err := os.ReadFile(boxData)
	if errors.Is(err, os.ErrNotExist) {
		return known
	}
	if err == nil {
		err = json.Unmarshal(b, &known)
	}
	if err != nil {
		t.Fatal(err)
	}
	return known
}

// renderBoxes writes the document.
func renderBoxes(known map[string]string) []byte {
	var b bytes.Buffer
	b.WriteString(boxIntro)
	columns := []struct {
		pair   string
		layout layout
	}{
		{oursAlone, layouts[0]}, {oursAlone, layouts[1]}, {oursAlone, layouts[2]},
		{"mpnc–kernel", layouts[0]}, {"mpnc–kernel", layouts[1]},
		{"kernel–mpnc", layouts[0]}, {"kernel–mpnc", layouts[1]},
	}
	b.WriteString("| box |")
	for _, c := range columns {
		fmt.Fprintf(&b, " %s, %s |", c.pair, c.layout.name)
	}
	b.WriteString("\n|" + strings.Repeat("---|", len(columns)+1) + "\n")
	defects := kernelDefects()
	var notes []string
	for _, c := range boxCases() {
		fmt.Fprintf(&b, "| %s |", c.name)
		for _, col := range columns {
			k := boxKey(c.name, col.pair, col.layout)
			cell := known[k]
			if cell == "" {
				cell = "not run"
			}
			if why := defects[k]; why != "" {
				if !slices.Contains(notes, why) {
					notes = append(notes, why)
				}
				cell += fmt.Sprintf(" [%d]", slices.Index(notes, why)+1)
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		b.WriteString("\n")
	}
	if len(notes) > 0 {
		b.WriteString("\n## The kernel's doing\n\n")
		for i, n := range notes {
			fmt.Fprintf(&b, "%d. %s\n", i+1, n)
		}
	}
	return b.Bytes()
}

const boxIntro = `# Middleboxes

What becomes of a transfer of 384 KiB each way through networks that do not leave packets alone. Written by the tests
from what they saw (` + "`go test ./testenv -run 'TestE4_|TestMiddleboxesKernel' -boxes.write`" + `, as root, with MPNC_FULL=1): between two ends of
ours in virtual time, against Linux 6.18 in namespaces. The client is named first; boxes stand on every path, unless the
head says otherwise, and see both directions.

"MPTCP" and "TCP" mean that exactly what was sent arrived, both ways, and what the connection was at its end: "on both"
that both paths carried data, in brackets why it became TCP. An error is what one end said; neither had then read an octet
that was not sent. A connection that has no path left is given up after 15 minutes, here after 6 seconds with the kernel.
Octets that a box changes while no checksums are on are changed for TCP, too: that is the one row in which an end of ours
reads something else, and ` + "`--checksum`" + ` is there for it. What goes wrong in cells with a number goes wrong at the kernel's end:
see below. A kernel that is the client does not open its first subflow again after a reset, and nobody can do it for it:
hence the errors of those rows.

`

// The document is what the tests see: of ours, this run; of the kernel, the last
// full one.
func TestMiddleboxesDocument(t *testing.T) {
	have, err := os.ReadFile(boxDoc)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, renderBoxes(knownBoxes(t))) {
		t.Errorf("%s is stale: run with -boxes.write", boxDoc)
	}
}
