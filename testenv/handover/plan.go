package main

import "time"

// The links, and what a handover from the first to the second may take.
const (
	rate      = 20e6 // bits a second
	firstRTT  = 20 * time.Millisecond
	secondRTT = 60 * time.Millisecond
)

// kind is what the application does.
type kind string

const (
	bulk     kind = "bulk"     // the client sends without end
	requests kind = "requests" // 750 octets every 400 ms, which come back
	alone    kind = "alone"    // bulk over one link
)

// Case is one thing that happens to a connection.
type Case struct {
	Name     string
	Kind     kind
	Backup   bool          // the second path is a backup
	Event    event         `json:",omitempty"`
	Gap      time.Duration `json:",omitempty"` // between the old address and the new one
	Only     int           `json:",omitempty"` // the one link there is: 1 or 2
	Shaky    bool          `json:",omitempty"` // links with jitter and loss
	Length   time.Duration // after the event
	OursOnly bool          `json:",omitempty"`

	// Limit of mpnc's median: an absolute time, or a share of the kernel's.
	Limit       time.Duration `json:",omitempty"`
	LimitWhy    string        `json:",omitempty"`
	KernelShare float64       `json:",omitempty"`

	Mpnc, Kernel []Sample `json:",omitempty"`
	Failed       int      `json:",omitempty"` // runs
}

// event is what happens.
type event string

const (
	nothing      event = ""
	silentLoss   event = "silent loss"
	linkSender   event = "link down at the sender"
	linkReceiver event = "link down at the receiver"
	addrRemoved  event = "address removed"
	addrChanged  event = "address changed"
)

// Sample is one run.
type Sample struct {
	// Silence is the longest time without anything new after the event; of
	// requests, the longest that one waited for its answer. After a change of
	// address it counts from when the new one is there.
	Silence time.Duration
	// Later is the longest time without anything new that is not for the event: it
	// began well after it. Bulk only.
	Later time.Duration `json:",omitempty"`
	// Goodput before the event, bits a second.
	Before float64
	// CopiesBefore and CopiesAfter are octets of payload sent for each that
	// arrived. 0: not known.
	CopiesBefore, CopiesAfter float64
}

const handedOver = secondRTT + 20*time.Millisecond

// plan lists the cases.
func plan() []*Case {
	const told = "a round trip of the other path and 20 ms"
	cases := []*Case{
		{Name: "bulk, silent loss", Kind: bulk, Event: silentLoss, KernelShare: 0.5},
		{Name: "bulk, link down at the sender", Kind: bulk, Event: linkSender, Limit: handedOver, LimitWhy: told},
		{Name: "bulk, link down at the receiver", Kind: bulk, Event: linkReceiver},
		{Name: "bulk, address removed", Kind: bulk, Event: addrRemoved, Limit: handedOver, LimitWhy: told},
		{Name: "requests, silent loss", Kind: requests, Event: silentLoss, KernelShare: 0.5},
		{Name: "requests, address removed", Kind: requests, Event: addrRemoved, Limit: handedOver, LimitWhy: told},
		{Name: "requests, backup, silent loss", Kind: requests, Backup: true, Event: silentLoss, KernelShare: 0.5},
		{Name: "requests, backup, address removed", Kind: requests, Backup: true, Event: addrRemoved, Limit: handedOver, LimitWhy: told},
	}
	for _, gap := range []time.Duration{0, 500 * time.Millisecond, 2 * time.Second} {
		cases = append(cases, &Case{
			Name: "one interface, address changed after " + gap.String(), Kind: alone, Event: addrChanged, Gap: gap, Only: 1,
			// The new address has to be found by ARP first, over the link.
			Limit: firstRTT*5/2 + 50*time.Millisecond, LimitWhy: "2.5 round trips (ARP is one of them) and 50 ms",
		})
	}
	cases = append(cases,
		&Case{Name: "the first link alone", Kind: alone, Only: 1, OursOnly: true},
		&Case{Name: "the second link alone", Kind: alone, Only: 2, OursOnly: true},
		&Case{Name: "a minute of jitter and loss", Kind: bulk, Shaky: true, OursOnly: true, Length: time.Minute},
	)
	for _, c := range cases {
		if c.Length == 0 {
			c.Length = 3 * time.Second
		}
	}
	return cases
}

// runs is how many of each stack the case gets.
func (c *Case) runs(most int) int {
	if c.Shaky {
		return min(most, 2)
	}
	return most
}

func (c *Case) add(ours bool, s Sample, err error) {
	switch {
	case err != nil:
		c.Failed++
	case ours:
		c.Mpnc = append(c.Mpnc, s)
	default:
		c.Kernel = append(c.Kernel, s)
	}
}
