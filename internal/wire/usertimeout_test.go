package wire

import (
	"testing"
	"time"
)

// RFC 5482, Section 3.3: seconds, or minutes with the granularity bit; zero is
// reserved with either (Section 3.4).
func TestT74_UserTimeoutField(t *testing.T) {
	for _, c := range []struct {
		d     time.Duration
		field uint16
		back  time.Duration
	}{
		{0, 1, time.Second},
		{time.Millisecond, 1, time.Second},
		{90 * time.Second, 90, 90 * time.Second},
		{32767 * time.Second, 0x7fff, 32767 * time.Second},
		{32768 * time.Second, 0x8000 | 547, 547 * time.Minute},
		{24 * time.Hour, 0x8000 | 1440, 24 * time.Hour},
		{1 << 62, 0xffff, 32767 * time.Minute},
	} {
		if got := FormatUserTimeout(c.d); got != c.field || ParseUserTimeout(got) != c.back {
			t.Errorf("%v is written as %#04x, read as %v", c.d, got, ParseUserTimeout(got))
		}
	}
	if ParseUserTimeout(0) != 0 || ParseUserTimeout(0x8000) != 0 {
		t.Error("a reserved value is read as a time")
	}
}

// RFC 5482, Section 3.3: kind 28, length 4, on any segment.
func TestT74_UserTimeoutOption(t *testing.T) {
	for _, f := range []Flags{SYN, SYN | ACK, ACK} {
		if got := optionsOf(f, octets(t, "1c04805a")).Opt.UserTimeout; got != 0x805a {
			t.Errorf("%v: %#04x", f, got)
		}
	}
	for _, bad := range []string{"1c030001", "1c05000100", "1c02"} {
		if got := optionsOf(ACK, octets(t, bad)).Opt.UserTimeout; got != 0 {
			t.Errorf("%s: %#04x", bad, got)
		}
	}
}

// RFC 7413, Section 4.1.1: a cookie has an even length of 4 to 16 octets, or
// none; "options with invalid Length values or without the SYN flag set MUST be
// ignored".
func TestT35_FastOpenOption(t *testing.T) {
	for n := range 20 {
		opt := append([]byte{optFastOpen, byte(2 + n)}, make([]byte, n)...)
		for i := range n {
			opt[2+i] = byte(i + 1)
		}
		valid := n == 0 || n >= 4 && n <= 16 && n%2 == 0
		for _, f := range []Flags{SYN, SYN | ACK, ACK} {
			o := optionsOf(f, opt).Opt
			if want := valid && f.Has(SYN); o.HasFastOpen != want || want && string(o.FastOpen.Bytes()) != string(opt[2:]) {
				t.Errorf("%d octets on %v: %t, % x", n, f, o.HasFastOpen, o.FastOpen.Bytes())
			}
		}
		if c, ok := MakeCookie(opt[2:]); ok != (valid && n > 0) || ok && c.Len() != n || !ok && c != (Cookie{}) {
			t.Errorf("%d octets: cookie %v, %t", n, c, ok)
		}
	}
}
