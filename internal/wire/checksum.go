package wire

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/mpnc/mpnc/internal/seq"
)

// Sum adds the Internet checksum's words of b (RFC 1071) to initial. An odd b
// counts as padded with a zero octet, so that of several pieces only the last
// may be odd; a piece that starts at an odd place goes to SumOdd. Sums may be
// added to each other; Fold brings one down to 16 bits.
func Sum(b []byte, initial uint64) uint64 {
	return initial + uint64(bits.ReverseBytes16(sumLittle(b)))
}

// SumOdd is Sum for a piece that is preceded by an odd number of octets: its
// octets change places within the words, which swaps the sum's own octets
// (RFC 1071, Section 2 (B)).
func SumOdd(b []byte, initial uint64) uint64 {
	return initial + uint64(sumLittle(b))
}

// sumLittle is the ones' complement sum of b as little-endian words, folded.
// The order of octets does not matter to the sum but for one final swap, so
// the loads need none.
func sumLittle(b []byte) uint16 {
	var sum, carry uint64
	for len(b) >= 64 {
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b), 0)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[8:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[16:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[24:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[32:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[40:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[48:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[56:]), carry)
		sum += carry // cannot overflow: a sum that carried is below its maximum
		b = b[64:]
	}
	for len(b) >= 8 {
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b), 0)
		sum += carry
		b = b[8:]
	}
	if len(b) > 0 {
		var tail [8]byte
		copy(tail[:], b)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(tail[:]), 0)
		sum += carry
	}
	return Fold(sum)
}

// Fold brings sum down to 16 bits. It is not complemented.
func Fold(sum uint64) uint16 {
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint16(sum)
}

// PseudoSum is the sum of the pseudo-header of a TCP segment of length octets,
// header included (RFC 9293, Section 3.1). Both addresses are of one family.
func PseudoSum(src, dst netip.Addr, length int) uint64 {
	sum := protoTCP + uint64(length)
	if src.Is4() {
		s, d := src.As4(), dst.As4()
		return Sum(d[:], Sum(s[:], sum))
	}
	s, d := src.As16(), dst.As16()
	return Sum(d[:], Sum(s[:], sum))
}

// DSSChecksum is the checksum of a DSS mapping (RFC 8684, Section 3.3.1) whose
// payload has the sum payloadSum: Sum over all of it, 0 for a DATA_FIN alone.
// length is the data-level length, DATA_FIN included.
func DSSChecksum(dsn seq.Data, ssn uint32, length uint16, payloadSum uint64) uint16 {
	d := uint64(dsn)
	sum := uint64(Fold(payloadSum)) +
		d>>48 + d>>32&0xffff + d>>16&0xffff + d&0xffff +
		uint64(ssn>>16) + uint64(ssn&0xffff) + uint64(length)
	return ^Fold(sum)
}
