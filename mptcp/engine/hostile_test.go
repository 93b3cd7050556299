package engine

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/subflow"
)

// attack is what a peer does again and again to have us keep something each
// time. setup prepares it and returns the step.
type attack struct {
	name  string
	sends int // how many segments it may make us send, of 6,000 steps in no time; 0: not looked at
	setup func(s *hostile) func(i int)
}

// hostileWindow is the receive buffer under attack.
const hostileWindow = 256 << 10

// attacks are those of a peer that knows the keys. Steps are numbered from 0.
var attacks = []attack{
	{"every second octet of a subflow", 0, func(s *hostile) func(int) {
		return func(i int) {
			at := 3 + 2*i%(hostileWindow-10)
			s.send(0, fmt.Sprintf(". %d+1 ack 1 A1 M%d:%d:1", at, at, at))
		}
	}},
	{"every second octet of the stream, the subflow in order", 0, func(s *hostile) func(int) {
		return func(i int) {
			at := 3 + 2*i%(hostileWindow-10)
			s.send(0, fmt.Sprintf(". %d+1 ack 1 A1 M%d:%d:1", 1+i, at, 1+i))
		}
	}},
	{"every fourth octet of the stream on each of two subflows", 0, func(s *hostile) func(int) {
		legs := []int{0, s.joined(0, 1)}
		return func(i int) {
			at := 3 + 2*i%(hostileWindow-10)
			s.send(legs[i%2], fmt.Sprintf(". %d+1 ack 1 A1 M%d:%d:1", 1+i/2, at, 1+i/2))
		}
	}},
	{"runs that overlap", 0, func(s *hostile) func(int) {
		return func(i int) {
			at := 3 + 97*i%(hostileWindow-300)
			s.send(0, fmt.Sprintf(". %d+100 ack 1 A1 M%d:%d:150", at, at, at))
		}
	}},
	{"long mappings of which one octet comes", 0, func(s *hostile) func(int) {
		return func(i int) {
			at := 3 + 3*i%(hostileWindow-70000)
			s.send(0, fmt.Sprintf(". %d+1 ack 1 A1 M%d:%d:60000", at, at, at))
		}
	}},
	{"octets without a mapping, on one joined subflow after the other", 0, func(s *hostile) func(int) {
		n := s.joined(0, 1)
		return func(i int) {
			if s.state(n) == subflow.StateClosed {
				n = s.again()
			}
			at := 3 + 2*i%(hostileWindow-10)
			s.send(n, fmt.Sprintf(". %d+1 ack 1 A1", at))
		}
	}},
	{"addresses", 0, func(s *hostile) func(int) {
		return func(i int) {
			s.send(0, fmt.Sprintf(". 1 ack 1 add%d=10.%d.%d.%d", 1+i%255, 100+i>>16, i>>8&255, i&255))
		}
	}},
	{"addresses that go again", 0, func(s *hostile) func(int) {
		return func(i int) {
			s.send(0, fmt.Sprintf(". 1 ack 1 add%d=10.%d.%d.%d", 1+i%255, 100+i>>16, i>>8&255, i&255))
			s.send(0, fmt.Sprintf(". 1 ack 1 A1 rm=%d", 1+i%255))
		}
	}},
	{"joins that are reset at once", 0, func(s *hostile) func(int) {
		return func(int) {
			n := s.again()
			s.send(n, "R. 1 ack 1")
		}
	}},
	{"joins that are closed at once, and left", 0, func(s *hostile) func(int) {
		return func(int) {
			n := s.again()
			s.send(n, "F. 1 ack 1 A1")
			s.advance(10 * time.Millisecond)
		}
	}},
	{"half-open joins", 0, func(s *hostile) func(int) {
		return func(int) {
			s.port++
			s.legs = s.legs[:1]
			n := s.addLeg(legTuple(0, 1, 80, 3000+s.port))
			s.send(n, "S 0 mpj12 id=1")
		}
	}},
	{"priorities", 0, func(s *hostile) func(int) {
		return func(i int) { s.send(0, []string{". 1 ack 1 A1 prio+", ". 1 ack 1 A1 prio-"}[i%2]) }
	}},
	{"ends of the stream", 0, func(s *hostile) func(int) {
		return func(i int) { s.send(0, fmt.Sprintf(". 1 ack 1 A1 M%d:0:1 F", 1+i%hostileWindow)) }
	}},
	{"holes of one octet in what we sent", 0, func(s *hostile) func(int) {
		s.write(60000)
		return func(i int) {
			at := 2 + 2*i%10000
			s.send(0, ". 1 ack 1 A1", func(g *wire.Segment) {
				g.Opt.NSACK = 1
				g.Opt.SACK[0] = wire.SACKBlock{From: seqOf(s, at), To: seqOf(s, at+1)}
			})
		}
	}},
	{"windows of one octet", 0, func(s *hostile) func(int) {
		s.write(60000)
		end := 1
		return func(int) {
			for _, seg := range s.legs[0].segs {
				end = max(end, seg.Seq.Sub(seqOf(s, 0))+len(seg.Payload))
			}
			s.ignore(0)
			s.send(0, fmt.Sprintf(". 1 ack %d A%d", end, end), func(g *wire.Segment) { g.Window = 1 })
			s.advance(250 * time.Millisecond)
		}
	}},
	{"ICMP errors and segments that want a challenge", 64, func(s *hostile) func(int) {
		s.write(20000)
		return func(i int) {
			s.send(0, "S 100")
			s.send(0, "R 100 ack 1")
			s.c.HandleICMP(s.now, &wire.ICMPError{Kind: wire.ICMPTooBig, MTU: 600 + i%900, Tuple: s.legs[0].tuple, Seq: seqOf(s, 1)})
		}
	}},
}

// hostile is a script of a peer that attacks.
type hostile struct {
	*script
	port uint16 // of the last join
}

// seqOf is the sequence number of our octet at of the first leg.
func seqOf(s *hostile, at int) seq.Num { return s.legs[0].ourISS.Add(at) }

// again joins from the same address, by a leg that takes the place of all but
// the first.
func (s *hostile) again() int {
	s.legs = s.legs[:1]
	s.port++
	n := s.addLeg(legTuple(0, 1, 80, 3000+s.port))
	s.send(n, "S 0 mpj12 id=1")
	s.ignore(n)
	s.send(n, ". 1 ack 1 mpj24")
	s.ignore(n)
	return n
}

// Whatever a peer sends, and however often, what we keep is bounded: in pieces,
// in octets, and in what waits for the driver.
func TestE2_NoAttackGrowsMemory(t *testing.T) {
	const steps, warm = 6000, 4500
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			s := &hostile{script: accept(t, func(c *Config) {
				c.RecvBuffer, c.Manager = hostileWindow, pathmgr.NewFullMesh
			})}
			s.crowd = true
			step := a.setup(s)
			most, kept, sent := 0, 0, 0
			for i := range steps {
				if s.c.phase == over {
					t.Fatalf("the connection ended at step %d: %v", i, s.c.ReadErr())
				}
				step(i)
				for _, lg := range s.legs {
					sent += len(lg.out)
				}
				s.events, s.wants = nil, nil
				if a.name != "windows of one octet" { // which looks at them
					s.ignore(0)
				}
				most = max(most, s.c.Records())
				if i == warm {
					kept = heap()
				}
			}
			grown := heap() - kept
			runtime.KeepAlive(s)
			t.Logf("%d records at most, grown by %d octets, %d segments sent", most, grown, sent)
			if most > 5000 {
				t.Errorf("%d records are kept", most)
			}
			if a.sends > 0 && sent > a.sends {
				t.Errorf("%d segments are sent in answer", sent)
			}
			if grown > hostileWindow/4 {
				t.Errorf("the rest of the attack took %d octets", grown)
			}
		})
	}
}
