package wire

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/mpnc/mpnc/internal/seq"
)

// The keys of one captured handshake between two kernels: A opened.
const (
	keyA = 0x95f6c2d160266420
	keyB = 0x25243dfc4d59d3e9
)

func TestH13_TokenAndIDSN(t *testing.T) {
	for _, v := range []struct {
		key   uint64
		token uint32
		idsn  seq.Data
	}{
		{keyA, 0xc85d8fd9, 0x9451ff1d94df12f0},
		{keyB, 0xdf73ec59, 0xb5fed2b38f5827e9},
		{0x0102030405060708, 0x66840dda, 0xf5a101d3d29d6f72},
		{0x1122334455667788, 0x1dce6604, 0x62815714b76ae9a5},
	} {
		if got := Token(v.key); got != v.token {
			t.Errorf("Token(%#x) = %#x, want %#x", v.key, got, v.token)
		}
		if got := IDSN(v.key); got != v.idsn {
			t.Errorf("IDSN(%#x) = %#x, want %#x", v.key, got, v.idsn)
		}
	}
}

func TestJ4_J7_JoinMAC(t *testing.T) {
	const nonceA, nonceB = 0xe82e6df7, 0x0a3ad9bd
	synack := JoinMAC(keyB, keyA, nonceB, nonceA)
	if got := hex.EncodeToString(synack[:8]); got != "9e7720a3f9867027" {
		t.Errorf("SYN/ACK: %s", got)
	}
	ack := JoinMAC(keyA, keyB, nonceA, nonceB)
	if got := hex.EncodeToString(ack[:20]); got != "2472ddfc99adb6dd6dfcfe19a3e50c114679be2f" {
		t.Errorf("third packet: %s", got)
	}
}

func TestP2_AddAddrMAC(t *testing.T) {
	v4, v6 := netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("2001:db8::2")
	for _, v := range []struct {
		from, to uint64
		id       uint8
		addr     netip.Addr
		port     uint16
		want     uint64
	}{
		{keyB, keyA, 5, v4, 0, 0xf0e356b88da16821},
		{keyA, keyB, 5, v4, 0, 0xd17d8602e5b54c16},
		{keyB, keyA, 5, v4, 10100, 0xfca4ebcfab33850c},
		{keyB, keyA, 6, v6, 0, 0xa24135a14f320254},
		{keyB, keyA, 6, v6, 10100, 0x99acd0e003740721},
	} {
		if got := AddAddrMAC(v.from, v.to, v.id, v.addr, v.port); got != v.want {
			t.Errorf("id %d %v port %d: %#x, want %#x", v.id, v.addr, v.port, got, v.want)
		}
	}
}
