package wire

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// naiveSum is RFC 1071 in its plainest form.
func naiveSum(b []byte) uint16 {
	var sum uint32
	for i := range b {
		if i%2 == 0 {
			sum += uint32(b[i]) << 8
		} else {
			sum += uint32(b[i])
		}
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum>>16 + sum&0xffff)
}

func TestSumAgainstNaive(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	buf := make([]byte, 400)
	for n := range buf {
		for _, fill := range []func() byte{
			func() byte { return byte(r.Uint32()) },
			func() byte { return 0xff },
			func() byte { return 0 },
			func() byte { return byte(r.IntN(2)) * 0xff },
		} {
			b := buf[:n]
			for i := range b {
				b[i] = fill()
			}
			if got, want := Fold(Sum(b, 0)), naiveSum(b); got != want {
				t.Fatalf("%d octets %x: got %#x, want %#x", n, b, got, want)
			}
			cut := 0
			if n > 0 {
				cut = r.IntN(n)
			}
			head := Sum(b[:cut], 0)
			tail := Sum(b[cut:], head)
			if cut%2 == 1 {
				tail = SumOdd(b[cut:], head)
			}
			if got, want := Fold(tail), naiveSum(b); got != want {
				t.Fatalf("%d octets cut at %d: got %#x, want %#x", n, cut, got, want)
			}
		}
	}
}

func TestFoldOfLargest(t *testing.T) {
	for _, v := range []struct {
		sum  uint64
		want uint16
	}{
		{0, 0}, {0xffff, 0xffff}, {0x10000, 1}, {0x1fffe, 0xffff},
		{1<<64 - 1, 0xffff}, {0xffffffff00000000, 0xffff}, {0x0001000100010001, 4},
	} {
		if got := Fold(v.sum); got != v.want {
			t.Errorf("Fold(%#x) = %#x, want %#x", v.sum, got, v.want)
		}
	}
}

func TestPseudoSum(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.168.255.254")
	want := naiveSum([]byte{10, 0, 0, 1, 192, 168, 255, 254, 0, 6, 0x12, 0x34})
	if got := Fold(PseudoSum(a, b, 0x1234)); got != want {
		t.Errorf("IPv4: %#x, want %#x", got, want)
	}
	a, b = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::ffff:2")
	a16, b16 := a.As16(), b.As16()
	want = naiveSum(append(append(a16[:], b16[:]...), 0, 0, 0x12, 0x34, 0, 0, 0, 6))
	if got := Fold(PseudoSum(a, b, 0x1234)); got != want {
		t.Errorf("IPv6: %#x, want %#x", got, want)
	}
}

func TestDSSChecksumVectors(t *testing.T) {
	abc := Sum([]byte("abc"), 0)
	for _, v := range []struct {
		name    string
		dsn     uint64
		ssn     uint32
		length  uint16
		payload uint64
		want    uint16
	}{
		{"captured DSS", 0xe0dfa2adbaf40a25, 1, 20, Sum(bytes.Repeat([]byte("r"), 20), 0), 0x3ecb},
		{"captured MP_CAPABLE with data", uint64(IDSN(0xd98247536e44cab2)) + 1, 1, 10, Sum(bytes.Repeat([]byte("c"), 10), 0), 0x2ad7},
		{"captured DATA_FIN alone", 0x642494e0dab5107c, 0, 1, 0, 0x1bc8},
		{"odd payload", 0x0102030405060708, 1, 3, abc, 0x2b85},
		{"odd payload and DATA_FIN", 0x0102030405060708, 1, 4, abc, 0x2b84},
	} {
		if got := DSSChecksum(seqData(v.dsn), v.ssn, v.length, v.payload); got != v.want {
			t.Errorf("%s: %04x, want %04x", v.name, got, v.want)
		}
	}
}
