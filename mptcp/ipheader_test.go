package mptcp

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mpnc/mpnc/internal/netio"
)

// ipOctets are the TTL or hop limit, and the traffic class, of a packet.
func ipOctets(pkt []byte) (ttl, class uint8) {
	if pkt[0]>>4 == 4 {
		return pkt[8], pkt[1]
	}
	return pkt[7], pkt[0]<<4 | pkt[1]>>4
}

// What is sent has the TTL and the DSCP that were asked for, and the ECN field
// of the connection: both sides want it.
func TestIPHeader(t *testing.T) {
	for n, family := range []string{"IPv4", "IPv6"} {
		t.Run(family, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var marked, wrong atomic.Int32
				p := newPair(t, setup{
					client: Config{TTL: 255, TrafficClass: 46<<2 | 3, ECN: ECNAsk},
					server: Config{MinTTL: 255},
					pipe: netio.PipeConfig{Filter: func(_, dir int, pkt []byte) bool {
						ttl, class := ipOctets(pkt)
						wantTTL, wantDSCP := uint8(255), uint8(46)
						if dir == 1 {
							wantTTL, wantDSCP = 64, 0
						}
						if ttl != wantTTL || class>>2 != wantDSCP || class&3 == 3 {
							wrong.Add(1)
						}
						if dir == 0 && class&3 != 0 {
							marked.Add(1)
						}
						return false
					}},
				})
				defer p.close()
				l := p.listen()
				c, err := p.client.Dial(context.Background(), "tcp", net.JoinHostPort(p.far.Addrs()[n].String(), "80"))
				if err != nil {
					t.Fatal(err)
				}
				s, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				go c.Write(make([]byte, 100_000))
				if _, err := io.ReadFull(s, make([]byte, 100_000)); err != nil {
					t.Fatal(err)
				}
				if wrong.Load() > 0 || marked.Load() == 0 {
					t.Errorf("%d packets were wrong, %d had ECN", wrong.Load(), marked.Load())
				}
			})
		})
	}
}

// RFC 5082, Section 3: what comes from too far away is dropped, so that nobody
// there can connect.
func TestMinTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, setup{client: Config{TTL: 254}, server: Config{MinTTL: 255}})
		defer p.close()
		p.listen()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if _, err := p.client.Dial(ctx, "tcp", p.address("80")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Dial: %v", err)
		}
		if n := p.server.Stats().Dropped["TTL too low"]; n < 2 {
			t.Errorf("%d packets dropped", n)
		}
	})
}
