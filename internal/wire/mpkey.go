package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"

	"github.com/mpnc/mpnc/internal/seq"
)

// Token returns what names a connection in MP_JOIN: the most significant 32
// bits of the SHA-256 of the key (RFC 8684, Section 3.2).
func Token(key uint64) uint32 {
	h := hashKey(key)
	return binary.BigEndian.Uint32(h[:4]) //spec:H13 off: return binary.BigEndian.Uint32(h[28:])
}

// IDSN returns the initial data sequence number of the direction whose sender
// has this key: the least significant 64 bits of the SHA-256 of the key
// (RFC 8684, Section 3.1). The first octet of payload is IDSN+1.
func IDSN(key uint64) seq.Data {
	h := hashKey(key)
	return seq.Data(binary.BigEndian.Uint64(h[24:])) //spec:H13 off: return seq.Data(binary.BigEndian.Uint64(h[:8]))
}

func hashKey(key uint64) [sha256.Size]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint64(make([]byte, 0, 8), key))
}

// JoinMAC returns the HMAC of an MP_JOIN that the host with keyA and nonceA
// sends to the host with keyB and nonceB, whichever of them opened the
// connection (RFC 8684, Section 3.2). A SYN/ACK carries the left 8 octets, the
// third packet the left 20.
func JoinMAC(keyA, keyB uint64, nonceA, nonceB uint32) [32]byte {
	var msg [8]byte
	binary.BigEndian.PutUint32(msg[:4], nonceA)
	binary.BigEndian.PutUint32(msg[4:], nonceB) //spec:J4,J7 off: binary.BigEndian.PutUint32(msg[4:], nonceA)
	return mac(keyA, keyB, msg[:])
}

// AddAddrMAC returns the rightmost 64 bits of the HMAC of an ADD_ADDR that the
// host with keyA sends to the host with keyB. A port that is absent counts as
// zero (RFC 8684, Section 3.4.1).
func AddAddrMAC(keyA, keyB uint64, id uint8, addr netip.Addr, port uint16) uint64 {
	msg := make([]byte, 0, 1+16+2)
	msg = append(msg, id)
	if addr.Is4() {
		a := addr.As4()
		msg = append(msg, a[:]...)
	} else {
		a := addr.As16()
		msg = append(msg, a[:]...)
	}
	msg = binary.BigEndian.AppendUint16(msg, port) //spec:P2 off: if port != 0 { msg = binary.BigEndian.AppendUint16(msg, port) }
	h := mac(keyA, keyB, msg)
	return binary.BigEndian.Uint64(h[24:]) //spec:P2 off: return binary.BigEndian.Uint64(h[:8])
}

// mac is the HMAC-SHA256 of msg under the two keys, the sender's first.
func mac(keyA, keyB uint64, msg []byte) (sum [32]byte) {
	var key [16]byte
	binary.BigEndian.PutUint64(key[:8], keyA)
	binary.BigEndian.PutUint64(key[8:], keyB)
	h := hmac.New(sha256.New, key[:])
	h.Write(msg)
	h.Sum(sum[:0])
	return sum
}
