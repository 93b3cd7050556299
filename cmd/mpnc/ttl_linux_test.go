package main

import (
	"io"
	"testing"

	"github.com/mpnc/mpnc/testenv"
)

// -M and -m are kept by our own stack on the wire: a listener that takes what
// comes from its own network hears only a client that sends with 255 (RFC 5082).
func TestTTLOnTheWire(t *testing.T) {
	lab := newLab(t, func(c *testenv.LabConfig) { c.Links = c.Links[:1] })
	at := serverAddr(lab)
	for _, transport := range []string{"tcp", "mptcp"} {
		t.Run(transport, func(t *testing.T) {
			l := in(t, lab.Server, "--transport", transport, "-v", "-l", "-d", "-m", "255", "-M", "255", at, "9000").begin()
			l.says("listening on")
			in(t, lab.Client, "--transport", transport, "-w", "1", "-M", "254", at, "9000").begin().
				fails(exitConnect, "no answer within 1s")
			p := in(t, lab.Client, "--transport", transport, "-N", "-M", "255", "-m", "255", "-T", "ef", at, "9000").begin()
			io.WriteString(p.in, "near\n")
			p.in.Close()
			p.exits(0)
			l.exits(0)
			l.prints("near\n")
		})
	}
}
