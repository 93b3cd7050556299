package pathmgr

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// Whatever happens to the network, in any order: nothing is opened where the
// rules forbid it, the limits hold, exactly one path of the backup policy
// carries while one works, and a client with an address always gets a path back.
func TestAnyOrderOfEvents(t *testing.T) {
	rules := []Rule{{Iface: "eth0", Never: true}, {Iface: "wwan*", Backup: true, Cost: 3}, {Iface: "usb0", Max: 1 << 20}}
	for _, name := range Names() {
		for seed := range uint64(60) {
			t.Run(fmt.Sprintf("%s/%d", name, seed), func(t *testing.T) {
				meter := &counter{}
				rules := slices.Clone(rules)
				rules[2].Meter = meter
				c := chaos{rng: rand.New(rand.NewPCG(seed, 1)), meter: meter, name: name}
				c.world = client(t, make1(t, name, rules...), wifi)
				c.run()
			})
		}
	}
}

// chaos drives a world at random.
type chaos struct {
	*world
	rng   *rand.Rand
	meter *counter
	name  string
	peers int
}

var usb = Local{Addr: addr("192.0.2.200"), Link: 7, Name: "usb0"}

func (c *chaos) run() {
	c.do(Established{})
	for range 300 {
		c.now += at(time.Duration(c.rng.Int64N(int64(2 * time.Second))))
		c.turn()
		for c.alarm != 0 && c.alarm <= c.now {
			c.alarm = 0
			c.do(Alarm{})
		}
	}
	// Calm: one address is there, every handshake succeeds.
	c.localUpOnce(wifi)
	for range 200 {
		c.settle()
		if c.works() {
			return
		}
		if c.alarm == 0 {
			c.t.Fatalf("no path, and nothing to wait for: %+v", c.v.Subflows)
		}
		c.now, c.alarm = c.alarm, 0
		c.do(Alarm{})
	}
	c.t.Fatalf("no path: %+v", c.v.Subflows)
}

// turn lets one thing happen.
func (c *chaos) turn() {
	locals := []Local{wifi, cell, cable, vpn, docker, usb}
	l := locals[c.rng.IntN(len(locals))]
	switch c.rng.IntN(8) {
	case 0:
		c.localUpOnce(l)
	case 1:
		c.localDownOnce(l)
	case 2:
		c.do(RouteChanged{})
	case 3:
		if c.peers < 3 {
			c.peers++
			p := Peer{ID: uint8(c.peers), Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(100 + c.peers)}), 80)}
			c.v.Peers = append(c.v.Peers, p)
			c.do(PeerAdded{p})
		}
	default:
		c.subflow()
	}
}

func (c *chaos) localUpOnce(l Local) {
	if !slices.ContainsFunc(c.v.Locals, func(o Local) bool { return o.Addr == l.Addr }) {
		c.v.Locals = append(c.v.Locals, l)
		c.do(LocalUp{l})
	}
}

func (c *chaos) localDownOnce(l Local) {
	n := len(c.v.Locals)
	c.v.Locals = slices.DeleteFunc(c.v.Locals, func(o Local) bool { return o.Addr == l.Addr })
	if len(c.v.Locals) == n {
		return
	}
	c.do(LocalDown{l})
	for i := 0; i < len(c.v.Subflows); i++ {
		if s := c.v.Subflows[i]; s.Local.Addr() == l.Addr {
			c.drop(i, LocalGone)
			i = -1
		}
	}
}

// subflow lets something happen to one of the subflows.
func (c *chaos) subflow() {
	if len(c.v.Subflows) == 0 {
		return
	}
	i := c.rng.IntN(len(c.v.Subflows))
	s := &c.v.Subflows[i]
	s.Carried += uint64(c.rng.IntN(100_000))
	switch {
	case !s.Established && c.rng.IntN(2) == 0:
		s.Established = true
		c.do(SubflowUp{*s})
	case c.rng.IntN(2) == 0:
		c.drop(i, []Reason{Reset, TimedOut, Refused, PeerGone}[c.rng.IntN(4)])
	case s.Suspect:
		s.Suspect = false
		c.do(PathTrusted{s.ID})
	case s.Established:
		s.Suspect = true
		c.do(PathSuspect{s.ID})
	}
}

func (c *chaos) drop(i int, why Reason) {
	s := c.v.Subflows[i]
	c.v.Subflows = slices.Delete(slices.Clone(c.v.Subflows), i, i+1)
	c.do(SubflowDown{Subflow: s, Reason: why})
}

// settle lets every handshake succeed.
func (c *chaos) settle() {
	for i := 0; i < len(c.v.Subflows); i++ {
		if s := &c.v.Subflows[i]; !s.Established {
			s.Established = true
			c.do(SubflowUp{*s})
			i = -1
		}
	}
}

func (c *chaos) works() bool {
	return slices.ContainsFunc(c.v.Subflows, func(s Subflow) bool { return s.Established && !s.Suspect })
}

// do gives the manager an event, carries out what it says, and checks it.
func (c *chaos) do(ev Event) {
	c.t.Helper()
	for _, cmd := range c.m.Handle(c.now, ev, &c.v, nil) {
		switch cmd := cmd.(type) {
		case Open:
			if n := cmd.Local.Name; n == "eth0" || n == "usb0" && c.meter.n >= 1<<20 {
				c.t.Fatalf("%T: opened from %s", ev, n)
			}
			if !slices.Contains(c.v.Locals, cmd.Local) {
				c.t.Fatalf("%T: opened from %v, which is not there", ev, cmd.Local)
			}
			c.room(ev)
			c.open(cmd)
		case Close:
			defer func() { // the engine tells of it afterwards
				if i := slices.IndexFunc(c.v.Subflows, func(s Subflow) bool { return s.ID == cmd.ID }); i >= 0 {
					c.drop(i, Closed)
				}
			}()
		case SetBackup:
			c.setBackup(cmd)
		case Watch:
		case Wake:
			c.alarm = cmd.At
		}
	}
	c.check(ev)
}

// room fails the test if there are as many subflows as there may be.
func (c *chaos) room(ev Event) {
	c.t.Helper()
	healthy := 0
	for i := range c.v.Subflows {
		s := &c.v.Subflows[i]
		if c.here(s) && !s.inDoubt() {
			healthy++
		}
	}
	most := defaultPairs
	switch c.name {
	case "none":
		most = 1
	case "ndiffports":
		most = 2
	}
	if healthy >= most {
		c.t.Fatalf("%T: opened one more than %d: %+v", ev, healthy, c.v.Subflows)
	}
}

// here reports whether a subflow's address is.
func (c *chaos) here(s *Subflow) bool {
	return slices.ContainsFunc(c.v.Locals, func(l Local) bool { return l.Addr == s.Local.Addr() })
}

// check is for the backup policy: one carries.
func (c *chaos) check(ev Event) {
	c.t.Helper()
	working, carriers := 0, 0
	for i := range c.v.Subflows {
		if s := &c.v.Subflows[i]; s.Established && !s.Suspect && c.here(s) {
			working++
			if !s.Backup {
				carriers++
			}
		}
	}
	if c.name == "backup" && working > 0 && carriers != 1 {
		c.t.Fatalf("%T: %d of %d carry: %+v", ev, carriers, working, c.v.Subflows)
	}
}
