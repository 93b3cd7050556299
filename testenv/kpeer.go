package testenv

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/netip"
	"time"
)

// PeerMode is what a kernel peer does with its connection. In every mode each
// end closes its direction and waits for the other's end of stream, so both
// know that all has arrived.
type PeerMode uint8

// Modes of a kernel peer.
const (
	Sink   PeerMode = iota // read to the end, then close
	Source                 // write Bytes, close, read to the end
	Echo                   // write back what is read
	Duplex                 // Source and Sink at once: write Bytes while reading
)

// PeerConfig describes a kernel peer.
type PeerConfig struct {
	MPTCP bool // ask for Multipath TCP
	Mode  PeerMode
	Bytes int64  // to send, in modes Source and Duplex
	Seed  uint64 // of what is sent: RandomStream
	From  netip.Addr
	// Chunk is the size of each write and read. If zero, 64 KiB.
	Chunk int
	// Gate, if not nil, holds back what is to be sent until it is closed, but for
	// the first Head octets; if that is zero, 16 KiB.
	Gate <-chan struct{}
	Head int64
}

// head is how much Gate lets through at once.
func (c *PeerConfig) head() int64 {
	if c.Head > 0 {
		return c.Head
	}
	return 16 << 10
}

// PeerResult is what a kernel peer saw of one connection.
type PeerResult struct {
	Sent, Received       int64
	SentSum, ReceivedSum [sha256.Size]byte // SHA-256
	Err                  error
	MPTCP                bool // the connection was Multipath TCP to its end
	Local, Remote        netip.AddrPort
	Took                 time.Duration
	// Counters is how much the host's counters grew since the connection
	// began, by whatever cause: see Host.Counters.
	Counters map[string]int64
}

// RandomStream returns an endless stream of octets that depends on seed alone.
func RandomStream(seed uint64) io.Reader {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// RandomSum returns the SHA-256 of the first n octets of a RandomStream.
func RandomSum(seed uint64, n int64) (sum [sha256.Size]byte) {
	h := sha256.New()
	_, _ = io.CopyN(h, RandomStream(seed), n) // neither end fails
	h.Sum(sum[:0])
	return sum
}
