package mptcp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/netio/nstest"
)

// nft has a namespace's kernel take rules.
func nft(t *testing.T, ns *nstest.NS, rules string) {
	t.Helper()
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("needs nft to have rules")
	}
	ns.Do(func() {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(rules)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("nft: %v: %s", err, out)
		}
	})
}

// laneEnds are the two ends of a connection over which one end sends.
type laneEnds struct {
	client *Conn
	server net.Conn
	close  func()
}

// connectByLane joins a stack of ours with a stack of ours, or with a kernel.
func connectByLane(t *testing.T, from, to *nstest.NS, at string, kernel bool, cfg Config) laneEnds {
	t.Helper()
	l := &lab{t: t, a: from, b: to}
	var ln net.Listener
	if kernel {
		l.kernel(to, func() (err error) {
			lc := net.ListenConfig{}
			lc.SetMultipathTCP(true)
			ln, err = lc.Listen(context.Background(), "tcp", at)
			return err
		})
	} else {
		s := l.stack(to, Config{})
		t.Cleanup(func() { l.close(s) })
		var err error
		if ln, err = s.Listen("tcp", at); err != nil {
			t.Fatal(err)
		}
	}
	client := l.stack(from, cfg)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := client.Dial(ctx, "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	_, _ = c.SetDeadline(deadline), k.SetDeadline(deadline)
	return laneEnds{c, k, func() {
		c.Close()
		k.Close()
		ln.Close()
		l.close(client)
	}}
}

// send sends n octets from client to server and compares them, then returns the
// statistics of the client's first path.
func (e laneEnds) send(t *testing.T, n int) SubflowStats {
	t.Helper()
	data := make([]byte, n)
	for i := 0; i < n; i += sha256.Size {
		sum := sha256.Sum256(fmt.Append(nil, i))
		copy(data[i:], sum[:])
	}
	go func() { _, _ = e.client.Write(data) }()
	got := make([]byte, n)
	if k, err := io.ReadFull(e.server, got); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d octets of %d arrived, %v; %+v", k, n, err, e.client.Stats())
	}
	return e.client.Stats().Subflows[0]
}

// A gateway on the way, with a narrower link behind it, sees all packets: what it
// does to them, tracking and translating, the lane bears, and it is used.
func TestLaneThroughGateway(t *testing.T) {
	for _, c := range []struct {
		name, rules string
		kernel      bool
		at          string
	}{
		{"plain", "", false, "10.77.2.2:80"},
		{"plain", "", true, "[fd77:2::2]:80"},
		{"drops what is invalid", `table inet t { chain f { type filter hook forward priority 0; ct state invalid drop; }; }`, true, "10.77.2.2:80"},
		{"drops what is invalid", `table inet t { chain f { type filter hook forward priority 0; ct state invalid drop; }; }`, false, "[fd77:2::2]:80"},
		{"masquerades", `table inet t { chain n { type nat hook postrouting priority 100; oifname far masquerade; }; }`, true, "10.77.2.2:80"},
		{"masquerades", `table inet t { chain n { type nat hook postrouting priority 100; oifname far masquerade; }; }`, false, "10.77.2.2:80"},
	} {
		t.Run(fmt.Sprintf("%s, kernel %t, %s", c.name, c.kernel, c.at), func(t *testing.T) {
			near, router, far := routed(t)
			if c.rules != "" {
				nft(t, router, c.rules)
			}
			e := connectByLane(t, near, far, c.at, c.kernel, Config{})
			defer e.close()
			if f := e.send(t, 24<<20); !f.Lane || f.Trains < 20 {
				t.Errorf("the lane was not used: %+v", f)
			}
		})
	}
}

// With NoOffload nothing leaves in trains.
func TestNoOffload(t *testing.T) {
	near, _, far := routed(t)
	e := connectByLane(t, near, far, "10.77.2.2:80", true, Config{NoOffload: true})
	defer e.close()
	if f := e.send(t, 4<<20); f.Lane || f.Trains != 0 {
		t.Errorf("%+v", f)
	}
}

// A lane follows what the host's tables say while it is used: an IPsec policy ends
// it, and it comes back when that goes.
func TestLaneFollowsPolicies(t *testing.T) {
	near, _, far := routed(t)
	e := connectByLane(t, near, far, "10.77.2.2:80", true, Config{})
	defer e.close()
	if f := e.send(t, 4<<20); !f.Lane {
		t.Fatalf("the lane was not used: %+v", f)
	}
	policy := func(verb string) (ok bool) {
		near.Do(func() {
			// For other ports: a policy is taken by its addresses, and nothing is wrapped.
			line := "ip xfrm policy " + verb + " src 10.77.1.1/32 dst 10.77.2.0/24 proto tcp dport 9 dir out"
			if verb == "add" {
				line += " tmpl src 10.77.1.1 dst 10.77.2.2 proto esp mode transport"
			}
			words := strings.Fields(line)
			out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
			if ok = err == nil; !ok {
				t.Logf("%s: %v: %s", line, err, out)
			}
		})
		return ok
	}
	if !policy("add") {
		t.Skip("this kernel has no IPsec")
	}
	until(t, "no lane", func() bool { return !e.client.Stats().Subflows[0].Lane })
	before := e.client.Stats().Subflows[0].Trains
	if f := e.send(t, 4<<20); f.Trains != before {
		t.Errorf("%d trains, before the policy %d", f.Trains, before)
	}
	policy("delete")
	until(t, "a lane again", func() bool { return e.send(t, 1<<20).Lane })
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("still not: ", what)
		}
	}
}
