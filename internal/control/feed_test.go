package control

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func event(n int) Event { return Event{Event: "CREATED", Conn: uint32(n)} }

// follow asks to monitor, and returns the answers.
func follow(c net.Conn, backlog bool) *bufio.Scanner {
	fmt.Fprintf(c, `{"version":1,"do":"monitor","backlog":%t}`+"\n", backlog)
	return bufio.NewScanner(c)
}

// Subscribers are told what comes and, if they ask, what there was; at the end,
// all that waits for them.
func TestMonitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := serving(t)
		for i := range 3 {
			s.Publish(event(i))
		}
		late := follow(p.connect(t), true)
		now := follow(p.connect(t), false)
		synctest.Wait()
		s.Publish(event(3))
		ended := make(chan error)
		go func() { ended <- s.Close() }()
		for _, want := range []uint32{0, 1, 2, 3} {
			if a, err := readAnswer(late); err != nil || a.Event.Conn != want || a.Event.PID == 0 {
				t.Fatalf("who asked for all was told %+v, %v, want %d", a.Event, err, want)
			}
		}
		if a, err := readAnswer(now); err != nil || a.Event.Conn != 3 {
			t.Errorf("who did not was told %+v, %v", a.Event, err)
		}
		for _, lines := range []*bufio.Scanner{late, now} {
			if _, err := readAnswer(lines); err != errEnded {
				t.Errorf("at the end: %v", err)
			}
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A slow reader loses events and is told how many; nobody waits for him, and at
// the end not for long.
func TestSlowMonitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := serving(t)
		c := p.connect(t)
		lines := follow(c, false)
		synctest.Wait()
		s.Publish(event(0)) // which is being written when the others come
		synctest.Wait()
		const more = 3 * queueSize
		began := time.Now()
		for i := range more {
			s.Publish(event(i + 1))
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("publishing took %v", d)
		}
		for want := range uint32(queueSize + 1) {
			if a, err := readAnswer(lines); err != nil || a.Event.Conn != want {
				t.Fatalf("told %+v, %v, want %d", a.Event, err, want)
			}
		}
		if a, err := readAnswer(lines); err != nil || a.Event.Event != eventsLost || a.Event.Lost != more-queueSize {
			t.Fatalf("told %+v, %v, want %d lost", a.Event, err, more-queueSize)
		}
		for i := range queueSize {
			s.Publish(event(i))
			synctest.Wait()
		}
		began = time.Now()
		s.Close()
		if d := time.Since(began); d > 2*lastWords {
			t.Errorf("the end took %v", d)
		}
	})
}

// Whoever monitors and goes makes room for another.
func TestMonitorLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := serving(t)
		c := p.connect(t)
		follow(c, true)
		synctest.Wait()
		c.Close()
		synctest.Wait()
		s.mu.Lock()
		clients := len(s.clients)
		s.mu.Unlock()
		if clients != 0 || len(s.feed.subs) != 0 {
			t.Errorf("%d clients, %d subscribers are left", clients, len(s.feed.subs))
		}
		s.Close()
	})
}

func TestSteerRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := serving(t)
		c := p.connect(t)
		for do, want := range map[string]string{"remove": "conn 4, remove", "wait": "deadline exceeded"} {
			_, err := roundTrip(c, request{Version: Version, Do: doSteer, Steer: &Steer{Conn: 4, Do: do}})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", do, err)
			}
		}
		if _, err := roundTrip(c, request{Version: Version, Do: doSteer}); err == nil || !strings.Contains(err.Error(), "cannot be done") {
			t.Errorf("nothing to do: %v", err)
		}
		c.Close()
		s.Close()
	})
}

var errEnough = errors.New("enough")
