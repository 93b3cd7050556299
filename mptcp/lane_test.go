package mptcp

import (
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mpnc/mpnc/internal/netio"
	"github.com/mpnc/mpnc/internal/wire"
)

// laneDevice is a pipe's end that says it has fast lanes, though no path may have
// one, and counts how often it is asked.
type laneDevice struct {
	*netio.PipeEnd
	asked  atomic.Int64
	change func()
}

func (d *laneDevice) Lane(wire.Tuple, int) netio.Lane {
	d.asked.Add(1)
	return netio.Lane{}
}
func (d *laneDevice) LaneTrouble() error    { return nil }
func (d *laneDevice) OnLaneChange(f func()) { d.change = f }
func (d *laneDevice) Caps() netio.Caps {
	return netio.Caps{MaxTrain: 60_000, Lane: true}
}

// A path asks for a lane when it has carried enough, and again when something has
// changed: once, however many things have, and not all the time.
func TestLanesAreAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := clock()
		near, far := netio.NewPipe(netio.PipeConfig{Now: now})
		idle, nobody := netio.NewPipe(netio.PipeConfig{Now: now})
		defer nobody.Close()
		d := &laneDevice{PipeEnd: near}
		first := &laneDevice{PipeEnd: idle}
		server, err := New(Config{Now: now, Monitor: far.Monitor()}, far)
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		client, err := New(Config{Now: now, Monitor: near.Monitor()}, d, first)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		ln, err := server.Listen("tcp", far.Addrs()[0].String()+":80")
		if err != nil {
			t.Fatal(err)
		}
		c, err := client.Dial(t.Context(), "tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		carry := func(n int) {
			t.Helper()
			go func() { _, _ = c.Write(make([]byte, n)) }()
			if _, err := io.ReadFull(s, make([]byte, n)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		asked := func(want int64) {
			t.Helper()
			synctest.Wait()
			if got := d.asked.Load(); got != want {
				t.Fatalf("asked %d times, not %d", got, want)
			}
		}
		carry(64 << 10)
		asked(0)
		carry(1 << 20)
		asked(1)
		for range 1000 {
			d.change()
		}
		asked(2)
		for range 1000 {
			d.change()
			first.change()
		}
		asked(2)
		time.Sleep(laneEvery)
		asked(3)
		time.Sleep(time.Hour)
		asked(3)
		d.change()
		asked(4)
	})
}
