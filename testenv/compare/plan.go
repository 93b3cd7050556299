package main

import (
	"fmt"
	"time"

	"github.com/mpnc/mpnc/testenv"
)

// Cell is one set of conditions under which both stacks move data in turn.
type Cell struct {
	Name       string
	Congestion string        // of both stacks
	Rate       float64       // bits a second, each way
	RTT        time.Duration // without queues
	Loss       float64       // of data packets
	Queue      float64       // bandwidth-delay products
	Reorder    bool          // one packet in a hundred is held back for 2 ms
	Spike      bool          // 300 ms more delay for a second, after a third of the time
	Jitter     time.Duration // each way
	Apart      bool          // not part of the median
}

const (
	reorderShare = 0.01
	reorderBy    = 2 * time.Millisecond
	spikeDelay   = 300 * time.Millisecond
	spikeLength  = time.Second
)

// The levels of the factors.
var (
	rates  = [...]float64{10e6, 100e6}
	rtts   = [...]time.Duration{10 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond}
	losses = [...]float64{0, 0.001, 0.01, 0.03}
	queues = [...]float64{0.5, 2}
)

// cells draws 16 of the 384 combinations, by a rule that was fixed before
// anything was measured. Of the number of the cell, in binary b3 b2 b1 b0, the
// rate is b0, the queue b1, the loss b3 b2, and the other factors of two levels
// are sums modulo 2: reordering b0+b1+b2, the delay spike b1+b2+b3, the
// controller b0+b2+b3. So any two of these meet in all their combinations
// equally often (an orthogonal array). The round-trip times follow each other.
func cells() (all []Cell) {
	for i := range 16 {
		b := func(k int) int { return i >> k & 1 }
		all = append(all, Cell{
			Name:       fmt.Sprintf("c%02d", i+1),
			Congestion: [...]string{"cubic", "reno"}[(b(0)+b(2)+b(3))%2],
			Rate:       rates[b(0)],
			RTT:        rtts[i%3],
			Loss:       losses[i>>2],
			Queue:      queues[b(1)],
			Reorder:    (b(0)+b(1)+b(2))%2 == 1,
			Spike:      (b(1)+b(2)+b(3))%2 == 1,
		})
	}
	return all
}

// apart are the cells for BBR: one for each loss, rates and queues in turn. The
// kernel's is version 1, ours is version 3: the figures say how they do, not
// which stack is better.
func apart() (all []Cell) {
	for i, loss := range losses {
		all = append(all, Cell{
			Name: fmt.Sprintf("b%d", i+1), Congestion: "bbr", Apart: true,
			Rate: rates[i%2], RTT: rtts[1], Loss: loss, Queue: queues[i/2],
		})
	}
	return all
}

// String names the conditions in a few words.
func (c Cell) String() string {
	s := fmt.Sprintf("%s %g Mb/s %v loss %g %% queue %g", c.Congestion, c.Rate/1e6, c.RTT, c.Loss*100, c.Queue)
	if c.Reorder {
		s += " reordering"
	}
	if c.Spike {
		s += " spike"
	}
	return s
}

// linkName is the one link of each lab.
const linkName = "link"

// lab returns the network of the cell. The seed decides which data packets are
// lost and which packets are held back.
func (c Cell) lab(seed uint64) testenv.LabConfig {
	return testenv.LabConfig{
		Congestion: c.Congestion, Seed: seed,
		Links: []testenv.LabLink{{
			Name: linkName, Rate: c.Rate, RTT: c.RTT, Queue: c.queue(), Jitter: c.Jitter,
			Tune: func(d testenv.Direction, lc *testenv.LinkConfig) {
				if c.Loss > 0 {
					lc.DataLoss = &testenv.DataLoss{Probability: c.Loss, Seed: 2*seed + uint64(d)}
				}
				if c.Reorder && d == testenv.ToServer {
					lc.Reorder, lc.ReorderBy = reorderShare, reorderBy
				}
			},
		}},
	}
}

// queue returns the room of the bottleneck's queue in octets.
func (c Cell) queue() int { return int(c.Queue * c.Rate / 8 * c.RTT.Seconds()) }

// question is the size of requests and of responses, in octets.
const question = 200

// latencyCell is the path of the requests and responses.
func latencyCell() Cell {
	return Cell{Name: "latency", Congestion: "cubic", Rate: 10e6, RTT: 20 * time.Millisecond, Loss: 0.01, Queue: 2}
}

// shareCell is the bottleneck that both stacks share. Its delay varies by more
// than a packet takes on the wire, as that of a path with any other traffic does:
// where it is exactly the same for each packet, two flows keep step, and which of
// them finds the queue full is decided by who is some microseconds later (S. Floyd
// and V. Jacobson, On Traffic Phase Effects in Packet-Switched Gateways, 1992).
func shareCell() Cell {
	c := phaseCell()
	c.Name, c.Jitter, c.Apart = "share", time.Millisecond, false
	return c
}

// phaseCell is the same without that: apart, and to see how much of it there is.
func phaseCell() Cell {
	return Cell{Name: "phase", Congestion: "cubic", Rate: 20e6, RTT: 40 * time.Millisecond, Queue: 1, Apart: true}
}

// seed is what decides the losses of a pair: the same for both of its runs.
func seed(task string, pair int) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for _, b := range []byte(fmt.Sprintf("%s/%d", task, pair)) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h & (1<<40 - 1)
}
