// Package seq has the sequence numbers of TCP and MPTCP, and sets of ranges
// of them. All comparisons are modulo the width of the number.
package seq

// Num is a TCP sequence number (RFC 9293, Section 3.4).
type Num uint32

// Less reports whether a comes before b, modulo 2^32.
func (a Num) Less(b Num) bool { return int32(a-b) < 0 }

// LessEq reports whether a is b or comes before it, modulo 2^32.
func (a Num) LessEq(b Num) bool { return int32(a-b) <= 0 }

// Add returns a+n modulo 2^32; n may be negative.
func (a Num) Add(n int) Num { return a + Num(n) }

// Sub returns the signed distance a-b modulo 2^32.
func (a Num) Sub(b Num) int { return int(int32(a - b)) }

// Data is an MPTCP data sequence number, always kept as 64 bits
// (RFC 8684, Section 3.3.1).
type Data uint64

// Less reports whether a comes before b, modulo 2^64.
func (a Data) Less(b Data) bool { return int64(a-b) < 0 }

// LessEq reports whether a is b or comes before it, modulo 2^64.
func (a Data) LessEq(b Data) bool { return int64(a-b) <= 0 }

// Add returns a+n modulo 2^64; n may be negative.
func (a Data) Add(n int) Data { return a + Data(n) }

// Sub returns the signed distance a-b modulo 2^64.
func (a Data) Sub(b Data) int { return int(int64(a - b)) }

// Max returns the later of a and b.
func (a Data) Max(b Data) Data {
	if a.Less(b) {
		return b
	}
	return a
}

// Min returns the earlier of a and b.
func (a Data) Min(b Data) Data {
	if b.Less(a) {
		return b
	}
	return a
}

// Widen returns the 64-bit number nearest to near whose low 32 bits are low
// (RFC 8684, Section 3.3.1: the receiver of a 32-bit data sequence number
// infers the upper half).
func Widen(low uint32, near Data) Data {
	return near + Data(int64(int32(low-uint32(near)))) //spec:D3 off: return near&^0xffffffff | Data(low)
}

// Offset is a place in one direction of one subflow: the TCP sequence number
// minus the initial one, unwrapped to 64 bits. The SYN has offset 0, the first
// payload octet 1; for bytes after the handshake it is the subflow sequence
// number of RFC 8684, Section 3.3.1.
type Offset uint64

// Unwrap returns the offset nearest to near of sequence number n on a
// direction whose initial sequence number is iss. A number that would lie
// before the SYN yields a negative value as an int64: test with int64(o) < 0.
func Unwrap(n, iss Num, near Offset) Offset {
	return near + Offset(int64(int32(n-iss-Num(near))))
}

// Num returns the TCP sequence number of o on a direction that started at iss.
func (o Offset) Num(iss Num) Num { return iss + Num(o) }
