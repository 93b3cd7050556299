package seq

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"
)

// interesting are bit patterns at which some comparison or sum turns over.
func interesting(rng *rand.Rand) []uint64 {
	var vs []uint64
	for _, base := range []uint64{0, 1 << 31, 1 << 32, 3 << 31, 1 << 63, 1<<63 + 1<<31, 1<<64 - 1<<32, 1<<64 - 1<<31} {
		vs = append(vs, base-2, base-1, base, base+1)
	}
	for range 60 {
		vs = append(vs, rng.Uint64(), uint64(rng.Uint32()))
	}
	return vs
}

// circle is the integers modulo 2^bits, done with numbers of any width.
type circle struct{ size, half *big.Int }

func newCircle(bits uint) circle {
	one := big.NewInt(1)
	return circle{new(big.Int).Lsh(one, bits), new(big.Int).Lsh(one, bits-1)}
}

// distance returns the number in [-size/2, size/2) that leads from b to a.
func (c circle) distance(a, b *big.Int) int64 {
	d := new(big.Int).Sub(a, b)
	d.Mod(d, c.size)
	if d.Cmp(c.half) >= 0 {
		d.Sub(d, c.size)
	}
	return d.Int64()
}

func (c circle) plus(a *big.Int, n int) *big.Int {
	s := new(big.Int).Add(a, big.NewInt(int64(n)))
	return s.Mod(s, c.size)
}

func unsigned(v uint64) *big.Int { return new(big.Int).SetUint64(v) }

// RFC 9293, Section 3.4: sequence numbers are compared modulo 2^32.
func TestNumAgainstBig(t *testing.T) {
	c := newCircle(32)
	vs := interesting(rand.New(rand.NewPCG(1, 1)))
	for _, x := range vs {
		for _, y := range vs {
			a, b := Num(x), Num(y)
			d := c.distance(unsigned(uint64(a)), unsigned(uint64(b)))
			if a.Less(b) != (d < 0) || a.LessEq(b) != (d <= 0) || int64(a.Sub(b)) != d {
				t.Fatalf("%d and %d: Less %t LessEq %t Sub %d, distance %d", a, b, a.Less(b), a.LessEq(b), a.Sub(b), d)
			}
			if want := c.plus(unsigned(uint64(b)), int(d)); uint64(b.Add(int(d))) != want.Uint64() {
				t.Fatalf("%d.Add(%d) = %d, want %s", b, d, b.Add(int(d)), want)
			}
		}
	}
}

// RFC 8684, Section 3.3.1: data sequence numbers are compared modulo 2^64.
func TestDataAgainstBig(t *testing.T) {
	c := newCircle(64)
	vs := interesting(rand.New(rand.NewPCG(1, 2)))
	for _, x := range vs {
		for _, y := range vs {
			a, b := Data(x), Data(y)
			d := c.distance(unsigned(x), unsigned(y))
			if a.Less(b) != (d < 0) || a.LessEq(b) != (d <= 0) || int64(a.Sub(b)) != d {
				t.Fatalf("%d and %d: Less %t LessEq %t Sub %d, distance %d", a, b, a.Less(b), a.LessEq(b), a.Sub(b), d)
			}
			if want := c.plus(unsigned(y), int(d)); uint64(b.Add(int(d))) != want.Uint64() {
				t.Fatalf("%d.Add(%d) = %d, want %s", b, d, b.Add(int(d)), want)
			}
			earlier, later := a, b
			if d > 0 {
				earlier, later = b, a
			}
			if d != -1<<63 && (a.Min(b) != earlier || a.Max(b) != later) {
				t.Fatalf("%d and %d: Min %d Max %d", a, b, a.Min(b), a.Max(b))
			}
		}
	}
}

// Widen finds the nearest of all numbers with the given low half.
func TestD3_WidenAgainstBig(t *testing.T) {
	c := newCircle(64)
	vs := interesting(rand.New(rand.NewPCG(1, 3)))
	for _, near := range vs {
		for _, v := range vs {
			low := uint32(v)
			got := Widen(low, Data(near))
			if uint32(got) != low {
				t.Fatalf("Widen(%#x, %#x) = %#x: another low half", low, near, got)
			}
			if d := c.distance(unsigned(uint64(got)), unsigned(near)); d < -1<<31 || d > 1<<31 {
				t.Fatalf("Widen(%#x, %#x) = %#x: %d away, not the nearest", low, near, got, d)
			}
		}
	}
}

// RFC 8684, Section 3.3.1: the upper half grows by one when the low half wraps
// in order, and an old duplicate from before the wrap does not move it.
func TestD3_WrapOnlyForwardAndNeverFromReordering(t *testing.T) {
	for _, next := range []Data{1 << 32, 7 << 32, 1<<64 - 1<<32, 0} {
		expected := next - 5000 // 32-bit numbers go over the edge below
		for range 10 {
			got := Widen(uint32(expected), expected)
			if got != expected {
				t.Fatalf("in order: Widen = %#x, want %#x", got, expected)
			}
			expected = expected.Add(1000)
		}
		old := next - 4000
		if got := Widen(uint32(old), expected); got != old {
			t.Errorf("old duplicate: Widen = %#x, want %#x", got, old)
		}
		if got := Widen(uint32(expected+100_000), next-1); got != expected+100_000 {
			t.Errorf("data ahead of a hole at the wrap: Widen = %#x, want %#x", got, expected+100_000)
		}
	}
}

// An offset keeps its place through any number of wraps of the 32-bit numbers.
func TestUnwrapIsTheInverseOfNum(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	for _, iss := range []Num{0, 1, 1 << 31, 1<<32 - 1, 1<<32 - 1000, Num(rng.Uint32())} {
		at := Offset(0)
		for at < 5<<32 {
			for _, d := range []int64{0, 1, -1, 65_535, -65_535, 1<<31 - 1, -1<<31 + 1} {
				o := at + Offset(d)
				if got := Unwrap(o.Num(iss), iss, at); got != o {
					t.Fatalf("iss %d: offset %d seen from %d became %d", iss, int64(o), at, int64(got))
				}
			}
			at += Offset(rng.Uint32N(1 << 30))
		}
	}
}

func TestUnwrapBeforeTheSYNIsNegative(t *testing.T) {
	for _, iss := range []Num{0, 5, 1<<32 - 1} {
		if o := Unwrap(iss-3, iss, 1); int64(o) != -3 {
			t.Errorf("iss %d: three before the SYN is offset %d", iss, int64(o))
		}
	}
}

func ExampleOffset() {
	iss := Num(1<<32 - 1)
	first := Offset(1) // the SYN has 0
	fmt.Println(first.Num(iss), Unwrap(99, iss, first))
	// Output: 0 100
}
