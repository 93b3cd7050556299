package main

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/mpnc/mpnc/internal/emu"
	"github.com/mpnc/mpnc/mptcp"
)

// demoLink is a path of the demo's network.
type demoLink struct {
	name string
	rate float64 // bits a second
	rtt  time.Duration
}

func (l demoLink) String() string {
	return fmt.Sprintf("%s (%g Mb/s, %d ms)", l.name, l.rate/1e6, l.rtt.Milliseconds())
}

// demoLinks are in the order in which they are drawn; the first one dies.
var demoLinks = []demoLink{
	{"wifi", 50e6, 20 * time.Millisecond},
	{"cellular", 20e6, 80 * time.Millisecond},
}

// world is two hosts joined by demoLinks, for one transfer.
type world interface {
	// client and server make the stack of a host, once.
	client(mptcp.Config) (*mptcp.Stack, error)
	server(mptcp.Config) (*mptcp.Stack, error)
	clientAddr(link int) netip.Addr
	serverAddr(link int) netip.Addr
	// silence makes a link swallow everything; nobody is told.
	silence(link int) error
	close() error
}

// processWorld is a world inside this process.
type processWorld struct{ n *emu.Net }

func newProcessWorld() (world, error) {
	var links []emu.Link
	for _, l := range demoLinks {
		links = append(links, emu.Link{Rate: l.rate, RTT: l.rtt})
	}
	return processWorld{emu.New(links...)}, nil
}

func (w processWorld) client(c mptcp.Config) (*mptcp.Stack, error) { return w.n.Client(c) }
func (w processWorld) server(c mptcp.Config) (*mptcp.Stack, error) { return w.n.Server(c) }
func (w processWorld) clientAddr(link int) netip.Addr              { return w.n.ClientAddr(link + 1) }
func (w processWorld) serverAddr(link int) netip.Addr              { return w.n.ServerAddr(link + 1) }

func (w processWorld) silence(link int) error {
	w.n.SetSilent(link+1, true)
	return nil
}

func (w processWorld) close() error {
	w.n.Close()
	return nil
}
