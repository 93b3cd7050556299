package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"net/netip"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
)

// secret is what an Endpoint derives numbers from that have to be the same
// again for the same ends, and that nobody outside can tell. It is drawn once.
type secret [32]byte

func newSecret(r io.Reader) (k secret) {
	if _, err := io.ReadFull(r, k[:]); err != nil {
		panic("BUG: the source of randomness failed: " + err.Error())
	}
	return k
}

// use separates the numbers that are derived from one secret.
type use uint8

const (
	useTuple    use = iota // what belongs to a tuple for ever
	useCookie              // what belongs to one SYN (cookie.go)
	useFastOpen            // what belongs to two hosts for a while (fastopen.go)
)

// derive is the pseudorandom function: a hash over the secret and an input of
// fixed length, so that nothing can be appended to it.
func (k *secret) derive(u use, t wire.Tuple, a, b uint32) [sha256.Size]byte {
	var in [32 + 1 + 2*(16+2) + 8]byte
	n := copy(in[:], k[:])
	in[n] = byte(u)
	n++
	for _, end := range [...]netip.AddrPort{t.Local, t.Remote} {
		addr := end.Addr().As16()
		n += copy(in[n:], addr[:])
		binary.BigEndian.PutUint16(in[n:], end.Port())
		n += 2
	}
	binary.BigEndian.PutUint32(in[n:], a)
	binary.BigEndian.PutUint32(in[n+4:], b)
	return sha256.Sum256(in[:])
}

// numbers are what an Endpoint derives for a tuple.
type numbers struct {
	iss      uint32 // F of RFC 6528, Section 3
	tsOffset uint32
	cookie   uint32 // what the cookies of the tuple are offset by
}

func (k *secret) numbers(t wire.Tuple) numbers {
	h := k.derive(useTuple, t, 0, 0)
	return numbers{
		iss:      binary.BigEndian.Uint32(h[0:]), //spec:T30 off: iss: 4711,
		tsOffset: binary.BigEndian.Uint32(h[4:]),
		cookie:   binary.BigEndian.Uint32(h[8:]),
	}
}

// initial returns the initial sequence number of a connection that begins now:
// ISN = M + F(localip, localport, remoteip, remoteport, secretkey), where M is
// a clock of 4 microseconds (RFC 6528, Section 3; RFC 9293, Section 3.4.1,
// MUST-8, MUST-9, SHLD-1).
func (n numbers) initial(now mono.Time) seq.Num {
	const tick = mono.Time(4 * time.Microsecond)
	return seq.Num(uint32(now/tick) + n.iss) //spec:T30 off: return seq.Num(n.iss)
}
