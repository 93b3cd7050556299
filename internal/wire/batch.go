package wire

import (
	"github.com/mpnc/mpnc/internal/buf"
	"github.com/mpnc/mpnc/internal/mono"
)

// Packet is one packet of a Batch: Slab[Off:Off+Len], starting at the IP header,
// and behind it what is lent to it (Batch.Pieces).
type Packet struct {
	Off, Len uint32
	// Lent is how many octets of payload, all of it then, are not in the slab.
	Lent uint32
	// The pieces that hold those, in Batch.lent.
	piece  uint32
	pieces uint8
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
	// Lend says that the device gathers the payload of trains from where it is.
	Lend bool
	// Limit is how many octets may be in use, in Slab or lent; 0 means cap(Slab).
	Limit int

	lent   []buf.Piece
	octets int // lent
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
	return limit - b.Octets()
}

// Octets returns how many octets all packets have.
func (b *Batch) Octets() int { return len(b.Slab) + b.octets }

// Pieces returns the payload of packet i that is not in the slab, in order. The
// pieces are the batch's.
func (b *Batch) Pieces(i int) []buf.Piece {
	p := &b.Pkts[i]
	return b.lent[p.piece:][:p.pieces]
}

// Borrow empties the batch for packets that arrived and lie in slab, which is
// somebody else's.
func (b *Batch) Borrow(slab []byte) {
	clear(b.lent)
	b.Slab, b.Pkts, b.lent = slab, b.Pkts[:0], b.lent[:0]
}

// Arrived appends a packet of the borrowed slab. Its payload, rest, lies elsewhere,
// unless rest is empty.
func (b *Batch) Arrived(p Packet, rest []byte) {
	b.Pkts = append(b.Pkts, p)
	if len(rest) > 0 {
		b.Part(len(b.Pkts)-1, int(p.Len), rest)
	}
}

// Part leaves the first head octets of packet i, its headers, in the slab: its payload
// is rest.
func (b *Batch) Part(i, head int, rest []byte) {
	p := &b.Pkts[i]
	p.Len, p.piece, p.pieces = uint32(head), uint32(len(b.lent)), 1
	b.lent = append(b.lent, buf.Piece{Bytes: rest})
}

// Rest returns the payload of packet i, which arrived, if that is not in the slab:
// see ParseApart.
func (b *Batch) Rest(i int) []byte {
	if b.Pkts[i].pieces == 0 {
		return nil
	}
	return b.lent[b.Pkts[i].piece].Bytes
}

// Reset empties the batch and keeps its memory. What was lent is given back.
func (b *Batch) Reset() {
	for i, p := range b.lent {
		p.Return()
		b.lent[i] = buf.Piece{}
	}
	b.lent, b.octets = b.lent[:0], 0
	b.Slab = b.Slab[:0]
	b.Pkts = b.Pkts[:0]
}
