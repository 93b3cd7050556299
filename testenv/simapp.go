package testenv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/mpnc/mpnc/internal/mono"
)

// SimStream is an application of a SimConn: it writes Size pseudo-random
// octets of its Seed, closes its direction, reads the peer's stream to the end
// and holds it against what the peer's seed says.
type SimStream struct {
	Seed, PeerSeed uint64
	Size, PeerSize int
	// Chunk bounds one write; 0: as much as fits.
	Chunk int
	// Hold, if not nil, says until when nothing is read (a slow application).
	Hold func(now mono.Time) mono.Time
	// KeepOpen leaves our direction open after Size octets.
	KeepOpen bool

	Sent, Received int
	Ended          bool // the peer's end of stream was read
	Err            error
	WriteErr       error
	LastRead       mono.Time
	Gap            mono.Time // longest time between reads that moved something

	closed  bool
	waiting bool
	buf     [16 << 10]byte // what was read, and what it should be
	want    [16 << 10]byte
	ahead   [16 << 10]byte // what is to be written, from octet next-len(ahead) on
	next    int
}

// errWrongOctets: the stream is not what was sent.
var errWrongOctets = errors.New("the stream is wrong")

// word is octets 8i to 8i+7 of the stream of a seed, the first in the low bits.
func word(seed uint64, i int) uint64 {
	x := seed + uint64(i)*0x9e3779b97f4a7c15
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// octet is octet i of the stream of a seed.
func octet(seed uint64, i int) byte { return byte(word(seed, i>>3) >> (8 * (i & 7))) }

// FillStream writes the octets of a seed's stream from offset on to p.
func FillStream(p []byte, seed uint64, offset int) {
	for len(p) > 0 && offset&7 != 0 {
		p[0] = octet(seed, offset)
		p, offset = p[1:], offset+1
	}
	for ; len(p) >= 8; p, offset = p[8:], offset+8 {
		binary.LittleEndian.PutUint64(p, word(seed, offset>>3))
	}
	for i := range p {
		p[i] = octet(seed, offset+i)
	}
}

// App is SimConn.App.
func (a *SimStream) App(now mono.Time, c *SimConn) {
	a.read(now, c)
	a.write(now, c)
}

func (a *SimStream) read(now mono.Time, c *SimConn) {
	if a.Ended || a.Err != nil {
		return
	}
	if a.Hold != nil {
		if until := a.Hold(now); until > now {
			a.wake(until, c)
			return
		}
	}
	for {
		n := c.Core.Read(now, a.buf[:])
		if n == 0 {
			break
		}
		FillStream(a.want[:n], a.PeerSeed, a.Received)
		if !bytes.Equal(a.buf[:n], a.want[:n]) {
			a.Err = fmt.Errorf("octets %d to %d: %w", a.Received, a.Received+n-1, errWrongOctets)
			return
		}
		a.Received += n
		a.Gap = max(a.Gap, now-a.LastRead)
		a.LastRead = now
	}
	switch err := c.Core.ReadErr(); err {
	case nil:
	case io.EOF:
		a.Ended = true
		if a.Received != a.PeerSize {
			a.Err = fmt.Errorf("end of stream after %d octets, %d were sent: %w", a.Received, a.PeerSize, errWrongOctets)
		}
	default:
		a.Err = err
	}
}

// wake arranges for one call at a later time.
func (a *SimStream) wake(at mono.Time, c *SimConn) {
	if a.waiting {
		return
	}
	a.waiting = true
	c.Host.sim.At(at.Add(c.Host.lag), func() {
		a.waiting = false
		c.Poke()
	})
}

func (a *SimStream) write(now mono.Time, c *SimConn) {
	for a.Sent < a.Size {
		if a.Sent == a.next {
			FillStream(a.ahead[:], a.Seed, a.Sent)
			a.next += len(a.ahead)
		}
		n := min(a.next, a.Size) - a.Sent
		if a.Chunk > 0 {
			n = min(n, a.Chunk)
		}
		at := len(a.ahead) - (a.next - a.Sent)
		n = c.Core.Write(now, a.ahead[at:at+n])
		if n == 0 {
			if err := c.Core.WriteErr(); err != nil && a.WriteErr == nil {
				a.WriteErr = err
			}
			return
		}
		a.Sent += n
	}
	if !a.closed && !a.KeepOpen {
		a.closed = true
		c.Core.CloseWrite(now)
	}
}

// Done reports whether both directions are through, or the connection failed.
func (a *SimStream) Done() bool { return a.Err != nil || a.Ended && a.closed }
