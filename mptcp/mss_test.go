package mptcp

import (
	"testing"

	"github.com/mpnc/mpnc/internal/netio"
)

func TestMSSBounds(t *testing.T) {
	for mss, good := range map[int]bool{-1: false, 0: true, MinMSS - 1: false, MinMSS: true, MaxMSS: true, MaxMSS + 1: false} {
		near, far := netio.NewPipe(netio.PipeConfig{Now: clock()})
		s, err := New(Config{MSS: mss}, near)
		if good != (err == nil) {
			t.Errorf("MSS %d: %v", mss, err)
		}
		if s != nil {
			s.Close()
		} else {
			near.Close()
		}
		far.Close()
	}
}
