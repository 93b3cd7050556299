package netio

import "golang.org/x/sys/unix"

// apartParts is how many pieces of memory a message is read to at most: its headers,
// the payload that is expected behind them, and what is more than that.
const apartParts = 3

// apart is how the packets of one system call are read while trains arrive for
// somebody who waits: headers to the slab, payload straight to his memory, each to a
// place of its own. It is a guess by the trains before, and a packet for which it
// turns out wrong is put together in the slab.
type apart struct {
	form
	into  []byte // nil: packets are read whole
	whole uint64 // those that were put together, a bit each
}

// form is what a train is like.
type form struct {
	head int // octets of headers, as the kernel gives them
	size int // octets of payload, of the longest
}

// lay lays memory out for packets of s to be read apart, and returns how many there may
// be; 0: they are read whole. The memory is lent for one batch, so nothing else may
// wait to be handed on.
func (r *Raw) lay(s *rxSocket) (n int) {
	g := s.guess
	if g.size == 0 || g.head+g.size >= len(s.memory(0)) {
		return 0
	}
	for _, other := range r.rx {
		if other != s && other.next < other.n {
			return 0
		}
	}
	into := r.into()
	if len(into) < g.size {
		if into != nil {
			r.unused()
		}
		return 0
	}
	s.apart = apart{form: g, into: into}
	n = min(len(into)/g.size, trainsRead, len(s.msgs))
	for i := range n {
		iovs := s.iovs[apartParts*i:]
		iovs[0].SetLen(g.head)
		point(&iovs[1], into[i*g.size:][:g.size])
		point(&iovs[2], s.memory(i)[g.head+g.size:])
		s.msgs[i].Hdr.SetIovlen(apartParts)
	}
	return n
}

// giveBack returns the memory that s was lent, if it was: there is nothing in it.
func (r *Raw) giveBack(s *rxSocket) {
	if s.apart.into != nil {
		s.unlay()
		r.unused()
	}
}

// unlay has packets be read whole again.
func (s *rxSocket) unlay() {
	if s.apart.into == nil {
		return
	}
	s.apart = apart{}
	for i := range min(trainsRead, len(s.msgs)) {
		iovs := s.iovs[apartParts*i:]
		iovs[0].SetLen(len(s.memory(i)))
		iovs[1] = unix.Iovec{} // it is not ours
		s.msgs[i].Hdr.SetIovlen(1)
	}
}

// memory is that of message i in the slab: what the kernel keeps of it goes before.
func (s *rxSocket) memory(i int) []byte {
	b := s.slab[i*maxRead : (i+1)*maxRead]
	if s.v6 {
		b = b[ipv6Len:]
	}
	return b
}

// gather puts together what was read apart and is not as expected, and guesses what
// comes next.
func (s *rxSocket) gather() {
	a := &s.apart
	next := form{head: s.guess.head}
	for i := range s.n {
		b, n := s.memory(i), int(s.msgs[i].Len)
		if a.into != nil && (n <= a.head || n > a.head+a.size || headersAt(b[:a.head], s.v6) != a.head) {
			a.whole |= 1 << i
			if n > a.head {
				copy(b[a.head:], a.into[i*a.size:][:min(n-a.head, a.size)])
			}
		}
		head := headersAt(b[:n], s.v6)
		if head > 0 && n-head > maxRead/4 {
			next.head, next.size = head, max(next.size, n-head)
		}
	}
	s.guess = next
}

// headersAt is how long the headers are that b begins with; 0 if that is not to be seen.
func headersAt(b []byte, v6 bool) int {
	ip := 0
	if !v6 {
		if len(b) < ipv4Len {
			return 0
		}
		ip = int(b[0]&0xf) * 4
	}
	if len(b) < ip+tcpLen {
		return 0
	}
	return ip + int(b[ip+12]>>4)*4
}

// rest returns the payload of message i, which has n octets, if it lies apart; with
// all of the memory behind it as its capacity.
func (a *apart) rest(i, n int) []byte {
	if a.into == nil || a.whole&(1<<i) != 0 {
		return nil
	}
	return a.into[i*a.size:][:n-a.head]
}
