package wire

import "github.com/mpnc/mpnc/internal/mono"

// Packet is one packet of a Batch: Slab[Off:Off+Len], starting at the IP header.
type Packet struct {
	Off, Len uint32
	// Seg is not 0 for a train: the payload octets of each of its segments
	// but the last, which may be shorter.
	Seg uint16
	// Csum says how the TCP checksum stands in the packet.
	Csum Csum
	// Link is the interface it arrived by, or is to leave by.
	Link int
	// At is when it arrived.
	At mono.Time
}

// Csum is the state of a packet's transport checksum.
type Csum uint8

const (
	// CsumFull: the field is complete, or has to be verified on receipt.
	CsumFull Csum = iota
	// CsumPartial: the field holds only the folded pseudo-header sum and the
	// device completes it; on receipt, the sender on this host left it so and
	// nothing is to be verified.
	CsumPartial
	// CsumEither: on receipt, a full checksum or the bare pseudo-header sum
	// is right (loopback, a peer on this host, a packet larger than the MTU).
	CsumEither
)

// Batch is many packets in one slab. It belongs to one goroutine at a time.
type Batch struct {
	Slab []byte
	Pkts []Packet

	// MaxTrain bounds the payload of one appended packet: 0 means one segment
	// a packet (the device takes no trains).
	MaxTrain int
	// Offload says that the device completes checksums: appended packets
	// carry CsumPartial.
	Offload bool
	// Lane says that trains, and only they, leave by a fast lane, which a path
	// has to earn; the device completes their checksums, whatever Offload says.
	Lane bool
	// TTL is the TTL or hop limit of appended packets whose segment says none. If
	// zero, 64.
	TTL uint8
	// Class is the DSCP of appended packets, in its place in the octet of IP's
	// traffic class; the lowest two bits, which are ECN's, do not count.
	Class uint8
	// Limit is how many octets of Slab may be in use; 0 means cap(Slab).
	Limit int
}

// NewBatch returns an empty batch with a slab of size octets.
func NewBatch(size int) *Batch { return &Batch{Slab: make([]byte, 0, size)} }

// Bytes returns packet i.
func (b *Batch) Bytes(i int) []byte {
	p := b.Pkts[i]
	return b.Slab[p.Off : p.Off+p.Len : p.Off+p.Len]
}

// Room returns how many more octets of packets fit.
func (b *Batch) Room() int {
	limit := b.Limit
	if limit == 0 || limit > cap(b.Slab) {
		limit = cap(b.Slab)
	}
	return limit - len(b.Slab)
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	b.Slab = b.Slab[:0]
	b.Pkts = b.Pkts[:0]
}
