package mptcp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestRemoteAddrsOfLiterals(t *testing.T) {
	tests := []struct{ network, address, want string }{
		{"tcp", "192.0.2.1:80", "[192.0.2.1:80]"},
		{"tcp", "[2001:db8::1]:80", "[[2001:db8::1]:80]"},
		{"tcp4", "192.0.2.1:80", "[192.0.2.1:80]"},
		{"tcp6", "192.0.2.1:80", "no suitable address"},
		{"tcp4", "[2001:db8::1]:80", "no suitable address"},
		{"tcp", "[::ffff:192.0.2.1]:80", "[192.0.2.1:80]"},
		{"tcp", "[fe80::1%3]:80", "[[fe80::1%3]:80]"},
		{"tcp", ":80", "[127.0.0.1:80 [::1]:80]"},
		{"tcp4", "0.0.0.0:80", "[127.0.0.1:80]"},
		{"tcp6", ":80", "[[::1]:80]"},
		{"tcp", "192.0.2.1:http", "[192.0.2.1:80]"},
		{"tcp", "192.0.2.1", "missing port"},
		{"tcp", "192.0.2.1:99999", "invalid port"},
		{"udp", "192.0.2.1:80", "unknown network"},
	}
	for _, tt := range tests {
		got, err := remoteAddrs(context.Background(), net.DefaultResolver, tt.network, tt.address)
		if s := fmt.Sprint(got, err); !strings.Contains(s, tt.want) {
			t.Errorf("%s %s: %s, want %s", tt.network, tt.address, s, tt.want)
		}
	}
}

func TestLocalAddrOfLiterals(t *testing.T) {
	tests := []struct{ network, address, want string }{
		{"tcp", ":0", "[::]:0"},
		{"tcp4", ":80", "0.0.0.0:80"},
		{"tcp6", ":80", "[::]:80"},
		{"tcp", "192.0.2.1:80", "192.0.2.1:80"},
		{"tcp6", "192.0.2.1:80", "no suitable address"},
	}
	for _, tt := range tests {
		got, err := localAddr(context.Background(), tt.network, tt.address)
		if s := fmt.Sprint(got, err); !strings.Contains(s, tt.want) {
			t.Errorf("%s %s: %s, want %s", tt.network, tt.address, s, tt.want)
		}
	}
}

// RFC 8305, Section 4: the families take turns, the order within each stays.
func TestAlternateFamilies(t *testing.T) {
	var in, want []netip.Addr
	for _, s := range []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1"} {
		in = append(in, netip.MustParseAddr(s))
	}
	for _, i := range []int{0, 3, 1, 2} {
		want = append(want, in[i])
	}
	if got := alternate(in); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := alternate(nil); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
