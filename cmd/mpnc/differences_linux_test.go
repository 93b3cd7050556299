package main

import "strings"

// difference is something in which we are not like the tool whose name we are
// called by, on purpose. docs/netcat.md has all of them, written from here; a
// play that differs names one.
type difference struct {
	brief string // in the table of plays; empty: none is played
	text  string // for docs/netcat.md
}

var (
	oneLine = &difference{
		"one line says what is wrong, where the tool prints its usage, or has other words",
		"Wrong usage is one line, without the whole usage after it.",
	}
	tellsOpen = &difference{
		"-z tells of open ports without -v, as nc does from 1.225 on",
		"`-z` tells of open ports without `-v`, as OpenBSD's nc does and Debian's from 1.225 on.",
	}
	signalEnds = &difference{
		"a signal ends a session without an empty line",
		"A signal ends a session in order: what was read is still sent. The exit status is 128 and the signal's number, which is what a shell shows of a process that the signal killed.",
	}
)

// differences are all of them, in the order in which they are told.
var differences = []*difference{
	{text: "Without `-k`, whoever comes after the first client is refused at once; OpenBSD's nc lets the kernel connect him and never serves him."},
	{text: "`-q N` of Debian's nc waits N seconds more after both directions have ended. Nothing of use happens in them: we leave."},
	tellsOpen,
	{text: "A source port (`-p`) that is taken is a failure, which is told; the traditional netcat tries again for ever, and ncat connects from another one."},
	{text: "A range of ports that is given backwards (`25-20`) means the same ports; the traditional netcat tries the first one only."},
	signalEnds,
	oneLine,
	{text: "mpnc's own long options work in every dialect."},
}

// differencesList is the list in docs/netcat.md.
func differencesList() string {
	var b strings.Builder
	b.WriteString("\n")
	for _, d := range differences {
		b.WriteString("* " + d.text + "\n")
	}
	b.WriteString("\n")
	return b.String()
}
