package main

import (
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/mpnc/mpnc/testenv"
)

// One short pair of each kind: both stacks get through, and are counted.
func TestCompare(t *testing.T) {
	if !testenv.CanLab() {
		if os.Getenv("MPNC_REQUIRE_NETNS") != "" {
			t.Fatal("namespaces are needed")
		}
		t.Skip("needs namespaces")
	}
	o := options{length: time.Second, shared: time.Second, pairs: 1, requests: 20, labs: 3, budget: 1000, only: regexp.MustCompile("^(c13|share|latency)$")}
	b := &board{run: new(Run), started: time.Now(), save: func() error { return nil }}
	if err := b.all(t.Context(), o, tasks(o)); err != nil {
		t.Fatal(err)
	}
	if !b.run.Complete || len(b.run.Results) != 3 {
		t.Fatalf("%d results, complete: %v", len(b.run.Results), b.run.Complete)
	}
	for _, p := range b.run.Results {
		if p.Task != "latency" && (p.Kernel.Sent < p.Kernel.Octets || p.Mpnc.Sent < p.Mpnc.Octets) {
			t.Errorf("more arrived than was sent: %+v", p)
		}
		if p.Task == "latency" && (p.Kernel.P50 < 0.02 || p.Mpnc.P50 < 0.02) {
			t.Errorf("answers sooner than a round trip: %+v", p)
		}
		if p.Task == "c13" && (p.Kernel.Retrans == 0 || p.Mpnc.Retrans == 0 || p.Kernel.Lost == 0 || p.Mpnc.Lost == 0) {
			t.Errorf("no loss: %+v", p)
		}
	}
}
