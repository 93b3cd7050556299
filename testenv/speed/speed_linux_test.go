package main

import (
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/mpnc/mpnc/testenv"
	"github.com/mpnc/mpnc/testenv/speed/end"
)

// A short sample of each kind, by those that are no other program: what arrives is
// what was sent, and something does.
func TestSamples(t *testing.T) {
	if !testenv.CanLab() {
		if os.Getenv("MPNC_REQUIRE_NETNS") != "" {
			t.Fatal("namespaces are needed")
		}
		t.Skip("needs namespaces")
	}
	w := &workshop{options: options{rounds: 1}, check: 1}
	w.Only = regexp.MustCompile("^((bulk|ping-1|open-16)/(mpnc|kernel-mptcp)|mtu/mpnc|checksum/mpnc|bulk/floor|idle/mpnc)$")
	list := w.jobs(1)
	if len(list) != 10 {
		t.Fatalf("chosen: %v", list)
	}
	for _, j := range list {
		t.Run(j.cell, func(t *testing.T) {
			if j.work == end.Idle {
				j.conns = 20
			}
			// On a machine that is slow enough, nothing arrives in any given time.
			for w.length = 100 * time.Millisecond; ; w.length *= 2 {
				s, err := w.sample(t.Context(), j)
				if err == nil {
					t.Log(s)
					return
				}
				if w.length > 20*time.Second {
					t.Fatal(err)
				}
				t.Log(err)
			}
		})
	}
}
